"""The contract of a port as a plain file of the Open Data Contract Standard, with proposals as comments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flightmesh.build.proposal.emit import Commented, block
from flightmesh.build.proposal.facts import Column, Link, Table, Wide, words
from flightmesh.names import ProductName
from flightmesh.product.physical_types import logical_type

PII = "pii"
FILL_IN = "Fill in:"

# The standard's own pattern for table.column.
_REFERENCE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\.[A-Za-z_][A-Za-z0-9_-]*")


def contract_text(product: ProductName, table: Table, types: Mapping[str, str], *, is_accepted: bool) -> str:
    """The contract of a table's port. ``types`` are the model's; ``is_accepted`` makes proposed tags real."""
    properties = [_property(table, column, types[column.name], is_accepted) for column in table.columns]
    links = [each for each in map(_reference(table.port), table.links) if each is not None]
    described: dict[str, object] = {
        "name": table.port,
        "physicalType": "table",
        "description": table.comment or f"{FILL_IN} what {table.title} holds.",
        "dataGranularityDescription": _grain(table),
    }
    quality = list(_table_quality(table))
    if quality:
        described["quality"] = quality
    if links:
        described["relationships"] = links
    described["properties"] = properties
    return _document(product, table.port, described, table.title)


def wide_text(product: ProductName, wide: Wide, columns: Sequence[Column], fact: Table, *, is_accepted: bool) -> str:
    """The contract of the wide port. ``columns`` have the names and types of the wide model."""
    ports = words(dict.fromkeys(join.port for join in wide.joins))
    keyed = {name: position for position, name in enumerate(fact.key, start=1)}
    described: dict[str, object] = {
        "name": wide.port,
        "physicalType": "table",
        "description": f"{fact.port} with what its foreign keys lead to in {ports}. Columns that are joined are NULL "
        "where a key leads nowhere.",
        "dataGranularityDescription": _grain(fact),
    }
    quality = list(_table_quality(fact))
    if quality:
        described["quality"] = quality
    described["properties"] = [
        _column(column, column.sql_type, keyed.get(column.name), is_accepted) for column in columns
    ]
    return _document(product, wide.port, described, wide.port)


def wide_columns(wide: Wide, tables: Mapping[str, Table], types: Sequence[tuple[str, str]]) -> list[Column]:
    """The columns of the wide model with what is known of the columns that they come from."""
    fact = tables[wide.fact]
    origins = {name: (fact.column(name), True) for name in fact.names}
    for join in wide.joins:
        origins |= {new: (tables[join.port].column(old), False) for new, old in join.take.items()}
    found = []
    for name, sql_type in types:
        origin, is_own = origins[name]
        values = origin.values if is_own else ()
        found.append(
            Column(
                name, sql_type, required=origin.required and is_own, values=values, comment=origin.comment,
                unit=origin.unit, quantity=origin.quantity, personal=origin.personal,
            )
        )  # fmt: skip
    return found


def _document(product: ProductName, port: str, described: Mapping[str, object], title: str) -> str:
    document: dict[str, object] = {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": f"{product.domain}-{product.name}-{port}".replace("_", "-"),
        "name": port,
        "version": "0.1.0",
        "status": "draft",
        "domain": product.domain,
        "dataProduct": str(product),
        "description": {
            "purpose": f"{FILL_IN} what {title} is for.",
            "limitations": f"{FILL_IN} what it cannot tell.",
        },
        "schema": [described],
    }
    head = (
        "# Drawn up by `flightmesh init`. Types are those of the model; quality rules hold for the rows seen.",
        f'# What begins with "{FILL_IN}" is for people who know the data.',
    )
    return "\n".join([*head, *block(document)]) + "\n"


def _grain(table: Table) -> str:
    if table.key:
        return f"One row for each {words(table.key)}."
    return f"{FILL_IN} what one row is."


def _reference(port: str) -> Any:
    def relationship(link: Link) -> dict[str, object] | None:
        """The link as the standard writes it; None where its names cannot stand in a reference."""
        here, there = [f"{port}.{c}" for c in link.columns], [f"{link.port}.{c}" for c in link.referenced]
        if not all(map(_REFERENCE.fullmatch, [*here, *there])):
            return None
        return {"from": here[0], "to": there[0]} if len(here) == 1 else {"from": here, "to": there}

    return relationship


def _table_quality(table: Table) -> Iterator[Mapping[str, object]]:
    if table.rows:
        yield {"metric": "rowCount", "mustBeGreaterThan": 0, "dimension": "completeness", "severity": "error"}
    if table.key:
        yield {
            "metric": "duplicateValues",
            "arguments": {"properties": list(table.key)},
            "mustBe": 0,
            "unit": "rows",
            "dimension": "uniqueness",
            "severity": "error",
        }


def _property(table: Table, column: Column, sql_type: str, is_accepted: bool) -> dict[str, object]:
    position = table.key.index(column.name) + 1 if column.name in table.key else None
    made = _column(column, sql_type, position, is_accepted)
    if table.likely_key == (column.name,):
        reason = "Its values differ in all rows, and the database does not promise it. To promise it:"
        made["primaryKey"] = Commented(True, (reason,), is_out=True)
    return made


def _column(column: Column, sql_type: str, key: int | None, is_accepted: bool) -> dict[str, object]:
    logical = logical_type(sql_type)
    made: dict[str, object] = {"name": column.name, "description": column.comment or _to_describe(column)}
    if logical and logical != "map":  # The standard wants a map's parts described as well.
        made["logicalType"] = logical
    made["physicalType"] = sql_type
    if column.required:
        made["required"] = True
    if key is not None:
        made |= {"primaryKey": True, "primaryKeyPosition": key}
    if column.personal is not None:
        reason = f"Probably {column.personal.kind}: {column.personal.reason}."
        made["tags"] = Commented([PII], (reason,) if is_accepted else (f"Proposed. {reason}",), is_out=not is_accepted)
    if column.unit:
        made["customProperties"] = [{"property": "unit", "value": column.unit}]
    quality = list(_column_quality(column, is_key=key is not None))
    if quality:
        made["quality"] = quality
    return made


def _to_describe(column: Column) -> str:
    if column.quantity:
        return f"{FILL_IN} what {column.name} means, and its unit (by its name {column.quantity})."
    return f"{FILL_IN} what {column.name} means."


def _column_quality(column: Column, *, is_key: bool) -> Iterator[Mapping[str, object]]:
    if is_key:
        yield {"metric": "nullValues", "mustBe": 0, "dimension": "completeness", "severity": "error"}
    if column.values:
        yield {
            "metric": "invalidValues",
            "arguments": {"validValues": list(column.values)},
            "mustBe": 0,
            "dimension": "conformity",
            "severity": "warning",
        }

"""Data contracts as the Open Data Contract Standard (ODCS 3.x) writes them, reduced to what the server needs of them.

The file on disk stays plain ODCS; it is validated by the standard's own JSON Schema. Nothing of it is lost: ``raw``
keeps the whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flightmesh.names import did_you_mean, fold, nearest
from flightmesh.product.document import Document, Step, read
from flightmesh.product.odcs import violations
from flightmesh.product.physical_types import fits, normalised
from flightmesh.product.problems import Problem

# More columns than these that the contract lacks are told of together.
_SINGLY_MAX = 3


@dataclass(frozen=True, slots=True)
class ContractColumn:
    """One property of an ODCS schema object."""

    name: str
    logical_type: str | None
    physical_type: str | None
    required: bool
    unique: bool
    primary_key_position: int | None
    description: str | None
    unit: str | None
    classification: str | None
    tags: frozenset[str]


@dataclass(frozen=True, slots=True)
class DataContract:
    """The contract of one port: its table, its columns in order, and the whole document as read.

    ``document`` tells where a value stands in the file; it is None for a contract that was not read from one.
    """

    id: str
    version: str
    status: str
    table: str
    description: str | None
    grain: str | None
    columns: tuple[ContractColumn, ...]
    raw: Mapping[str, Any]
    document: Document | None = field(default=None, repr=False, compare=False)

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The key's columns in key order; empty when the contract declares none."""
        keyed = [(c.primary_key_position, c.name) for c in self.columns if c.primary_key_position is not None]
        return tuple(name for _, name in sorted(keyed))

    @property
    def has_quality_rules(self) -> bool:
        """Whether the table or one of its columns declares checks."""
        table = self.raw["schema"][0]
        return any("quality" in part for part in (table, *table.get("properties", ())))


def load_contract(file: str | Path, folder: Path) -> tuple[DataContract | None, list[Problem]]:
    """The contract in a file of the product's folder, and all that is wrong with it; None when anything is."""
    document, problems = read(folder, str(file))
    if document is None:
        return None, problems
    problems += violations(document)
    if not problems:
        problems += _beyond_the_standard(document)
    return (_reduce(document) if not problems else None), problems


def compare(contract: DataContract, columns: Sequence[tuple[str, str]]) -> list[Problem]:
    """Where the contract and the columns ``(name, DuckDB type)`` of the port's model differ; their order does not
    matter.

    Each problem stands at the property's line in the contract, or at the table's when the contract lacks the column.
    """
    modelled = {fold(name): (name, sql_type) for name, sql_type in columns}
    declared = {fold(column.name) for column in contract.columns}
    problems = []
    for index, column in enumerate(contract.columns):
        if fold(column.name) not in modelled:
            message = f"The contract promises the column {column.name}, which the model does not have."
            hint = did_you_mean(column.name, [name for key, (name, _) in modelled.items() if key not in declared])
            problems.append(_at_column(contract, index, "name", message, hint))
        else:
            problems += _differences(contract, index, column, *modelled[fold(column.name)])
    return [*problems, *_undeclared(contract, modelled, declared)]


def _undeclared(
    contract: DataContract, modelled: Mapping[str, tuple[str, str]], declared: Collection[str]
) -> Iterator[Problem]:
    """The model's columns that the contract lacks: each by itself while they are few, or are like one that it has."""
    path: list[Step] = ["schema", 0, "name"]
    lacking = [column.name for column in contract.columns if fold(column.name) not in modelled]
    new = []
    for name, sql_type in (column for key, column in modelled.items() if key not in declared):
        near = nearest(name, lacking)
        if near is None:
            new.append((name, sql_type))
        else:
            hint = f"Did the contract mean it by {near}?"
            yield _at(contract, path, f"The model's column {name} is not in the contract.", hint)
    if len(new) > _SINGLY_MAX:
        listed = ", ".join(f"{name} {sql_type}" for name, sql_type in new)
        hint = f"Declare them, or keep them out of the model: {listed}."
        yield _at(contract, path, f"{len(new)} columns of the model are not in the contract.", hint)
        return
    for name, sql_type in new:
        hint = f"Declare it ({sql_type}), or keep it out of the model."
        yield _at(contract, path, f"The model's column {name} is not in the contract.", hint)


def _differences(
    contract: DataContract, index: int, column: ContractColumn, name: str, sql_type: str
) -> Iterator[Problem]:
    if name != column.name:
        message = f"The contract writes the column as {column.name}, the model as {name}."
        yield _at_column(contract, index, "name", message, "Write both the same.")
    expected = column.physical_type
    if expected is not None and normalised(expected) != normalised(sql_type):
        message = f"The column {name} is {expected} in the contract and {sql_type} in the model."
        hint = "Cast it in the model, or correct the contract."
        yield _at_column(contract, index, "physicalType", message, hint)
    elif column.logical_type is not None and not fits(sql_type, column.logical_type):
        message = f"The column {name} is {column.logical_type} in the contract and {sql_type} in the model."
        yield _at_column(contract, index, "logicalType", message, "Cast it in the model, or correct the contract.")


def _at_column(contract: DataContract, index: int, key: str, message: str, hint: str | None) -> Problem:
    return _at(contract, ["schema", 0, "properties", index, key], message, hint)


def _at(contract: DataContract, path: list[Step], message: str, hint: str | None) -> Problem:
    if contract.document is None:
        return Problem(contract.table, 1, 1, message, hint)
    return contract.document.problem(path, message, hint)


def _beyond_the_standard(document: Document) -> Iterator[Problem]:
    """What the standard allows and this server cannot serve."""
    version = document.value["apiVersion"]
    if not version.startswith("v3."):
        yield document.problem(["apiVersion"], f"apiVersion {version} is too old.", "Write the contract in ODCS v3.")
    tables = document.value.get("schema") or []
    if not tables:
        yield document.problem(["schema"], "The contract describes no table.", "Give schema one object.", key=True)
    for index, table in enumerate(tables[1:], start=1):
        message = f"The contract describes a second table, {table['name']}."
        yield document.problem(["schema", index, "name"], message, "Write one contract for each port.")
    if tables:
        yield from _columns(document, tables[0])


def _columns(document: Document, table: Mapping[str, Any]) -> Iterator[Problem]:
    columns = table.get("properties") or []
    if not columns:
        yield document.problem(["schema", 0], f"The table {table['name']} has no properties.", key=True)
    seen: set[str] = set()
    for index, column in enumerate(columns):
        path: list[Step] = ["schema", 0, "properties", index]
        name, logical, physical = column["name"], column.get("logicalType"), column.get("physicalType")
        if fold(name) in seen:
            yield document.problem([*path, "name"], f"The column {name} is declared twice.")
        seen.add(fold(name))
        if logical and physical and not fits(physical, logical):
            message = f"The column {name} cannot be {logical} and {physical} at once."
            yield document.problem([*path, "logicalType"], message, "Correct one of the two.")


def _reduce(document: Document) -> DataContract:
    raw = document.value
    table = raw["schema"][0]
    description = raw.get("description")
    purpose = description.get("purpose") if isinstance(description, dict) else description
    return DataContract(
        id=raw["id"],
        version=raw["version"],
        status=raw.get("status", "active"),
        table=table["name"],
        description=table.get("description") or purpose,
        grain=table.get("dataGranularityDescription") or _custom(table, "grain") or _custom(raw, "grain"),
        columns=_reduced_columns(table["properties"]),
        raw=raw,
        document=document,
    )


def _reduced_columns(properties: Sequence[Mapping[str, Any]]) -> tuple[ContractColumn, ...]:
    return tuple(_column(property_, position) for position, property_ in enumerate(properties, start=1))


def _column(raw: Mapping[str, Any], position: int) -> ContractColumn:
    # Without a position (the standard's -1) key columns stand in the order of the file.
    stated = raw.get("primaryKeyPosition", -1)
    return ContractColumn(
        name=raw["name"],
        logical_type=raw.get("logicalType"),
        physical_type=raw.get("physicalType"),
        required=raw.get("required", False) or raw.get("primaryKey", False),
        unique=raw.get("unique", False),
        primary_key_position=(stated if stated > 0 else position) if raw.get("primaryKey") else None,
        description=raw.get("description"),
        unit=_custom(raw, "unit"),
        classification=raw.get("classification"),
        tags=frozenset(raw.get("tags", ())),
    )


def _custom(raw: Mapping[str, Any], name: str) -> str | None:
    """The value of a custom property as text, or None."""
    values = [entry["value"] for entry in raw.get("customProperties", ()) if entry["property"] == name]
    return None if not values or values[0] is None else str(values[0])

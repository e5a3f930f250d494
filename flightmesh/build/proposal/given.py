"""A product that starts from contracts: each table of a contract becomes a port that keeps its promise, over a table of
that name where a source has one, else over a file to be filled.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flightmesh.build.expressions import checked_type
from flightmesh.build.proposal.emit import block
from flightmesh.build.proposal.facts import Column, Table
from flightmesh.build.proposal.inputs import DATA, Input
from flightmesh.build.proposal.naming import free_name, plain_name
from flightmesh.build.proposal.reading import Bench
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import ProductName, did_you_mean, fold, quote
from flightmesh.product.document import read
from flightmesh.product.odcs import violations
from flightmesh.product.physical_types import fits, logical_type, normalised
from flightmesh.product.problems import ProductProblems

# The type of a column whose contract names none, or one that DuckDB does not know.
_LOGICAL = {
    "string": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE", "boolean": "BOOLEAN", "date": "DATE", "time": "TIME",
    "timestamp": "TIMESTAMP", "array": "VARCHAR[]", "object": "VARCHAR",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Promise:
    """One table of a contract: its name there, the columns as ``(name, DuckDB type, required)``, and the whole contract
    for this table alone.
    """

    file: str
    table: str
    physical: str | None
    columns: tuple[tuple[str, str, bool], ...]
    document: Mapping[str, Any]


def read_promises(paths: Sequence[Path], bench: Bench) -> list[Promise]:
    """The tables of the contracts. ProductProblems where a file breaks the standard, INVALID where no column is."""
    return [promise for path in paths for promise in _promises(path, bench)]


def promised(promise: Promise, table: Table, product: ProductName) -> tuple[Table, str]:
    """The table under the contract, and the contract's text. INVALID when a required column is not in the table."""
    known = {fold(column.name): column for column in table.columns}
    columns: list[Column] = []
    for name, sql_type, required in promise.columns:
        found = known.get(fold(name))
        if found is None and required:
            hint = did_you_mean(name, table.names) or "Correct the contract, or name the source that has it."
            fact = f"The contract {promise.file} requires the column {name}, which {table.title} does not have."
            raise FlightmeshError(ErrorCode.INVALID, fact, hint=hint)
        if found is not None and found.nulls and required:
            fact = f"The contract {promise.file} requires {name}, which {table.title} lacks in {found.nulls:,} rows."
            raise FlightmeshError(ErrorCode.INVALID, fact, hint="Correct the contract or the data.")
        columns.append(replace(found or Column(name, sql_type), name=name, sql_type=sql_type, required=required))
    model = _model(promise, known, table)
    kept = replace(table, columns=tuple(columns), model=model, key=_key(promise), likely_key=(), links=(), near=())
    return kept, _contract(promise, table.port, product)


def template(promise: Promise, folder: Path, taken: Collection[str], product: ProductName) -> tuple[Input, Table, str]:
    """A file with the header alone, its source, its table and the contract's text. ``taken`` are names not to use."""
    port = free_name(plain_name(promise.table, "table"), taken)
    path = folder / DATA / f"{port}.csv"
    path.parent.mkdir(exist_ok=True)
    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow([name for name, _, _ in promise.columns])
    path.write_text(header.getvalue(), encoding="utf-8")
    texts = {name: "string" for name, sql_type, _ in promise.columns if normalised(sql_type) == "VARCHAR"}
    spec = {"type": "csv", "path": path.relative_to(folder).as_posix()}
    source = Input(free_name(f"{port[:58]}_file", taken), f"{promise.file}, to be filled", spec).naming("types", texts)
    columns = tuple(Column(name, sql_type, required=required) for name, sql_type, required in promise.columns)
    cast = {name: sql_type for name, sql_type, _ in promise.columns if name not in texts}
    model = {"from": source.name, **({"cast": cast} if cast else {})}
    table = Table(port, (source.name,), promise.table, False, 0, True, columns, model, _key(promise))
    return source, table, _contract(promise, port, product)


def _model(promise: Promise, known: Mapping[str, Column], table: Table) -> Mapping[str, Any]:
    """The model that gives the table the contract's columns: kept, renamed, cast; what the table lacks is NULL."""
    keep = {name: known[fold(name)].name for name, _, _ in promise.columns if fold(name) in known}
    types = {name: sql_type for name, sql_type, _ in promise.columns}
    stored = {name: known[fold(old)].sql_type for name, old in keep.items()}
    cast = {name: types[name] for name in keep if normalised(stored[name]) != normalised(types[name])}
    derive = {name: f"CAST(NULL AS {sql_type})" for name, sql_type in types.items() if name not in keep}
    if "from" not in table.model:
        inner = ".".join(map(quote, table.source))
        listed = [f"CAST({quote(old)} AS {types[new]}) AS {quote(new)}" for new, old in keep.items()]
        listed += [f"{text} AS {quote(name)}" for name, text in derive.items()]
        return {"sql": f"SELECT {', '.join(listed)} FROM {inner}"}
    model: dict[str, Any] = {"from": table.model["from"]}
    if set(keep.values()) != set(table.names) or any(new != old for new, old in keep.items()):
        is_plain = all(new == old for new, old in keep.items())
        model["keep"] = list(keep) if is_plain else keep
    return model | ({"cast": cast} if cast else {}) | ({"derive": derive} if derive else {})


def _contract(promise: Promise, port: str, product: ProductName) -> str:
    """The contract's text for the port: the table by the port's name, the types as the model has them."""
    table = dict(promise.document["schema"][0])
    types = {name: sql_type for name, sql_type, _ in promise.columns}
    table["name"] = port
    table["properties"] = [_typed(each, types[each["name"]]) for each in table["properties"]]
    document = {**promise.document, "domain": product.domain, "dataProduct": str(product), "schema": [table]}
    head = f"# From {promise.file}. Where the physical types were not DuckDB's, customProperties keep them."
    return "\n".join([head, *block(document)]) + "\n"


def _promises(path: Path, bench: Bench) -> Iterator[Promise]:
    document, problems = read(path.parent, path.name)
    if document is not None:
        problems += violations(document)
    if document is None or problems:
        raise ProductProblems(problems)
    raw = document.value
    tables = raw.get("schema") or []
    for table in tables:
        if not table.get("properties"):
            raise FlightmeshError(ErrorCode.INVALID, f"{path.name}: the table {table['name']} has no properties.")
        columns = tuple(
            (each["name"], _type(each, bench), bool(each.get("required") or each.get("primaryKey")))
            for each in table["properties"]
        )
        tail = "" if len(tables) == 1 else f"-{plain_name(table['name'], 'table')}".replace("_", "-")
        whole = {**raw, "id": f"{raw['id']}{tail}", "schema": [table]}
        yield Promise(path.name, table["name"], table.get("physicalName"), columns, whole)
    if not tables:
        raise FlightmeshError(ErrorCode.INVALID, f"{path.name} describes no table.", hint="Give schema one object.")


def _type(column: Mapping[str, Any], bench: Bench) -> str:
    """The DuckDB type of a column of the contract."""
    physical, logical = column.get("physicalType"), column.get("logicalType")
    if physical is not None:
        try:
            text = checked_type(physical, bench.limits)
            bench.rows(f"SELECT CAST(NULL AS {text}) AS v")
        except FlightmeshError:
            text = None
        if text is not None and (logical is None or fits(text, logical)):
            return normalised(text) if logical_type(text) not in ("object", "map") else text
    return _LOGICAL.get(str(logical), "VARCHAR")


def _typed(column: Mapping[str, Any], sql_type: str) -> Mapping[str, Any]:
    stated = column.get("physicalType")
    if stated is None or normalised(stated) == normalised(sql_type):
        return {**column, "physicalType": stated or sql_type}
    kept = [*column.get("customProperties", ()), {"property": "originalPhysicalType", "value": stated}]
    return {**column, "physicalType": sql_type, "customProperties": kept}


def _key(promise: Promise) -> tuple[str, ...]:
    keyed = [
        (each.get("primaryKeyPosition", -1) if each.get("primaryKeyPosition", -1) > 0 else index, each["name"])
        for index, each in enumerate(promise.document["schema"][0]["properties"], start=1)
        if each.get("primaryKey")
    ]
    return tuple(name for _, name in sorted(keyed))

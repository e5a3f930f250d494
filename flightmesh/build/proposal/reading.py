"""Reads the tables of the sources into a workshop, and counts there what their columns hold.

A table of a database is read up to ROWS_READ_MAX rows, with the limit in the source's own statement; files are read
whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from flightmesh.build.models import load
from flightmesh.build.proposal.facts import Column, Table
from flightmesh.build.proposal.personal import personal_by_name, personal_by_values
from flightmesh.build.proposal.units import name_parts, quantity_of, unit_of
from flightmesh.catalog.snapshot import Relation
from flightmesh.config import Limits
from flightmesh.engine.workshop import Workshop
from flightmesh.names import fold, quote
from flightmesh.planner.pipeline import plan_model
from flightmesh.sources.base import Described, Description, LiveTable, Narrowing, SourceTable

Item = TypeVar("Item")

ROWS_READ_MAX = 100_000
FEW_VALUES = 12

_COLUMNS_AT_ONCE = 40
# Counting distinct values exactly holds them in memory.
_KEYS_AT_ONCE = 4
_LOOKED_AT_VALUES = 500
_ENUMERATED_CHARS_MAX = 60
# Fewer rows than this for each value say nothing about which values there may be.
_ROWS_PER_VALUE = 5
# The estimate of distinct values is within this share of the truth.
_ESTIMATE_LOW = 0.85
_IDENTIFYING = frozenset(
    {"id", "key", "code", "no", "nr", "num", "number", "uuid", "guid", "sku", "iata", "icao", "isbn", "ean"}
)
_ENUMERATED = ("VARCHAR", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT")
_KEYED = (*_ENUMERATED, "UINTEGER", "UBIGINT", "HUGEINT", "UUID", "DATE", "TIMESTAMP", "DECIMAL")


class Bench:
    """A workshop, the relations that were loaded into it, and questions to them in SQL."""

    def __init__(self, workshop: Workshop, limits: Limits) -> None:
        self.workshop = workshop
        self.limits = limits
        self.relations: list[Relation] = []

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a statement over the relations."""
        plan = plan_model(sql, relations=self.relations, limits=self.limits)
        with self.workshop.run(plan) as reader:
            found: list[dict[str, Any]] = reader.read_all().to_pylist()
        return found

    def number(self, sql: str) -> int:
        """The one number that a statement gives."""
        return int(next(iter(self.rows(sql)[0].values())))

    def load(self, path: Relation, table: SourceTable, *, is_live: bool) -> bool:
        """Load a table, or the beginning of a live one; whether all of its rows were read."""
        if not (is_live and isinstance(table, LiveTable)):
            load(self.workshop, path, table.read())
            self.relations.append(path)
            return True
        fetch = table.fetch(Narrowing(limit=ROWS_READ_MAX), table.schema())
        try:
            load(self.workshop, path, fetch.reader)
        finally:
            fetch.close()
        self.relations.append(path)
        return self.number(f"SELECT count(*) FROM {sql_path(path)}") < ROWS_READ_MAX


def sql_path(path: Relation) -> str:
    """The relation in SQL."""
    return ".".join(map(quote, path))


def described(table: SourceTable) -> Description:
    """What the source knows of the table; it may be asked over a network."""
    return table.description() if isinstance(table, Described) else Description()


def read_table(
    bench: Bench, port: str, title: str, path: Relation, table: SourceTable, known: Description, *, is_live: bool
) -> Table:
    """What a table holds, with the key that is ``known`` and without links. Errors as the source raises them."""
    is_whole = bench.load(path, table, is_live=is_live)
    rows, columns = _counted(bench, path)
    texts = _values_looked_at(bench, path, columns)
    found = [
        _described(bench, path, title, column, known, texts.get(column.name, []), rows, is_whole=is_whole)
        for column in columns
    ]
    promised = [replace(column, required=_is_required(column, known, rows, is_live=is_live)) for column in found]
    return Table(port, path, title, is_live, rows, is_whole, tuple(promised), _model(path, promised), known.primary_key,
                 comment=known.comment)  # fmt: skip


def may_be_key(column: Column) -> bool:
    """Whether the column's type is one that keys have."""
    return column.sql_type.startswith(_KEYED) and not column.sql_type.endswith("]")


def is_identifying(name: str) -> bool:
    """Whether the name says that the column identifies something."""
    parts = name_parts(name)
    return bool(parts) and (parts[-1] in _IDENTIFYING or (parts[-1].endswith(("id", "key")) and len(parts[-1]) > 3))


def _counted(bench: Bench, path: Relation) -> tuple[int, list[Column]]:
    """The number of rows, and each column with its NULLs, distinct values and whether all differ."""
    named = bench.workshop.columns(path)
    rows, found = 0, []
    for some in _chunks(named, _COLUMNS_AT_ONCE):
        counts = [f"count({quote(name)}), approx_count_distinct({quote(name)})" for name, _ in some]
        row = list(bench.rows(f"SELECT count(*), {', '.join(counts)} FROM {sql_path(path)}")[0].values())
        rows = row[0]
        pairs = zip(some, row[1::2], row[2::2], strict=True)
        found += [Column(name, kind, rows - present, distinct) for (name, kind), present, distinct in pairs]
    unique = set(_unique(bench, path, found, rows))
    return rows, [replace(column, is_unique=column.name in unique) for column in found]


def _unique(bench: Bench, path: Relation, columns: Sequence[Column], rows: int) -> Iterator[str]:
    """The columns whose values all differ, of those that could be a key by place or name."""
    likely = [
        column.name
        for index, column in enumerate(columns)
        if (index == 0 or is_identifying(column.name)) and may_be_key(column)
        if rows and not column.nulls and column.distinct >= rows * _ESTIMATE_LOW
    ]
    for some in _chunks(likely, _KEYS_AT_ONCE):
        counts = ", ".join(f"count(DISTINCT {quote(name)})" for name in some)
        found = bench.rows(f"SELECT {counts} FROM {sql_path(path)}")[0].values()
        yield from (name for name, distinct in zip(some, found, strict=True) if distinct == rows)


def _values_looked_at(bench: Bench, path: Relation, columns: Sequence[Column]) -> dict[str, list[str]]:
    """Some of the values of each text column."""
    found: dict[str, list[str]] = {}
    for some in _chunks([column.name for column in columns if column.sql_type == "VARCHAR"], _COLUMNS_AT_ONCE):
        parts = [
            f"(SELECT list(v) FROM (SELECT {quote(name)} AS v FROM {sql_path(path)} WHERE {quote(name)} IS NOT NULL "
            f"LIMIT {_LOOKED_AT_VALUES}))"
            for name in some
        ]
        row = bench.rows(f"SELECT {', '.join(parts)}")[0].values()
        found |= {name: values or [] for name, values in zip(some, row, strict=True)}
    return found


def _described(
    bench: Bench,
    path: Relation,
    title: str,
    column: Column,
    known: Description,
    texts: list[str],
    rows: int,
    *,
    is_whole: bool,
) -> Column:
    name, kind = column.name, column.sql_type
    personal = personal_by_values(texts) or personal_by_name(title, name, kind)
    values: tuple[object, ...] = ()
    if is_whole and personal is None and not column.is_unique and not is_identifying(name):
        values = _few_values(bench, path, column, rows)
    unit = unit_of(name, kind)
    return replace(
        column,
        values=values,
        comment=known.column_comments.get(name),
        unit=unit,
        quantity=None if unit else quantity_of(name, kind),
        personal=personal,
    )


def _few_values(bench: Bench, path: Relation, column: Column, rows: int) -> tuple[object, ...]:
    """All values of the column, in order; none when they are many, long, or too few rows stand behind them."""
    few = 0 < column.distinct <= 2 * FEW_VALUES and rows >= column.distinct * _ROWS_PER_VALUE
    if not few or column.sql_type not in _ENUMERATED:
        return ()
    name = quote(column.name)
    found = bench.rows(
        f"SELECT DISTINCT {name} AS v FROM {sql_path(path)} WHERE {name} IS NOT NULL ORDER BY 1 LIMIT {FEW_VALUES + 1}"
    )
    values = [row["v"] for row in found]
    long = any(isinstance(value, str) and len(value) > _ENUMERATED_CHARS_MAX for value in values)
    return () if len(values) > FEW_VALUES or long else tuple(values)


def _is_required(column: Column, known: Description, rows: int, *, is_live: bool) -> bool:
    """Whether no row can be without a value: the database guarantees it, or a snapshot's rows were all read."""
    if column.name in known.required or column.name in known.primary_key:
        return True
    return not is_live and rows > 0 and column.nulls == 0


def _model(path: Relation, columns: Iterable[Column]) -> dict[str, Any]:
    """The model that shows the table as it is: low-code, but for a name with a dot, which ``from`` cannot say."""
    if any("." in part for part in path):
        return {"sql": f"SELECT * FROM {sql_path(path)}"}
    model: dict[str, Any] = {"from": ".".join(path)}
    untyped = {column.name: "VARCHAR" for column in columns if fold(column.sql_type) == '"null"'}
    return {**model, "cast": untyped} if untyped else model


def _chunks(items: Sequence[Item], size: int) -> Iterable[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))

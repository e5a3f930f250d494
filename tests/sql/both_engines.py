"""One set of tables in DuckDB and PostgreSQL, and the question whether a pushed statement answers the same in both."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import adbc_driver_postgresql.dbapi
import duckdb
import pyarrow as pa

from flightmesh.sql.dialects import NotPushed, RemoteTable, transpile
from tests.postgres import Postgres
from tests.postgres_tables import create_table

Rows = list[tuple[Any, ...]]  # Any: values as both drivers hand them out


@dataclass(frozen=True)
class Outcome:
    """What became of a statement: ``equal``, ``refused`` (with the reason), ``error`` in one or both engines, or
    ``unbound`` when DuckDB does not know it.
    """

    kind: str
    reason: str = ""


@dataclass(frozen=True)
class BothEngines:
    """The tables, open in both engines."""

    duck: duckdb.DuckDBPyConnection
    cursor: Any  # Any: the driver ships no types
    tables: tuple[RemoteTable, ...]

    def pushed(self, sql: str) -> str:
        """The statement for PostgreSQL; NotPushed with the reason."""
        return transpile(sql, self.tables, dialect="postgres", result=self.result(sql))

    def result(self, sql: str) -> list[tuple[str, str]]:
        return [(row[0], row[1]) for row in self.duck.execute(f"DESCRIBE {sql}").fetchall()]

    def compare(self, sql: str, *, is_exact: bool = False) -> Outcome:
        """Whether both answer the same rows: in order where the statement ends with an order over all columns.

        Doubles may differ by 1e-9 of their size unless ``is_exact``. A difference is an AssertionError.
        """
        try:
            result = self.result(sql)
        except duckdb.Error as error:
            return Outcome("unbound", str(error))
        try:
            text = self.pushed(sql)
        except NotPushed as refusal:
            return Outcome("refused", refusal.reason)
        try:
            expected = self.duck.sql(sql).to_arrow_table()
            self.cursor.execute(text)
            answered = self.cursor.fetch_arrow_table()
        except (duckdb.Error, adbc_driver_postgresql.dbapi.Error) as error:
            return Outcome("error", str(error))
        here, there = _typed(expected, result), _typed(answered, result)
        if "ORDER BY ALL" not in sql:
            here, there = sorted(here, key=_sort_key), sorted(there, key=_sort_key)
        assert len(here) == len(there), f"{len(here)} rows here, {len(there)} pushed: {sql}\n{text}"
        for one, other in zip(here, there, strict=True):
            for value, pushed in zip(one, other, strict=True):
                assert _same(value, pushed, is_exact), f"{value!r} here, {pushed!r} pushed: {sql}\n{text}"
        return Outcome("equal")


@contextmanager
def both_engines(server: Postgres, database: str, tables: Mapping[str, pa.Table]) -> Iterator[BothEngines]:
    """A new database with the tables in its schema "S p", so that names need quotes; and DuckDB with the same."""
    server.run(f'CREATE DATABASE "{database}"')
    server.run('CREATE SCHEMA "S p"', database=database)
    for name, rows in tables.items():
        create_table(server, database, name, rows, schema="S p")
    with duckdb.connect() as duck, opened(server, database) as cursor:
        duck.execute("SET TimeZone = 'UTC'")
        yield BothEngines(duck, cursor, tuple(_local(duck, name, rows) for name, rows in tables.items()))


@contextmanager
def opened(server: Postgres, database: str) -> Iterator[Any]:
    with (
        adbc_driver_postgresql.dbapi.connect(server.uri_of(database), autocommit=True) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SET TimeZone = 'UTC'")
        yield cursor


def _local(duck: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> RemoteTable:
    duck.register("arriving", rows)
    duck.execute(f'CREATE TABLE "{name}" AS FROM arriving')
    duck.unregister("arriving")
    columns = {row[0]: row[1] for row in duck.execute(f'DESCRIBE "{name}"').fetchall()}
    return RemoteTable((name,), ("S p", name), columns)


def _typed(answer: pa.Table, result: list[tuple[str, str]]) -> Rows:
    """Rows with whole numbers and decimals as Decimal: the driver hands out numeric as text; with moments as numbers,
    since Python's end at the year 9999.
    """
    columns = [_numbered(column).to_pylist() for column in answer.columns]
    rows = list(zip(*columns, strict=True))
    is_number = [
        kind.startswith("DECIMAL") or kind in ("HUGEINT", "BIGINT", "INTEGER", "SMALLINT") for _, kind in result
    ]
    return [
        tuple(
            Decimal(value) if number and value is not None else value
            for value, number in zip(row, is_number, strict=True)
        )
        for row in rows
    ]


def _numbered(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_date32(column.type):
        return column.cast(pa.int32())
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64())
    return column


def _sort_key(row: tuple[Any, ...]) -> tuple[Any, ...]:
    # Of equal zeros DISTINCT keeps whichever it meets first; added to zero they have one sign.
    return tuple(
        (value is not None, str(type(value)), f"{value + 0.0:.6g}" if isinstance(value, float) else str(value))
        for value in row
    )


def _same(value: Any, pushed: Any, is_exact: bool) -> bool:
    if not isinstance(value, float) or not isinstance(pushed, float):
        return type(value) is type(pushed) and bool(value == pushed)
    if math.isnan(value) or math.isnan(pushed):
        return math.isnan(value) and math.isnan(pushed)
    return value == pushed or (not is_exact and math.isclose(value, pushed, rel_tol=1e-9, abs_tol=1e-9))


# --- Hostile values ---------------------------------------------------------------------------------------------------

_NAN, _INFINITY = float("nan"), float("inf")


def _decimals(text: str) -> list[object]:
    return [None if part == "NULL" else Decimal(part) for part in text.split()]


HOSTILE: Mapping[str, tuple[pa.DataType, Sequence[object]]] = {
    "i2": (pa.int16(), [0, 1, -1, 32767, -32768, None, 7, -7, 100, 2, 3, -3, 10, 5]),
    "i4": (pa.int32(), [0, 1, -1, 2**31 - 1, -(2**31), None, 7, -7, 100, 3, 2, 1994, -2, 5]),
    "i8": (pa.int64(), [0, 1, -1, 2**63 - 1, -(2**63), None, 2**53 + 1, -7, 10**12, 3, 2, -5, 2**53 + 3, 4]),
    "d5": (
        pa.decimal128(5, 2),
        _decimals("0.00 0.05 -0.05 999.99 -999.99 NULL 2.50 -2.50 1.25 0.15 0.45 1 3 5"),
    ),
    "d15": (
        pa.decimal128(15, 2),
        _decimals("0 0.05 -0.05 9999999999999.99 -9999999999999.99 NULL 2.5 -2.5 1.25 0.15 0.45 1 12345678.9 7"),
    ),
    "d30": (
        pa.decimal128(30, 6),
        _decimals(
            "0 0.05 -0.05 999999999999999999999999.999999 -999999999999999999999999.999999 NULL 2.5 -2.500001 0.15 1"
            " 9007199254740993.1 123456789012.345678 123456789012345.678901 -98765432109876.543215"
        ),
    ),
    "f8": (
        pa.float64(),
        [0.0, -0.0, _NAN, _INFINITY, -_INFINITY, None, 0.5, 1.5, 2.5, -2.5, 1e300, 1e-300, 0.1, 1.255],
    ),
    "f4": (pa.float32(), [0.0, -0.0, _NAN, _INFINITY, -_INFINITY, None, 0.5, 1.5, 2.5, -2.5, 1e30, 1e-30, 0.1, 3.0]),
    "t": (pa.string(), ["", "a", "B", "Z", "ä", None, "a%b", "a_b", "a\\b", "a'b", " a ", "🦆x", "e\u0301x", "ab"]),
    "u U": (pa.string(), ["", "b", "a", "z", "Ä", None, "%", "_", "\\", "'", "a", "x", "e", "A"]),
    "date": (
        pa.date32(),
        [datetime.date(*day) for day in [(2020, 1, 31), (2020, 2, 29), (1, 1, 1), (9999, 12, 31), (1970, 1, 1)]]
        + [None]
        + [datetime.date(*day) for day in [(1999, 12, 31), (2000, 1, 1), (2021, 1, 3), (2021, 1, 4), (2020, 12, 31)]]
        + [datetime.date(*day) for day in [(1900, 2, 28), (1969, 12, 31), (1582, 10, 10)]],
    ),
    "ts": (
        pa.timestamp("us"),
        [datetime.datetime(2020, 1, 31, 23, 59, 59, 999999), datetime.datetime(2020, 2, 29), datetime.datetime(1, 1, 1)]
        + [datetime.datetime(9999, 12, 31, 23, 59, 59), datetime.datetime(1970, 1, 1), None]
        + [datetime.datetime(1969, 12, 31, 23, 59, 59, 500000), datetime.datetime(2000, 1, 1, 0, 0, 0, 1)]
        + [datetime.datetime(2021, 1, day, hour) for day, hour in [(3, 12), (4, 0), (5, 23), (31, 1), (1, 0), (2, 5)]],
    ),
    "tz": (
        pa.timestamp("us", "UTC"),
        [datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59), None]
        + [datetime.datetime(2000 + hour, 1, 1, hour) for hour in range(11)],
    ),
    "b": (pa.bool_(), [True, False, None, True, False, True, False, None, True, True, False, False, True, False]),
}


def hostile_table() -> pa.Table:
    """A row for each way in which engines differ, with ``id`` to tell the rows apart."""
    columns = {"id": pa.array(range(14), pa.int32())}
    for name, (kind, values) in HOSTILE.items():
        columns[name] = pa.array(values, kind)
    return pa.table(columns)

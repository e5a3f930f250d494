"""Predicates as files are filtered by them."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import pyarrow as pa
import pytest

from flightmesh.sources.conditions import expression, fitted, weakened, words
from flightmesh.sources.predicate import AllOf, AnyOf, Compare, Comparison, IsNull, IsPresent, OneOf, Predicate

NUMBERS = pa.table({"x": [1.0, math.nan, None, -0.0, 7.0]})


def kept(predicate: Predicate, table: pa.Table) -> list[object]:
    found, left = fitted(predicate, table.schema)
    assert found is not None
    assert left == ()
    values: list[object] = table.filter(expression(found)).column(0).to_pylist()
    return values


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (">", ["nan", "7.0"]),
        (">=", ["1.0", "nan", "7.0"]),
        ("<", ["-0.0"]),
        ("<=", ["1.0", "-0.0"]),
        ("=", ["1.0"]),
        ("<>", ["nan", "-0.0", "7.0"]),
    ],
)
def test_nan_is_above_all_numbers(op: Comparison, expected: list[str]) -> None:
    """Rows that the engine keeps would not arrive."""
    assert [str(value) for value in kept(Compare("x", op, pa.scalar(1.0)), NUMBERS)] == expected


def test_zeros_are_equal() -> None:
    """``x IN (0.0, 7.0)`` would miss the rows with a negative zero."""
    assert kept(OneOf("x", pa.array([0.0, 7.0])), NUMBERS) == [-0.0, 7.0]


@pytest.mark.parametrize(
    ("kind", "literal"),
    [
        (pa.int8(), pa.scalar(3, pa.int64())),
        (pa.timestamp("ms"), pa.scalar(dt.datetime(2024, 1, 1), pa.timestamp("us"))),
        (pa.time32("s"), pa.scalar(dt.time(12), pa.time64("us"))),
        (pa.decimal128(9, 2), pa.scalar(Decimal("1.50"), pa.decimal128(18, 2))),
        (pa.timestamp("us", "Europe/Berlin"), pa.scalar(0, pa.timestamp("us", "UTC"))),
    ],
)
def test_literals_take_the_columns_type(kind: pa.DataType, literal: pa.Scalar) -> None:
    """The engine knows fewer types than files have, and a filter on the others would not be pushed."""
    values = pa.array([literal, None]).cast(kind)
    assert len(kept(Compare("c", "=", literal), pa.table({"c": values}))) == 1


@pytest.mark.parametrize(
    ("kind", "literal"),
    [
        (pa.int8(), pa.scalar(300)),
        (pa.int64(), pa.scalar(1.5)),
        (pa.float32(), pa.scalar(0.1)),
        (pa.float64(), pa.scalar(math.nan)),
        (pa.string(), pa.scalar(1)),
        (pa.timestamp("us"), pa.scalar(0, pa.timestamp("us", "UTC"))),
        (pa.struct([("x", pa.int64())]), pa.scalar({"x": 1})),
    ],
)
def test_what_cannot_be_said_exactly_is_left(kind: pa.DataType, literal: pa.Scalar) -> None:
    """Rows would be lost to a rounded literal."""
    found, left = fitted(Compare("c", "<", literal), pa.schema([("c", kind)]))
    assert found is None
    assert len(left) == 1
    assert left[0].endswith("files cannot be filtered by it")


def test_an_unknown_column_is_left() -> None:
    """The engine may filter by a column that the source does not have any more."""
    assert fitted(IsNull("z"), pa.schema([("c", pa.int64())])) == (
        None,
        ("z IS NULL: files cannot be filtered by it",),
    )


A = Compare("a", "=", pa.scalar(1))
B = Compare("b", "=", pa.scalar("x"))


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        (A, A),
        (B, None),
        (AllOf((A, B)), A),
        (AnyOf((A, B)), None),
        (AnyOf((AllOf((A, B)), A)), AnyOf((A, A))),
        (AllOf((AnyOf((A, B)), IsPresent("a"))), IsPresent("a")),
    ],
)
def test_weakened_to_some_columns_it_still_holds(predicate: Predicate, expected: Predicate | None) -> None:
    """Files would be pruned that hold wanted rows."""
    assert weakened(predicate, frozenset(("a",))) == expected


def test_words_are_much_like_sql() -> None:
    """``explain`` would show a library's notation."""
    predicate = AllOf(
        (
            AnyOf((A, Compare("order", "<=", pa.scalar("O'Neil")))),
            OneOf("n", pa.array(range(10))),
            IsNull("größe"),
            IsPresent("two words"),
            Compare("t", ">", pa.scalar(dt.date(2024, 1, 1))),
            Compare("b", "=", pa.scalar(b"\x01")),
        )
    )
    assert words(predicate) == (
        "((a = 1) OR (order <= 'O''Neil')) AND (n IN (0, 1, 2, 3, 4, 5, 6, 7, and 2 more)) AND (größe IS NULL) "
        "AND (\"two words\" IS NOT NULL) AND (t > '2024-01-01') AND (b = x'01')"
    )

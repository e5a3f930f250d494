"""Filters as DuckDB really hands them to a scan: read into values that keep at least the rows that the filter keeps."""

from __future__ import annotations

import datetime
import resource
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest
from hypothesis import given, strategies as st

from flightmesh.sources.predicate import (
    AllOf,
    AnyOf,
    Compare,
    Comparison,
    IsNull,
    IsPresent,
    OneOf,
    Predicate,
    all_of,
    columns_of,
    conjuncts,
    decode,
    fields,
    to_arrow,
)


class _Noting(ds.Dataset):  # type: ignore[misc]  # pyarrow is untyped
    """A dataset that notes the filters DuckDB asks it to apply."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self.filters: list[pc.Expression | None] = []

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema

    def scanner(
        self, columns: Sequence[str] | None = None, filter: pc.Expression | None = None, **_: Any
    ) -> ds.Scanner:
        self.filters.append(filter)
        return ds.dataset(self.table).scanner(columns=columns, filter=filter)


UTC = datetime.UTC
TABLE = pa.table(
    {
        "i": pa.array([1, 2, None, 4], pa.int32()),
        "b": pa.array([1, -5, 7, None], pa.int64()),
        "u": pa.array([1, 2, None, 2**64 - 1], pa.uint64()),
        "f": pa.array([1.5, float("nan"), None, -0.0]),
        "s": ["a", None, "ü\u3000'x", "a\0b"],
        "d": pa.array([datetime.date(2020, 1, 1), None, datetime.date(1, 1, 1), datetime.date(9999, 1, 1)]),
        "ts": pa.array([0, None, 1_500_000, -1], pa.timestamp("us")),
        "tz": pa.array([0, None, 1_500_000, -1], pa.timestamp("us", "UTC")),
        "tm": pa.array([0, None, 1_500_000, 1], pa.time64("us")),
        "dec": pa.array([Decimal("1.10"), None, Decimal("-2.25"), Decimal("0.00")], pa.decimal128(38, 2)),
        "bin": pa.array([b"a\0b", None, b"", b"\xff"]),
        "flag": [True, None, False, True],
        "st": pa.array([{"x": 1}, None, {"x": None}, {"x": 3}]),
    }
)


def _asked(where: str, table: pa.Table = TABLE) -> tuple[list[pc.Expression | None], int]:
    """The filters of DuckDB's scans of the table ``t`` for this condition, and how many rows it keeps."""
    noting = _Noting(table)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("t", noting)
        found = connection.sql(f"SELECT count(*) FROM t WHERE {where}").fetchall()
    return noting.filters, found[0][0]


def _one(where: str) -> pc.Expression:
    (expression,), _ = _asked(where)
    assert expression is not None, "DuckDB pushes this no more: the test has to ask otherwise"
    return expression


def _instant(micros: int, zone: str | None = None) -> pa.Scalar:
    return pa.scalar(micros, pa.timestamp("us", zone))


def _decimal(text: str) -> pa.Scalar:
    return pa.scalar(Decimal(text), pa.decimal128(38, 2))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("i = 1", Compare("i", "=", pa.scalar(1, pa.int32()))),
        ("i <> 1", Compare("i", "<>", pa.scalar(1, pa.int32()))),
        ("i < 2", Compare("i", "<", pa.scalar(2, pa.int32()))),
        ("i <= 2", Compare("i", "<=", pa.scalar(2, pa.int32()))),
        ("i > 2", Compare("i", ">", pa.scalar(2, pa.int32()))),
        ("i >= 2", Compare("i", ">=", pa.scalar(2, pa.int32()))),
        ("2 < i", Compare("i", ">", pa.scalar(2, pa.int32()))),
        ("NOT i = 1", Compare("i", "<>", pa.scalar(1, pa.int32()))),
        ("b = -5", Compare("b", "=", pa.scalar(-5))),
        ("u = 18446744073709551615", Compare("u", "=", pa.scalar(2**64 - 1, pa.uint64()))),
        ("f = 1.5", Compare("f", "=", pa.scalar(1.5))),
        ("s = 'a'", Compare("s", "=", pa.scalar("a"))),
        ("s = 'ü\u3000''x'", Compare("s", "=", pa.scalar("ü\u3000'x"))),
        ("s > 'a' || chr(0)", Compare("s", ">", pa.scalar("a\0"))),
        ("d > DATE '0001-01-01'", Compare("d", ">", pa.scalar(datetime.date(1, 1, 1)))),
        ("ts = TIMESTAMP '1970-01-01 00:00:01.5'", Compare("ts", "=", _instant(1_500_000))),
        ("tz >= TIMESTAMPTZ '1970-01-01 02:00:00+02'", Compare("tz", ">=", _instant(0, "UTC"))),
        ("tm = TIME '00:00:01.5'", Compare("tm", "=", pa.scalar(1_500_000, pa.time64("us")))),
        ("dec = -2.25", Compare("dec", "=", _decimal("-2.25"))),
        ("bin = 'a\\x00b'::BLOB", Compare("bin", "=", pa.scalar(b"a\0b"))),
        ("flag = true", Compare("flag", "=", pa.scalar(True))),
        ("i IS NULL", IsNull("i")),
        ("i IS NOT NULL", IsPresent("i")),
        ("st IS NULL", IsNull("st")),
    ],
)
def test_what_duckdb_asks_is_read(where: str, expected: Predicate) -> None:
    """Each comparison of each type arrives at sources with its value and type exact: a wrong one loses rows."""
    assert decode(_one(where)) == expected


def test_lists_of_values() -> None:
    """``IN`` is one question to a source and not a scan of everything; its values keep their type."""
    assert decode(_one("i IN (1, 4)")) == OneOf("i", pa.array([1, 4], pa.int32()))
    assert decode(_one("s IN ('a', 'ü\u3000''x')")) == OneOf("s", pa.array(["a", "ü\u3000'x"]))
    assert decode(_one("dec IN (1.1, -2.25)")) == OneOf(
        "dec", pa.array([Decimal("1.10"), Decimal("-2.25")], pa.decimal128(38, 2))
    )
    both = decode(_one("bin IN ('a\\x00b'::BLOB, '\\xFF'::BLOB)"))
    assert both == OneOf("bin", pa.array([b"a\0b", b"\xff"]))


def test_both_zeros_are_asked_for() -> None:
    """DuckDB holds -0.0 and 0.0 for equal; sources and Arrow may not: the rows of both must come."""
    filters, count = _asked("f IN (0.0, 1.5)")
    assert count == 2
    found = decode(filters[0])
    assert found is not None
    assert TABLE.filter(to_arrow(found)).num_rows == 2


def test_and_or_and_what_is_left_out() -> None:
    """Of an AND what cannot be said is left out (more rows); an OR is said whole or not at all (else rows are lost)."""
    one, five = Compare("i", "=", pa.scalar(1, pa.int32())), Compare("b", "=", pa.scalar(-5))
    assert decode(_one("i = 1 AND b = -5")) == AllOf((one, five))
    assert decode(_one("i = 1 OR b = -5")) == AnyOf((one, five))
    assert decode(_one("i = 1 OR i IS NULL OR b = -5")) == AnyOf((one, IsNull("i"), five))
    unknown = pc.field("s") == pc.field("s")
    known = pc.field("i") == pa.scalar(1, pa.int32())
    assert decode(known & unknown) == one
    assert decode(known | unknown) is None
    assert decode(~known) is None
    assert decode(unknown) is None
    assert decode((known & unknown) | known) is None


@pytest.mark.parametrize(
    "expression",
    [
        pc.field("i") == pa.scalar(None, pa.int32()),
        pc.field("i").isin([]),
        pc.field("i").isin([1, None]),
        pc.field("f").is_null(nan_is_null=True),
        pc.field(("st", "x")) == 1,
        pc.field("i").cast(pa.int64()) == 1,
        pc.scalar(True),
        pc.field("flag"),
        pc.scalar(1) == pc.scalar(1),
        pc.if_else(pc.field("i").is_valid(), pc.field("b").isin([1]), pa.scalar(None, pa.bool_())),
        pc.if_else(pc.field("i").is_valid(), pc.field("i").isin([1]), pa.scalar(True)),
    ],
)
def test_what_has_no_form_is_none(expression: pc.Expression) -> None:
    """What is not understood asks for all rows; it must never end the read or be taken for something else."""
    assert decode(expression) is None


def test_a_literal_on_the_left_is_mirrored() -> None:
    """``2 < i`` means ``i > 2``: read the other way round it would bring the other rows."""
    pairs: dict[Comparison, Comparison] = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "<>": "<>"}
    two = pa.scalar(2, pa.int32())
    made: dict[Comparison, Any] = {
        "<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal, "=": pc.equal, "<>": pc.not_equal
    }  # fmt: skip
    for op, mirrored in pairs.items():
        assert decode(made[op](pc.scalar(two), pc.field("i"))) == Compare("i", mirrored, two)


def test_none_is_none() -> None:
    """A scan without a filter asks for all rows."""
    assert decode(None) is None


def test_fields_are_all_that_the_filter_reads() -> None:
    """A column that the filter reads and nobody fetches would end the read; None has all columns fetched."""
    assert sorted(fields(_one("i = 1 AND (s = 'a' OR b IN (1, 2)) AND i <> 9")) or ()) == ["b", "i", "s"]
    assert fields(pc.scalar(True)) == ()
    assert fields(pc.field(("st", "x")) == 1) is None


def test_names_that_the_form_uses_itself() -> None:
    """A column named as a word of the pickled form, or holding dots, quotes or nothing, is a column like others."""
    for name in ("end", "call", "field_ref", "literal", "options", "a.b", 'q"', "x[0]", "ü", "", "0"):
        assert decode(pc.field(name) == 1) == Compare(name, "=", pa.scalar(1)), name
        assert fields((pc.field(name) == 1) & pc.field(name).is_null()) == (name,)


def test_conditions_by_the_thousand() -> None:
    """Generated statements nest as deeply as they are long: they ask for more rows and do not end the read."""
    expression = pc.field("i") != 0
    for n in range(1, 3_000):
        expression &= pc.field("i") != n
    assert decode(expression) is None
    assert fields(expression) is None


def test_parts_and_columns() -> None:
    """What sources take a predicate apart with: parts in order, nested ANDs flat, each column once."""
    one, two, three = IsNull("a"), IsPresent("b"), Compare("a", "=", pa.scalar(1))
    assert conjuncts(None) == ()
    assert conjuncts(one) == (one,)
    assert conjuncts(AllOf((one, two))) == (one, two)
    assert all_of(()) is None
    assert all_of((one,)) == one
    assert all_of((one, AllOf((two, three)))) == AllOf((one, two, three))
    assert columns_of(None) == ()
    assert columns_of(AnyOf((one, AllOf((two, three))))) == ("a", "b")


def test_reading_filters_keeps_no_memory() -> None:
    """A server reads a filter per scan for months: what the C interface lends must be given back."""
    expression = _one("i = 1 AND s IN ('a', 'b')")

    def grown() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(5_000):
            decode(expression)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    grown()
    assert grown() < 4_000  # kB; a leak of one message each would be 10,000


_CONDITIONS = st.recursive(
    st.sampled_from(
        [
            "i = 1", "i <> 2", "i < 4", "i >= 2", "i IN (1, 4)", "i NOT IN (1, 4)", "i IN (1, NULL)", "i IS NULL",
            "i IS NOT NULL", "b = -5", "b BETWEEN -5 AND 1", "u > 1", "f = 0.0", "f < 2", "f > 1", "f <> 1.5",
            "f IN (0.0, 1.5)", "f = 'NaN'::DOUBLE", "f IS NULL", "s = 'a'", "s > 'a'", "s LIKE 'a%'", "length(s) = 1",
            "s IN ('a', 'b')", "s = 'a' || chr(0) || 'b'", "d < DATE '2000-01-01'", "d IS NOT NULL", "dec > 0.5",
            "dec IN (1.1, 0)", "ts < TIMESTAMP '1970-01-01'", "tz >= TIMESTAMPTZ '1970-01-01 00:00:00+00'",
            "tm = TIME '00:00:00'", "bin = ''::BLOB", "flag", "NOT flag", "flag = false", "st.x = 1", "st IS NULL",
            "st.x IN (1, 3)", "i = b", "i + 1 = 2", "i IS DISTINCT FROM 1", "true", "NULL",
        ]
    ),
    lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from(["AND", "OR"]), inner)
    | st.builds("(NOT {})".format, inner),
    max_leaves=6,
)  # fmt: skip


@given(_CONDITIONS)
def test_no_row_is_lost(where: str) -> None:
    """Whatever the condition: what DuckDB keeps of rows at hand is what it keeps of a filtered scan, and what a source
    is asked for holds at least those rows.
    """
    filters, count = _asked(where)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("given", TABLE)
        connection.execute("CREATE TABLE t AS SELECT * FROM given")
        assert connection.sql(f"SELECT count(*) FROM t WHERE {where}").fetchall() == [(count,)]
    numbered = TABLE.append_column("at", pa.array(range(TABLE.num_rows)))
    for expression in filters:
        asked = decode(expression)
        if expression is None or asked is None:
            continue
        kept = numbered.filter(expression)["at"].to_pylist()
        brought = numbered.filter(to_arrow(asked))["at"].to_pylist()
        assert {*kept} <= {*brought}

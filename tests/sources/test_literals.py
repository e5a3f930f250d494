"""Literals: every one means exactly the value it came from, or there is none. Read back by the engine itself."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from flightmesh.sources import literals
from flightmesh.sources.render import Literal

CONNECTION = duckdb.connect()


def back(sql: str | None) -> object:
    """What DuckDB reads."""
    return CONNECTION.sql(f"SELECT {sql} AS v").to_arrow_table()["v"][0].as_py()


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_integers(value: int) -> None:
    """A key would be another key."""
    assert back(literals.integer(pa.scalar(value))) == value


@given(st.floats())
def test_floats(value: float) -> None:
    """A float that is written in decimal and read back would be its neighbour."""
    found = back(literals.duckdb_float(pa.scalar(value)))
    assert found == value or (math.isnan(value) and math.isnan(float(str(found))))


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_texts(value: str) -> None:
    """A quote in a user's text would end the literal."""
    assert back(literals.text(pa.scalar(value))) == value


@given(st.decimals(-(10**16), 10**16, places=3))
def test_decimals(value: Decimal) -> None:
    """An exponent would make it a float."""
    assert back(literals.decimal_number(pa.scalar(value, pa.decimal128(20, 3)))) == value


@given(st.dates(), st.times(), st.datetimes())
def test_moments(day: datetime.date, time: datetime.time, moment: datetime.datetime) -> None:
    """An instant would be read in the server's own time zone."""
    assert back(literals.date(pa.scalar(day))) == day
    assert back(literals.time(pa.scalar(time, pa.time64("us")))) == time
    assert back(literals.timestamp(pa.scalar(moment, pa.timestamp("us")))) == moment
    instant = moment.replace(tzinfo=datetime.UTC)
    assert back(literals.timestamp(pa.scalar(instant, pa.timestamp("us", "UTC")))) == instant


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        (literals.integer, pa.scalar(-(2**63))),
        (literals.text, pa.scalar("a\0b")),
        (literals.date, pa.scalar(2**31 - 1, pa.int32()).cast(pa.date32())),
        (literals.timestamp, pa.scalar(1, pa.timestamp("ns"))),
        (literals.finite_float, pa.scalar(float("nan"))),
    ],
)
def test_what_cannot_be_written_is_not(literal: Literal, value: pa.Scalar) -> None:
    """The source would compare with another value."""
    assert literal(value) is None


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        (literals.integer, pa.scalar(Decimal("1.5"))),
        (literals.boolean, pa.scalar("x")),
        (literals.decimal_number, pa.scalar(0.1)),
        (literals.text, pa.scalar(5)),
        (literals.text, pa.scalar(None, pa.string())),
        (literals.postgres_float, pa.scalar("1")),
        (literals.duckdb_float, pa.scalar(True)),
        (literals.finite_float, pa.scalar(b"1")),
        (literals.date, pa.scalar(datetime.datetime(2026, 1, 1))),
        (literals.timestamp, pa.scalar(datetime.date(2026, 1, 1))),
        (literals.time, pa.scalar("12:00")),
    ],
)
def test_a_value_of_another_type_has_no_literal(literal: Literal, value: pa.Scalar) -> None:
    """A filter that the engine widened would end in a failure instead of being left to the engine."""
    assert literal(value) is None


def test_postgres_floats_keep_their_width() -> None:
    """A real column compared with a double finds nothing: 0.1 is not 0.1."""
    assert literals.postgres_float(pa.scalar(0.1, pa.float32())) == "'0.10000000149011612'::float4"
    assert literals.postgres_float(pa.scalar(float("-inf"))) == "'-Infinity'::float8"
    assert literals.finite_float(pa.scalar(0.1)) == "0.1"
    assert literals.boolean(pa.scalar(True)) == "TRUE"

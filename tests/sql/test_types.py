"""``flightmesh.sql.types``: a bound value reaches the engine as itself."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.sql.types import python_value, sql_type

MOMENT = datetime(2013, 1, 1, 10, 5, 6, 123456)


@pytest.fixture(scope="module")
def engine() -> Any:
    """A connection that knows no machine's time zone."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    yield connection
    connection.close()


def _returned(engine: Any, scalar: pa.Scalar) -> Any:
    sql = f"SELECT CAST($1 AS {sql_type(scalar.type)}) AS v"
    return engine.sql(sql, params=[python_value(scalar)]).to_arrow_table()["v"][0]


@pytest.mark.parametrize(
    ("value", "arrow"),
    [
        (True, pa.bool_()),
        (-128, pa.int8()),
        (2**15 - 1, pa.int16()),
        (-(2**31), pa.int32()),
        (2**63 - 1, pa.int64()),
        (255, pa.uint8()),
        (2**16 - 1, pa.uint16()),
        (2**32 - 1, pa.uint32()),
        (2**64 - 1, pa.uint64()),
        (1.5, pa.float32()),
        (0.1, pa.float64()),
        (float("inf"), pa.float64()),
        (Decimal("-12.345"), pa.decimal128(5, 3)),
        (Decimal("9" * 38), pa.decimal128(38, 0)),
        ("é\U0001f512'", pa.string()),
        ("", pa.large_string()),
        (b"\x00\xff'", pa.binary()),
        (b"abcd", pa.binary(4)),
        (date(9999, 12, 31), pa.date32()),
        (time(23, 59, 59, 999999), pa.time64("us")),
        (MOMENT, pa.timestamp("us")),
        (datetime(2013, 1, 1), pa.timestamp("s")),
        (datetime(2013, 1, 1, 1, 1, 1, 5000), pa.timestamp("ms")),
        (MOMENT, pa.timestamp("ns")),
        (MOMENT.replace(tzinfo=UTC), pa.timestamp("us", "UTC")),
        (MOMENT.replace(tzinfo=UTC), pa.timestamp("us", "America/New_York")),
        (datetime(1, 1, 1), pa.timestamp("us")),
    ],
    ids=str,
)
def test_a_value_comes_back_as_it_was_bound(engine: Any, value: Any, arrow: pa.DataType) -> None:
    """A parameter would be rounded, shifted by a time zone or lose its type on the way."""
    assert _returned(engine, pa.scalar(value, arrow)).as_py() == value


@given(st.integers(-(2**62), 2**62))
def test_nanoseconds_are_kept(engine: Any, value: int) -> None:
    """Python's own times end at microseconds."""
    assert _returned(engine, pa.scalar(value, pa.timestamp("ns"))).value == value


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)))
def test_an_instant_is_kept_in_every_zone(engine: Any, value: datetime) -> None:
    """A reader in another zone would get another instant."""
    bound = pa.scalar(value.replace(tzinfo=UTC), pa.timestamp("us", "Europe/Paris"))
    assert _returned(engine, bound).value == bound.value


def test_nanoseconds_with_a_zone_are_refused_not_rounded() -> None:
    """A reader would silently lose the last three digits."""
    with pytest.raises(FlightmeshError) as caught:
        python_value(pa.scalar(1_001, pa.timestamp("ns", "UTC")))
    assert caught.value.code is ErrorCode.INVALID
    assert python_value(pa.scalar(1_000, pa.timestamp("ns", "UTC"))) == "1970-01-01 00:00:00.000001000+00"


@pytest.mark.parametrize("arrow", [pa.int8(), pa.string(), pa.timestamp("ns", "UTC"), pa.decimal128(5, 2), pa.null()])
def test_null_stays_null(arrow: pa.DataType) -> None:
    """A missing value would be bound as a zero or an empty text."""
    assert python_value(pa.scalar(None, arrow)) is None


def test_a_dictionary_is_its_value() -> None:
    """pandas sends categories as dictionaries; the reader means the word."""
    bound = pa.array(["a", "b"]).dictionary_encode()
    assert sql_type(bound.type) == "VARCHAR"
    assert [python_value(item) for item in bound] == ["a", "b"]


@pytest.mark.parametrize(
    "arrow",
    [
        pa.list_(pa.int8()),
        pa.struct({"a": pa.int8()}),
        pa.map_(pa.string(), pa.int8()),
        pa.decimal256(76, 0),
        pa.decimal128(38, -2),
        pa.duration("us"),
        pa.month_day_nano_interval(),
        pa.null(),
    ],
    ids=str,
)
def test_a_type_that_cannot_be_bound_has_no_name(arrow: pa.DataType) -> None:
    """A nested value would reach the engine as its text."""
    assert sql_type(arrow) is None


def test_a_time_is_exact() -> None:
    """As for timestamps: nanoseconds of a time of day."""
    scalar = pa.scalar(int(timedelta(hours=1).total_seconds()) * 10**9 + 7, pa.time64("ns"))
    assert sql_type(scalar.type) == "TIME_NS"
    assert python_value(scalar) == "01:00:00.000000007"

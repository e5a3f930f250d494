"""Rows for a table that is there already: they fit without changing, or they are refused."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest

from flightmesh.engine.fitting import Fitting
from flightmesh.errors import ErrorCode, FlightmeshError

_A_UUID = UUID("12345678-1234-5678-1234-567812345678")


def fitted(array: pa.Array, to: pa.DataType) -> list[Any]:
    batch = pa.record_batch([array], names=["x"])
    result = Fitting(batch.schema, pa.schema([("x", to)])).batch(batch)
    assert result.schema.types == [to]
    result.validate(full=True)
    values: list[Any] = result.column(0).to_pylist()
    return values


@pytest.mark.parametrize(
    ("array", "to", "expected"),
    [
        (pa.array([1, None], pa.int64()), pa.int8(), [1, None]),
        (pa.array([1, None]), pa.float64(), [1.0, None]),
        (pa.array([2.0, float("nan"), None]), pa.float32(), None),
        (pa.array([2.0, None]), pa.int16(), [2, None]),
        (pa.array([7, None]), pa.decimal128(5, 2), [Decimal("7.00"), None]),
        (pa.array([Decimal("1.20")]), pa.decimal128(38, 10), [Decimal("1.2")]),
        (pa.array([0.5]), pa.decimal128(5, 2), [Decimal("0.50")]),
        (pa.array([dt.date(2020, 1, 2)]), pa.timestamp("us"), [dt.datetime(2020, 1, 2)]),
        (pa.array([1], pa.timestamp("s")), pa.timestamp("us"), [dt.datetime(1970, 1, 1, 0, 0, 1)]),
        (pa.array([str(_A_UUID), None]), pa.uuid(), [_A_UUID, None]),
        (pa.array(["{}"]), pa.json_(), ["{}"]),
        (pa.array(["{}"], pa.json_()), pa.string(), ["{}"]),
        (pa.array([None, None], pa.int32()), pa.list_(pa.string()), [None, None]),
        (pa.array([[1, 2], None]), pa.list_(pa.int8()), [[1, 2], None]),
    ],
    ids=str,
)
def test_values_that_fit(array: pa.Array, to: pa.DataType, expected: list[Any] | None) -> None:
    """Clients' integers are of 64 bits whatever the column has: the values count, not the types."""
    result = fitted(array, to)
    if expected is None:
        assert str(result) == str(array.to_pylist())
    else:
        assert result == expected


@pytest.mark.parametrize(
    ("array", "to"),
    [
        (pa.array([128]), pa.int8()),
        (pa.array([0.1]), pa.float32()),
        (pa.array([1.5]), pa.int64()),
        (pa.array([2**53 + 1]), pa.float64()),
        (pa.array([1_000]), pa.decimal128(5, 2)),
        (pa.array([0.125]), pa.decimal128(5, 2)),
        (pa.array(["1"]), pa.int64()),
        (pa.array([1]), pa.string()),
        (pa.array([True]), pa.int64()),
        (pa.array([1], pa.timestamp("ns")), pa.timestamp("us")),
        (pa.array([1], pa.timestamp("us")), pa.timestamp("us", "UTC")),
        (pa.array(["no uuid"]), pa.uuid()),
        (pa.array([b"a"]), pa.string()),
        (pa.array([{"a": 1}]), pa.struct([("b", pa.int64())])),
    ],
    ids=str,
)
def test_values_that_do_not_fit_are_refused(array: pa.Array, to: pa.DataType) -> None:
    """Rounded, cut or parsed they would be others than the client sent."""
    with pytest.raises(FlightmeshError, match="'x' has the type") as failure:
        fitted(array, to)
    assert failure.value.code is ErrorCode.INVALID


def test_columns_are_found_by_name() -> None:
    """In any order and case; missing ones are NULL, unknown ones are refused."""
    kept = pa.schema([("a", pa.int64()), ("B", pa.string())])
    sent = pa.record_batch({"b": ["x"], "A": [1]})
    assert Fitting(sent.schema, kept).batch(sent).to_pydict() == {"a": [1], "B": ["x"]}
    sent = pa.record_batch({"b": ["x"]})
    assert Fitting(sent.schema, kept).batch(sent).to_pydict() == {"a": [None], "B": ["x"]}
    with pytest.raises(FlightmeshError, match="no column 'c'"):
        Fitting(pa.schema([("c", pa.int64())]), kept)

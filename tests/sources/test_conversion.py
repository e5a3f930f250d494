"""Results in the types that were asked for."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from flightmesh.sources.conversion import conforming, storage_of, stored
from flightmesh.sources.drivers import DriverFailure

WIRE = pa.schema([("a", pa.string()), ("b", pa.int32())])


def test_columns_get_their_types_by_place() -> None:
    """Decimals that a driver gives as text would stay text."""
    schema = pa.schema([("x", pa.decimal128(10, 2)), ("y", pa.int64())])
    batch = pa.record_batch({"a": ["1.50", None], "b": pa.array([1, 2], pa.int32())})
    found = conforming(schema)(WIRE)(batch)
    assert found.schema == schema
    assert found.to_pylist()[0] == {"x": Decimal("1.50"), "y": 1}


def test_a_value_that_would_change_is_an_error() -> None:
    """Digits would be lost without a word."""
    with pytest.raises(pa.ArrowException):
        conforming(pa.schema([("x", pa.decimal128(10, 1)), ("y", pa.int64())]))(WIRE)(
            pa.record_batch({"a": ["1.25"], "b": pa.array([1], pa.int32())})
        )


def test_another_number_of_columns_is_an_error() -> None:
    """A column would be read as its neighbour."""
    with pytest.raises(DriverFailure):
        conforming(pa.schema([("x", pa.int64())]))(WIRE)


def test_rows_without_columns_are_counted() -> None:
    """count(*) would be 0."""
    batch = pa.record_batch({"a": ["x", "y"], "b": pa.array([1, 2], pa.int32())}).select([])
    assert conforming(pa.schema([]))(pa.schema([]))(batch).num_rows == 2


def test_extensions_are_taken_off() -> None:
    """The engine would get a type that nobody registered."""
    array = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16], pa.binary(16)))
    assert storage_of(array.type) == pa.binary(16)
    assert stored(array).type == pa.binary(16)

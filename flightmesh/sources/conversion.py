"""Results of drivers in the types that were asked for."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from flightmesh.sources.drivers import DriverFailure

# From the schema of a result as the driver gives it: the conversion of its batches. Raises DriverFailure when the
# result cannot be what was asked for; the conversion of a batch raises pa.ArrowException for a value that does not fit.
Convert = Callable[[pa.RecordBatch], pa.RecordBatch]
Conversion = Callable[[pa.Schema], Convert]


def storage_of(kind: pa.DataType) -> pa.DataType:
    """The type without the extension that a driver puts around it."""
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def stored(array: pa.Array) -> pa.Array:
    """The array without the extension that a driver puts around it."""
    return array.storage if isinstance(array.type, pa.BaseExtensionType) else array


def conforming(schema: pa.Schema, *, is_typed: bool = False) -> Conversion:
    """Brings columns in order to the types of the schema; a value that would change is an error. ``is_typed``: so is
    another type.
    """

    def conversion(wire: pa.Schema) -> Convert:
        if len(wire) != len(schema):
            raise DriverFailure(f"{len(wire)} columns arrive instead of {len(schema)}", is_lost=False, is_refusal=True)
        if is_typed and list(map(storage_of, wire.types)) != schema.types:
            raise DriverFailure(f"{wire.types} arrive instead of {schema.types}", is_lost=False, is_refusal=True)
        return convert if len(schema) else lambda batch: batch.select([])

    def convert(batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = [_cast(stored(array), item.type) for array, item in zip(batch.columns, schema, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    return conversion


def as_it_is(_wire: pa.Schema) -> Convert:
    """The driver's own types."""
    return lambda batch: batch


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    return array if array.type == kind else array.cast(kind)

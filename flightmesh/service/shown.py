"""Schemas as a client is shown them: with what its driver reads beside the types, and without what it misreads."""

from __future__ import annotations

import pyarrow as pa

from flightmesh.service.options import Options

_WIDER: dict[pa.DataType, pa.DataType] = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
}
_PRECISION, _SCALE = "ARROW:FLIGHT:SQL:PRECISION", "ARROW:FLIGHT:SQL:SCALE"


def result(schema: pa.Schema, options: Options) -> pa.Schema:
    """The schema of a result: precision and scale stand beside decimals, where the JDBC driver looks for them."""
    return pa.schema([_described(_widened(field) if options.java_types else field) for field in schema])


def widened(schema: pa.Schema) -> pa.Schema:
    """The columns of a table as results show them to clients in Java; what stands beside them is kept."""
    return pa.schema([_widened(field) for field in schema], schema.metadata)


def parameters(schema: pa.Schema, options: Options) -> pa.Schema:
    """The schema of a statement's parameters, as its client can fill it."""
    return pa.schema([_in_milliseconds(field) for field in schema]) if options.java_types else schema


def _widened(field: pa.Field) -> pa.Field:
    return field.with_type(_WIDER.get(field.type, field.type))


def _described(field: pa.Field) -> pa.Field:
    if not pa.types.is_decimal(field.type):
        return field
    return field.with_metadata({_PRECISION: str(field.type.precision), _SCALE: str(field.type.scale)})


def _in_milliseconds(field: pa.Field) -> pa.Field:
    if pa.types.is_timestamp(field.type):
        return field.with_type(pa.timestamp("ms", field.type.tz))
    return field.with_type(pa.time32("ms")) if pa.types.is_time(field.type) else field

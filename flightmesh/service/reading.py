"""An execution's rows under the schema that was promised, and its failures in words."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from flightmesh.engine.base import Execution
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.service.running import Watch

# What HUGEINT travels as.
_WIDEST = pa.decimal128(38, 0)


def batches(execution: Execution, schema: pa.Schema, watch: Watch) -> Iterator[pa.RecordBatch]:
    """The execution's batches; what it raises, or why it was stopped, as FlightmeshError."""
    reader = _started(execution, watch)
    if reader.schema.names != schema.names:
        raise FlightmeshError(ErrorCode.INTERNAL, "The engine's columns are not those of the plan.")
    wide = [place for place, kind in enumerate(schema.types) if _is_wide(kind)]
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return
        except Exception as error:  # Whatever the engine raises in its stream: it tells what it means.
            failure = watch.failure or execution.explain(error)
        else:
            yield _checked(batch if batch.schema.equals(schema) else _conformed(batch, schema), wide)
            continue
        raise failure


def _started(execution: Execution, watch: Watch) -> pa.RecordBatchReader:
    try:
        return execution.start()
    except FlightmeshError as error:
        failure = watch.failure or error
    raise failure


def _is_wide(kind: pa.DataType) -> bool:
    return kind == _WIDEST or any(_is_wide(kind.field(place).type) for place in range(kind.num_fields))


def _checked(batch: pa.RecordBatch, wide: list[int]) -> pa.RecordBatch:
    """The batch; INVALID for a HUGEINT that no decimal of 38 digits holds, which clients would show as they please."""
    for place in wide:
        try:
            batch.column(place).validate(full=True)
        except pa.ArrowInvalid:
            name = batch.schema.names[place]
        else:
            continue
        raise FlightmeshError(
            ErrorCode.INVALID,
            f"A value of the column {name[:200]} has more than 38 digits, and Arrow's decimals have not.",
            hint="Cast the column to VARCHAR or DOUBLE.",
        )
    return batch


def _conformed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with dictionaries decoded, at any depth: clients get plain values unless they ask."""
    columns = [
        column if column.type == field.type else column.cast(field.type)
        for column, field in zip(batch.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)

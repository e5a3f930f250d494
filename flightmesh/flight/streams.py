"""Record batches on their way out: sized for every client, owned by a generator that gives back all it holds however
it ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing

import pyarrow as pa
import pyarrow.flight as fl

from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flight.status import guarded_stream
from flightmesh.flight.watcher import Watched, Watcher
from flightmesh.service.queries import Execution, Running


def data_stream(
    running: Running, context: fl.ServerCallContext, *, watcher: Watcher, limits: Limits
) -> fl.FlightDataStream:
    """The result as a Flight stream. Nothing is acquired before the first batch is asked for."""
    batches = guarded_stream(_batches(running, context, watcher, limits), "do_get")
    return fl.GeneratorStream(running.schema, batches)


def table_stream(table: pa.Table) -> fl.FlightDataStream:
    """A small table that is complete in memory."""
    return fl.RecordBatchStream(table)


def sized(batch: pa.RecordBatch, bytes_max: int) -> Iterator[pa.RecordBatch]:
    """The batch in slices of equal rows, each within the bound; a single row over the bound goes alone.

    A slice is measured as it is written, with its metadata: that of thousands of columns is not small.
    """
    size = pa.ipc.get_record_batch_size(batch)
    if size <= bytes_max or batch.num_rows <= 1:
        yield batch
        return
    overhead = pa.ipc.get_record_batch_size(batch.slice(0, 0))
    parts = math.ceil((size - overhead) / max(1, bytes_max - overhead))
    rows = math.ceil(batch.num_rows / max(2, min(parts, batch.num_rows)))
    for start in range(0, batch.num_rows, rows):
        # Rows differ in size: a slice may still be over the bound.
        yield from sized(batch.slice(start, rows), bytes_max)


def _batches(
    running: Running, context: fl.ServerCallContext, watcher: Watcher, limits: Limits
) -> Iterator[pa.RecordBatch]:
    with running.open() as executions, watcher.watch(context, limits.query_timeout_s) as watched:
        for execution in executions:
            # Here and not left to whoever frees this frame: an error keeps it alive until the garbage is collected.
            with closing(execution), watched.cancelling(execution.cancel):
                for batch in _read(execution, running.schema, watched):
                    for part in sized(batch, limits.batch_bytes_max):
                        with watched.sending():
                            yield part


def _read(execution: Execution, schema: pa.Schema, watched: Watched) -> Iterator[pa.RecordBatch]:
    """The execution's batches under the schema that was promised."""
    reader = _started(execution, watched)
    if reader.schema.names != schema.names:
        raise FlightmeshError(ErrorCode.INTERNAL, "The engine's columns are not those of the plan.")
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return
        except Exception as error:  # Whatever the engine raises in its stream: it tells what it means.
            failure = watched.failure or execution.explain(error)
        else:
            yield batch if batch.schema.equals(schema) else _conformed(batch, schema)
            continue
        raise failure


def _started(execution: Execution, watched: Watched) -> pa.RecordBatchReader:
    try:
        return execution.start()
    except FlightmeshError as error:
        failure = watched.failure or error
    raise failure


def _conformed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with dictionaries decoded, at any depth: clients get plain values."""
    columns = [
        column if column.type == field.type else column.cast(field.type)
        for column, field in zip(batch.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)

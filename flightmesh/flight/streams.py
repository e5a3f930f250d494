"""Record batches on their way out: sized for every client, owned by a generator that gives back all it holds however
it ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing

import pyarrow as pa
import pyarrow.flight as fl

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flight.status import guarded_stream
from flightmesh.flight.watcher import Watcher
from flightmesh.service.queries import Running
from flightmesh.service.reading import batches


def data_stream(running: Running, context: fl.ServerCallContext, *, watcher: Watcher) -> fl.FlightDataStream:
    """The result as a Flight stream. Nothing is acquired before the first batch is asked for."""
    return fl.GeneratorStream(running.schema, guarded_stream(_batches(running, context, watcher), "do_get"))


def table_stream(table: pa.Table, bytes_max: int) -> fl.FlightDataStream:
    """A table that is complete in memory."""
    parts = (part for batch in table.to_batches() for part in sized(batch, bytes_max))
    return fl.GeneratorStream(table.schema, guarded_stream(parts, "do_get"))


def sized(batch: pa.RecordBatch, bytes_max: int) -> Iterator[pa.RecordBatch]:
    """The batch in slices of equal rows, each within the bound. INVALID for a single row over the bound.

    A slice is measured as it is written, with its metadata: that of thousands of columns is not small.
    """
    size = pa.ipc.get_record_batch_size(batch)
    if size <= bytes_max or batch.num_rows == 0:
        yield batch
        return
    if batch.num_rows == 1:
        raise FlightmeshError(
            ErrorCode.INVALID,
            f"A row of the result takes {size} bytes; a message of this session takes {bytes_max}.",
            hint="Ask for larger messages with the session option batch_bytes_max, or read less of the row.",
        )
    overhead = pa.ipc.get_record_batch_size(batch.slice(0, 0))
    parts = math.ceil((size - overhead) / max(1, bytes_max - overhead))
    rows = math.ceil(batch.num_rows / max(2, min(parts, batch.num_rows)))
    for start in range(0, batch.num_rows, rows):
        # Rows differ in size: a slice may still be over the bound.
        yield from sized(batch.slice(start, rows), bytes_max)


def _batches(
    running: Running, context: fl.ServerCallContext, watcher: Watcher
) -> Iterator[pa.RecordBatch | pa.RecordBatchReader]:
    # pyarrow leaves the dictionaries of a single batch out; those of a reader it sends.
    has_dictionaries = any(map(_has_dictionary, running.schema.types))
    with (
        watcher.watch(context, running.timeout_s) as watched,
        running.enter(watched),
        running.open(watched) as executions,
    ):
        for execution in executions:
            # Here and not left to whoever frees this frame: an error keeps it alive until the garbage is collected.
            with closing(execution), watched.cancelling(execution.cancel):
                for batch in batches(execution, running.schema, watched):
                    if watched.failure is not None:
                        raise watched.failure  # The engine may be done, and its rows only wait to be sent.
                    for part in sized(batch, running.batch_bytes_max):
                        with watched.sending():
                            yield (
                                pa.RecordBatchReader.from_batches(running.schema, [part]) if has_dictionaries else part
                            )


def _has_dictionary(kind: pa.DataType) -> bool:
    return pa.types.is_dictionary(kind) or any(
        _has_dictionary(kind.field(place).type) for place in range(kind.num_fields)
    )

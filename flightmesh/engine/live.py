"""Live relations for DuckDB: a scan that reads from its source what the whole optimised statement needs, and streams.

DuckDB asks whatever looks to it like a pyarrow dataset for columns and rows when it scans it, with the projection and
the filters of user, policy and model taken together. So an object that is a dataset by name only passes the question
on to the source. Rows are filtered again here: a source may bring more than was asked for, never fewer.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset

from flightmesh.engine.base import Nested, Scan
from flightmesh.engine.diagnosis import runtime_error
from flightmesh.engine.rehearsal import wanted
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.sources.base import BATCH_ROWS, Fetch, Narrowing
from flightmesh.sources.predicate import decode

log = logging.getLogger(__name__)

# Opens a narrowed read of a scan; the schema is that of the columns that are asked for.
OpenScan = Callable[[Scan, Narrowing, pa.Schema, Nested], Fetch]


class Reads:
    """The live reads of one execution: what is open, and what went wrong first. Called from DuckDB's threads."""

    def __init__(
        self, open_scan: OpenScan, scans: Mapping[str, Scan], connect: Callable[[], duckdb.DuckDBPyConnection]
    ) -> None:
        """``connect`` gives a new cursor on the statement's instance; ``scans`` are all that the statement may read."""
        self._open_scan = open_scan
        self._scans = scans
        self._connect = connect
        self._lock = threading.Lock()
        self._fetches: list[Fetch] = []
        self._waiting: list[tuple[Scan, Narrowing, Fetch]] = []
        self._is_over = False
        self.failure: FlightmeshError | None = None

    def register(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Gives the scans their names on the cursor."""
        for name, scan in self._scans.items():
            cursor.register(name, _Dataset(scan, self))

    def nested(self, sql: str) -> Fetch:
        """A query that a read makes over what its own statement may read, on a cursor of its own."""
        cursor = self._connect()
        try:
            self.register(cursor)
            reader = cursor.sql(sql).to_arrow_reader(BATCH_ROWS)
        except duckdb.Error as error:
            cursor.close()
            raise self._explained(error) from error
        except BaseException:
            cursor.close()
            raise
        rows = pa.RecordBatchReader.from_batches(reader.schema, self._explaining(reader))
        return Fetch(rows, lambda: _interrupt(cursor), lambda: _give_back(cursor, reader))

    def _explaining(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        try:
            yield from reader
        except Exception as error:  # Of DuckDB's, pyarrow passes on no more than a text.
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> FlightmeshError:
        log.debug("live.nested.failed", exc_info=error)
        return self.failure or runtime_error(str(error))

    def open(self, scan: Scan, columns: Sequence[str], expression: pc.Expression | None) -> pa.RecordBatchReader:
        """The rows of the scan that pass the expression, with these columns."""
        try:
            narrowing = Narrowing(wanted(scan.schema, columns, expression), decode(expression))
            fetch = self._begun(scan, narrowing) or self._opened(scan, narrowing)
        except Exception as error:
            self._fail(error)
            raise
        final = pa.schema([scan.schema.field(name) for name in columns])
        return pa.RecordBatchReader.from_batches(final, self._batches(fetch, final, expression))

    def begin(self, asked: Sequence[tuple[Scan, Narrowing]]) -> None:
        """Opens reads that the statement is about to ask for, side by side; a failure counts only if it does ask."""
        for scan, narrowing in asked:
            with suppress(Exception):  # A hint alone: what is wrong is told when the statement asks.
                fetch = self._opened(scan, narrowing)
                with self._lock:
                    self._waiting.append((scan, narrowing, fetch))

    def _begun(self, scan: Scan, narrowing: Narrowing) -> Fetch | None:
        """The read that was opened for exactly this; None when there is none."""
        with self._lock:
            for index, (other, asked, fetch) in enumerate(self._waiting):
                if other is scan and asked == narrowing:
                    del self._waiting[index]
                    return fetch
        return None

    def _opened(self, scan: Scan, narrowing: Narrowing) -> Fetch:
        with self._lock:
            if self._is_over:
                raise FlightmeshError(ErrorCode.CANCELLED, "The statement was stopped.")
        schema = pa.schema([scan.schema.field(name) for name in narrowing.columns or scan.schema.names])
        fetch = self._open_scan(scan, narrowing, schema, self.nested)
        with self._lock:
            self._fetches.append(fetch)
            is_over = self._is_over
        if is_over:  # Nobody reads it, and whoever closes the reads may have done so already.
            fetch.cancel()
            fetch.close()
            raise FlightmeshError(ErrorCode.CANCELLED, "The statement was stopped.")
        return fetch

    def cancel(self) -> None:
        """Stops every read, at once or as soon as it is opened."""
        with self._lock:
            self._is_over = True
            fetches = list(self._fetches)
        for fetch in fetches:
            fetch.cancel()

    def close(self) -> None:
        """Gives back what the reads hold."""
        self.cancel()
        with self._lock:
            fetches, self._fetches = self._fetches, []
        for fetch in fetches:
            with suppress(FlightmeshError):
                fetch.close()

    def _batches(self, fetch: Fetch, final: pa.Schema, expression: pc.Expression | None) -> Iterator[pa.RecordBatch]:
        try:
            for batch in fetch.reader:
                if expression is None:
                    yield _settled(batch)
                    continue
                kept = pa.Table.from_batches([batch]).filter(expression).select(final.names)
                yield from kept.to_batches()
        except Exception as error:
            self._fail(error)
            raise
        finally:
            fetch.close()

    def _fail(self, error: Exception) -> None:
        """Keeps the first failure: DuckDB passes on no more than a text."""
        if isinstance(error, FlightmeshError):
            failure = error
        else:
            log.error("live.failed", exc_info=error)
            failure = FlightmeshError(
                ErrorCode.UNAVAILABLE, "A source cannot be read.", hint="The server's log says why."
            )
        with self._lock:
            self.failure = self.failure or failure


def _settled(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch, with no structs in the middle of longer ones: those DuckDB refuses."""
    if not any(column.offset and pa.types.is_nested(column.type) for column in batch.columns):
        return batch
    columns = [pa.concat_arrays([column, column.slice(0, 0)]) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def stand_ins(cursor: duckdb.DuckDBPyConnection, scans: Mapping[str, Scan]) -> None:
    """Gives the scans their names where views over them are made; nobody reads these."""
    for name, scan in scans.items():
        cursor.register(name, scan.schema.empty_table())


def _interrupt(cursor: duckdb.DuckDBPyConnection) -> None:
    with suppress(duckdb.ConnectionException):  # Closed already.
        cursor.interrupt()


def _give_back(cursor: duckdb.DuckDBPyConnection, reader: pa.RecordBatchReader) -> None:
    _interrupt(cursor)
    reader.close()
    cursor.close()


class _Dataset(pyarrow.dataset.Dataset):  # type: ignore[misc]  # pyarrow is untyped
    """A dataset to DuckDB: it has a schema and answers scans."""

    def __init__(self, scan: Scan, reads: Reads) -> None:
        # Not the base class's, which refuses: it has no dataset of its own to stand for.
        self._scan = scan
        self._reads = reads

    @property
    def schema(self) -> pa.Schema:
        return self._scan.schema

    def scanner(self, columns: Sequence[str] | None = None, filter: pc.Expression | None = None, **_: Any) -> _Scanner:
        """What DuckDB calls when a statement starts to read; ``columns`` None means all."""
        return _Scanner(self._scan, self._reads, self._scan.schema.names if columns is None else columns, filter)


class _Scanner:
    """One scan of a statement."""

    def __init__(self, scan: Scan, reads: Reads, columns: Sequence[str], expression: pc.Expression | None) -> None:
        self._scan = scan
        self._reads = reads
        self._columns = columns
        self._expression = expression

    def to_reader(self) -> pa.RecordBatchReader:
        """The rows."""
        return self._reads.open(self._scan, self._columns, self._expression)

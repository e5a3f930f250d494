"""Tables made of parts: an upload becomes a table or the end of one, within the bounds of bytes, on disk before it is
seen, and removed when nobody needs it.

Who may do what, and when, is decided in ``service/temporary.py``, which calls all of this under the session's lock.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence

import pyarrow as pa

from flightmesh.catalog.temporary import (
    Manifest,
    Part,
    PartWriter,
    SessionFiles,
    TableRecord,
    disk_errors,
    record_of,
    schema_of,
)
from flightmesh.config import Limits
from flightmesh.engine.base import Temporary
from flightmesh.engine.fitting import Fitting
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import fold
from flightmesh.service.holdings import Holding, Table, Upload, invalid, visible_of

# More are joined: each is a file to map, and its rows may be few.
PARTS_MAX = 16
_JOINED_ROWS = 65_536
_JOINED_BYTES = 16 << 20


class Space:
    """The bytes of all sessions' files, bounded. ``guard`` is held while they change."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.guard = threading.Lock()
        self.bytes = 0
        self._nameless = 0

    def grow(self, holding: Holding, size: int) -> None:
        """Reserves so many bytes more; EXHAUSTED over a bound, INVALID for a closed session, whose bytes nobody counts.
        A negative size gives back.
        """
        with self.guard:
            if size > 0:
                self._check(holding, size)
            self.add(holding, size)

    def take(self, holding: Holding, size: int) -> None:
        """Counts so many bytes more, without a bound; a negative size gives back."""
        with self.guard:
            self.add(holding, size)

    def add(self, holding: Holding, size: int) -> None:
        """As ``take``, under the guard. The bytes of a closed session do not count any more."""
        if not holding.is_closed:
            holding.bytes += size
            self.bytes += size
            self._nameless += size if holding.is_anonymous else 0

    def _check(self, holding: Holding, size: int) -> None:
        limits = self._limits
        if holding.is_closed:
            raise invalid("The session was closed.", "Start again.")
        if holding.bytes + size > limits.temporary_bytes_max:
            raise FlightmeshError(
                ErrorCode.EXHAUSTED,
                f"The temporary tables of a session have at most {limits.temporary_bytes_max} bytes, those being "
                "written or replaced included.",
                hint="Drop some, or send fewer rows or columns.",
            )
        total = limits.temporary_total_bytes_max
        # Half of it is for callers with a name.
        if self.bytes + size > total or (holding.is_anonymous and self._nameless + size > total // 2):
            raise FlightmeshError(
                ErrorCode.EXHAUSTED,
                f"The temporary tables of all sessions have at most {limits.temporary_total_bytes_max} bytes.",
                hint="Try again later, or ask the operator for a higher limit.",
            )


class Shelf:
    """Makes, keeps and removes the tables of sessions."""

    def __init__(self, files: SessionFiles, space: Space, clock: Callable[[], float]) -> None:
        self._files = files
        self._space = space
        self._clock = clock

    def take_up(self, key: str, manifest: Manifest) -> Holding:
        """What a process before has kept of a session."""
        holding = Holding(key, manifest.created_at, manifest.last_used_at, saved_at=manifest.last_used_at)
        tables = {}
        for record in manifest.tables:
            schema = schema_of(record)
            parts = tuple(self._files.part(key, part) for part in record.parts)
            holding.parts |= {part.record.name: (part, schema) for part in parts}
            tables[fold(record.name)] = self._table(holding, record, schema, parts)
        holding.tables = tables
        holding.visible = visible_of(tables)
        self._space.take(holding, sum(part.record.size for part, _ in holding.parts.values()))
        return holding

    def writer(self, holding: Holding, schema: pa.Schema) -> PartWriter:
        """A new part of the session."""
        return self._files.writer(holding.key, schema)

    def created(self, name: str, upload: Upload) -> Table:
        """The upload as a table."""
        parts = self._finished(upload)
        return self._new(upload.holding, name, self._clock(), upload.intake.columns, upload.schema, parts)

    def appended(self, old: Table, upload: Upload) -> Table:
        """The table with the upload's rows after its own; INVALID when they do not fit."""
        holding, schema = upload.holding, old.temporary.schema
        fitting = Fitting(upload.schema, schema)  # Also without rows: unknown columns are told.
        new = self._finished(upload)
        if new and upload.schema != schema:
            rows = (fitting.batch(batch) for part in new for batch in part.batches(upload.schema))
            new = (self._written(holding, rows, schema, self._space.grow),)
        parts = (*old.parts, *new)
        if len(parts) > PARTS_MAX:
            start = _join_from([part.record.size for part in parts])
            joined = _joined(batch for part in parts[start:] for batch in part.batches(schema))
            # Without a bound: what it replaces goes as soon as it is there.
            parts = (*parts[:start], self._written(holding, joined, schema, self._space.take))
        return self._new(holding, old.record.name, old.record.created_at, old.record.columns, schema, parts)

    def publish(self, holding: Holding, tables: Mapping[str, Table]) -> None:
        """Makes these the tables of the session, on disk first."""
        with disk_errors():
            self.save(holding, tables)
        holding.tables = tables
        holding.visible = visible_of(tables)

    def save(self, holding: Holding, tables: Mapping[str, Table]) -> None:
        """Writes the session's manifest; OSError when the disk refuses."""
        used_at = holding.used_at
        records = tuple(table.record for table in tables.values())
        self._files.save(holding.key, Manifest(holding.created_at, used_at, records))
        holding.saved_at = used_at

    def collect(self, holding: Holding) -> None:
        """Removes the parts that neither the session's tables nor those of a transaction need."""
        changes = (*(opened.changes for opened in holding.transactions.values()), *holding.saved)
        changed = (change.table for found in changes for change in found.values())
        tables = [*holding.tables.values(), *(table for table in changed if table is not None)]
        needed = {part.record.name for table in tables for part in table.parts}
        for name in holding.parts.keys() - needed:
            part, schema = holding.parts.pop(name)
            part.keep(schema)
            part.unlink()
            self._space.take(holding, -part.record.size)

    def abandon(self, upload: Upload) -> None:
        """Removes what was uploaded, unless it has become a table."""
        writer, reserved = upload.take()
        self._space.take(upload.holding, -reserved)
        if writer is not None:
            writer.discard()

    def _finished(self, upload: Upload) -> tuple[Part, ...]:
        """The upload as parts of its session: none when it has no rows."""
        writer, reserved = upload.take()
        return () if writer is None else (self._kept(upload.holding, writer, reserved, upload.schema),)

    def _written(
        self,
        holding: Holding,
        rows: Iterator[pa.RecordBatch],
        schema: pa.Schema,
        reserve: Callable[[Holding, int], None],
    ) -> Part:
        writer, size = self.writer(holding, schema), 0
        try:
            for batch in rows:
                grown = writer.write(batch)
                reserve(holding, grown - size)
                size = grown
        except BaseException:
            writer.discard()
            self._space.take(holding, -size)
            raise
        return self._kept(holding, writer, size, schema)

    def _kept(self, holding: Holding, writer: PartWriter, reserved: int, schema: pa.Schema) -> Part:
        """The finished part, known to its session; what no table names at the end of the call is collected."""
        try:
            part = writer.finish()
        except BaseException:
            writer.discard()
            self._space.take(holding, -reserved)
            raise
        self._space.take(holding, part.record.size - reserved)
        holding.parts[part.record.name] = (part, schema)
        return part

    def _new(
        self,
        holding: Holding,
        name: str,
        created_at: float,
        columns: tuple[tuple[str, str], ...],
        schema: pa.Schema,
        parts: tuple[Part, ...],
    ) -> Table:
        record = record_of(
            name=name,
            version=self._files.new_version(),
            created_at=created_at,
            columns=columns,
            schema=schema,
            parts=[part.record for part in parts],
        )
        return self._table(holding, record, schema, parts)

    def _table(self, holding: Holding, record: TableRecord, schema: pa.Schema, parts: tuple[Part, ...]) -> Table:
        def rows() -> pa.Table:
            opened = pa.Table.from_batches([batch for part in parts for batch in part.batches(schema)], schema)
            holding.used_at = self._clock()
            holding.reads.append(weakref.ref(opened))
            return opened

        temporary = Temporary(record.name, record.version, record.columns, schema, record.rows, rows)
        return Table(record, parts, temporary)


def _join_from(sizes: Sequence[int]) -> int:
    """From which part on parts are joined: those at the end, as long as the next is not much larger than they are."""
    start, taken = len(sizes) - 1, sizes[-1]
    while start > 0 and sizes[start - 1] <= 2 * taken:
        start -= 1
        taken += sizes[start]
    return start if start < len(sizes) - 1 else 0


def _joined(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows in batches of a good size."""
    gathered: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        if gathered and (rows + batch.num_rows > _JOINED_ROWS or size + batch.nbytes > _JOINED_BYTES):
            yield pa.concat_batches(gathered)
            gathered, rows, size = [], 0, 0
        gathered.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
    if gathered:
        yield pa.concat_batches(gathered)

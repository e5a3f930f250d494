"""The files of sessions' temporary tables: immutable parts of rows, and one manifest per session that names them.

=================================  ================================================================================
``<root>/<key>/manifest.json``     the session's tables, replaced by one rename; what it does not name is garbage
``<root>/<key>/<name>.arrow``      a part: an uncompressed Arrow IPC file, mapped into memory when it is read
``<root>/<key>/<name>.writing``    a part under way
``<root>/<key>.<name>``            a session's folder on its way out
=================================  ================================================================================

A part is on disk before a manifest names it: a kill at any point leaves the old tables or the new ones. Nothing here
knows what the rows mean or who may read them.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import re
import secrets
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pyarrow as pa

from flightmesh.catalog.durable import sync, write_whole
from flightmesh.errors import ErrorCode, FlightmeshError

log = logging.getLogger(__name__)

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NAME = re.compile(r"[0-9a-f]{32}")
_KEY = re.compile(r"[0-9a-f]{64}")
_MANIFEST = "manifest.json"


class PartRecord(msgspec.Struct, frozen=True):
    """A part of a table's rows, by the name of its file; ``size`` is in bytes."""

    name: str
    rows: int
    size: int


class TableRecord(msgspec.Struct, frozen=True):
    """A temporary table: its rows are those of the parts, in order. ``schema`` is an Arrow IPC message."""

    name: str
    version: str
    created_at: float
    columns: tuple[tuple[str, str], ...]
    schema: bytes
    parts: tuple[PartRecord, ...]
    rows: int
    size: int


class Manifest(msgspec.Struct, frozen=True):
    """All of a session's tables. Times are seconds since the epoch."""

    created_at: float
    last_used_at: float
    tables: tuple[TableRecord, ...] = ()


_DECODER = msgspec.json.Decoder(Manifest)


def session_key(principal: str, session: str) -> str:
    """The name of a session's folder, from which neither can be told."""
    return hashlib.sha256(f"{len(principal)}:{principal}{session}".encode(errors="surrogatepass")).hexdigest()


@contextmanager
def disk_errors() -> Iterator[None]:
    """What the disk refuses in the block, as EXHAUSTED when it is full and UNAVAILABLE otherwise."""
    try:
        yield
    except OSError as error:
        log.warning("disk.refused errno=%s", error.errno)
        if error.errno in _FULL:
            raise FlightmeshError(
                ErrorCode.EXHAUSTED,
                "The server's disk is full.",
                hint="Drop temporary tables, or tell the operator.",
            ) from error
        raise FlightmeshError(ErrorCode.UNAVAILABLE, "The server cannot write to its disk.") from error


class Part:
    """The rows of a part, mapped when they are first asked for and then for as long as somebody holds this object."""

    def __init__(self, path: Path, record: PartRecord, *, is_trusted: bool) -> None:
        """A part that this process has not written is checked before its rows are touched: damaged Arrow crashes."""
        self.record = record
        self._path = path
        self._is_trusted = is_trusted
        self._lock = threading.Lock()
        self._batches: tuple[pa.RecordBatch, ...] | None = None

    def batches(self, schema: pa.Schema) -> tuple[pa.RecordBatch, ...]:
        """The rows; UNAVAILABLE when the file is gone or damaged."""
        with self._lock:
            if self._batches is None:
                try:
                    self._batches = self._map(schema)
                except (OSError, pa.ArrowException) as error:
                    log.warning("temporary.part.damaged", exc_info=error)
                    raise FlightmeshError(
                        ErrorCode.UNAVAILABLE, "The rows of a temporary table are gone.", hint="Load it again."
                    ) from error
            return self._batches

    def _map(self, schema: pa.Schema) -> tuple[pa.RecordBatch, ...]:
        # The mapping outlives the file's descriptor, of which there are few.
        with pa.memory_map(str(self._path)) as source:
            reader = pa.ipc.open_file(source)
            if not reader.schema.equals(schema):
                raise pa.ArrowInvalid("The part has other columns than its table.")
            batches = tuple(reader.get_batch(place) for place in range(reader.num_record_batches))
        if not self._is_trusted:
            for batch in batches:
                batch.validate(full=True)
            if sum(batch.num_rows for batch in batches) != self.record.rows:
                raise pa.ArrowInvalid("The part has lost rows.")
            self._is_trusted = True
        return batches

    def keep(self, schema: pa.Schema) -> None:
        """Has whoever holds this object still read the rows after their file is gone."""
        if self._is_trusted:
            with suppress(FlightmeshError):
                self.batches(schema)

    def unlink(self) -> None:
        """Removes the file; what cannot be removed now is at the next start."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


class PartWriter:
    """A part under way; to be finished or discarded. OSError when the disk refuses."""

    def __init__(self, folder: Path, name: str, schema: pa.Schema) -> None:
        self._folder = folder
        self._name = name
        self._aside = folder / f"{name}.writing"
        self._rows = 0
        self._sink = pa.OSFile(str(self._aside), "wb")
        try:
            self._writer = pa.ipc.new_file(self._sink, schema)
        except BaseException:
            self._sink.close()
            self._aside.unlink(missing_ok=True)
            raise

    def write(self, batch: pa.RecordBatch) -> int:
        """Adds the rows; how many bytes the file has now."""
        self._writer.write_batch(batch)
        self._rows += batch.num_rows
        return int(self._sink.tell())

    def finish(self) -> Part:
        """The part, on disk under its own name."""
        self._writer.close()
        size = int(self._sink.tell())
        self._sink.close()
        sync(self._aside)
        path = self._folder / f"{self._name}.arrow"
        self._aside.rename(path)
        sync(self._folder)
        return Part(path, PartRecord(self._name, self._rows, size), is_trusted=True)

    def discard(self) -> None:
        """Removes what was written."""
        for close in (self._writer.close, self._sink.close):
            with suppress(OSError, pa.ArrowException):
                close()
        with suppress(OSError):
            self._aside.unlink(missing_ok=True)


class SessionFiles:
    """The folders of all sessions below one root, which belongs to one process. Safe to call from many threads, for
    different sessions.
    """

    def __init__(self, root: Path, new_name: Callable[[], str] = lambda: secrets.token_hex(16)) -> None:
        """Removes what a process before has left behind, and reads what it has kept."""
        self._root = root
        self._new_name = new_name
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = {path.name: _cleaned(path) for path in sorted(root.iterdir())}
        self.kept: Mapping[str, Manifest] = {key: found for key, found in kept.items() if found is not None}

    def writer(self, key: str, schema: pa.Schema) -> PartWriter:
        """A new part of the session."""
        folder = self._root / key
        if not folder.is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)
            sync(self._root)
        return PartWriter(folder, self._new_name(), schema)

    def part(self, key: str, record: PartRecord) -> Part:
        """A part that a process before has written."""
        return Part(self._root / key / f"{record.name}.arrow", record, is_trusted=False)

    def save(self, key: str, manifest: Manifest) -> None:
        """Makes these the tables of the session; on disk when this returns, unchanged when it raises."""
        folder = self._root / key
        folder.mkdir(mode=0o700, exist_ok=True)
        content = msgspec.json.encode(manifest)
        try:
            write_whole(folder / _MANIFEST, content)
        except OSError:
            # After the rename there is no way back: parts that only the old one names are about to be removed.
            if not _is_in_place(folder / _MANIFEST, content):
                raise
            log.exception("temporary.sync.failed")

    def move_away(self, key: str) -> Path | None:
        """Takes the session's folder away in one rename; where it is now, to be removed. None when there is none."""
        away = self._root / f"{key}.{secrets.token_hex(16)}"
        try:
            (self._root / key).rename(away)
        except FileNotFoundError:
            return None
        return away

    def new_version(self) -> str:
        """Different from all others."""
        return secrets.token_hex(16)


def record_of(
    *,
    name: str,
    version: str,
    created_at: float,
    columns: Iterable[tuple[str, str]],
    schema: pa.Schema,
    parts: Sequence[PartRecord],
) -> TableRecord:
    """The record of a table with these parts."""
    return TableRecord(
        name=name,
        version=version,
        created_at=created_at,
        columns=tuple(columns),
        schema=schema.serialize().to_pybytes(),
        parts=tuple(parts),
        rows=sum(part.rows for part in parts),
        size=sum(part.size for part in parts),
    )


def schema_of(record: TableRecord) -> pa.Schema:
    """The table's Arrow schema; ArrowInvalid when it is damaged."""
    return pa.ipc.read_schema(pa.py_buffer(record.schema))


def _cleaned(folder: Path) -> Manifest | None:
    """What a folder holds that is whole; all else in it is removed, and the folder too when that is nothing."""
    manifest = _read(folder / _MANIFEST) if _KEY.fullmatch(folder.name) and folder.is_dir() else None
    if manifest is None:
        shutil.rmtree(folder, ignore_errors=True)
        return None
    whole = tuple(table for table in manifest.tables if _is_whole(folder, table))
    if len(whole) < len(manifest.tables):
        log.warning("temporary.tables.damaged count=%d", len(manifest.tables) - len(whole))
    named = {_MANIFEST, *(f"{part.name}.arrow" for table in whole for part in table.parts)}
    for path in folder.iterdir():
        if path.name not in named:
            path.unlink(missing_ok=True)
    return msgspec.structs.replace(manifest, tables=whole)


def _read(path: Path) -> Manifest | None:
    try:
        return _DECODER.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        log.warning("temporary.manifest.damaged", exc_info=error)
        return None


def _is_whole(folder: Path, table: TableRecord) -> bool:
    try:
        schema = schema_of(table)
        sizes = [(folder / f"{part.name}.arrow").stat().st_size for part in table.parts]
    except (OSError, ValueError, pa.ArrowException):
        return False
    return (
        sizes == [part.size for part in table.parts]
        and all(_NAME.fullmatch(part.name) for part in table.parts)
        and len(schema) == len(table.columns)
    )


def _is_in_place(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:
        return False

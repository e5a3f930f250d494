"""Bound parameters between bind and execution: small ones travel in the handle, large ones are kept at this node.

Kept ones are files, so that a handle outlives the server that gave it. A handle is signed; its reference is looked at
all the same before it becomes part of a path.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from flightmesh.catalog.durable import write_whole
from flightmesh.catalog.temporary import disk_errors
from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError

log = logging.getLogger(__name__)

_REFERENCE = re.compile(r"[A-Za-z0-9_-]{22}")


class Bindings:
    """Parameter sets by reference, within a bound of bytes and of time. Losing one costs the client a new bind."""

    def __init__(self, limits: Limits, clock: Callable[[], float], folder: Path) -> None:
        """Takes up what a server before has kept in the folder, which is this process's own."""
        self._limits = limits
        self._clock = clock
        self._folder = folder
        self._lock = threading.Lock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Until when each is kept, and its size; the oldest first.
        self._kept = _found(folder)
        self._bytes = sum(size for _, size in self._kept.values())
        with self._lock:
            self._forget(0)

    def put(self, batch: pa.RecordBatch) -> tuple[bytes | None, str | None]:
        """The bytes that travel in the handle, or the reference under which they are kept here, on disk.

        EXHAUSTED when the disk is full.
        """
        data = _packed(batch)
        if len(data) <= self._limits.parameters_inline_bytes_max:
            return data, None
        reference = secrets.token_urlsafe(16)
        until = self._clock() + self._limits.prepared_ttl_s
        with self._lock:
            self._forget(len(data))
            self._kept[reference] = (until, len(data))
            self._bytes += len(data)
        try:
            with disk_errors():
                # The name tells until when: no second file, and nothing to write again.
                write_whole(self._path(reference, until), data)
        except BaseException:
            with self._lock:
                self._drop(reference)
            raise
        return None, reference

    def get(self, inline: bytes | None, reference: str | None) -> pa.RecordBatch | None:
        """The bound parameters, or None when nothing was bound.

        UNAVAILABLE when this node does not keep them (any more).
        """
        if reference is None:
            return None if inline is None else _unpacked(inline)
        try:
            return _checked(self._read(reference))
        except (OSError, pa.ArrowException, StopIteration):
            raise FlightmeshError(
                ErrorCode.UNAVAILABLE,
                f"Parameters over {self._limits.parameters_inline_bytes_max} bytes are kept at the node "
                "where they were bound, and this node does not have them.",
                hint="Bind them again.",
            ) from None

    def sweep(self) -> None:
        """Removes what has expired."""
        with self._lock:
            self._forget(0)

    def _read(self, reference: str) -> bytes:
        # Only what we have written ourselves is known here: nobody names a path.
        with self._lock:
            until, _ = self._kept.get(reference, (0.0, 0))
        if not until:
            raise FileNotFoundError
        return self._path(reference, until).read_bytes()

    def _forget(self, coming: int) -> None:
        """Makes room: what has expired goes first, then the oldest. Called under the lock."""
        now = self._clock()
        for reference in [name for name, (until, _) in self._kept.items() if until <= now]:
            self._drop(reference)
        while self._kept and self._bytes + coming > self._limits.parameters_kept_bytes_max:
            self._drop(next(iter(self._kept)))

    def _drop(self, reference: str) -> None:
        until, size = self._kept.pop(reference, (0.0, 0))
        self._bytes -= size
        if until:
            try:
                self._path(reference, until).unlink(missing_ok=True)
            except OSError:
                log.exception("bindings.unlink.failed")

    def _path(self, reference: str, until: float) -> Path:
        return self._folder / _file_name(reference, until)


def _file_name(reference: str, until: float) -> str:
    return f"{reference}.{int(until)}"


def _found(folder: Path) -> OrderedDict[str, tuple[float, int]]:
    """What the folder keeps, the oldest first; whatever else lies in it is removed."""
    found = {}
    for entry in os.scandir(folder):
        reference, _, until = entry.name.partition(".")
        if _REFERENCE.fullmatch(reference) and until.isascii() and until.isdigit() and entry.is_file():
            found[reference] = (float(until), entry.stat().st_size)
        elif entry.is_file(follow_symlinks=False):
            Path(entry.path).unlink(missing_ok=True)
    return OrderedDict(sorted(found.items(), key=lambda kept: kept[1][0]))


def _packed(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _checked(data: bytes) -> pa.RecordBatch:
    """The batch, from a file: a disk may damage what we wrote, and damaged Arrow crashes whoever touches it."""
    batch = _unpacked(data)
    batch.validate(full=True)
    return batch


def _unpacked(data: bytes) -> pa.RecordBatch:
    """The batch. The bytes were signed or kept by us and validated when they were bound."""
    return pa.ipc.open_stream(data).read_next_batch()

"""When snapshots of sources are taken anew, where only reading all of a source would tell whether it has changed.

A database has no hash of its content. Its snapshot is as good as the time it was taken: it stays until ``every`` is
over or somebody asks for a new one. The times are kept in the state directory, so that a restart reads nothing again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from flightmesh.catalog.durable import write_whole
from flightmesh.catalog.snapshot import Relation
from flightmesh.product.durations import seconds
from flightmesh.product.model import DataProduct, Source
from flightmesh.sources.base import SourceTable


class Renewal:
    """The times at which sources were read, by product and source. ``file`` None: nothing is remembered."""

    def __init__(self, file: Path | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._clock = clock
        self._taken = _read(file)
        self._pending: dict[str, str] = {}
        self.is_forced = False

    def fingerprint(self, product: DataProduct, path: Relation, table: SourceTable) -> str:
        """The table's fingerprint, or where it has none, one that stays until its source is to be read again."""
        found = table.fingerprint()
        if found is not None:
            return found
        name = f"{product.product}/{path[0]}"
        source = product.sources[path[0]]
        kept = self._pending.get(name) or self._taken.get(name)
        if kept is None or self._is_due(kept, source):
            kept = self._pending[name] = f"{self._clock():.3f} {_digest(source)}"
        return f"taken:{kept}"

    def done(self, product: str) -> None:
        """The product was built with the fingerprints given: they stay."""
        own = {name: text for name, text in self._pending.items() if name.startswith(f"{product}/")}
        if own:
            self._taken |= own
            for name in own:
                del self._pending[name]
            if self._file is not None:
                write_whole(self._file, json.dumps(self._taken).encode())

    def begin(self, *, is_forced: bool) -> None:
        """A new load: what the last one began and did not end is forgotten; ``is_forced`` reads everything again."""
        self._pending.clear()
        self.is_forced = is_forced

    def _is_due(self, kept: str, source: Source) -> bool:
        taken, _, digest = kept.partition(" ")
        if kept in self._pending.values():
            return False
        every = seconds(source.every) if source.every else None
        is_over = every is not None and self._clock() - float(taken) >= every
        return self.is_forced or is_over or digest != _digest(source)


def _digest(source: Source) -> str:
    """Equal for sources that are read alike."""
    text = source.model_dump_json(by_alias=True, exclude={"every", "stale", "timeout", "connections", "retries"})
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read(file: Path | None) -> dict[str, str]:
    taken: dict[str, str] = {}
    if file is not None:
        with suppress(OSError, ValueError, AttributeError):
            for name, text in json.loads(file.read_bytes()).items():
                float(str(text).partition(" ")[0])
                taken[name] = str(text)
    return taken

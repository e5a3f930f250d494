"""The sources that a server has open: one handle, with its connections and its breaker, for each distinct source.

A source is known by value: the product's folder, the name in the product and what the manifest says of it. Losing a
handle costs new connections and nothing else.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from flightmesh.product.model import Source
from flightmesh.sources.base import SourceHandle
from flightmesh.sources.kinds import open_source
from flightmesh.sources.secrets import Secrets

SOURCES_MAX = 256

# The kinds whose handles hold connections; files are looked for anew at each reading, since they come and go.
_CONNECTED = frozenset({"postgres", "flightsql", "adbc"})


@dataclass(frozen=True, slots=True)
class SourceRef:
    """A source by value. ``product`` tells sources of equal names apart, for people."""

    product: str
    name: str
    folder: Path
    spec: Source

    @property
    def key(self) -> str:
        """Equal for equal sources."""
        return f"{self.product}\0{self.name}\0{self.folder}\0{self.spec.model_dump_json()}"


class Sources:
    """Open sources, least recently used out first. Safe to call from many threads."""

    def __init__(self, secrets: Secrets | None = None, *, sources_max: int = SOURCES_MAX) -> None:
        self._secrets = secrets or Secrets()
        self._sources_max = sources_max
        # By the source's key, with what its secrets were when it was opened.
        self._handles: OrderedDict[str, tuple[str, SourceHandle]] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, ref: SourceRef) -> SourceHandle:
        """The source's handle, a new one when its secrets have changed; errors as ``kinds.open_source``."""
        if ref.spec.type not in _CONNECTED:
            return self._opened(ref)
        key = ref.key
        filled = hashlib.sha256(self._secrets.fill(ref.name, key).encode()).hexdigest()
        surplus: list[SourceHandle] = []
        with self._lock:
            kept = self._handles.pop(key, None)
            if kept is not None and kept[0] == filled:
                handle = kept[1]
            else:
                # Under the lock: opening does not reach out, and two handles of a source would have two breakers.
                handle = self._opened(ref)
                surplus += [] if kept is None else [kept[1]]
            self._handles[key] = (filled, handle)
            while len(self._handles) > self._sources_max:
                surplus.append(self._handles.popitem(last=False)[1][1])
        for old in surplus:
            old.close()
        return handle

    def close(self) -> None:
        """Closes every handle."""
        with self._lock:
            handles, self._handles = [handle for _, handle in self._handles.values()], OrderedDict()
        for handle in handles:
            handle.close()

    def _opened(self, ref: SourceRef) -> SourceHandle:
        return open_source(ref.folder, ref.name, ref.spec, secrets=self._secrets)

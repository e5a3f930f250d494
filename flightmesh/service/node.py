"""One serving node: it loads the products, publishes what was loaded, and takes away what nobody can read any more."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from flightmesh.catalog.snapshot import ProductSnapshot, Snapshot
from flightmesh.catalog.store import Store
from flightmesh.config import Limits
from flightmesh.errors import FlightmeshError
from flightmesh.names import ProductName
from flightmesh.product.durations import seconds
from flightmesh.service.control import Control, ServerRecord
from flightmesh.service.generations import Generations
from flightmesh.telemetry import count

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A generation, and the folders that are in none because their product's name cannot be told, with the reason."""

    snapshot: Snapshot
    left_out: Mapping[str, str]


class Node:
    """Keeps store, generations and engine in step. ``load`` reads the products and publishes them to the store."""

    def __init__(
        self,
        *,
        store: Store,
        generations: Generations,
        load: Callable[[Snapshot | None], Loaded],
        forget: Callable[[Collection[str]], None],
        control: Control,
        record: ServerRecord,
        limits: Limits,
        sweeps: Sequence[Callable[[], None]] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``sweeps`` take away what sessions have left behind."""
        self._sweeps = sweeps
        self._store = store
        self._generations = generations
        self._load = load
        self._forget = forget
        self._control = control
        self._record = record
        self._limits = limits
        self._clock = clock
        self._loaded_at = clock()
        self._renewed_at: dict[ProductName, float] = {}
        self._held: set[str] = set()

    def start(self) -> None:
        """Takes the current generation into use and tells where the server listens."""
        self._hold()
        self._tell(None)

    def reload(self) -> None:
        """Loads the products again and publishes them as a new generation. Running reads are not touched.

        When nothing can be loaded at all, the current generation stays and the control file says why.
        """
        failure: str | None = None
        self._loaded_at = self._clock()
        try:
            loaded = self._load(self._generations.current)
        except (FlightmeshError, OSError) as error:
            log.error("reload.failed: %s", error, exc_info=True)
            failure = str(error)
            self._record = msgspec.structs.replace(self._record, loads=self._record.loads + 1)
        else:
            self._generations.publish(loaded.snapshot)
            count("generations.published")
            self._hold()
            self._record = _counted(self._record, loaded)
        try:
            self._tell(failure)
        except OSError:
            log.exception("control.failed")  # Whoever asked for the reload waits in vain; readers notice nothing.

    def reload_if_due(self) -> bool:
        """Loads the products again when a snapshot's time is over, or a source did not answer the last time; whether
        it did.
        """
        snapshot, now = self._generations.current, self._clock()
        failed = any(entry.is_passing for entry in snapshot.unavailable.values())
        failed = failed or any(product.stale for product in snapshot.products.values())
        is_retry = failed and now - self._loaded_at >= self._limits.source_retry_s
        due = [product.name for product in snapshot.products.values() if self._is_due(product, now)]
        if not due and not is_retry:
            return False
        self._renewed_at |= dict.fromkeys(due, now)
        self.reload()
        return True

    def _is_due(self, product: ProductSnapshot, now: float) -> bool:
        """Whether the time of one of the product's snapshots is over, counted from when it was taken or last tried."""
        since = max(product.built_at, self._renewed_at.get(product.name, 0.0))
        return any(now - since >= every for every in _renewals(product))

    def sweep(self) -> None:
        """Gives up generations that nobody can read any more: engine instances, plans, files."""
        for surfaces in self._generations.sweep():
            self._forget(surfaces)
        readable = self._generations.readable
        for generation in self._held - readable:
            self._store.release(generation)
        self._held &= readable
        for sweep in (lambda: self._store.collect(time.time()), *self._sweeps):
            try:
                sweep()
            except OSError:
                log.exception("sweep.failed")  # A full disk, for one; reads go on, and the next sweep tries again.

    def _hold(self) -> None:
        for generation in self._generations.readable - self._held:
            self._store.hold(generation)
            self._held.add(generation)

    def _tell(self, error: str | None) -> None:
        self._control.write(msgspec.structs.replace(self._record, error=error))


def _renewals(product: ProductSnapshot) -> Iterator[float]:
    """After how many seconds each of the product's snapshots is to be taken again."""
    for source in product.product.sources.values():
        every = seconds(source.every) if source.every is not None and source.mode == "snapshot" else None
        if every is not None:
            yield every


def record_of(loaded: Loaded, *, pid: int, uri: str, loads: int = 1) -> ServerRecord:
    """What a server says of itself when it serves this."""
    snapshot = loaded.snapshot
    failed = {str(name): entry.reason for name, entry in sorted(snapshot.unavailable.items())}
    return ServerRecord(
        pid=pid,
        uri=uri,
        loads=loads,
        generation=snapshot.generation,
        products=tuple(sorted(map(str, snapshot.products))),
        unavailable={**failed, **loaded.left_out},
        stale={str(name): product.stale for name, product in sorted(snapshot.products.items()) if product.stale},
    )


def _counted(record: ServerRecord, loaded: Loaded) -> ServerRecord:
    return record_of(loaded, pid=record.pid, uri=record.uri, loads=record.loads + 1)

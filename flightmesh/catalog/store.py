"""The store of generations: which one is current, which ones unexpired tickets still name, and what may be deleted.

One server owns a state directory, by an exclusive lock. Below it:

=====================================  ==========================================================================
``LOCK``                               the lock; falls with the process
``CURRENT``                            the current generation's id, replaced by one rename
``generations/<id>.json``              products and snapshots of a generation
``bundles/<id>.json``                  manifest and contracts of a product
``products/<domain>.<name>/<id>/``     a product's snapshot: data.duckdb, one Parquet file per port, snapshot.json
``leases.json``                        until when generations that tickets name must stay
``staging/``                           builds under way
=====================================  ==========================================================================

A generation is published in the order snapshots, bundles, generation, CURRENT, each flushed before the next begins:
after a kill at any point CURRENT names a generation that is whole.
"""

from __future__ import annotations

import fcntl
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from flightmesh.catalog.durable import sweep, taken_away, write_whole
from flightmesh.catalog.records import (
    GenerationRecord,
    bundle_path,
    encode_bundle,
    encode_generation,
    generation_record,
    read_generation,
    restore,
)
from flightmesh.catalog.snapshot import Snapshot
from flightmesh.errors import ErrorCode, FlightmeshError

# Leases are written this much longer than asked, so that a stream of tickets does not mean a stream of writes.
LEASE_SLACK_S = 60.0


class Store:
    """The generations of one state directory. Safe to call from many threads. Times are seconds since the epoch."""

    def __init__(self, state: Path) -> None:
        """Take the state directory; UNAVAILABLE when another server has it or it cannot be written."""
        self.state = state
        self._guard = threading.RLock()
        self._lock = _lock_state(state)
        for name in ("generations", "bundles", "products"):
            (state / name).mkdir(exist_ok=True)
        sweep(state)
        self._snapshots: dict[str, Snapshot] = {}
        self._holds: Counter[str] = Counter()
        self._builds = 0
        self._leases = _read_leases(self._leases_path)
        self._written = dict(self._leases)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the state directory to whoever comes next."""
        self._lock.close()

    def publish(self, snapshot: Snapshot) -> None:
        """Make the snapshot, whose files are in place, the current generation; on disk when this returns."""
        with self._guard:
            for product in snapshot.products.values():
                path = bundle_path(self.state, product.bundle_id)
                if not path.exists():
                    write_whole(path, encode_bundle(product.product, product.contracts))
            record = generation_record(snapshot)
            write_whole(self._generation_path(snapshot.generation), encode_generation(record))
            write_whole(self._current_path, snapshot.generation.encode())
            self._snapshots[snapshot.generation] = snapshot

    def current(self) -> Snapshot | None:
        """The snapshot published last, by this server or one before it; None when there is none or it is damaged."""
        with self._guard:
            try:
                generation = self._current_path.read_text().strip()
            except OSError:
                return None
            return self._find(generation)

    def load(self, generation: str) -> Snapshot:
        """The snapshot of a generation that still exists; NOT_FOUND otherwise."""
        with self._guard:
            found = self._find(generation)
        if found is None:
            raise FlightmeshError(
                ErrorCode.NOT_FOUND, "This version of the catalogue is gone.", hint="Ask for a new ticket."
            )
        return found

    def lease(self, generation: str, until: float) -> None:
        """Keep the generation until then, also across a restart. Leases only grow; they end by themselves."""
        with self._guard:
            self._leases[generation] = max(until, self._leases.get(generation, 0.0))
            if until > self._written.get(generation, 0.0):
                self._written[generation] = until + LEASE_SLACK_S
                self._write_leases()

    def hold(self, generation: str) -> None:
        """Keep the generation until as many calls of ``release``: for what runs on it in this process."""
        with self._guard:
            self._holds[generation] += 1

    def release(self, generation: str) -> None:
        """Undo one ``hold``."""
        with self._guard:
            assert self._holds[generation] > 0
            self._holds[generation] -= 1

    @contextmanager
    def building(self) -> Iterator[None]:
        """While a catalogue is loaded nothing is collected: its new snapshots are in no generation yet."""
        with self._guard:
            self._builds += 1
        try:
            yield
        finally:
            with self._guard:
                self._builds -= 1

    def collect(self, now: float) -> tuple[str, ...]:
        """Delete what no current, leased or held generation names; returns the ids of the generations that went."""
        # Folders are moved away under the guard and deleted outside it.
        with ExitStack() as deletions, self._guard:
            if self._builds:
                return ()
            live = self._live(now)
            if live is None:
                return ()
            gone = tuple(sorted(p.stem for p in self._generations() if p.stem not in live))
            for generation in gone:
                self._generation_path(generation).unlink(missing_ok=True)
                self._snapshots.pop(generation, None)
            self._drop_leases(live)
            self._take_unnamed(list(live.values()), deletions)
            return gone

    def _live(self, now: float) -> dict[str, GenerationRecord] | None:
        """The generations that must stay; None when it cannot be said which is current, and everything must."""
        current = self.current()
        if current is None:
            return None
        wanted = {current.generation, *(g for g, n in self._holds.items() if n > 0)}
        wanted |= {generation for generation, until in self._leases.items() if until > now}
        found = {generation: self._record(generation) for generation in wanted}
        return {generation: record for generation, record in found.items() if record is not None}

    def _record(self, generation: str) -> GenerationRecord | None:
        """The record of a generation; of one that is in use also when its file was damaged."""
        snapshot = self._snapshots.get(generation)
        return read_generation(self._generation_path(generation)) if snapshot is None else generation_record(snapshot)

    def _take_unnamed(self, live: list[GenerationRecord], deletions: ExitStack) -> None:
        bundles = {bundle for record in live for _, bundle, _ in record.products}
        snapshots = {(name, snapshot) for record in live for name, _, snapshot in record.products}
        for path in (self.state / "bundles").glob("*.json"):
            if path.stem not in bundles:
                path.unlink(missing_ok=True)
        for folder in (self.state / "products").glob("*/*"):
            if (folder.parent.name, folder.name) not in snapshots:
                deletions.enter_context(taken_away(folder, self.state))

    def _drop_leases(self, live: dict[str, GenerationRecord]) -> None:
        if set(self._leases) - set(live):
            self._leases = {g: until for g, until in self._leases.items() if g in live}
            self._written = {g: until for g, until in self._written.items() if g in live}
            self._write_leases()

    def _find(self, generation: str) -> Snapshot | None:
        if generation not in self._snapshots:
            record = read_generation(self._generation_path(generation)) if generation.isalnum() else None
            found = None if record is None else restore(self.state, record)
            if found is None:
                return None
            self._snapshots[generation] = found
        return self._snapshots[generation]

    def _generations(self) -> Iterator[Path]:
        return (self.state / "generations").glob("*.json")

    def _generation_path(self, generation: str) -> Path:
        return self.state / "generations" / f"{generation}.json"

    @property
    def _current_path(self) -> Path:
        return self.state / "CURRENT"

    @property
    def _leases_path(self) -> Path:
        return self.state / "leases.json"

    def _write_leases(self) -> None:
        write_whole(self._leases_path, json.dumps(self._written).encode())


def _lock_state(state: Path) -> BinaryIO:
    try:
        # Below it lie all rows of all products, unmasked: for the server's own user alone.
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (state / "LOCK").open("ab")
    except OSError as error:
        raise FlightmeshError(
            ErrorCode.UNAVAILABLE, "The state directory cannot be written.", hint="Choose another with --state."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise FlightmeshError(
            ErrorCode.UNAVAILABLE,
            "Another server uses this state directory.",
            hint="Stop it, or choose another directory with --state.",
        ) from None
    return lock


def _read_leases(path: Path) -> dict[str, float]:
    try:
        raw = json.loads(path.read_bytes())
        return {str(generation): float(until) for generation, until in raw.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}

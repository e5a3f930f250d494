"""Which catalogue generations can be read, and through which Surfaces.

New statements see the current generation. An older one stays while somebody may still read it: until its last ticket
has expired and its last stream has ended. Then its engine instances are closed and the store may remove its files.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from flightmesh.catalog.snapshot import Snapshot
from flightmesh.config import Limits
from flightmesh.engine.twin import Twin
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import ProductName
from flightmesh.planner.cache import Cache
from flightmesh.planner.masks import Reader
from flightmesh.planner.surface import Surface, surface
from flightmesh.product.model import DataProduct
from flightmesh.service.authn import Principal

# A statement that was being planned when its generation was superseded has no lease and no hold yet.
_SETTLING_S = 10.0


@dataclass(slots=True)
class _Generation:
    """One readable generation: leased until a time (seconds since 1970), and held by so many running reads."""

    snapshot: Snapshot
    leased_until: float = 0.0
    holds: int = 0
    surfaces: set[str] = field(default_factory=set)


class Generations:
    """The readable generations of one node. Safe to call from many threads."""

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        mask_key: bytes,
        limits: Limits,
        clock: Callable[[], float],
        on_lease: Callable[[str, float], None],
        find: Callable[[str], Snapshot],
    ) -> None:
        """``find`` gives an older generation that is still on disk; FlightmeshError when it is not."""
        self._mask_key = mask_key
        self._bind_wait_s = limits.bind_wait_s
        self._clock = clock
        self._on_lease = on_lease
        self._find = find
        self._lock = threading.Lock()
        self._current = _Generation(snapshot)
        self._readable = {snapshot.generation: self._current}
        self._surfaces: Cache[tuple[object, ...], Surface] = Cache(limits.surface_cache_entries_max)
        self._twins: Cache[str, Twin] = Cache(limits.twins_max)

    @property
    def current(self) -> Snapshot:
        """The generation that new statements read."""
        with self._lock:
            return self._current.snapshot

    def publish(self, snapshot: Snapshot) -> None:
        """Makes the snapshot the current generation; what older ones still owe stays readable."""
        with self._lock:
            self._settle(self._current)
            known = self._readable.setdefault(snapshot.generation, _Generation(snapshot))
            # Equal content has equal identity, but reasons for unavailability are not content: take the newer ones.
            known.snapshot = snapshot
            self._current = known

    def surface(self, principal: Principal, generation: str | None = None) -> Surface:
        """What the principal may see of a generation (None: the current); UNAUTHENTICATED when it is not kept."""
        entry = self._entry(generation)
        reader = Reader(None if principal.is_anonymous else principal.name, principal.roles, principal.attributes)
        attributes = tuple(sorted(reader.attributes.items()))
        key = (entry.snapshot.generation, id(entry.snapshot), reader.user, reader.roles, attributes)
        made = self._surfaces.get_or_make(key, lambda: surface(entry.snapshot, reader, mask_key=self._mask_key))
        with self._lock:
            entry.surfaces.add(made.id)
        return made

    def product(self, generation: str, name: ProductName) -> DataProduct:
        """The manifest of a product of a readable generation."""
        return self._entry(generation).snapshot.products[name].product

    def _entry(self, generation: str | None) -> _Generation:
        with self._lock:
            entry = self._current if generation is None else self._readable.get(generation)
        if entry is not None:
            return entry
        assert generation is not None
        try:
            found = self._find(generation)  # Issued before a restart: the lease has kept the files.
        except FlightmeshError:
            found = None
        if found is None:
            raise FlightmeshError(
                ErrorCode.UNAUTHENTICATED,
                "The ticket names a state of the catalogue that is no longer kept.",
                hint="Ask for a new ticket.",
            )
        with self._lock:
            entry = self._readable.setdefault(generation, _Generation(found))
            self._settle(entry)
            return entry

    def _settle(self, entry: _Generation) -> None:
        entry.leased_until = max(entry.leased_until, self._clock() + _SETTLING_S)

    def twin(self, shown: Surface) -> Twin:
        """The binder of a Surface. A twin that falls out of the cache is freed when its last user lets go of it."""
        return self._twins.get_or_make(shown.id, lambda: Twin(shown.twin_ddl, wait_s=self._bind_wait_s))

    def lease(self, generation: str, until: float) -> None:
        """Keeps the generation readable until the given time (seconds since 1970)."""
        with self._lock:
            entry = self._readable.get(generation)
            if entry is None or until <= entry.leased_until:
                return
            entry.leased_until = until
        self._on_lease(generation, until)

    @contextmanager
    def hold(self, generation: str) -> Iterator[None]:
        """Keeps the generation readable while the block runs."""
        entry = self._entry(generation)
        with self._lock:
            entry.holds += 1
        try:
            yield
        finally:
            with self._lock:
                entry.holds -= 1

    def sweep(self) -> list[set[str]]:
        """Forgets what nobody can read any more; the ids of the Surfaces of each generation forgotten."""
        now = self._clock()
        with self._lock:
            over = [
                generation
                for generation, entry in self._readable.items()
                if entry is not self._current and entry.holds == 0 and entry.leased_until <= now
            ]
            forgotten = [self._readable.pop(generation) for generation in over]
        snapshots = {id(entry.snapshot) for entry in forgotten}
        surfaces = {shown for entry in forgotten for shown in entry.surfaces}
        self._surfaces.discard(lambda key: key[1] in snapshots)
        self._twins.discard(lambda key: key in surfaces)
        return [entry.surfaces for entry in forgotten]

    @property
    def readable(self) -> frozenset[str]:
        """The generations that can be read now."""
        with self._lock:
            return frozenset(self._readable)

"""What a plan will ask of sources, in words, without asking."""

from __future__ import annotations

from dataclasses import dataclass

from flightmesh.engine.base import LiveScan, Plan
from flightmesh.engine.duckdb import DuckDBEngine
from flightmesh.engine.scans import Scans
from flightmesh.errors import FlightmeshError
from flightmesh.sources.base import Pushed


@dataclass(frozen=True, slots=True)
class Read:
    """One read of a source: the product's name for it, its kind, the table's path (the model of a Polars read), and
    what is asked. ``pushed`` is None where the source cannot say it now, ``reason`` then says why.
    """

    source: str
    kind: str
    path: tuple[str, ...]
    pushed: Pushed | None
    reason: str | None = None


class Explainer:
    """Tells of plans what their engines will read. Safe to call from many threads."""

    def __init__(self, engine: DuckDBEngine, scans: Scans) -> None:
        self._engine = engine
        self._scans = scans

    def reads(self, plan: Plan) -> tuple[Read, ...]:
        """The reads of the plan's live relations; what a pushed statement asks is in the plan itself."""
        if plan.remote is not None:
            source = plan.remote.source
            return (Read(source.name, source.spec.type, (source.name,), Pushed(plan.remote.sql)),)
        found = []
        for asked in self._engine.rehearse(plan):
            scan = plan.instance.scans[asked.scan]
            name, kind, path = (
                (scan.source.name, scan.source.spec.type, scan.path)
                if isinstance(scan, LiveScan)
                else (scan.model.name, "polars", (scan.model.name,))
            )
            try:
                found.append(Read(name, kind, path, self._scans.pushed(scan, asked.narrowing)))
            except FlightmeshError as error:
                found.append(Read(name, kind, path, None, error.message))
        return tuple(found)

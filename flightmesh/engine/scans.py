"""From a scan in a plan to a read of its source."""

from __future__ import annotations

import pyarrow as pa

from flightmesh.engine.base import LiveScan, Nested, Scan
from flightmesh.engine.polars_live import PolarsWorkers
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.sources.base import Fetch, LiveTable, Narrowing, Pushed, SourceTable
from flightmesh.sources.registry import Sources


class Scans:
    """Opens the live relations of one node. Safe to call from many threads."""

    def __init__(self, sources: Sources, workers: PolarsWorkers) -> None:
        self._sources = sources
        self._workers = workers

    def open(self, scan: Scan, narrowing: Narrowing, schema: pa.Schema, nested: Nested) -> Fetch:
        """The rows of the scan; ``schema`` is that of the columns of the narrowing. ``nested`` runs the queries of a
        Polars model over its inputs.
        """
        if isinstance(scan, LiveScan):
            return self._table(scan).fetch(narrowing, schema)
        return self._workers.fetch(scan, narrowing, schema, nested)

    def pushed(self, scan: Scan, narrowing: Narrowing) -> Pushed:
        """What ``open`` would ask of the source."""
        if isinstance(scan, LiveScan):
            return self._table(scan).pushed(narrowing)
        return Pushed(f"the Polars model {scan.model.name}")

    def _table(self, scan: LiveScan) -> LiveTable:
        table: SourceTable | None = self._sources.open(scan.source).tables.get(scan.path)
        if not isinstance(table, LiveTable):
            fact = f"Source {scan.source.name}: has no table {'.'.join(scan.path)} that can be read live."
            raise FlightmeshError(ErrorCode.UNAVAILABLE, fact, hint="Tell the owner of the product.")
        return table

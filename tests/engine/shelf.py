"""Live tables in memory, honest and dishonest ones, for the tests of what an engine does with live sources."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from flightmesh.engine.base import InstanceSpec, LiveScan, Nested, Plan, Scan
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.model import Source
from flightmesh.sources.base import Fetch, Narrowing
from flightmesh.sources.registry import SourceRef

_SPEC = Source.model_validate({"type": "sqlite", "path": "tms.sqlite", "mode": "live"})


def scan_of(schema: pa.Schema, *path: str) -> LiveScan:
    """The scan of a table of the live source that its path begins with."""
    return LiveScan(schema, SourceRef("lab.tests", path[0], Path(), _SPEC), path)


def instance(key: str, *ddl: str, **scans: Scan) -> InstanceSpec:
    """A locked instance over these scans, with these views."""
    return InstanceSpec(key, (), ddl, scans)


def plan(sql: str, spec: InstanceSpec, *values: object, search_path: tuple[str, ...] = (), rows: int = 65_536) -> Plan:
    """A plan that may read all scans of the instance."""
    return Plan("duckdb", spec, sql, values, search_path, rows, tuple(spec.scans))


@dataclass
class Opened:
    """A read that an engine asked for, and what became of it. Closing is counted."""

    path: tuple[str, ...]
    narrowing: Narrowing
    batches: int = 0
    is_cancelled: threading.Event = field(default_factory=threading.Event)
    closed: int = 0


class Shelf:
    """Tables by path: brings all rows in batches, whatever predicate is asked for.

    ``fails`` are errors by path, raised after the given number of batches; ``hangs`` are paths whose second batch never
    comes until it is cancelled; ``order`` notes what happened.
    """

    def __init__(self, tables: Mapping[tuple[str, ...], pa.Table], *, batch_rows: int = 1_000) -> None:
        self.tables = dict(tables)
        self.batch_rows = batch_rows
        self.opened: list[Opened] = []
        self.order: list[str] = []
        self.fails: dict[tuple[str, ...], tuple[int, Exception]] = {}
        self.refuses: dict[tuple[str, ...], Exception] = {}
        self.hangs: set[tuple[str, ...]] = set()
        self.is_hanging = threading.Event()

    def open(self, scan: Scan, narrowing: Narrowing, schema: pa.Schema, _nested: Nested) -> Fetch:
        """A read of the whole table, with the columns asked for."""
        assert isinstance(scan, LiveScan)
        if scan.path in self.refuses:
            raise self.refuses[scan.path]
        opened = Opened(scan.path, narrowing)
        self.opened.append(opened)
        self.order.append(f"open {'.'.join(scan.path)}")
        assert schema.names == list(narrowing.columns or scan.schema.names)
        batches = self._batches(opened, schema)

        def close() -> None:
            opened.closed += 1

        return Fetch(pa.RecordBatchReader.from_batches(schema, batches), opened.is_cancelled.set, close)

    def _batches(self, opened: Opened, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        rows = self.tables[opened.path].select(schema.names).cast(schema)
        limit, error = self.fails.get(opened.path, (-1, None))
        for batch in rows.to_batches(max_chunksize=self.batch_rows):
            if error is not None and opened.batches == limit:
                raise error
            if opened.batches and opened.path in self.hangs:
                self.is_hanging.set()
                assert opened.is_cancelled.wait(30)
                raise FlightmeshError(ErrorCode.CANCELLED, "Source stopped.")
            if opened.is_cancelled.is_set():
                raise FlightmeshError(ErrorCode.CANCELLED, "Source stopped.")
            opened.batches += 1
            self.order.append(f"read {'.'.join(opened.path)}")
            yield batch

    @property
    def asked(self) -> list[tuple[str, Narrowing]]:
        """What was asked for, by the name of the table."""
        return [(".".join(opened.path), opened.narrowing) for opened in self.opened]

    @property
    def is_tidy(self) -> bool:
        """Whether everything that was opened has been given back."""
        return all(opened.closed for opened in self.opened)

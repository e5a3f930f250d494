"""Small products with live sources, built for one test and read as their consumers do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from flightmesh.build.catalog import load_catalog
from flightmesh.build.pipeline import BuildBounds
from flightmesh.catalog.snapshot import Snapshot
from flightmesh.catalog.store import Store
from flightmesh.config import Limits
from flightmesh.engine.base import Plan
from flightmesh.engine.duckdb import DuckDBEngine
from flightmesh.engine.scans import Scans
from flightmesh.engine.twin import Twin
from flightmesh.engine.workshop import Bounds
from flightmesh.planner.masks import Reader
from flightmesh.planner.pipeline import Planner, Typed
from flightmesh.planner.surface import Surface, surface
from flightmesh.sources.registry import Sources

RAW = "raw: {type: csv, path: data/raw.csv, mode: live}"
KEPT = "kept: {type: csv, path: data/kept.csv}"
TMS = "tms: {type: sqlite, path: data/tms.sqlite, mode: live}"
COLUMNS: Mapping[str, str] = {"id": "BIGINT", "site": "VARCHAR"}
MASK_KEY = b"k" * 32


def write_product(
    folder: Path,
    sources: Sequence[str],
    models: Mapping[str, str],
    *,
    ports: Mapping[str, Mapping[str, str]] | None = None,
    policies: Sequence[str] = ("{grant: read, port: '*', to: ['*']}",),
) -> Path:
    """A product ``lab.samples`` with a port for each of ``ports`` (name to columns), over models of the same name.

    Its data are two rows of raw.csv, two of kept.csv, and two SQLite tables.
    """
    ports = dict.fromkeys(models, COLUMNS) if ports is None else ports
    lines = ["flightmesh: v1", "product: lab.samples", "version: 1.0.0", "title: Samples", "owner: {team: lab}"]
    lines += ["sources:", *(f"  {text}" for text in sources)]
    lines += ["models:", *(f"  {name}: {text}" for name, text in models.items())]
    lines += ["ports:", *(f"  {name}: {{model: {name}, contract: contracts/{name}.odcs.yaml}}" for name in ports)]
    lines += ["policies:", *(f"- {text}" for text in policies)]
    files = {"product.yaml": "\n".join(lines) + "\n"}
    for name, columns in ports.items():
        head = f"apiVersion: v3.1.0\nkind: DataContract\nid: lab-{name}-1\nversion: 1.0.0\nstatus: active\n"
        shape = "".join(f"  - {{name: {column}, physicalType: {kind}}}\n" for column, kind in columns.items())
        files[f"contracts/{name}.odcs.yaml"] = f"{head}schema:\n- name: {name}\n  properties:\n{shape}"
    files |= {"data/raw.csv": "id,site\n1,north\n2,south\n", "data/kept.csv": "id,v\n1,10\n2,20\n"}
    for file, text in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with closing(sqlite3.connect(folder / "data" / "tms.sqlite")) as connection:
        for table in ("legs", "Odd Na.me"):
            connection.execute(f'CREATE TABLE "{table}" (id INTEGER, site TEXT)')
            connection.execute(f"INSERT INTO \"{table}\" VALUES (1, 'north'), (2, 'south')")
        connection.commit()
    return folder


@dataclass
class Mesh:
    """A loaded snapshot with a planner and an engine over it."""

    snapshot: Snapshot
    engine: DuckDBEngine
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self._twins: dict[str, Twin] = {}
        self.planner = Planner(self.limits, self._twin)

    def _twin(self, shown: Surface) -> Twin:
        return self._twins.setdefault(shown.id, Twin(shown.twin_ddl, wait_s=5))

    def surface(self, user: str = "alice", *roles: str, **attributes: str) -> Surface:
        """What the user sees."""
        return surface(self.snapshot, Reader(user, frozenset(roles), attributes), mask_key=MASK_KEY)

    def typed(self, shown: Surface, sql: str) -> Typed:
        """The statement, approved and bound."""
        return self.planner.typed(self.planner.prepare(shown, sql), None)

    def plan(self, shown: Surface, sql: str) -> Plan:
        """The plan of the statement."""
        return self.planner.plan(self.typed(shown, sql), None)

    def rows(self, shown: Surface, sql: str) -> list[dict[str, object]]:
        """The rows of the statement."""
        execution = self.engine.execute(self.plan(shown, sql))
        try:
            table: pa.Table = execution.start().read_all()
        finally:
            execution.close()
        return list(table.to_pylist())


@contextmanager
def mesh(folder: Path, state: Path) -> Iterator[Mesh]:
    """The product in the folder, loaded; every product has to load."""
    bounds = BuildBounds(workshop=Bounds(threads=1, memory_bytes=1 << 28))
    engine = DuckDBEngine(
        threads=1,
        memory_bytes=1 << 28,
        spill=state / "spill",
        spill_bytes=1_000_000,
        instances_max=4,
        open_scan=Scans(Sources(), None).open,  # type: ignore[arg-type]  # no Polars model is run here
    )
    with Store(state) as store:
        with store.building():
            loaded = load_catalog([folder], store, lambda *_: None, bounds=bounds)
        assert [entry.reason for entry in loaded.unavailable.values()] == []
        try:
            yield Mesh(loaded, engine)
        finally:
            engine.close()

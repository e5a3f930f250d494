"""What a plan will ask of sources, told without asking. The whole way is in ``tests/service/test_explain.py``."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from flightmesh.engine.base import InstanceSpec, Plan, RemoteQuery
from flightmesh.engine.duckdb import DuckDBEngine
from flightmesh.engine.explain import Explainer, Read
from flightmesh.engine.scans import Scans
from flightmesh.product.model import Source
from flightmesh.sources.base import Pushed
from flightmesh.sources.registry import SourceRef, Sources

SCHEMA = pa.schema([("n", pa.int64())])


def _explainer(tmp_path: Path) -> Explainer:
    engine = DuckDBEngine(threads=1, memory_bytes=1 << 28, spill=tmp_path, spill_bytes=1 << 20, instances_max=1)
    return Explainer(engine, Scans(Sources(), None))  # type: ignore[arg-type]  # no Polars model is run here


def _plan(remote: RemoteQuery | None) -> Plan:
    return Plan("duckdb", InstanceSpec("k", (), ()), "SELECT 1", (), (), 10, (), remote)


def test_a_pushed_statement_is_told_as_it_is_sent(tmp_path: Path) -> None:
    """People could not find the statement again in their database's log."""
    source = SourceRef("lab.pg", "pg", tmp_path, Source(type="postgres", uri="postgresql://nowhere/db"))
    reads = _explainer(tmp_path).reads(_plan(RemoteQuery(source, "SELECT count(*)", SCHEMA, {})))
    assert reads == (Read("pg", "postgres", ("pg",), Pushed("SELECT count(*)")),)


def test_a_statement_over_kept_rows_asks_nobody(tmp_path: Path) -> None:
    """A source would be named that is not read at all."""
    assert _explainer(tmp_path).reads(_plan(None)) == ()

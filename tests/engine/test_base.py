"""What an engine is handed: values that compare by content and cannot be changed under way."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from flightmesh.engine.base import Attachment, Engine, InstanceSpec, Plan
from flightmesh.engine.duckdb import DuckDBEngine


def _plan() -> Plan:
    spec = InstanceSpec("key", (Attachment(Path("a.duckdb"), "alias"),), ("CREATE SCHEMA s",))
    return Plan("duckdb", spec, "SELECT 1", (1, "x"), (), 1_024)


def test_plans_compare_by_content_and_cannot_be_changed() -> None:
    """A plan passes a gate before it reaches an engine: what was approved is what runs."""
    assert _plan() == _plan()
    with pytest.raises(FrozenInstanceError):
        _plan().sql = "DROP TABLE x"  # type: ignore[misc]


def test_the_duckdb_engine_is_an_engine(tmp_path: Path) -> None:
    """The services know the protocol alone; mypy checks the assignment, this that it runs."""
    engine: Engine = DuckDBEngine(
        threads=1, memory_bytes=100_000_000, spill=tmp_path, spill_bytes=1_000_000, instances_max=1
    )
    execution = engine.execute(Plan("duckdb", InstanceSpec("key", (), ()), "SELECT $1 AS a", (7,), (), 1_024))
    assert execution.start().read_all()["a"].to_pylist() == [7]
    execution.close()

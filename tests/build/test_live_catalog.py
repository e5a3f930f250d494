"""Products with live sources in the catalogue: what is published of them, and what stays when a source is away."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from flightmesh.build.catalog import load_catalog
from flightmesh.build.pipeline import SourceFailed
from flightmesh.catalog.snapshot import ProductSnapshot, Snapshot
from flightmesh.catalog.store import Store
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import ProductName
from flightmesh.sources.registry import SourceRef, Sources
from tests.planner.live_product import KEPT, RAW, write_product

NAME = ProductName("lab", "samples")
KEEPING = {"kept_port": "{from: kept}", "samples": "{sql: 'SELECT r.* FROM raw r JOIN kept k USING (id)'}"}
PORTS = {"kept_port": {"id": "BIGINT", "v": "BIGINT"}, "samples": {"id": "BIGINT", "site": "VARCHAR"}}


def _load(folder: Path, state: Path, previous: Snapshot | None = None) -> Snapshot:
    with Store(state) as store, store.building():
        snapshot = load_catalog([folder], store, lambda *_: None, previous=previous)
        store.publish(snapshot)
    return snapshot


def _product(snapshot: Snapshot) -> ProductSnapshot:
    assert [entry.reason for entry in snapshot.unavailable.values()] == []
    return snapshot.products[NAME]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A product that joins a live table with a kept one, and offers the kept one too."""
    return write_product(tmp_path / "p", [RAW, KEPT], KEEPING, ports=PORTS)


def test_of_a_live_table_only_its_columns_are_published(folder: Path, state: Path) -> None:
    """Rows of a live source are nowhere on the server's disk; what its models join with is, once."""
    found = _product(_load(folder, state))
    assert found.live is not None
    assert {path: table.schema for path, table in found.live.tables.items()} == {
        ("raw",): pa.schema([("id", pa.int64()), ("site", pa.string())])
    }
    assert list(found.live.kept) == [("kept",)]
    assert found.live.database is not None
    assert found.ports["samples"].is_live
    assert (found.ports["kept_port"].is_live, found.ports["kept_port"].rows) == (False, 2)
    assert b"north" not in b"".join(path.read_bytes() for path in state.rglob("*") if path.is_file())


def test_new_rows_and_columns_are_no_new_state(folder: Path, state: Path) -> None:
    """Tickets stay good while a live source gains rows or columns; columns are taken in when its authors write."""
    first = _load(folder, state)
    (folder / "data" / "raw.csv").write_text("id,site,more\n1,north,x\n3,west,y\n")
    assert _load(folder, state, first).generation == first.generation
    manifest = folder / "product.yaml"
    manifest.write_text(manifest.read_text() + "# touched\n")
    assert "column more is not in the contract" in _load(folder, state, first).unavailable[NAME].reason


def test_a_column_that_is_gone_or_retyped_is_told(folder: Path, state: Path) -> None:
    """A contract that the source breaks is not served in silence."""
    first = _load(folder, state)
    for content in ("id\n1\n", "id,site\nx,north\n"):
        (folder / "data" / "raw.csv").write_text(content)
        assert _load(folder, state, first).generation != first.generation


def test_a_restart_restores_the_live_half(folder: Path, state: Path) -> None:
    """What was published before a restart lends itself to a product whose source is away at the start."""
    first = _load(folder, state)
    with Store(state) as store:
        assert store.current() == first


def _away(monkeypatch: pytest.MonkeyPatch, *names: str, code: ErrorCode = ErrorCode.UNAVAILABLE) -> None:
    """From now on these sources do not answer when a product is loaded."""

    def opened(sources: Sources, ref: SourceRef) -> object:
        if ref.name in names:
            raise FlightmeshError(code, f"Source {ref.name}: cannot be reached.")
        return plain(sources, ref)

    plain: Callable[..., object] = Sources.open
    monkeypatch.setattr(Sources, "open", opened)


def test_a_live_source_that_is_away_takes_nothing_away(
    folder: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload while a database restarts: its product stays as it was, since nobody needs it before they read."""
    first = _load(folder, state)
    _away(monkeypatch, "raw")
    assert _load(folder, state, first).products[NAME] == first.products[NAME]
    with Store(state) as store:
        restored = store.current()
    assert _product(_load(folder, state, restored)).stale is None


def test_without_anything_before_it_is_passing(folder: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the first start there is nothing to serve: the product is unavailable, in words, and is tried again."""
    _away(monkeypatch, "raw")
    found = _load(folder, state).unavailable[NAME]
    assert (found.reason, found.is_passing) == ("Source raw: cannot be reached.", True)


@pytest.mark.parametrize(("stale", "is_served"), [("serve", True), ("refuse", False), (None, False)])
def test_a_snapshot_source_that_is_away(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch, stale: str | None, is_served: bool
) -> None:
    """Old rows are served on only where the product says so, and then marked with the reason; else nobody gets them."""
    kept = KEPT.replace("}", f", stale: {stale}}}") if stale else KEPT
    folder = write_product(tmp_path / "p", [RAW, kept], KEEPING, ports=PORTS)
    first = _load(folder, state)
    with monkeypatch.context() as away:
        _away(away, "kept")
        later = _load(folder, state, first)
    if not is_served:
        assert later.unavailable[NAME].is_passing
        assert NAME not in later.products
        return
    assert later.products[NAME].stale == "Source kept: cannot be reached."
    assert later.products[NAME].built_at == first.products[NAME].built_at
    assert later.generation != first.generation
    again = _load(folder, state, later)
    assert _product(again).stale is None
    assert again.generation == first.generation


def test_a_live_source_that_has_changed_takes_nothing_else_away(
    folder: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One dropped table would take every port of its product down at the next load; reads of it name it anyway."""
    first = _load(folder, state)
    _away(monkeypatch, "raw", code=ErrorCode.INVALID)
    later = _load(folder, state, first)
    assert later.products[NAME] == first.products[NAME]
    assert later.products[NAME].stale is None


def test_a_mistake_at_the_first_load_is_told(folder: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing that could be served instead."""
    _away(monkeypatch, "raw", code=ErrorCode.INVALID)
    failed = _load(folder, state).unavailable[NAME]
    assert failed.is_passing is False


def test_a_changed_manifest_does_not_stay(folder: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy was tightened while the database was down: the old, wider one must not be served on."""
    first = _load(folder, state)
    manifest = folder / "product.yaml"
    manifest.write_text(manifest.read_text().replace("to: ['*']", "to: 'role:head'"))
    _away(monkeypatch, "raw")
    assert NAME not in _load(folder, state, first).products


def test_source_failures_are_copied_whole() -> None:
    """An error that crosses a process keeps its source, code and help."""
    error = SourceFailed("raw", FlightmeshError(ErrorCode.DEADLINE, "Silent.", hint="Wait."))
    again = pickle.loads(pickle.dumps(error))
    assert (again.source, again.code, again.message, again.hint) == ("raw", ErrorCode.DEADLINE, "Silent.", "Wait.")

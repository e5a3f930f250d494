"""A node keeps store, generations and control file in step, also when loading fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flightmesh.catalog.snapshot import Snapshot, Unavailable
from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import ProductName
from flightmesh.service.control import Control
from flightmesh.service.node import Loaded, Node, record_of
from tests.service.conftest import Call

if TYPE_CHECKING:
    from tests.service.conftest import Bench


class _Node:
    """A node over the bench, and what it made the planner and the engine forget."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.forgotten: list[set[str]] = []
        self.failure: FlightmeshError | None = None
        self.left_out: dict[str, str] = {}
        self.now = 1_000.0
        self.control = Control(bench.store.state)
        self.node = Node(
            store=bench.store,
            generations=bench.generations,
            load=self._load,
            forget=lambda surfaces: self.forgotten.append(set(surfaces)),
            control=self.control,
            record=record_of(Loaded(bench.generations.current, {}), pid=1, uri="grpc://127.0.0.1:1"),
            limits=Limits(),
            clock=lambda: self.now,
        )
        self.node.start()

    def _load(self, previous: Snapshot | None) -> Loaded:
        if self.failure is not None:
            raise self.failure
        return Loaded(self.bench.load(previous), self.left_out)


@pytest.fixture
def node(bench: Bench) -> _Node:
    """A started node."""
    return _Node(bench)


def _generations(bench: Bench) -> set[str]:
    return {path.stem for path in (bench.store.state / "generations").iterdir()}


def _databases(bench: Bench) -> set[Path]:
    return set(bench.store.state.rglob("*.duckdb"))


def test_starting_tells_where_it_listens(node: _Node) -> None:
    """``flightmesh reload`` and scripts find the server by this."""
    record = node.control.read()
    assert (record.pid, record.uri, record.loads) == (1, "grpc://127.0.0.1:1", 1)
    assert record.products == ("lab.readings",)
    assert (dict(record.unavailable), record.error) == ({}, None)


def test_a_reload_publishes_and_counts(node: _Node) -> None:
    """The new state is served, and who asked for the reload sees that it is done."""
    node.bench.write(1)
    node.node.reload()
    record = node.control.read()
    assert record.loads == 2
    assert record.generation == node.bench.generations.current.generation
    (value,) = node.bench.read(
        node.bench.queries.run_sql(node.bench.session(), "SELECT v FROM lab.readings.points")
    ).to_pylist()
    assert value == {"v": 1}


def test_a_failed_reload_keeps_what_is_served(node: _Node) -> None:
    """A broken folder must not take a running product down; the asker is told why."""
    before = node.bench.generations.current
    node.failure = FlightmeshError(ErrorCode.INVALID, "The folder is gone.")
    node.node.reload()
    record = node.control.read()
    assert (record.loads, record.error) == (2, "The folder is gone.")
    assert node.bench.generations.current is before
    node.failure = None
    node.node.reload()
    assert node.control.read().error is None


def test_a_product_that_fails_alone_is_named_with_its_reason(node: _Node) -> None:
    """The others are served, this one says why, and a reload brings it back."""
    (node.bench.folder / "raw.csv").unlink()
    node.node.reload()
    record = node.control.read()
    assert record.error is None
    assert list(record.unavailable) == ["lab.readings"]
    with pytest.raises(FlightmeshError) as failure:
        node.bench.queries.statement(node.bench.session(), "SELECT * FROM lab.readings.points", Call())
    assert failure.value.code is ErrorCode.UNAVAILABLE
    node.bench.write(7)
    node.node.reload()
    assert dict(node.control.read().unavailable) == {}


def test_a_folder_without_a_name_is_told_of(node: _Node) -> None:
    """A manifest that lost its ``product:`` line would vanish from the server without a word."""
    node.left_out = {"folder": "It has no name."}
    node.node.reload()
    assert node.control.read().unavailable == {"folder": "It has no name."}
    node.failure = FlightmeshError(ErrorCode.INVALID, "The folder is gone.")
    node.node.reload()
    record = node.control.read()
    assert (record.loads, record.products, record.unavailable) == (3, ("lab.readings",), {"folder": "It has no name."})


def test_sweeping_takes_away_what_nobody_can_read(node: _Node) -> None:
    """Plans, instances and files of an old generation go, after its last lease and stream and not before."""
    bench, old = node.bench, node.bench.generations.current.generation
    session = bench.session()
    files = _databases(bench)
    expires = bench.queries.statement(session, "SELECT * FROM lab.readings.points", Call()).expires_at
    bench.write(1)
    node.node.reload()
    node.node.sweep()
    assert old in _generations(bench)
    assert node.forgotten == []
    with bench.generations.hold(old):
        bench.clock.now = expires + 100
        node.node.sweep()
        assert files <= _databases(bench)
    # The store goes by the real clock, under which the lease of a test in 1970 has long ended.
    node.node.sweep()
    assert len(node.forgotten) == 1
    assert _generations(bench) == {bench.generations.current.generation}
    assert files.isdisjoint(_databases(bench))


def test_nothing_is_due_without_a_reason(node: _Node) -> None:
    """Products of files are read again when somebody asks, not every few seconds."""
    node.now += 10_000_000
    assert node.node.reload_if_due() is False
    assert node.control.read().loads == 1


def _serve(monkeypatch: pytest.MonkeyPatch, node: _Node, snapshot: Snapshot) -> None:
    """Makes this the current generation, whatever is loaded."""
    monkeypatch.setattr(type(node.bench.generations), "current", property(lambda _self: snapshot))


def test_a_source_that_was_away_is_tried_again(node: _Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """A product whose database was down comes back without a restart, and not by asking all the time."""
    product = next(iter(node.bench.generations.current.products.values()))
    failed = Unavailable(ProductName("lab", "other"), "Source tms: gone.", None, is_passing=True)
    for away in (
        replace(node.bench.generations.current, unavailable={failed.name: failed}),
        replace(node.bench.generations.current, products={product.name: replace(product, stale="Source tms: gone.")}),
    ):
        _serve(monkeypatch, node, away)
        loads = node.control.read().loads
        node.now += Limits().source_retry_s - 0.1
        assert node.node.reload_if_due() is False
        node.now += 0.1
        assert node.node.reload_if_due() is True
        assert node.node.reload_if_due() is False
        assert node.control.read().loads == loads + 1


def test_a_snapshot_is_taken_again_in_its_time(node: _Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """``every: 15m`` means every quarter of an hour; a live source is never due."""
    current = node.bench.generations.current
    product = next(iter(current.products.values()))
    manifest = product.product
    for mode, is_due in (("snapshot", True), ("live", False)):
        source = manifest.sources["raw"].model_copy(update={"every": "15m", "mode": mode})
        timed = replace(product, product=manifest.model_copy(update={"sources": {"raw": source}}), built_at=node.now)
        now = replace(current, products={product.name: timed})
        _serve(monkeypatch, node, now)
        node.now += 899
        assert node.node.reload_if_due() is False
        node.now += 1
        assert node.node.reload_if_due() is is_due
        node.now += 899
        assert node.node.reload_if_due() is False, "counted from the last try"

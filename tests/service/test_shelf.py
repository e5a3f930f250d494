"""Tables made of parts: bytes are counted as the disk has them, and small parts are joined."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from flightmesh.catalog.temporary import SessionFiles
from flightmesh.config import Limits
from flightmesh.engine.intake import Intake
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.service.holdings import Holding, Table, Upload
from flightmesh.service.shelf import PARTS_MAX, Shelf, Space

LIMITS = replace(Limits(), temporary_bytes_max=100_000, temporary_total_bytes_max=150_000)


class Bench:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.space = Space(LIMITS)
        self.files = SessionFiles(root)
        self.shelf = Shelf(self.files, self.space, lambda: 1.0)
        self.holding = Holding("a" * 64, 0.0, 0.0)

    def upload(self, columns: dict[str, Any]) -> Upload:
        batch = pa.record_batch(columns)
        upload = Upload(
            Intake(batch.schema, columns_max=10),
            self.holding,
            lambda kept: self.shelf.writer(self.holding, kept),
            lambda size: self.space.grow(self.holding, size),
        )
        upload.write(batch)
        return upload

    def publish(self, table: Table) -> Table:
        self.shelf.publish(self.holding, {"t": table})
        self.shelf.collect(self.holding)
        return table

    def on_disk(self) -> int:
        return sum(path.stat().st_size for path in self.root.rglob("*.arrow"))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@contextmanager
def refused(code: ErrorCode) -> Iterator[None]:
    with pytest.raises(FlightmeshError) as failure:
        yield
    assert failure.value.code is code


def test_appending_keeps_and_joins(bench: Bench) -> None:
    """All rows in order, few files, and the bytes of exactly what is there."""
    table = bench.publish(bench.shelf.created("T", bench.upload({"n": [0]})))
    for number in range(1, 60):
        table = bench.publish(bench.shelf.appended(table, bench.upload({"n": [number]})))
        assert len(table.parts) <= PARTS_MAX
        assert bench.space.bytes == bench.holding.bytes == bench.on_disk()
    assert table.record.name == "T"
    assert table.temporary.open().column("n").to_pylist() == list(range(60))
    after = Bench(bench.root)
    taken = after.shelf.take_up("a" * 64, after.files.kept["a" * 64])
    assert taken.visible["t"].open().column("n").to_pylist() == list(range(60))
    assert after.space.bytes == bench.on_disk()


def test_other_types_are_rewritten_or_refused(bench: Bench) -> None:
    """A refusal leaves the table and the bytes as they were."""
    table = bench.publish(bench.shelf.created("t", bench.upload({"n": [1], "s": ["a"]})))
    with refused(ErrorCode.INVALID):
        bench.shelf.appended(table, bench.upload({"n": [0.5]}))
    bench.shelf.collect(bench.holding)
    assert bench.space.bytes == bench.on_disk()
    assert list(bench.root.rglob("*.writing")) == []
    table = bench.publish(bench.shelf.appended(table, bench.upload({"n": [2.0]})))
    assert table.temporary.open().to_pydict() == {"n": [1, 2], "s": ["a", None]}
    assert bench.space.bytes == bench.on_disk()


def test_bounds_of_one_and_of_all(bench: Bench) -> None:
    """Nothing is counted for what was refused or abandoned."""
    with refused(ErrorCode.EXHAUSTED):
        bench.upload({"n": pa.array(range(20_000), pa.int64())})
    bench.space.grow(Holding("b", 0.0, 0.0), 90_000)
    with refused(ErrorCode.EXHAUSTED):
        bench.upload({"n": pa.array(range(10_000), pa.int64())})
    upload = bench.upload({"n": pa.array(range(5_000), pa.int64())})
    assert bench.holding.bytes > 40_000
    bench.shelf.abandon(upload)
    bench.shelf.abandon(upload)
    assert bench.holding.bytes == 0
    assert bench.space.bytes == 90_000


def test_a_closed_session_counts_no_more(bench: Bench) -> None:
    """An upload that ends after its session was closed must not be given back twice."""
    bench.space.grow(bench.holding, 500)
    with bench.space.guard, suppress(FlightmeshError):
        bench.space.add(bench.holding, -bench.holding.bytes)
        bench.holding.is_closed = True
    bench.space.take(bench.holding, -500)
    assert bench.space.bytes == 0

"""Open sources: one handle for each distinct source, bounded, closed in the end."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from flightmesh.product.model import Source
from flightmesh.sources.base import SourceHandle
from flightmesh.sources.registry import SourceRef, Sources

SPEC = Source.model_validate({"type": "postgres", "uri": "postgresql://nowhere.invalid/db", "mode": "live"})
REF = SourceRef("lab.samples", "tms", Path(), SPEC)


class _Counted(Sources):
    """Sources that note what is opened and closed; nothing is reached."""

    def __init__(self, sources_max: int = 2) -> None:
        super().__init__(sources_max=sources_max)
        self.opened: list[str] = []
        self.closed: list[str] = []

    def _opened(self, ref: SourceRef) -> SourceHandle:
        self.opened.append(ref.name)
        return SourceHandle(ref.name, {}, None, lambda: self.closed.append(ref.name))


def test_equal_sources_share_a_handle() -> None:
    """Two handles would be two pools and two breakers: a database would see twice the connections it was promised."""
    sources = _Counted()
    first = sources.open(REF)
    assert sources.open(SourceRef("lab.samples", "tms", Path(), SPEC.model_copy())) is first
    assert sources.opened == ["tms"]


@pytest.mark.parametrize(
    "other",
    [
        replace(REF, product="lab.other"),
        replace(REF, folder=Path("elsewhere")),
        replace(REF, spec=SPEC.model_copy(update={"uri": "postgresql://nowhere.invalid/other"})),
        replace(REF, spec=SPEC.model_copy(update={"timeout": "1s"})),
    ],
)
def test_different_sources_do_not(other: SourceRef) -> None:
    """A changed manifest reads by its new words; equal names in two products are two sources."""
    sources = _Counted()
    assert sources.open(other) is not sources.open(REF)


def test_handles_are_bounded_and_the_oldest_goes() -> None:
    """Products that come and go must not leave connections behind for ever."""
    sources = _Counted()
    for name in ("a", "b", "a", "c"):
        sources.open(replace(REF, name=name))
    assert (sources.opened, sources.closed) == (["a", "b", "c"], ["b"])
    sources.close()
    assert sorted(sources.closed) == ["a", "b", "c"]
    sources.close()
    assert len(sources.closed) == 3


def test_many_threads_open_one_handle() -> None:
    """The first queries after a start come at once."""
    sources, gate, found = _Counted(), threading.Barrier(8), []

    def read() -> None:
        gate.wait()
        found.append(sources.open(REF))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
    assert sources.opened == ["tms"]


def test_files_are_looked_for_each_time(tmp_path: Path) -> None:
    """A file that is added to a glob is found by the next read."""
    spec = Source.model_validate({"type": "csv", "path": "*.csv", "mode": "live"})
    (tmp_path / "a.csv").write_text("n\n1\n")
    sources, ref = Sources(), SourceRef("lab.samples", "raw", tmp_path, spec)
    assert sources.open(ref).tables[("raw",)].read().read_all().num_rows == 1
    (tmp_path / "b.csv").write_text("n\n2\n")
    assert sources.open(ref).tables[("raw",)].read().read_all().num_rows == 2
    sources.close()

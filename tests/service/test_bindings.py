"""Bound parameters between two calls: small ones travel, large ones are files, within bounds of bytes and time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pytest

from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.service.bindings import Bindings

LIMITS = replace(Limits(), parameters_inline_bytes_max=1_000, parameters_kept_bytes_max=5_000, prepared_ttl_s=60)


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def bindings(tmp_path: Path) -> Bindings:
    return Bindings(LIMITS, Clock(), tmp_path)


def _batch(size: int) -> pa.RecordBatch:
    return pa.record_batch({"a": ["x" * size], "b": [1]})


@pytest.mark.parametrize("size", [0, 100, 2_000])
def test_what_was_put_is_got(bindings: Bindings, size: int) -> None:
    """Schema and values, whether they travelled or stayed; also of no rows."""
    for batch in (_batch(size), _batch(size).slice(0, 0)):
        got = bindings.get(*bindings.put(batch))
        assert got is not None
        assert got.equals(batch)
        assert got.schema.equals(batch.schema)


def test_nothing_bound_is_none(bindings: Bindings) -> None:
    """Not an empty row: a statement without parameters runs once."""
    assert bindings.get(None, None) is None


def test_only_large_ones_are_kept(bindings: Bindings, tmp_path: Path) -> None:
    """Thousands of small binds cost the node nothing."""
    inline, reference = bindings.put(_batch(100))
    assert inline is not None
    assert reference is None
    assert list(tmp_path.iterdir()) == []
    inline, reference = bindings.put(_batch(2_000))
    assert inline is None
    assert reference
    assert len(list(tmp_path.iterdir())) == 1


def test_a_handle_outlives_the_server(bindings: Bindings, tmp_path: Path) -> None:
    """The client holds a bound statement while the server is restarted; its bounds and times go on too."""
    clock = Clock()
    kept = bindings.put(_batch(2_000))
    (tmp_path / f".{kept[1]}.0123456789ab").write_bytes(b"half")
    (tmp_path / "stray").write_bytes(b"?")
    after = Bindings(LIMITS, clock, tmp_path)
    got = after.get(*kept)
    assert got is not None
    assert got.equals(_batch(2_000))
    assert len(list(tmp_path.iterdir())) == 1
    assert after._bytes == next(tmp_path.iterdir()).stat().st_size
    clock.now += 60
    with pytest.raises(FlightmeshError, match="Bind them again"):
        Bindings(LIMITS, clock, tmp_path).get(*kept)
    assert list(tmp_path.iterdir()) == []


def test_the_oldest_make_room(bindings: Bindings, tmp_path: Path) -> None:
    """Bytes are bounded: what is lost is the oldest, and its owner is told to bind again."""
    references = [bindings.put(_batch(2_000)) for _ in range(3)]
    for kept in references[1:]:
        assert bindings.get(*kept) is not None
    with pytest.raises(FlightmeshError, match="Bind them again") as failure:
        bindings.get(*references[0])
    assert failure.value.code is ErrorCode.UNAVAILABLE
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= LIMITS.parameters_kept_bytes_max


def test_what_has_expired_makes_room_first(tmp_path: Path) -> None:
    """A handle that has expired needs no values any more: living ones must not go for its sake."""
    clock = Clock()
    bindings = Bindings(LIMITS, clock, tmp_path)
    old = bindings.put(_batch(2_000))
    clock.now += 30
    young = bindings.put(_batch(2_000))
    clock.now += 31
    bindings.put(_batch(2_000))
    assert bindings.get(*young) is not None
    with pytest.raises(FlightmeshError):
        bindings.get(*old)
    clock.now += 60
    bindings.sweep()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("reference", ["guess", "", "../x", "/etc/passwd", "x" * 22, "a\0b", "\ud800"])
def test_a_reference_is_no_path(bindings: Bindings, tmp_path: Path, reference: str) -> None:
    """Whatever a handle names, nothing outside the folder is read."""
    (tmp_path.parent / "x").write_bytes(b"")
    with pytest.raises(FlightmeshError) as failure:
        bindings.get(None, reference)
    assert failure.value.code is ErrorCode.UNAVAILABLE


def test_a_damaged_file_is_no_crash(bindings: Bindings, tmp_path: Path) -> None:
    """A disk loses bytes: the client binds again."""
    kept = bindings.put(_batch(2_000))
    path = next(tmp_path.iterdir())
    content = path.read_bytes()
    for damaged in (content[:100], b"", content.replace(b"x" * 8, b"\xff" * 8, 1)):
        path.write_bytes(damaged)
        with pytest.raises(FlightmeshError, match="Bind them again"):
            bindings.get(*kept)


def test_references_cannot_be_guessed_from_each_other(bindings: Bindings) -> None:
    """They travel inside signed handles, and are random besides."""
    references = {bindings.put(_batch(1_500))[1] for _ in range(100)}
    assert len(references) == 100
    assert all(reference is not None and len(reference) >= 20 for reference in references)

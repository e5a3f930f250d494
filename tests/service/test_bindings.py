"""Bound parameters between two calls: small ones travel, large ones are kept within bounds of bytes and time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pyarrow as pa
import pytest

from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.service.bindings import Bindings

LIMITS = replace(Limits(), parameters_inline_bytes_max=1_000, parameters_kept_bytes_max=5_000, prepared_ttl_s=60)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def _batch(size: int) -> pa.RecordBatch:
    return pa.record_batch({"a": ["x" * size], "b": [1]})


@pytest.mark.parametrize("size", [0, 100, 2_000])
def test_what_was_put_is_got(size: int) -> None:
    """Schema and values, whether they travelled or stayed; also of no rows."""
    bindings = Bindings(LIMITS, Clock())
    for batch in (_batch(size), _batch(size).slice(0, 0)):
        got = bindings.get(*bindings.put(batch))
        assert got is not None
        assert got.equals(batch)
        assert got.schema.equals(batch.schema)


def test_nothing_bound_is_none() -> None:
    """Not an empty row: a statement without parameters runs once."""
    assert Bindings(LIMITS, Clock()).get(None, None) is None


def test_only_large_ones_are_kept() -> None:
    """Thousands of small binds cost the node nothing."""
    bindings = Bindings(LIMITS, Clock())
    inline, reference = bindings.put(_batch(100))
    assert inline is not None
    assert reference is None
    inline, reference = bindings.put(_batch(2_000))
    assert inline is None
    assert reference


def test_the_oldest_make_room() -> None:
    """Bytes are bounded: what is lost is the oldest, and its owner is told to bind again."""
    bindings = Bindings(LIMITS, Clock())
    references = [bindings.put(_batch(2_000)) for _ in range(3)]
    for kept in references[1:]:
        assert bindings.get(*kept) is not None
    with pytest.raises(FlightmeshError, match="Bind them again") as failure:
        bindings.get(*references[0])
    assert failure.value.code is ErrorCode.UNAVAILABLE
    assert bindings._bytes <= LIMITS.parameters_kept_bytes_max


def test_what_has_expired_makes_room_first() -> None:
    """A handle that has expired needs no values any more: living ones must not go for its sake."""
    clock = Clock()
    bindings = Bindings(LIMITS, clock)
    old = bindings.put(_batch(2_000))
    clock.now = 30
    young = bindings.put(_batch(2_000))
    clock.now = 61
    bindings.put(_batch(2_000))
    assert bindings.get(*young) is not None
    with pytest.raises(FlightmeshError):
        bindings.get(*old)


def test_references_cannot_be_guessed_from_each_other() -> None:
    """They travel inside signed handles, and are random besides."""
    bindings = Bindings(LIMITS, Clock())
    references = {bindings.put(_batch(1_500))[1] for _ in range(100)}
    assert len(references) == 100
    assert all(reference is not None and len(reference) >= 20 for reference in references)
    with pytest.raises(FlightmeshError):
        bindings.get(None, "guess")

"""``flightmesh.planner.cache``: bounded, and never a source of wrong answers."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from flightmesh.planner.cache import Cache


def test_what_was_used_last_stays() -> None:
    """A cache without bound would grow with every statement ever sent."""
    cache: Cache[str, int] = Cache(2)
    assert [cache.get_or_make(key, partial(int, n)) for n, key in enumerate("abab")] == [0, 1, 0, 1]
    cache.get_or_make("a", lambda: 9)
    cache.get_or_make("c", lambda: 5)
    assert len(cache) == 2
    assert cache.get_or_make("a", lambda: 9) == 0
    assert cache.get_or_make("b", lambda: 7) == 7


def test_stale_entries_are_given_back() -> None:
    """Entries of a role set that lost a grant would be served on."""
    cache: Cache[str, int] = Cache(9)
    for n, key in enumerate("abc"):
        cache.get_or_make(key, partial(int, n))
    assert cache.discard(lambda key: key in "ac") == [0, 2]
    assert len(cache) == 1
    assert cache.get_or_make("a", lambda: 8) == 8


def test_what_fails_is_not_kept() -> None:
    """One refused statement would be refused for ever."""
    cache: Cache[str, int] = Cache(1)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            cache.get_or_make("a", lambda: 1 // 0)
    assert len(cache) == 0
    assert cache.get_or_make("a", lambda: 1) == 1


def test_of_two_made_at_once_all_get_the_first() -> None:
    """Two callers would hold two binders of one role set."""
    cache: Cache[str, object] = Cache(1)
    barrier, found = threading.Barrier(4), []

    def make() -> object:
        barrier.wait(10)
        return object()

    threads = [threading.Thread(target=lambda: found.append(cache.get_or_make("a", make))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 4
    assert len(set(found)) == 1


def test_it_can_be_asked_without_being_changed() -> None:
    """``query.explain`` would put in what it asks for, and then find it there."""
    cache: Cache[str, int] = Cache(1)
    assert "a" not in cache
    cache.get_or_make("a", lambda: 1)
    assert "a" in cache
    assert len(cache) == 1

"""The pool, over SQLite in memory."""

from __future__ import annotations

import time

import adbc_driver_sqlite
import pytest

from flightmesh.sources.drivers import Driver, Link
from flightmesh.sources.pool import Pool


def pool(size: int) -> Pool:
    return Pool(Driver(lambda: adbc_driver_sqlite.connect(":memory:")), size)


def taken(found: Pool, *, within_s: float = 1.0) -> Link:
    link = found.take(until=time.monotonic() + within_s, is_wanted=lambda: True)
    return link or found.open()


def test_links_are_used_again() -> None:
    """Every read would connect anew."""
    found = pool(2)
    first = taken(found)
    found.give_back(first)
    assert taken(found) is first
    assert found.open_count == 1


def test_there_are_no_more_than_its_size() -> None:
    """The database would refuse others its connections."""
    found = pool(1)
    link = taken(found)
    with pytest.raises(TimeoutError):
        taken(found, within_s=0.05)
    found.give_back(link)
    assert taken(found) is link


def test_a_link_that_was_cancelled_is_not_used_again() -> None:
    """A late cancellation would hit the next consumer's statement."""
    found = pool(1)
    link = taken(found)
    link.cancel()
    found.give_back(link)
    assert found.open_count == 0
    assert taken(found) is not link


def test_who_is_not_wanted_any_more_takes_nothing() -> None:
    """A place would be held for a consumer who left."""
    found = pool(1)
    with pytest.raises(TimeoutError):
        found.take(until=time.monotonic() + 5, is_wanted=lambda: False)
    assert found.open_count == 0


def test_after_it_is_closed_links_end_when_they_are_given_back() -> None:
    """A replaced product would keep its connections."""
    found = pool(1)
    link = taken(found)
    found.close()
    found.give_back(link)
    assert found.open_count == 0

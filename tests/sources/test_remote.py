"""Retries and silence, against PostgreSQL where it matters: ``test_postgres``. Here is what needs no server."""

from __future__ import annotations

import threading
import time

import adbc_driver_manager
import adbc_driver_sqlite
import pyarrow as pa
import pytest

from flightmesh.errors import ErrorCode
from flightmesh.sources.access import Access, Bounds
from flightmesh.sources.conversion import as_it_is, conforming
from flightmesh.sources.drivers import Driver
from flightmesh.sources.remote import HANGING_MAX, Remote
from tests.sources.live import failure, waited

NOWHERE = Access(None, {}, ("secret",))
ONE = pa.schema([("one", pa.int64())])


def refused() -> adbc_driver_manager.AdbcDatabase:
    """A database that is never reached."""
    raise OSError("no route to secret")


def test_a_source_that_is_not_reached_is_tried_again_as_often_as_told() -> None:
    """A connection that a firewall dropped would be an error for a consumer."""
    tries: list[int] = []

    def connect() -> adbc_driver_manager.AdbcDatabase:
        tries.append(1)
        return refused() if len(tries) < 3 else adbc_driver_sqlite.connect(":memory:")

    remote = Remote("tms", Driver(connect), Bounds(2.0, 1, 2), NOWHERE)
    assert remote.rows("SELECT 1 AS one", for_author=False) == [{"one": 1}]
    assert len(tries) == 3
    assert remote.pool.open_count == 1


@pytest.mark.parametrize(("for_author", "hint"), [(True, "no route to ***"), (False, "Try again.")])
def test_the_drivers_words_are_for_the_author_alone(for_author: bool, hint: str) -> None:
    """An address inside the company would be told to any consumer."""
    remote = Remote("tms", Driver(refused), Bounds(2.0, 1, 0), NOWHERE)
    error = failure(lambda: remote.rows("SELECT 1", for_author=for_author))
    assert (error.code, error.message, error.hint) == (ErrorCode.UNAVAILABLE, "Source tms cannot be reached.", hint)
    assert remote.pool.open_count == 0


def test_reads_that_hang_are_counted_and_bounded() -> None:
    """A source that never answers would take a thread for every consumer who tries."""
    end = threading.Event()

    def connect() -> adbc_driver_manager.AdbcDatabase:
        end.wait()
        return refused()

    now = [0.0]
    remote = Remote("tms", Driver(connect), Bounds(0.05, 4, 0), NOWHERE, clock=lambda: now[0])
    codes = []
    for _ in range(HANGING_MAX + 1):
        now[0] += 100  # The breaker lets one through.
        codes.append(failure(lambda: remote.rows("SELECT 1", for_author=False)).code)
    assert codes == [ErrorCode.DEADLINE] * HANGING_MAX + [ErrorCode.EXHAUSTED]
    assert remote.pool.open_count == 0
    end.set()
    waited(lambda: remote.hanging == 0)


def test_who_waited_for_a_connection_does_not_blame_the_source() -> None:
    """Consumers who are slow would close a source that answers to all others."""
    begun, end = threading.Event(), threading.Event()

    def connect() -> adbc_driver_manager.AdbcDatabase:
        begun.set()
        end.wait()
        return adbc_driver_sqlite.connect(":memory:")

    remote = Remote("tms", Driver(connect), Bounds(0.4, 1, 0), NOWHERE)
    assert remote.pool.take(until=time.monotonic(), is_wanted=lambda: True) is None
    fetch = remote.fetch("SELECT 1 AS one", ONE, as_it_is)
    threading.Timer(0.3, remote.pool.give_up).start()
    error = failure(fetch.reader.read_all)
    assert (error.code, begun.is_set()) == (ErrorCode.EXHAUSTED, True)
    end.set()
    waited(lambda: remote.pool.open_count == 0)
    assert remote.rows("SELECT 1 AS one", for_author=False) == [{"one": 1}]


def test_what_the_source_answers_is_no_failure_of_the_source() -> None:
    """A consumer's wrong statement would close the source to all."""
    remote = Remote("tms", Driver(lambda: adbc_driver_sqlite.connect(":memory:")), Bounds(), NOWHERE)
    for _ in range(4):
        assert failure(lambda: remote.rows("SELEC", for_author=False)).message.endswith("answered with an error.")
    assert remote.breaker.refusal() is None


def test_a_result_that_does_not_fit_is_an_error() -> None:
    """Text would be read as numbers, or a column as its neighbour."""
    remote = Remote("tms", Driver(lambda: adbc_driver_sqlite.connect(":memory:")), Bounds(), NOWHERE)
    for sql in ("SELECT 'x' AS one", "SELECT 1 AS one, 2 AS two"):
        assert failure(remote.fetch(sql, ONE, conforming(ONE)).reader.read_all).code is ErrorCode.UNAVAILABLE
    fetch = remote.fetch("SELECT 7 AS one", ONE, as_it_is)
    assert fetch.reader.read_all().to_pylist() == [{"one": 7}]
    assert remote.schema("SELECT 1.5 AS x", for_author=True) == pa.schema([("x", pa.float64())])


def test_closing_does_not_wait() -> None:
    """A product that is replaced would wait for its database."""
    remote = Remote("tms", Driver(lambda: adbc_driver_sqlite.connect(":memory:")), Bounds(), NOWHERE)
    remote.rows("SELECT 1 AS one", for_author=False)
    start = time.monotonic()
    remote.close()
    assert time.monotonic() - start < 0.5
    waited(lambda: remote.pool.open_count == 0)

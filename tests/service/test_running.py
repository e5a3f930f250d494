"""Running queries: a cancel hits its own query, before, while and after it runs; a kill needs the right to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.service import running
from flightmesh.service.authn import ANONYMOUS_PRINCIPAL, Principal
from flightmesh.service.running import RunningQueries, Stopped
from flightmesh.service.sessions import Session
from tests.service.conftest import Call

ANN, BOB = (Session(name, Principal(name, frozenset({"visitor"})), 0, 0) for name in ("ann", "bob"))
ROOT = Session("r", Principal("root", frozenset({"steward"})), 0, 0)
ANONYMOUS, OTHER_ANONYMOUS = (Session(name, ANONYMOUS_PRINCIPAL, 0, 0) for name in ("x", "y"))


@pytest.fixture
def queries() -> RunningQueries:
    """Nothing runs yet; stewards are administrators."""
    return RunningQueries(frozenset({"steward"}), lambda: 5.0)


class _Runs:
    """A query on a thread of its own that ends when it is stopped."""

    def __init__(self, queries: RunningQueries, id_: str, session: Session, *, ends_after_s: float = 0.0) -> None:
        self._stopped, self._entered = threading.Event(), threading.Event()
        self.call = Call()
        self.refusal: FlightmeshError | None = None

        def run() -> None:
            with queries.entered(id_, session, f"SELECT '{id_}'", self.call), self.call.cancelling(self._stopped.set):
                self._entered.set()
                assert self._stopped.wait(30)
                time.sleep(ends_after_s)

        self._thread = threading.Thread(target=run)
        self._thread.start()
        assert self._entered.wait(30)

    @property
    def is_stopped(self) -> bool:
        return self._stopped.is_set()

    def end(self) -> None:
        self._stopped.set()
        self._thread.join()


@contextmanager
def _running(queries: RunningQueries, id_: str, session: Session = ANN, ends_after_s: float = 0.0) -> Iterator[_Runs]:
    query = _Runs(queries, id_, session, ends_after_s=ends_after_s)
    try:
        yield query
    finally:
        query.end()


def test_a_cancel_stops_its_query_and_no_other(queries: RunningQueries) -> None:
    """Two queries of one connection: the dashboard's other tile must go on."""
    with _running(queries, "one") as one, _running(queries, "two") as two:
        assert queries.cancel("one") is Stopped.CANCELLED
        assert (one.is_stopped, two.is_stopped) == (True, False)
        assert one.call.failure is not None
        assert one.call.failure.code is ErrorCode.CANCELLED
        assert two.call.failure is None
        assert [query.id for query in queries.visible(ANN)] == ["two"]


def test_a_cancel_tells_when_the_query_is_still_ending(
    queries: RunningQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that is told CANCELLED too early would drop what the query still writes."""
    monkeypatch.setattr(running, "_ENDING_S", 0.05)
    with _running(queries, "slow", ends_after_s=0.3):
        assert queries.cancel("slow") is Stopped.CANCELLING
    assert queries.cancel("slow") is Stopped.NOT_RUNNING


def test_a_cancelled_ticket_never_starts(queries: RunningQueries) -> None:
    """JDBC cancels between the ticket and its redemption: the query must not run for nobody."""
    assert queries.cancel("early") is Stopped.CANCELLED
    for _ in range(2):
        with pytest.raises(FlightmeshError) as refused, queries.entered("early", ANN, "SELECT 1", Call()):
            raise AssertionError("it ran")
        assert refused.value.code is ErrorCode.CANCELLED
    assert queries.visible(ROOT) == []


def test_a_query_that_is_over_cannot_be_cancelled(queries: RunningQueries) -> None:
    """The client learns that it got all of it; the ticket stays good for a second read."""
    with queries.entered("done", ANN, "SELECT 1", Call()):
        pass
    assert queries.cancel("done") is Stopped.NOT_RUNNING
    with queries.entered("done", ANN, "SELECT 1", Call()):
        assert len(queries.visible(ANN)) == 1


def test_a_query_that_failed_is_over(queries: RunningQueries) -> None:
    """A listing would show it for ever."""
    with pytest.raises(ValueError, match="broke"), queries.entered("q", ANN, "SELECT 1", Call()):
        raise ValueError("broke")
    assert queries.visible(ANN) == []
    assert queries.cancel("q") is Stopped.NOT_RUNNING


def test_one_ticket_redeemed_twice_is_cancelled_twice(queries: RunningQueries) -> None:
    """A reader that opened a second stream of its ticket means both."""
    with _running(queries, "q") as first, _running(queries, "q") as second:
        assert len(queries.visible(ANN)) == 2
        assert queries.cancel("q") is Stopped.CANCELLED
        assert (first.is_stopped, second.is_stopped) == (True, True)


def test_kill_by_owner_and_by_administrator(queries: RunningQueries) -> None:
    """Who may stop a query: its user, and an administrator by role."""
    for killer in (ANN, ROOT):
        with _running(queries, f"q {killer.id}") as query:
            assert queries.kill(killer, f"q {killer.id}") is Stopped.CANCELLED
            assert query.is_stopped
            assert query.call.failure is not None
            assert query.call.failure.code is ErrorCode.CANCELLED


def test_kill_by_the_id_that_the_client_was_told(queries: RunningQueries) -> None:
    """A result of several endpoints has one id: it stops those that run and those that were still to be fetched."""
    with _running(queries, "q.0") as first, _running(queries, "q.1") as second, _running(queries, "qq.0") as other:
        for nobody in ("", "q."):
            with pytest.raises(FlightmeshError):
                queries.kill(ANN, nobody)
        assert queries.kill(ANN, "q") is Stopped.CANCELLED
        assert (first.is_stopped, second.is_stopped, other.is_stopped) == (True, True, False)
    with pytest.raises(FlightmeshError) as refused, queries.entered("q.2", ANN, "SELECT 2", Call()):
        raise AssertionError
    assert refused.value.code is ErrorCode.CANCELLED


def test_others_queries_do_not_exist(queries: RunningQueries) -> None:
    """Another's query is answered as one that never was: an id tells nothing."""
    with _running(queries, "q") as query, _running(queries, "anonymous", ANONYMOUS) as unnamed:
        told = []
        for session, id_ in ((BOB, "q"), (ANONYMOUS, "q"), (OTHER_ANONYMOUS, "anonymous"), (BOB, "nothing")):
            with pytest.raises(FlightmeshError) as refused:
                queries.kill(session, id_)
            assert refused.value.code is ErrorCode.NOT_FOUND
            told.append(str(refused.value))
        assert len(set(told)) == 1
        assert not query.is_stopped
        assert not unnamed.is_stopped
        assert queries.visible(BOB) == []


def test_callers_without_a_name_see_none_of_each_other(queries: RunningQueries) -> None:
    """They share one name, so a name proves nothing; an administrator sees them."""
    with _running(queries, "a", ANONYMOUS), _running(queries, "b", OTHER_ANONYMOUS):
        assert queries.visible(ANONYMOUS) == []
        assert sorted(query.id for query in queries.visible(ROOT)) == ["a", "b"]
        assert queries.kill(ROOT, "a") is Stopped.CANCELLED


def test_the_oldest_is_listed_first(queries: RunningQueries) -> None:
    """What runs for longest is what people look for."""
    now = iter((3.0, 1.0, 2.0))
    own = RunningQueries(frozenset(), lambda: next(now))
    with (
        own.entered("c", ANN, "SELECT 3", Call()),
        own.entered("a", ANN, "SELECT 1", Call()),
        own.entered("b", BOB, "SELECT 2", Call()),
    ):
        assert [(q.id, q.principal, q.sql, q.started_at) for q in own.visible(ANN)] == [
            ("a", "ann", "SELECT 1", 1.0),
            ("c", "ann", "SELECT 3", 3.0),
        ]
        # Without admin roles there is no administrator.
        assert own.visible(ROOT) == []


def test_what_is_remembered_is_bounded(queries: RunningQueries, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that cancels in a loop would fill the memory."""
    monkeypatch.setattr(running, "_REMEMBERED_MAX", 5)
    for number in range(20):
        queries.cancel(f"c{number}")
        with queries.entered(f"o{number}", ANN, "SELECT 1", Call()):
            pass
    assert (len(queries._cancelled), len(queries._over), len(queries._running)) == (5, 5, 0)

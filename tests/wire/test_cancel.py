"""Cancel and kill, seen from outside: what stops a query, and that it stops no other, nor anybody else's.

A query has stopped when ``query.list`` shows it no more, and the server's process computes no more. Bounds in seconds
are the issue's own; of several rounds the best counts, since other programs share the machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.flight as fl
import pytest
from adbc_driver_flightsql import dbapi

from tests.wire.caller import Caller, calling, serving_small
from tests.wire.engine import IDLE, LONG, STREAM, Engine, best, until, watching

if TYPE_CHECKING:
    from tests.conftest import ServedBy

pytestmark = pytest.mark.client

DEADLINE_S_MAX = 0.25
GONE_S_MAX = 1.0
ROWS = 3_000_000
KEPT = f"SELECT range AS n FROM range({ROWS})"
_TIMEOUT_S = 0.7

CANCELS: dict[str, Callable[[Caller, fl.FlightInfo], str]] = {
    "CancelFlightInfo": Caller.cancel,
    "CancelQuery": Caller.cancel_query,
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedBy]:
    """A server with the limits of every server; stewards are its administrators."""
    with serving_small(tmp_path_factory.mktemp("plain"), '[server]\nadmin_roles = ["steward"]\n') as server:
        yield server


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedBy]:
    """A server with one place for a query, and one to wait for it."""
    limits = "queries_max = 1\nqueries_per_principal_max = 1\nquery_queue_max = 1\nquery_queue_wait_s = 6.0\n"
    toml = f'[server]\nadmin_roles = ["steward"]\n[limits]\n{limits}'
    with serving_small(tmp_path_factory.mktemp("narrow"), toml) as server:
        yield server


@pytest.fixture
def caller(plain: ServedBy) -> Iterator[Caller]:
    """An analyst's connection."""
    with calling(plain) as caller:
        yield caller


@pytest.fixture
def engine(plain: ServedBy) -> Iterator[Engine]:
    """The engine as an administrator sees it; a test leaves nothing running for the next."""
    with watching(plain, "steward") as engine:
        yield engine


# ----------------------------------------------------------------------------------------- a cancel hits only its query


@pytest.mark.parametrize("action", CANCELS)
def test_a_cancel_hits_only_its_query(caller: Caller, engine: Engine, action: str) -> None:
    """A user stops one of two results on one connection: the other is whole and right."""

    def round_() -> float:
        doomed, kept = caller.info(LONG), caller.info(KEPT)
        reading, stream = caller.reading(doomed), caller.stream(kept)
        total = pc.sum(stream.read_chunk().data["n"]).as_py()
        engine.wait(LONG)
        engine.wait(KEPT)
        began = time.monotonic()
        assert CANCELS[action](caller, doomed) in ("CANCELLED", "CANCELLING")
        taken = engine.wait_gone(LONG, 10) - began
        assert len(engine.running(KEPT)) == 1
        with pytest.raises(fl.FlightCancelledError, match="The query was cancelled"):
            reading.result(10)
        total += sum(pc.sum(chunk.data["n"]).as_py() for chunk in stream)
        assert total == ROWS * (ROWS - 1) // 2
        assert CANCELS[action](caller, kept) == "NOT_CANCELLABLE"
        return taken

    best(round_, action, DEADLINE_S_MAX)
    until(lambda: engine.share() < IDLE, 5)


def test_of_two_equal_queries_one_is_cancelled(caller: Caller, engine: Engine) -> None:
    """Two people of a team run one saved statement: who stops hers must not stop his."""
    infos = [caller.info(STREAM), caller.info(STREAM)]
    readings = [caller.reading(info) for info in infos]
    until(lambda: len(engine.running(STREAM)) == 2, 5)
    assert caller.cancel(infos[0]) in ("CANCELLED", "CANCELLING")
    with pytest.raises(fl.FlightCancelledError):
        readings[0].result(10)
    time.sleep(0.3)
    assert len(engine.running(STREAM)) == 1
    assert not readings[1].done()
    assert caller.cancel(infos[1]) in ("CANCELLED", "CANCELLING")
    engine.wait_gone(STREAM, 5)


def test_two_statements_of_one_driver_connection(plain: ServedBy, engine: Engine) -> None:
    """The stock driver cancels by dropping the call: the other statement of its connection reads on."""
    with plain.adbc("analyst") as connection, connection.cursor() as doomed, connection.cursor() as kept:
        reader = kept.execute(KEPT).fetch_record_batch()
        total = pc.sum(reader.read_next_batch()["n"]).as_py()
        with ThreadPoolExecutor(1) as thread:
            reading = thread.submit(lambda: doomed.execute(LONG).fetchall())
            engine.wait(LONG)
            began = time.monotonic()
            doomed.adbc_cancel()
            print("ADBC's cancel took (s):", engine.wait_gone(LONG, GONE_S_MAX) - began)
            with pytest.raises((dbapi.Error, pa.ArrowException, OSError)):
                reading.result(10)
        total += sum(pc.sum(batch["n"]).as_py() for batch in reader)
        assert total == ROWS * (ROWS - 1) // 2
        assert doomed.execute("SELECT 1").fetchall() == [(1,)]


@pytest.mark.parametrize("action", CANCELS)
def test_a_cancel_before_the_first_read(caller: Caller, action: str) -> None:
    """A tool takes the ticket, is stopped, and another of its threads reads: nothing may start; equal queries may."""
    doomed, kept = caller.info("SELECT 1 AS v"), caller.info("SELECT 1 AS v")
    assert CANCELS[action](caller, doomed) in ("CANCELLED", "CANCELLING")
    for _ in range(2):
        with pytest.raises(fl.FlightCancelledError, match="cancelled"):
            caller.count(doomed)
    assert caller.stream(kept).read_all().to_pylist() == [{"v": 1}]


def test_a_cancel_at_any_moment(caller: Caller, engine: Engine) -> None:
    """A cancel that arrives while the query is being started stops it, too: there is no moment that is missed."""
    taken = []
    for number in range(40):
        info = caller.info(LONG)
        reading = caller.reading(info)
        time.sleep(number * 0.0005)
        began = time.monotonic()
        assert caller.cancel(info) in ("CANCELLED", "CANCELLING")
        with pytest.raises(fl.FlightCancelledError):
            reading.result(5)
        taken.append(time.monotonic() - began)
    print("cancels at any moment took at most (s):", round(max(taken), 3))
    assert engine.running(LONG) == []


@pytest.mark.parametrize("action", CANCELS)
def test_a_cancel_after_the_end(caller: Caller, action: str) -> None:
    """What is over cannot be cancelled; saying so is the truth, and its ticket stays good."""
    info = caller.info("SELECT 1 AS v")
    assert caller.stream(info).read_all().to_pylist() == [{"v": 1}]
    until(lambda: CANCELS[action](caller, info) == "NOT_CANCELLABLE", 2)
    assert caller.stream(info).read_all().to_pylist() == [{"v": 1}]


@pytest.mark.parametrize("user", ["both", "steward", None])
@pytest.mark.parametrize("action", CANCELS)
def test_nobody_cancels_anothers_query(
    plain: ServedBy, caller: Caller, engine: Engine, action: str, user: str | None
) -> None:
    """A FlightInfo that leaks, into a log for example, is no right to stop its query."""
    info = caller.info(STREAM)
    reading = caller.reading(info)
    engine.wait(STREAM)
    with calling(plain, user) as other, pytest.raises((fl.FlightError, pa.ArrowException)) as refused:
        CANCELS[action](other, info)
    assert "Traceback" not in str(refused.value)
    time.sleep(0.2)
    assert len(engine.running(STREAM)) == 1
    assert not reading.done()
    assert CANCELS[action](caller, info) in ("CANCELLED", "CANCELLING")
    engine.wait_gone(STREAM, 5)


@pytest.mark.parametrize("body", [b"", b"\xff\xff", b"\x0a\x03abc"])
def test_a_cancel_of_no_query(caller: Caller, body: bytes) -> None:
    """Malformed requests are refused in a line."""
    for action in ("CancelFlightInfo", "CancelQuery"):
        with pytest.raises(pa.ArrowInvalid, match="invalid: "):
            caller.act(action, body)


# -------------------------------------------------------------------------------------------------- query.list and kill


@pytest.mark.parametrize("user", ["analyst", "steward"])
@pytest.mark.parametrize("sql", [LONG, STREAM], ids=["computing", "streaming"])
def test_a_kill_by_its_user_or_an_administrator(
    plain: ServedBy, caller: Caller, engine: Engine, user: str, sql: str
) -> None:
    """Who is responsible for the machine, or for the query, ends it; its reader is told, and its ticket is spent."""
    info = caller.info(sql)
    reading, killer = caller.reading(info), Engine(plain, user)
    query = killer.wait(sql)
    assert (query["user"], query["sql"]) == ("analyst", sql)
    began = time.monotonic()
    assert killer.kill(query["id"]) in ("cancelled", "cancelling")
    print("a kill took (s):", engine.wait_gone(sql, GONE_S_MAX) - began)
    for again in (reading, caller.reading(info)):
        with pytest.raises(fl.FlightCancelledError, match=r"stopped|cancelled"):
            again.result(10)
    with pytest.raises(pa.ArrowKeyError, match="no such running query"):
        killer.kill(query["id"])


@pytest.mark.parametrize("user", ["both", "nobody", None])
def test_a_kill_by_others_is_refused(plain: ServedBy, caller: Caller, engine: Engine, user: str | None) -> None:
    """Others neither see a query nor end it, and cannot tell whether it is there."""
    reading = caller.reading(caller.info(STREAM))
    query = engine.wait(STREAM)
    other = Engine(plain, user)
    assert other.queries() == []
    texts = []
    for id_ in (query["id"], "thisquerydoesnotexist"):
        with pytest.raises(pa.ArrowKeyError, match="no such running query") as refused:
            other.kill(id_)
        texts.append(str(refused.value).partition("[id")[0])
    assert texts[0] == texts[1]
    time.sleep(0.2)
    assert not reading.done()


def test_the_anonymous_do_not_end_each_others_queries(plain: ServedBy, engine: Engine) -> None:
    """They share a name: none of them sees or ends what another runs, but an administrator does."""
    with calling(plain, None) as anonymous:
        reading = anonymous.reading(anonymous.info(LONG))
        query = engine.wait(LONG)
        other = Engine(plain, None)
        assert other.queries() == []
        with pytest.raises(pa.ArrowKeyError):
            other.kill(query["id"])
        assert engine.kill(query["id"]) in ("cancelled", "cancelling")
        with pytest.raises(fl.FlightCancelledError):
            reading.result(10)


def test_a_kill_hits_only_its_query(caller: Caller, engine: Engine) -> None:
    """The other query of the same connection reads on."""
    doomed, kept = caller.reading(caller.info(LONG)), caller.stream(caller.info(KEPT))
    rows = kept.read_chunk().data.num_rows
    assert [query["sql"] for query in engine.queries()].count(LONG) <= 1
    engine.kill(engine.wait(LONG)["id"])
    with pytest.raises(fl.FlightCancelledError):
        doomed.result(10)
    assert rows + sum(chunk.data.num_rows for chunk in kept) == ROWS


# -------------------------------------------------------------------------------------------------- waiting for a place


@pytest.fixture
def occupied(narrow: ServedBy) -> Iterator[Engine]:
    """The one place is taken until the test gives it back."""
    engine = Engine(narrow, "steward")
    with calling(narrow, "steward") as holder:
        reading = holder.reading(holder.info(LONG))
        engine.wait(LONG)
        yield engine
        for query in engine.queries():
            engine.kill(query["id"])
        with pytest.raises(fl.FlightCancelledError):
            reading.result(10)
        until(lambda: engine.queries() == [], 10)


@pytest.mark.parametrize("action", CANCELS)
def test_a_waiting_query_is_cancelled(narrow: ServedBy, occupied: Engine, action: str) -> None:
    """A user who is tired of waiting for a place is told at once that she waits no more."""
    with calling(narrow) as caller:
        info = caller.info("SELECT 1 AS v")
        reading = caller.reading(info)
        time.sleep(0.5)
        assert not reading.done(), "the query did not have to wait: nothing was measured"
        began = time.monotonic()
        assert CANCELS[action](caller, info) in ("CANCELLED", "CANCELLING")
        with pytest.raises(fl.FlightCancelledError):
            reading.result(10)
        assert time.monotonic() - began < GONE_S_MAX
    assert len(occupied.running(LONG)) == 1


def test_a_waiting_query_goes_with_its_client(narrow: ServedBy, occupied: Engine) -> None:
    """Dashboards that give up while they wait must not keep others from waiting."""
    with calling(narrow) as caller:
        gone = caller.reading(caller.info("SELECT 1 AS v"), fl.FlightCallOptions(timeout=_TIMEOUT_S))
        with pytest.raises(fl.FlightTimedOutError):
            gone.result(10)
        time.sleep(DEADLINE_S_MAX)
        waiting = caller.reading(caller.info("SELECT 2 AS v"))
        time.sleep(0.5)
        assert not waiting.done(), f"there was no place to wait: {waiting.exception()}"
        for query in occupied.running(LONG):
            occupied.kill(query["id"])
        assert waiting.result(10) == 1


def test_a_waiting_query_gets_its_place(narrow: ServedBy, occupied: Engine) -> None:
    """Whoever waits is served as soon as the place is free."""
    with calling(narrow) as caller:
        waiting = caller.reading(caller.info("SELECT 1 AS v"))
        time.sleep(0.3)
        occupied.kill(occupied.wait(LONG)["id"])
        assert waiting.result(5) == 1

"""Time, seen from outside: what deadlines, clients that go away and timeouts stop, how soon, and how long tickets live.

Bounds in seconds are the issue's own; of several rounds the best counts, since other programs share the machine.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import adbc_driver_manager as manager
import pyarrow as pa
import pyarrow.flight as fl
import pytest
from adbc_driver_flightsql import dbapi

from tests.wire.caller import Caller, calling, serving_small
from tests.wire.engine import BUSY, IDLE, LONG, STREAM, Engine, best, until, watching

if TYPE_CHECKING:
    from tests.conftest import ServedBy

pytestmark = pytest.mark.client

READER = Path(__file__).parents[1] / "faults" / "reader.py"
STATUS = manager.AdbcStatusCode
DEADLINE_S_MAX = 0.25
GONE_S_MAX = 1.0
ROWS = 3_000_000
KEPT = f"SELECT range AS n FROM range({ROWS})"
_TIMEOUT_S = 0.7


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedBy]:
    """A server with the limits of every server; stewards are its administrators."""
    with serving_small(tmp_path_factory.mktemp("plain"), '[server]\nadmin_roles = ["steward"]\n') as server:
        yield server


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedBy]:
    """A server whose queries may take a second, and whose tickets live two."""
    limits = "[limits]\nquery_timeout_s = 1.0\nquery_queue_wait_s = 0.5\nticket_ttl_s = 2\n"
    with serving_small(tmp_path_factory.mktemp("hasty"), limits) as server:
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


# ----------------------------------------------------------------------------------------------- deadlines, disconnects


@pytest.mark.parametrize("sql", [LONG, STREAM], ids=["computing", "streaming"])
def test_a_clients_deadline_stops_the_engine(caller: Caller, engine: Engine, sql: str) -> None:
    """A dashboard gives up after its own timeout: 250 ms later the engine is free for the next one."""

    def round_() -> float:
        info = caller.info(sql)
        began = time.monotonic()
        reading = caller.reading(info, fl.FlightCallOptions(timeout=_TIMEOUT_S))
        engine.wait(sql, _TIMEOUT_S)
        gone = engine.wait_gone(sql, 10)
        with pytest.raises(fl.FlightTimedOutError):
            reading.result(10)
        assert gone - began > _TIMEOUT_S - 0.05, "the query ended by itself: nothing was measured"
        return gone - (began + _TIMEOUT_S)

    best(round_, "a deadline", DEADLINE_S_MAX)
    until(lambda: engine.share() < IDLE, 5)


@pytest.mark.parametrize("sql", [LONG, STREAM], ids=["computing", "streaming"])
def test_a_killed_client_stops_the_engine(plain: ServedBy, engine: Engine, sql: str) -> None:
    """A laptop is closed: a second later the engine is free, and the server's process idle."""

    def round_() -> float:
        command = [sys.executable, str(READER), plain.uri, sql, "read"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
            try:
                engine.wait(sql)
                assert engine.share() > BUSY, "the server was idle all along: nothing was measured"
            finally:
                killed = time.monotonic()
                client.kill()
            return engine.wait_gone(sql, 10) - killed

    best(round_, "a killed client", GONE_S_MAX)
    until(lambda: engine.share() < IDLE, 5)


INTO = f"INSERT INTO t {STREAM}"
CREATE = f"CREATE TEMP TABLE made AS {STREAM}"


def _by_deadline(caller: Caller, engine: Engine, sql: str) -> None:
    _stopped_in_time(caller.updating(sql, fl.FlightCallOptions(timeout=_TIMEOUT_S)), engine, sql)


def _by_deadline_of_a_query(caller: Caller, engine: Engine, sql: str) -> None:
    _stopped_in_time(caller.answering(sql, fl.FlightCallOptions(timeout=_TIMEOUT_S)), engine, sql)


def _by_kill(caller: Caller, engine: Engine, sql: str, *, after_s: float = 0.5) -> None:
    writing, query = caller.updating(sql), engine.wait(sql)
    time.sleep(after_s)
    assert engine.kill(query["id"]) in ("cancelled", "cancelling")
    engine.wait_gone(sql, GONE_S_MAX)
    with pytest.raises(fl.FlightCancelledError):
        writing.result(10)


def _by_kill_at_once(caller: Caller, engine: Engine, sql: str) -> None:
    _by_kill(caller, engine, sql, after_s=0)


def _stopped_in_time(writing: Future[Any], engine: Engine, sql: str) -> None:
    engine.wait(sql, _TIMEOUT_S)
    with pytest.raises(fl.FlightTimedOutError):
        writing.result(10)
    engine.wait_gone(sql, GONE_S_MAX)


@pytest.mark.parametrize("stop", [_by_deadline, _by_deadline_of_a_query, _by_kill, _by_kill_at_once])
@pytest.mark.parametrize("sql", [INTO, CREATE], ids=["insert", "create"])
def test_a_write_that_is_stopped_leaves_nothing(
    plain: ServedBy, caller: Caller, engine: Engine, sql: str, stop: Callable[[Caller, Engine, str], None]
) -> None:
    """An INSERT that is stopped half way has inserted nothing, and gives its disk back."""
    caller.update("CREATE TEMP TABLE t AS SELECT 7::BIGINT AS n")
    files = _files(plain)
    stop(caller, engine, sql)
    assert caller.rows("SELECT n FROM t") == [{"n": 7}]
    with pytest.raises(pa.ArrowKeyError, match="There is no table made"):
        caller.rows("SELECT n FROM made")
    until(lambda: _files(plain) == files, 3)
    assert caller.update("INSERT INTO t VALUES (8)") == 1, "the session is blocked"


def _files(server: ServedBy) -> list[str]:
    return sorted(str(path) for path in (server.state / "sessions").rglob("*") if path.is_file())


_WRITER = """
import sys
from adbc_driver_flightsql import dbapi
with dbapi.connect(sys.argv[1], autocommit=True) as connection, connection.cursor() as cursor:
    cursor.execute(sys.argv[2])
"""


def test_a_killed_client_that_writes(plain: ServedBy, engine: Engine) -> None:
    """The same for a client that is killed while the server writes for it."""
    files = _files(plain)

    def round_() -> float:
        with subprocess.Popen([sys.executable, "-c", _WRITER, plain.uri, CREATE]) as client:
            try:
                engine.wait(CREATE)
            finally:
                killed = time.monotonic()
                client.kill()
            return engine.wait_gone(CREATE, 10) - killed

    best(round_, "a killed writer", GONE_S_MAX)
    until(lambda: _files(plain) == files, 3)


# ----------------------------------------------------------------------------------------------- timeouts of the server


def _timed_out(caller: Caller, sql: str, after_s: float) -> None:
    began = time.monotonic()
    with pytest.raises(fl.FlightTimedOutError, match="ran longer than"):
        caller.reading(caller.info(sql)).result(20)
    assert after_s - 0.05 <= time.monotonic() - began < after_s + 3


@pytest.mark.parametrize("sql", [LONG, STREAM], ids=["computing", "streaming"])
def test_the_timeout_of_a_header(plain: ServedBy, engine: Engine, sql: str) -> None:
    """Who sends the header is stopped by it, told why; others of the same user are not."""
    with calling(plain) as patient, calling(plain, x_flightmesh_query_timeout_s="0.5") as hasty:
        kept = patient.stream(patient.info(KEPT))
        kept.read_chunk()
        _timed_out(hasty, sql, 0.5)
        engine.wait_gone(sql, GONE_S_MAX)
        assert len(engine.running(KEPT)) == 1
        assert sum(chunk.data.num_rows for chunk in kept) > 0


def test_the_timeout_of_the_session(plain: ServedBy, engine: Engine) -> None:
    """The option holds for the session's queries and writes, until it is unset; the driver says TIMEOUT."""
    option = {"adbc.flight.sql.session.option.query_timeout_s": "0.5"}
    with plain.adbc("analyst") as connection, connection.cursor() as cursor:
        connection.adbc_connection.set_options(**option)
        with pytest.raises(dbapi.Error) as refused:
            cursor.execute(CREATE)
        assert refused.value.status_code == STATUS.TIMEOUT
        with pytest.raises((dbapi.Error, pa.ArrowException, OSError), match="ran longer than"):
            cursor.execute(LONG).fetchall()
        engine.wait_gone(LONG, GONE_S_MAX)
        assert cursor.execute("SELECT 1").fetchall() == [(1,)]
        connection.adbc_connection.set_options(**{"adbc.flight.sql.session.optionerase.query_timeout_s": ""})
        reader = cursor.execute(KEPT).fetch_record_batch()
        time.sleep(0.8)
        assert sum(batch.num_rows for batch in reader) == ROWS


def test_the_timeout_of_the_server(hasty: ServedBy) -> None:
    """A statement without end, from a client without a deadline, ends by the server's own; nobody can ask for more."""
    with calling(hasty) as caller:
        for sql in (LONG, STREAM):
            _timed_out(caller, sql, 1.0)
        with pytest.raises(fl.FlightTimedOutError, match="ran longer than"):
            caller.updating(CREATE).result(20)
    with calling(hasty, x_flightmesh_query_timeout_s="60") as greedy, pytest.raises(pa.ArrowInvalid):
        greedy.info("SELECT 1")


# -------------------------------------------------------------------------------------------------------------- renewal


def test_a_renewed_ticket_outlives_the_old(hasty: ServedBy) -> None:
    """A worker that comes to its part late renews it before; the ticket that was not renewed is refused."""
    with calling(hasty) as caller:
        info = caller.info("SELECT 42 AS v")
        (old,) = info.endpoints
        time.sleep(1.2)
        renewed = caller.renew(old)
        assert 0 < renewed.expiration_time.value - old.expiration_time.value < 5_000_000_000
        assert old.expiration_time.as_py() is not None
        time.sleep(1.3)
        assert caller.client.do_get(renewed.ticket).read_all().to_pylist() == [{"v": 42}]
        with pytest.raises((fl.FlightError, pa.ArrowException), match="expired"):
            caller.client.do_get(old.ticket).read_chunk()
        with pytest.raises((fl.FlightError, pa.ArrowException), match="expired"):
            caller.renew(old)
        again = caller.renew(renewed)
        assert caller.client.do_get(again.ticket).read_all().to_pylist() == [{"v": 42}]


def test_a_ticket_is_renewed_by_its_own_user(hasty: ServedBy) -> None:
    """A ticket that leaks cannot be kept alive by others, nor one that is none."""
    with calling(hasty) as caller, calling(hasty, "steward") as other:
        (endpoint,) = caller.info("SELECT 42 AS v").endpoints
        for wrong in (endpoint, fl.FlightEndpoint(b"nonsense", [])):
            with pytest.raises((fl.FlightError, pa.ArrowException)):
                other.renew(wrong)

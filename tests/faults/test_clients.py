"""Clients that go away, or give up, and neighbours on one connection: acceptance line 5 of the first issue."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import adbc_driver_manager
import pyarrow.compute as pc
import pyarrow.flight as fl
import pytest

from flightmesh import app

# Hours of work on any machine: before its first batch, and with batches from the start.
COMPUTES = "SELECT sum(a.range * b.range) AS s FROM range(1000000) a, range(100000000) b"
STREAMS = "SELECT a.range + b.range AS n FROM range(1000000) a, range(100000000) b"
GONE_S_MAX = 1.0
DEADLINE_S_MAX = 0.25
ROUNDS = 5

Until = Callable[..., float]


@pytest.mark.parametrize("sql", [COMPUTES, STREAMS], ids=["computing", "streaming"])
def test_a_killed_client_leaves_no_query(
    run_in_process: Callable[..., app.Application], reader: Callable[..., Any], until: Until, sql: str
) -> None:
    """A client's process is killed: its query must not go on eating the machine that all others share."""
    application = run_in_process()
    taken = []
    for _ in range(ROUNDS):
        client = reader(application.ready.uri, sql, "read")
        client.told("batch" if sql is STREAMS else "began")
        until(lambda: application.engine.running == 1, 5)
        time.sleep(0.2)
        killed = time.monotonic()
        client.process.kill()
        taken.append(until(lambda: application.engine.running == 0, 10) - killed)
    print("killed:", taken)
    assert statistics.median(taken) <= GONE_S_MAX


def test_a_dropped_reader_leaves_no_query(
    run_in_process: Callable[..., app.Application], reader: Callable[..., Any], until: Until
) -> None:
    """A notebook overwrites the variable that held a result half read: the rest of it must not be computed."""
    application = run_in_process()
    taken = []
    for _ in range(ROUNDS):
        dropped = reader(application.ready.uri, STREAMS, "drop").told("dropping")["at"]
        taken.append(until(lambda: application.engine.running == 0, 10) - dropped)
    print("dropped:", taken)
    assert statistics.median(taken) <= GONE_S_MAX


@pytest.mark.parametrize("sql", [COMPUTES, STREAMS], ids=["computing", "streaming"])
def test_a_client_deadline_stops_the_query(
    run_in_process: Callable[..., app.Application], reader: Callable[..., Any], until: Until, sql: str
) -> None:
    """A dashboard gives up after its own timeout: 250 ms later the engine is free for the next one."""
    application = run_in_process()
    timeout_s, taken = 0.7, []
    for _ in range(ROUNDS):
        client = reader(application.ready.uri, sql, "read", timeout=timeout_s)
        began = client.told("began")["at"]
        until(lambda: application.engine.running == 1, 5)
        gone = until(lambda: application.engine.running == 0, 10)
        assert "deadline" in client.told("timeout")["text"].lower()
        taken.append(gone - (began + timeout_s))
    print("deadline:", taken)
    assert min(taken) > -0.05, "the query ended by itself: nothing was measured"
    assert statistics.median(taken) <= DEADLINE_S_MAX


def test_the_watch_outlives_many_cancels(
    run_in_process: Callable[..., app.Application], open_stream: Callable[..., Any], ask: Callable[..., Any]
) -> None:
    """A query is told to stop as it ends by itself: that must not end the watch over all the queries after it."""
    application = run_in_process(cancel_poll_s=0.001, query_timeout_s=2.0, query_queue_wait_s=1.0)
    with fl.connect(application.ready.uri) as client:
        for _ in range(50):
            stream = open_stream(client, "SELECT range AS n FROM range(1000000)")
            stream.read_chunk()
            stream.cancel()
    with pytest.raises(fl.FlightTimedOutError, match="longer than the server allows"):
        ask(application.ready.uri, STREAMS)


def test_the_servers_own_time_limit_stops_the_query(
    run_in_process: Callable[..., app.Application], ask: Callable[..., Any], until: Until
) -> None:
    """A statement without end, from a client without a deadline, does not run for ever; it is told why."""
    application = run_in_process(query_timeout_s=0.5, query_queue_wait_s=0.4)
    for sql in (COMPUTES, STREAMS):
        began = time.monotonic()
        with pytest.raises(fl.FlightTimedOutError, match="longer than the server allows"):
            ask(application.ready.uri, sql)
        assert until(lambda: application.engine.running == 0, 5) - began < 0.5 + DEADLINE_S_MAX + 0.5


def test_the_processor_is_idle_after_a_kill(
    start: Callable[..., Any], make_lab: Callable[..., Any], reader: Any
) -> None:
    """As above, seen from outside: a second after the kill the server's process uses no processor time."""
    with start(products=[make_lab().folder]) as served:
        clients = [reader(served.uri, sql, "read") for sql in (COMPUTES, STREAMS)]
        clients[1].told("batch")
        busy = _processor_share(served.process.pid, 0.5)
        for client in clients:
            client.process.kill()
        time.sleep(GONE_S_MAX)
        idle = _processor_share(served.process.pid, 0.5)
    print("share of a processor:", busy, idle)
    assert busy > 0.15, "the server was idle all along: nothing was measured"
    assert idle < 0.1


def test_queries_on_one_connection_do_not_disturb_each_other(
    run_in_process: Callable[..., app.Application], open_stream: Callable[..., Any], until: Until
) -> None:
    """A user cancels one of two results on one connection: the other one is whole and right."""
    application = run_in_process()
    rows = 3_000_000
    with fl.connect(application.ready.uri) as client:
        doomed, kept = open_stream(client, STREAMS), open_stream(client, f"SELECT range AS n FROM range({rows})")
        doomed.read_chunk()
        total = pc.sum(kept.read_chunk().data["n"]).as_py()
        until(lambda: application.engine.running == 2, 5)
        doomed.cancel()
        until(lambda: application.engine.running == 1, 5)
        for chunk in kept:
            total += pc.sum(chunk.data["n"]).as_py()
    assert total == rows * (rows - 1) // 2
    until(lambda: application.engine.running == 0, 5)


def test_a_failing_query_leaves_its_neighbour_alone(start: Callable[..., Any], make_lab: Callable[..., Any]) -> None:
    """One cursor's statement fails while it runs; the other cursor of the same driver connection reads on."""
    failing = "SELECT CAST(CASE WHEN range = 500000 THEN 'x' ELSE '1' END AS INTEGER) AS n FROM range(1000000)"
    with (
        start(products=[make_lab().folder]) as served,
        served.adbc() as connection,
        connection.cursor() as good,
        connection.cursor() as bad,
    ):
        good.execute("SELECT count(*), sum(range) FROM range(20000000)")
        with pytest.raises(adbc_driver_manager.Error, match=r"(?i)invalid"):
            bad.execute(failing).fetchall()
        assert good.fetchall() == [(20_000_000, 199_999_990_000_000)]


def _processor_share(pid: int, seconds: float) -> float:
    """The processor time that the process used, per second of that long a look."""
    before = _processor_s(pid)
    time.sleep(seconds)
    return (_processor_s(pid) - before) / seconds


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

"""The watcher: queries that nobody waits for are stopped, within its poll and for the right reason."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from flightmesh.errors import ErrorCode
from flightmesh.flight.watcher import Watched, Watcher


@dataclass
class _Caller:
    """What the watcher asks of gRPC's context."""

    has_left: bool = False
    address: str = "ipv4:127.0.0.1:1"
    is_over: bool = False

    def is_cancelled(self) -> bool:
        assert not self.is_over, "a context must not be touched after its call"
        return self.has_left

    def peer(self) -> str:
        assert not self.is_over
        return self.address


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    """A watcher that looks every ten milliseconds and lets readers stall for a fifth of a second."""
    watcher = Watcher(poll_s=0.01, stall_s=0.2)
    yield watcher
    watcher.close()


def _watch(watcher: Watcher, caller: _Caller, timeout_s: float = 60) -> Any:
    context: Any = caller
    return watcher.watch(context, timeout_s)


def _until(is_so: Callable[[], bool], seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.005)
    return is_so()


def test_a_client_that_leaves_stops_its_query(watcher: Watcher) -> None:
    """Cancel, disconnect and client deadline look alike; the query is stopped again and again until it ends."""
    caller, stops = _Caller(), []
    with _watch(watcher, caller) as watched, watched.cancelling(lambda: stops.append(time.monotonic())):
        time.sleep(0.05)
        assert stops == []
        left = time.monotonic()
        caller.has_left = True
        assert _until(lambda: len(stops) > 2)
        assert stops[0] - left < 0.25
        assert watched.failure.code is ErrorCode.CANCELLED


def test_the_servers_deadline_stops_a_query(watcher: Watcher) -> None:
    """A query may not run for ever, whoever waits for it."""
    stops: list[bool] = []
    with _watch(watcher, _Caller(), 0.05) as watched, watched.cancelling(lambda: stops.append(True)):
        assert _until(lambda: bool(stops))
        assert watched.failure.code is ErrorCode.DEADLINE


def test_the_first_reason_stays(watcher: Watcher) -> None:
    """A client that leaves a query already over its time does not change why it ended."""
    caller = _Caller()
    with _watch(watcher, caller, 0) as watched:
        assert _until(lambda: watched.failure is not None)
        caller.has_left = True
        time.sleep(0.05)
        assert watched.failure.code is ErrorCode.DEADLINE


def test_a_statement_that_starts_too_late_is_stopped_at_once(watcher: Watcher) -> None:
    """Between two rows of parameters nothing runs: a stop in between must reach the next statement."""
    stops: list[bool] = []
    with _watch(watcher, _Caller(has_left=True)) as watched:
        assert _until(lambda: watched.failure is not None)
        with watched.cancelling(lambda: stops.append(True)):
            assert stops == [True] or stops


def test_a_call_that_is_over_is_not_looked_at(watcher: Watcher) -> None:
    """gRPC frees the context with the call: touching it later crashes the process."""
    for _ in range(50):
        caller = _Caller()
        with _watch(watcher, caller):
            time.sleep(0.002)
        caller.is_over = True
    time.sleep(0.05)
    assert watcher._thread.is_alive()


def test_a_query_that_ended_is_not_stopped_any_more(watcher: Watcher) -> None:
    """The cursor of an ended statement may already serve nobody."""
    stops: list[bool] = []
    caller = _Caller()
    with _watch(watcher, caller) as watched:
        with watched.cancelling(lambda: stops.append(True)):
            pass
        caller.has_left = True
        assert _until(lambda: watched.failure is not None)
    assert stops == []


def test_a_reader_that_takes_nothing_is_cut(watcher: Watcher) -> None:
    """A stalled reader holds a thread, a place and a generation: after the stall its connection is shut."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        served, (host, port) = listening.accept()
        with client, served, _watch(watcher, _Caller(address=f"ipv4:{host}:{port}")) as watched:
            client.settimeout(5)
            with watched.sending():
                assert client.recv(1) == b""


def test_a_reader_that_takes_batches_in_time_is_not_cut(watcher: Watcher) -> None:
    """Only a single batch that waits counts, not the whole of a long stream."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        served, (host, port) = listening.accept()
        with client, served, _watch(watcher, _Caller(address=f"ipv4:{host}:{port}")) as watched:
            for _ in range(8):
                with watched.sending():
                    time.sleep(0.05)
            served.send(b"x")
            assert client.recv(1) == b"x"


def test_cutting_all_stops_every_query(watcher: Watcher) -> None:
    """A server that must end now ends the calls that outstay its drain."""
    stops: list[int] = []
    callers = [_Caller(), _Caller()]

    def call(number: int) -> None:
        with _watch(watcher, callers[number]) as watched, watched.cancelling(lambda: stops.append(number)):
            _until(lambda: number in stops)
            codes.append(watched.failure.code)

    codes: list[ErrorCode] = []
    threads = [threading.Thread(target=call, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    assert _until(lambda: len(watcher._watched) == 2)
    watcher.cut_all()
    for thread in threads:
        thread.join(5)
    assert set(stops) == {0, 1}
    assert codes == [ErrorCode.UNAVAILABLE] * 2


def test_closing_ends_the_thread_also_while_calls_are_watched() -> None:
    """A server that stops leaves no thread behind."""
    watcher = Watcher(poll_s=0.01, stall_s=1)
    with _watch(watcher, _Caller()):
        watcher.close()
        assert not watcher._thread.is_alive()


def test_an_error_while_looking_does_not_end_the_watch(watcher: Watcher) -> None:
    """One call whose interrupt fails must not leave all others unwatched."""

    def fail() -> None:
        raise RuntimeError("the cursor is closed")

    stops: list[bool] = []
    bad, good = _Caller(has_left=True), _Caller()
    with _watch(watcher, bad) as first, first.cancelling(fail), _watch(watcher, good) as second:
        time.sleep(0.05)
        good.has_left = True
        with second.cancelling(lambda: stops.append(True)):
            assert _until(lambda: bool(stops), 1)


def test_watched_alone_needs_no_watcher() -> None:
    """Looking before anything runs stops nothing and still keeps the reason."""
    context: Any = _Caller(has_left=True)
    watched = Watched(context, time.monotonic() + 60)
    watched.look(time.monotonic(), 1)
    assert watched.failure is not None

"""The control file: how an operator's commands find the running server, and learn how a reload went."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from flightmesh.catalog.store import Store
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.service.control import Control, ServerRecord

RECORD = ServerRecord(
    pid=os.getpid(), uri="grpc://127.0.0.1:1", loads=1, generation="a" * 64, products=("lab.readings",), unavailable={}
)


@dataclass
class _Server:
    """This process in the role of the server: it has the lock, and answers SIGHUP after a while, or not."""

    control: Control
    answer: ServerRecord | None = None
    asked: threading.Event = field(default_factory=threading.Event)

    def hear(self, _number: int, _frame: object) -> None:
        self.asked.set()
        if self.answer is not None:
            threading.Timer(0.2, self.control.write, (self.answer,)).start()


@contextmanager
def _serving(state: Path, answer: ServerRecord | None) -> Iterator[_Server]:
    server = _Server(Control(state), answer)
    server.control.write(RECORD)
    before = signal.signal(signal.SIGHUP, server.hear)
    try:
        with Store(state):
            yield server
    finally:
        signal.signal(signal.SIGHUP, before)


def _after(**changes: object) -> ServerRecord:
    return msgspec.structs.replace(RECORD, loads=2, **changes)


def test_what_the_server_wrote_is_read(state: Path) -> None:
    """Whole, whatever was written before."""
    with _serving(state, None) as server:
        assert server.control.read() == RECORD
        server.control.write(_after(unavailable={"a.b": "It is broken."}))
        assert server.control.read().unavailable == {"a.b": "It is broken."}


def test_without_a_server_there_is_nothing_to_read(state: Path, tmp_path: Path) -> None:
    """The file of a server that is gone must not send a signal to whoever has its process id now."""
    for folder in (state, tmp_path / "nowhere"):
        with pytest.raises(FlightmeshError, match="No server runs") as failure:
            Control(folder).read()
        assert failure.value.code is ErrorCode.UNAVAILABLE
    with _serving(state, None):
        pass
    heard = threading.Event()
    before = signal.signal(signal.SIGHUP, lambda *_: heard.set())
    try:
        with pytest.raises(FlightmeshError, match="No server runs"):
            Control(state).reload(1)
        assert not heard.wait(0.1)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_reload_waits_for_the_new_state(state: Path) -> None:
    """A deployment script goes on when the new data are served, not when the signal is sent."""
    with _serving(state, _after(generation="b" * 64)) as server:
        assert server.control.reload(10).generation == "b" * 64
        assert server.asked.is_set()


def test_a_reload_that_failed_is_an_error(state: Path) -> None:
    """With the server's reason, and the word that the old state is still served."""
    with _serving(state, _after(error="The folder is gone.")) as server:
        with pytest.raises(FlightmeshError, match=r"The folder is gone.*still served") as failure:
            server.control.reload(10)
        assert failure.value.code is ErrorCode.INVALID


def test_a_reload_that_takes_too_long_says_so(state: Path) -> None:
    """The command ends in time; the server goes on."""
    with _serving(state, None) as server:
        began = time.monotonic()
        with pytest.raises(FlightmeshError, match=r"within 0\.3 s") as failure:
            server.control.reload(0.3)
        assert failure.value.code is ErrorCode.DEADLINE
        assert time.monotonic() - began < 3


def test_a_wish_for_new_snapshots_is_heard_once(state: Path) -> None:
    """``reload --renew`` reads databases again once, not at every reload after it."""
    control = Control(state)
    assert control.takes_renewal() is False
    with _serving(state, _after()) as server:
        server.control.reload(10, renews=True)
        assert control.takes_renewal() is True
        server.control.write(RECORD)
        server.control.reload(10)
    assert control.takes_renewal() is False


def test_without_a_server_nothing_is_wished(state: Path) -> None:
    """A wish that nobody heard would surprise the server that starts a week later."""
    with pytest.raises(FlightmeshError, match="No server runs"):
        Control(state).reload(1, renews=True)
    assert Control(state).takes_renewal() is False

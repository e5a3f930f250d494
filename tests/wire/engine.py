"""What a server's engine does, seen from outside: its running queries, and the processor time of its process."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.flight as fl

if TYPE_CHECKING:
    from tests.conftest import ServedBy

# Hours of work on any machine, without data: before the first row, and with rows from the start.
LONG = "SELECT sum(a.range * b.range) AS s FROM range(3000000) a, range(100000000) b"
STREAM = "SELECT a.range + b.range AS n FROM range(3000000) a, range(100000000) b"
# A processor share of a process that computes, and of one that does not, on a machine that others use too.
BUSY, IDLE = 0.15, 0.1
_LOOK_S = 0.002
_ROUNDS = 3


class Engine:
    """The queries that ``user`` may see at a server, and what its process uses."""

    def __init__(self, server: ServedBy, user: str | None) -> None:
        self._client, self._options = server.flight(user)
        self._pid = server.process.pid

    def queries(self) -> list[dict[str, Any]]:
        """What ``query.list`` tells, the oldest first."""
        return [
            json.loads(result.body.to_pybytes())
            for result in self._client.do_action(fl.Action("query.list", b""), self._options)
        ]

    def kill(self, id_: str) -> str:
        """The status that ``query.kill`` tells."""
        action = fl.Action("query.kill", json.dumps({"id": id_}).encode())
        (answer,) = self._client.do_action(action, self._options)
        return str(json.loads(answer.body.to_pybytes())["status"])

    def running(self, sql: str) -> list[dict[str, Any]]:
        """The running queries of this text."""
        return [query for query in self.queries() if query["sql"] == sql]

    def wait(self, sql: str, timeout_s: float = 20) -> dict[str, Any]:
        """The query of this text, as soon as it runs."""
        until(lambda: bool(self.running(sql)), timeout_s)
        return self.running(sql)[0]

    def wait_gone(self, sql: str, timeout_s: float) -> float:
        """When (monotonic, seconds) no query of this text runs any more."""
        return until(lambda: not self.running(sql), timeout_s)

    def share(self, seconds: float = 0.4) -> float:
        """The processors that the server's process uses, measured for that long."""
        before, began = _processor_s(self._pid), time.monotonic()
        time.sleep(seconds)
        return (_processor_s(self._pid) - before) / (time.monotonic() - began)


def until(holds: Callable[[], bool], timeout_s: float) -> float:
    """When (monotonic, seconds) the condition held; an assertion when it did not in time."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"did not happen within {timeout_s} s"
        time.sleep(_LOOK_S)
    return time.monotonic()


def best(round_: Callable[[], float], told: str, bound_s: float) -> None:
    """Asserts that the best of several rounds took no longer than the bound."""
    taken = [round_() for _ in range(_ROUNDS)]
    print(told, "took (s):", [round(each, 3) for each in taken])
    assert min(taken) <= bound_s


@contextmanager
def watching(server: ServedBy, user: str) -> Iterator[Engine]:
    """The engine as the administrator sees it, who leaves nothing running when the block ends."""
    engine = Engine(server, user)
    yield engine
    for query in engine.queries():
        engine.kill(query["id"])
    until(lambda: engine.queries() == [], 10)


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

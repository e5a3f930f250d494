"""Admission: a bounded number of queries run, a bounded number wait a bounded time, the rest is told to come again."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.service.running import Watch
from flightmesh.telemetry import count


class Admission:
    """Places for running queries, shared by all principals, with a bound for each."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._changed = threading.Condition()
        self._running: Counter[str] = Counter()
        self._waiting = 0

    @contextmanager
    def place(self, principal: str, watch: Watch | None = None) -> Iterator[None]:
        """One place while the block runs; EXHAUSTED when none comes free in time or too many wait already. Who is
        stopped while it waits gives its turn away.
        """
        self._enter(principal, watch)
        try:
            yield
        finally:
            with self._changed:
                self._running[principal] -= 1
                if not self._running[principal]:
                    del self._running[principal]
                self._changed.notify_all()

    @property
    def running(self) -> int:
        """How many queries have a place now."""
        with self._changed:
            return self._running.total()

    def _enter(self, principal: str, watch: Watch | None) -> None:
        with self._changed:
            if not self._is_free(principal):
                with nullcontext() if watch is None else watch.cancelling(self._wake):
                    self._wait(principal, watch)
            self._running[principal] += 1

    def _wait(self, principal: str, watch: Watch | None) -> None:
        if self._waiting >= self._limits.query_queue_max:
            raise _full()
        self._waiting += 1
        try:
            came_free = self._changed.wait_for(
                lambda: self._is_free(principal) or _failure(watch) is not None, self._limits.query_queue_wait_s
            )
        finally:
            self._waiting -= 1
        failure = _failure(watch)
        if failure is not None:
            raise failure
        if not came_free:
            raise _full()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _is_free(self, principal: str) -> bool:
        return (
            self._running.total() < self._limits.queries_max
            and self._running[principal] < self._limits.queries_per_principal_max
        )


def _failure(watch: Watch | None) -> FlightmeshError | None:
    return None if watch is None else watch.failure


def _full() -> FlightmeshError:
    count("queries.refused")
    return FlightmeshError(ErrorCode.EXHAUSTED, "Too many queries are running.", hint="Try again in a few seconds.")

"""One thread that looks at every running call and stops its query when nobody waits for the answer any more.

pyarrow tells of a client's cancel, disconnect or deadline only to who asks, and DuckDB runs on in any case.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pyarrow.flight as fl

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flight.sockets import cut
from flightmesh.telemetry import count

log = logging.getLogger(__name__)


class Watched:
    """One call under watch: how its query is stopped, and why it was."""

    def __init__(self, context: fl.ServerCallContext, deadline: float) -> None:
        self._context = context
        self._deadline = deadline
        self._cancel: Callable[[], None] | None = None
        self._waits_since: float | None = None
        self.failure: FlightmeshError | None = None

    @contextmanager
    def cancelling(self, cancel: Callable[[], None]) -> Iterator[None]:
        """Names what stops the query that runs in the block; stops it at once when the call is over already."""
        self._cancel = cancel
        if self.failure is not None:
            cancel()
        try:
            yield
        finally:
            self._cancel = None

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Marks the time in which a batch is with the client."""
        self._waits_since = time.monotonic()
        try:
            yield
        finally:
            self._waits_since = None

    def cut(self) -> None:
        """Stops the query and cuts the client's connection."""
        self.stop(ErrorCode.UNAVAILABLE, "The server is stopping.")
        cut(self._context.peer())

    def look(self, now: float, stall_s: float) -> None:
        """Stops the query when its time is over; cuts the connection of a client that reads nothing."""
        since = self._waits_since
        if since is not None and now - since > stall_s:
            self._waits_since = None
            count("streams.stalled")
            log.info("stream.stalled", extra={"facts": {"peer": self._context.peer()}})
            cut(self._context.peer())
        if self.failure is not None:
            # Again at every look: a statement that starts after the first interrupt must be stopped too.
            self._interrupt()
        elif self._context.is_cancelled():
            self.stop(ErrorCode.CANCELLED, "The client cancelled the query or went away.")
        elif now > self._deadline:
            self.stop(ErrorCode.DEADLINE, "The query ran longer than the server allows.")

    def stop(self, code: ErrorCode, fact: str) -> None:
        """Stops the query for this reason, unless another came before."""
        if self.failure is None:
            count(f"queries.{code.value}")
            self.failure = FlightmeshError(code, fact)
        self._interrupt()

    def _interrupt(self) -> None:
        cancel = self._cancel
        if cancel is not None:
            cancel()


class Watcher:
    """Looks at all watched calls every ``poll_s`` seconds while there are any."""

    def __init__(self, *, poll_s: float, stall_s: float) -> None:
        self._poll_s = poll_s
        self._stall_s = stall_s
        self._changed = threading.Condition()
        self._watched: set[Watched] = set()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="flightmesh-watcher", daemon=True)
        self._thread.start()

    @contextmanager
    def watch(self, context: fl.ServerCallContext, timeout_s: float) -> Iterator[Watched]:
        """The call under watch while the block runs; its context is not touched afterwards."""
        watched = Watched(context, time.monotonic() + timeout_s)
        with self._changed:
            self._watched.add(watched)
            self._changed.notify()
        try:
            yield watched
        finally:
            with self._changed:
                self._watched.discard(watched)

    def cut_all(self) -> None:
        """Cuts the connections of all watched calls, for a server that must end now."""
        with self._changed:
            for watched in self._watched:
                _safely(watched.cut)

    def close(self) -> None:
        """Ends the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._watched) or self._is_closed)
                if self._is_closed:
                    return
                # Under the lock, so that no call can end while its context is looked at.
                now = time.monotonic()
                for watched in self._watched:
                    _safely(partial(watched.look, now, self._stall_s))
            time.sleep(self._poll_s)


def _safely(action: Callable[[], None]) -> None:
    try:
        action()
    except Exception:
        # A door: the engine or the socket of one call must not end the watch over all others.
        log.exception("watch.failed")

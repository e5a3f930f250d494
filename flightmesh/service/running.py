"""The queries that run at this node: who runs them, how one of them is stopped, and which are not to start any more.

A query is known by the nonce of its ticket. What is remembered of queries that are over are hints, within a bound.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.service.sessions import Session
from flightmesh.telemetry import count

# How long a cancel waits to see its query end.
_ENDING_S = 0.25
_REMEMBERED_MAX = 10_000


class Watch(Protocol):
    """One call under watch: how what it runs is stopped, and why it was (``flight/watcher.py``)."""

    failure: FlightmeshError | None

    def cancelling(self, cancel: Callable[[], None]) -> AbstractContextManager[None]: ...

    def stop(self, code: ErrorCode, fact: str) -> None: ...


class Stopped(Enum):
    """What became of a query that was to be stopped."""

    CANCELLED = "cancelled"
    CANCELLING = "cancelling"
    NOT_RUNNING = "not running"


@dataclass(frozen=True, slots=True)
class Query:
    """A running query; ``started_at`` is in seconds since 1970."""

    id: str
    principal: str
    sql: str
    started_at: float


@dataclass(slots=True)
class _Entry:
    query: Query
    stop: Callable[[ErrorCode, str], None]
    over: threading.Event = field(default_factory=threading.Event)


class RunningQueries:
    """The running queries of one node."""

    def __init__(self, admin_roles: frozenset[str], clock: Callable[[], float] = time.time) -> None:
        self._admin_roles = admin_roles
        self._clock = clock
        self._lock = threading.Lock()
        # One ticket may be redeemed twice at a time.
        self._running: dict[str, list[_Entry]] = {}
        self._cancelled: OrderedDict[str, None] = OrderedDict()
        self._over: OrderedDict[str, None] = OrderedDict()

    @contextmanager
    def entered(self, id_: str, session: Session, sql: str, watch: Watch) -> Iterator[None]:
        """The query among the running ones while the block runs; CANCELLED when it was cancelled before."""
        entry = _Entry(Query(id_, session.principal.name, sql, self._clock()), watch.stop)
        with self._lock:
            if id_ in self._cancelled or id_.partition(".")[0] in self._cancelled:
                raise FlightmeshError(ErrorCode.CANCELLED, "The query was cancelled.", hint="Ask for a new ticket.")
            self._running.setdefault(id_, []).append(entry)
        try:
            yield
        finally:
            with self._lock:
                self._running[id_].remove(entry)
                if not self._running[id_]:
                    del self._running[id_]
                    _remember(self._over, id_)
            entry.over.set()

    def cancel(self, id_: str) -> Stopped:
        """Stops the query, or keeps it from being started; NOT_RUNNING when it has run to its end."""
        with self._lock:
            entries = list(self._running.get(id_, ()))
            if not entries and id_ in self._over:
                return Stopped.NOT_RUNNING
            _remember(self._cancelled, id_)
        count("queries.cancel")
        return _stopped(entries, ErrorCode.CANCELLED, "The query was cancelled.")

    def kill(self, session: Session, id_: str) -> Stopped:
        """Stops a running query of the caller's, or of anybody's for an administrator; NOT_FOUND for every other.

        The endpoints of one query run as ``ID.0``, ``ID.1`` and so on: ``ID`` stops them all.
        """
        with self._lock:
            meant = [key for key in self._running if key == id_ or key.startswith(f"{id_}.")]
            entries = [entry for key in meant for entry in self._running[key] if self._may_see(session, entry.query)]
            if entries:
                _remember(self._cancelled, id_)
        if not entries:
            raise FlightmeshError(
                ErrorCode.NOT_FOUND, "There is no such running query.", hint="query.list shows those you may stop."
            )
        count("queries.kill")
        return _stopped(entries, ErrorCode.CANCELLED, "The query was stopped by an administrator or by its own user.")

    def visible(self, session: Session) -> list[Query]:
        """The caller's running queries, all of them for an administrator; the oldest first."""
        with self._lock:
            queries = [entry.query for entries in self._running.values() for entry in entries]
        return sorted((query for query in queries if self._may_see(session, query)), key=lambda query: query.started_at)

    def _may_see(self, session: Session, query: Query) -> bool:
        """Callers without a name share one, so they see none of each other's."""
        caller = session.principal
        is_own = caller.name == query.principal and not caller.is_anonymous
        return is_own or caller.is_admin(self._admin_roles)


def _stopped(entries: list[_Entry], code: ErrorCode, fact: str) -> Stopped:
    for entry in entries:
        entry.stop(code, fact)
    until = time.monotonic() + _ENDING_S
    ended = [entry.over.wait(max(0.0, until - time.monotonic())) for entry in entries]
    return Stopped.CANCELLED if all(ended) else Stopped.CANCELLING


def _remember(ids: OrderedDict[str, None], id_: str) -> None:
    ids[id_] = None
    ids.move_to_end(id_)
    while len(ids) > _REMEMBERED_MAX:
        ids.popitem(last=False)

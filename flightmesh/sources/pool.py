"""Connections of one source: opened when needed, at most so many, given back after use, thrown away after an error.

The pool decides under its lock and acts outside it: opening and closing may block for as long as a source is silent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import adbc_driver_manager

from flightmesh.sources.drivers import Driver, Link, open_link


class Pool:
    """At most ``size`` links. Links that hang are not among them: ``abandon`` frees their place at once."""

    def __init__(self, driver: Driver, size: int) -> None:
        self._driver = driver
        self._size = size
        self._changed = threading.Condition()
        self._idle: list[Link] = []
        self._places = 0
        self._database: adbc_driver_manager.AdbcDatabase | None = None
        self._is_closed = False

    @property
    def open_count(self) -> int:
        """Places taken now, by links in use and links at rest."""
        with self._changed:
            return self._places

    def take(self, *, until: float, is_wanted: Callable[[], bool]) -> Link | None:
        """A link at rest, or None: a place for a new one, to be filled by ``open`` or given up. TimeoutError when there
        is neither until then (monotonic seconds), or nobody wants it any more.
        """
        with self._changed:
            while is_wanted() and not self._idle and self._places >= self._size:
                left = until - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self._changed.wait(left)
            if not is_wanted():
                raise TimeoutError
            if self._idle:
                return self._idle.pop()
            self._places += 1
        return None

    def open(self) -> Link:
        """A new link in a place that was taken. DriverFailure when the source is not reached; the place stays taken."""
        link = open_link(self._driver, self._database)
        self._database = self._database or link.database
        return link

    def give_back(self, link: Link) -> None:
        """The link is at rest and may be used again, unless it was cancelled."""
        with self._changed:
            keep = not (link.is_spoilt or self._is_closed)
            if keep:
                self._idle.append(link)
            else:
                self._places -= 1
            self._changed.notify()
        if not keep:
            link.close()

    def give_up(self) -> None:
        """Frees a place: its link was never opened, is broken, or hangs."""
        with self._changed:
            self._places -= 1
            self._changed.notify()

    def forget_idle(self) -> None:
        """Closes the links at rest: after one was lost, the others are no better."""
        with self._changed:
            idle, self._idle = self._idle, []
            self._places -= len(idle)
            self._changed.notify_all()
        _close(idle)

    def wake(self) -> None:
        """Lets those who wait look again whether they are still wanted."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Closes the links at rest, and those in use when they are given back. Does not block."""
        with self._changed:
            self._is_closed = True
        threading.Thread(target=self.forget_idle, name="flightmesh-source-close", daemon=True).start()


def _close(links: Sequence[Link]) -> None:
    for link in links:
        link.close()

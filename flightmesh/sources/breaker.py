"""A circuit breaker: after failures in a row a source is left alone for a while, so that nobody waits for what does not
answer. One read is let through after each pause; the first answer closes it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

FAILURES_MAX = 3
PAUSE_MIN_S = 1.0
PAUSE_MAX_S = 30.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a read is not even tried: since when the source has been silent, and when it is tried again, in seconds."""

    since_s: float
    again_s: float


@dataclass(slots=True)
class Breaker:
    """Whether a source is worth asking. ``clock`` counts seconds from any point and never goes back."""

    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _failures: int = 0
    _since: float = 0.0
    _pause_s: float = 0.0
    _next: float = 0.0
    _is_probing: bool = False

    def refusal(self) -> Refusal | None:
        """None lets the caller through: always while closed, one caller per pause while open.

        Who was let through has to say how it went: ``failed``, ``answered`` or ``undecided``.
        """
        now = self.clock()
        with self._lock:
            if self._failures < FAILURES_MAX:
                return None
            # A probe that never says how it went does not keep the source closed for ever.
            if now < self._next or (self._is_probing and now < self._next + PAUSE_MAX_S):
                return Refusal(now - self._since, max(self._next - now, PAUSE_MIN_S))
            self._is_probing, self._next = True, now
            return None

    def failed(self) -> None:
        """The source could not be reached, fell silent, or was lost."""
        now = self.clock()
        with self._lock:
            # While open, only the probe tells something new: reads that began earlier fail for the same reason.
            if self._failures >= FAILURES_MAX and not self._is_probing:
                return
            self._failures += 1
            self._is_probing = False
            if self._failures == 1:
                self._since = now
            if self._failures >= FAILURES_MAX:
                self._pause_s = min(max(2 * self._pause_s, PAUSE_MIN_S), PAUSE_MAX_S)
                self._next = now + self._pause_s

    def undecided(self) -> None:
        """The read ended before the source could say anything: the next one may try."""
        with self._lock:
            self._is_probing = False

    def answered(self) -> None:
        """The source said something, be it an error: it is there."""
        with self._lock:
            self._failures, self._pause_s, self._is_probing = 0, 0.0, False

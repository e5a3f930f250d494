"""Reads that cannot hang: a thread of its own waits for the source, and hands batches over through a bounded queue; who
consumes them waits at most the source's timeout for the next one.

A driver's call blocks in C for as long as the other side is silent, and cannot be interrupted. So a read that is given
up is left to its thread, which throws its connection away when the source speaks again or the connection breaks.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.sources.base import Fetch

BATCHES_MAX = 4
BYTES_MAX = 64 << 20


class Channel:
    """Batches on their way from the thread that reads to the one that consumes.

    ``is_wanted`` is False once nobody will consume any more.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.is_wanted = True
        self._changed = threading.Condition()
        self._batches: deque[pa.RecordBatch] = deque()
        self._bytes = 0
        self._has_ended = False
        self._is_drained = False
        self._error: FlightmeshError | None = None
        self._silent_since = time.monotonic()

    @property
    def deadline(self) -> float:
        """When the present wait for the source is over, in seconds of the monotonic clock."""
        return self._silent_since + self.timeout_s

    def put(self, batch: pa.RecordBatch) -> bool:
        """Hands a batch over as soon as there is room; False when nobody wants it."""
        size = batch.nbytes
        with self._changed:
            # Waiting for room is not waiting for the source.
            self._silent_since = math.inf
            self._changed.wait_for(lambda: not self.is_wanted or self._has_room(size))
            if not self.is_wanted:
                return False
            self._batches.append(batch)
            self._bytes += size
            self._silent_since = time.monotonic()
            self._changed.notify_all()
        return True

    def end(self, error: FlightmeshError | None = None) -> None:
        """No further batch will come. The first call counts."""
        with self._changed:
            if not self._has_ended:
                self._has_ended, self._error = True, error
            self._changed.notify_all()

    def take(self) -> pa.RecordBatch | None:
        """The next batch; None at the end. TimeoutError when the source is silent for too long; what it failed with."""
        with self._changed:
            while not (self._batches or self._has_ended):
                left = self.deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self._changed.wait(None if left == math.inf else left)
            if self._batches:
                batch = self._batches.popleft()
                self._bytes -= batch.nbytes
                self._changed.notify_all()
                return batch
            self._is_drained = True
            if self._error is not None:
                raise self._error
            return None

    def unwanted(self) -> bool:
        """Nothing is consumed any more; batches waiting are dropped. Whether this is the first to say so.

        Who consumes all the same, in another thread, hears of it: half of the batches must not look like all of them.
        """
        with self._changed:
            first, self.is_wanted = self.is_wanted, False
            if not self._is_drained and self._error is None:
                self._has_ended, self._error = True, FlightmeshError(ErrorCode.CANCELLED, "The read was cancelled.")
            self._batches.clear()
            self._bytes = 0
            self._changed.notify_all()
        return first

    def _has_room(self, size: int) -> bool:
        return not self._batches or (len(self._batches) < BATCHES_MAX and self._bytes + size <= BYTES_MAX)


@dataclass(frozen=True, slots=True)
class Stream:
    """What a thread of its own puts into the channel, batch by batch, for one who consumes it.

    ``on_silence`` gives the error when the source is silent for too long. ``on_stop`` runs once, when nobody wants the
    rest: at the end, after an error, a cancellation or a close. Neither may block.
    """

    channel: Channel
    on_silence: Callable[[], FlightmeshError]
    on_stop: Callable[[], None]

    def start(self, work: Callable[[], None]) -> None:
        """Begins to read, now."""
        threading.Thread(target=work, name="flightmesh-source-read", daemon=True).start()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self

    def __next__(self) -> pa.RecordBatch:
        try:
            batch = self.channel.take()
        except TimeoutError:
            error = self.on_silence()
            self.close()
            raise error from None
        except FlightmeshError:
            self.close()
            raise
        if batch is None:
            self.close()
            raise StopIteration
        return batch

    def __del__(self) -> None:
        # A reader that was dropped before its end, or never touched.
        self.close()

    def close(self) -> None:
        if self.channel.unwanted():
            self.on_stop()

    def fetch(self, schema: pa.Schema) -> Fetch:
        """The stream as others see it."""
        return Fetch(pa.RecordBatchReader.from_batches(schema, self), self.close, self.close)

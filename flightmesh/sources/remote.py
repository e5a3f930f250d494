"""A source at the other end of a connection: its pool, its breaker, its retries, and its failures in our own words.

What a driver says may hold values, addresses and secrets. It never gets into a message; it gets, with the secrets taken
out, into the hint of an error that is for the author of a product, and of no other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

import pyarrow as pa

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.sources.access import Access, Bounds
from flightmesh.sources.base import Fetch, unavailable
from flightmesh.sources.breaker import Breaker
from flightmesh.sources.conversion import Conversion, Convert, as_it_is
from flightmesh.sources.drivers import Driver, DriverFailure, Link
from flightmesh.sources.fetching import Channel, Stream
from flightmesh.sources.pool import Pool
from flightmesh.sources.refusal import StatementRefused

# Reads that were given up and whose thread still waits for the source. Each holds a thread and a connection.
HANGING_MAX = 16
_RETRY_PAUSE_S = 0.1
# SQLSTATE classes after which the same statement may well succeed: connection exceptions, resources, operator
# intervention, rolled back by the server (ISO 9075-2 and PostgreSQL documentation, appendix A).
_PASSING = ("08", "53", "57P", "40")
_TRY_AGAIN = "Try again; the owner of the product can give the source a longer `timeout:`."

# What is asked over a link: its result, not yet read.
Request = Callable[[Link], pa.RecordBatchReader]
# From what the source answered: the error to raise instead of the general one; None for the general one.
Diagnosis = Callable[[DriverFailure], FlightmeshError | None]


def no_diagnosis(_failure: DriverFailure) -> FlightmeshError | None:
    """Nothing is known beyond what the driver said."""
    return None


class Remote:
    """Statements for one source. Each runs in a thread of its own; nothing here blocks for longer than the timeout."""

    def __init__(
        self,
        source: str,
        driver: Driver,
        bounds: Bounds,
        access: Access,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.source = source
        self.bounds = bounds
        self.access = access
        self.breaker = Breaker(clock)
        self.pool = Pool(driver, bounds.connections)
        self._hanging = 0
        self._lock = threading.Lock()

    @property
    def hanging(self) -> int:
        """Reads that were given up while the source was silent, and have not come back."""
        with self._lock:
            return self._hanging

    def fetch(
        self,
        sql: str,
        schema: pa.Schema,
        conversion: Conversion,
        *,
        diagnosis: Diagnosis = no_diagnosis,
        for_author: bool = False,
    ) -> Fetch:
        """The rows of the statement, with that schema. UNAVAILABLE at once while the breaker is open, EXHAUSTED when
        too many reads hang; all else is raised by the reader.
        """
        request = partial(Link.execute, sql=sql)
        return self._stream(request, conversion, diagnosis, for_author=for_author).fetch(schema)

    def rows(self, sql: str, *, for_author: bool) -> list[dict[str, object]]:
        """All rows of a small statement of our own. Errors as ``fetch`` and its reader."""
        return self._all(partial(Link.execute, sql=sql), as_it_is, for_author=for_author)

    def tables(self, catalog: str | None, schema: str | None) -> list[dict[str, object]]:
        """What the driver lists, for the author: rows of catalog, schema and table."""
        return self._all(partial(Link.tables, catalog=catalog, schema=schema), as_it_is, for_author=True)

    def schema(self, sql: str, *, diagnosis: Diagnosis = no_diagnosis, for_author: bool) -> pa.Schema:
        """The driver's types of the statement's result."""
        found: list[pa.Schema] = []

        def remember(schema: pa.Schema) -> Convert:
            found.append(schema)
            return as_it_is(schema)

        self._all(partial(Link.describe, sql=sql), remember, diagnosis, for_author=for_author)
        return found[-1]

    def _all(
        self, request: Request, conversion: Conversion, diagnosis: Diagnosis = no_diagnosis, *, for_author: bool
    ) -> list[dict[str, object]]:
        stream = self._stream(request, conversion, diagnosis, for_author=for_author)
        return [row for batch in stream for row in batch.to_pylist()]

    def _stream(self, request: Request, conversion: Conversion, diagnosis: Diagnosis, *, for_author: bool) -> Stream:
        """UNAVAILABLE at once while the breaker is open, EXHAUSTED when too many reads hang."""
        refusal = self.breaker.refusal()
        if refusal is not None:
            message = f"is not answering (since {refusal.since_s:.0f} s); it is tried again in {refusal.again_s:.0f} s."
            raise FlightmeshError(ErrorCode.UNAVAILABLE, f"Source {self.source} {message}", hint="Try again then.")
        if self.hanging >= HANGING_MAX:
            self.breaker.undecided()
            message = f"Source {self.source}: {HANGING_MAX} reads hang already."
            raise FlightmeshError(ErrorCode.EXHAUSTED, message, hint="Try again when the source answers.")
        reading = Reading(self, request, conversion, diagnosis, for_author)
        stream = Stream(reading.channel, reading.silence, reading.stop)
        stream.start(reading.work)
        return stream

    def add_hanging(self, count: int) -> None:
        with self._lock:
            self._hanging += count

    def close(self) -> None:
        """Closes what is at rest; reads under way go on. Does not block."""
        self.pool.close()


class Reading:
    """One statement under way: what its thread does, and what is done about it from outside."""

    def __init__(
        self, remote: Remote, request: Request, conversion: Conversion, diagnosis: Diagnosis, for_author: bool, /
    ) -> None:
        self.channel = Channel(remote.bounds.timeout_s)
        self._remote = remote
        self._request = request
        self._conversion = conversion
        self._diagnosis = diagnosis
        self._for_author = for_author
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._has_place = False
        self._is_queueing = True
        self._queued_s = 0.0
        self._is_stopped = False
        self._is_done = False
        self._has_rows = False

    def work(self) -> None:
        """Reads until the end, the first error that is not tried again, or until nobody wants more."""
        error: FlightmeshError | None = None
        try:
            self._read()
        except FlightmeshError as failure:
            error = failure
        except TimeoutError:
            error = self._busy()
        except Exception as failure:  # A door: who consumes has to hear of the end of this thread, whatever ended it.
            error = FlightmeshError(ErrorCode.INTERNAL, f"Source {self._remote.source}: the read failed.")
            error.__cause__ = failure
        with self._lock:
            self._is_done, was_hanging = True, self._is_stopped
        if was_hanging:
            self._remote.add_hanging(-1)
        self._remote.breaker.undecided()
        self.channel.end(error)

    def silence(self) -> FlightmeshError:
        """The error for who waited in vain; the breaker hears of it."""
        remote = self._remote
        # Who got a connection when the time was nearly over has not waited for the source.
        if self._is_queueing or self._queued_s > remote.bounds.timeout_s / 2:
            return self._busy()
        remote.breaker.failed()
        message = f"Source {remote.source} did not answer within {remote.bounds.timeout_s:g} s."
        return FlightmeshError(ErrorCode.DEADLINE, message, hint=_TRY_AGAIN)

    def stop(self) -> None:
        """Leaves the thread to itself: its place is free at once, and the source is asked to end the statement."""
        with self._lock:
            if self._is_done:
                return
            self._is_stopped = True
            link, has_place, self._has_place = self._link, self._has_place, False
        self._remote.add_hanging(1)
        if has_place:
            self._remote.pool.give_up()
        self._remote.pool.wake()
        if link is not None:
            # Also asking to cancel blocks while the source is silent.
            threading.Thread(target=link.cancel, name="flightmesh-source-cancel", daemon=True).start()

    def _read(self) -> None:
        remote, retries = self._remote, 0
        while True:
            link = self._place()
            was_idle = link is not None
            try:
                self._read_from(link)
                return
            except DriverFailure as failure:
                is_again = self._is_worth_retrying(failure) and (was_idle or retries < remote.bounds.retries)
                if not is_again:
                    # Not from the failure: a log that shows where an error comes from would show its words.
                    raise self._in_words(failure) from None
            if was_idle:
                # The source was restarted, or ends links at rest: the others are as dead.
                remote.pool.forget_idle()
            else:
                retries += 1
                time.sleep(_RETRY_PAUSE_S)

    def _place(self) -> Link | None:
        """A link at rest, or a place for a new one."""
        start, self._is_queueing = time.monotonic(), True
        link = self._remote.pool.take(until=self.channel.deadline, is_wanted=lambda: self.channel.is_wanted)
        self._queued_s += time.monotonic() - start
        self._is_queueing = False
        return link

    def _read_from(self, link: Link | None) -> None:
        """Runs the statement over the link, or over a new one in the place taken for it, and disposes of the link."""
        pool, is_whole = self._remote.pool, False
        with self._lock:
            is_stopped, self._has_place = self._is_stopped, not self._is_stopped
        if is_stopped:
            # Opening might hang, and keep the place from those who still wait.
            pool.give_up() if link is None else pool.give_back(link)
            return
        try:
            link = link or pool.open()
            with self._lock:
                self._link = link
            is_whole = self._hand_over(link)
        finally:
            with self._lock:
                has_place, self._has_place, self._link = self._has_place, False, None
            if link is not None:
                link.finish()
            if has_place and is_whole and link is not None:
                pool.give_back(link)
            else:
                if has_place:
                    pool.give_up()
                if link is not None:
                    link.close()

    def _hand_over(self, link: Link) -> bool:
        """Whether the statement was read to its end."""
        if not self.channel.is_wanted:
            return False
        convert = self._conversion(self._request(link).schema)
        for batch in link.batches():
            self._remote.breaker.answered()
            if batch.num_rows and not self.channel.put(_converted(convert, batch)):
                link.cancel()
                return False
            self._has_rows = self._has_rows or bool(batch.num_rows)
        self._remote.breaker.answered()
        return True

    def _is_worth_retrying(self, failure: DriverFailure) -> bool:
        is_passing = failure.is_lost or (failure.sqlstate or "").startswith(_PASSING)
        return is_passing and not self._has_rows and self.channel.is_wanted

    def _in_words(self, failure: DriverFailure) -> FlightmeshError:
        remote = self._remote
        told = remote.access.scrub(failure.text) if self._for_author else None
        if failure.fault is not None:
            remote.breaker.answered()
            return unavailable(remote.source, failure.fault, told)
        if failure.is_lost:
            if self.channel.is_wanted:
                remote.breaker.failed()
            what = "the connection broke before the last row." if self._has_rows else "cannot be reached."
            text = f"Source {remote.source}{':' if self._has_rows else ''} {what}"
            return FlightmeshError(ErrorCode.UNAVAILABLE, text, hint=told or "Try again.")
        remote.breaker.answered()
        known = self._diagnosis(failure) if self.channel.is_wanted else None
        # Whoever has rows of it cannot ask for them in another way.
        if known is not None and not (self._has_rows and isinstance(known, StatementRefused)):
            return known
        code = f" (SQLSTATE {failure.sqlstate})" if failure.sqlstate else ""
        return unavailable(remote.source, f"the source answered with an error{code}.", hint=told)

    def _busy(self) -> FlightmeshError:
        remote = self._remote
        count, timeout_s = remote.bounds.connections, remote.bounds.timeout_s
        message = f"Source {remote.source}: no connection was free for {timeout_s:g} s; it has {count}."
        hint = "Try again; the owner of the product can give the source more `connections:`."
        return FlightmeshError(ErrorCode.EXHAUSTED, message, hint=hint)


def _converted(convert: Convert, batch: pa.RecordBatch) -> pa.RecordBatch:
    try:
        return convert(batch)
    except pa.ArrowException as error:
        raise DriverFailure(str(error), is_lost=False, is_refusal=True) from error

"""The queue between the thread that reads and the one that consumes, without a source."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pyarrow as pa
import pytest

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.sources.fetching import BATCHES_MAX, Channel, Stream

BATCH = pa.record_batch({"a": [1, 2, 3]})


def void(_value: object) -> None:
    """Nothing: for calls whose value is not wanted."""


def streamed(work: Callable[[Channel], None], timeout_s: float = 0.3) -> tuple[Stream, list[str]]:
    """A stream of what the work puts, and what was done about it."""
    channel, done = Channel(timeout_s), list[str]()

    def silence() -> FlightmeshError:
        done.append("silence")
        return FlightmeshError(ErrorCode.DEADLINE, "silent")

    stream = Stream(channel, silence, lambda: done.append("stop"))
    stream.start(lambda: work(channel))
    return stream, done


def test_batches_arrive_in_order_and_the_stop_comes_once() -> None:
    """A connection would be given back twice, or never."""

    def work(channel: Channel) -> None:
        for _ in range(3 * BATCHES_MAX):
            channel.put(BATCH)
        channel.end()

    stream, done = streamed(work)
    assert stream.fetch(BATCH.schema).reader.read_all().num_rows == 9 * BATCHES_MAX
    stream.close()
    stream.close()
    assert done == ["stop"]


def test_the_queue_is_bounded() -> None:
    """A fast source and a slow consumer would fill the memory."""
    count = [0]

    def work(channel: Channel) -> None:
        while channel.put(BATCH):
            count[0] += 1

    stream, _ = streamed(work)
    next(stream)
    time.sleep(0.2)
    assert count[0] <= BATCHES_MAX + 1
    stream.close()


def test_a_slow_consumer_is_no_silent_source() -> None:
    """Who takes longer than the timeout over one batch would be told that the source hangs."""

    def work(channel: Channel) -> None:
        for _ in range(BATCHES_MAX + 3):
            channel.put(BATCH)
        channel.end()

    stream, done = streamed(work, timeout_s=0.1)
    next(stream)
    time.sleep(0.4)
    assert sum(1 for _ in stream) == BATCHES_MAX + 2
    assert done == ["stop"]


def test_a_silent_source_is_told_in_time() -> None:
    """A consumer would wait for ever."""
    end = threading.Event()
    stream, done = streamed(lambda _channel: void(end.wait()))
    start = time.monotonic()
    with pytest.raises(FlightmeshError, match="silent"):
        stream.fetch(BATCH.schema).reader.read_all()
    assert 0.25 < time.monotonic() - start < 1
    end.set()
    assert done == ["silence", "stop"]


@pytest.mark.parametrize("taken", [0, 1])
def test_half_of_the_batches_never_look_like_all_of_them(taken: int) -> None:
    """A read that another thread closed would end as if its source had no more rows."""

    def work(channel: Channel) -> None:
        channel.put(BATCH)
        channel.put(BATCH)
        channel.end()

    stream, done = streamed(work)
    time.sleep(0.1)  # All is there, and waits.
    for _ in range(taken):
        next(stream)
    stream.close()
    with pytest.raises(FlightmeshError) as caught:
        next(stream)
    assert (caught.value.code, done) == (ErrorCode.CANCELLED, ["stop"])


def test_who_waits_hears_of_a_close_and_the_source_is_not_blamed() -> None:
    """A consumer who left would count as a failure of the source."""
    end = threading.Event()
    stream, done = streamed(lambda _channel: void(end.wait()), timeout_s=5)
    threading.Timer(0.1, stream.close).start()
    start = time.monotonic()
    with pytest.raises(FlightmeshError) as caught:
        next(stream)
    end.set()
    assert time.monotonic() - start < 1
    assert (caught.value.code, done) == (ErrorCode.CANCELLED, ["stop"])


def test_an_error_comes_after_the_batches_before_it() -> None:
    """Rows that arrived would be lost, or the error with its words."""

    def work(channel: Channel) -> None:
        channel.put(BATCH)
        channel.end(FlightmeshError(ErrorCode.UNAVAILABLE, "gone", hint="again"))

    stream, _ = streamed(work)
    assert next(stream) is not None
    with pytest.raises(FlightmeshError) as caught:
        next(stream)
    assert (caught.value.code, caught.value.hint) == (ErrorCode.UNAVAILABLE, "again")


def test_a_stream_that_is_dropped_stops_its_source() -> None:
    """Its thread would wait for room for ever."""
    channel, stopped = Channel(1.0), threading.Event()
    stream = Stream(channel, lambda: FlightmeshError(ErrorCode.DEADLINE, "silent"), stopped.set)
    stream.start(lambda: void(channel.put(BATCH)))
    reader = stream.fetch(BATCH.schema).reader
    del stream, reader
    assert stopped.wait(1)

"""Batches on their way out: cut to size without losing a value, under the schema that was promised, and given back
however the stream ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from hypothesis import given, strategies as st

from flightmesh.config import Limits
from flightmesh.engine.base import Execution
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flight.streams import _batches, sized, table_stream
from flightmesh.flight.watcher import Watcher
from flightmesh.service.queries import Running
from flightmesh.service.running import Watch

_ROW = st.fixed_dictionaries(
    {
        "a": st.none() | st.integers(-(2**31), 2**31 - 1),
        "b": st.none() | st.text(max_size=30) | st.builds(lambda n: "x" * n, st.integers(0, 400)),
        "c": st.none() | st.lists(st.none() | st.integers(0, 9), max_size=5),
        "d": st.none() | st.fixed_dictionaries({"e": st.binary(max_size=20), "f": st.booleans()}),
        "g": st.sampled_from(["left", "right", None]),
    }
)
_SCHEMA = pa.schema(
    [
        ("a", pa.int32()),
        ("b", pa.string()),
        ("c", pa.list_(pa.int8())),
        ("d", pa.struct([("e", pa.binary()), ("f", pa.bool_())])),
        ("g", pa.dictionary(pa.int8(), pa.string())),
    ]
)


@given(rows=st.lists(_ROW, max_size=60), offset=st.integers(0, 5), bytes_max=st.integers(1, 4_000))
def test_slices_are_within_the_bound_and_lose_nothing(rows: list[dict[str, Any]], offset: int, bytes_max: int) -> None:
    """Whatever the rows: put together they are the batch, in order; a single row over the bound is refused."""
    batch = pa.RecordBatch.from_pylist(rows, _SCHEMA).slice(offset)
    try:
        parts = list(sized(batch, bytes_max))
    except FlightmeshError:
        sizes = [pa.ipc.get_record_batch_size(batch.slice(row, 1)) for row in range(batch.num_rows)]
        assert max(sizes) > bytes_max
        return
    assert pa.Table.from_batches(parts, _SCHEMA).equals(pa.Table.from_batches([batch], _SCHEMA))
    assert all(pa.ipc.get_record_batch_size(part) <= bytes_max for part in parts if batch.num_rows)
    assert len(parts) <= max(1, batch.num_rows)


def test_a_batch_within_the_bound_is_not_copied() -> None:
    """The common case costs nothing."""
    batch = pa.record_batch({"a": list(range(1_000))})
    (part,) = sized(batch, 1_000_000)
    assert part is batch


def test_equal_rows_are_cut_into_few_slices() -> None:
    """Slices far below the bound would cost speed: as few as the bytes ask for, and one."""
    batch = pa.record_batch({"a": pa.array(range(100_000), pa.int64())})
    assert len(list(sized(batch, 80_000))) <= 12


def test_the_metadata_of_many_columns_counts() -> None:
    """Thousands of columns carry a quarter of a megabyte of metadata in every message: it must fit as well."""
    batch = pa.record_batch({f"c{i}": pa.array(range(200), pa.int32()) for i in range(6_000)})
    limits = Limits()
    assert batch.nbytes > limits.batch_bytes_max
    assert all(
        pa.ipc.get_record_batch_size(part) <= limits.batch_bytes_max for part in sized(batch, limits.batch_bytes_max)
    )


def test_a_row_over_the_bound_is_refused_in_words() -> None:
    """A message that its client cannot take would end as an error of its transport, which names no cause."""
    batch = pa.record_batch({"a": [b"x", b"x" * 5_000, b"x"]})
    parts = sized(batch, 2_000)
    with pytest.raises(FlightmeshError, match=r"A row of the result takes \d+ bytes; .* takes 2000\.") as failure:
        list(parts)
    assert failure.value.code is ErrorCode.INVALID
    assert "batch_bytes_max" in (failure.value.hint or "")


class _Tables(fl.FlightServerBase):  # type: ignore[misc] # pyarrow has no types
    """Sends a table of many rows as the metadata commands do, within the number of bytes that the ticket says."""

    def do_get(self, context: Any, ticket: Any) -> fl.FlightDataStream:
        return table_stream(TABLE, int(ticket.ticket))


TABLE = pa.table({"name": [f"table {n}" for n in range(5_000)], "schema": [b"x" * 500] * 5_000})


@pytest.mark.client
def test_long_listings_are_sliced() -> None:
    """The catalogue of a large mesh with all its schemas is larger than one message may be."""
    with _Tables("grpc://127.0.0.1:0") as server, fl.connect(f"grpc://127.0.0.1:{server.port}") as client:
        for bytes_max, least in ((100_000, 25), (1 << 24, 1)):
            chunks = [chunk.data for chunk in client.do_get(fl.Ticket(str(bytes_max).encode()))]
            assert least <= len(chunks) < 2 * least + 1
            assert all(pa.ipc.get_record_batch_size(chunk) <= bytes_max for chunk in chunks)
            assert pa.Table.from_batches(chunks) == TABLE


# Streams ------------------------------------------------------------------------------------------


@dataclass
class _Caller:
    """What a stream asks of gRPC's context."""

    has_left: bool = False

    def is_cancelled(self) -> bool:
        return self.has_left

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"


@dataclass
class _Source:
    """Statements as an engine gives them: what they hold, and what was given back."""

    schema: pa.Schema
    batches: list[pa.RecordBatch]
    engine_schema: pa.Schema | None = None
    error: Exception | None = None
    statements: int = 1
    timeout_s: float = 60
    batch_bytes_max: int = 1_000_000
    events: list[str] = field(default_factory=list)

    def running(self) -> Running:
        @contextmanager
        def opened(_watch: Watch) -> Iterator[Iterator[Execution]]:
            self.events.append("open")
            try:
                yield (self._execution() for _ in range(self.statements))
            finally:
                self.events.append("leave")

        @contextmanager
        def entered(_watch: Watch) -> Iterator[None]:
            self.events.append("enter")
            try:
                yield
            finally:
                self.events.append("end")

        return Running(self.schema, opened, entered, self.timeout_s, self.batch_bytes_max)

    def _execution(self) -> Execution:
        def read() -> Iterator[pa.RecordBatch]:
            yield from self.batches
            if self.error is not None:
                raise self.error

        reader = pa.RecordBatchReader.from_batches(self.engine_schema or self.schema, read())
        return Execution(lambda: reader, self._note("cancel"), self._note("close"), self._explain)

    def _note(self, event: str) -> Callable[[], None]:
        return lambda: self.events.append(event)

    def _explain(self, error: Exception) -> FlightmeshError:
        return FlightmeshError(ErrorCode.INVALID, f"explained {type(error).__name__}")


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    """A watcher that looks often."""
    watcher = Watcher(poll_s=0.01, stall_s=30)
    yield watcher
    watcher.close()


def _stream(source: _Source, watcher: Watcher, caller: _Caller | None = None) -> Iterator[pa.RecordBatch]:
    context: Any = caller or _Caller()
    return _batches(source.running(), context, watcher)


BATCH = pa.record_batch({"a": [1, 2], "b": ["x", "y"]})


def test_a_stream_read_to_its_end_gives_everything_back(watcher: Watcher) -> None:
    """Rows of all statements in order; every execution closed, and place and generation left."""
    source = _Source(BATCH.schema, [BATCH, BATCH], statements=2)
    assert [batch.num_rows for batch in _stream(source, watcher)] == [2, 2, 2, 2]
    assert source.events == ["enter", "open", "close", "close", "leave", "end"]


def test_nothing_is_acquired_before_the_first_batch(watcher: Watcher) -> None:
    """A client that asks for a stream and never reads must not hold a place."""
    source = _Source(BATCH.schema, [BATCH])
    stream = _stream(source, watcher)
    assert source.events == []
    assert next(stream).equals(BATCH)
    stream.close()  # type: ignore[attr-defined]
    assert source.events == ["enter", "open", "close", "leave", "end"]


def test_an_error_of_the_engine_is_explained_and_gives_everything_back(watcher: Watcher) -> None:
    """The engine's own words stay inside; nothing is left open behind an error."""
    source = _Source(BATCH.schema, [BATCH], error=RuntimeError("/inner/name"))
    stream = _stream(source, watcher)
    next(stream)
    with pytest.raises(FlightmeshError, match="explained RuntimeError") as failure:
        next(stream)
    assert failure.value.__context__ is None
    assert source.events == ["enter", "open", "close", "leave", "end"]


def test_the_reason_of_a_stop_is_told_in_place_of_the_engines_interrupt(watcher: Watcher) -> None:
    """The engine says "interrupted"; the client must hear that it was its own going, or the deadline."""
    caller = _Caller()

    class _StoppedError(RuntimeError):
        pass

    source = _Source(BATCH.schema, [])

    def read() -> Iterator[pa.RecordBatch]:
        caller.has_left = True
        while "cancel" not in source.events:
            pass
        raise _StoppedError
        yield BATCH

    source.batches = read()  # type: ignore[assignment]
    with pytest.raises(FlightmeshError) as failure:
        list(_stream(source, watcher, caller))
    assert failure.value.code is ErrorCode.CANCELLED
    assert source.events[-3:] == ["close", "leave", "end"]


def test_dictionaries_leave_as_plain_values(watcher: Watcher) -> None:
    """Several stock drivers show the index of a dictionary in place of its value, at whatever depth it stands."""
    words = pa.array(["x", None, "y"]).dictionary_encode()
    engine = pa.record_batch(
        {
            "a": words,
            "b": pa.ListArray.from_arrays([0, 2, 2, 3], words),
            "c": pa.StructArray.from_arrays([words], ["d"]),
        }
    )
    promised = pa.schema([("a", pa.string()), ("b", pa.list_(pa.string())), ("c", pa.struct([("d", pa.string())]))])
    source = _Source(promised, [engine], engine_schema=engine.schema)
    (batch,) = _stream(source, watcher)
    assert batch.schema.equals(promised)
    assert batch.to_pylist() == engine.to_pylist()


def test_columns_other_than_promised_are_no_answer(watcher: Watcher) -> None:
    """A stream whose columns are not those of the plan would be read under the wrong names."""
    source = _Source(pa.schema([("a", pa.int64()), ("c", pa.string())]), [BATCH], engine_schema=BATCH.schema)
    with pytest.raises(FlightmeshError, match="not those of the plan"):
        next(_stream(source, watcher))
    assert source.events == ["enter", "open", "close", "leave", "end"]


def test_the_messages_are_as_large_as_the_session_takes(watcher: Watcher) -> None:
    """A stock client's by default; a client that asked for more gets more."""
    batch = pa.record_batch({"a": pa.array(range(10_000), pa.int64())})
    source = _Source(batch.schema, [batch], batch_bytes_max=20_000)
    parts = list(_stream(source, watcher))
    assert len(parts) > 3
    assert all(pa.ipc.get_record_batch_size(part) <= 20_000 for part in parts)
    assert pa.Table.from_batches(parts) == pa.Table.from_batches([batch])


def test_a_session_may_have_less_time_than_the_server_gives(watcher: Watcher) -> None:
    """Its option is a deadline like any other: the query is stopped and says why."""
    source = _Source(BATCH.schema, [], timeout_s=0.05)

    def read() -> Iterator[pa.RecordBatch]:
        while "cancel" not in source.events:
            pass
        raise RuntimeError("interrupted")
        yield BATCH

    source.batches = read()  # type: ignore[assignment]
    with pytest.raises(FlightmeshError) as failure:
        list(_stream(source, watcher))
    assert failure.value.code is ErrorCode.DEADLINE
    assert source.events[-3:] == ["close", "leave", "end"]

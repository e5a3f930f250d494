"""An execution's rows: under the promised schema, and with every failure in words fit for a client."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest

from flightmesh.engine.base import Execution
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.service.reading import batches
from tests.service.conftest import Call

BATCH = pa.record_batch({"a": [1, 2], "b": ["x", None]})


def _execution(
    *read: pa.RecordBatch | Exception, schema: pa.Schema = BATCH.schema, start: Callable[[], None] = lambda: None
) -> Execution:
    def rows() -> Iterator[pa.RecordBatch]:
        for each in read:
            if isinstance(each, Exception):
                raise each
            yield each

    def started() -> pa.RecordBatchReader:
        start()
        return pa.RecordBatchReader.from_batches(schema, rows())

    return Execution(
        started,
        lambda: None,
        lambda: None,
        lambda error: FlightmeshError(ErrorCode.INVALID, f"explained {type(error).__name__}"),
    )


def _refused(execution: Execution, call: Call | None = None, schema: pa.Schema = BATCH.schema) -> FlightmeshError:
    with pytest.raises(FlightmeshError) as failure:
        list(batches(execution, schema, call or Call()))
    # Nothing of the engine's own error may hang on what goes out.
    assert failure.value.__context__ is None
    return failure.value


def test_batches_of_the_promised_schema_are_not_copied() -> None:
    """The common case costs nothing."""
    first, second = batches(_execution(BATCH, BATCH), BATCH.schema, Call())
    assert first.equals(BATCH)
    assert first.column(0).buffers()[1].address == BATCH.column(0).buffers()[1].address
    assert second.equals(BATCH)


def test_dictionaries_become_their_values() -> None:
    """At any depth, when the client did not ask for them; and they stay when it did."""
    words = pa.array(["x", None, "y"]).dictionary_encode()
    batch = pa.record_batch({"a": words, "b": pa.StructArray.from_arrays([words], ["c"])})
    plain = pa.schema([("a", pa.string()), ("b", pa.struct([("c", pa.string())]))])
    (found,) = batches(_execution(batch, schema=batch.schema), plain, Call())
    assert found.schema == plain
    assert found.to_pylist() == batch.to_pylist()
    (kept,) = batches(_execution(batch, schema=batch.schema), batch.schema, Call())
    assert kept.schema == batch.schema


def test_other_columns_than_promised_are_no_answer() -> None:
    """Rows would be read, or written, under the wrong names."""
    other = pa.schema([("a", pa.int64()), ("c", pa.string())])
    assert _refused(_execution(BATCH), schema=other).code is ErrorCode.INTERNAL


def test_errors_are_explained() -> None:
    """The engine's own words stay inside."""
    assert str(_refused(_execution(BATCH, RuntimeError("/inner")))) == "explained RuntimeError"


def test_what_fails_at_the_start_is_told_as_it_is() -> None:
    """The engine has put it into words already."""

    def start() -> None:
        raise FlightmeshError(ErrorCode.UNAVAILABLE, "no memory")

    assert str(_refused(_execution(start=start))) == "no memory"


def test_the_reason_of_a_stop_comes_before_what_the_engine_says_of_it() -> None:
    """The engine knows only that it was interrupted: at its start, or in the middle."""
    call = Call()
    call.stop(ErrorCode.DEADLINE, "too long")

    def start() -> None:
        raise FlightmeshError(ErrorCode.CANCELLED, "interrupted")

    assert str(_refused(_execution(start=start), call)) == "too long"
    assert str(_refused(_execution(BATCH, RuntimeError("interrupted")), call)) == "too long"

"""The error door: what leaves is one line of a known code, and what stays is in the log under the same id."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from hypothesis import given, strategies as st

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flight.status import (
    CODES,
    EXCEPTIONS,
    TEXT_BYTES_MAX,
    for_get_schema,
    guarded,
    guarded_stream,
    outward,
)

ID = re.compile(r" \[id ([0-9a-f]{16})\]$")


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_has_an_exception_and_a_word(code: ErrorCode) -> None:
    """A code without an entry would leave as a KeyError with a traceback; our client reads the word back."""
    failure = outward(FlightmeshError(code, "Fact.", hint="Help."), "test")
    assert type(failure) is EXCEPTIONS[code]
    assert ID.sub("", str(failure)).startswith(f"{code.value}: Fact. Help.")
    assert CODES[code.value] is code


def test_codes_reach_the_client_as_the_right_kind() -> None:
    """Clients retry what is unavailable, sign in again when unauthenticated, and show the rest: kinds must not mix."""
    assert EXCEPTIONS[ErrorCode.INVALID] is pa.ArrowInvalid
    assert EXCEPTIONS[ErrorCode.NOT_FOUND] is pa.ArrowKeyError
    assert EXCEPTIONS[ErrorCode.UNSUPPORTED] is pa.ArrowNotImplementedError
    assert EXCEPTIONS[ErrorCode.UNAUTHENTICATED] is fl.FlightUnauthenticatedError
    assert EXCEPTIONS[ErrorCode.EXHAUSTED] is fl.FlightUnavailableError
    assert set(EXCEPTIONS) == set(ErrorCode)


@given(st.text(max_size=3_000), st.none() | st.text(max_size=2_000))
def test_what_leaves_is_one_short_line_with_an_id(message: str, hint: str | None) -> None:
    """gRPC refuses texts of kilobytes, and log readers lose the thread over line breaks."""
    text = outward(FlightmeshError(ErrorCode.INVALID, message, hint=hint), "test").args[0]
    assert len(text.encode(errors="surrogatepass")) <= TEXT_BYTES_MAX
    assert len(text.splitlines()) == 1
    assert text.startswith("invalid:")
    assert ID.search(text)


@pytest.mark.parametrize(
    "error",
    [ValueError("/secret/path"), KeyError("inner"), OSError(2, "no", "/x"), pa.ArrowInvalid("values"), MemoryError()],
)
def test_what_nobody_expected_tells_nothing(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """Texts of foreign exceptions quote paths and data: the client gets the id alone, the log the whole."""
    with caplog.at_level(logging.ERROR):
        failure = outward(error, "do_get")
    assert isinstance(failure, fl.FlightInternalError)
    assert ID.sub("", str(failure.args[0])) == "internal: The server failed. Its log has the details."
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    told = ID.search(failure.args[0])
    assert told is not None
    assert vars(record)["facts"]["id"] == told.group(1)


def test_what_was_expected_is_no_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A user's typing error must not wake the operator."""
    with caplog.at_level(logging.INFO):
        outward(FlightmeshError(ErrorCode.NOT_FOUND, "There is no table x."), "get_flight_info")
    assert [(record.levelname, record.exc_info) for record in caplog.records] == [("INFO", None)]


@guarded
def _divide(numerator: int, denominator: int) -> float:
    return numerator / denominator


def test_a_guarded_handler_returns_or_raises_one_of_ours() -> None:
    """The exception that leaves carries no other one: pyarrow would send the chain to the client."""
    assert _divide(4, 2) == 2.0
    with pytest.raises(fl.FlightInternalError) as failure:
        _divide(1, 0)
    assert failure.value.__context__ is None
    assert failure.value.__cause__ is None


class _Stream:
    """Two items, then an error; notes that it was closed."""

    def __init__(self) -> None:
        self.is_closed = False

    def items(self) -> Iterator[int]:
        try:
            yield 1
            yield 2
            raise FlightmeshError(ErrorCode.DEADLINE, "Too late.")
        finally:
            self.is_closed = True


def test_a_guarded_stream_gives_its_items_then_the_error() -> None:
    """An error in mid-stream is converted like one before it."""
    stream = _Stream()
    outer = guarded_stream(stream.items(), "do_get")
    assert [next(outer), next(outer)] == [1, 2]
    with pytest.raises(fl.FlightTimedOutError) as failure:
        next(outer)
    assert failure.value.__context__ is None
    assert stream.is_closed


def test_closing_a_guarded_stream_closes_the_inner_one() -> None:
    """A client that leaves must free query and place at once, not when memory is collected."""
    stream = _Stream()
    outer = guarded_stream(stream.items(), "do_get")
    assert next(outer) == 1
    outer.close()  # type: ignore[attr-defined]
    assert stream.is_closed


def test_get_schema_answers_with_arrows_own_classes() -> None:
    """pyarrow sends every other exception from GetSchema with its traceback."""
    for code in ErrorCode:
        failure = for_get_schema(outward(FlightmeshError(code, "Fact."), "get_schema"))
        assert type(failure) in (pa.ArrowInvalid, pa.ArrowKeyError, pa.ArrowNotImplementedError)
        assert code.value + ": Fact." in str(failure)

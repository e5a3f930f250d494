"""What a failed call means."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.flight as fl
import pytest

from flightmesh.client import Client, connect
from flightmesh.errors import ErrorCode, FlightmeshError

if TYPE_CHECKING:
    from tests.client.conftest import Small
    from tests.conftest import ServedBy

Refused = Callable[[ErrorCode, Callable[[], object]], FlightmeshError]
# Nothing listens on port 1.
NOBODY = "grpc://127.0.0.1:1"
TOLD = "Fact: one, not two. Help? [id 0123456789abcdef]"


def test_errors_of_the_server_keep_code_and_help(refused: Refused, client: Client) -> None:
    """A script decides by the code, a person by the sentence; neither should see pyarrow's wrapping."""
    error = refused(ErrorCode.NOT_FOUND, client.table("aviation.flights.flihts").arrow)
    assert error.message == (
        "There is no table aviation.flights.flihts (line 1, column 15). Did you mean aviation.flights.flights?"
    )
    assert refused(ErrorCode.INVALID, client.sql("SELEC 1").arrow).message.startswith("The statement does not parse")


def test_errors_in_the_middle_of_a_stream_are_errors(refused: Refused, client: Client) -> None:
    """Rows that arrived before must not pass for the whole."""
    reader = client.sql("SELECT CAST(carrier AS INTEGER) FROM aviation.flights.flights").reader()
    error = refused(ErrorCode.INVALID, reader.read_all)
    assert "could not be converted" in error.message


@pytest.mark.parametrize(
    ("sent", "code", "message"),
    [
        (pa.ArrowInvalid(f"invalid: {TOLD}"), ErrorCode.INVALID, "Fact: one, not two. Help?"),
        (pa.ArrowKeyError(f"not_found: {TOLD}"), ErrorCode.NOT_FOUND, "Fact: one, not two. Help?"),
        (fl.FlightUnavailableError(f"exhausted: {TOLD}"), ErrorCode.EXHAUSTED, "Fact: one, not two. Help?"),
        (pa.ArrowInvalid(f"unavailable: {TOLD}"), ErrorCode.UNAVAILABLE, "Fact: one, not two. Help?"),
        (fl.FlightInternalError(f"internal: {TOLD}"), ErrorCode.INTERNAL, "Fact: one, not two. Help?"),
        (fl.FlightUnauthorizedError("Go away"), ErrorCode.PERMISSION_DENIED, "Go away"),
        (fl.FlightCancelledError("Stopped"), ErrorCode.CANCELLED, "Stopped"),
        (pa.ArrowNotImplementedError("No such thing"), ErrorCode.UNSUPPORTED, "No such thing"),
        (fl.FlightInternalError("Broken"), ErrorCode.INTERNAL, "Broken"),
    ],
)
def test_whatever_a_server_sends_becomes_one_error(
    refused: Refused, small: type[Small], sent: Exception, code: ErrorCode, message: str
) -> None:
    """Other servers, and proxies, have texts of their own: the status must still be told right."""
    with small(sent) as there, connect(f"grpc://127.0.0.1:{there.port}") as client:
        error = refused(code, client.sql("SELECT 1").arrow)
    assert error.message.startswith(message)
    if code is not ErrorCode.INTERNAL:
        assert "Traceback" not in error.message


def test_the_id_of_an_internal_error_is_kept(refused: Refused, small: type[Small]) -> None:
    """It is all that the operator needs to find the cause."""
    failure = fl.FlightInternalError(f"internal: {TOLD}")
    with small(failure) as there, connect(f"grpc://127.0.0.1:{there.port}") as client:
        error = refused(ErrorCode.INTERNAL, client.sql("SELECT 1").arrow)
    assert error.hint == "The server's log has it under 0123456789abcdef."


def test_an_unreachable_server_is_named(refused: Refused) -> None:
    """The address is most often what is wrong."""
    error = refused(ErrorCode.UNAVAILABLE, connect(NOBODY).products)
    assert error.message == "No server answers at grpc://127.0.0.1:1."
    assert "flightmesh serve" in str(error.hint)


def test_tls_to_a_plaintext_server_is_told(refused: Refused, server: ServedBy) -> None:
    """ "Unreachable" alone would send people to look at the network."""
    error = refused(ErrorCode.UNAVAILABLE, connect(server.uri.replace("grpc:", "grpc+tls:"), timeout_s=5).products)
    assert "TLS" in str(error.hint)


def test_a_deadline_ends_the_call(refused: Refused, server: ServedBy) -> None:
    """A script with a deadline must not wait for a query without an end."""
    with connect(server.uri, timeout_s=0.3) as client:
        endless = client.sql(
            "SELECT count(*) FROM aviation.flights.flights a, aviation.flights.flights b "
            "WHERE a.distance + b.distance > a.month * b.day"
        )
        refused(ErrorCode.DEADLINE, endless.arrow)

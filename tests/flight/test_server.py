"""What the server does before and around the services: uploads are validated, tickets are told from commands, answers
name one endpoint. The RPCs themselves are read by stock clients in ``tests/wire``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest

from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flight.server import FlightServer, _info, _parameters, _path, _ticket
from flightmesh.flightsql import messages as m
from flightmesh.flightsql.codec import pack

LIMITS = replace(Limits(), put_bytes_max=10_000)
ROWS = pa.record_batch({"a": [1, 2], "b": ["x", None]})


class _Uploads(fl.FlightServerBase):  # type: ignore[misc] # pyarrow has no types
    """Answers an upload with what was read of it, or with how it was refused."""

    def do_put(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        try:
            batch = _parameters(reader, LIMITS)
            told = {"rows": batch.to_pylist(), "names": batch.schema.names}
        except FlightmeshError as error:
            told = {"code": error.code.value, "text": str(error)}
        writer.write(pa.py_buffer(json.dumps(told).encode()))


@pytest.fixture(scope="module")
def uploads() -> Iterator[fl.FlightClient]:
    """A client of such a server."""
    with _Uploads("grpc://127.0.0.1:0") as server, fl.connect(f"grpc://127.0.0.1:{server.port}") as client:
        yield client


def _upload(client: fl.FlightClient, schema: pa.Schema, *batches: pa.RecordBatch | bytes) -> dict[str, Any]:
    writer, reader = client.do_put(fl.FlightDescriptor.for_command(b"x"), schema)
    with writer:
        for batch in batches:
            if isinstance(batch, bytes):
                writer.write_metadata(pa.py_buffer(batch))
            else:
                writer.write_batch(batch)
        writer.done_writing()
        told: dict[str, Any] = json.loads(reader.read().to_pybytes())
    return told


@pytest.mark.client
def test_an_upload_is_one_batch(uploads: fl.FlightClient) -> None:
    """In however many batches it comes: none, one, several, with messages of metadata alone between them."""
    assert _upload(uploads, ROWS.schema) == {"rows": [], "names": ["a", "b"]}
    assert _upload(uploads, ROWS.schema, ROWS.slice(0, 0))["rows"] == []
    assert _upload(uploads, ROWS.schema, ROWS)["rows"] == ROWS.to_pylist()
    twice = _upload(uploads, ROWS.schema, ROWS.slice(1), b"metadata", ROWS)["rows"]
    assert twice == [*ROWS.slice(1).to_pylist(), *ROWS.to_pylist()]


@pytest.mark.client
def test_a_broken_upload_is_the_clients_mistake(uploads: fl.FlightClient) -> None:
    """Buffers that lie crash whoever touches them: they are refused unread, and their contents are not quoted."""
    broken = pa.record_batch({"a": pa.array([b"\xff\xfe"]).view(pa.string())})
    told = _upload(uploads, broken.schema, broken)
    assert told == {"code": "invalid", "text": "The upload is no valid stream of Arrow record batches."}


@pytest.mark.client
def test_an_upload_is_bounded(uploads: fl.FlightClient) -> None:
    """The bound holds over all batches together, and for batches that hold nothing."""
    large, empty = pa.record_batch({"a": ["x" * 3_500]}), pa.record_batch({"a": pa.array([], pa.string())})
    assert len(_upload(uploads, large.schema, large, large)["rows"]) == 2
    assert _upload(uploads, large.schema, *[empty] * 9)["rows"] == []
    # The last batch alone is too much: a client that still writes after a refusal may find its stream closed.
    for batches in ([large] * 3, [empty] * 10):
        told = _upload(uploads, large.schema, *batches)
        assert told["code"] == "invalid"
        assert "10000 bytes of parameters were sent" in told["text"]


def test_tickets_are_messages_or_never_were_ours() -> None:
    """Garbage as a ticket is a matter of credentials, not of spelling."""
    assert _ticket(pack(m.TicketStatementQuery(b"h"))) == m.TicketStatementQuery(b"h")
    for data in (b"", b"junk", b"\xff" * 40):
        with pytest.raises(FlightmeshError) as failure:
            _ticket(data)
        assert failure.value.code is ErrorCode.UNAUTHENTICATED
        assert failure.value.__context__ is None


def test_an_answer_names_one_endpoint_without_a_location() -> None:
    """Some clients refuse any other number; without a location they read where they asked, behind any proxy."""
    descriptor = fl.FlightDescriptor.for_path("a")
    info = _info(ROWS.schema, descriptor, b"ticket", 1_000_000.5)
    (endpoint,) = info.endpoints
    assert endpoint.locations == []
    assert endpoint.ticket.ticket == b"ticket"
    assert endpoint.expiration_time.value == 1_000_000_500_000_000
    assert (info.total_records, info.total_bytes) == (-1, -1)
    assert _info(ROWS.schema, descriptor, b"ticket", None).endpoints[0].expiration_time is None


def test_paths_are_text() -> None:
    """Bytes that are no UTF-8 become a name that nothing has."""
    assert _path(fl.FlightDescriptor.for_path("a", "ü")) == ("a", "ü")
    assert _path(fl.FlightDescriptor.for_path(b"\xff")) == ("\ufffd",)


def test_every_rpc_is_overridden() -> None:
    """A handler left to pyarrow answers with its own traceback."""
    handlers = {"list_flights", "get_flight_info", "get_schema", "do_get", "do_put", "do_exchange", "do_action"}
    assert all(handler in vars(FlightServer) for handler in {*handlers, "list_actions"})

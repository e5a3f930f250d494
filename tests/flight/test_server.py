"""What the server does before and around the services: tickets are told from commands, answers name endpoints
without a location. The RPCs themselves are read by stock clients in ``tests/wire``.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.flight as fl
import pytest

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flight.server import FlightServer, _info, _path, _ticket, _transaction
from flightmesh.flightsql import messages as m
from flightmesh.flightsql.codec import pack
from flightmesh.service.queries import Described

ROWS = pa.record_batch({"a": [1, 2], "b": ["x", None]})


def test_tickets_are_messages_or_never_were_ours() -> None:
    """Garbage as a ticket is a matter of credentials, not of spelling."""
    assert _ticket(pack(m.TicketStatementQuery(b"h"))) == m.TicketStatementQuery(b"h")
    for data in (b"", b"junk", b"\xff" * 40):
        with pytest.raises(FlightmeshError) as failure:
            _ticket(data)
        assert failure.value.code is ErrorCode.UNAUTHENTICATED
        assert failure.value.__context__ is None


def test_an_answer_names_endpoints_without_a_location() -> None:
    """One, unless the client asked for more: some refuse any other number. Without a location they read where they
    asked, behind any proxy; the query's id is there for whoever wants to stop it.
    """
    descriptor = fl.FlightDescriptor.for_path("a")
    info = _info(descriptor, Described(ROWS.schema, (b"one",), 1_000_000.5, "id"))
    (endpoint,) = info.endpoints
    assert endpoint.locations == []
    assert endpoint.ticket.ticket == b"one"
    assert endpoint.expiration_time.value == 1_000_000_500_000_000
    assert (info.total_records, info.total_bytes, info.ordered, info.app_metadata) == (-1, -1, True, b"id")
    assert info.schema == ROWS.schema
    several = _info(descriptor, Described(ROWS.schema, (b"one", b"two"), 1_000_000.5, "id"))
    assert [found.ticket.ticket for found in several.endpoints] == [b"one", b"two"]


def test_transactions_may_be_absent_or_empty() -> None:
    """Clients without optional fields send none as no bytes."""
    assert (_transaction(None), _transaction(b""), _transaction(b"x")) == (None, None, "x")
    assert _transaction(b"\xff") == "\ufffd"


def test_paths_are_text() -> None:
    """Bytes that are no UTF-8 become a name that nothing has."""
    assert _path(fl.FlightDescriptor.for_path("a", "ü")) == ("a", "ü")
    assert _path(fl.FlightDescriptor.for_path(b"\xff")) == ("\ufffd",)


def test_every_rpc_is_overridden() -> None:
    """A handler left to pyarrow answers with its own traceback."""
    handlers = {"list_flights", "get_flight_info", "get_schema", "do_get", "do_put", "do_exchange", "do_action"}
    assert all(handler in vars(FlightServer) for handler in {*handlers, "list_actions"})

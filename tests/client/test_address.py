"""The addresses that the client takes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flightmesh.client import connect
from flightmesh.errors import ErrorCode, FlightmeshError

Refused = Callable[[ErrorCode, Callable[[], object]], FlightmeshError]


@pytest.mark.parametrize(
    "uri",
    ["", "127.0.0.1:8815", "http://127.0.0.1", "grpc://", "grpc://host:99999", "grpc://host/path", "grpc://u:p@h:1"],
)
def test_addresses_that_cannot_be_are_refused(refused: Refused, uri: str) -> None:
    """gRPC would try them, and say something about name resolution a minute later."""
    refused(ErrorCode.INVALID, lambda: connect(uri))


def test_the_port_may_be_left_out() -> None:
    """The default port is the server's."""
    assert connect("grpc://127.0.0.1").uri == "grpc://127.0.0.1:8815"
    assert connect("grpc+tcp://[::1]:7").uri == "grpc+tcp://[::1]:7"

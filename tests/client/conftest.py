"""A client of the served products, and small servers that misbehave on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow.flight as fl
import pytest

from flightmesh.client import Client, connect
from flightmesh.errors import ErrorCode, FlightmeshError

if TYPE_CHECKING:
    from tests.conftest import ServedBy


@pytest.fixture
def client(server: ServedBy) -> Iterator[Client]:
    """An anonymous client of the bundled products."""
    with connect(server.uri) as opened:
        yield opened


@pytest.fixture
def refused() -> Callable[[ErrorCode, Callable[[], object]], FlightmeshError]:
    """The error that a call ends with, which must have this code."""

    def refused(code: ErrorCode, call: Callable[[], object]) -> FlightmeshError:
        with pytest.raises(FlightmeshError) as caught:
            call()
        assert caught.value.code is code, caught.value
        return caught.value

    return refused


class Small(fl.FlightServerBase):  # type: ignore[misc] # pyarrow has no types
    """A server without products, whose other answers fail as it is told."""

    def __init__(self, failure: Exception | None = None, **options: Any) -> None:  # Any: pyarrow's own options
        super().__init__("grpc://127.0.0.1:0", **options)
        self._failure = failure

    def do_action(self, context: fl.ServerCallContext, action: fl.Action) -> Iterator[bytes]:
        return iter(())

    def get_flight_info(self, context: fl.ServerCallContext, descriptor: fl.FlightDescriptor) -> fl.FlightInfo:
        assert self._failure is not None
        raise self._failure


@pytest.fixture
def small() -> type[Small]:
    """``with small(failure, middleware=...) as server``: a server without products."""
    return Small

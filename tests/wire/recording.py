"""The server, with a note of every call that reaches its Flight door: what a client really sent, and whether it was
answered.

Run in place of ``python -m flightmesh``, with the same arguments. The file that WIRE_RECORD names gets two lines per
call, ``begin NUMBER WHAT`` and ``end NUMBER ok|refused``; the suite writes its own marks between them. Nothing of the
server is replaced: its handlers are called as they are.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow.flight as fl

from flightmesh.cli import main
from flightmesh.errors import FlightmeshError
from flightmesh.flight.middleware import HandshakeHandler
from flightmesh.flight.server import FlightServer
from flightmesh.flightsql.codec import unpack

VARIABLE = "WIRE_RECORD"  # as in bench.py, which this process does not import
_numbers = itertools.count()


def note(path: str, line: str) -> None:
    """Adds a line to the record; several processes may write at once."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


def _name(data: bytes) -> str:
    try:
        return type(unpack(data)).__name__
    except FlightmeshError:
        return "Ticket"


def _of_descriptor(descriptor: fl.FlightDescriptor) -> str:
    return "Path" if descriptor.descriptor_type == fl.DescriptorType.PATH else _name(descriptor.command)


# What is called, and how it names what was asked for: the argument that tells stands behind the call's context.
_CALLS: dict[str, Callable[[Any], str]] = {
    "list_flights": lambda _: "ListFlights",
    "get_flight_info": lambda asked: f"GetFlightInfo {_of_descriptor(asked)}",
    "get_schema": lambda asked: f"GetSchema {_of_descriptor(asked)}",
    "do_get": lambda asked: f"DoGet {_name(asked.ticket)}",
    "do_put": lambda asked: f"DoPut {_of_descriptor(asked)}",
    "do_action": lambda asked: f"DoAction {asked.type}",
}


def _recorded(handler: Callable[..., Any], named: Callable[[Any], str], path: str) -> Callable[..., Any]:
    @functools.wraps(handler)
    def call(self: FlightServer, context: fl.ServerCallContext, asked: Any, *rest: Any) -> Any:
        number = f"{os.getpid()}-{next(_numbers)}"
        note(path, f"begin {number} {named(asked)}")
        try:
            answer = handler(self, context, asked, *rest)
        except BaseException:
            note(path, f"end {number} refused")
            raise
        if isinstance(answer, Iterator):
            return _followed(answer, number, path)
        note(path, f"end {number} ok")
        return answer

    return call


def _followed(answers: Iterator[Any], number: str, path: str) -> Iterator[Any]:
    try:
        yield from answers
    except Exception:
        note(path, f"end {number} refused")
        raise
    note(path, f"end {number} ok")


def record(path: str) -> None:
    """Notes every call of the Flight servers that this process starts from now on."""
    for name, named in _CALLS.items():
        setattr(FlightServer, name, _recorded(getattr(FlightServer, name), named, path))
    list_actions, authenticate = FlightServer.list_actions, HandshakeHandler.authenticate

    def listing(self: FlightServer, context: fl.ServerCallContext) -> Any:
        note(path, f"begin {(number := f'{os.getpid()}-{next(_numbers)}')} ListActions")
        actions = list_actions(self, context)
        note(path, f"end {number} ok")
        return actions

    def handshake(self: HandshakeHandler, outgoing: Any, incoming: Any) -> None:
        note(path, f"begin {(number := f'{os.getpid()}-{next(_numbers)}')} Handshake")
        authenticate(self, outgoing, incoming)
        note(path, f"end {number} ok")

    FlightServer.list_actions = listing  # type: ignore[method-assign]
    HandshakeHandler.authenticate = handshake  # type: ignore[method-assign]


if __name__ == "__main__":
    record(os.environ[VARIABLE])
    main()

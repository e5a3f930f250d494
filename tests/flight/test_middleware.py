"""From headers to a session: who is let in, and who is handed a session token."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow.flight as fl
import pytest

from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flight.middleware import NAME, HandshakeHandler, SessionMiddlewareFactory, session_of
from flightmesh.service.authn import (
    ANONYMOUS_PRINCIPAL,
    Basic,
    Bearer,
    Credentials,
    Identity,
    NoCredentials,
    Principal,
)
from flightmesh.service.sessions import Sessions

ANN = Principal("ann")


@dataclass
class _Door:
    """An authenticator that lets one password and one session in, and notes what it was asked."""

    asked: list[Credentials] = field(default_factory=list)
    opened: int = 0

    def authenticate(self, credentials: Credentials) -> Identity:
        self.asked.append(credentials)
        if credentials == NoCredentials():
            return Identity(ANONYMOUS_PRINCIPAL)
        if credentials == Basic("ann", "right"):
            return Identity(ANN, origin="password")
        if credentials == Bearer("session"):
            return Identity(ANN, session_id="known", origin="password")
        raise FlightmeshError(ErrorCode.UNAUTHENTICATED, "The token is not valid here.")

    def open_session(self, identity: Identity) -> str:
        self.opened += 1
        return f"new{self.opened}"


@pytest.fixture
def door() -> _Door:
    """The authenticator."""
    return _Door()


@pytest.fixture
def sessions() -> Sessions:
    """Sessions without any settings."""
    return Sessions(Limits())


def _call(door: _Door, sessions: Sessions, headers: Mapping[str, Sequence[str | bytes]]) -> Any:
    info = fl.CallInfo(fl.FlightMethod.DO_GET)
    return SessionMiddlewareFactory(door, sessions).start_call(info, headers)


def _basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_a_call_without_credentials_is_given_a_session(door: _Door, sessions: Sessions) -> None:
    """The anonymous are let in where the authenticator lets them, each with a token of its own."""
    first, second = _call(door, sessions, {}), _call(door, sessions, {})
    assert first.session.principal is ANONYMOUS_PRINCIPAL
    assert first.sending_headers() == {"authorization": "Bearer new1"}
    assert second.sending_headers() == {"authorization": "Bearer new2"}
    assert first.session.id != second.session.id


def test_a_token_is_made_once_per_call(door: _Door, sessions: Sessions) -> None:
    """pyarrow asks for the headers twice in GetFlightInfo: two different tokens would confuse the client."""
    middleware = _call(door, sessions, {"authorization": [_basic("ann:right")]})
    assert middleware.sending_headers() == middleware.sending_headers()
    assert door.opened == 1
    assert middleware.session.principal is ANN


def test_a_session_token_is_kept(door: _Door, sessions: Sessions) -> None:
    """Its settings come back with it, and no other token is sent."""
    sessions.change("known", ANN, {"catalog": "aviation"})
    middleware = _call(door, sessions, {"authorization": ["Bearer session"]})
    assert middleware.session.id == "known"
    assert middleware.session.catalog == "aviation"
    assert middleware.sending_headers() == {}
    assert door.opened == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": [_basic("ann:right")]},
        {"authorization": [_basic("ann:right").encode()]},
        {"authorization": [_basic("ann:right").rstrip("=")]},
        {"authorization": [_basic("ann:right")] * 2},
        {"authorization": [_basic("ann:right")], "cookie": ["x"], "x-bin": [b"\xff"]},
    ],
    ids=str,
)
def test_forms_of_the_header(door: _Door, sessions: Sessions, headers: Mapping[str, Sequence[str | bytes]]) -> None:
    """Clients differ in case, padding and in text or bytes; the same header twice is still one."""
    assert _call(door, sessions, headers).session.principal is ANN


@pytest.mark.parametrize(
    "values", [["Bearer wrong"], [""], ["Bearer"], ["nonsense"], [b"\xff\xfe"], ["Bearer session", _basic("ann:right")]]
)
def test_wrong_credentials_leave_through_the_error_door(
    door: _Door, sessions: Sessions, values: list[str | bytes]
) -> None:
    """UNAUTHENTICATED with one line, never the anonymous in place of a mistaken user, never a choice between two."""
    with pytest.raises(fl.FlightUnauthenticatedError, match=r"^unauthenticated: .* \[id [0-9a-f]{16}\]") as failure:
        _call(door, sessions, {"authorization": values})
    assert failure.value.__context__ is None
    assert NoCredentials() not in door.asked


def test_a_handshake_is_answered_with_a_message() -> None:
    """Some clients wait for one; the token travels in the header."""
    written: list[bytes] = []

    class _Sender:
        def write(self, message: bytes) -> None:
            written.append(message)

    handler = HandshakeHandler()
    sender: Any = _Sender()
    handler.authenticate(sender, sender)
    assert written == [b"ok"]
    assert handler.is_valid(b"whatever") == b""


def test_handlers_find_the_session_of_their_call(door: _Door, sessions: Sessions) -> None:
    """One context, one session: two calls on one connection do not share it."""
    middleware = _call(door, sessions, {})

    class _Context:
        def get_middleware(self, name: str) -> Any:
            return {NAME: middleware}[name]

    context: Any = _Context()
    assert session_of(context) is middleware.session

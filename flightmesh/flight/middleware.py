"""Headers to a Session: credentials in, an identity out, and a session token of its own for every client that brought
other credentials.

Rejecting a caller happens here, before any handler runs, so that it is UNAUTHENTICATED for every RPC, GetSchema
included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow.flight as fl

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flight.status import guarded
from flightmesh.service.authn import Authenticator, Credentials, Identity, NoCredentials, parse_authorization
from flightmesh.service.sessions import Session, Sessions

NAME = "flightmesh"
_HEADER = "authorization"


class SessionMiddleware(fl.ServerMiddleware):
    """The session of one call."""

    def __init__(self, session: Session, token: str | None) -> None:
        self.session = session
        self._token = token

    def sending_headers(self) -> dict[str, str]:
        """The session token, when the caller came with something else. Drivers send it from then on."""
        return {} if self._token is None else {_HEADER: f"Bearer {self._token}"}


class SessionMiddlewareFactory(fl.ServerMiddlewareFactory):
    """Authenticates every call, Handshake included."""

    def __init__(self, authenticator: Authenticator, sessions: Sessions) -> None:
        self._authenticator = authenticator
        self._sessions = sessions

    @guarded
    def start_call(self, info: fl.CallInfo, headers: Mapping[str, Sequence[str | bytes]]) -> SessionMiddleware:
        """The call's session; UNAUTHENTICATED for credentials that are wrong, or missing where they are wanted."""
        identity = self._authenticator.authenticate(_credentials(headers))
        if identity.session_id is not None:
            return SessionMiddleware(self._sessions.resolve(identity.session_id, identity.principal), None)
        return self._opened(identity)

    def _opened(self, identity: Identity) -> SessionMiddleware:
        return SessionMiddleware(self._sessions.open(identity.principal), self._authenticator.open_session(identity))


class HandshakeHandler(fl.ServerAuthHandler):
    """Answers Handshake with one message: some clients wait for it, others for the header that the middleware sends."""

    def authenticate(self, outgoing: fl.ServerAuthSender, incoming: fl.ServerAuthReader) -> None:
        """Nothing is decided here; the middleware has let the call in."""
        outgoing.write(b"ok")

    def is_valid(self, token: bytes) -> bytes:
        """No identity: authorization travels in headers, not in this token."""
        return b""


def session_of(context: fl.ServerCallContext) -> Session:
    """The session of the call."""
    middleware: SessionMiddleware = context.get_middleware(NAME)
    return middleware.session


def _credentials(headers: Mapping[str, Sequence[str | bytes]]) -> Credentials:
    values = [value for name, found in headers.items() if name.lower() == _HEADER for value in found]
    if not values:
        return NoCredentials()
    if len(set(values)) > 1:
        raise FlightmeshError(ErrorCode.UNAUTHENTICATED, "The call has several authorization headers.")
    return parse_authorization(values[0] if isinstance(values[0], str) else values[0].decode("latin-1"))

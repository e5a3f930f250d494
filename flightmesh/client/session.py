"""Who is calling: the caller's credentials, then the session that the server opens for them.

The server checks a password slowly on purpose and gives a session token for it; calls carry that from then on.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import pyarrow.flight as fl

from flightmesh.errors import ErrorCode, FlightmeshError

_HEADER = "authorization"


def authorization(token: str | None, user: str | None, password: str | None) -> str | None:
    """The authorization header, None for an anonymous caller."""
    if token is not None and user is not None:
        raise FlightmeshError(ErrorCode.INVALID, "Both a token and a user are given.", hint="Give one of them.")
    if (user is None) != (password is None):
        raise FlightmeshError(ErrorCode.INVALID, "A user and a password go together.")
    if token is not None:
        if not token.isascii() or not token.isprintable() or " " in token or not token:
            raise FlightmeshError(ErrorCode.INVALID, "The token holds characters that no token has.")
        return f"Bearer {token}"
    if user is None or password is None:
        return None
    if ":" in user:
        raise FlightmeshError(ErrorCode.INVALID, "The name of a user holds no colon.")
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Session:
    """The header that calls carry: the server's session token once it has given one, the caller's own before."""

    def __init__(self, own: str | None) -> None:
        self._own = own
        self._given: str | None = None

    @property
    def header(self) -> str | None:
        return self._given or self._own

    def adopt(self, header: str) -> None:
        """Use the session that the server has opened."""
        self._given = header

    @property
    def given(self) -> str | None:
        """The session's header, None while there is no session."""
        return self._given

    def forget(self, given: str) -> None:
        """Go back to the caller's own credentials, unless another session has begun by now."""
        if self._given == given:
            self._given = None


class SessionFactory(fl.ClientMiddlewareFactory):  # type: ignore[misc] # pyarrow has no types
    """Puts the session's header on each call, and keeps the one that comes back."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def start_call(self, info: fl.CallInfo) -> SessionMiddleware:
        return SessionMiddleware(self._session)


class SessionMiddleware(fl.ClientMiddleware):  # type: ignore[misc] # pyarrow has no types
    """One call of the session."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def sending_headers(self) -> dict[str, str]:
        header = self._session.header
        return {} if header is None else {_HEADER: header}

    def received_headers(self, headers: Mapping[str, Sequence[str | bytes]]) -> None:
        for name, values in headers.items():
            if name.lower() == _HEADER and values:
                value = values[-1]
                self._session.adopt(value if isinstance(value, str) else value.decode("latin-1"))

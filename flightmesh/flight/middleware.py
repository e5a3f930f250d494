"""Headers to a Session: credentials in, an identity out, and a session token for every client that brought other
credentials, as a bearer and as a cookie.

Who is calling is decided on every call by credentials or by a client certificate. A session only says which settings
and tables go with the call: a token may name it, or a cookie that holds such a token, if it was made for this caller.
Rejecting a caller by headers happens before any handler runs, so that it is UNAUTHENTICATED for every RPC, GetSchema
included. A certificate is known to handlers alone, so there the session is found when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

import pyarrow as pa
import pyarrow.flight as fl

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flight.status import guarded
from flightmesh.service.authn import (
    SESSION_TOKEN_PREFIX,
    Authenticator,
    Basic,
    Bearer,
    Certificate,
    Identity,
    NoCredentials,
    parse_authorization,
)
from flightmesh.service.options import HEADER_PREFIX, with_headers
from flightmesh.service.sessions import Session, Sessions

NAME = "flightmesh"
COOKIE = "arrow_flight_session_id"
COOKIES_CHARACTERS_MAX = 16_384

_HEADER = "authorization"
_COOKIES_TRIED_MAX = 4
# The options that JDBC and SQLAlchemy send as headers by their bare names.
_BARE = frozenset({"catalog", "schema"})
# How the user agents of Java's drivers begin.
_JAVA = ("grpc-java", "JDBC Flight SQL Driver")


@dataclass(frozen=True, slots=True)
class _Given:
    """What the headers of one call say. ``tokens`` are texts that may name a session, none of them believed yet."""

    credentials: NoCredentials | Basic | Bearer
    tokens: tuple[str, ...] = field(repr=False)
    options: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, headers: Mapping[str, Sequence[str | bytes]]) -> _Given:
        """Errors: UNAUTHENTICATED for several, or for malformed, authorization headers."""
        lowered: dict[str, list[str]] = {}
        for name, values in headers.items():
            lowered.setdefault(name.lower(), []).extend(map(_text, values))
        options = {
            name.removeprefix(HEADER_PREFIX).replace("-", "_"): values
            for name, values in lowered.items()
            if name in _BARE or name.startswith(HEADER_PREFIX)
        }
        if any(agent.startswith(_JAVA) for agent in lowered.get("user-agent", ())):
            options = {"java_types": ["true"], **options}
        return cls(_credentials(lowered.get(_HEADER, ())), tuple(_cookies(lowered.get("cookie", ()))), options)


@dataclass(frozen=True, slots=True)
class _Found:
    """The session of one call, and the headers by which the client is told of it."""

    session: Session
    told: Mapping[str, str]


class _Desk:
    """Finds the session that an identity names, or opens one."""

    def __init__(self, authenticator: Authenticator, sessions: Sessions, *, has_tls: bool) -> None:
        self.authenticator = authenticator
        self._sessions = sessions
        self._cookie_tail = "; HttpOnly; Secure" if has_tls else "; HttpOnly"

    def find(self, identity: Identity, tokens: Sequence[str]) -> _Found:
        """The session of the identity's own token, else of the first of these tokens that is its own, else a new one.

        Who came with other credentials is always told a bearer: there are drivers that wait for it.
        """
        principal = identity.principal
        if identity.session_id is not None:
            return _Found(self._sessions.resolve(identity.session_id, principal), {})
        for token in tokens:
            named = self.authenticator.named_session(token, identity)
            if named is not None:
                return _Found(self._sessions.resolve(named, principal), {_HEADER: f"Bearer {token}"})
        session = self._sessions.open(principal)
        token = self.authenticator.open_session(identity, session.id)
        told = {_HEADER: f"Bearer {token}"}
        if not (principal.is_anonymous and any(map(self.authenticator.is_session, tokens))):
            # Java's client closes statements with its cookie and no credentials: then it is to keep that cookie.
            told["set-cookie"] = f"{COOKIE}={token}{self._cookie_tail}"
        return _Found(session, told)

    def with_options(self, session: Session, options: Mapping[str, Sequence[str]]) -> Session:
        """The session with what this one call asks for. Errors: INVALID."""
        asked = {name: _only(name, values) for name, values in options.items()}
        return with_headers(session, asked, self._sessions.limits)


class _SessionOfCall(Protocol):
    """What each kind of listener's middleware gives to handlers."""

    def session_for(self, context: fl.ServerCallContext) -> Session:
        """The session of the call. Errors: UNAUTHENTICATED, INVALID."""
        ...


def session_of(context: fl.ServerCallContext) -> Session:
    """The session of the call, with the options of its headers.

    Errors: INVALID for options that cannot be; on a listener for certificates UNAUTHENTICATED, so every handler asks.
    """
    middleware: _SessionOfCall = context.get_middleware(NAME)
    return middleware.session_for(context)


# ------------------------------------------------------------------------------------------- passwords, tokens, nobody


class SessionMiddleware(fl.ServerMiddleware):
    """The session of one call; or why its options cannot be, which handlers say: a middleware can only reject."""

    def __init__(self, session: Session | FlightmeshError, told: Mapping[str, str]) -> None:
        self._session = session
        self._told = told

    def sending_headers(self) -> dict[str, str]:
        """The session token, when the caller came with something else. Drivers send it from then on.

        Asked before the handler runs, and twice in GetFlightInfo: there the same headers stand twice, harmlessly.
        """
        return dict(self._told)

    def session_for(self, context: fl.ServerCallContext) -> Session:
        """The session of the call. Errors: INVALID for options in headers that cannot be."""
        if isinstance(self._session, FlightmeshError):
            raise self._session
        return self._session


class SessionMiddlewareFactory(fl.ServerMiddlewareFactory):
    """Authenticates every call by its headers, Handshake included. ``has_tls`` keeps cookies to TLS."""

    def __init__(self, authenticator: Authenticator, sessions: Sessions, *, has_tls: bool = False) -> None:
        self._desk = _Desk(authenticator, sessions, has_tls=has_tls)

    @guarded
    def start_call(self, info: fl.CallInfo, headers: Mapping[str, Sequence[str | bytes]]) -> SessionMiddleware:
        """The call's session; UNAUTHENTICATED for credentials that are wrong, or missing where they are wanted."""
        given = _Given.of(headers)
        found = self._desk.find(self._desk.authenticator.authenticate(given.credentials), given.tokens)
        told = found.told
        if info.method == fl.FlightMethod.HANDSHAKE and isinstance(given.credentials, Bearer) and not told:
            # The answer to a Handshake has a bearer, even for who brought it.
            told = {_HEADER: f"Bearer {given.credentials.token}"}
        try:
            session: Session | FlightmeshError = self._desk.with_options(found.session, given.options)
        except FlightmeshError as error:
            session = error
        return SessionMiddleware(session, told)


class HandshakeHandler(fl.ServerAuthHandler):
    """Answers Handshake with one message: some clients wait for it, others for the header that the middleware sends.

    With a handler set, pyarrow does not tell the name in a client certificate: a listener for certificates has none.
    """

    def authenticate(self, outgoing: fl.ServerAuthSender, incoming: fl.ServerAuthReader) -> None:
        """Nothing is decided here; the middleware has let the call in. What the client says is read and ignored."""
        outgoing.write(b"ok")
        # Read after writing: some clients say nothing before they have the answer. Not reading at all leaves a client
        # that says something hanging, in a few of a hundred cases (pyarrow 26).
        with suppress(OSError, pa.ArrowException):
            incoming.read()

    def is_valid(self, token: bytes) -> bytes:
        """No identity: authorization travels in headers, not in this token."""
        return b""


# --------------------------------------------------------------------------------------------------------- certificates


class CertificateMiddleware(fl.ServerMiddleware):
    """One call of a listener for certificates: its session is found when a handler asks, and told from there."""

    def __init__(self, desk: _Desk, given: _Given) -> None:
        self._desk = desk
        self._given = given
        self._session: Session | None = None

    def session_for(self, context: fl.ServerCallContext) -> Session:
        """The session of the certificate's user. Errors: UNAUTHENTICATED for a certificate of no user; INVALID."""
        if self._session is None:
            name = context.peer_identity().decode(errors="replace")
            found = self._desk.find(self._desk.authenticator.authenticate(Certificate(name)), self._given.tokens)
            for header, value in found.told.items():
                context.add_header(header, value)
            self._session = self._desk.with_options(found.session, self._given.options)
        return self._session


class CertificateSessions(fl.ServerMiddlewareFactory):
    """Names callers by the client certificates that TLS has verified; headers only name a session of theirs."""

    def __init__(self, authenticator: Authenticator, sessions: Sessions) -> None:
        self._desk = _Desk(authenticator, sessions, has_tls=True)

    @guarded
    def start_call(self, info: fl.CallInfo, headers: Mapping[str, Sequence[str | bytes]]) -> CertificateMiddleware:
        """The call; UNAUTHENTICATED when it brings credentials: two identities in one call would be one too many."""
        given = _Given.of(headers)
        match given.credentials:
            case Bearer(token) if token.startswith(SESSION_TOKEN_PREFIX):
                given = _Given(NoCredentials(), (token, *given.tokens), given.options)
            case Basic() | Bearer():
                raise FlightmeshError(
                    ErrorCode.UNAUTHENTICATED,
                    "This listener knows callers by their certificates and takes no password and no API token.",
                    hint="Leave it out, or use the other listener.",
                )
        return CertificateMiddleware(self._desk, given)


# -------------------------------------------------------------------------------------------------------------- headers


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


def _credentials(values: Sequence[str]) -> NoCredentials | Basic | Bearer:
    if not values:
        return NoCredentials()
    if len(set(values)) > 1:
        raise FlightmeshError(ErrorCode.UNAUTHENTICATED, "The call has several authorization headers.")
    return parse_authorization(values[0])


def _cookies(values: Sequence[str]) -> Iterator[str]:
    """The first few values of our cookie; none from headers of an absurd length."""
    if sum(map(len, values)) > COOKIES_CHARACTERS_MAX:
        return iter(())
    pairs = (pair.partition("=") for value in values for pair in value.split(";"))
    ours = (value.strip().strip('"') for name, _, value in pairs if name.strip() == COOKIE)
    return islice(ours, _COOKIES_TRIED_MAX)


def _only(name: str, values: Sequence[str]) -> str:
    if len(set(values)) > 1:
        header = name if name in _BARE else HEADER_PREFIX + name.replace("_", "-")
        raise FlightmeshError(ErrorCode.INVALID, f"The call has several headers {header[:80]}.", hint="Send one.")
    return values[0]

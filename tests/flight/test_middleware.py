"""From headers to a session: who is let in, which session it is, and what the client is told."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow.flight as fl
import pytest

from flightmesh.config import Accounts, ApiToken, Limits, User
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flight.middleware import (
    NAME,
    CertificateSessions,
    HandshakeHandler,
    SessionMiddlewareFactory,
    session_of,
)
from flightmesh.flightsql.handles import Signer
from flightmesh.service.authn import (
    ANONYMOUS_PRINCIPAL,
    Authn,
    Basic,
    Bearer,
    Certificate,
    Credentials,
    Identity,
    NoCredentials,
    Principal,
    hash_password,
    hash_secret,
)
from flightmesh.service.options import Options, options_of
from flightmesh.service.sessions import Session, Sessions

ANN = Principal("ann")
COOKIE = "arrow_flight_session_id"


@dataclass
class _Door:
    """An authenticator that lets one password, certificate and session in, and notes what it was asked.

    The token of a session is ``fms_``, the user's name, a dash and the session's id.
    """

    asked: list[Credentials] = field(default_factory=list)
    opened: int = 0

    def authenticate(self, credentials: Credentials) -> Identity:
        self.asked.append(credentials)
        if credentials == NoCredentials():
            return Identity(ANONYMOUS_PRINCIPAL)
        if credentials in (Basic("ann", "right"), Certificate("ann.example.org")):
            return Identity(ANN, origin="password")
        if credentials == Bearer("session"):
            return Identity(ANN, session_id="known", origin="password")
        raise FlightmeshError(ErrorCode.UNAUTHENTICATED, "The token is not valid here.")

    def open_session(self, identity: Identity, session_id: str) -> str:
        self.opened += 1
        return f"fms_{identity.principal.name}-{session_id}"

    def named_session(self, text: str, identity: Identity) -> str | None:
        begin = f"fms_{identity.principal.name}-"
        return text.removeprefix(begin) if text.startswith(begin) else None

    def is_session(self, text: str) -> bool:
        return text.startswith("fms_")


@dataclass
class _Context:
    """What pyarrow gives to handlers, as far as sessions need it."""

    middleware: Any
    identity: bytes = b""
    added: list[tuple[str, str]] = field(default_factory=list)

    def get_middleware(self, name: str) -> Any:
        return {NAME: self.middleware}[name]

    def peer_identity(self) -> bytes:
        return self.identity

    def add_header(self, name: str, value: str) -> None:
        self.added.append((name, value))


@pytest.fixture
def door() -> _Door:
    """The authenticator."""
    return _Door()


@pytest.fixture
def sessions() -> Sessions:
    """Sessions without any settings."""
    return Sessions(Limits())


def _call(
    door: _Door,
    sessions: Sessions,
    headers: Mapping[str, Sequence[str | bytes]],
    method: fl.FlightMethod = fl.FlightMethod.DO_GET,
    *,
    has_tls: bool = False,
) -> Any:
    return SessionMiddlewareFactory(door, sessions, has_tls=has_tls).start_call(fl.CallInfo(method), headers)


def _session(middleware: Any) -> Session:
    context: Any = _Context(middleware)
    return session_of(context)


def _basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


SIGNED_IN: Mapping[str, Sequence[str | bytes]] = {"authorization": [_basic("ann:right")]}


def test_a_call_without_credentials_is_given_a_session(door: _Door, sessions: Sessions) -> None:
    """The anonymous are let in where the authenticator lets them, each with a session of its own."""
    first, second = _call(door, sessions, {}), _call(door, sessions, {})
    assert _session(first).principal is ANONYMOUS_PRINCIPAL
    assert _session(first).id != _session(second).id


@pytest.mark.parametrize(("has_tls", "tail"), [(False, "; HttpOnly"), (True, "; HttpOnly; Secure")])
def test_the_token_names_the_session_of_the_first_call(
    door: _Door, sessions: Sessions, has_tls: bool, tail: str
) -> None:
    """What the first call sets must be there in the second, for clients of bearers and of cookies alike."""
    middleware = _call(door, sessions, SIGNED_IN, has_tls=has_tls)
    token = f"fms_ann-{_session(middleware).id}"
    expected = {"authorization": f"Bearer {token}", "set-cookie": f"{COOKIE}={token}{tail}"}
    assert middleware.sending_headers() == expected


def test_a_token_is_made_once_per_call(door: _Door, sessions: Sessions) -> None:
    """pyarrow asks for the headers twice in GetFlightInfo: two different tokens would confuse the client."""
    middleware = _call(door, sessions, SIGNED_IN)
    assert middleware.sending_headers() == middleware.sending_headers()
    assert door.opened == 1
    assert _session(middleware).principal is ANN


def test_a_session_token_is_kept(door: _Door, sessions: Sessions) -> None:
    """Its settings come back with it, and no other token is sent; a cookie beside it changes nothing."""
    sessions.change("known", ANN, {"catalog": "aviation"})
    headers = {"authorization": ["Bearer session"], "cookie": [f"{COOKIE}=fms_ann-other"]}
    middleware = _call(door, sessions, headers)
    assert (_session(middleware).id, _session(middleware).catalog) == ("known", "aviation")
    assert middleware.sending_headers() == {}
    assert door.opened == 0


def test_a_handshake_is_always_told_a_bearer(door: _Door, sessions: Sessions) -> None:
    """Drivers that shake hands fail when no authorization header comes back, whatever they have sent."""
    for headers in ({}, SIGNED_IN, {"authorization": ["Bearer session"]}):
        told = _call(door, sessions, headers, fl.FlightMethod.HANDSHAKE).sending_headers()
        assert told["authorization"].startswith("Bearer ")
    assert told == {"authorization": "Bearer session"}


def test_a_closed_session_starts_empty(door: _Door, sessions: Sessions) -> None:
    """A pooled driver goes on with the token of a session that it has closed."""
    sessions.change("known", ANN, {"catalog": "aviation"})
    assert [sessions.close("known", ANN), sessions.close("known", ANN)] == [True, False]
    middleware = _call(door, sessions, {"authorization": ["Bearer session"]})
    assert _session(middleware).is_default


# ------------------------------------------------------------------------------------------------------------- cookies


@pytest.mark.parametrize(
    "cookies",
    [
        [f"{COOKIE}=fms_ann-known"],
        [f'{COOKIE}="fms_ann-known"'],
        [f"a=b; {COOKIE}=fms_ann-known;c"],
        [f"{COOKIE}=fms_eve-known; {COOKIE}=fms_ann-known"],
        ["a=b", f" {COOKIE} = fms_ann-known "],
        [f"{COOKIE}=; ;;=; {COOKIE}=fms_ann-known".encode()],
    ],
    ids=str,
)
def test_a_cookie_names_the_session(door: _Door, sessions: Sessions, cookies: list[str | bytes]) -> None:
    """JDBC sends its password with cookies; the session is the one before, and the bearer is told again."""
    sessions.change("known", ANN, {"catalog": "aviation"})
    middleware = _call(door, sessions, {**SIGNED_IN, "Cookie": cookies})
    assert (_session(middleware).id, _session(middleware).catalog) == ("known", "aviation")
    assert middleware.sending_headers() == {"authorization": "Bearer fms_ann-known"}
    assert door.opened == 0


@pytest.mark.parametrize(
    "cookie",
    [
        f"{COOKIE}=fms_eve-known",
        f"{COOKIE}=known",
        f"{COOKIE}",
        f"other={COOKIE}=fms_ann-known",
        ";;;===",
        "\xff\x00",
        f"{COOKIE}=" + "x" * 20_000,
        f"{COOKIE}=x;" * 2_000 + f"{COOKIE}=fms_ann-known",
        f"{COOKIE}=x;" * 4 + f"{COOKIE}=fms_ann-known",
    ],
    ids=lambda cookie: cookie[:40],
)
def test_other_cookies_are_ignored(door: _Door, sessions: Sessions, cookie: str) -> None:
    """Another's session, garbage and heaps of cookies: a new session, for the same caller."""
    sessions.change("known", ANN, {"catalog": "aviation"})
    middleware = _call(door, sessions, {**SIGNED_IN, "cookie": [cookie]})
    assert _session(middleware).is_default
    assert _session(middleware).id != "known"
    assert "set-cookie" in middleware.sending_headers()


def test_a_cookie_signs_nobody_in(door: _Door, sessions: Sessions) -> None:
    """It chooses among sessions of a known caller: without credentials one stays anonymous."""
    middleware = _call(door, sessions, {"cookie": [f"{COOKIE}=fms_ann-known"]})
    assert _session(middleware).principal is ANONYMOUS_PRINCIPAL
    assert _session(middleware).id != "known"


# ------------------------------------------------------------------------------------------------------------- headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": [_basic("ann:right")]},
        {"authorization": [_basic("ann:right").encode()]},
        {"authorization": [_basic("ann:right").rstrip("=")]},
        {"authorization": [_basic("ann:right")] * 2},
        {"authorization": [_basic("ann:right")], "cookie": ["x"], "x-bin": [b"\xff"], "colour": ["red"]},
    ],
    ids=str,
)
def test_forms_of_the_header(door: _Door, sessions: Sessions, headers: Mapping[str, Sequence[str | bytes]]) -> None:
    """Clients differ in case, padding and in text or bytes; the same header twice is still one."""
    assert _session(_call(door, sessions, headers)).principal is ANN


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


@pytest.mark.parametrize("says_something", [True, False])
def test_a_handshake_is_answered_with_a_message(says_something: bool) -> None:
    """Some clients wait for it before they say anything; what they say is read, or they hang now and then."""
    done: list[object] = []

    class _Stream:
        def write(self, message: bytes) -> None:
            done.append(message)

        def read(self) -> bytes:
            done.append("read")
            if says_something:
                return b"anything"
            raise OSError("Stream is closed.")

    handler = HandshakeHandler()
    stream: Any = _Stream()
    handler.authenticate(stream, stream)
    assert done == [b"ok", "read"]
    assert handler.is_valid(b"whatever") == b""


def test_options_in_headers(door: _Door, sessions: Sessions) -> None:
    """JDBC turns every property of its URL into a header of every call; ours go before what the session has set."""
    sessions.change("known", ANN, {"catalog": "aviation", "schema": "delays", "endpoints_max": 4})
    headers: Mapping[str, Sequence[str | bytes]] = {
        "authorization": ["Bearer session"],
        "Schema": ["trials"],
        "x-flightmesh-batch-bytes-max": [b"100000"],
        "X-Flightmesh-Dictionaries": ["true", "true"],
        "foo": ["bar"],
    }
    session = _session(_call(door, sessions, headers))
    expected = Options("aviation", "trials", None, 100_000, dictionaries=True, endpoints_max=4)
    assert options_of(session) == expected
    assert options_of(sessions.resolve("known", ANN)) == Options("aviation", "delays", endpoints_max=4)


@pytest.mark.parametrize(
    ("headers", "fact"),
    [
        ({"x-flightmesh-endpoint-max": ["1"]}, "Did you mean endpoints_max?"),
        ({"x-flightmesh-endpoints-max": ["100"]}, "must be 1 to 64"),
        ({"x-flightmesh-": [""]}, "There is no session option"),
        ({"schema": ["a", "b"]}, "several headers schema"),
        ({"x-flightmesh-schema": ["a", "b"]}, "several headers schema"),
        ({"x-flightmesh-endpoints-max": ["1", "2"]}, "several headers x-flightmesh-endpoints-max"),
        ({"schema": [b"\xff\x00"]}, "must be a schema"),
    ],
)
def test_wrong_options_are_told_by_handlers(
    door: _Door, sessions: Sessions, headers: Mapping[str, Sequence[str | bytes]], fact: str
) -> None:
    """INVALID with what is wrong, not UNAUTHENTICATED, which a driver would answer by asking for a password."""
    middleware = _call(door, sessions, {**SIGNED_IN, **headers})
    assert "authorization" in middleware.sending_headers()
    for _ in range(2):
        with pytest.raises(FlightmeshError, match=re.escape(fact)) as caught:
            _session(middleware)
        assert caught.value.code is ErrorCode.INVALID


# -------------------------------------------------------------------------------------------------------- certificates


def _certified(
    door: _Door, sessions: Sessions, identity: bytes, headers: Mapping[str, Sequence[str | bytes]]
) -> _Context:
    info = fl.CallInfo(fl.FlightMethod.DO_GET)
    return _Context(CertificateSessions(door, sessions).start_call(info, headers), identity)


def test_a_certificate_names_the_caller(door: _Door, sessions: Sessions) -> None:
    """The handler learns who it is and the client its session, once per call; the bearer then names that session."""
    context: Any = _certified(door, sessions, b"ann.example.org", {})
    session = session_of(context)
    assert session.principal is ANN
    assert session_of(context) is session
    token = f"fms_ann-{session.id}"
    assert context.added == [
        ("authorization", f"Bearer {token}"),
        ("set-cookie", f"{COOKIE}={token}; HttpOnly; Secure"),
    ]
    sessions.change(session.id, ANN, {"catalog": "aviation"})
    again: Any = _certified(door, sessions, b"ann.example.org", {"authorization": [f"Bearer {token}"]})
    assert session_of(again).catalog == "aviation"
    by_cookie: Any = _certified(
        door, sessions, b"ann.example.org", {"cookie": [f"{COOKIE}={token}"], "schema": ["delays"]}
    )
    assert options_of(session_of(by_cookie)) == Options("aviation", "delays")


@pytest.mark.parametrize("identity", [b"", b"eve.example.org", b"ann.example.org\0", b"\xff"])
def test_an_unknown_certificate_is_nobody(door: _Door, sessions: Sessions, identity: bytes) -> None:
    """Never the anonymous, and no token opens what the certificate does not."""
    for headers in ({}, {"authorization": ["Bearer fms_ann-known"]}, {"cookie": [f"{COOKIE}=fms_ann-known"]}):
        context: Any = _certified(door, sessions, identity, headers)
        for _ in range(2):
            with pytest.raises(FlightmeshError) as caught:
                session_of(context)
            assert caught.value.code is ErrorCode.UNAUTHENTICATED
        assert context.added == []


def test_a_session_of_another_is_not_reached_by_certificate(door: _Door, sessions: Sessions) -> None:
    """A stolen token is worth nothing beside another's certificate: a new session begins."""
    context: Any = _certified(door, sessions, b"ann.example.org", {"authorization": ["Bearer fms_eve-known"]})
    assert session_of(context).principal is ANN
    assert session_of(context).id != "known"


@pytest.mark.parametrize("value", [_basic("ann:right"), "Bearer fm_ab12_secret", "Digest x", "Bearer"])
def test_two_identities_in_one_call_are_refused(door: _Door, sessions: Sessions, value: str) -> None:
    """A password beside a certificate could mean either user."""
    with pytest.raises(fl.FlightUnauthenticatedError, match=r"^unauthenticated: "):
        _certified(door, sessions, b"ann.example.org", {"authorization": [value]})


# ------------------------------------------------------------------------------------------------------------- the log


def test_credentials_are_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Not at any level, whether they are right, wrong or malformed: logs are read by more people than passwords."""
    caplog.set_level(logging.DEBUG)
    users = {"ann": User("ann", hash_password("pa55word-right"), certificates=("ann.example.org",))}
    accounts = Accounts(users, {"ab12": ApiToken("ab12", "ann", hash_secret("s3cret-right"))})
    authn = Authn(accounts, allows_anonymous=True, signer=Signer(b"k" * 32), limits=Limits())
    factory = SessionMiddlewareFactory(authn, Sessions(Limits()))
    info = fl.CallInfo(fl.FlightMethod.HANDSHAKE)
    told = factory.start_call(info, {"authorization": [_basic("ann:pa55word-right")]}).sending_headers()
    session = told["authorization"].removeprefix("Bearer ")
    values = [_basic("ann:pa55word-wrong"), _basic("pa55word"), "Basic pa55word", "Bearer fm_ab12_s3cret-right"]
    values += ["Bearer fm_ab12_s3cret-wrong", f"Bearer {session}", f"Bearer {session}x", "s3cret", "Bearer s3cret ,"]
    outcomes = []
    for value in values:
        for cookie in (f"{COOKIE}={session}", f"{COOKIE}={session[:-1]}", f"s3cret={session}"):
            try:
                factory.start_call(info, {"authorization": [value], "cookie": [cookie], "x-flightmesh-s3cret": ["a"]})
                outcomes.append("in")
            except fl.FlightUnauthenticatedError as error:
                outcomes.append(str(error))
    refused = [outcome for outcome in outcomes if outcome != "in"]
    assert 0 < len(refused) < len(outcomes)
    assert len(caplog.records) >= len(refused)
    assert not re.search("pa55word|s3cret|fms_", " ".join(refused))
    logged = " ".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert not re.search("pa55word|s3cret|cGE1NXdvcmQ|" + re.escape(session[:40]), logged)


def test_a_cookie_without_credentials_is_not_replaced(door: _Door, sessions: Sessions) -> None:
    """Java's client closes its statements with its cookie and no credentials: a new cookie would end its session."""
    assert "set-cookie" not in _call(door, sessions, {"cookie": [f"{COOKIE}=fms_ann-known"]}).sending_headers()
    assert "set-cookie" in _call(door, sessions, {"cookie": [f"{COOKIE}=over"]}).sending_headers()


def test_clients_in_java_are_known(door: _Door, sessions: Sessions) -> None:
    """Their driver writes milliseconds into every unit; whoever knows better can say so."""
    java = {**SIGNED_IN, "user-agent": ["grpc-java-netty/1.71.0"]}
    assert options_of(_session(_call(door, sessions, java))).java_types
    assert not options_of(_session(_call(door, sessions, {**java, "x-flightmesh-java-types": ["false"]}))).java_types
    assert not options_of(_session(_call(door, sessions, {**SIGNED_IN, "user-agent": ["grpc-go/1.7"]}))).java_types

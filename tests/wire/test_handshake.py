"""Signing in as stock clients do: Handshake, tokens, sessions, and a TLS listener."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import adbc_driver_flightsql.dbapi as dbapi
import pyarrow as pa
import pyarrow.flight as fl
import pytest

from flightmesh.flightsql import messages as m
from flightmesh.flightsql.codec import decode, encode
from flightmesh.service import accounts

if TYPE_CHECKING:
    from tests.conftest import ServedBy

pytestmark = pytest.mark.client

Start: TypeAlias = Callable[..., Any]
STEWARD_ROWS = 2_139
PATIENTS = "SELECT count(*) AS n FROM clinical.trials.patients"
_NO_ANONYMOUS = "[server]\nanonymous = false\n"


class _Received(fl.ClientMiddleware):  # type: ignore[misc] # pyarrow has no types
    def __init__(self, receive: _Receive) -> None:
        self._receive = receive

    def received_headers(self, headers: Mapping[str, Sequence[str]]) -> None:
        self._receive.kept.append([str(value) for value in headers.get("authorization", ())])
        self._receive.cookies += [str(value) for value in headers.get("set-cookie", ())]


class _Receive(fl.ClientMiddlewareFactory):  # type: ignore[misc] # pyarrow has no types
    """Keeps the authorization headers that come back, one list per call, and the cookies."""

    def __init__(self) -> None:
        self.kept: list[list[str]] = []
        self.cookies: list[str] = []

    def bearers(self) -> set[str]:
        """The different ones."""
        return {value for call in self.kept for value in call}

    def start_call(self, info: fl.CallInfo) -> fl.ClientMiddleware:
        return _Received(self)


class _Hello(fl.ClientAuthHandler):  # type: ignore[misc] # pyarrow has no types
    """Shakes hands, with a message (empty for ODBC with a token) or without one, and keeps the answer."""

    def __init__(self, message: bytes | None = None) -> None:
        super().__init__()
        self._message = message
        self.answer = b""

    def authenticate(self, outgoing: Any, incoming: Any) -> None:
        if self._message is not None:
            outgoing.write(self._message)
        self.answer = incoming.read()

    def get_token(self) -> bytes:
        return b""


def _bearer(token: str) -> fl.FlightCallOptions:
    return fl.FlightCallOptions(headers=[(b"authorization", f"Bearer {token}".encode())])


def _names(client: fl.FlightClient, options: fl.FlightCallOptions) -> list[str]:
    """The ports that the caller sees: more for a steward than for the anonymous."""
    return [info.descriptor.path[-1].decode() for info in client.list_flights(options=options)]


def _count(connection: dbapi.Connection, sql: str = PATIENTS) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        ((rows,),) = cursor.fetchall()
        return int(rows)


def _told(uri: str, header: bytes | None) -> list[str]:
    """The authorization headers with which the server answers one call."""
    received = _Receive()
    headers = [] if header is None else [(b"authorization", header)]
    with fl.connect(uri, middleware=[received]) as client:
        list(client.list_actions(fl.FlightCallOptions(headers=headers)))
    return [value for call in received.kept for value in call]


def test_pyarrow_signs_in_with_a_password(server: ServedBy) -> None:
    """``authenticate_basic_token`` gets a bearer that works on this and on other connections."""
    with fl.connect(server.uri) as client:
        name, value = client.authenticate_basic_token(b"steward", server.password("steward").encode())
        assert (name, value[:7]) == (b"authorization", b"Bearer ")
        assert "patients" in _names(client, fl.FlightCallOptions(headers=[(name, value)]))
    with fl.connect(server.uri) as other:
        assert "patients" in _names(other, fl.FlightCallOptions(headers=[(name, value)]))


def test_adbc_signs_in_with_a_password(server: ServedBy) -> None:
    """The Go driver sends Basic without padding and goes on with the bearer of the response header."""
    # Passwords of several lengths: the unpadded base64 of a pair has three forms.
    for user, rows in (("steward", STEWARD_ROWS), ("site", 370), ("analyst", STEWARD_ROWS)):
        with server.adbc(username=user, password=server.password(user)) as connection:
            assert _count(connection) >= rows // 2, user
    with server.adbc(username="steward", password=server.password("steward")) as connection:
        assert _count(connection) == STEWARD_ROWS


@pytest.mark.parametrize("padded", [True, False])
def test_basic_in_the_header_of_any_call(server: ServedBy, padded: bool) -> None:
    """Clients without a Handshake send Basic with every call; padding is optional."""
    pair = base64.b64encode(f"steward:{server.password('steward')}".encode())
    header = b"Basic " + (pair if padded else pair.rstrip(b"="))
    with fl.connect(server.uri) as client:
        assert "patients" in _names(client, fl.FlightCallOptions(headers=[(b"authorization", header)]))


@pytest.mark.parametrize("message", [None, b"", b"anything"])
@pytest.mark.parametrize("scheme", ["none", "basic", "api token", "session token"])
def test_a_handshake_is_always_answered(server: ServedBy, scheme: str, message: bytes | None) -> None:
    """Some clients wait for a message, others for a header; some send nothing, some an empty message."""
    api_token = f"Bearer {server.tokens['steward']}"
    header = {
        "none": "",
        "basic": "Basic " + base64.b64encode(f"steward:{server.password('steward')}".encode()).decode().rstrip("="),
        "api token": api_token,
        "session token": _told(server.uri, api_token.encode())[0] if scheme == "session token" else "",
    }[scheme]
    received, handler = _Receive(), _Hello(message)
    headers = [(b"authorization", header.encode())] if header else []
    with fl.connect(server.uri, middleware=[received]) as client:
        client.authenticate(handler, fl.FlightCallOptions(headers=headers))
        assert handler.answer
        (bearer,) = received.bearers()
        with_it = fl.FlightCallOptions(headers=[(b"authorization", bearer.encode())])
        assert ("patients" in _names(client, with_it)) is (scheme != "none")


def test_an_api_token_signs_in_and_is_answered_with_a_session(server: ServedBy) -> None:
    """Every client that brings other credentials is given a session token of its own, once per call."""
    api = b"Bearer " + server.tokens["steward"].encode()
    first, second = _told(server.uri, api), _told(server.uri, api)
    assert len(first) == len(second) == 1
    assert first != second
    assert first[0].startswith("Bearer ")
    assert server.tokens["steward"] not in first[0]


def test_a_session_token_is_adopted_and_not_replaced(server: ServedBy) -> None:
    """Who comes with a session token keeps it: a new one at each call would be a new session at each call."""
    (session,) = _told(server.uri, b"Bearer " + server.tokens["steward"].encode())
    assert _told(server.uri, session.encode()) == []
    with fl.connect(server.uri) as client:
        options = fl.FlightCallOptions(headers=[(b"authorization", session.encode())])
        assert "patients" in _names(client, options)
    with dbapi.connect(
        server.uri, db_kwargs={"adbc.flight.sql.authorization_header": session}, autocommit=True
    ) as connection:
        assert _count(connection) == STEWARD_ROWS


def test_every_anonymous_client_gets_a_session_of_its_own(server: ServedBy) -> None:
    """On loopback nobody needs credentials; the session tokens differ, and open what the anonymous may see."""
    first, second = _told(server.uri, None), _told(server.uri, None)
    assert len(first) == len(second) == 1
    assert first != second
    with fl.connect(server.uri) as client:
        options = fl.FlightCallOptions(headers=[(b"authorization", first[0].encode())])
        assert "patients" not in _names(client, options)
        assert "arms" in _names(client, options)


# Sessions -----------------------------------------------------------------------------------------


def _set(client: fl.FlightClient, name: str, value: m.SessionValue, *headers: tuple[str, str]) -> None:
    request = encode(m.SetSessionOptionsRequest({name: m.SessionOptionValue.of(value)}))
    (result,) = client.do_action(fl.Action("SetSessionOptions", request), _headers(*headers))
    assert decode(m.SetSessionOptionsResult, result.body).errors == {}


def _shown(client: fl.FlightClient, *headers: tuple[str, str]) -> dict[str, object]:
    (result,) = client.do_action(fl.Action("GetSessionOptions", b""), _headers(*headers))
    options = decode(m.GetSessionOptionsResult, result.body).session_options
    return {name: option.value for name, option in options.items()}


def _headers(*headers: tuple[str, str]) -> fl.FlightCallOptions:
    return fl.FlightCallOptions(headers=[(name.encode(), value.encode()) for name, value in headers])


@pytest.mark.parametrize("scheme", ["api token", "none"])
@pytest.mark.parametrize("by", ["bearer", "cookie"])
def test_what_the_first_call_sets_is_there_in_the_second(server: ServedBy, scheme: str, by: str) -> None:
    """The session of the first call is the one that the client is handed, as a bearer and as a cookie."""
    own = [("authorization", f"Bearer {server.tokens['steward']}")] if scheme == "api token" else []
    received = _Receive()
    with fl.connect(server.uri, middleware=[received]) as client:
        _set(client, "catalog", "clinical", *own)
        (bearer,) = received.bearers()
        cookie = received.cookies[0].partition(";")[0]
        assert cookie == f"arrow_flight_session_id={bearer.removeprefix('Bearer ')}"
        next_call = [("authorization", bearer)] if by == "bearer" else [*own, ("cookie", f"a=b; {cookie}")]
        assert _shown(client, *next_call) == {"catalog": "clinical", "schema": ""}
        assert received.bearers() == {bearer}
        assert _shown(client, *own) == {"catalog": "", "schema": ""}, "a session of its own"


def test_a_cookie_never_authenticates(server: ServedBy) -> None:
    """A steward's cookie without credentials, or with another's, opens neither the rows nor the session."""
    received = _Receive()
    with fl.connect(server.uri, middleware=[received]) as client:
        _set(client, "catalog", "clinical", ("authorization", f"Bearer {server.tokens['steward']}"))
        cookie = ("cookie", received.cookies[0].partition(";")[0])
        assert _shown(client, cookie)["catalog"] == ""
        assert "patients" not in _names(client, _headers(cookie))
        other = ("authorization", f"Bearer {server.tokens['analyst']}")
        assert _shown(client, other, cookie)["catalog"] == ""


def test_a_closed_session_can_be_gone_on_with(server: ServedBy) -> None:
    """CloseSession is answered CLOSED each time; the token signs in still, to an empty session."""
    received = _Receive()
    with fl.connect(server.uri, middleware=[received]) as client:
        _set(client, "catalog", "clinical", ("authorization", f"Bearer {server.tokens['steward']}"))
        (bearer,) = received.bearers()
        session = ("authorization", bearer)
        for _ in range(2):
            (result,) = client.do_action(fl.Action("CloseSession", b""), _headers(session))
            assert decode(m.CloseSessionResult, result.body).status is m.CloseSessionStatus.CLOSED
        assert _shown(client, session) == {"catalog": "", "schema": ""}
        assert "patients" in _names(client, _headers(session))


def test_headers_are_options_of_one_call(server: ServedBy) -> None:
    """JDBC's URL properties: ours count for that call and are told when they are wrong; strange ones are left alone."""
    with fl.connect(server.uri) as client:
        ours = [("catalog", "clinical"), ("schema", "trials"), ("x-flightmesh-endpoints-max", "4"), ("colour", "red")]
        assert _shown(client, *ours) == {"catalog": "clinical", "schema": "trials", "endpoints_max": 4}
        with pytest.raises(pa.ArrowInvalid, match="endpoints_max must be 1 to 64"):
            _names(client, _headers(("x-flightmesh-endpoints-max", "many")))


def test_credentials_are_not_in_the_log(server: ServedBy) -> None:
    """Whatever the tests of this page have sent: no password, token, session or header stands there."""
    token = server.tokens["steward"]
    with fl.connect(server.uri) as client:
        for value in (f"Bearer {token}", f"Bearer {token}x", "Basic " + base64.b64encode(b"steward:hunter2").decode()):
            options = _headers(("authorization", value), ("cookie", "arrow_flight_session_id=fms_hunter2"))
            try:
                _names(client, options)
            except fl.FlightUnauthenticatedError:
                continue
    log = server.log.read_text()
    assert "refused" in log
    assert not re.search(
        r"hunter2|aHVudGVyMg|fms_|fm_[0-9a-f]{12}|-password|Basic (?!nor |credentials )|Bearer [A-Za-z]", log
    )


@pytest.mark.parametrize(
    "header",
    [
        b"Basic " + base64.b64encode(b"steward:wrong"),
        b"Basic " + base64.b64encode(b"stranger:whatever"),
        b"Basic " + base64.b64encode(b"no colon"),
        b"Basic ???",
        b"Basic",
        b"Bearer ",
        b"Bearer nonsense",
        b"Digest abc",
        b"",
        b"x" * 5_000,
    ],
    ids=lambda header: header[:20].decode(),
)
def test_wrong_credentials_are_refused_at_every_call(server: ServedBy, header: bytes) -> None:
    """Wrong credentials never fall back to anonymous: a typing error must not turn into half the rows."""
    options = fl.FlightCallOptions(headers=[(b"authorization", header)])
    path = fl.FlightDescriptor.for_path("clinical", "trials", "arms")
    with fl.connect(server.uri) as client:
        for call in (
            lambda: list(client.list_flights(options=options)),
            lambda: client.get_flight_info(path, options),
            lambda: client.get_schema(path, options),
            lambda: list(client.do_action("catalog.list", options)),
            lambda: client.do_get(fl.Ticket(b"x"), options).read_all(),
        ):
            # For GetSchema pyarrow's own client knows no class: it raises OSError for this code.
            with pytest.raises((fl.FlightUnauthenticatedError, OSError), match="unauthenticated: "):
                call()


def test_an_altered_or_cut_token_is_refused(server: ServedBy) -> None:
    """Neither kind of token can be guessed from another."""
    (session,) = _told(server.uri, b"Bearer " + server.tokens["steward"].encode())
    for token in (server.tokens["steward"], session.removeprefix("Bearer ")):
        for wrong in (token[:-1], token[:-2] + ("AA" if token[-2:] != "AA" else "BB"), token + "A", token.upper()):
            with fl.connect(server.uri) as client, pytest.raises(fl.FlightUnauthenticatedError):
                list(client.list_flights(options=_bearer(wrong)))


def test_a_wrong_password_fails_the_handshake(server: ServedBy) -> None:
    """Stock clients learn it when they connect, in one line without a trace of the server."""
    with fl.connect(server.uri) as client, pytest.raises(fl.FlightUnauthenticatedError) as told:
        client.authenticate_basic_token(b"steward", b"wrong")
    assert "The user or the password is wrong." in str(told.value)
    assert "Traceback" not in str(told.value)
    with pytest.raises(dbapi.Error, match=r"UNAUTHENTICATED.*password is wrong"):
        server.adbc(username="steward", password="wrong")


def test_without_credentials_a_closed_server_lets_nobody_in(start_small: Start) -> None:
    """``anonymous = false``: every call wants credentials, on loopback too; those who have them come in."""
    with start_small(toml=_NO_ANONYMOUS) as served:
        with fl.connect(served.uri) as client:
            with pytest.raises(fl.FlightUnauthenticatedError, match="wants credentials"):
                list(client.list_flights())
            with pytest.raises(OSError, match=r"unauthenticated: .* wants credentials"):
                client.get_schema(fl.FlightDescriptor.for_path("clinical", "trials", "arms"))
        with served.adbc("steward") as connection:
            assert _count(connection) == STEWARD_ROWS


def test_what_is_taken_from_a_user_ends_within_seconds(start_small: Start) -> None:
    """A revoked token and a removed user are out without a restart, and so are the sessions that rest on them."""
    with start_small() as served:
        (by_token,) = _told(served.uri, b"Bearer " + served.tokens["steward"].encode())
        (of_analyst,) = _told(served.uri, b"Bearer " + served.tokens["analyst"].encode())
        accounts.revoke_token(served.config, served.tokens["steward"])
        accounts.remove_user(served.config, "analyst")
        gone = [served.tokens["steward"], served.tokens["analyst"], by_token[7:], of_analyst[7:]]
        deadline = time.monotonic() + 5
        while (still := [token for token in gone if _is_let_in(served.uri, token)]) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert still == []
        assert _is_let_in(served.uri, served.tokens["site"])
        with fl.connect(served.uri) as client:
            assert client.authenticate_basic_token(b"steward", served.password("steward").encode())
            with pytest.raises(fl.FlightUnauthenticatedError):
                client.authenticate_basic_token(b"analyst", served.password("analyst").encode())


def _is_let_in(uri: str, token: str) -> bool:
    with fl.connect(uri) as client:
        try:
            list(client.list_actions(_bearer(token)))
        except fl.FlightUnauthenticatedError:
            return False
    return True


# TLS ----------------------------------------------------------------------------------------------


@pytest.fixture
def tls(tmp_path: Path, start_small: Start) -> Iterator[tuple[ServedBy, Path]]:
    """A server with a TLS listener, and the certificate that signs it."""
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command makes the certificate")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    toml = f'[server]\nanonymous = false\ntls_certificate = "{certificate}"\ntls_key = "{key}"\n'
    with start_small(toml=toml) as served:
        yield served, certificate


def test_tls(tls: tuple[ServedBy, Path]) -> None:
    """Both stock clients read over TLS, sign in there, and refuse a certificate that they do not trust."""
    served, certificate = tls
    assert served.uri.startswith("grpc+tls://")
    with fl.connect(served.uri, tls_root_certs=certificate.read_bytes()) as client:
        token = client.authenticate_basic_token(b"steward", served.password("steward").encode())
        assert "patients" in _names(client, fl.FlightCallOptions(headers=[token]))
    pem = certificate.read_text()
    trusting = {"adbc.flight.sql.client_option.tls_root_certs": pem}
    with served.adbc("steward", **trusting) as connection:
        assert _count(connection) == STEWARD_ROWS
    with served.adbc(username="steward", password=served.password("steward"), **trusting) as connection:
        assert _count(connection) == STEWARD_ROWS
    with fl.connect(served.uri) as client, pytest.raises(fl.FlightUnavailableError):
        list(client.list_actions())
    plain = served.uri.replace("grpc+tls", "grpc+tcp")
    with fl.connect(plain) as client, pytest.raises((fl.FlightUnavailableError, pa.ArrowException)):
        list(client.list_actions())

"""Callers with client certificates, on a listener of their own: who they are, and which session is theirs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import adbc_driver_flightsql.dbapi as dbapi
import pyarrow as pa
import pyarrow.flight as fl
import pytest

from flightmesh.config import Accounts, Limits, User
from flightmesh.flight.middleware import NAME, CertificateSessions, session_of
from flightmesh.flight.status import guarded
from flightmesh.flightsql.handles import Signer
from flightmesh.service.authn import Authn
from flightmesh.service.sessions import Sessions

if TYPE_CHECKING:
    from tests.conftest import ServedBy

pytestmark = pytest.mark.client

# A certificate's subject, its alternative names as openssl writes them, and who signs it.
CERTIFICATES: Mapping[str, tuple[str, str, str]] = {
    "server": ("/CN=localhost", "DNS:localhost,IP:127.0.0.1", "ours"),
    "subject": ("/CN=ada", "", "ours"),
    "dns": ("/CN=steward", "DNS:ada.example.org", "ours"),
    "several": ("/CN=steward", "URI:spiffe://example.org/ada,DNS:bob.example.org", "ours"),
    "email": ("/CN=steward", "email:ada@example.org", "ours"),
    "unknown": ("/CN=eve", "", "ours"),
    "nameless": ("/O=Example", "", "ours"),
    "foreign": ("/CN=ada", "DNS:ada.example.org", "others"),
}
USERS = {
    "ada": User("ada", certificates=("ada", "ada.example.org", "ada@example.org", "spiffe://example.org/ada")),
    "bob": User("bob", certificates=("bob.example.org",)),
    "steward": User("steward"),
}


class _Papers:
    """Certificates and keys in a folder, made by the openssl command."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for authority in ("ours", "others"):
            self._openssl(
                f"req -x509 {_NEW} -days 2 -subj /CN={authority} -keyout {authority}.key -out {authority}.pem"
            )
        for name, (subject, names, authority) in CERTIFICATES.items():
            self._openssl(f"req {_NEW} -subj {subject} -keyout {name}.key -out {name}.csr")
            extensions = f"subjectAltName={names}" if names else "basicConstraints=CA:FALSE"
            (folder / f"{name}.ext").write_text(extensions)
            signed_by = f"-CA {authority}.pem -CAkey {authority}.key -CAcreateserial -extfile {name}.ext"
            self._openssl(f"x509 -req -in {name}.csr {signed_by} -days 2 -out {name}.pem")

    def path(self, file: str) -> Path:
        return self._folder / file

    def pair(self, name: str) -> tuple[bytes, bytes]:
        """A certificate and its key."""
        return self.path(f"{name}.pem").read_bytes(), self.path(f"{name}.key").read_bytes()

    def connect(self, uri: str, name: str | None, **options: Any) -> fl.FlightClient:
        """A stock client that trusts our authority and presents the certificate, None for none."""
        if name is not None:
            options["cert_chain"], options["private_key"] = self.pair(name)
        return fl.connect(uri, tls_root_certs=self.pair("ours")[0], **options)

    def _openssl(self, arguments: str) -> None:
        subprocess.run(["openssl", *arguments.split()], check=True, capture_output=True, cwd=self._folder)


_NEW = "-newkey rsa:2048 -nodes"


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> _Papers:
    """The certificates of CERTIFICATES."""
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command makes the certificates")
    return _Papers(tmp_path_factory.mktemp("papers"))


class _Server(fl.FlightServerBase):  # type: ignore[misc] # pyarrow has no types
    """Tells every caller who the handler takes them for, by each kind of RPC."""

    @guarded
    def do_action(self, context: fl.ServerCallContext, action: fl.Action) -> Iterator[bytes]:
        session = session_of(context)
        return iter([session.principal.name.encode(), session.id.encode(), (session.schema or "").encode()])

    @guarded
    def get_flight_info(self, context: fl.ServerCallContext, descriptor: fl.FlightDescriptor) -> fl.FlightInfo:
        return fl.FlightInfo(pa.schema([(session_of(context).principal.name, "int8")]), descriptor, [], -1, -1)

    @guarded
    def do_get(self, context: fl.ServerCallContext, ticket: fl.Ticket) -> fl.FlightDataStream:
        return fl.RecordBatchStream(pa.table({"id": [session_of(context).id]}))


@pytest.fixture(scope="module")
def listener(papers: _Papers) -> Iterator[str]:
    """A listener for certificates, and its address."""
    authn = Authn(Accounts(USERS, {}), allows_anonymous=True, signer=Signer(b"k" * 32), limits=Limits())
    with _Server(
        "grpc+tls://127.0.0.1:0",
        tls_certificates=[papers.pair("server")],
        verify_client=True,
        root_certificates=papers.pair("ours")[0],
        middleware={NAME: CertificateSessions(authn, Sessions(Limits()))},
    ) as server:
        yield f"grpc+tls://127.0.0.1:{server.port}"


def _ask(client: fl.FlightClient, *headers: tuple[str, str]) -> tuple[str, str, str]:
    """User, session and schema that an action is answered for."""
    options = fl.FlightCallOptions(headers=[(name.encode(), value.encode()) for name, value in headers])
    user, session, schema = (result.body.to_pybytes().decode() for result in client.do_action("who", options))
    return user, session, schema


class _Told(fl.ClientMiddlewareFactory):  # type: ignore[misc] # pyarrow has no types
    """Keeps the headers that come back."""

    def __init__(self) -> None:
        self.headers: dict[str, list[str]] = {}

    def start_call(self, info: fl.CallInfo) -> fl.ClientMiddleware:
        told = self

        class Keeping(fl.ClientMiddleware):  # type: ignore[misc] # pyarrow has no types
            def received_headers(self, headers: Mapping[str, Sequence[str]]) -> None:
                told.headers |= {name: [str(value) for value in values] for name, values in headers.items()}

        return Keeping()


@pytest.mark.parametrize("name", ["subject", "dns", "several", "email"])
def test_the_name_in_the_certificate_is_the_user(papers: _Papers, listener: str, name: str) -> None:
    """The first alternative name counts, the subject only where there is none: certificates are issued either way."""
    with papers.connect(listener, name) as client:
        assert _ask(client)[0] == "ada"
        assert client.get_flight_info(fl.FlightDescriptor.for_path("x")).schema.names == ["ada"]


@pytest.mark.parametrize("name", ["unknown", "nameless"])
def test_a_certificate_of_nobody_is_refused(papers: _Papers, listener: str, name: str) -> None:
    """Signed by the right authority is not enough, and never the anonymous, even on an open server."""
    with papers.connect(listener, name) as client:
        for call in (
            lambda: _ask(client),
            lambda: client.get_flight_info(fl.FlightDescriptor.for_path("x")),
            lambda: client.do_get(fl.Ticket(b"x")).read_all(),
        ):
            with pytest.raises(fl.FlightUnauthenticatedError, match="No user here has this certificate"):
                call()


@pytest.mark.parametrize("name", ["foreign", None])
def test_without_a_right_certificate_there_is_no_connection(papers: _Papers, listener: str, name: str | None) -> None:
    """TLS refuses before any code of ours runs."""
    with papers.connect(listener, name) as client, pytest.raises(fl.FlightUnavailableError):
        _ask(client)


def test_headers_name_a_session_and_nothing_else(papers: _Papers, listener: str) -> None:
    """The session goes on by bearer or by cookie, for the same user only; options come in headers as elsewhere."""
    told = _Told()
    with papers.connect(listener, "dns", middleware=[told]) as client:
        _, session, _ = _ask(client)
        (bearer,), (cookie,) = told.headers["authorization"], told.headers["set-cookie"]
        assert cookie.endswith("; HttpOnly; Secure")
        pair = cookie.partition(";")[0]
        assert _ask(client, ("authorization", bearer)) == ("ada", session, "")
        assert _ask(client, ("cookie", f"x=y; {pair}"), ("schema", "trials")) == ("ada", session, "trials")
        options = fl.FlightCallOptions(headers=[(b"authorization", bearer.encode())])
        assert client.do_get(fl.Ticket(b"x"), options).read_all()["id"].to_pylist() == [session]
        assert _ask(client)[1] != session
        with pytest.raises(pa.ArrowInvalid, match="no session option 'colour'"):
            _ask(client, ("x-flightmesh-colour", "red"))
    with papers.connect(listener, "unknown") as client, pytest.raises(fl.FlightUnauthenticatedError):
        _ask(client, ("authorization", bearer))


def test_passwords_and_handshakes_are_for_the_other_listener(papers: _Papers, listener: str) -> None:
    """A Handshake handler would hide the certificate, so there is none; clients without a password do not miss it."""
    with papers.connect(listener, "dns") as client:
        with pytest.raises((fl.FlightUnauthenticatedError, pa.ArrowNotImplementedError)):
            client.authenticate_basic_token(b"ada", b"x")
        with pytest.raises(fl.FlightUnauthenticatedError, match="by their certificates"):
            _ask(client, ("authorization", "Bearer fm_ab12_secret"))


# The server itself -------------------------------------------------------------------------------------------------


def test_the_server_listens_for_certificates(papers: _Papers, start_small: Callable[..., Any]) -> None:
    """Both listeners serve the same products: the stock driver reads a steward's rows by certificate alone."""
    settings = {"tls_certificate": "server.pem", "tls_key": "server.key", "mtls_client_ca": "ours.pem"}
    lines = [f'{name} = "{papers.path(file)}"' for name, file in settings.items()]
    toml = "\n".join(["[server]", "anonymous = false", "mtls_port = 0", *lines, ""])
    toml += '[users.ada]\nroles = ["steward"]\ncertificates = ["ada.example.org"]\n'
    with start_small(toml=toml) as served:
        uri = served.ready["flight_mtls"]
        _reads(served, uri, papers)
        with papers.connect(uri, "unknown") as client:
            for call in (client.list_flights, client.list_actions):
                with pytest.raises(fl.FlightUnauthenticatedError, match="No user here has this certificate"):
                    list(call())


def _reads(served: ServedBy, uri: str, papers: _Papers) -> None:
    certificate, key = papers.pair("dns")
    given = {
        "adbc.flight.sql.client_option.tls_root_certs": papers.pair("ours")[0].decode(),
        "adbc.flight.sql.client_option.mtls_cert_chain": certificate.decode(),
        "adbc.flight.sql.client_option.mtls_private_key": key.decode(),
    }
    with dbapi.connect(uri, db_kwargs=given, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM clinical.trials.patients")
        assert cursor.fetchall() == [(2_139,)]
    with papers.connect(served.uri, "dns") as client, pytest.raises(fl.FlightUnauthenticatedError):
        list(client.list_flights())

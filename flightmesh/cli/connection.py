"""The options by which a command finds its server and says who is calling."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flightmesh.errors import ErrorCode, FlightmeshError

if TYPE_CHECKING:
    from flightmesh.client import Client

# Not from the client: importing it costs as much as all of --help may.
DEFAULT_URI = "grpc://127.0.0.1:8815"

Uri = Annotated[
    str,
    typer.Option(
        "--uri", metavar="URI", envvar="FLIGHTMESH_URI", help="The server: grpc://HOST:PORT, with TLS grpc+tls://."
    ),
]
Token = Annotated[
    str | None,
    typer.Option("--token", metavar="TOKEN", envvar="FLIGHTMESH_TOKEN", help="An API token.", show_default=False),
]
User = Annotated[
    str | None, typer.Option("--user", metavar="NAME", help="A user; the password is read from standard input.")
]
TlsRoots = Annotated[
    Path | None,
    typer.Option("--tls-roots", metavar="FILE", help="Certificates to trust (PEM), in place of the system's."),
]
Timeout = Annotated[
    float | None, typer.Option("--timeout", metavar="SECONDS", min=0.001, help="Give up after so long.")
]


def open_client(
    uri: str, token: str | None, *, user: str | None, tls_roots: Path | None, timeout_s: float | None
) -> Client:
    """A client as the options say. Errors: INVALID."""
    # gRPC writes its own log of failed connections to standard error; ours says it once.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from flightmesh.client import connect

    roots = None if tls_roots is None else _read(tls_roots)
    password = None if user is None else read_password(twice=False)
    return connect(uri, token or None, user=user, password=password, tls_root_certs=roots, timeout_s=timeout_s)


def read_password(*, twice: bool) -> str:
    """The password: asked for on a terminal, twice when it is a new one, else the line on standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.read().removesuffix("\n").removesuffix("\r")
    password = getpass.getpass("Password: ")
    if twice and getpass.getpass("Once more: ") != password:
        raise FlightmeshError(ErrorCode.INVALID, "The two passwords differ.", hint="Nothing was changed.")
    return password


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FlightmeshError(ErrorCode.INVALID, f"{path} cannot be read: {error.strerror}.") from error

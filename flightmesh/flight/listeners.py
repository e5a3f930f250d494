"""Where a server listens: one listener for all, and one for callers with certificates where there is to be one."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass

from flightmesh.config import Config
from flightmesh.errors import ErrorCode, FlightmeshError


@dataclass(frozen=True, slots=True)
class Listener:
    """Where the server listens: a gRPC location, the TLS certificate chain and key (PEM) of a TLS listener, and the
    authorities (PEM) of a listener that knows callers by their certificates.
    """

    location: str
    tls: tuple[bytes, bytes] | None = None
    client_ca: bytes | None = None


def listeners(config: Config) -> tuple[Listener, ...]:
    """The listener for all, then the one for certificates. Errors: those of reading the files."""
    tls = None
    if config.tls_certificate is not None and config.tls_key is not None:
        tls = (config.tls_certificate.read_bytes(), config.tls_key.read_bytes())
    base = f"{_scheme(config)}://{_host(config.host)}"
    first = Listener(f"{base}:{config.port}", tls)
    if config.mtls_port is None or config.mtls_client_ca is None:
        return (first,)
    return (first, Listener(f"{base}:{config.mtls_port}", tls, config.mtls_client_ca.read_bytes()))


def uris(config: Config, ports: Sequence[int]) -> tuple[str, ...]:
    """The addresses of listeners, as clients write them."""
    return tuple(f"{_scheme(config)}://{_host(config.host)}:{port}" for port in ports)


def check_address(config: Config) -> None:
    """UNAVAILABLE when nothing can listen there; found out before the products are loaded, which may take long."""
    ports = (config.port,) if config.mtls_port is None else (config.port, config.mtls_port)
    for port in ports:
        try:
            found = socket.getaddrinfo(config.host.strip("[]"), port, type=socket.SOCK_STREAM)
            family, kind, protocol, _, address = found[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError as error:
            raise FlightmeshError(
                ErrorCode.UNAVAILABLE,
                f"The server cannot listen on {_host(config.host)}:{port}: {error.strerror}.",
                hint="Choose another address with --host and --port.",
            ) from error


def _scheme(config: Config) -> str:
    return "grpc+tls" if config.has_tls else "grpc"


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host

"""Where a server is: the addresses that the client takes."""

from __future__ import annotations

from urllib.parse import urlsplit

from flightmesh.errors import ErrorCode, FlightmeshError

DEFAULT_URI = "grpc://127.0.0.1:8815"
DEFAULT_PORT = 8815
SCHEMES = ("grpc", "grpc+tcp", "grpc+tls")


def checked_uri(uri: str) -> str:
    """The address with its port. Errors: INVALID."""
    hint = f"Write {DEFAULT_URI}, or grpc+tls://host:port for a server with TLS."
    try:
        parts = urlsplit(uri)
        port = parts.port or DEFAULT_PORT
    except ValueError:
        raise FlightmeshError(ErrorCode.INVALID, f"{uri[:200]!r} is no address of a server.", hint=hint) from None
    if parts.username is not None:
        raise FlightmeshError(
            ErrorCode.INVALID, "The address holds credentials.", hint="Give a token, or user and password, beside it."
        )
    if parts.scheme not in SCHEMES or not parts.hostname or parts.path.strip("/") or parts.query:
        raise FlightmeshError(ErrorCode.INVALID, f"{uri[:200]!r} is no address of a server.", hint=hint)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}"

"""Listeners: where a server listens, and what each of them asks of its callers."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from flightmesh.config import Config
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flight.listeners import Listener, check_address, listeners, uris


def test_one_listener_without_tls() -> None:
    """The plain case on loopback; a host of IPv6 is written with brackets."""
    assert listeners(Config(port=0)) == (Listener("grpc://127.0.0.1:0"),)
    assert listeners(Config(host="::1", port=1))[0].location == "grpc://[::1]:1"
    assert uris(Config(host="::1"), [5]) == ("grpc://[::1]:5",)


def test_a_second_listener_for_certificates(tmp_path: Path) -> None:
    """It has the first one's certificate, a port of its own and the authorities of its callers."""
    for name in ("chain", "key", "ca"):
        (tmp_path / name).write_text(name)
    config = Config(
        port=1,
        tls_certificate=tmp_path / "chain",
        tls_key=tmp_path / "key",
        mtls_port=2,
        mtls_client_ca=tmp_path / "ca",
    )
    first, second = listeners(config)
    assert first == Listener("grpc+tls://127.0.0.1:1", (b"chain", b"key"))
    assert second == Listener("grpc+tls://127.0.0.1:2", (b"chain", b"key"), b"ca")
    assert uris(config, [1, 2]) == ("grpc+tls://127.0.0.1:1", "grpc+tls://127.0.0.1:2")


def test_an_address_that_is_taken_is_told_before_loading() -> None:
    """Either of the two ports: products may take minutes to load."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        check_address(Config(port=0))
        for config in (Config(port=port), Config(port=0, mtls_port=port)):
            with pytest.raises(FlightmeshError, match=f"cannot listen on 127.0.0.1:{port}") as failure:
                check_address(config)
            assert failure.value.code is ErrorCode.UNAVAILABLE

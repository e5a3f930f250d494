"""Cutting one peer's connection among the open sockets of this process."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import quote

import pytest

from flightmesh.flight.sockets import cut


@contextmanager
def _connected(host: str, family: socket.AddressFamily) -> Iterator[tuple[socket.socket, socket.socket, int]]:
    """Client's end, server's end, and the client's port."""
    with ExitStack() as held:
        listening = held.enter_context(socket.create_server((host, 0), family=family))
        client = held.enter_context(socket.create_connection(listening.getsockname()[:2], timeout=5))
        served, address = listening.accept()
        yield client, held.enter_context(served), address[1]


def test_the_peers_connection_is_shut_and_no_other() -> None:
    """The stalled client sees its end; its neighbour goes on reading."""
    with _connected("127.0.0.1", socket.AF_INET) as (client, _, port), _connected("127.0.0.1", socket.AF_INET) as other:
        assert cut(f"ipv4:127.0.0.1:{port}")
        assert client.recv(1) == b""
        other[1].send(b"x")
        assert other[0].recv(1) == b"x"


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_ipv6_peers() -> None:
    """gRPC writes IPv6 peers in brackets, and percent-encodes them."""
    with _connected("::1", socket.AF_INET6) as (client, _, port):
        assert cut(quote(f"ipv6:[::1]:{port}", safe=":"))
        assert client.recv(1) == b""


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_an_ipv4_client_of_a_dual_stack_listener() -> None:
    """gRPC listens on IPv6 for both: IPv4 clients come as mapped addresses, and are found under either name."""
    for spelling in ("ipv4:127.0.0.1:{}", "ipv6:[::ffff:127.0.0.1]:{}"):
        with socket.socket(socket.AF_INET6) as listening:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listening.bind(("::", 0))
            listening.listen()
            with socket.create_connection(("127.0.0.1", listening.getsockname()[1]), timeout=5) as client:
                served, address = listening.accept()
                with served:
                    assert cut(spelling.format(address[1]))
                    assert client.recv(1) == b""


@pytest.mark.parametrize(
    "peer",
    ["", "ipv4", "ipv4:127.0.0.1", "ipv4:127.0.0.1:x", "unix:/tmp/x", "ipv4:127.0.0.1:1", "ipv6:[::1]:1", "a:b:c"],
)
def test_a_peer_that_is_nobody_cuts_nothing(peer: str) -> None:
    """Whatever the text, no wrong connection is cut and nothing is raised."""
    with _connected("127.0.0.1", socket.AF_INET) as (client, served, _):
        assert not cut(peer)
        served.send(b"x")
        assert client.recv(1) == b"x"


def test_looking_leaves_no_descriptor_open() -> None:
    """It runs for the life of a server: one descriptor lost per cut would exhaust it."""
    with _connected("127.0.0.1", socket.AF_INET) as (_, _, port):
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            cut("ipv4:127.0.0.1:1")
        assert cut(f"ipv4:127.0.0.1:{port}")
        assert len(os.listdir("/proc/self/fd")) == before

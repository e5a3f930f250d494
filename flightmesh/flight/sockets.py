"""Cutting the connection of one peer: the only way to free a thread whose client reads nothing (pyarrow offers no
other).
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path
from urllib.parse import unquote

_DESCRIPTORS = Path("/proc/self/fd")


def cut(peer: str) -> bool:
    """Shuts down the socket that is connected to the peer (``ipv4:host:port`` or ``ipv6:[host]:port``); whether one
    was found.

    Where the system has no ``/proc`` nothing is cut: the stream then ends with its connection.
    """
    wanted = _address(peer)
    if wanted is None or not _DESCRIPTORS.is_dir():
        return False
    for entry in os.listdir(_DESCRIPTORS):
        # A descriptor may be closed, or be no socket, by the time we look.
        with contextlib.suppress(OSError):
            number = int(entry)
            if stat.S_ISSOCK(os.fstat(number).st_mode) and _is_connected_to(number, wanted):
                return True
    return False


def _is_connected_to(number: int, wanted: tuple[str, int]) -> bool:
    with socket.socket(fileno=os.dup(number)) as connection:
        if connection.family not in (socket.AF_INET, socket.AF_INET6):
            return False
        host, port, *_ = connection.getpeername()
        if (host.removeprefix("::ffff:"), port) != wanted:
            return False
        connection.shutdown(socket.SHUT_RDWR)
        return True


def _address(peer: str) -> tuple[str, int] | None:
    family, _, rest = unquote(peer).partition(":")
    host, _, port = rest.rpartition(":")
    if family not in ("ipv4", "ipv6") or not port.isdigit():
        return None
    return host.strip("[]").removeprefix("::ffff:"), int(port)

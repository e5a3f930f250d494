"""The running server as its operator's other commands find it: a small file in the state directory, and a signal.

The file says where the server listens and how often it has loaded its products; the store's lock says whether it
still runs.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from flightmesh.catalog.durable import write_whole
from flightmesh.errors import ErrorCode, FlightmeshError

_FILE = "server.json"
_LOCK = "LOCK"
_RENEW = "renew"
_POLL_S = 0.05


class ServerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a running server says of itself. ``loads`` counts how often it has loaded its products, ``stale``
    are those that are served from an older snapshot, with the reason."""

    pid: int
    uri: str
    loads: int
    generation: str
    products: tuple[str, ...]
    unavailable: dict[str, str]
    stale: dict[str, str] = {}
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Control:
    """The control file of one state directory."""

    state: Path

    def write(self, record: ServerRecord) -> None:
        """Replaces the file, whole."""
        write_whole(self.state / _FILE, msgspec.json.encode(record))

    def clear(self) -> None:
        """Removes what a server before this one said: its process may be another program's by now."""
        (self.state / _FILE).unlink(missing_ok=True)

    def read(self) -> ServerRecord:
        """What the server last wrote; UNAVAILABLE when no server runs on this state directory."""
        try:
            data = (self.state / _FILE).read_bytes()
        except OSError:
            data = b""
        if not data or not _is_locked(self.state / _LOCK):
            raise FlightmeshError(
                ErrorCode.UNAVAILABLE,
                f"No server runs on the state directory {self.state}.",
                hint="Start one with `flightmesh serve`, or name its directory with --state.",
            )
        return msgspec.json.decode(data, type=ServerRecord)

    def takes_renewal(self) -> bool:
        """Whether somebody has asked that sources be read again, whatever their time; the question is then answered."""
        try:
            (self.state / _RENEW).unlink()
        except OSError:
            return False
        return True

    def asks_renewal(self) -> None:
        """Asks that the next load reads every source again."""
        (self.state / _RENEW).touch()

    def reload(self, timeout_s: float, *, renews: bool = False) -> ServerRecord:
        """Makes the running server load its products again; what it says afterwards. ``renews``: reading every source
        again that is read for snapshots, also where it is not due.

        Errors: UNAVAILABLE when none runs, INVALID when it could not load, DEADLINE when it takes longer than the
        timeout.
        """
        before = self.read()
        if renews:
            self.asks_renewal()
        os.kill(before.pid, signal.SIGHUP)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            now = self.read()
            if now.loads > before.loads:
                if now.error is not None:
                    raise FlightmeshError(ErrorCode.INVALID, now.error, hint="What was served before is still served.")
                return now
            time.sleep(_POLL_S)
        raise FlightmeshError(
            ErrorCode.DEADLINE,
            f"The server has not reloaded within {timeout_s:g} s.",
            hint="It goes on trying: see its log.",
        )


def _is_locked(path: Path) -> bool:
    """Whether a living process holds the lock."""
    try:
        with path.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False

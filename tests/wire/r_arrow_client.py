"""R's own ``arrow`` package: ``flight_connect``, ``flight_get``, ``flight_put``, and its data frames.

Debian's stable release does not have the package, so R and it come from a newer one, in a folder of their own
(tests/wire/r/install_arrow.sh). What it can do is what ``r_client`` can.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

from tests.wire import r_client
from tests.wire.bridge import Bridge, place
from tests.wire.client import Login

_ROOT = place("r") / "arrow"
COMMAND = (_ROOT / "run",)

NAME = "R (arrow)"
VERSION = r_client.version_of("arrow", [_ROOT / "usr/lib/R/site-library"])
CAN = r_client.CAN


def missing() -> str | None:
    """Why the client cannot be run here; None if it can."""
    if not os.access(_ROOT / "run", os.X_OK):
        return f"needs R's arrow (bash tests/wire/r/install_arrow.sh {_ROOT})"
    return r_client.embeddable()


def connect(login: Login, folder: Path) -> r_client.RClient:
    """A connection that has signed in where the login has a password."""
    return r_client.RClient(NAME, _bridge, login)


@functools.cache
def _bridge() -> Bridge:
    return r_client.started([*COMMAND, "-f", r_client.SOURCE, "--args", "arrow"], "r-arrow")

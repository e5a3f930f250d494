"""R by way of reticulate and ``pyarrow.flight``: the path of R arrow's ``flight_connect``, with Debian's R.

A bridge in R (tests/wire/r) makes the calls that R's users make; pyarrow is the one of this Python. Plain Flight has
lists, paths, tickets and streams: what only Flight SQL's own commands do is left out, and so is ``ingest``, whose modes
``flight_put`` does not have (``put`` does what it does).
"""

from __future__ import annotations

import atexit
import base64
import functools
import shutil
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa

from tests.wire.bridge import Bridge, cache
from tests.wire.client import Login, Result

NAME = "R (reticulate)"
CAN = frozenset({"query", "stream", "schema"})
SOURCE = Path(__file__).parent / "r" / "bridge.R"
COMMAND = ("Rscript", "--vanilla")
# Not the packages of the machine's Python, and no download of another one.
ENVIRONMENT = {"RETICULATE_PYTHON": sys.executable, "RETICULATE_AUTOCONFIGURE": "FALSE", "LC_ALL": "C.UTF-8"}

_LIBRARIES = ("/usr/lib/R/site-library", "/usr/local/lib/R/site-library", "/usr/lib/R/library")


def version_of(package: str, libraries: Sequence[str | Path] = _LIBRARIES) -> str:
    """The version of an installed R package; empty where it is not."""
    for library in libraries:
        description = Path(library) / package / "DESCRIPTION"
        if description.exists():
            fields = dict(line.partition(":")[::2] for line in description.read_text().splitlines())
            return str(fields["Version"]).strip()
    return ""


VERSION = version_of("reticulate")


def missing() -> str | None:
    """Why the client cannot be run here; None if it can."""
    if shutil.which("Rscript") is None or not VERSION or not version_of("jsonlite"):
        return "needs R with reticulate (apt-get install r-base-core r-cran-reticulate r-cran-jsonlite)"
    return embeddable()


def embeddable() -> str | None:
    """Why R cannot load this Python into its own process; None if it can."""
    name = sysconfig.get_config_var("INSTSONAME")
    folder, triplet = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("MULTIARCH") or ""
    if any(Path(place, name).exists() for place in (folder, Path(folder, triplet))):
        return None
    return f"needs a Python with a shared library ({name})"


def connect(login: Login, folder: Path) -> RClient:
    """A connection that has signed in where the login has a password."""
    return RClient(NAME, _bridge, login)


@functools.cache
def _bridge() -> Bridge:
    return started([*COMMAND, SOURCE], "r")


def started(command: Sequence[str | Path], log: str) -> Bridge:
    """An R process with this Python in it, until the end of the test run."""
    with cache("r") as folder:
        bridge = Bridge(command, folder / f"{log}.log", ENVIRONMENT)
    atexit.register(bridge.stop)
    return bridge


class RClient:
    """See ``client.Client``."""

    can = CAN

    def __init__(self, name: str, bridge: Callable[[], Bridge], login: Login) -> None:
        self.name = name
        self._bridge = bridge
        place = urlsplit(login.uri)
        headers = dict(login.options)
        if login.token is not None:
            headers["authorization"] = f"Bearer {login.token}"
        self._connection = bridge().ask(
            "open",
            host=place.hostname,
            port=place.port,
            scheme={"grpc": "grpc+tcp"}.get(place.scheme, place.scheme),
            headers=headers,
            user=login.user,
            password=login.password,
        )

    def ask(self, op: str, **members: Any) -> Any:  # Any: what JSON carries
        """The answer of an operation of bridge.R."""
        return self._bridge().ask(op, connection=self._connection, **members)

    def close(self) -> None:
        self.ask("close")

    def query(self, sql: str, parameters: Sequence[Any] = (), named: Mapping[str, Any] | None = None) -> Result:
        assert not parameters
        assert not named
        return _result(self.ask("query", sql=sql))

    def types(self, sql: str) -> tuple[str, ...]:
        """R's classes of a statement's columns."""
        return tuple(self.ask("query", sql=sql)["types"])

    def count(self, sql: str) -> int:
        return int(self.ask("count", sql=sql))

    def columns_of(self, sql: str) -> tuple[str, ...]:
        return tuple(self.ask("columns", sql=sql))

    # The functions of R's users ---------------------------------------------------------------------------------------

    def list_flights(self) -> tuple[str, ...]:
        """The first part of each flight's path, which is all that R shows."""
        return tuple(self.ask("list"))

    def flight_path_exists(self, path: str) -> bool:
        return bool(self.ask("exists", path=path))

    def flight_get(self, path: str) -> Result:
        return _result(self.ask("get", path=path))

    def flight_put(self, path: str, data: pa.Table, *, overwrite: bool = True) -> None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, data.schema) as writer:
            writer.write_table(data)
        stream = base64.b64encode(sink.getvalue().to_pybytes()).decode()
        self.ask("put", path=path, data=stream, overwrite=overwrite)


def _result(table: Mapping[str, Any]) -> Result:
    return Result(tuple(table["columns"]), tuple(zip(*table["values"], strict=True)))

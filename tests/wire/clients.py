"""The clients that the wire suite runs through, by the name that their tests and their column carry.

Superset is none of them: a tool that rewrites, parts and caps what it is given says little of the server. What it
does is in ``test_superset.py``.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.wire.client import FEATURES


@dataclass(frozen=True, slots=True)
class Entry:
    """A client: its title in tables, and the module (or a factory in one) that makes its connections.

    ``is_in_process``: it needs nothing but the tests' own environment, so it runs in the plain suite.
    """

    title: str
    module: str
    factory: str | None = None
    is_in_process: bool = False

    @property
    def made(self) -> Any:  # Any: a module or a factory with connect(login, folder) and missing()
        """What connects. Imported when it is used: other languages' clients bring much along."""
        module = importlib.import_module(f"tests.wire.{self.module}")
        return module if self.factory is None else getattr(module, self.factory)

    @property
    def can(self) -> frozenset[str]:
        """What its API has calls for; without a word of its own, whatever its connections say when they are open."""
        can: frozenset[str] = getattr(self.made, "CAN", frozenset(FEATURES))
        return can

    @property
    def version(self) -> str:
        """Major and minor, as tables show it; empty when the client does not say."""
        return ".".join(str(getattr(self.made, "VERSION", "")).split(".")[:2])


CLIENTS: Mapping[str, Entry] = {
    "pyarrow": Entry("pyarrow.flight", "pyarrow_client", is_in_process=True),
    "adbc": Entry("ADBC, Python", "adbc_client", is_in_process=True),
    "adbc-low-level": Entry("ADBC, low level", "adbc_lowlevel_client", is_in_process=True),
    "polars": Entry("Polars", "frames_client", "POLARS", is_in_process=True),
    "pandas": Entry("pandas", "frames_client", "PANDAS", is_in_process=True),
    "duckdb": Entry("DuckDB", "frames_client", "DUCKDB", is_in_process=True),
    "flightmesh": Entry("flightmesh", "flightmesh_client", is_in_process=True),
    "jdbc": Entry("JDBC", "java_client", "JDBC"),
    "java": Entry("Java FlightSqlClient", "java_client", "JAVA_FLIGHT_SQL"),
    "go": Entry("ADBC, Go", "go_client"),
    "r": Entry("R, reticulate", "r_client"),
    "r-arrow": Entry("R, arrow", "r_arrow_client"),
    "sqlalchemy": Entry("SQLAlchemy", "sqlalchemy_client"),
    "ibis": Entry("Ibis", "ibis_client"),
}


# Names, separated by spaces, of clients that cannot be had today: they run nowhere, and their column is compared with
# nothing. ``.ci/run`` sets it when a distribution that it does not govern does not install.
LEFT_OUT_VARIABLE = "WIRE_LEFT_OUT"


def left_out() -> frozenset[str]:
    """The clients that this run does without; AssertionError for a name that none has."""
    names = frozenset(os.environ.get(LEFT_OUT_VARIABLE, "").split())
    assert names <= CLIENTS.keys(), f"{LEFT_OUT_VARIABLE} names no clients: {sorted(names - CLIENTS.keys())}"
    return names


def running() -> Mapping[str, Entry]:
    """The clients of this run."""
    absent = left_out()
    return {name: entry for name, entry in CLIENTS.items() if name not in absent}

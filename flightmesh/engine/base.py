"""What an engine is handed and what it gives back: all that an engine's author imports.

An engine runs only what it is handed. It knows no catalogue, no policy, no principal and no SQL parser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from flightmesh.errors import FlightmeshError
from flightmesh.sources.base import Fetch
from flightmesh.sources.registry import SourceRef


@dataclass(frozen=True, slots=True)
class Attachment:
    """A database file that an instance attaches read-only under a name nobody can guess."""

    path: Path
    alias: str


@dataclass(frozen=True, slots=True)
class PolarsModel:
    """A function in a file of the product, ``models/daily.py:build``; ``file`` is relative to ``folder``, the
    product's.
    """

    name: str
    folder: Path
    file: str
    function: str


@dataclass(frozen=True, slots=True)
class LiveScan:
    """A table of a source, read when a statement reads it. ``schema`` is what was published of it."""

    schema: pa.Schema
    source: SourceRef
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PolarsScan:
    """A Polars model, run when a statement reads it; ``inputs`` are the SQL names of the relations it is handed."""

    schema: pa.Schema
    model: PolarsModel
    inputs: tuple[str, ...]


Scan = LiveScan | PolarsScan
# Runs a query over the relations of a statement's own instance, for a scan that the statement reads.
Nested = Callable[[str], Fetch]


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """One locked engine instance: files to attach, scans by the names that the DDL gives them, then DDL for the public
    names, then the lock.

    ``key`` is its identity.
    """

    key: str
    attachments: tuple[Attachment, ...]
    ddl: tuple[str, ...]
    scans: Mapping[str, Scan] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RemoteQuery:
    """A whole statement in the dialect of the one database that it reads. Columns stand for those of ``schema`` by
    their places; ``tables`` are the tables that it reads, with their columns as published.
    """

    source: SourceRef
    sql: str
    schema: pa.Schema
    tables: Mapping[tuple[str, ...], pa.Schema]


@dataclass(frozen=True, slots=True)
class Temporary:
    """A temporary table of a session: its name as created, its columns with the engine's types, and its rows.

    ``version`` differs whenever rows or columns differ. ``open`` gives the rows, mapped from disk: cheap, and as often
    as it is called.
    """

    name: str
    version: str
    columns: tuple[tuple[str, str], ...]
    schema: pa.Schema
    rows: int
    open: Callable[[], pa.Table] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the router hands to an engine. Only ``planner/route.py`` makes one.

    ``parameters`` are Python values in the order of ``$1``, ``$2``, ...; ``search_path`` are quoted
    ``catalog.schema`` entries; ``scans`` the names of the instance's scans that the statement may read;
    ``temporaries`` the session's own tables that it reads, each known to the statement by its name. ``is_catalogue``:
    the statement asks what there is, and is run where there are names and no rows.
    """

    engine: str
    instance: InstanceSpec
    sql: str
    parameters: tuple[object, ...]
    search_path: tuple[str, ...]
    batch_rows: int
    scans: tuple[str, ...] = ()
    remote: RemoteQuery | None = None
    temporaries: tuple[Temporary, ...] = ()
    is_catalogue: bool = False


@dataclass(frozen=True, slots=True)
class Execution:
    """A statement ready to run: how to start it, how to stop it, and how to give back what it holds.

    ``start`` gives its stream, or FlightmeshError; it may compute for long before it does. ``cancel`` stops, from any
    thread, what has been started, at that moment or before. ``close`` is idempotent. ``explain`` turns what the reader
    raises into words fit for a client.
    """

    start: Callable[[], pa.RecordBatchReader]
    cancel: Callable[[], None]
    close: Callable[[], None]
    explain: Callable[[Exception], FlightmeshError]


class Engine(Protocol):
    """Runs plans."""

    def execute(self, plan: Plan) -> Execution:
        """The statement with all it needs held for it; FlightmeshError when that cannot be had."""
        ...


class Engines:
    """The engines by name: each plan goes to the one it was made for."""

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        self._engines = dict(engines)

    def execute(self, plan: Plan) -> Execution:
        """As the plan's engine."""
        return self._engines[plan.engine].execute(plan)

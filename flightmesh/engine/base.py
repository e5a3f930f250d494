"""What an engine is handed and what it gives back: all that an engine's author imports.

An engine runs only what it is handed. It knows no catalogue, no policy, no principal and no SQL parser.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from flightmesh.errors import FlightmeshError


@dataclass(frozen=True, slots=True)
class Attachment:
    """A database file that an instance attaches read-only under a name nobody can guess."""

    path: Path
    alias: str


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """One locked engine instance: files to attach, then DDL for the public names, then the lock.

    ``key`` is its identity.
    """

    key: str
    attachments: tuple[Attachment, ...]
    ddl: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the router hands to an engine. Only ``planner/route.py`` makes one.

    ``parameters`` are Python values in the order of ``$1``, ``$2``, ...; ``search_path`` are quoted
    ``catalog.schema`` entries.
    """

    engine: str
    instance: InstanceSpec
    sql: str
    parameters: tuple[object, ...]
    search_path: tuple[str, ...]
    batch_rows: int


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

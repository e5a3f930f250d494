"""What a source is to those who read it: tables with a schema, a stream, and, where it is read live, a narrowed fetch.

An author of a new kind of source imports this module, ``predicate`` and ``failures``, and nothing else of the room.
Errors name a source by its name in the product and files relative to the product's folder, never by a path of the
machine, an address or a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import pyarrow as pa

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.sources.predicate import Predicate

# Rows of one batch handed to the engine: large enough that the cost of a batch does not count, small enough to stay
# in cache.
BATCH_ROWS = 65_536

# The path under which models name a table: ("weather",) or ("reference", "airlines").
Path = tuple[str, ...]
NO_TABLES: Mapping[Path, pa.Schema] = {}


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What of a table is wanted: these columns in this order (None: all), the rows of a predicate, so many rows.

    A fetch may bring more rows than the predicate keeps, never fewer: the caller filters again. ``limit`` is set only
    where the predicate alone says which rows are wanted; a source that cannot apply the whole predicate ignores it.
    """

    columns: tuple[str, ...] | None = None
    predicate: Predicate | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Fetch:
    """A read under way. ``reader`` has the schema that was asked for and raises FlightmeshError, within the source's
    timeout, when the source fails or falls silent.

    ``cancel`` stops it from any thread; ``close`` gives back what it holds and is idempotent.
    """

    reader: pa.RecordBatchReader
    cancel: Callable[[], None]
    close: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a source is asked, for people: its own language or words, without secrets; what is left to the engine, with
    the reason; and what was pruned (``10 of 12 files``), None when nothing could be.
    """

    text: str
    left: tuple[str, ...] = ()
    pruned: str | None = None


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """Columns of a table that point to columns of another table of the same source."""

    columns: tuple[str, ...]
    table: str
    referenced: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Description:
    """What a source knows of a table beside its columns' types; empty where it knows nothing."""

    primary_key: tuple[str, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    required: frozenset[str] = frozenset()
    comment: str | None = None
    column_comments: Mapping[str, str] = field(default_factory=dict)


class SourceTable(Protocol):
    """One table of a source. ``schema()`` equals ``read().schema``. All raise INVALID, UNAVAILABLE or DEADLINE."""

    def schema(self) -> pa.Schema:
        """The columns, without reading more than is needed to know them."""
        ...

    def read(self) -> pa.RecordBatchReader:
        """All rows, in the source's own order."""
        ...

    def fingerprint(self) -> str | None:
        """A hash of the content: equal content, equal fingerprint. None where only reading all of it would tell."""
        ...


@runtime_checkable
class LiveTable(SourceTable, Protocol):
    """A table that can be read in parts at query time."""

    def pushed(self, narrowing: Narrowing) -> Pushed:
        """What ``fetch`` would ask of the source. Does not touch the source."""
        ...

    def fetch(self, narrowing: Narrowing, schema: pa.Schema) -> Fetch:
        """The rows, with the columns and types of ``schema`` (the table's, as it was published, and narrowed).

        A source whose columns have changed since raises UNAVAILABLE naming the column and what happened to it.
        """
        ...


@runtime_checkable
class Described(Protocol):
    """A table whose source knows keys and comments."""

    def description(self) -> Description:
        """What the source knows."""
        ...


class Database(Protocol):
    """A source that answers whole queries in a SQL dialect of its own."""

    @property
    def dialect(self) -> str:
        """The dialect: ``postgres``, ``sqlite``, ``duckdb``."""
        ...

    def relation(self, path: Path) -> tuple[str, ...]:
        """The table of that path as the source names it: ``("public", "legs")``."""
        ...

    def plain_columns(self, path: Path) -> frozenset[str]:
        """The columns of a table that the database compares, orders (text by bytes where that is asked for) and reads
        as DuckDB does; a query that uses another one may have another answer.
        """
        ...

    def query(self, sql: str, schema: pa.Schema, tables: Mapping[Path, pa.Schema] = NO_TABLES) -> Fetch:
        """The rows of a query that the planner wrote, with exactly this schema. ``tables`` are those that it reads,
        with their columns as published. Errors as ``LiveTable.fetch``; the reader raises StatementRefused
        (``refusal``), before its first row, where the database takes the query for wrong or fails over a value.
        """
        ...


@dataclass(frozen=True, slots=True)
class SourceHandle:
    """An opened source: its tables by the path under which models name them, ``("weather",)`` or ``("reference",
    "airlines")``.

    ``tables`` may be lazy: looking one up does not reach out to the source, going through all of them may.
    ``database`` is None where a source takes no queries.
    """

    name: str
    tables: Mapping[Path, SourceTable]
    database: Database | None = None
    close: Callable[[], None] = lambda: None


def invalid(source: str, message: str, hint: str | None = None) -> FlightmeshError:
    """The source's content or description is wrong. ``hint`` may quote data and is for the author alone."""
    return FlightmeshError(ErrorCode.INVALID, f"Source {source}: {message}", hint=hint)


def unavailable(source: str, message: str, hint: str | None = None) -> FlightmeshError:
    """The source cannot be reached, or not read as it was published."""
    return FlightmeshError(ErrorCode.UNAVAILABLE, f"Source {source}: {message}", hint=hint)

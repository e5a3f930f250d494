"""What the wire suite asks of a client, whatever language and driver stand behind it.

Each client is driven through its own API, the way its users do. What an API has no call for, the client leaves out of
``can``; the conformance table then says so. Values are told in a form that JSON can carry, so that one assertion holds
for all: None, bool, int, float (``nan`` and ``inf`` as these texts), str; decimals and huge integers as decimal text;
dates, times and timestamps as ISO 8601 with ``T`` (UTC as ``Z``, no trailing zeros of a fraction); binary as
``hex:...``; uuid as text; lists as lists; structs and maps as objects. A driver that shows something else reports what
it shows: the table of types is made of that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

# Any: a value in the form told above.
Row = tuple[Any, ...]

FEATURES: Mapping[str, str] = {
    "query": "Runs a SELECT and reads its rows.",
    "stream": "Reads a large result without holding it whole.",
    "prepare": "Prepares a statement and binds typed values.",
    "named": "Binds values by name.",
    "batch": "Binds several rows of values to one statement.",
    "update": "Runs a statement for its count of rows.",
    "schema": "Learns the columns of a result without running the statement.",
    "parameter_schema": "Learns the types of a statement's parameters.",
    "catalogs": "Lists catalogues.",
    "schemas": "Lists schemas.",
    "tables": "Lists tables, by patterns and types.",
    "columns": "Lists the columns of tables, with type names, nullability and remarks.",
    "table_types": "Lists the types of tables.",
    "primary_keys": "Lists the columns of a primary key.",
    "foreign_keys": "Lists imported, exported and cross-referenced keys.",
    "type_info": "Lists the types of the server.",
    "info": "Reads what the server says of itself.",
    "ingest": "Brings its own rows as a temporary table.",
    "transactions": "Begins, commits and rolls back.",
    "session": "Sets and reads the session's catalogue and schema.",
    "cancel": "Cancels one running query.",
    "partitions": "Reads the parts of a result one by one.",
}


@dataclass(frozen=True, slots=True)
class Result:
    """Columns and rows as the client shows them."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


class Refused(Exception):  # noqa: N818 - said of the call, as everywhere in this project
    """The client's own error for a call that the server refused; the text is what its user is shown."""


@dataclass(frozen=True, slots=True)
class Login:
    """Where to connect and as whom: a user with password, an API token, or nobody. ``options`` are headers of every
    call (``catalog``, ``schema``, ``x-flightmesh-...``) where the client can send such.
    """

    uri: str
    user: str | None = None
    password: str | None = None
    token: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)


class Client(Protocol):
    """One open connection. Methods that belong to a feature which is not in ``can`` are never called. Every method
    raises ``Refused`` when the server refuses.
    """

    name: str
    can: frozenset[str]

    def close(self) -> None: ...

    def query(self, sql: str, parameters: Sequence[Any] = (), named: Mapping[str, Any] | None = None) -> Result:
        """The rows of a statement; parameters are plain Python values (int, float, str, bool, bytes, None, Decimal,
        date, time, datetime).
        """
        ...

    def update(self, sql: str, rows: Sequence[Sequence[Any]] = ()) -> int:
        """The count of rows that a statement wrote; several rows of parameters go as one batch."""
        ...

    def count(self, sql: str) -> int:
        """The number of rows of a large result, read as a stream."""
        ...

    def columns_of(self, sql: str) -> tuple[str, ...]:
        """The names of a statement's columns, without running it."""
        ...

    def parameter_types(self, sql: str) -> tuple[str, ...]:
        """The types of a statement's parameters, in Arrow's words or the driver's own."""
        ...

    def catalogs(self) -> tuple[str, ...]: ...

    def schemas(self, catalog: str | None = None, pattern: str | None = None) -> tuple[tuple[str, str], ...]: ...

    def tables(
        self,
        catalog: str | None = None,
        schema: str | None = None,
        table: str | None = None,
        types: Sequence[str] = (),
    ) -> tuple[tuple[str, str, str, str], ...]:
        """Catalogue, schema, name and type of the tables that fit the patterns."""
        ...

    def columns(self, catalog: str, schema: str, table: str) -> tuple[Mapping[str, Any], ...]:
        """Per column ``name``, and as far as the client's API tells: ``type_name``, ``size``, ``nullable``,
        ``remarks``.
        """
        ...

    def table_types(self) -> tuple[str, ...]: ...

    def primary_keys(self, catalog: str, schema: str, table: str) -> tuple[str, ...]: ...

    def foreign_keys(self, catalog: str, schema: str, table: str) -> int:
        """How many rows the client's calls for imported, exported and cross-referenced keys return together."""
        ...

    def type_info(self) -> tuple[str, ...]:
        """The names of the server's types."""
        ...

    def info(self) -> Mapping[str, Any]:
        """What the server says of itself: ``name`` and ``version`` at least."""
        ...

    def ingest(self, table: str, data: pa.Table, mode: str, *, temporary: bool = True) -> int:
        """Rows written; ``mode`` is create, append, replace or create_append."""
        ...

    def begin(self) -> None: ...

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def set_session(self, catalog: str | None = None, schema: str | None = None) -> None: ...

    def session(self) -> tuple[str | None, str | None]:
        """The session's catalogue and schema."""
        ...

    def cancel_running(self, sql: str) -> float:
        """Starts the statement, cancels it from another thread after it has begun, and returns the seconds from the
        cancel to the client's error.
        """
        ...

    def partitions(self, sql: str) -> Result:
        """The rows of all parts, in order."""
        ...

"""PostgreSQL, read-only, through ADBC: tables and views of one schema, their keys and comments, and whole queries.

Every statement is one round trip, and refuses to run on a table that has changed: a changed name or type of a column
that is sent as it is shows in the result's own types; for a column that the source casts, the statement itself asks the
catalogue, once, and fails. A whole query asks it for all columns that it names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path as FilePath
from urllib.parse import quote as url_quote

import adbc_driver_manager
import adbc_driver_postgresql
import pyarrow as pa

from flightmesh.errors import FlightmeshError
from flightmesh.names import did_you_mean, literal, quote
from flightmesh.product.model import Source
from flightmesh.sources import postgres_catalog as catalog
from flightmesh.sources.access import Access, Bounds, fill, refuse_reserved
from flightmesh.sources.base import (
    NO_TABLES,
    Description,
    Fetch,
    Narrowing,
    Path,
    Pushed,
    SourceHandle,
    invalid,
    unavailable,
)
from flightmesh.sources.conversion import Conversion, Convert, conforming, storage_of, stored
from flightmesh.sources.drivers import Driver, DriverFailure
from flightmesh.sources.postgres_columns import Column, arrived, column_of, finite
from flightmesh.sources.predicate import columns_of
from flightmesh.sources.refusal import refusal
from flightmesh.sources.remote import Remote
from flightmesh.sources.render import render
from flightmesh.sources.secrets import Secrets
from flightmesh.sources.tables import Tables

# Rows enough that a batch's own cost does not count, few enough to stay in cache.
_BATCH_BYTES = 2 << 20
# What the text of a value looks like must not depend on the server's settings; nothing may be written.
_SETTINGS = {
    "client_encoding": "UTF8",
    "default_transaction_read_only": "on",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
}
# Set where the address does not: a dead peer is noticed although it never says so (libpq documentation, 34.1.2), so
# that a thread which waits for it, and nobody for the thread, comes to an end.
_PARAMETERS = {
    "application_name": "flightmesh",
    "connect_timeout": "30",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
# What libpq says of options that it does not know, and of values that they do not take.
_NO_OPTION = re.compile(
    r'invalid (?:(?:URI query parameter:|connection option) "(?P<name>[^"]*)"|(?P<valued>\w+) value: )'
)
_TELL = "Tell the owner of the product."
# Bytes of a database without an encoding, and characters that UTF-8 has no place for.
_NOT_UTF8 = ("22021", "22P05")


class PostgresTable:
    """A table or view. What the catalogue says of its columns is read when it is first needed, and kept."""

    def __init__(self, remote: Remote, schema: str, name: str) -> None:
        self.remote = remote
        self._schema = schema
        self._name = name
        self._relation = f"{quote(schema)}.{quote(name)}"
        self._known: tuple[Column, ...] | None = None

    def schema(self) -> pa.Schema:
        return _arrow(self._read_columns(for_author=True))

    def read(self) -> pa.RecordBatchReader:
        columns = self._read_columns(for_author=True)
        return self._fetch(Narrowing(), _arrow(columns), columns, for_author=True).reader

    def fingerprint(self) -> None:
        return None

    def pushed(self, narrowing: Narrowing) -> Pushed:
        """Reaches out only when nothing has been asked of the table yet."""
        sql, left = self._statement(narrowing, self._columns())
        return Pushed(sql, left)

    def fetch(self, narrowing: Narrowing, schema: pa.Schema) -> Fetch:
        columns = self._columns()
        self._compare(schema, columns)
        return self._fetch(narrowing, schema, columns, for_author=False)

    def description(self) -> Description:
        columns = self._read_columns(for_author=True)
        keys = self.remote.rows(catalog.keys_query(self._schema, self._name), for_author=True)
        comments = self.remote.rows(catalog.comment_query(self._schema, self._name), for_author=True)
        return catalog.description(self._schema, columns, keys, comments)

    def plain_columns(self) -> frozenset[str]:
        """The columns over which SQL means the same at the source as over what is published."""
        return frozenset(column.name for column in self._columns() if column.is_plain)

    def diagnosis(self, used: Iterable[Column]) -> FlightmeshError | None:
        """What happened to the table since the columns were as given; None when nothing did."""
        before = self._known
        found = self.drift(used)
        if found is None and before != self._known:
            return unavailable(self.remote.source, f"table {self._name} was changed just now.", "Try again.")
        return found

    def drift(self, used: Iterable[Column]) -> FlightmeshError | None:
        """What happened to the columns that their values do not survive; None when nothing did. What the catalogue
        says now is what is known from then on.
        """
        now = {column.name: column for column in self._read_columns(for_author=False)}
        for old in used:
            new = now.get(old.name)
            if new is None:
                message = f"table {self._name} has no column {old.name} any more."
                return unavailable(self.remote.source, message, _TELL)
            if (new.type, new.expression) != (old.type, old.expression):
                message = f"column {old.name} of table {self._name} is now {new.declared}, it was {old.declared}."
                return unavailable(self.remote.source, message, _TELL)
        self._known = tuple(now.values())
        return None

    def published(self, schema: pa.Schema) -> tuple[Column, ...]:
        """The columns of the schema, as the catalogue is known to have them; UNAVAILABLE where they are others."""
        columns = self._columns()
        self._compare(schema, columns)
        return _selected(Narrowing(tuple(schema.names)), columns)

    def unchanged(self, columns: Iterable[Column]) -> str:
        """A condition over ``pg_attribute`` that keeps one row for each of the columns that is what it was."""
        return _attributes(self._relation, columns)

    def _columns(self) -> tuple[Column, ...]:
        return self._known or self._read_columns(for_author=False)

    def _read_columns(self, *, for_author: bool) -> tuple[Column, ...]:
        rows = self.remote.rows(catalog.columns_query(self._schema, self._name), for_author=for_author)
        found = tuple(map(column_of, rows))
        if not found:
            raise self._missing(for_author=for_author)
        if self._known is None or for_author:
            self._known = found
        return found

    def _missing(self, *, for_author: bool) -> FlightmeshError:
        if not for_author:
            return unavailable(self.remote.source, f"there is no table {self._name} any more.", _TELL)
        names = catalog.table_names(self.remote, self._schema)
        hint = did_you_mean(self._name, names) or "Its user has to be allowed to see it; names are case-sensitive."
        return invalid(self.remote.source, f"there is no table {self._name} in schema {self._schema}.", hint)

    def _compare(self, schema: pa.Schema, columns: tuple[Column, ...]) -> None:
        """UNAVAILABLE where what is published is not what the catalogue says."""
        by_name = {column.name: column for column in columns}
        for item in schema:
            column = by_name.get(item.name)
            if column is None:
                message = f"table {self._name} has no column {item.name} any more."
                raise unavailable(self.remote.source, message, _TELL)
            if column.type != item.type:
                message = f"column {item.name} of table {self._name} is now {column.declared}, it was {item.type}."
                raise unavailable(self.remote.source, message, _TELL)

    def _statement(self, narrowing: Narrowing, columns: tuple[Column, ...]) -> tuple[str, tuple[str, ...]]:
        """The one statement that a fetch sends, and what it leaves to the engine."""
        selected = _selected(narrowing, columns)
        rendered = render(narrowing.predicate, {column.name: column.operand for column in columns})
        conditions = [text for text in (rendered.sql, _guard(self._relation, selected)) if text]
        sql = f"SELECT {', '.join(map(_output, selected))} FROM {self._relation}"
        if conditions:
            sql += f" WHERE {' AND '.join(conditions)}"
        if narrowing.limit is not None and rendered.is_exact:
            sql += f" LIMIT {narrowing.limit}"
        return sql, rendered.left

    def _fetch(
        self, narrowing: Narrowing, schema: pa.Schema, columns: tuple[Column, ...], *, for_author: bool
    ) -> Fetch:
        selected = _selected(narrowing, columns)
        wanted = {*(column.name for column in selected), *columns_of(narrowing.predicate)}
        used = [column for column in columns if column.name in wanted]

        def diagnosis(failure: DriverFailure) -> FlightmeshError | None:
            return self.diagnosis(used) or self._refusal(failure)

        sql, _ = self._statement(narrowing, columns)
        return self.remote.fetch(sql, schema, _conversion(selected, schema), diagnosis=diagnosis, for_author=for_author)

    def _refusal(self, failure: DriverFailure) -> FlightmeshError | None:
        """What the source says of values and rights, in our words."""
        if failure.sqlstate == "42501":
            return unavailable(self.remote.source, f"its user is not allowed to read table {self._name}.")
        if failure.sqlstate in _NOT_UTF8:
            return unavailable(self.remote.source, f"table {self._name} holds text that is not UTF-8.")
        if failure.sqlstate is None or failure.sqlstate.startswith(("22", "0A")):
            hint = "NaN in a numeric, an infinite date, an array of arrays, a view that fails. Tell the owner."
            return unavailable(self.remote.source, f"the source failed over a value of table {self._name}.", hint)
        return None


class PostgresDatabase:
    """Whole queries in PostgreSQL's SQL."""

    dialect = "postgres"

    def __init__(self, remote: Remote, schema: str, tables: Tables[PostgresTable]) -> None:
        self._remote = remote
        self._schema = schema
        self._tables = tables

    def relation(self, path: Path) -> tuple[str, ...]:
        return (self._schema, path[-1])

    def plain_columns(self, path: Path) -> frozenset[str]:
        """Without the columns that are published as something else than they are."""
        return self._tables[path].plain_columns()

    def query(self, sql: str, schema: pa.Schema, tables: Mapping[Path, pa.Schema] = NO_TABLES) -> Fetch:
        read = [(self._tables[path], _named(sql, published)) for path, published in tables.items()]
        used = [(table, table.published(wanted)) for table, wanted in read]

        def diagnosis(failure: DriverFailure) -> FlightmeshError | None:
            found = (table.drift(columns) for table, columns in used)
            drift = next((error for error in found if error is not None), None)
            return drift or refusal(self._remote.source, failure)

        def conversion(wire: pa.Schema) -> Convert:
            convert = conforming(schema)(wire)
            return lambda batch: finite(convert(batch))

        return self._remote.fetch(_guarded(sql, used), schema, conversion, diagnosis=diagnosis)


def open_postgres(_folder: FilePath, name: str, spec: Source, secrets: Secrets) -> SourceHandle:
    """The tables that the manifest names, else all of the schema. Nothing is reached before something is asked."""
    access = fill(name, spec, secrets)
    if access.uri is None:
        raise invalid(name, "a source of type postgres needs a uri.", "postgresql://user@host:5432/database")
    refuse_reserved(name, access, ())
    uri = _address(access)
    settings = ", ".join(f"set_config({literal(key)}, {literal(value)}, false)" for key, value in _SETTINGS.items())
    driver = Driver(
        connect=lambda: _connect(name, uri, access),
        setup=(f"SELECT {settings}",),
        options={"adbc.postgresql.batch_size_hint_bytes": str(_BATCH_BYTES)},
        is_lost=_is_lost,
    )
    remote = Remote(name, driver, Bounds.of(spec), access)
    schema = spec.schema_ or "public"
    tables = Tables(
        name,
        spec.tables,
        lambda: _listed(remote, schema),
        lambda table: PostgresTable(remote, schema, table),
    )
    return SourceHandle(name, tables, PostgresDatabase(remote, schema, tables), remote.close)


def _address(access: Access) -> str:
    """The address with the options and what it does not say itself, in either of libpq's two forms."""
    uri = access.uri or ""
    parameters = {**{key: value for key, value in _PARAMETERS.items() if key not in uri}, **access.options}
    if uri.startswith(("postgresql://", "postgres://")):
        pairs = "&".join(f"{key}={url_quote(value, safe='')}" for key, value in parameters.items())
        return f"{uri}{'&' if '?' in uri else '?'}{pairs}"
    quoted = {key: value.replace("\\", "\\\\").replace("'", "\\'") for key, value in parameters.items()}
    return " ".join([uri, *(f"{key}='{value}'" for key, value in quoted.items())])


def _connect(source: str, uri: str, access: Access) -> adbc_driver_manager.AdbcDatabase:
    """INVALID naming the option that libpq does not take: it says so before it reaches for anything."""
    try:
        database: adbc_driver_manager.AdbcDatabase = adbc_driver_postgresql.connect(uri)
        return database
    except adbc_driver_manager.Error as error:
        refused = _NO_OPTION.search(str(error))
        option = refused and (refused["name"] or refused["valued"])
        # One that is not among the options is a part of the address, which may be secret.
        if refused is None or option not in access.options:
            raise
    what = "has no value that" if refused["valued"] else "is no option that"
    hint = "The options are those of libpq: sslmode, connect_timeout and others."
    raise invalid(source, f"options.{option} {what} a PostgreSQL connection takes.", hint)


def _listed(remote: Remote, schema: str) -> list[str]:
    """INVALID without tables: what reads them would be told to be wrong instead."""
    names = catalog.table_names(remote, schema)
    if not names:
        hint = "Write it in schema: as it is spelled there; the source's user has to be allowed to see it."
        message = f"the schema {schema} does not exist or has no tables that can be read."
        raise invalid(remote.source, message, hint)
    return names


def _is_lost(connection: adbc_driver_manager.AdbcConnection, _failure: Exception) -> bool:
    # What libpq knows itself (PQtransactionStatus): nothing is sent.
    return bool(connection.get_option("adbc.postgresql.transaction_status") == "unknown")


def _arrow(columns: Iterable[Column]) -> pa.Schema:
    return pa.schema([pa.field(column.name, column.type) for column in columns])


def _selected(narrowing: Narrowing, columns: tuple[Column, ...]) -> tuple[Column, ...]:
    if narrowing.columns is None:
        return columns
    by_name = {column.name: column for column in columns}
    return tuple(by_name[name] for name in narrowing.columns)


def _output(column: Column) -> str:
    return f"{column.expression} AS {quote(column.name)}" if column.is_cast else column.expression


def _guard(relation: str, selected: Iterable[Column]) -> str | None:
    """A condition that holds, or fails by dividing by zero where a column that is cast is not what it was.

    It does not depend on the row, so the source evaluates it once.
    """
    cast = [column for column in selected if column.is_cast]
    if not cast:
        return None
    return f"{_check(len(cast), _attributes(relation, cast))} = 1"


def _guarded(sql: str, used: list[tuple[PostgresTable, tuple[Column, ...]]]) -> str:
    """The query, which fails as in ``_guard`` where a column is not what it was, and is what it was otherwise.

    The check is the place of the first row, so it comes once, before anything is read; a condition would be moved into
    the query, where it may come too late or never. Nothing is added above the query's own order and limit but a node
    that passes rows on.
    """
    kept = " OR ".join(table.unchanged(columns) for table, columns in used if columns)
    if not kept:
        return sql
    return f"SELECT * FROM ({sql}) AS pushed OFFSET {_check(sum(len(columns) for _, columns in used), kept)} - 1"


def _check(count: int, condition: str) -> str:
    """1 when so many attributes meet the condition, else a division by zero."""
    return f"(SELECT 1 / (count(*) = {count})::int FROM pg_catalog.pg_attribute WHERE {condition})"


def _attributes(relation: str, columns: Iterable[Column]) -> str:
    """Of a column that arrives as it is the modifier does not count: a text may become longer."""
    listed: dict[str, list[str]] = {}
    for column in columns:
        key = "(attname, atttypid, atttypmod)" if column.is_cast else "(attname, atttypid)"
        modifier = f", {column.modifier}" if column.is_cast else ""
        listed.setdefault(key, []).append(f"({literal(column.name)}, {column.type_id}{modifier})")
    kept = " OR ".join(f"{key} IN ({', '.join(values)})" for key, values in listed.items())
    return f"attrelid = {literal(relation)}::regclass AND " + (f"({kept})" if len(listed) > 1 else kept)


def _named(sql: str, published: pa.Schema) -> pa.Schema:
    """The columns that the query names: those that it does not read may change as they like."""
    return pa.schema([item for item in published if quote(item.name) in sql])


def _conversion(selected: tuple[Column, ...], schema: pa.Schema) -> Conversion:
    def conversion(wire: pa.Schema) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
        for column, kind in zip(selected, wire.types, strict=True):
            if storage_of(kind) != column.wire:
                raise DriverFailure(f"{column.name} arrives as {kind}", is_lost=False)
        return convert if selected else lambda batch: batch.select([])

    def convert(batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = [arrived(column, stored(array)) for column, array in zip(selected, batch.columns, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    return conversion

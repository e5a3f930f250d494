"""Databases behind any ADBC driver, read-only: what their tables have in common whatever SQL they speak.

Of a database whose dialect is not known only columns are narrowed, and rows by comparisons of integers and by IS NULL,
which mean the same everywhere. With ``dialect`` among the options it takes more, and whole queries.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path as FilePath

import adbc_driver_manager
import pyarrow as pa

from flightmesh.errors import FlightmeshError
from flightmesh.names import fold, quote
from flightmesh.product.adbc import is_sqlite
from flightmesh.product.model import Source
from flightmesh.sources import literals
from flightmesh.sources.access import Access, Bounds, fill, refuse_reserved
from flightmesh.sources.base import NO_TABLES, Fetch, Narrowing, Path, Pushed, SourceHandle, invalid, unavailable
from flightmesh.sources.conversion import conforming, storage_of
from flightmesh.sources.drivers import Driver, DriverFailure
from flightmesh.sources.predicate import columns_of
from flightmesh.sources.refusal import refusal
from flightmesh.sources.remote import Remote, no_diagnosis
from flightmesh.sources.render import Literal, Operand, no_literal, render
from flightmesh.sources.secrets import Secrets
from flightmesh.sources.tables import Tables

_TELL = "Tell the owner of the product."
# A name, never a path: what is loaded is native code.
_DRIVER = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
# How the driver manager begins when it finds no library, or one that does not load.
_NOT_LOADED = "[Driver Manager] Could not load"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How much of its SQL is known: the name of its dialect, the literals it reads, whether it orders text by bytes,
    whether LIMIT follows a query. ``is_typed``: a column has the same type in each result. ``plain``: the kinds of
    columns that mean the same there as here.
    """

    name: str | None = None
    literals: Mapping[str, Literal] | None = None
    is_text_bytewise: bool = False
    has_limit: bool = False
    is_typed: bool = False
    plain: frozenset[str] = frozenset()

    def operand(self, item: pa.Field) -> Operand:
        """How the database compares the column."""
        name = quote(item.name)
        kind = _kind(item.type)
        literal = (self.literals or _ANSI).get(kind, no_literal)
        if literal is no_literal:
            return Operand(name)
        is_ordered = kind != "text" or self.is_text_bytewise
        # Text may be equal by some collation: more rows come, which the engine filters again.
        return Operand(name, literal, equal=name, ordered=name if is_ordered else None, is_exact=is_ordered)

    def is_plain(self, kind: pa.DataType) -> bool:
        """Whether SQL over a column of the type means the same there as here."""
        is_local = pa.types.is_timestamp(kind) and kind.tz is None
        return ("local timestamp" if is_local else _kind(kind)) in self.plain


_ANSI: Mapping[str, Literal] = {"integer": literals.integer}
_COMMON: Mapping[str, Literal] = {
    **_ANSI,
    "boolean": literals.boolean,
    "decimal": literals.decimal_number,
    "text": literals.text,
    "date": literals.date,
    "time": literals.time,
    "timestamp": literals.timestamp,
}
# Instants are shown and cut in the time zone of a session, which is not ours.
_PLAIN = frozenset({"integer", "boolean", "float", "date", "time", "local timestamp"})
DUCKDB = Dialect(
    "duckdb",
    {**_COMMON, "float": literals.duckdb_float},
    is_text_bytewise=True,
    has_limit=True,
    is_typed=True,
    plain=_PLAIN | {"decimal", "text", "binary"},
)
# SQLite's values have types of their own, whatever the column says: nothing is compared there.
DIALECTS: Mapping[str | None, Dialect] = {
    None: Dialect(),
    "duckdb": DUCKDB,
    # What arrives as text may be anything there.
    "postgres": Dialect(
        "postgres", {**_COMMON, "float": literals.postgres_float}, has_limit=True, is_typed=True, plain=_PLAIN
    ),
    "sqlite": Dialect("sqlite", {"none": no_literal}, has_limit=True),
}


class AdbcTable:
    """A table or view, as the driver shows it."""

    def __init__(self, remote: Remote, dialect: Dialect, relation: Callable[[str], tuple[str, ...]], name: str) -> None:
        self.remote = remote
        self._dialect = dialect
        self._name = name
        self._relation = ".".join(map(quote, relation(name)))
        self._known: pa.Schema | None = None

    def schema(self) -> pa.Schema:
        self._known = self._read_schema(for_author=True)
        return self._known

    def read(self) -> pa.RecordBatchReader:
        schema = self.schema()
        return self._fetch(Narrowing(), schema, for_author=True).reader

    def fingerprint(self) -> None:
        return None

    def pushed(self, narrowing: Narrowing) -> Pushed:
        """Reaches out only when nothing has been asked of the table yet."""
        sql, left = self._statement(narrowing, self._columns())
        return Pushed(sql, left)

    def fetch(self, narrowing: Narrowing, schema: pa.Schema) -> Fetch:
        return self._fetch(narrowing, schema, for_author=False)

    def diagnosis(self, wanted: pa.Schema) -> FlightmeshError | None:
        """What happened to the columns since they were published so; None when nothing did."""
        now = self._read_schema(for_author=False)
        for item in wanted:
            if item.name not in now.names:
                return unavailable(self.remote.source, f"table {self._name} has no column {item.name} any more.", _TELL)
            kind = now.field(item.name).type
            if kind != item.type:
                message = f"column {item.name} of table {self._name} is now {kind}, it was {item.type}."
                return unavailable(self.remote.source, message, _TELL)
        return None

    def plain_columns(self) -> frozenset[str]:
        """The columns over which SQL means the same at the source as here."""
        return frozenset(item.name for item in self._columns() if self._dialect.is_plain(item.type))

    def _columns(self) -> pa.Schema:
        if self._known is None:
            self._known = self._read_schema(for_author=False)
        return self._known

    def _read_schema(self, *, for_author: bool) -> pa.Schema:
        diagnosis = no_diagnosis if for_author else self._missing
        found = self.remote.schema(f"SELECT * FROM {self._relation}", diagnosis=diagnosis, for_author=for_author)
        return pa.schema([pa.field(item.name, storage_of(item.type)) for item in found])

    def _missing(self, failure: DriverFailure) -> FlightmeshError | None:
        if not failure.is_missing:
            return None
        return unavailable(self.remote.source, f"there is no table {self._name} any more.", _TELL)

    def _statement(self, narrowing: Narrowing, columns: pa.Schema) -> tuple[str, tuple[str, ...]]:
        names = columns.names if narrowing.columns is None else narrowing.columns
        rendered = render(narrowing.predicate, {item.name: self._dialect.operand(item) for item in columns})
        sql = f"SELECT {', '.join(map(quote, names)) or '1'} FROM {self._relation}"
        if rendered.sql:
            sql += f" WHERE {rendered.sql}"
        if narrowing.limit is not None and rendered.is_exact and self._dialect.has_limit:
            sql += f" LIMIT {narrowing.limit}"
        return sql, rendered.left

    def _fetch(self, narrowing: Narrowing, schema: pa.Schema, *, for_author: bool) -> Fetch:
        columns = self._columns()
        filtered = [columns.field(name) for name in columns_of(narrowing.predicate) if name in columns.names]
        used = pa.schema([*schema, *(item for item in filtered if item.name not in schema.names)])
        sql, _ = self._statement(narrowing, columns)
        return self.remote.fetch(
            sql,
            schema,
            _rows_only if not schema.names else conforming(schema, is_typed=self._dialect.is_typed),
            diagnosis=lambda _failure: self.diagnosis(used),
            for_author=for_author,
        )


class AdbcDatabase:
    """Whole queries in the database's own SQL."""

    def __init__(
        self, remote: Remote, dialect: str, relation: Callable[[str], tuple[str, ...]], tables: Tables[AdbcTable]
    ) -> None:
        self.dialect = dialect
        self._remote = remote
        self._relation = relation
        self._tables = tables

    def relation(self, path: Path) -> tuple[str, ...]:
        return self._relation(path[-1])

    def plain_columns(self, path: Path) -> frozenset[str]:
        return self._tables[path].plain_columns()

    def query(self, sql: str, schema: pa.Schema, tables: Mapping[Path, pa.Schema] = NO_TABLES) -> Fetch:
        def diagnosis(failure: DriverFailure) -> FlightmeshError | None:
            found = (self._tables[path].diagnosis(_named(sql, published)) for path, published in tables.items())
            drift = next((error for error in found if error is not None), None)
            return drift or refusal(self._remote.source, failure)

        # A peer's statement casts its result; of others the types of a computed column are not known.
        conversion = conforming(schema, is_typed=self.dialect == DUCKDB.name)
        return self._remote.fetch(sql, schema, conversion, diagnosis=diagnosis)


def open_adbc(_folder: FilePath, name: str, spec: Source, secrets: Secrets) -> SourceHandle:
    """The tables that the manifest names, else all that the driver lists."""
    access = fill(name, spec, secrets)
    refuse_reserved(name, access, access.options)
    options = dict(access.options)
    spoken = options.pop("dialect", None)
    if spoken not in DIALECTS:
        known = ", ".join(filter(None, DIALECTS))
        raise invalid(name, f"the dialect {spoken} is not known.", f"Known: {known}. Without it less is pushed down.")
    library = find_driver(name, spec.driver)
    if access.uri is not None:
        options["uri"] = access.uri
    driver = Driver(connect=partial(_connect, name, library, options), name=f"the driver {spec.driver}")
    return opened(name, spec, access, driver, DIALECTS[spoken])


def opened(name: str, spec: Source, access: Access, driver: Driver, dialect: Dialect) -> SourceHandle:
    """The source over a driver: its tables, and its database where the dialect is known."""
    remote = Remote(name, driver, Bounds.of(spec), access)
    prefix = tuple(spec.schema_.split(".")) if spec.schema_ else ()
    relation = partial(_relation, prefix)
    listed = partial(_listed, remote, prefix)
    tables = Tables(name, spec.tables, listed, partial(AdbcTable, remote, dialect, relation))
    database = AdbcDatabase(remote, dialect.name, relation, tables) if dialect.name else None
    return SourceHandle(name, tables, database, remote.close)


def find_driver(source: str, name: str | None) -> str:
    """The library of the driver's package, without importing it; else the name, for the driver manager to look up."""
    if name is None:
        raise invalid(source, "a source of type adbc needs a driver.", "For example: driver: adbc_driver_snowflake")
    if not _DRIVER.fullmatch(name):
        raise invalid(source, f"{name!r} is not the name of a driver.", "Give its package's name, not a path.")
    if is_sqlite(name):
        raise invalid(source, f"the driver {name} opens any file of the machine.", "Use type: sqlite.")
    package = importlib.util.find_spec(name)
    for folder in (package.submodule_search_locations or ()) if package else ():
        library = FilePath(folder) / f"lib{name}.so"
        if library.is_file():
            return str(library)
    return name


def _connect(source: str, library: str, options: Mapping[str, str]) -> adbc_driver_manager.AdbcDatabase:
    """INVALID when there is no such driver: the driver manager's own words are paths of this machine."""
    try:
        return adbc_driver_manager.AdbcDatabase(driver=library, **options)
    except adbc_driver_manager.Error as error:
        if _NOT_LOADED not in str(error):
            raise
    name = FilePath(library).stem.removeprefix("lib")
    package = f"adbc-driver-{name.removeprefix('adbc_driver_')}".replace("_", "-")
    raise invalid(source, f"the driver {name} cannot be loaded.", f"Install its package: pip install {package}")


def _relation(prefix: tuple[str, ...], table: str) -> tuple[str, ...]:
    """Beneath a schema a table's name is taken as it is; without one it may say catalog and schema itself."""
    return (*prefix, table) if prefix else tuple(table.split("."))


def _listed(remote: Remote, prefix: tuple[str, ...]) -> list[str]:
    """The names of all tables; without a schema in the manifest those of every schema, with catalog and schema."""
    catalog, schema = (None, *prefix)[-2:] if prefix else (None, None)
    rows = remote.tables(catalog, schema)
    if prefix:
        return sorted(str(row["table"]) for row in rows)
    return sorted(".".join(str(part) for part in row.values() if part) for row in rows)


def _named(sql: str, published: pa.Schema) -> pa.Schema:
    """The columns whose names occur in the query: those that it does not read may change as they like."""
    text = fold(sql)
    return pa.schema([item for item in published if fold(item.name) in text])


def _rows_only(_wire: pa.Schema) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
    return lambda batch: batch.select([])


def _kind(kind: pa.DataType) -> str:
    """The row of the table of literals for values of the type."""
    for name, applies in _KINDS.items():
        if applies(kind):
            return name
    return "other"


_KINDS: Mapping[str, Callable[[pa.DataType], bool]] = {
    "integer": pa.types.is_integer,
    "boolean": pa.types.is_boolean,
    "float": pa.types.is_floating,
    "decimal": pa.types.is_decimal,
    "text": pa.types.is_string,
    "date": pa.types.is_date32,
    "time": pa.types.is_time,
    "timestamp": pa.types.is_timestamp,
    "binary": pa.types.is_binary,
}

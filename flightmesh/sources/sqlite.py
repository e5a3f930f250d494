"""SQLite files through ADBC, read-only.

SQLite types values, not columns, and the ADBC driver guesses a column's type from the first rows. So the storage
classes that a column really holds are counted first (one scan), its Arrow type follows from them, and a typed row
that is dropped again leads every result, so that the driver's guess is ours. Every value arrives as it is stored:

======================================  =============================================================================
storage classes found                   Arrow type
======================================  =============================================================================
none (all NULL)                         by the declared type's affinity: int64, double, binary, else string
integer                                 int64
real, or integer and real               double; INVALID when an integer beyond 2^53 would lose digits
text, or text and numbers               string; numbers in it in full precision
blob                                    binary; INVALID beside other classes
======================================  =============================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote as url_quote

import adbc_driver_manager
import adbc_driver_sqlite
import pyarrow as pa

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import did_you_mean, fold, literal, quote
from flightmesh.product.model import Source
from flightmesh.sources import literals
from flightmesh.sources.base import (
    BATCH_ROWS,
    Description,
    Fetch,
    ForeignKey,
    Narrowing,
    Pushed,
    SourceHandle,
    SourceTable,
    invalid,
    unavailable,
)
from flightmesh.sources.dataset import Batches, under_way
from flightmesh.sources.files import File, Stamp, confined, find_file, fingerprint, stamp
from flightmesh.sources.render import Operand, render
from flightmesh.sources.secrets import Secrets

_INTEGER, _REAL, _TEXT, _BLOB, _WIDE = 1, 2, 4, 8, 16
_EXACT_MAX = 2**53
_TELL = "Tell the owner of the product."
# The value whose storage class makes the driver choose the type.
_INFO = 'SELECT name, upper(type) AS type, "notnull" <> 0 AS is_required, pk FROM pragma_table_info({}) ORDER BY pk'
# Without columns of its own a reference means the other table's primary key.
_REFERENCES = """SELECT id, "table" AS target, "from" AS here, "to" AS there FROM pragma_foreign_key_list({})
 ORDER BY id DESC, seq"""
_LEADING = {pa.int64(): "0", pa.float64(): "0.0", pa.string(): "''", pa.binary(): "x''"}


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    type: pa.DataType
    expression: str
    operand: Operand


@dataclass(frozen=True, slots=True)
class SqliteTable:
    """One table or view of a SQLite file, in the file's own order."""

    source: str
    file: File
    table: str

    def schema(self) -> pa.Schema:
        return _schema(self._columns())

    def read(self) -> pa.RecordBatchReader:
        columns = self._columns()
        schema = _schema(columns)
        sql, _ = self._statement(Narrowing(), columns)
        return pa.RecordBatchReader.from_batches(schema, self._batches(sql, columns, schema, is_live=False))

    def fingerprint(self) -> str:
        return fingerprint(self.source, _files(self.file))

    def pushed(self, narrowing: Narrowing) -> Pushed:
        """Counts the storage classes anew when the file has changed."""
        sql, left = self._statement(narrowing, self._columns())
        return Pushed(sql, left)

    def fetch(self, narrowing: Narrowing, schema: pa.Schema) -> Fetch:
        columns = self._columns()
        by_name = {column.name: column for column in columns}
        for item in schema:
            found = by_name.get(item.name)
            if found is None:
                raise unavailable(self.source, f"table {self.table} has no column {item.name} any more.", _TELL)
            if found.type != item.type:
                message = f"column {item.name} of table {self.table} is now {found.type}, it was {item.type}."
                raise unavailable(self.source, message, _TELL)
        sql, _ = self._statement(narrowing, columns)
        selected = tuple(by_name[name] for name in schema.names)
        return under_way(self.source, schema, self._live_batches(sql, selected, schema))

    def description(self) -> Description:
        keys = {name: _primary_key(self.source, self.file, name) for name in _tables(self.source, self.file)}
        listed = _rows(self.source, self.file, _INFO.format(literal(self.table)))
        rows = _rows(self.source, self.file, _REFERENCES.format(literal(self.table)))
        return Description(
            primary_key=keys.get(self.table, ()),
            foreign_keys=tuple(_foreign_keys(rows, keys)),
            required=frozenset(str(row["name"]) for row in listed if row["is_required"]) | _row_id(listed),
        )

    def _columns(self) -> tuple[_Column, ...]:
        states = tuple(stamp(self.source, file) for file in _files(self.file))
        return _columns(states, self.source, self.file, self.table)

    def _statement(self, narrowing: Narrowing, columns: tuple[_Column, ...]) -> tuple[str, tuple[str, ...]]:
        by_name = {column.name: column for column in columns}
        names = by_name if narrowing.columns is None else narrowing.columns
        rendered = render(narrowing.predicate, {column.name: column.operand for column in columns})
        sql = f"SELECT {', '.join(by_name[name].expression for name in names) or '1'} FROM {quote(self.table)}"
        if rendered.sql:
            sql += f" WHERE {rendered.sql}"
        if narrowing.limit is not None and rendered.is_exact:
            sql += f" LIMIT {narrowing.limit}"
        return sql, rendered.left

    def _live_batches(self, sql: str, columns: tuple[_Column, ...], schema: pa.Schema) -> Batches:
        try:
            yield from self._batches(sql, columns, schema, is_live=True)
        except FlightmeshError as error:
            if error.code is not ErrorCode.INVALID:
                raise
            # The hint may quote the driver, and with it values.
            message = f"{self.file.name} changed while it was read, or is damaged."
            raise unavailable(self.source, message, "Try again.") from error

    def _batches(
        self, sql: str, columns: tuple[_Column, ...], schema: pa.Schema, *, is_live: bool
    ) -> Iterator[pa.RecordBatch]:
        leading = ", ".join(f"{_LEADING[column.type]} AS {quote(column.name)}" for column in columns) or "1"
        first = True
        with _query(self.source, self.file, f"SELECT {leading} UNION ALL SELECT * FROM ({sql})", is_live) as reader:
            assert not columns or reader.schema.types == schema.types, (reader.schema, schema)
            for batch in reader:
                try:
                    # Text that is not UTF-8 is legal in SQLite and would crash those who read on.
                    batch.validate(full=True)
                except pa.ArrowInvalid as error:
                    raise invalid(self.source, f"table {self.table} holds text that is not UTF-8.") from error
                rows = batch.slice(1 if first else 0)
                yield pa.RecordBatch.from_arrays(rows.columns, schema=schema) if columns else rows.select([])
                first = False


def open_sqlite(folder: Path, name: str, spec: Source, _secrets: Secrets) -> SourceHandle:
    """The tables that the manifest names, else all, as ``source.table``."""
    file = find_file(folder, name, spec)
    known = _tables(name, file)
    folded = {fold(table): table for table in known}
    tables: dict[tuple[str, ...], SourceTable] = {}
    for table in spec.tables or known:
        if fold(table) not in folded:
            raise invalid(name, f"{file.name} has no table {table}.", did_you_mean(table, known))
        tables[(name, table)] = SqliteTable(name, file, folded[fold(table)])
    return SourceHandle(name, tables)


def _schema(columns: Iterable[_Column]) -> pa.Schema:
    return pa.schema([pa.field(column.name, column.type) for column in columns])


def _files(file: File) -> tuple[File, ...]:
    """The database and its write-ahead log, which holds rows that the file itself does not."""
    log = File(file.path.with_name(file.path.name + "-wal"), file.name + "-wal")
    return (file, log) if log.path.is_file() else (file,)


@contextmanager
def _query(source: str, file: File, query: str, is_live: bool = False) -> Iterator[pa.RecordBatchReader]:
    """The rows of a query, within a ``with`` block. UNAVAILABLE when the file cannot be opened, INVALID when it is no
    database.

    The driver's plain interface: the one after Python's DB-API would import every data frame library there is.
    """
    # immutable also reads from folders that cannot be written, where a log cannot be opened; with a log it would miss
    # rows, and live, where others write meanwhile, it would read without their locks.
    files = _files(file)
    immutable = "" if is_live or len(files) > 1 else "&immutable=1"
    real, *_ = (confined(each.folder, source, each.name) for each in files)
    uri = f"file:{url_quote(str(real))}?mode=ro{immutable}"
    try:
        with (
            adbc_driver_sqlite.connect(uri) as database,
            adbc_driver_manager.AdbcConnection(database) as connection,
            adbc_driver_manager.AdbcStatement(connection) as statement,
        ):
            statement.set_options(**{"adbc.sqlite.query.batch_rows": str(BATCH_ROWS)})
            statement.set_sql_query(query)
            stream, _ = statement.execute_query()
            with pa.RecordBatchReader.from_stream(stream) as reader:
                yield reader
    except (OSError, adbc_driver_manager.Error) as error:
        # The driver's text may quote values: it is for the author alone.
        raise invalid(source, f"{file.name} does not read as a SQLite database.", str(error)[:300]) from error


def _rows(source: str, file: File, query: str) -> list[dict[str, object]]:
    with _query(source, file, query) as reader:
        rows: list[dict[str, object]] = reader.read_all().to_pylist()
        return rows


def _tables(source: str, file: File) -> list[str]:
    query = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    return [str(row["name"]) for row in _rows(source, file, query)]


def _primary_key(source: str, file: File, table: str) -> tuple[str, ...]:
    rows = _rows(source, file, _INFO.format(literal(table)))
    return tuple(str(row["name"]) for row in rows if row["pk"])


def _row_id(listed: Iterable[Mapping[str, object]]) -> frozenset[str]:
    """The column that stands for the row's own number, and so is never NULL; other primary keys may be, in SQLite."""
    keys = [row for row in listed if row["pk"]]
    return frozenset(str(row["name"]) for row in keys if len(keys) == 1 and row["type"] == "INTEGER")


def _foreign_keys(rows: list[dict[str, object]], keys: Mapping[str, tuple[str, ...]]) -> Iterator[ForeignKey]:
    """The references to tables that are there; ``keys`` are the primary keys of all tables."""
    tables = {fold(name): name for name in keys}
    for number in dict.fromkeys(row["id"] for row in rows):
        parts = [row for row in rows if row["id"] == number]
        target = tables.get(fold(str(parts[0]["target"])))
        if target is None:
            continue
        here = tuple(str(row["here"]) for row in parts)
        named = tuple(str(row["there"]) for row in parts if row["there"] is not None)
        referenced = named or keys[target]
        if len(referenced) == len(here):
            yield ForeignKey(here, target, referenced)


@lru_cache(maxsize=1024)
def _columns(states: tuple[Stamp, ...], source: str, file: File, table: str) -> tuple[_Column, ...]:
    """The columns with their types; ``states`` is the key under which the answer holds."""
    listed = _rows(source, file, f"SELECT name, type FROM pragma_table_xinfo({literal(table)}) WHERE hidden <> 1")
    declared = {str(row["name"]): str(row["type"] or "") for row in listed}
    classes = _classes(source, file, table, list(declared))
    (encoding,) = _rows(source, file, "SELECT encoding = 'UTF-8' AS is_utf8 FROM pragma_encoding")
    is_utf8 = bool(encoding["is_utf8"])
    return tuple(_column(source, table, name, declared[name], classes[name], is_utf8) for name in declared)


def _classes(source: str, file: File, table: str, columns: list[str]) -> dict[str, int]:
    """The storage classes of each column, as a sum of flags."""
    sums = ", ".join(
        f"coalesce(max({_INTEGER} * (typeof({c}) = 'integer')) + max({_REAL} * (typeof({c}) = 'real'))"
        f" + max({_TEXT} * (typeof({c}) = 'text')) + max({_BLOB} * (typeof({c}) = 'blob'))"
        f" + max({_WIDE} * (typeof({c}) = 'integer' AND {c} NOT BETWEEN -{_EXACT_MAX} AND {_EXACT_MAX})), 0)"
        f" AS c{index}"
        for index, c in enumerate(map(quote, columns))
    )
    (row,) = _rows(source, file, f"SELECT {sums} FROM {quote(table)}")
    return {name: int(str(row[f"c{index}"])) for index, name in enumerate(columns)}


def _column(source: str, table: str, name: str, declared: str, flags: int, is_utf8: bool) -> _Column:
    column, found = quote(name), flags & (_INTEGER | _REAL | _TEXT | _BLOB)
    if found == 0:
        return _Column(name, _affinity(declared), column, Operand(column))
    if found == _INTEGER:
        return _Column(name, pa.int64(), column, Operand(column, literals.integer, column, column))
    if found in (_REAL, _REAL | _INTEGER):
        if flags & _WIDE:
            raise invalid(source, f"column {name} of table {table} mixes fractions with integers beyond 2^53.")
        operand = Operand(column, literals.finite_float, column, column)
        return _Column(name, pa.float64(), f"CAST({column} AS REAL)", operand)
    if found == _TEXT:
        return _Column(name, pa.string(), column, _text_operand(column, declared, is_utf8))
    if found == _BLOB:
        return _Column(name, pa.binary(), column, Operand(column))
    if found & _BLOB:
        raise invalid(source, f"column {name} of table {table} mixes binary values with others.")
    exact = f"CASE typeof({column}) WHEN 'real' THEN printf('%!.17g', {column}) ELSE CAST({column} AS TEXT) END"
    return _Column(name, pa.string(), exact, Operand(column))


def _text_operand(column: str, declared: str, is_utf8: bool) -> Operand:
    """Text is compared by bytes, whatever the column's own collation, and never as a number, whatever its affinity.

    In a file that is kept in UTF-16 the order of bytes is another.
    """
    is_text = any(word in declared.upper() for word in ("CHAR", "CLOB", "TEXT")) and "INT" not in declared.upper()
    bytewise = f"{column if is_text else '+' + column} COLLATE BINARY"
    return Operand(column, literals.text, bytewise, bytewise if is_utf8 else None)


def _affinity(declared: str) -> pa.DataType:
    """The type of a column without values, after the declared type's affinity (SQLite documentation, datatype3,
    section 3.1).
    """
    text = declared.upper()
    if "INT" in text:
        return pa.int64()
    if "BLOB" in text:
        return pa.binary()
    return pa.float64() if any(word in text for word in ("REAL", "FLOA", "DOUB")) else pa.string()

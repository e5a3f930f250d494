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

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote as url_quote

import adbc_driver_manager
import adbc_driver_sqlite
import pyarrow as pa

from flightmesh.names import did_you_mean, fold, literal, quote
from flightmesh.product.model import Source
from flightmesh.sources.base import BATCH_ROWS, SourceHandle, SourceTable, invalid
from flightmesh.sources.files import File, Stamp, find_file, fingerprint, stamp

_INTEGER, _REAL, _TEXT, _BLOB, _WIDE = 1, 2, 4, 8, 16
_EXACT_MAX = 2**53
# The value whose storage class makes the driver choose the type.
_LEADING = {pa.int64(): "0", pa.float64(): "0.0", pa.string(): "''", pa.binary(): "x''"}


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    type: pa.DataType
    expression: str


@dataclass(frozen=True, slots=True)
class SqliteTable:
    """One table or view of a SQLite file, in the file's own order."""

    source: str
    file: File
    table: str

    def schema(self) -> pa.Schema:
        return pa.schema([pa.field(column.name, column.type) for column in self._columns()])

    def read(self) -> pa.RecordBatchReader:
        columns = self._columns()
        schema = pa.schema([pa.field(column.name, column.type) for column in columns])
        return pa.RecordBatchReader.from_batches(schema, self._batches(columns, schema))

    def fingerprint(self) -> str:
        return fingerprint(self.source, _files(self.file))

    def _columns(self) -> tuple[_Column, ...]:
        states = tuple(stamp(self.source, file) for file in _files(self.file))
        return _columns(states, self.source, self.file, self.table)

    def _batches(self, columns: tuple[_Column, ...], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        leading = ", ".join(f"{_LEADING[column.type]} AS {quote(column.name)}" for column in columns)
        listed = ", ".join(column.expression for column in columns)
        query = f"SELECT {listed} FROM {quote(self.table)}"
        first = True
        with _query(self.source, self.file, f"SELECT {leading} UNION ALL {query}") as reader:
            assert reader.schema.types == schema.types, (reader.schema, schema)
            for batch in reader:
                try:
                    # Text that is not UTF-8 is legal in SQLite and would crash those who read on.
                    batch.validate(full=True)
                except pa.ArrowInvalid as error:
                    raise invalid(self.source, f"table {self.table} holds text that is not UTF-8.") from error
                yield pa.RecordBatch.from_arrays(batch.slice(1 if first else 0).columns, schema=schema)
                first = False


def open_sqlite(folder: Path, name: str, spec: Source) -> SourceHandle:
    """The tables that the manifest names, as ``source.table``."""
    file = find_file(folder, name, spec)
    known = _tables(name, file)
    folded = {fold(table): table for table in known}
    tables: dict[tuple[str, ...], SourceTable] = {}
    for table in spec.tables:
        if fold(table) not in folded:
            raise invalid(name, f"{file.name} has no table {table}.", did_you_mean(table, known))
        tables[(name, table)] = SqliteTable(name, file, folded[fold(table)])
    return SourceHandle(name, tables)


def _files(file: File) -> tuple[File, ...]:
    """The database and its write-ahead log, which holds rows that the file itself does not."""
    log = File(file.path.with_name(file.path.name + "-wal"), file.name + "-wal")
    return (file, log) if log.path.is_file() else (file,)


@contextmanager
def _query(source: str, file: File, query: str) -> Iterator[pa.RecordBatchReader]:
    """The rows of a query, within a ``with`` block. UNAVAILABLE when the file cannot be opened, INVALID when it is no
    database.

    The driver's plain interface: the one after Python's DB-API would import every data frame library there is.
    """
    # immutable also reads from folders that cannot be written, where a log cannot be opened; with a log it would miss
    # rows.
    immutable = "" if len(_files(file)) > 1 else "&immutable=1"
    uri = f"file:{url_quote(str(file.path.resolve()))}?mode=ro{immutable}"
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


@lru_cache(maxsize=1024)
def _columns(states: tuple[Stamp, ...], source: str, file: File, table: str) -> tuple[_Column, ...]:
    """The columns with their types; ``states`` is the key under which the answer holds."""
    listed = _rows(source, file, f"SELECT name, type FROM pragma_table_xinfo({literal(table)}) WHERE hidden <> 1")
    declared = {str(row["name"]): str(row["type"] or "") for row in listed}
    classes = _classes(source, file, table, list(declared))
    return tuple(_column(source, table, name, declared[name], classes[name]) for name in declared)


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


def _column(source: str, table: str, name: str, declared: str, flags: int) -> _Column:
    column, found = quote(name), flags & (_INTEGER | _REAL | _TEXT | _BLOB)
    if found == 0:
        return _Column(name, _affinity(declared), column)
    if found == _INTEGER:
        return _Column(name, pa.int64(), column)
    if found in (_REAL, _REAL | _INTEGER):
        if flags & _WIDE:
            raise invalid(source, f"column {name} of table {table} mixes fractions with integers beyond 2^53.")
        return _Column(name, pa.float64(), f"CAST({column} AS REAL)")
    if found == _TEXT:
        return _Column(name, pa.string(), column)
    if found == _BLOB:
        return _Column(name, pa.binary(), column)
    if found & _BLOB:
        raise invalid(source, f"column {name} of table {table} mixes binary values with others.")
    exact = f"CASE typeof({column}) WHEN 'real' THEN printf('%!.17g', {column}) ELSE CAST({column} AS TEXT) END"
    return _Column(name, pa.string(), exact)


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

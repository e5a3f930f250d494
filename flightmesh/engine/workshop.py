"""The private DuckDB database in which one product is built, and the files that come out of it.

Data enter as Arrow streams; models run under a locked configuration without files, network or settings; results leave
as Arrow streams or into one output database that was attached before the lock. It runs only plans and names that it
is handed.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import duckdb
import pyarrow as pa

from flightmesh.engine.base import Plan
from flightmesh.engine.diagnosis import binding_error, runtime_error
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import fold, literal, quote

ROW_GROUP_ROWS = 122_880  # DuckDB's own unit of storage: a Parquet row group is then one scan task there.
BATCH_ROWS = 65_536

_LINE = re.compile(r"^LINE (\d+): ", re.MULTILINE)
_LOCK = (
    "SET enable_external_access = false",
    "SET autoload_known_extensions = false",
    "SET autoinstall_known_extensions = false",
    "SET allow_community_extensions = false",
    "SET python_enable_replacements = false",
    "SET enable_logging = false",
    "SET lock_configuration = true",
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a workshop may use of the machine. Memory is DuckDB's own limit, not a bound on the process."""

    threads: int = 2
    memory_bytes: int = 2 << 30


class Workshop:
    """One build. Not shared between threads; closed by leaving the ``with`` block, which gives everything back."""

    def __init__(self, bounds: Bounds, *, output: Path | None = None, spill: Path | None = None) -> None:
        self._connection = duckdb.connect(":memory:", config=_config(bounds))
        self._output = f"out_{secrets.token_hex(12)}" if output is not None else None
        self._schemas: set[str] = set()
        # Also loads the time zone functions that come with DuckDB; the lock below ends all loading.
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute(f"SET temp_directory = {literal(str(spill) if spill else '')}")
        if output is not None:
            self._connection.execute(f"ATTACH {literal(str(output))} AS {self._output}")
        for setting in _LOCK:
            self._connection.execute(setting)

    def __enter__(self) -> Workshop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back memory and files; the output is not complete unless ``finish`` came before."""
        self._connection.close()

    def load(self, path: tuple[str, ...], reader: pa.RecordBatchReader) -> None:
        """A table with the reader's rows in their order; FlightmeshError as the reader raises it."""
        self._make_schema(path)
        failures: list[FlightmeshError] = []
        try:
            with _running():
                self._connection.register("arrow_input", _watched(path, reader, failures))
                self._connection.execute(f"CREATE TABLE {_sql(path)} AS SELECT * FROM arrow_input")
        except FlightmeshError:
            # DuckDB passes on no more than the text of what the reader raised.
            if failures:
                raise failures[0] from None
            raise
        finally:
            self._connection.unregister("arrow_input")

    def shape(self, path: tuple[str, ...], schema: pa.Schema) -> None:
        """A view without rows that has these columns and nothing that a table has besides them (rowid)."""
        behind = ("shapes of", ".".join(path))
        self.load(behind, pa.RecordBatchReader.from_batches(schema, []))
        self._make_schema(path)
        with _running():
            self._connection.execute(f"CREATE VIEW {_sql(path)} AS SELECT * FROM {_sql(behind)}")

    def view(self, name: str, plan: Plan) -> None:
        """The plan's statement as a view; INVALID, with line and column in the statement, when it does not bind."""
        self._bind(plan)
        with _running():
            self._connection.execute(f"CREATE VIEW {quote(name)} AS\n{plan.sql}\n")

    def table(self, name: str, plan: Plan) -> None:
        """The plan's rows as a table. Errors as ``view``, and those of running it."""
        self._bind(plan)
        with _running():
            self._connection.execute(f"CREATE TABLE {quote(name)} AS\n{plan.sql}\n")

    def columns(self, path: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        """Name and type, in DuckDB's spelling, of each column of a relation."""
        with _running():
            relation = self._connection.sql(f"SELECT * FROM {_sql(path)} LIMIT 0")
            return tuple(zip(relation.columns, map(str, relation.types), strict=True))

    def read(self, path: tuple[str, ...]) -> pa.RecordBatchReader:
        """The rows of a relation. Read it to its end, or drop it, before the next call."""
        with _running():
            return self._connection.sql(f"SELECT * FROM {_sql(path)}").to_arrow_reader(BATCH_ROWS)

    def run(self, plan: Plan) -> pa.RecordBatchReader:
        """The rows of a plan. Errors and use as ``view`` and ``read``."""
        self._bind(plan)
        with _running():
            return self._connection.sql(plan.sql).to_arrow_reader(plan.batch_rows)

    def keep(self, path: tuple[str, ...], table: str) -> int:
        """Write the relation's rows as a table of the output database; returns their number."""
        assert self._output is not None
        target = f"{self._output}.main.{quote(table)}"
        with _running():
            self._connection.execute(f"CREATE TABLE {target} AS SELECT * FROM {_sql(path)}")
            row = self._connection.execute(f"SELECT count(*) FROM {target}").fetchone()
        assert row is not None
        return int(row[0])

    def nulls(self, table: str, columns: Sequence[str]) -> dict[str, int]:
        """How many rows of an output table hold NULL in each of the columns, counted in one scan."""
        assert self._output is not None
        if not columns:
            return {}
        counts = ", ".join(f"count(*) - count({quote(column)})" for column in columns)
        with _running():
            row = self._connection.execute(f"SELECT {counts} FROM {self._output}.main.{quote(table)}").fetchone()
        assert row is not None
        return dict(zip(columns, row, strict=True))

    def finish(self) -> None:
        """Complete the output file: afterwards it is whole and has no log beside it."""
        assert self._output is not None
        with _running():
            self._connection.execute(f"CHECKPOINT {self._output}")
            self._connection.execute(f"DETACH {self._output}")

    def _make_schema(self, path: tuple[str, ...]) -> None:
        for schema in path[:-1]:
            if schema not in self._schemas:
                with _running():
                    self._connection.execute(f"CREATE SCHEMA {quote(schema)}")
                self._schemas.add(schema)

    def _bind(self, plan: Plan) -> None:
        """Bind the statement as written, so that places in errors are places in it, and refuse equal column names."""
        try:
            # Of the ways to bind without running, only this one says where the error is.
            self._connection.execute(f"EXPLAIN\n{plan.sql}\n")
            columns = self._connection.sql(plan.sql).columns
        except duckdb.Error as error:
            raise binding_error(plan.sql, _one_line_up(str(error))) from error
        twice = _renamed(columns)
        if twice is not None:
            raise FlightmeshError(
                ErrorCode.INVALID,
                f"The statement has two columns named {twice}.",
                hint="Give one of them another name.",
            )


def export_parquet(database: Path, *, table: str, target: Path, bounds: Bounds) -> None:
    """Write a table of a finished output database as one Parquet file (zstd), rows in the table's order."""
    connection = duckdb.connect(str(database), read_only=True, config=_config(bounds))
    try:
        with _running():
            connection.execute(
                f"COPY (SELECT * FROM {quote(table)}) TO {literal(str(target))} "
                f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP_ROWS})"
            )
    finally:
        connection.close()


def _config(bounds: Bounds) -> dict[str, str | bool | int | float | list[str]]:
    return {
        "threads": bounds.threads,
        "memory_limit": f"{bounds.memory_bytes // (1 << 20)}MiB",
        "preserve_insertion_order": True,
    }


def _watched(
    path: tuple[str, ...], reader: pa.RecordBatchReader, failures: list[FlightmeshError]
) -> pa.RecordBatchReader:
    """The same stream; an expected failure while it is read is kept in ``failures``."""

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from reader
        except FlightmeshError as error:
            failures.append(error)
            raise
        except (pa.ArrowException, OSError) as error:
            message = f"{'.'.join(path)} cannot be read to its end."
            failures.append(FlightmeshError(ErrorCode.UNAVAILABLE, message, hint="A file may be damaged."))
            raise failures[0] from error

    return pa.RecordBatchReader.from_batches(reader.schema, batches())


def _sql(path: tuple[str, ...]) -> str:
    return ".".join(map(quote, path))


@contextmanager
def _running() -> Iterator[None]:
    """DuckDB's errors become ours: the kind of failure as the message, DuckDB's own text, which may quote data, as
    the hint.
    """
    try:
        yield
    except duckdb.Error as error:
        known = runtime_error(str(error))
        raise FlightmeshError(known.code, known.message, hint=str(error).partition("\n")[0][:500]) from error


def _one_line_up(message: str) -> str:
    """DuckDB's error text with its picture's line number less by one, in as many digits."""
    return _LINE.sub(lambda found: f"LINE {int(found[1]) - 1:0{len(found[1])}}: ", message)


def _renamed(columns: list[str]) -> str | None:
    """A name that occurs twice, upper and lower case being equal; None when all differ."""
    seen: set[str] = set()
    for name in columns:
        if fold(name) in seen:
            return name
        seen.add(fold(name))
    return None

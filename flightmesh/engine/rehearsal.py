"""What a statement will ask of its live relations, found out without touching them.

The statement is run on stand-ins of one row: an instance with the same views, in which tables of files are cut to their
first row and live relations answer with a row of plain values and note what they were asked for. It is the same
optimiser on the same views, so what is asked here is what will be asked. A branch that these rows do not reach is not
told of. Statements may compute for long even on single rows: a rehearsal is cut short.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset

from flightmesh.engine.base import Attachment, InstanceSpec, Plan, Scan
from flightmesh.names import literal, quote
from flightmesh.sources.base import BATCH_ROWS, Narrowing
from flightmesh.sources.predicate import decode, fields

INSTANCES_MAX = 32


@dataclass(frozen=True, slots=True)
class Asked:
    """One scan of a statement: the relation's name in the instance, and what is asked of it."""

    scan: str
    narrowing: Narrowing


def wanted(schema: pa.Schema, columns: Sequence[str], expression: pc.Expression | None) -> tuple[str, ...]:
    """The columns to fetch: those that are asked for, and those that the rows are filtered by."""
    if expression is None:
        return tuple(columns)
    read = fields(expression)
    return tuple(schema.names if read is None else dict.fromkeys((*columns, *read)))


class Rehearsals:
    """Stand-in instances by the key of the instance they stand for. Safe to call from many threads."""

    def __init__(self, *, seconds: float = 0.25) -> None:
        """``seconds`` bounds one rehearsal."""
        self._seconds = seconds
        self._lock = threading.Lock()
        self._instances: OrderedDict[str, duckdb.DuckDBPyConnection] = OrderedDict()

    def rehearse(self, plan: Plan) -> tuple[Asked, ...]:
        """What the plan's statement asks of its scans, in order; what could be found out within the time."""
        if not plan.scans:
            return ()
        asked: list[Asked] = []
        with suppress(duckdb.Error, pa.ArrowException, OSError):  # The latter two are what its streams raise.
            cursor = self._instance(plan.instance).cursor()
            # An interrupt before the statement starts would be lost, so the watch goes on until it has ended.
            over = threading.Event()
            watch = threading.Thread(target=_cut, args=(cursor, over, self._seconds), daemon=True)
            watch.start()
            try:
                for name in plan.scans:
                    cursor.register(name, _StandIn(name, plan.instance.scans[name], asked))
                for table in plan.temporaries:
                    cursor.register(table.name, _Row(table.schema).to_reader().read_all())
                if plan.search_path:
                    cursor.execute(f"SET search_path = {literal(','.join(plan.search_path))}")
                # As a stream: a rehearsal keeps no rows, of which there may be many.
                for _ in cursor.sql(plan.sql, params=list(plan.parameters) or None).to_arrow_reader(BATCH_ROWS):
                    pass
            finally:
                over.set()
                watch.join()
                cursor.close()
        return tuple(asked)

    def forget(self, keys: Sequence[str]) -> None:
        """Drops the stand-ins of instances that are gone."""
        with self._lock:
            gone = [self._instances.pop(key) for key in keys if key in self._instances]
        for connection in gone:
            connection.close()

    def close(self) -> None:
        """Drops them all."""
        with self._lock:
            keys = tuple(self._instances)
        self.forget(keys)

    def _instance(self, spec: InstanceSpec) -> duckdb.DuckDBPyConnection:
        with self._lock:
            found = self._instances.get(spec.key)
            if found is not None:
                self._instances.move_to_end(spec.key)
                return found
        made = _stand_in_instance(spec)
        with self._lock:
            kept = self._instances.setdefault(spec.key, made)
            surplus = [self._instances.popitem(last=False)[1] for _ in range(len(self._instances) - INSTANCES_MAX)]
        for connection in surplus if kept is made else [*surplus, made]:
            connection.close()
        return kept


def _cut(cursor: duckdb.DuckDBPyConnection, over: threading.Event, seconds: float) -> None:
    wait = seconds
    while not over.wait(wait):
        cursor.interrupt()
        wait = 0.05


def _stand_in_instance(spec: InstanceSpec) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:", config={"threads": 1, "memory_limit": "256MB", "temp_directory": ""})
    try:
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        connection.execute("SET GLOBAL python_enable_replacements = false")
        for attachment in spec.attachments:
            _cut_to_one_row(connection, attachment)
        for name, scan in spec.scans.items():
            connection.register(name, scan.schema.empty_table())
        locking = ("SET enable_external_access = false", "SET lock_configuration = true")
        for statement in (*spec.ddl, *locking):
            connection.execute(statement)
    except duckdb.Error:
        connection.close()
        raise
    return connection


def _cut_to_one_row(connection: duckdb.DuckDBPyConnection, attachment: Attachment) -> None:
    connection.execute(f"ATTACH {literal(str(attachment.path))} AS whole (READ_ONLY)")
    connection.execute(f"ATTACH ':memory:' AS {quote(attachment.alias)}")
    listed = connection.execute("SELECT table_name FROM duckdb_tables() WHERE database_name = 'whole'").fetchall()
    for (table,) in listed:
        target = f"{quote(attachment.alias)}.main.{quote(table)}"
        connection.execute(f"CREATE TABLE {target} AS SELECT * FROM whole.main.{quote(table)} LIMIT 1")
    connection.execute("DETACH whole")


class _StandIn(pyarrow.dataset.Dataset):  # type: ignore[misc]  # pyarrow is untyped
    """A live relation that notes what it is asked for and answers with one row."""

    def __init__(self, name: str, scan: Scan, asked: list[Asked]) -> None:
        # Not the base class's, which refuses: it has no dataset of its own to stand for.
        self._name = name
        self._scan = scan
        self._asked = asked

    @property
    def schema(self) -> pa.Schema:
        return self._scan.schema

    def scanner(self, columns: Sequence[str] | None = None, filter: pc.Expression | None = None, **_: Any) -> _Row:
        """What DuckDB calls when the statement starts to read."""
        names = self._scan.schema.names if columns is None else columns
        narrowing = Narrowing(wanted(self._scan.schema, names, filter), decode(filter))
        self._asked.append(Asked(self._name, narrowing))
        return _Row(pa.schema([self._scan.schema.field(name) for name in names]))


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of plain values."""

    schema: pa.Schema

    def to_reader(self) -> pa.RecordBatchReader:
        columns = [_plain(field.type) for field in self.schema]
        return pa.RecordBatchReader.from_batches(self.schema, [pa.RecordBatch.from_arrays(columns, schema=self.schema)])


_VALUES: Mapping[str, object] = {
    "is_boolean": True,
    "is_integer": 1,
    "is_floating": 1.0,
    "is_decimal": Decimal(0),
    "is_string": "a",
    "is_large_string": "a",
    "is_binary": b"a",
    "is_date": date(2020, 1, 1),
    "is_time": time(1),
    "is_duration": timedelta(1),
}


def _plain(kind: pa.DataType) -> pa.Array:
    """One value of the type; NULL for types that nobody joins by."""
    if pa.types.is_timestamp(kind):
        zone = None if kind.tz is None else UTC
        return pa.array([datetime(2020, 1, 1, tzinfo=zone)], kind)
    for test, value in _VALUES.items():
        if getattr(pa.types, test)(kind):
            return pa.array([value], kind)
    return pa.nulls(1, kind)

"""Statements that write: a session's temporary tables, its settings, its transactions. Nothing else can be written.

Rows that are written come from SELECTs, planned and run like any other under the caller's own rights.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal
from weakref import WeakValueDictionary

import pyarrow as pa
import pyarrow.compute as pc

from flightmesh.config import Limits
from flightmesh.engine.base import Temporary
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import did_you_mean, fold, literal, quote
from flightmesh.planner.cache import Cache
from flightmesh.planner.scope import CATALOG, SCHEMA
from flightmesh.service.explain import Explanations
from flightmesh.service.options import Exists, options_of, set_option
from flightmesh.service.reading import batches
from flightmesh.service.running import RunningQueries, Watch
from flightmesh.service.sessions import Session, Sessions
from flightmesh.service.statements import Ready, Statements, defaults
from flightmesh.service.temporary import Temporaries, Upload
from flightmesh.sql import commands

# The doors know temporary tables through this room.
__all__ = ["CATALOG", "SCHEMA", "Ingest", "Temporary", "Updates"]

_EXPLAINED = pa.schema([pa.field("explain_key", pa.string()), pa.field("explain_value", pa.string())])
_COUNTED = pa.schema([pa.field("Count", pa.int64())])
_NOTHING = pa.schema([])


@dataclass(frozen=True, slots=True)
class Ingest:
    """Where uploaded rows go: a temporary table, and what to do when it is there or is not."""

    table: str
    exists: Literal["fail", "append", "replace"]
    missing: Literal["create", "fail"]
    transaction: str | None = None


class Updates:
    """Runs what is no SELECT, for one node."""

    def __init__(
        self,
        *,
        statements: Statements,
        temporaries: Temporaries,
        sessions: Sessions,
        running: RunningQueries,
        explanations: Explanations,
        limits: Limits,
        new_id: Callable[[], str] = lambda: secrets.token_urlsafe(9),
    ) -> None:
        self._statements = statements
        self._temporaries = temporaries
        self._sessions = sessions
        self._running = running
        self._explanations = explanations
        self._limits = limits
        self._new_id = new_id
        self._known: Cache[str, commands.Command | None] = Cache(limits.plan_cache_entries_max)
        # What reads a table, changes it and writes it back must not be interrupted by another of its session.
        self._locks: WeakValueDictionary[tuple[str, str], _Turn] = WeakValueDictionary()
        self._turns = threading.Lock()

    def is_query(self, sql: str) -> bool:
        """Whether the text begins as a query does; everything else is a command, to be run here."""
        return self._classified(sql) is None

    def answers(self, sql: str) -> bool:
        """Whether the statement, which is no SELECT, answers with rows all the same."""
        return isinstance(self._command(sql), commands.Explain)

    def schema(self, session: Session, sql: str) -> pa.Schema:
        """The columns of the statement's answer: of one that writes, its count of rows."""
        return _EXPLAINED if self.answers(sql) else _COUNTED

    def parameters(self, session: Session, sql: str, transaction: str | None) -> pa.Schema:
        """The parameters of the statement; nothing is executed. Errors: as running it, as far as that shows."""
        match self._command(sql):
            case commands.Insert() as insert:
                table = self._own(session, insert.table, transaction)
                return self._inserting(session, insert, table, transaction).prepared.parameters
            case commands.Delete() | commands.Update() as change:
                table = self._own(session, change.table, transaction)
                return self._changing(session, change, table, transaction).prepared.parameters
            case commands.CreateTable() as creation:
                return self._statements.ready(session, creation.select, transaction).prepared.parameters
        return _NOTHING

    def answer(
        self, session: Session, sql: str, values: pa.RecordBatch | None, watch: Watch, transaction: str | None
    ) -> str:
        """Executes the statement, once, and gives the SELECT whose rows are its answer: for drivers that execute
        everything as a query.
        """
        command = self._command(sql)
        if isinstance(command, commands.Explain):
            return self.explained(session, sql, transaction)
        return f'SELECT CAST({self.run(session, sql, values, watch, transaction)} AS BIGINT) AS "Count"'

    def explained(self, session: Session, sql: str, transaction: str | None) -> str:
        """The SELECT whose rows are the answer of an EXPLAIN; nothing is read."""
        command = self._command(sql)
        if not isinstance(command, commands.Explain):
            raise _refused("A statement that writes has no rows.", "Execute it as an update.")
        if command.is_analyze:
            raise _refused("EXPLAIN ANALYZE is not offered.", "EXPLAIN says what would be done, and does not do it.")
        text = self._explanations.text(session, command.select, transaction)
        values = f"({literal('flightmesh')}, {literal(text)})"
        return f"SELECT * FROM (VALUES {values}) AS explained(explain_key, explain_value)"

    def run(
        self, session: Session, sql: str, values: pa.RecordBatch | None, watch: Watch, transaction: str | None
    ) -> int:
        """Executes the statement for each row of values, all or nothing; how many rows it wrote."""
        command = self._command(sql)
        match command:
            case commands.Use() | commands.SetOption():
                self._set(session, command)
            case commands.Control(kind):
                self._control(session, kind, transaction)
            case commands.Drop(table, if_exists):
                self._drop(session, table, transaction, if_exists=if_exists)
            case commands.Explain():
                raise _refused("EXPLAIN writes nothing.", "Execute it as a query.")
            case commands.CreateTable() | commands.Insert() | commands.Delete() | commands.Update():
                with self._alone(session), self._running.entered(self._new_id(), session, sql, watch):
                    return self._write(session, command, values, watch, transaction)
        return 0

    def ingest(
        self, session: Session, target: Ingest, schema: pa.Schema, rows: Iterator[pa.RecordBatch], watch: Watch
    ) -> int:
        """Takes the rows into a temporary table, all or none; how many they were. ``rows`` raises when the upload is
        not whole.
        """
        never_null = [fold(field.name) for field in schema if not field.nullable]
        shown = f"ingest into {target.table[:200]}"
        with (
            self._running.entered(self._new_id(), session, shown, watch),
            self._temporaries.writing(session, schema, never_null) as upload,
        ):
            for batch in rows:
                upload.write(batch)
                if watch.failure is not None:
                    raise watch.failure
            with self._alone(session):
                return self._temporaries.put(
                    session,
                    target.table,
                    upload,
                    exists=target.exists,
                    missing=target.missing,
                    transaction=target.transaction,
                )

    def begin(self, session: Session) -> str:
        """A new transaction's id."""
        return self._temporaries.begin(session)

    def end(self, session: Session, transaction: str, *, commits: bool) -> None:
        """Commits the transaction, or rolls it back."""
        with self._alone(session):
            self._temporaries.end(session, transaction, commits=commits)

    def standing(self, session: Session, transaction: str | None) -> str | None:
        """The transaction in which a statement that was prepared in this one runs now."""
        return self._temporaries.standing(session, transaction)

    def close(self, session: Session) -> None:
        """Ends the session: its settings and its temporary tables are gone."""
        self._temporaries.close(session)
        self._sessions.close(session.id, session.principal)

    def set_defaults(self, session: Session, catalog: str | None, schema: str | None) -> Session:
        """The session with these defaults, as the catalogue spells them; NOT_FOUND for what it does not hold."""
        found = defaults(self._statements.surface(session), catalog, schema)
        return self._sessions.change(session.id, session.principal, {"catalog": found[0], "schema": found[1]})

    def exists(self, session: Session) -> Exists:
        """What says whether the caller sees a catalogue and schema."""

        def check(catalog: str | None, schema: str | None) -> None:
            defaults(self._statements.surface(session), catalog, schema)

        return check

    def tables(self, session: Session) -> list[tuple[Temporary, pa.Schema]]:
        """The session's temporary tables by name, each with the columns that reading it shows."""
        surface = self._statements.surface(session)
        own = sorted(self._statements.scope(session, surface).temporaries.values(), key=lambda table: table.name)
        return [(table, self._statements.ready(session, self.select_all(table)).prepared.schema) for table in own]

    def select_all(self, table: Temporary) -> str:
        """The statement that reads the whole temporary table."""
        return f"SELECT * FROM {CATALOG}.{SCHEMA}.{quote(table.name)}"

    def _command(self, sql: str) -> commands.Command:
        found = self._classified(sql)
        if found is None:
            raise _refused("This is a query, which writes nothing.", "Execute it as a query.")
        return found

    def _classified(self, sql: str) -> commands.Command | None:
        """The command of the text, None for a query; found out once, so that repeating a statement costs a look-up."""

        def read() -> commands.Command | None:
            if commands.is_query(sql):
                return None
            limits = self._limits
            return commands.command(sql, bytes_max=limits.sql_bytes_max, depth_max=limits.bracket_depth_max)

        if len(sql) > self._limits.plan_cache_characters_max:
            return read()
        return self._known.get_or_make(sql, read)

    @contextmanager
    def _alone(self, session: Session) -> Iterator[None]:
        with self._turns:
            turn = self._locks.setdefault((session.principal.name, session.id), _Turn())
        lock = turn.lock
        if not lock.acquire(timeout=self._limits.query_queue_wait_s):
            raise FlightmeshError(
                ErrorCode.EXHAUSTED, "Another statement of the session writes for too long.", hint="Try again."
            )
        try:
            yield
        finally:
            lock.release()

    def _set(self, session: Session, command: commands.Use | commands.SetOption) -> None:
        path = command.path if isinstance(command, commands.Use) else None
        if isinstance(command, commands.SetOption) and fold(command.name) in ("schema", "search_path"):
            path = commands.name_path(str(command.value)) if command.value else ()
        if path is None:
            assert isinstance(command, commands.SetOption)
            set_option(self._sessions, session, command.name, command.value, self.exists(session))
        elif not path or fold(path[0]) == "memory":
            self._sessions.change(session.id, session.principal, {"catalog": None, "schema": None})
        else:
            self._use(session, path)

    def _use(self, session: Session, path: tuple[str, ...]) -> None:
        if len(path) > 2:
            raise _refused(f"{'.'.join(path)[:200]} has {len(path)} parts.", "Write USE catalogue.schema.")
        if len(path) == 2:
            self.set_defaults(session, path[0], path[1])
            return
        try:  # As DuckDB: one name is a catalogue, or else a schema.
            self.set_defaults(session, path[0], None)
        except FlightmeshError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise
            self.set_defaults(session, None, path[0])

    def _control(self, session: Session, kind: str, transaction: str | None) -> None:
        if kind == "begin":
            if transaction is None:
                self._temporaries.begin(session, is_default=True)
            return
        with self._alone(session):
            if transaction is None:
                self._temporaries.end(session, None, commits=kind == "commit")
            else:  # Its driver ends it by its id, later; SQLAlchemy ends each piece of work by the words.
                self._temporaries.settle(session, transaction, commits=kind == "commit")

    def _drop(self, session: Session, path: tuple[str, ...], transaction: str | None, *, if_exists: bool) -> None:
        if self._find(session, path, transaction) is None:
            failure = self._not_writable(session, path)
            if if_exists and failure.code is ErrorCode.NOT_FOUND:
                return
            raise failure
        with self._alone(session):
            self._temporaries.drop(session, path[-1], if_exists=if_exists, transaction=transaction)

    def _write(
        self,
        session: Session,
        command: commands.CreateTable | commands.Insert | commands.Delete | commands.Update,
        values: pa.RecordBatch | None,
        watch: Watch,
        transaction: str | None,
    ) -> int:
        if isinstance(command, commands.CreateTable):
            return self._create(session, command, values, watch, transaction)
        if isinstance(command, commands.Insert):
            table = self._own(session, command.table, transaction)
            ready = self._inserting(session, command, table, transaction)
            return self._fill(session, ready, values, watch, _Put(table.name, "append", transaction, _required(table)))
        if values is None or values.num_rows == 1:
            return self._change(session, command, values, watch, transaction)
        # Each row of values works on what the one before has left.
        with self._temporaries.atomic(session, transaction) as own:
            return sum(
                self._change(session, command, values.slice(row, 1), watch, own) for row in range(values.num_rows)
            )

    def _create(
        self,
        session: Session,
        command: commands.CreateTable,
        values: pa.RecordBatch | None,
        watch: Watch,
        transaction: str | None,
    ) -> int:
        path = command.table
        takes_all = options_of(session).new_tables == "temporary" and len(path) == 1
        if not command.is_temporary and fold(path[0]) != CATALOG and not takes_all:
            raise _refused(
                "Only temporary tables can be created.",
                "Write CREATE TEMP TABLE, or set the session option new_tables to temporary.",
            )
        if len(path) > 1 and tuple(map(fold, path[:-1])) not in ((CATALOG,), (CATALOG, SCHEMA)):
            raise _refused("A temporary table has no catalogue or schema of its own.", "Leave them out.")
        if command.if_not_exists and self._find(session, path, transaction) is not None:
            return 0
        ready = self._statements.ready(session, command.select, transaction)
        how: Literal["replace", "fail"] = "replace" if command.or_replace else "fail"
        put = _Put(path[-1], how, transaction, frozenset(map(fold, command.required)))
        self._fill(session, ready, values, watch, put)
        return 0  # As DDL: -1 would make the JDBC driver execute it again.

    def _change(
        self,
        session: Session,
        command: commands.Delete | commands.Update,
        values: pa.RecordBatch | None,
        watch: Watch,
        transaction: str | None,
    ) -> int:
        """Writes the rows that a DELETE leaves, or all rows as an UPDATE makes them; how many it concerned."""
        table = self._own(session, command.table, transaction)
        ready = self._changing(session, command, table, transaction)
        put = _Put(table.name, "replace", transaction, _required(table), base=table.version)
        if isinstance(command, commands.Delete):
            return table.rows - self._fill(session, ready, values, watch, put)
        touched = 0

        def count(marker: pa.Array) -> None:
            nonlocal touched
            touched += pc.sum(marker).as_py() or 0

        if self._fill(session, ready, values, watch, put, count) != table.rows:
            # Nothing is kept: the caller's words made another query of the one around them.
            raise _refused("The UPDATE does not give each row once.", "Write its values without subqueries in FROM.")
        return touched

    def _fill(
        self,
        session: Session,
        ready: Ready,
        values: pa.RecordBatch | None,
        watch: Watch,
        put: _Put,
        on_marker: Callable[[pa.Array], None] | None = None,
    ) -> int:
        """Puts the statement's rows into a temporary table; how many they were. With ``on_marker`` the last column is
        not written but handed to it.
        """
        typed = self._statements.typed(ready, values)
        columns = list(typed.schema)[: None if on_marker is None else -1]
        schema = pa.schema(columns)
        with self._temporaries.writing(session, schema, put.required) as upload:
            with self._statements.opened(session, ready.surface, typed, values, watch) as executions:
                for execution in executions:
                    with watch.cancelling(execution.cancel):
                        for batch in batches(execution, typed.schema, watch):
                            if on_marker is not None:
                                on_marker(batch.column(len(columns)))
                            upload.write(pa.RecordBatch.from_arrays(batch.columns[: len(columns)], schema=schema))
            return self._put(session, upload, put)

    def _put(self, session: Session, upload: Upload, put: _Put) -> int:
        return self._temporaries.put(
            session,
            put.name,
            upload,
            exists=put.exists,
            missing="create",
            transaction=put.transaction,
            base=put.base,
        )

    def _find(self, session: Session, path: tuple[str, ...], transaction: str | None) -> Temporary | None:
        surface = self._statements.surface(session)
        return self._statements.scope(session, surface, transaction).temporary(path)

    def _own(self, session: Session, path: tuple[str, ...], transaction: str | None) -> Temporary:
        found = self._find(session, path, transaction)
        if found is None:
            raise self._not_writable(session, path)
        return found

    def _not_writable(self, session: Session, path: tuple[str, ...]) -> FlightmeshError:
        """Why nothing can be written to what the path names."""
        shown = ".".join(path)[:200]
        try:
            self._statements.ready(session, f"SELECT * FROM {'.'.join(map(quote, path))}")
        except FlightmeshError:
            return FlightmeshError(
                ErrorCode.NOT_FOUND, f"There is no temporary table {shown}.", hint="Make it with CREATE TEMP TABLE."
            )
        return _refused(f"{shown} is read-only.", "Temporary tables of your session can be written.")

    def _changing(
        self, session: Session, change: commands.Delete | commands.Update, table: Temporary, transaction: str | None
    ) -> Ready:
        """The rows of the table after the change; of an UPDATE with the marker of those that it concerns."""
        select = change.select if isinstance(change, commands.Delete) else change.select_as(_types(table))
        return self._made(session, select, transaction)

    def _inserting(self, session: Session, insert: commands.Insert, table: Temporary, transaction: str | None) -> Ready:
        """The rows of an INSERT in the columns and types of its table; a column that it leaves out is NULL."""
        types = _types(table)
        names = list(types) if insert.columns is None else _checked(insert.columns, table)
        if insert.is_by_name:
            given = self._statements.ready(session, insert.select, transaction).prepared.schema.names
            names = _checked(given, table)
        select = insert.select_as([types[name] for name in names])
        width = len(self._made(session, select, transaction).prepared.schema)
        if width != len(names):
            fact = f"The INSERT names {len(names)} columns of {table.name[:200]} and gives {width} values a row."
            raise FlightmeshError(ErrorCode.INVALID, fact, hint="Give each column one value.")
        places = {name: f"c{place}" for place, name in enumerate(names)}
        columns = ", ".join(
            f"CAST({places.get(fold(name), 'NULL')} AS {kind}) AS {quote(name)}" for name, kind in table.columns
        )
        # A line of its own: the statement may end in a comment.
        given_as = f"given({', '.join(places.values())})"
        return self._made(session, f"SELECT {columns} FROM (\n{select}\n) AS {given_as}", transaction)

    def _made(self, session: Session, select: str, transaction: str | None) -> Ready:
        """A SELECT made of the caller's words, approved like any other."""
        return self._statements.ready(session, select, transaction, is_written_here=True)


class _Turn:
    """Whose turn it is among the statements of one session; gone with the last of them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Put:
    """Where written rows go, and which columns may not be NULL (folded names). ``base`` is the version of the table
    from which they were made.
    """

    name: str
    exists: Literal["fail", "append", "replace"]
    transaction: str | None
    required: frozenset[str]
    base: str | None = None


def _types(table: Temporary) -> dict[str, str]:
    """The SQL types of the table's columns by their folded names, in order."""
    return {fold(name): kind for name, kind in table.columns}


def _checked(written: Sequence[str], table: Temporary) -> list[str]:
    """The folded names; INVALID for one that is no column of the table, or is named twice."""
    names, known = list(map(fold, written)), _types(table)
    for place, name in enumerate(names):
        if name not in known:
            fact = f"{table.name[:200]} has no column {written[place][:200]}."
            hint = did_you_mean(name, [column for column, _ in table.columns])
            raise FlightmeshError(ErrorCode.INVALID, fact, hint=hint)
        if name in names[:place]:
            raise FlightmeshError(ErrorCode.INVALID, f"The column {written[place][:200]} is named twice.")
    return names


def _required(table: Temporary) -> frozenset[str]:
    return frozenset(fold(field.name) for field in table.schema if not field.nullable)


def _refused(fact: str, hint: str) -> FlightmeshError:
    return FlightmeshError(ErrorCode.INVALID, fact, hint=hint)

"""DuckDB as an engine: one locked, immutable instance per Surface, one cursor per execution.

An instance is opened, given its files read-only, given its public views, and locked; it never changes afterwards. It
is closed when it is retired and its last execution has ended. Nothing here knows whose data it runs: it runs the plan
it is handed.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from flightmesh.engine.base import Execution, InstanceSpec, LiveScan, Nested, Plan, Scan
from flightmesh.engine.diagnosis import runtime_error
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import literal, quote
from flightmesh.sources.base import Fetch, Narrowing

if TYPE_CHECKING:
    from flightmesh.engine.live import OpenScan, Reads
    from flightmesh.engine.rehearsal import Asked, Rehearsals

log = logging.getLogger(__name__)

# Set before the lock. TimeZone: TIMESTAMP WITH TIME ZONE must not depend on the machine. GLOBAL, because a cursor does
# not take over what its connection has set for itself.
_SETTINGS = (
    "SET GLOBAL TimeZone = 'UTC'",
    "SET GLOBAL python_enable_replacements = false",
    "SET autoload_known_extensions = false",
    "SET autoinstall_known_extensions = false",
    "SET allow_community_extensions = false",
    "SET enable_logging = false",
)
_SPOILING = ("INTERNAL Error", "FATAL Error")
_LOCK = ("SET enable_external_access = false", "SET lock_configuration = true")


@dataclass(slots=True)
class _Instance:
    """An open database with the number of executions that hold it."""

    connection: duckdb.DuckDBPyConnection | None = None
    users: int = 0
    is_retired: bool = False
    ready: threading.Event = field(default_factory=threading.Event)

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()


def engine_version() -> str:
    """DuckDB's version, as in ``2.0.0``."""
    return duckdb.__version__


class DuckDBEngine:
    """Runs plans on locked instances. Safe to call from many threads."""

    def __init__(
        self,
        *,
        threads: int,
        memory_bytes: int,
        spill: Path,
        spill_bytes: int,
        instances_max: int,
        open_scan: OpenScan | None = None,
    ) -> None:
        """``open_scan`` reads live relations; without it plans with scans are refused."""
        self._open_scan = open_scan or _no_scans
        self._config = {
            "threads": str(threads),
            "memory_limit": f"{memory_bytes}B",
            "temp_directory": str(spill),
            "max_temp_directory_size": f"{spill_bytes}B",
        }
        self._instances_max = instances_max
        self._instances: OrderedDict[str, _Instance] = OrderedDict()
        self._lock = threading.Lock()
        self._rehearsals: Rehearsals | None = None

    def execute(self, plan: Plan) -> Execution:
        """The statement on a cursor of its own, not started; closing it gives back cursor and instance."""
        instance = self._acquire(plan.instance)
        cursor = None
        try:
            assert instance.connection is not None, "an acquired instance is open"
            cursor = instance.connection.cursor()
            reads = self._reads(instance.connection, cursor, plan)
            _hold_temporaries(cursor, plan)
        except BaseException as error:
            if cursor is not None:
                cursor.close()
            self._release(instance)
            if isinstance(error, duckdb.FatalException):
                self.discard(instance)
                raise _explain(error) from None
            raise
        held = _Held(self, instance, cursor, reads)
        return Execution(lambda: held.start(plan), held.cancel, held.close, held.explain)

    def _reads(
        self, connection: duckdb.DuckDBPyConnection, cursor: duckdb.DuckDBPyConnection, plan: Plan
    ) -> Reads | None:
        """The plan's live relations under their names on the cursor; None when it has none."""
        if not plan.scans:
            return None
        from flightmesh.engine.live import Reads  # It loads pyarrow.dataset, which most servers never need.

        reads = Reads(self._open_scan, {name: plan.instance.scans[name] for name in plan.scans}, connection.cursor)
        reads.register(cursor)
        return reads

    def side_by_side(self, plan: Plan) -> Sequence[tuple[Scan, Narrowing]]:
        """What to open at once: reads of several sources, which the statement would ask for one after the other."""
        sources = {scan.source.key for name in plan.scans if isinstance(scan := plan.instance.scans[name], LiveScan)}
        if len(sources) < 2:
            return ()
        return [(plan.instance.scans[asked.scan], asked.narrowing) for asked in self.rehearse(plan)]

    def rehearse(self, plan: Plan) -> tuple[Asked, ...]:
        """What the plan will ask of its live relations, as far as that shows without touching them."""
        if not plan.scans:
            return ()
        from flightmesh.engine.rehearsal import Rehearsals

        with self._lock:
            self._rehearsals = self._rehearsals or Rehearsals()
        return self._rehearsals.rehearse(plan)

    def retire(self, keys: Collection[str]) -> None:
        """Closes these instances, each as soon as its last execution has ended."""
        with self._lock:
            retired = [self._instances.pop(key) for key in keys if key in self._instances]
            rehearsals = self._rehearsals
        if rehearsals is not None:
            rehearsals.forget(tuple(keys))
        for instance in retired:
            self._retire(instance)

    def discard(self, instance: _Instance) -> None:
        """Retires an instance that is of no use any more; the next statement opens a new one."""
        with self._lock:
            keys = [key for key, known in self._instances.items() if known is instance]
        self.retire(keys)

    def close(self) -> None:
        """Retires every instance."""
        with self._lock:
            keys = tuple(self._instances)
        self.retire(keys)
        if self._rehearsals is not None:
            self._rehearsals.close()

    @property
    def running(self) -> int:
        """How many executions are open now."""
        with self._lock:
            return sum(instance.users for instance in self._instances.values())

    def _acquire(self, spec: InstanceSpec) -> _Instance:
        """The instance with one more user. The first caller opens it, outside the lock; the others wait for it."""
        with self._lock:
            instance = self._instances.get(spec.key)
            opens = instance is None
            if instance is None:
                instance = self._instances[spec.key] = _Instance()
            self._instances.move_to_end(spec.key)
            instance.users += 1
            surplus = self._surplus()
        for old in surplus:
            self._retire(old)
        if opens:
            self._open(spec, instance)
        instance.ready.wait()
        if instance.connection is None:
            self._release(instance)
            raise FlightmeshError(
                ErrorCode.UNAVAILABLE, "The data cannot be opened.", hint="The server's log says why."
            )
        return instance

    def _open(self, spec: InstanceSpec, instance: _Instance) -> None:
        """Opens the instance, or leaves its connection None and forgets it, so that the next caller tries anew."""
        try:
            instance.connection = _locked(spec, self._config)
        except Exception as error:
            # Whatever it was, the next caller must be able to try anew. DuckDB's text quotes the views: its kind will
            # do.
            log.error("engine.open.failed key=%s kind=%s", spec.key, type(error).__name__)
            with self._lock:
                if self._instances.get(spec.key) is instance:
                    del self._instances[spec.key]
        finally:
            instance.ready.set()

    def _surplus(self) -> list[_Instance]:
        """The longest unused instances over the bound; called under the lock."""
        idle = [key for key, instance in self._instances.items() if instance.users == 0]
        return [self._instances.pop(key) for key in idle[: max(0, len(self._instances) - self._instances_max)]]

    def _retire(self, instance: _Instance) -> None:
        with self._lock:
            instance.is_retired = True
            is_free = instance.users == 0
        if is_free:
            instance.close()

    def _release(self, instance: _Instance) -> None:
        with self._lock:
            instance.users -= 1
            is_last = instance.is_retired and instance.users == 0
        if is_last:
            instance.close()


class _Held:
    """What an execution holds; given back exactly once."""

    def __init__(
        self, engine: DuckDBEngine, instance: _Instance, cursor: duckdb.DuckDBPyConnection, reads: Reads | None
    ) -> None:
        self._engine = engine
        self._instance = instance
        self._cursor = cursor
        self._reads = reads
        self._reader: pa.RecordBatchReader | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    def start(self, plan: Plan) -> pa.RecordBatchReader:
        """The statement's stream, to be closed with the rest."""
        if self._reads is not None:
            self._reads.begin(self._engine.side_by_side(plan))
        try:
            self._reader = _stream(self._cursor, plan)
            return self._reader
        except duckdb.Error as error:
            failure = self.explain(error)
        raise failure

    def cancel(self) -> None:
        """Stops the statement; a live read that waits for its source is woken."""
        self._cursor.interrupt()
        if self._reads is not None:
            self._reads.cancel()

    def explain(self, error: Exception) -> FlightmeshError:
        """What the stream raised, in words fit for a client; a source's own failure is the one that counts."""
        # After such an error DuckDB refuses all further statements of the database, whoever's they are.
        if str(error).startswith(_SPOILING):
            self._engine.discard(self._instance)
        if self._reads is not None and self._reads.failure is not None:
            log.debug("engine.stream.failed", exc_info=error)
            return self._reads.failure
        return _explain(error)

    def close(self) -> None:
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
        if was_closed:
            return
        with ExitStack() as giving_back:  # All of it, whatever one of them raises.
            giving_back.callback(self._engine._release, self._instance)
            giving_back.callback(self._cursor.close)
            if self._reader is not None:
                giving_back.callback(self._reader.close)
            if self._reads is not None:
                giving_back.callback(self._reads.close)
            giving_back.callback(self._cursor.interrupt)


def _no_scans(_scan: Scan, _narrowing: Narrowing, _schema: pa.Schema, _nested: Nested) -> Fetch:
    raise FlightmeshError(ErrorCode.UNAVAILABLE, "This engine reads no live sources.")


def _explain(error: Exception) -> FlightmeshError:
    """What the stream raised, in words fit for a client; the whole goes to the log."""
    failure = runtime_error(str(error))
    level = logging.ERROR if failure.code is ErrorCode.INTERNAL else logging.DEBUG
    log.log(level, "engine.stream.failed", exc_info=error)
    return failure


def _locked(spec: InstanceSpec, config: dict[str, str]) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:", config=dict(config))
    try:
        for statement in _SETTINGS:
            connection.execute(statement)
        for attachment in spec.attachments:
            connection.execute(f"ATTACH {literal(str(attachment.path))} AS {quote(attachment.alias)} (READ_ONLY)")
        if spec.scans:
            from flightmesh.engine.live import stand_ins

            stand_ins(connection, spec.scans)
        for statement in (*spec.ddl, *_LOCK):
            connection.execute(statement)
    except duckdb.Error:
        connection.close()
        raise
    return connection


def _hold_temporaries(cursor: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    """Gives the session's own tables their names on the cursor, and on no other; to the catalogue without rows."""
    for table in plan.temporaries:
        if plan.is_catalogue:
            columns = ", ".join(
                f"{quote(name)} {kind}{'' if field.nullable else ' NOT NULL'}"
                for (name, kind), field in zip(table.columns, table.schema, strict=True)
            )
            cursor.execute(f"CREATE TEMP TABLE {quote(table.name)} ({columns})")
        else:
            cursor.register(table.name, table.open())


def _stream(cursor: duckdb.DuckDBPyConnection, plan: Plan) -> pa.RecordBatchReader:
    """The statement's stream. Errors of binding cannot come here (the twin bound the text); those of running can."""
    if plan.search_path:
        # Needed per cursor: DuckDB does not hand the search path on to cursors. Allowed after the lock.
        cursor.execute(f"SET search_path = {literal(','.join(plan.search_path))}")
    return cursor.sql(plan.sql, params=list(plan.parameters) or None).to_arrow_reader(plan.batch_rows)

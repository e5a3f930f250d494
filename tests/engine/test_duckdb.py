"""DuckDB as an engine: instances are shared, locked and closed in time; running statements can be stopped."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from flightmesh.engine.base import Attachment, InstanceSpec, LiveScan, Plan, Temporary
from flightmesh.engine.duckdb import DuckDBEngine, engine_version
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.model import Source
from flightmesh.sources.base import Fetch
from flightmesh.sources.registry import SourceRef
from tests.temporaries import temporary

NOTHING = InstanceSpec("nothing", (), ())
ENDLESS = "SELECT sum(a.range * b.range) AS v FROM range(10000000000) a, range(10000000000) b"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[DuckDBEngine]:
    """An engine with little memory, for at most three instances."""
    engine = DuckDBEngine(
        threads=2, memory_bytes=100_000_000, spill=tmp_path / "spill", spill_bytes=10_000_000, instances_max=3
    )
    yield engine
    engine.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A database file with one table of thousand rows."""
    path = tmp_path / "data.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE numbers AS SELECT range AS n FROM range(1000)")
    return path


def _spec(key: str, path: Path) -> InstanceSpec:
    ddl = ("CREATE SCHEMA shop", 'CREATE VIEW shop.numbers AS SELECT n FROM "hidden"."main"."numbers"')
    return InstanceSpec(key, (Attachment(path, "hidden"),), ddl)


def _plan(sql: str, spec: InstanceSpec = NOTHING, *values: object, search_path: tuple[str, ...] = ()) -> Plan:
    return Plan("duckdb", spec, sql, values, search_path, 2_048)


def _read(engine: DuckDBEngine, plan: Plan) -> pa.Table:
    execution = engine.execute(plan)
    try:
        return execution.start().read_all()
    finally:
        execution.close()


def _open(engine: DuckDBEngine, spec: InstanceSpec) -> None:
    """Opens the instance as a first statement does, and leaves it idle."""
    execution = engine.execute(_plan("SELECT 1 AS a", spec))
    execution.start().read_all()
    execution.close()


def test_rows_through_a_view(engine: DuckDBEngine, data: Path) -> None:
    """A plan reads the public view over the attached file, with its parameters, in batches of the size asked for."""
    spec = _spec("a", data)
    assert _read(engine, _plan("SELECT sum(n) AS s FROM shop.numbers WHERE n < $1", spec, 10)).to_pylist() == [
        {"s": 45}
    ]
    execution = engine.execute(_plan("SELECT range FROM range(10000)"))
    sizes = [batch.num_rows for batch in execution.start()]
    execution.close()
    assert sizes[:-1] == [2_048] * 4


def test_the_search_path_belongs_to_one_execution(engine: DuckDBEngine, data: Path) -> None:
    """A default schema of one session must not reach the next statement on the same instance."""
    spec = _spec("a", data)
    plan = _plan("SELECT count(*) AS c FROM numbers", spec, search_path=('"memory"."shop"',))
    assert _read(engine, plan)["c"].to_pylist() == [1_000]
    with pytest.raises(FlightmeshError):
        _read(engine, _plan("SELECT count(*) AS c FROM numbers", spec))


def test_many_callers_share_one_instance(engine: DuckDBEngine, data: Path) -> None:
    """Opening takes a second at first: it is done once, and whoever comes meanwhile waits for it."""
    spec, found, gate = _spec("a", data), [], threading.Barrier(8)

    def read() -> None:
        gate.wait()
        found.append(_read(engine, _plan("SELECT count(*) AS c FROM shop.numbers", spec))["c"][0].as_py())

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1_000] * 8
    assert list(engine._instances) == ["a"]
    assert engine.running == 0


def test_a_retired_instance_lives_until_its_last_execution_ends(engine: DuckDBEngine, data: Path) -> None:
    """A reload retires instances under running streams: these are read to their end, then the file is let go."""
    execution = engine.execute(_plan("SELECT n FROM shop.numbers", _spec("a", data)))
    instance = engine._instances["a"]
    engine.retire(["a", "unknown"])
    assert "a" not in engine._instances
    assert execution.start().read_all().num_rows == 1_000
    assert str(data) in _open_files()
    execution.close()
    assert str(data) not in _open_files()
    with pytest.raises(duckdb.ConnectionException):
        instance.connection.execute("SELECT 1")  # type: ignore[union-attr]


def test_retiring_an_idle_instance_closes_it(engine: DuckDBEngine, data: Path) -> None:
    """Files of an old generation can be removed at once when nobody reads them."""
    _open(engine, _spec("a", data))
    assert str(data) in _open_files()
    engine.retire(["a"])
    assert str(data) not in _open_files()
    assert _read(engine, _plan("SELECT count(*) AS c FROM shop.numbers", _spec("a", data)))["c"].to_pylist() == [1_000]


def test_closing_the_engine_closes_what_is_idle(engine: DuckDBEngine, data: Path) -> None:
    """Nothing stays open behind a server that stops."""
    _open(engine, _spec("a", data))
    engine.close()
    assert str(data) not in _open_files()


def test_instances_are_bounded_and_the_oldest_idle_goes(engine: DuckDBEngine) -> None:
    """One instance per role set could be many: beyond the bound the one unused for longest is closed, never a used."""
    held = engine.execute(_plan("SELECT 1 AS a", InstanceSpec("held", (), ())))
    for key in ("b", "c", "d", "e"):
        _open(engine, InstanceSpec(key, (), ()))
    assert list(engine._instances) == ["held", "d", "e"]
    _open(engine, InstanceSpec("d", (), ()))
    _open(engine, InstanceSpec("f", (), ()))
    assert list(engine._instances) == ["held", "d", "f"]
    assert held.start().read_all().to_pylist() == [{"a": 1}]
    held.close()


def test_an_instance_that_cannot_be_opened_is_tried_again(engine: DuckDBEngine, tmp_path: Path, data: Path) -> None:
    """A file that is missing now may be there in a minute; nobody is left waiting for the failed attempt."""
    late = tmp_path / "late.duckdb"
    with pytest.raises(FlightmeshError, match="cannot be opened") as failure:
        engine.execute(_plan("SELECT 1", _spec("late", late)))
    assert failure.value.code is ErrorCode.UNAVAILABLE
    assert str(late) not in str(failure.value)
    assert engine.running == 0
    data.rename(late)
    assert _read(engine, _plan("SELECT count(*) AS c FROM shop.numbers", _spec("late", late)))["c"].to_pylist() == [
        1_000
    ]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM read_parquet('https://example.org/x.parquet')",
        "ATTACH '/tmp/x.duckdb'",
        "COPY (SELECT 1) TO '/tmp/flightmesh-must-not-exist.csv'",
        "SET TimeZone = 'Asia/Tokyo'",
        "SET GLOBAL enable_external_access = true",
        "RESET lock_configuration",
        "PRAGMA enable_profiling",
        "INSTALL httpfs",
        "LOAD '/tmp/x.duckdb_extension'",
        "SELECT * FROM local_table",
    ],
)
def test_the_lock_holds(engine: DuckDBEngine, sql: str) -> None:
    """The gate refuses these long before; should one ever reach the engine, it can do no more than fail."""
    local_table = pa.table({"a": [1]})
    assert local_table.num_rows == 1
    with pytest.raises(FlightmeshError) as failure:
        _read(engine, _plan(sql))
    assert "passwd" not in str(failure.value)
    assert not Path("/tmp/flightmesh-must-not-exist.csv").exists()


def test_a_database_file_is_attached_for_reading_only(engine: DuckDBEngine, data: Path) -> None:
    """Even a statement that names the hidden database cannot change it."""
    before = data.read_bytes()
    spec = _spec("a", data)
    for sql in ('DELETE FROM "hidden".main.numbers', 'CREATE TABLE "hidden".main.x AS SELECT 1'):
        with pytest.raises(FlightmeshError):
            _read(engine, _plan(sql, spec))
    engine.retire(["a"])
    assert data.read_bytes() == before


def test_cursors_are_in_utc_whatever_the_machine(engine: DuckDBEngine) -> None:
    """DuckDB does not hand what a connection has set for itself on to its cursors: settings must be global."""
    sql = "SELECT current_setting('TimeZone') AS z, current_setting('python_enable_replacements') AS p, now() AS n"
    table = _read(engine, _plan(sql))
    assert table["z"].to_pylist() == ["UTC"]
    assert table["p"].to_pylist() == [False]
    assert table.schema.field("n").type == pa.timestamp("us", "UTC")


def test_a_running_statement_is_stopped(engine: DuckDBEngine) -> None:
    """A client that leaves must free the processor: the interrupt ends the statement within a quarter of a second."""
    execution = engine.execute(_plan(ENDLESS))
    stopped = time.monotonic() + 0.3
    threading.Timer(0.3, execution.cancel).start()
    with pytest.raises(Exception, match=r"INTERRUPT|was stopped") as failure:
        execution.start().read_all()
    assert time.monotonic() - stopped < 0.5
    error = failure.value  # Stopped before its first batch it has said so itself.
    told = error if isinstance(error, FlightmeshError) else execution.explain(error)
    assert told.code is ErrorCode.CANCELLED
    execution.close()
    assert engine.running == 0


def test_two_statements_of_one_instance_do_not_disturb_each_other(engine: DuckDBEngine) -> None:
    """The interrupt of one cursor leaves its neighbour on the same instance alone."""
    endless = engine.execute(_plan(ENDLESS))
    finite = engine.execute(_plan("SELECT range AS v FROM range(2000000)"))
    threading.Timer(0.1, endless.cancel).start()
    with pytest.raises(Exception, match=r"INTERRUPT|was stopped"):
        endless.start().read_all()
    assert finite.start().read_all().num_rows == 2_000_000
    endless.close()
    finite.close()


def test_closing_is_idempotent_and_frees_in_mid_stream(engine: DuckDBEngine) -> None:
    """Streams end in many ways, some of them twice."""
    execution = engine.execute(_plan("SELECT range FROM range(10000000)"))
    execution.start().read_next_batch()
    assert engine.running == 1
    execution.close()
    execution.close()
    assert engine.running == 0


def test_memory_is_bounded_and_the_error_tells(engine: DuckDBEngine) -> None:
    """A greedy query gets EXHAUSTED with advice; the next one runs."""
    greedy = "SELECT list(range::VARCHAR || repeat('x', 100)) AS v FROM range(10000000)"
    with pytest.raises(FlightmeshError, match="more memory than the server grants") as failure:
        _explained(engine, greedy)
    assert failure.value.code is ErrorCode.EXHAUSTED
    assert _read(engine, _plan("SELECT 1 AS a"))["a"].to_pylist() == [1]


@pytest.mark.parametrize(
    ("sql", "values", "code", "told"),
    [
        ("SELECT CAST($1 AS INTEGER)", ("secret",), ErrorCode.INVALID, "could not be converted to INT32"),
        ("SELECT 9223372036854775807 + range FROM range(9)", (), ErrorCode.INVALID, "out of the range"),
        ("SELECT error('secret')", (), ErrorCode.INVALID, "failed on one of its values"),
    ],
)
def test_errors_at_run_time_keep_their_values(
    engine: DuckDBEngine, sql: str, values: tuple[object, ...], code: ErrorCode, told: str
) -> None:
    """DuckDB quotes the value that failed, which may be of a column the reader sees only masked."""
    with pytest.raises(FlightmeshError, match=told) as failure:
        _explained(engine, sql, *values)
    assert failure.value.code is code
    assert "secret" not in str(failure.value)


def test_an_instance_that_duckdb_gave_up_is_replaced(tmp_path: Path) -> None:
    """One text of a source that is not UTF-8 would end every later statement of every reader of the same ports."""
    offsets, schema = pa.array([0, 1], pa.int32()).buffers()[1], pa.schema([("a", pa.string())])
    broken = pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(b"\xff")])
    batches = [pa.RecordBatch.from_arrays([broken], schema=schema)]

    def opened(*_: object) -> Fetch:
        return Fetch(pa.RecordBatchReader.from_batches(schema, batches), lambda: None, lambda: None)

    scan = LiveScan(schema, SourceRef("a.b", "s", tmp_path, Source.model_construct()), ("s", "t"))
    spec = InstanceSpec("live", (), ("CREATE VIEW texts AS FROM temp.main.scan",), {"scan": scan})
    engine = DuckDBEngine(
        threads=1, memory_bytes=1 << 27, spill=tmp_path, spill_bytes=1 << 20, instances_max=2, open_scan=opened
    )
    plan = replace(_plan("SELECT upper(a) AS a FROM texts", spec), scans=("scan",))
    held = engine.execute(plan)  # Open already when the other statement fails.
    execution = engine.execute(plan)
    failure = execution.explain(_failure(lambda: execution.start().read_all()))
    execution.close()
    assert isinstance(failure, FlightmeshError)
    assert failure.code is ErrorCode.INTERNAL
    assert engine._instances == {}
    assert _read(engine, _plan("SELECT 1 AS a", spec)).to_pylist() == [{"a": 1}]
    new = engine._instances["live"]
    assert isinstance(_failure(held.start), FlightmeshError)
    held.close()
    assert engine._instances == {"live": new}
    assert engine.running == 0
    engine.close()


def test_the_version_is_that_of_the_library() -> None:
    """SqlInfo and support cases name it."""
    assert engine_version() == duckdb.__version__


def _explained(engine: DuckDBEngine, sql: str, *values: object) -> None:
    """Runs a statement that fails, and raises what the execution says of it."""
    execution = engine.execute(_plan(sql, NOTHING, *values))
    try:
        failure = _failure(execution.start().read_all)
        raise execution.explain(failure)
    finally:
        execution.close()


def _failure(call: Callable[[], object]) -> Exception:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


def _open_files() -> set[str]:
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.add(os.readlink(entry))
        except FileNotFoundError:
            continue
    return found


def _numbers(*values: int, name: str = "own") -> Temporary:
    return temporary(name, "n BIGINT", version=f"{name} {values}", n=pa.array(values, pa.int64()))


def test_two_sessions_with_equal_names_do_not_see_each_other(engine: DuckDBEngine, data: Path) -> None:
    """One instance serves all sessions of a role set: a table called ``own`` in two of them is two tables, also while
    both statements run.
    """
    spec, sql = _spec("a", data), "SELECT o.n FROM own o JOIN shop.numbers USING (n) ORDER BY n"
    first = engine.execute(replace(_plan(sql, spec), temporaries=(_numbers(1, 2),)))
    second = engine.execute(replace(_plan(sql, spec), temporaries=(_numbers(7),)))
    assert list(engine._instances) == ["a"]
    assert second.start().read_all()["n"].to_pylist() == [7]
    assert first.start().read_all()["n"].to_pylist() == [1, 2]
    first.close()
    second.close()


def test_temporary_tables_are_gone_with_their_execution(engine: DuckDBEngine, data: Path) -> None:
    """The next statement on the instance, whoever's it is, would read the rows of the one before."""
    spec = _spec("a", data)
    plan = replace(_plan("SELECT count(*) AS c FROM own", spec), temporaries=(_numbers(1, 2),))
    assert _read(engine, plan)["c"].to_pylist() == [2]
    for sql in ("SELECT * FROM own", "SELECT * FROM temp.main.own"):
        with pytest.raises(FlightmeshError):
            _read(engine, _plan(sql, spec))
    found = _read(engine, _plan("SELECT count(*) AS c FROM duckdb_views() WHERE view_name = 'own'", spec))
    assert found["c"].to_pylist() == [0]


def test_rows_of_temporary_tables_are_let_go(engine: DuckDBEngine) -> None:
    """A server would keep every table that was ever read in memory."""
    rows = pa.table({"n": pa.array(range(1_000), pa.int64())})
    kept, opened = weakref.ref(rows), [rows]
    held = Temporary("own", "1", (("n", "BIGINT"),), rows.schema, 1_000, lambda: opened[0])
    assert _read(engine, replace(_plan("SELECT sum(n) AS s FROM own"), temporaries=(held,)))["s"].to_pylist() == [
        499_500
    ]
    del held, rows
    opened.clear()
    assert kept() is None


def test_a_temporary_table_comes_before_the_search_path(engine: DuckDBEngine, data: Path) -> None:
    """As the binder promised it: a name of the session's own is the session's own table."""
    plan = _plan("SELECT count(*) AS c FROM numbers", _spec("a", data), search_path=('"memory"."shop"',))
    assert _read(engine, replace(plan, temporaries=(_numbers(1, name="Numbers"),)))["c"].to_pylist() == [1]


def test_the_catalogue_knows_names_and_no_rows(engine: DuckDBEngine) -> None:
    """Listings show the session's own tables with their columns; nothing opens their rows."""

    def opened() -> pa.Table:
        raise AssertionError("the catalogue needs no rows")

    kept = pa.schema([pa.field("n", pa.int64(), nullable=False), ('q"t', pa.list_(pa.decimal128(10, 2)))])
    table = Temporary("Own", "1", (("n", "BIGINT"), ('q"t', "DECIMAL(10,2)[]")), kept, 5, opened)
    spec = InstanceSpec("cat", (), ("CREATE SCHEMA shop", "CREATE TABLE shop.numbers (n BIGINT NOT NULL)"))

    def asked(sql: str) -> list[tuple[object, ...]]:
        found = _read(engine, replace(_plan(sql, spec), temporaries=(table,), is_catalogue=True))
        return list(zip(*(column.to_pylist() for column in found.columns), strict=True))

    sql = "SELECT database_name, table_name FROM duckdb_tables() ORDER BY ALL"
    assert asked(sql) == [("memory", "numbers"), ("temp", "Own")]
    assert asked("SELECT column_name, column_type FROM (DESCRIBE own)") == [("n", "BIGINT"), ('q"t', "DECIMAL(10,2)[]")]
    assert asked('SELECT "null" FROM (DESCRIBE own)') == [("NO",), ("YES",)]
    assert asked("SELECT count(*) AS c FROM information_schema.tables WHERE table_type = 'LOCAL TEMPORARY'") == [(1,)]
    assert len(_read(engine, _plan(sql, spec))) == 1


def test_a_table_that_cannot_be_opened_takes_nothing_with_it(engine: DuckDBEngine) -> None:
    """The instance would stay held for ever, and its cursor open."""

    def gone() -> pa.Table:
        raise FlightmeshError(ErrorCode.NOT_FOUND, "gone")

    lost = Temporary("own", "1", (("n", "BIGINT"),), pa.schema([("n", pa.int64())]), 5, gone)
    with pytest.raises(FlightmeshError, match="gone"):
        engine.execute(replace(_plan("SELECT * FROM own"), temporaries=(_numbers(1, name="first"), lost)))
    assert engine.running == 0
    assert _read(engine, _plan("SELECT 1 AS a"))["a"].to_pylist() == [1]


def test_many_sessions_at_once(engine: DuckDBEngine, data: Path) -> None:
    """Tables are registered on cursors of one connection by many threads: rows do not mix."""
    spec, wrong = _spec("a", data), []

    def read(number: int) -> None:
        for turn in range(20):
            value = number * 1_000 + turn
            plan = replace(_plan("SELECT n FROM own", spec), temporaries=(_numbers(value),))
            found = _read(engine, plan)["n"].to_pylist()
            if found != [value]:
                wrong.append((value, found))

    threads = [threading.Thread(target=read, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []

"""Live relations in DuckDB: what is asked of sources, what comes back, how failures and stops travel, what is left."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from flightmesh.engine.base import InstanceSpec, Plan
from flightmesh.engine.duckdb import DuckDBEngine
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.sources.base import Fetch, Narrowing
from flightmesh.sources.predicate import AllOf, Compare, OneOf, conjuncts
from tests.engine.shelf import Shelf, instance, plan, scan_of

LEGS = pa.table(
    {
        "id": pa.array(range(10_000), pa.int64()),
        "carrier": [("EV", "UA", None)[n % 3] for n in range(10_000)],
        "delay": pa.array([n % 100 for n in range(10_000)], pa.int32()),
    }
)
CARRIERS = pa.table({"carrier": ["EV", "UA"], "name": ["ExpressJet", "United"]})
SPEC = instance(
    "legs", "CREATE VIEW legs AS SELECT * FROM temp.main.scan_1", scan_1=scan_of(LEGS.schema, "tms", "legs")
)
BOTH = instance(
    "both",
    "CREATE VIEW legs AS SELECT * FROM temp.main.scan_1",
    "CREATE VIEW carriers AS SELECT * FROM temp.main.scan_2",
    scan_1=scan_of(LEGS.schema, "tms", "legs"),
    scan_2=scan_of(CARRIERS.schema, "reference", "carriers"),
)


def _view(name: str, schema: pa.Schema) -> InstanceSpec:
    """An instance with a view over one live table of this name."""
    ddl = f"CREATE VIEW {name} AS SELECT * FROM temp.main.scan_1"
    return instance(name, ddl, scan_1=scan_of(schema, "tms", name))


MakeEngine = Callable[[Shelf], DuckDBEngine]


@pytest.fixture
def shelf() -> Shelf:
    """Legs and carriers, of two sources."""
    return Shelf({("tms", "legs"): LEGS, ("reference", "carriers"): CARRIERS})


@pytest.fixture
def make_engine(tmp_path: Path) -> Iterator[MakeEngine]:
    """Makes engines over a shelf, closed afterwards."""
    made: list[DuckDBEngine] = []

    def make(shelf: Shelf) -> DuckDBEngine:
        engine = DuckDBEngine(
            threads=2,
            memory_bytes=200_000_000,
            spill=tmp_path / "spill",
            spill_bytes=10_000_000,
            instances_max=3,
            open_scan=shelf.open,
        )
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.close()


@pytest.fixture
def engine(make_engine: MakeEngine, shelf: Shelf) -> DuckDBEngine:
    """An engine over legs and carriers."""
    return make_engine(shelf)


def _read(engine: DuckDBEngine, asked: Plan) -> pa.Table:
    execution = engine.execute(asked)
    try:
        return execution.start().read_all()
    finally:
        execution.close()


def _failure(engine: DuckDBEngine, asked: Plan) -> FlightmeshError:
    """What a caller is told when the statement fails, wherever it does."""
    execution = engine.execute(asked)
    try:
        execution.start().read_all()
    except FlightmeshError as error:
        return error
    except Exception as error:
        return execution.explain(error)
    finally:
        execution.close()
    raise AssertionError("nothing was raised")


def test_projection_and_filter_arrive(engine: DuckDBEngine, shelf: Shelf) -> None:
    """A source is asked for the columns and rows of the whole statement: else every query reads whole tables."""
    found = _read(engine, plan("SELECT sum(delay) AS s FROM legs WHERE carrier = 'EV' AND id < 9", SPEC))
    assert found.to_pylist() == [{"s": 0 + 3 + 6}]
    ((name, narrowing),) = shelf.asked
    assert name == "tms.legs"
    assert set(narrowing.columns or ()) == {"delay", "carrier", "id"}
    assert isinstance(narrowing.predicate, AllOf)
    assert {(part.column, part.op, part.value.as_py()) for part in narrowing.predicate.parts} == {  # type: ignore[union-attr]
        ("carrier", "=", "EV"),
        ("id", "<", 9),
    }
    assert shelf.is_tidy


def test_rows_that_were_not_asked_for_do_not_get_through(engine: DuckDBEngine, shelf: Shelf) -> None:
    """A source may ignore the predicate, as this one does: DuckDB does not filter again, so the engine must."""
    found = _read(engine, plan("SELECT id FROM legs WHERE delay IN (7, 8) AND id < 200 ORDER BY id", SPEC))
    assert found["id"].to_pylist() == [7, 8, 107, 108]
    (opened,) = shelf.opened
    assert isinstance(opened.narrowing.predicate, AllOf)
    assert OneOf in {type(part) for part in opened.narrowing.predicate.parts}


def test_a_secure_view_filters_and_masks_live_rows(make_engine: MakeEngine, shelf: Shelf) -> None:
    """The policy's filter must hold for live rows as for kept ones, and reach the source with the user's own."""
    ddl = (
        "CREATE VIEW inner_legs AS SELECT * FROM temp.main.scan_1",
        "CREATE SECURE VIEW legs AS SELECT id, CAST(NULL AS VARCHAR) AS carrier, delay FROM inner_legs"
        " WHERE carrier = 'UA'",
    )
    spec = instance("secure", *ddl, scan_1=scan_of(LEGS.schema, "tms", "legs"))
    found = _read(make_engine(shelf), plan("SELECT * FROM legs WHERE delay = 1 ORDER BY id LIMIT 2", spec))
    assert found.to_pylist() == [
        {"id": 1, "carrier": None, "delay": 1},
        {"id": 301, "carrier": None, "delay": 1},
    ]
    (opened,) = shelf.opened
    assert Compare("carrier", "=", pa.scalar("UA")) in conjuncts(opened.narrowing.predicate)
    assert shelf.is_tidy


def test_parameters_reach_the_source(engine: DuckDBEngine, shelf: Shelf) -> None:
    """A bound value narrows like a written one; it is a value, never text."""
    text = "EV' OR '1'='1"
    assert _read(engine, plan("SELECT id FROM legs WHERE carrier = $1 AND id = $2", SPEC, text, 3)).num_rows == 0
    parts = shelf.opened[0].narrowing.predicate.parts  # type: ignore[union-attr]
    assert {part.value.as_py() for part in parts} == {text, 3}  # type: ignore[union-attr]


def test_the_search_path_finds_live_views(make_engine: MakeEngine, shelf: Shelf) -> None:
    """A session's default schema holds for live ports too."""
    ddl = ("CREATE SCHEMA ops", "CREATE VIEW ops.legs AS SELECT * FROM temp.main.scan_1")
    spec = instance("schema", *ddl, scan_1=scan_of(LEGS.schema, "tms", "legs"))
    asked = plan("SELECT count(*) AS c FROM legs", spec, search_path=('"memory"."ops"',))
    assert _read(make_engine(shelf), asked)["c"].to_pylist() == [10_000]


def test_counting_needs_one_column(engine: DuckDBEngine, shelf: Shelf) -> None:
    """``count(*)`` reads no column of the table; it must not fetch all of them."""
    assert _read(engine, plan("SELECT count(*) AS c FROM legs", SPEC))["c"].to_pylist() == [10_000]
    assert len(shelf.opened[0].narrowing.columns or ()) == 1


def test_the_order_of_the_source_is_kept(make_engine: MakeEngine) -> None:
    """A filtered read hands rows on in the source's order: people page through live tables with LIMIT alone."""
    count = 300_000
    table = pa.table(
        {"n": pa.array(range(count), pa.int64()), "k": pa.array([n % 2 for n in range(count)], pa.int64())}
    )
    shelf = Shelf({("tms", "many"): table}, batch_rows=200_000)
    spec = _view("many", table.schema)
    found = _read(make_engine(shelf), plan("SELECT n FROM many WHERE k = 1", spec))
    assert found["n"].to_pylist() == list(range(1, count, 2))


def test_odd_names_of_columns(make_engine: MakeEngine) -> None:
    """Databases have columns with dots, quotes, brackets, and words that the filter's own form uses."""
    names = [
        "a.b",
        'q"uote',
        "x[0]",
        "end",
        "call",
        "options",
        "field_ref",
        "literal",
        "ünï",
        " blank ",
        "0",
        "$1",
        "ß",
    ]
    table = pa.table({name: pa.array([1, 2, None], pa.int64()) for name in names})
    shelf = Shelf({("tms", "odd"): table})
    spec = _view("odd", table.schema)
    engine = make_engine(shelf)
    for name in names:
        quoted = '"' + name.replace('"', '""') + '"'
        assert _read(engine, plan(f"SELECT {quoted} AS v FROM odd WHERE {quoted} = 2", spec))["v"].to_pylist() == [2]
        assert shelf.opened[-1].narrowing == Narrowing((name,), Compare(name, "=", pa.scalar(2)))


TYPES = pa.table(
    {
        "k": pa.array([1, 2, 3], pa.int64()),
        "struct": pa.array([{"x": 1, "y": {"z": "a"}}, None, {"x": 3, "y": None}]),
        "list": pa.array([[1, None], [], None]),
        "deep": pa.array([[{"x": [{"y": 1}]}], None, [{"x": None}, None, {"x": [None, {"y": 2}]}]]),
        "map": pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int32())),
        "decimal": pa.array([Decimal("1.10"), None, Decimal("-3.00")], pa.decimal128(38, 2)),
        "instant": pa.array([0, None, 2], pa.timestamp("us", "UTC")),
        "seconds": pa.array([0, None, 2], pa.timestamp("s")),
        "nanos": pa.array([0, None, 2], pa.timestamp("ns")),
        "day": pa.array([datetime.date(2020, 1, 1), None, datetime.date(1, 1, 1)]),
        "clock": pa.array([datetime.time(1, 2, 3, 4), None, datetime.time()], pa.time64("us")),
        "binary": [b"a\0b", None, b""],
        "large": pa.array(["a\0b", None, "ü"], pa.large_string()),
        "word": pa.array(["a", None, "b"]).dictionary_encode(),
        "flag": [True, None, False],
        "ratio": pa.array([float("nan"), None, -0.0]),
        "nothing": pa.nulls(3),
    }
)


@pytest.mark.parametrize("where", ["", " WHERE k >= 1"])
def test_values_of_every_type_come_through(make_engine: MakeEngine, where: str) -> None:
    """What the source holds is what is read, filtered or not: nested values, zones, NaN and NUL among it."""
    shelf = Shelf({("tms", "types"): TYPES}, batch_rows=2)
    spec = _view("types", TYPES.schema)
    engine = make_engine(shelf)
    for name in TYPES.schema.names:
        quoted = f'"{name}"'
        found = _read(engine, plan(f"SELECT {quoted} FROM types{where} ORDER BY k", spec))
        assert str(found[name].to_pylist()) == str(TYPES[name].to_pylist()), name


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("SELECT s.x AS v FROM t WHERE s.y.z = 'a'", [1]),
        ("SELECT s.y.z AS v FROM t WHERE s.x IN (1, 3) AND k < 3", ["a"]),
        ("SELECT k AS v FROM t WHERE s IS NULL", [2]),
        ("SELECT k AS v FROM t WHERE l[1] = 1", [1]),
        ("SELECT k AS v FROM t WHERE s.x IS NULL ORDER BY k", [2]),
    ],
)
def test_filters_on_parts_of_nested_columns(make_engine: MakeEngine, select: str, expected: list[object]) -> None:
    """A filter on a field of a struct has no form for sources: the column is fetched and filtered here."""
    table = TYPES.select(["k", "struct", "list"]).rename_columns(["k", "s", "l"])
    spec = _view("t", table.schema)
    found = _read(make_engine(Shelf({("tms", "t"): table})), plan(select, spec))
    assert found["v"].to_pylist() == expected


@pytest.mark.parametrize("where", ["", " WHERE n > 1"])
def test_a_schema_of_a_real_driver(make_engine: MakeEngine, where: str) -> None:
    """Drivers mark columns as never NULL and put metadata on them: reading must not stumble over either."""
    field = pa.field("n", pa.int64(), nullable=False, metadata={"PARQUET:field_id": "1"})
    schema = pa.schema([field, pa.field("s", pa.string(), metadata={"x": "y"})], metadata={"of": "the table"})
    table = pa.Table.from_arrays([pa.array([1, 2]), pa.array(["a", "b"])], schema=schema)
    spec = _view("t", schema)
    found = _read(make_engine(Shelf({("tms", "t"): table})), plan(f"SELECT s FROM t{where} ORDER BY n", spec))
    assert found["s"].to_pylist() == (["b"] if where else ["a", "b"])


@pytest.mark.parametrize("terms", [100, 1_000])
@pytest.mark.parametrize("joint", ["AND", "OR"])
def test_long_filters(engine: DuckDBEngine, terms: int, joint: str) -> None:
    """Generated statements have thousands of conditions: they may be pushed or not, and must be answered."""
    op = "<>" if joint == "AND" else "="
    condition = f" {joint} ".join(f"id {op} {n} {joint} delay <> -{n + 1}" for n in range(terms))
    found = _read(engine, plan(f"SELECT count(*) AS c FROM legs WHERE {condition}", SPEC))
    assert found["c"].to_pylist() == [10_000 - terms if joint == "AND" else 10_000]


def test_a_self_join_reads_twice(engine: DuckDBEngine, shelf: Shelf) -> None:
    """One relation under two names is two reads with filters of their own; sharing one would lose rows."""
    sql = (
        "SELECT a.id AS a, b.id AS b FROM legs a JOIN legs b ON a.id = b.delay WHERE a.id = 5 AND b.id < 200 ORDER BY b"
    )
    found = _read(engine, plan(sql, SPEC))
    assert found.to_pylist() == [{"a": 5, "b": 5}, {"a": 5, "b": 105}]
    assert [name for name, _ in shelf.asked] == ["tms.legs", "tms.legs"]
    assert shelf.is_tidy


def test_two_sources_are_opened_side_by_side(engine: DuckDBEngine, shelf: Shelf) -> None:
    """Waiting for one database after the other doubles the wait: both are asked before either is read."""
    sql = "SELECT name, count(*) AS c FROM legs JOIN carriers USING (carrier) WHERE delay < 50 GROUP BY 1 ORDER BY 1"
    found = _read(engine, plan(sql, BOTH))
    assert [row["name"] for row in found.to_pylist()] == ["ExpressJet", "United"]
    assert sorted(shelf.order[:2]) == ["open reference.carriers", "open tms.legs"]
    assert len(shelf.opened) == 2
    assert shelf.is_tidy


def test_reads_that_were_begun_and_not_needed_are_given_back(engine: DuckDBEngine, shelf: Shelf) -> None:
    """An empty side may spare the other: its read was opened, and must not keep a connection."""
    sql = "SELECT count(*) AS c FROM legs JOIN carriers USING (carrier) WHERE name = 'nobody'"
    assert _read(engine, plan(sql, BOTH))["c"].to_pylist() == [0]
    assert shelf.is_tidy


def test_a_read_that_fails_ahead_of_time_is_tried_when_it_is_needed(engine: DuckDBEngine, shelf: Shelf) -> None:
    """Opening ahead is a hint: the failure that counts is that of the read itself, with the source's own words."""
    shelf.refuses[("reference", "carriers")] = FlightmeshError(ErrorCode.DEADLINE, "Source reference: silent.")
    found = _failure(engine, plan("SELECT * FROM legs JOIN carriers USING (carrier)", BOTH))
    assert (found.code, found.message) == (ErrorCode.DEADLINE, "Source reference: silent.")
    assert shelf.is_tidy


@pytest.mark.parametrize("after", [0, 3])
def test_a_failing_source_is_heard_in_its_own_words(engine: DuckDBEngine, shelf: Shelf, after: int) -> None:
    """DuckDB passes on a text with Python in it; the caller must get the source's error with its code and help."""
    shelf.fails[("tms", "legs")] = (after, FlightmeshError(ErrorCode.UNAVAILABLE, "Source tms: gone.", hint="Wait."))
    found = _failure(engine, plan("SELECT id FROM legs", SPEC, rows=10))
    assert (found.code, found.message, found.hint) == (ErrorCode.UNAVAILABLE, "Source tms: gone.", "Wait.")
    assert shelf.is_tidy


@pytest.mark.parametrize("sql", ["SELECT id FROM legs", "SELECT carrier, name FROM legs JOIN carriers USING (carrier)"])
@pytest.mark.parametrize("when", ["open", "read"])
def test_a_fault_of_a_source_never_tells_its_text(engine: DuckDBEngine, shelf: Shelf, sql: str, when: str) -> None:
    """A driver's exception may quote a password or rows: clients get a plain sentence, the log the rest."""
    fault = ValueError("password=hunter2 at /secret/place")
    if when == "open":
        shelf.refuses[("tms", "legs")] = fault
    else:
        shelf.fails[("tms", "legs")] = (1, fault)
    found = _failure(engine, plan(sql, BOTH if "carriers" in sql else SPEC))
    assert found.code is ErrorCode.UNAVAILABLE
    assert "hunter2" not in str(found)
    assert shelf.is_tidy


def test_a_source_that_brings_other_columns_than_promised(make_engine: MakeEngine) -> None:
    """A kind of source with a fault must fail the read with a name, not crash the process or mix columns up."""

    def wrong(*_: object) -> Fetch:
        table = pa.table({"id": ["text"], "carrier": ["x"], "delay": ["y"]})
        return Fetch(table.to_reader(), lambda: None, lambda: None)

    shelf = Shelf({})
    shelf.open = wrong  # type: ignore[method-assign, assignment]
    found = _failure(make_engine(shelf), plan("SELECT id FROM legs", SPEC))
    assert "Error" not in found.message
    assert "text" not in str(found)


def test_a_hanging_source_can_be_left_at_once(engine: DuckDBEngine, shelf: Shelf) -> None:
    """A consumer that goes away must not keep a thread for as long as a silent source likes."""
    shelf.hangs.add(("tms", "legs"))
    execution = engine.execute(plan("SELECT sum(delay) AS s FROM legs", SPEC))
    failures: list[Exception] = []

    def read() -> None:
        try:
            execution.start().read_all()
        except Exception as error:
            failures.append(execution.explain(error) if not isinstance(error, FlightmeshError) else error)

    reading = threading.Thread(target=read)
    reading.start()
    assert shelf.is_hanging.wait(10)
    start = time.monotonic()
    execution.cancel()
    reading.join(5)
    execution.close()
    assert not reading.is_alive()
    assert time.monotonic() - start < 1
    assert [failure.code for failure in failures if isinstance(failure, FlightmeshError)] == [ErrorCode.CANCELLED]
    assert shelf.is_tidy
    assert engine.running == 0


def test_closing_before_starting_gives_everything_back(engine: DuckDBEngine, shelf: Shelf) -> None:
    """A client may ask for a statement and vanish: nothing was opened, and nothing stays held."""
    execution = engine.execute(plan("SELECT id FROM legs", SPEC))
    execution.close()
    execution.close()
    assert shelf.opened == []
    assert engine.running == 0


def test_closing_half_read_gives_everything_back(engine: DuckDBEngine, shelf: Shelf) -> None:
    """A client that has seen enough leaves: the source's connection goes back at once, not when memory is swept."""
    execution = engine.execute(plan("SELECT id FROM legs", SPEC, rows=10))
    assert execution.start().read_next_batch().num_rows == 10
    execution.close()
    assert [opened.closed > 0 and opened.is_cancelled.is_set() for opened in shelf.opened] == [True]
    assert engine.running == 0


def test_a_limit_stops_the_source(make_engine: MakeEngine) -> None:
    """``LIMIT 5`` of a table of a million rows reads some batches, not all."""
    table = pa.table({"n": pa.array(range(1_000_000), pa.int64())})
    shelf = Shelf({("tms", "many"): table}, batch_rows=10_000)
    spec = _view("many", table.schema)
    assert _read(make_engine(shelf), plan("SELECT n FROM many LIMIT 5", spec)).num_rows == 5
    assert shelf.opened[0].batches < 50
    assert shelf.is_tidy


def test_stopping_before_the_source_is_opened_holds(make_engine: MakeEngine, shelf: Shelf) -> None:
    """A stop may come between asking and opening: the source is not asked any more, or given back if it was."""
    engine, opening, go_on = make_engine(shelf), threading.Event(), threading.Event()
    plain = shelf.open

    def slow(*arguments: object) -> Fetch:
        opening.set()
        assert go_on.wait(10)
        return plain(*arguments)  # type: ignore[arg-type]

    engine._open_scan = slow
    execution = engine.execute(plan("SELECT sum(id) AS s FROM legs", SPEC))
    failures: list[Exception] = []

    def read() -> None:
        try:
            execution.start().read_all()
        except Exception as error:
            failures.append(error)

    reading = threading.Thread(target=read)
    reading.start()
    assert opening.wait(10)
    execution.cancel()
    go_on.set()
    reading.join(10)
    execution.close()
    assert len(failures) == 1
    assert shelf.is_tidy


def test_executions_do_not_share_their_reads(engine: DuckDBEngine, shelf: Shelf) -> None:
    """Two consumers of one instance read at once: stopping one must not stop, or feed, the other."""
    one = engine.execute(plan("SELECT id FROM legs", SPEC, rows=10))
    two = engine.execute(plan("SELECT id FROM legs", SPEC, rows=10))
    first, second = one.start(), two.start()
    first.read_next_batch()
    one.close()
    assert second.read_all().num_rows == 10_000
    two.close()
    assert len(shelf.opened) == 2
    assert shelf.is_tidy


def test_an_engine_without_sources_says_so(tmp_path: Path) -> None:
    """An engine that was given no way to read sources refuses in words."""
    engine = DuckDBEngine(threads=1, memory_bytes=100_000_000, spill=tmp_path, spill_bytes=1, instances_max=1)
    found = _failure(engine, plan("SELECT id FROM legs", SPEC))
    engine.close()
    assert (found.code, found.message) == (ErrorCode.UNAVAILABLE, "This engine reads no live sources.")

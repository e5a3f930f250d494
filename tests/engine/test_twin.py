"""The schema-only twin: what it promises of a statement is what the engine streams, and nothing is executed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from flightmesh.engine.base import InstanceSpec, Plan
from flightmesh.engine.duckdb import DuckDBEngine
from flightmesh.engine.twin import Twin
from flightmesh.errors import ErrorCode, FlightmeshError
from tests.temporaries import temporary

DDL = (
    "ATTACH ':memory:' AS shop",
    "CREATE SCHEMA shop.sales",
    "CREATE TABLE shop.sales.orders (id BIGINT, day DATE, price DECIMAL(10, 2), customer VARCHAR, "
    "placed TIMESTAMP WITH TIME ZONE, tags VARCHAR[], kind ENUM ('web', 'shop'))",
)


@pytest.fixture(scope="module")
def twin() -> Iterator[Twin]:
    """A twin with one table."""
    twin = Twin(DDL)
    yield twin
    twin.close()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDBEngine]:
    """An engine over nothing."""
    engine = DuckDBEngine(
        threads=1,
        memory_bytes=200_000_000,
        spill=tmp_path_factory.mktemp("spill"),
        spill_bytes=100_000_000,
        instances_max=4,
    )
    yield engine
    engine.close()


EXPRESSIONS = """
1 | 1::TINYINT | 1::SMALLINT | 1::BIGINT | 1::HUGEINT
1::UTINYINT | 1::USMALLINT | 1::UINTEGER | 1::UBIGINT | 1::UHUGEINT
1.5 | 1.5::FLOAT | 1.5::DOUBLE | 1.5::DECIMAL(4, 1) | 1.5::DECIMAL(9, 3) | 1.5::DECIMAL(18, 3) | 1.5::DECIMAL(38, 10)
'x' | 'x'::BLOB | true | NULL | NULL::INTEGER | '101'::BIT | uuid() | '{"a": 1}'::JSON | 1::BIGNUM | {'a': 1}::VARIANT
DATE '2020-01-01' | TIME '10:00:00' | '10:00:00'::TIME_NS | '10:00:00+02'::TIMETZ | INTERVAL 1 DAY
TIMESTAMP '2020-01-01' | '2020-01-01'::TIMESTAMP_S | '2020-01-01'::TIMESTAMP_MS | '2020-01-01'::TIMESTAMP_NS
'2020-01-01'::TIMESTAMPTZ | '2020-01-01'::TIMESTAMPTZ_NS | ['2020-01-01'::TIMESTAMPTZ] | now()
[1, 2] | ['a', NULL] | [[1], [2]] | [] | [NULL] | array_value(1, 2, 3) | array_value('a', 'b') | [uuid()] | ['101'::BIT]
{'a': 1, 'b': 'x'} | {'a': {'b': [1]}} | row(1, 2) | [{'a': 1}] | MAP {'k': 1} | MAP {1: ['x']} | MAP {}
union_value(num := 2) | [INTERVAL 1 DAY] | ['{}'::JSON] | [1::HUGEINT] | [DATE '2020-01-01'] | ['10:00:00+02'::TIMETZ]
'a'::ENUM ('a', 'b') | ['a'::ENUM ('a', 'b')] | {'e': 'a'::ENUM ('a', 'b')} | MAP {'a'::ENUM ('a', 'b'): 1}
[MAP {'a'::ENUM ('a', 'b'): ['b'::ENUM ('a', 'b')]}] | array_value('a'::ENUM ('a', 'b'))
count(*) | sum(1) | sum(1.5::DECIMAL(10, 2)) | avg(1) | list(1) | histogram(1) | min('x') | approx_quantile(1, 0.5)
"""
# The split keeps the list readable; no expression holds " | ".
TYPED = [part.strip() for line in EXPRESSIONS.strip().splitlines() for part in line.split(" | ")]


@pytest.mark.parametrize("expression", TYPED)
def test_the_promise_is_what_the_engine_streams(twin: Twin, engine: DuckDBEngine, expression: str) -> None:
    """Clients refuse a stream whose schema is not the promised one. ENUMs alone leave as text, at any depth."""
    sql = f'SELECT {expression} AS v, \'x\' AS "q""ü"'
    promised = twin.bind(sql).schema
    execution = engine.execute(Plan("duckdb", InstanceSpec("nothing", (), ()), sql, (), (), 1_024))
    try:
        reader = execution.start()
        streamed, table = reader.schema, reader.read_all()
    finally:
        execution.close()
    assert promised is not None
    if "ENUM" in expression:
        assert "dictionary" not in str(promised)
        assert table.column(0).combine_chunks().cast(promised.field(0).type).to_pylist() == table["v"].to_pylist()
    else:
        assert promised.equals(streamed, check_metadata=True)


def test_names_are_those_of_the_engine(twin: Twin, engine: DuckDBEngine) -> None:
    """Equal, quoted and made-up names must agree too, or the stream is refused as foreign."""
    for sql in (
        "SELECT 1 AS a, 2 AS a, 3 AS A",
        "SELECT 1, 1, 'x', 1 + 1, count(*)",
        'SELECT 1 AS "x.y", 2 AS "q""q", 3 AS " ", 4 AS "日😀"',
        "SELECT x.a, y.a FROM (SELECT 1 AS a) x, (SELECT 2 AS a) y",
        "SELECT " + ", ".join(f"{i} AS c{i}" for i in range(2_000)),
    ):
        promised = twin.bind(sql).schema
        execution = engine.execute(Plan("duckdb", InstanceSpec("nothing", (), ()), sql, (), (), 1_024))
        streamed = execution.start().schema
        execution.close()
        assert promised is not None
        assert promised.names == streamed.names


def test_parameters_are_named_and_typed_in_order(twin: Twin) -> None:
    """The door tells clients what to bind; JDBC binds into exactly these types."""
    bound = twin.bind("SELECT id FROM shop.sales.orders WHERE day = $d AND price > $p AND customer = $c AND id = $d2")
    assert bound.parameters == pa.schema(
        [("d", pa.date32()), ("p", pa.decimal128(10, 2)), ("c", pa.string()), ("d2", pa.int64())]
    )
    assert bound.is_open == (False,) * 4
    assert bound.schema == pa.schema([("id", pa.int64())])
    positional = twin.bind("SELECT ? = id, ? FROM shop.sales.orders LIMIT ?")
    assert positional.parameters.names == ["1", "2", "3"]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT ?",
        "SELECT ? + 1",
        "SELECT {'a': ?}",
        "SELECT [?]",
        "SELECT row(?)",
        "SELECT MAP {'a': ?}",
        "SELECT sum(?)",
    ],
)
def test_a_result_that_hangs_on_a_parameter_has_no_schema_yet(twin: Twin, sql: str) -> None:
    """Such a statement is no error: it is described once a type is known. The open type is reported as text."""
    bound = twin.bind(sql)
    assert bound.schema is None
    assert bound.is_open == (True,)
    assert bound.parameters.types == [pa.string()]


def test_a_cast_settles_the_type(twin: Twin) -> None:
    """What the planner writes around parameters makes every result describable."""
    bound = twin.bind("SELECT (CAST($1 AS DECIMAL(5, 2))) AS v, {'a': (CAST($2 AS DATE))} AS w")
    assert bound.schema == pa.schema([("v", pa.decimal128(5, 2)), ("w", pa.struct([("a", pa.date32())]))])


@pytest.mark.parametrize(
    ("sql", "code", "told"),
    [
        ("SELECT pric FROM shop.sales.orders", ErrorCode.INVALID, "Did you mean price?"),
        ("SELECT id FROM shop.sales.orderz", ErrorCode.NOT_FOUND, "orderz"),
        ("SELECT nosuch(id) FROM shop.sales.orders", ErrorCode.NOT_FOUND, "nosuch"),
        ("SELECT id FROM shop.sales.orders WHERE", ErrorCode.INVALID, "syntax error"),
        ("SELECT day + price FROM shop.sales.orders", ErrorCode.INVALID, "No function matches"),
    ],
)
def test_what_does_not_bind_is_told_with_its_place(twin: Twin, sql: str, code: ErrorCode, told: str) -> None:
    """The user sees the public name and the place; nothing else exists here that a text could name."""
    with pytest.raises(FlightmeshError, match=told) as failure:
        twin.bind(sql)
    assert failure.value.code is code
    assert "\n" not in str(failure.value)
    # And the twin is as good as before.
    assert twin.bind("SELECT 1 AS a").schema == pa.schema([("a", pa.int32())])


def test_the_search_path_is_that_of_the_call(twin: Twin) -> None:
    """A default catalog of one session must not leak into the next statement."""
    path = ('"shop"."sales"',)
    assert twin.bind("SELECT id FROM orders", search_path=path).schema == pa.schema([("id", pa.int64())])
    with pytest.raises(FlightmeshError):
        twin.bind("SELECT id FROM orders")
    assert twin.bind("SELECT id FROM orders", search_path=path).schema is not None


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM range(1000000000000) a, range(1000000000000) b",
        "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t) SELECT * FROM t",
        "SELECT * FROM read_csv('/nonexistent/file.csv')",
    ],
)
def test_binding_never_executes(twin: Twin, sql: str) -> None:
    """An endless statement binds at once; one over a file cannot even look whether it is there."""
    began = time.monotonic()
    if "read_csv" in sql:
        with pytest.raises(FlightmeshError):
            twin.bind(sql)
    else:
        assert twin.bind(sql).schema is not None
    assert time.monotonic() - began < 1


def test_no_setting_can_be_changed_by_a_statement(twin: Twin) -> None:
    """The gate lets no SET through; behind it the twin is locked as well, and only prepares."""
    with pytest.raises(AssertionError, match="locked"):
        twin._run("SET enable_external_access = true")


def test_many_threads_share_a_twin(twin: Twin) -> None:
    """One twin serves all statements of a Surface: answers do not mix."""
    wrong: list[object] = []

    def bind(number: int) -> None:
        for turn in range(30):
            schema = twin.bind(
                f"SELECT {number} AS c{number}_{turn}", search_path=(f'"shop"."{"sales"}"',) * (turn % 2)
            ).schema
            if schema is None or schema.names != [f"c{number}_{turn}"]:
                wrong.append(schema)

    threads = [threading.Thread(target=bind, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_closed_twin_refuses(tmp_path: Path) -> None:
    """A twin of a generation that is gone says so; closing twice is closing once."""
    twin = Twin(DDL)
    twin.close()
    twin.close()
    with pytest.raises(FlightmeshError, match="closed") as failure:
        twin.bind("SELECT 1")
    assert failure.value.code is ErrorCode.UNAVAILABLE


def test_broken_ddl_is_our_own_fault() -> None:
    """DDL is written by the planner: a mistake there is a bug, to be logged, never a client's error."""
    with pytest.raises(AssertionError, match="own statement failed"):
        Twin(("CREATE TABLE (",))


def _views(twin: Twin) -> int:
    """How many temporary views there are, as a statement that binds only without any."""
    try:
        twin.bind("SELECT * FROM own")
    except FlightmeshError:
        return 0
    return 1


def test_temporary_tables_bind_for_one_statement(twin: Twin) -> None:
    """A session's tables are known while its statement is bound and to nobody afterwards."""
    own = temporary("own", "id BIGINT, note VARCHAR")
    sql = "SELECT o.note, s.price FROM own o JOIN shop.sales.orders s USING (id)"
    assert twin.bind(sql, temporaries=[own]).schema == pa.schema(
        [("note", pa.string()), ("price", pa.decimal128(10, 2))]
    )
    assert _views(twin) == 0
    other = temporary("OWN", "x DOUBLE")
    assert twin.bind("SELECT * FROM temp.main.own", temporaries=[other]).schema == pa.schema([("x", pa.float64())])
    assert _views(twin) == 0


@pytest.mark.parametrize("sql", ["SELECT nothing FROM own", "SELEC", "SELECT * FROM own, theirs"])
def test_temporary_tables_do_not_outlive_a_failure(twin: Twin, sql: str) -> None:
    """A statement that does not bind would leave its session's columns for the next caller to see."""
    with pytest.raises(FlightmeshError):
        twin.bind(sql, temporaries=[temporary("own"), temporary("second")])
    assert _views(twin) == 0
    assert twin.bind("SELECT n FROM own", temporaries=[temporary("own")]).schema == pa.schema([("n", pa.int64())])


def test_a_table_that_cannot_be_made_takes_the_others_with_it(twin: Twin) -> None:
    """Half of a session's tables would stay when one has a type that the engine does not know."""
    wrong = temporary("wrong", "n BIGINT")
    object.__setattr__(wrong, "columns", (("n", "NO_SUCH_TYPE"),))
    with pytest.raises(AssertionError):
        twin.bind("SELECT 1", temporaries=[temporary("own"), wrong])
    assert _views(twin) == 0


def test_odd_names_of_temporary_tables(twin: Twin) -> None:
    """Names are people's: quotes, dots, spaces and letters beyond ASCII are bound like any other."""
    for name in ('q"q', "a.b", " ", "日😀", "select", "x" * 200):
        quoted = name.replace('"', '""')
        table = temporary(name, "n BIGINT")
        assert twin.bind(f'SELECT n FROM "{quoted}"', temporaries=[table]).schema is not None


def test_a_temporary_table_comes_before_the_search_path(twin: Twin) -> None:
    """As on the engine's cursor: what is described must be what is read."""
    bound = twin.bind(
        "SELECT * FROM orders", search_path=('"shop"."sales"',), temporaries=[temporary("orders", "mine BIGINT")]
    )
    assert bound.schema == pa.schema([("mine", pa.int64())])


def test_dictionaries_are_promised_to_clients_that_ask(twin: Twin) -> None:
    """One schema for those who decode them, one for all others; they differ in nothing else."""
    bound = twin.bind("SELECT id, kind FROM shop.sales.orders")
    assert bound.schema is not None
    assert bound.encoded is not None
    assert bound.schema.types == [pa.int64(), pa.string()]
    assert pa.types.is_dictionary(bound.encoded.field("kind").type)
    assert bound.encoded.field("id") == bound.schema.field("id")
    assert twin.bind("SELECT ?").encoded is None

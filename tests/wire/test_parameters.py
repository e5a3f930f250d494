"""Bound parameters through the stock ADBC driver: what comes back is what was bound, and compares as what it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

import adbc_driver_flightsql.dbapi as dbapi
import pyarrow as pa
import pyarrow.flight as fl
import pytest

from flightmesh.flightsql import messages as m
from flightmesh.flightsql.codec import decode, pack, unpack

if TYPE_CHECKING:
    from tests.conftest import ServedBy

pytestmark = pytest.mark.client

Bind: TypeAlias = Callable[..., pa.Table]
FLIGHTS = "aviation.flights.flights"


@pytest.fixture
def connection(server: ServedBy) -> Iterator[dbapi.Connection]:
    """An anonymous connection of the stock driver."""
    with server.adbc() as connection:
        yield connection


@pytest.fixture
def bind(connection: dbapi.Connection) -> Bind:
    """The rows of a statement with one array bound per parameter; with ``names``, bound under these."""

    def run(sql: str, *arrays: pa.Array, names: tuple[str, ...] = ()) -> pa.Table:
        columns = names or tuple(str(number) for number in range(1, len(arrays) + 1))
        with connection.cursor() as cursor:
            cursor.execute(sql, pa.table(list(arrays), names=list(columns)))
            return cursor.fetch_arrow_table()

    return run


def _integers() -> Iterator[pa.Array]:
    for bits in (8, 16, 32, 64):
        yield pa.array([-(2 ** (bits - 1)), 0, 2 ** (bits - 1) - 1, None], f"int{bits}")
        yield pa.array([0, 1, 2**bits - 1, None], f"uint{bits}")


def _decimals() -> Iterator[pa.Array]:
    for precision, scale in ((1, 0), (4, 2), (9, 9), (18, 3), (19, 0), (38, 0), (38, 10), (38, 37), (38, 38)):
        most = Decimal(10**precision - 1).scaleb(-scale, Context(prec=40))
        yield pa.array([most, most.copy_negate(), Decimal(0), None], pa.decimal128(precision, scale))


def _times() -> Iterator[pa.Array]:
    for unit, per_second in (("us", 10**6), ("ns", 10**9)):
        ends = [0, 86_400 * per_second - 1, 43_200 * per_second, None]
        yield pa.array(ends, pa.int64()).cast(pa.time64(unit))


def _timestamps() -> Iterator[pa.Array]:
    for unit, per_second in (("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)):
        moments = [0, -1, 1_704_067_200 * per_second - 1, None]
        yield pa.array(moments, pa.int64()).cast(pa.timestamp(unit))
    yield pa.array([0, -1, 1_704_067_199_999_999, None], pa.timestamp("us", "UTC"))
    # Outside what Python's datetime holds: the years 0 and 12000.
    yield pa.array([-62_167_219_200_000_000, 316_516_204_800_000_000], pa.timestamp("us"))


_TEXTS = ["", "a", "ü日😀\U0010ffff", "o'x\"\\", "a\0b", "\n", " x ", "NULL", "?", None]
_BYTES = [b"", b"\0\xff\\x41", b"abc", None]
_INFINITE = float("inf")

AS_BOUND: tuple[pa.Array, ...] = (
    *_integers(),
    pa.array([_INFINITE, -_INFINITE, -0.0, 1.1, 3.4028234663852886e38, 1e-45, None], pa.float32()),
    pa.array([_INFINITE, -_INFINITE, -0.0, 0.1, 1.7976931348623157e308, 5e-324, None], pa.float64()),
    *_decimals(),
    pa.array(_TEXTS),
    pa.array(_BYTES),
    pa.array([True, False, None]),
    pa.array([date(1, 1, 1), date(1970, 1, 1), date(9999, 12, 31), None], pa.date32()),
    pa.array([-1_000_000, 3_000_000], pa.int32()).cast(pa.date32()),
    *_times(),
    *_timestamps(),
    pa.array([None], pa.int32()),
)


@pytest.mark.parametrize("array", AS_BOUND, ids=lambda array: str(array.type))
def test_the_value_comes_back_as_bound(bind: Bind, array: pa.Array) -> None:
    """Type and value survive the way through driver, handle, ticket and engine: ends of ranges, all digits, NULL."""
    column = bind("SELECT ? AS v", array)["v"].combine_chunks()
    assert column.type == array.type
    assert column.equals(array)


def test_not_a_number_comes_back(bind: Bind) -> None:
    """NaN equals nothing, so it has a test of its own; a conversion by way of text or JSON would lose it."""
    for arrow in (pa.float32(), pa.float64()):
        column = bind("SELECT ? AS v, isnan(?) AS w", *[pa.array([float("nan")], arrow)] * 2)
        assert column["v"].type == arrow
        assert str(column["v"][0].as_py()) == "nan"
        assert column["w"].to_pylist() == [True]


AS_EQUAL: tuple[tuple[pa.Array, pa.DataType], ...] = (
    (pa.array([1.5, None], pa.float16()), pa.float32()),
    (pa.array([Decimal("1.50"), None], pa.decimal32(5, 2)), pa.decimal128(5, 2)),
    (pa.array([Decimal("1.50"), None], pa.decimal64(15, 2)), pa.decimal128(15, 2)),
    (pa.array([Decimal("1.50"), None], pa.decimal256(38, 2)), pa.decimal128(38, 2)),
    (pa.array(_TEXTS, pa.large_string()), pa.string()),
    (pa.array(_TEXTS, pa.string_view()), pa.string()),
    (pa.array(["x", None, "y", "x"]).dictionary_encode(), pa.string()),
    (pa.array([7, None, 7], pa.int16()).dictionary_encode(), pa.int16()),
    (pa.array(_BYTES, pa.large_binary()), pa.binary()),
    (pa.array(_BYTES, pa.binary_view()), pa.binary()),
    (pa.array([b"abcd", None], pa.binary(4)), pa.binary()),
    (pa.array([date(2024, 2, 29), None], pa.date64()), pa.date32()),
    (pa.array([0, 86_399, None], pa.int32()).cast(pa.time32("s")), pa.time64("us")),
    (pa.array([0, 86_399_999, None], pa.int32()).cast(pa.time32("ms")), pa.time64("us")),
    (pa.array([0, -1, 1_704_067_199, None], pa.timestamp("s", "UTC")), pa.timestamp("us", "UTC")),
    (pa.array([0, -1, 1_704_067_199_999, None], pa.timestamp("ms", "+05:30")), pa.timestamp("us", "UTC")),
    (pa.array([0, -1, 1_704_067_199_999_999, None], pa.timestamp("us", "Europe/Berlin")), pa.timestamp("us", "UTC")),
    (pa.array([0, -1_000, 1_704_067_199_999_999_000, None], pa.timestamp("ns", "UTC")), pa.timestamp("us", "UTC")),
)


@pytest.mark.parametrize(("array", "returned"), AS_EQUAL, ids=lambda value: str(getattr(value, "type", value)))
def test_types_that_the_engine_lacks_come_back_as_their_nearest(
    bind: Bind, array: pa.Array, returned: pa.DataType
) -> None:
    """Large, view, dictionary and zoned forms keep every value; only the form changes, and always to the same."""
    column = bind("SELECT ? AS v", array)["v"].combine_chunks()
    assert column.type == returned
    assert column.equals(array.cast(returned))


def test_an_untyped_null_is_null_of_the_type_the_plan_expects(bind: Bind) -> None:
    """Drivers bind None without a type; it must neither fail nor turn a date comparison into one of text."""
    null = pa.nulls(1)
    assert bind("SELECT ? AS v", null)["v"].to_pylist() == [None]
    row = bind(f"SELECT count(*) AS n, ? IS NULL AS v FROM {FLIGHTS} WHERE flight_date = ?", null, null)
    assert row.to_pylist() == [{"n": 0, "v": True}]
    nulls = bind(f"SELECT count(*) AS n FROM {FLIGHTS} WHERE tailnum IS NOT DISTINCT FROM ?", null)
    assert nulls["n"].to_pylist() == [2_512]


_HOUR = datetime(2013, 1, 1, 10, tzinfo=UTC)

FILTERS: tuple[tuple[str, tuple[pa.Array, ...], int], ...] = (
    ("carrier = ?", (pa.array(["EV"]),), 54_173),
    ("carrier = ?", (pa.array(["EV"], pa.large_string()),), 54_173),
    ("carrier = ?", (pa.array(["EV"]).dictionary_encode(),), 54_173),
    ("carrier IN (?, ?)", (pa.array(["EV"]), pa.array(["OO"])), 54_205),
    ("flight_date = ?", (pa.array([date(2013, 1, 1)]),), 842),
    ("flight_date = ?", (pa.array([date(2013, 1, 1)], pa.date64()),), 842),
    ("flight_date = ?", (pa.array(["2013-01-01"]),), 842),
    ("flight_date BETWEEN ? AND ?", (pa.array(["2013-01-01"]), pa.array([date(2013, 1, 1)])), 842),
    ("month = ? AND day = ?", (pa.array([1], pa.uint8()), pa.array([1], pa.int64())), 842),
    ("month = ? AND day = ?", (pa.array([Decimal("1.0")]), pa.array([1.0])), 842),
    ("month = ? AND day = ?", (pa.array(["1"]), pa.array(["1"])), 842),
    ("cancelled = ?", (pa.array([True]),), 8_255),
    ("time_hour = ?", (pa.array([_HOUR], pa.timestamp("us", "UTC")),), 6),
    ("time_hour = ?", (pa.array([_HOUR], pa.timestamp("ns", "America/New_York")),), 6),
    ("time_hour = ?", (pa.array(["2013-01-01 05:00:00-05"]),), 6),
    ("flight_date = ? AND carrier = ?", (pa.array(["2013-01-01"]), pa.array([""])), 0),
)


@pytest.mark.parametrize(("condition", "arrays", "rows"), FILTERS, ids=[str(i) for i in range(len(FILTERS))])
def test_parameters_filter_right(bind: Bind, condition: str, arrays: tuple[pa.Array, ...], rows: int) -> None:
    """A bound value compares with a column as a literal does, whatever Arrow type the client's library chose."""
    assert bind(f"SELECT count(*) AS n FROM {FLIGHTS} WHERE {condition}", *arrays)["n"].to_pylist() == [rows]


def test_binary_and_time_compare(bind: Bind) -> None:
    """The types that the bundled data lack, compared with literals."""
    arrays = (pa.array([b"\x00\xff"]), pa.array([b"\x00\xff"], pa.binary(2)), pa.array([3_600], pa.time32("s")))
    row = bind("SELECT ? = '\\x00\\xFF'::BLOB AS a, ? = '\\x00\\xFF'::BLOB AS b, ? = TIME '01:00' AS c", *arrays)
    assert row.to_pylist() == [{"a": True, "b": True, "c": True}]


@pytest.mark.parametrize(
    ("sql", "values", "names", "row"),
    [
        ("SELECT ? AS a, ? AS b", (1, "x"), (), {"a": 1, "b": "x"}),
        ("SELECT $2 AS a, $1 AS b, $2 AS c", (1, "x"), (), {"a": "x", "b": 1, "c": "x"}),
        ("SELECT $x AS a, $y AS b", (1, "x"), ("y", "x"), {"a": "x", "b": 1}),
        ("SELECT $x AS a, $y AS b", (1, "x"), (), {"a": 1, "b": "x"}),
        ("SELECT 'a?b' AS a, ? AS b -- ? $1", (1,), (), {"a": "a?b", "b": 1}),
        ("SELECT ?", (1,), (), {"$1": 1}),
        ("SELECT $x", (1,), (), {"$x": 1}),
        ("SELECT ? AS \"ü\", '日本😀' AS b, ? AS c", (1, 2), (), {"ü": 1, "b": "日本😀", "c": 2}),
    ],
)
def test_every_way_of_writing_parameters(
    bind: Bind, sql: str, values: tuple[Any, ...], names: tuple[str, ...], row: dict[str, Any]
) -> None:
    """``?`` by position, ``$1`` by number, ``$name`` by name where the names agree and by position where not."""
    assert bind(sql, *(pa.array([value]) for value in values), names=names).to_pylist() == [row]


@pytest.mark.parametrize(
    ("sql", "values", "answer"),
    [
        ("SELECT 1 + ? AS v", (1.5,), 2.5),
        ("SELECT ? + ? AS v", (1, 2), 3),
        ("SELECT -? AS v", (1,), -1),
        ("SELECT sum(?) AS v", (2,), 2),
        ("SELECT coalesce(?, ?) AS v", (None, "x"), "x"),
        ("SELECT year(?) AS v", (date(2013, 5, 1),), 2013),
        ("SELECT {'a': ?} AS v", (1,), {"a": 1}),
        ("SELECT [?, ?] AS v", (1, 2), [1, 2]),
        ("SELECT upper(?) AS v", ("x",), "X"),
        ("SELECT ? || ? AS v", ("a", "b"), "ab"),
        ("SELECT CASE WHEN ? THEN ? ELSE ? END AS v", (False, 1, 2), 2),
        ("WITH t AS (SELECT ? AS v) SELECT v + 1 AS v FROM t", (1,), 2),
        ("SELECT carrier AS v FROM aviation.flights.flights ORDER BY carrier DESC LIMIT ? OFFSET ?", (1, 0), "YV"),
        ("SELECT typeof(?) AS v", (1,), "BIGINT"),
    ],
)
def test_parameters_where_the_statement_leaves_their_type_open(
    bind: Bind, sql: str, values: tuple[Any, ...], answer: Any
) -> None:
    """Preparing must not fail because nothing tells a parameter's type yet: the bound value tells it."""
    assert bind(sql, *(pa.array([value]) for value in values))["v"].to_pylist() == [answer]


def test_rows_of_parameters_are_executed_one_after_the_other(bind: Bind) -> None:
    """A batch of parameters gives the concatenated results in the batch's order; a chunked one too."""
    days = pa.chunked_array([["2013-01-01"], ["2013-01-02", "1999-01-01"]])
    table = bind(f"SELECT count(*) AS n FROM {FLIGHTS} WHERE flight_date = ?", days)
    assert table["n"].to_pylist() == [842, 943, 0]
    rows = bind("SELECT * FROM (VALUES (?), (0)) AS t(v)", pa.array([1, 2]))
    assert rows["v"].to_pylist() == [1, 0, 2, 0]


def test_no_rows_of_parameters_are_no_rows_with_the_schema(bind: Bind) -> None:
    """An empty batch of parameters is no error and no single execution."""
    table = bind("SELECT ? AS v, 'x' AS w", pa.array([], pa.int16()))
    assert table.num_rows == 0
    assert table.schema.equals(pa.schema([("v", pa.int16()), ("w", pa.string())]))


@pytest.mark.parametrize(
    ("sql", "values", "told"),
    [
        ("SELECT ? AS v", (1, 2), "statement: 1; bound: 2"),
        ("SELECT ?, ? AS v", (1,), "statement: 2; bound: 1"),
        ("SELECT 1 AS v", (1,), "statement: 0; bound: 1"),
        ("SELECT ?, $x", (1, 2), "mixes"),
        ("SELECT $1, $3", (1, 2, 3), "leaves a number before it out"),
        ("SELECT * FROM range(?)", (3,), "hang on the value of a parameter"),
        ("SELECT 1 FROM aviation.flights.flights WHERE flight_date = ?", ("nonsense",), "could not be converted"),
        ("SELECT 1 FROM aviation.flights.flights WHERE day = ?", ("one",), "could not be converted to INT32"),
        ("SELECT ? + DATE '2013-01-01' AS v", ("x",), "No function matches"),
    ],
)
def test_what_does_not_fit_is_refused_clearly(bind: Bind, sql: str, values: tuple[Any, ...], told: str) -> None:
    """Wrong number, wrong kind, wrong text: INVALID_ARGUMENT that says which, never the server's failure."""
    with pytest.raises(dbapi.ProgrammingError, match=f"(?s)INVALID_ARGUMENT.*invalid: .*{told}"):
        bind(sql, *(pa.array([value]) for value in values))


def test_a_statement_without_its_values_is_refused(connection: dbapi.Connection) -> None:
    """Who forgets to bind is told so."""
    with connection.cursor() as cursor, pytest.raises(dbapi.ProgrammingError, match="none is bound"):
        cursor.execute("SELECT ? AS v")


@pytest.mark.parametrize(
    "array",
    [
        pa.array([[1]]),
        pa.array([{"a": 1}]),
        pa.array([(("k", 1),)], pa.map_(pa.string(), pa.int32())),
        pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
        pa.array([1], pa.duration("s")),
        pa.array([Decimal(1)], pa.decimal256(50, 0)),
        pa.array([Decimal(100)], pa.decimal128(5, -1)),
    ],
    ids=lambda array: str(array.type),
)
def test_types_that_cannot_be_bound_are_refused_by_name(bind: Bind, array: pa.Array) -> None:
    """Never a wrong value in place of a refusal: the error names the type and what may be bound instead."""
    with pytest.raises(dbapi.NotSupportedError, match=r"A parameter of type .* cannot be bound\. Bind numbers"):
        bind("SELECT ? AS v", array)


def test_nanoseconds_with_zone_are_refused_when_the_engine_would_cut_them(bind: Bind) -> None:
    """A cut timestamp would miss the row it names without a word."""
    with pytest.raises(dbapi.ProgrammingError, match="holds nanoseconds"):
        bind("SELECT ? AS v", pa.array([1], pa.timestamp("ns", "UTC")))


def test_too_many_rows_of_parameters_are_refused(bind: Bind) -> None:
    """One bind is a bounded number of executions."""
    with pytest.raises(dbapi.ProgrammingError, match="More than 10000 rows"):
        bind("SELECT ? AS v", pa.array(range(10_001)))


def test_text_that_is_no_utf8_is_refused(bind: Bind) -> None:
    """Broken buffers crash who touches them: they are refused before anything does, as the client's mistake."""
    broken = pa.array([b"\xff\xfe"]).view(pa.string())
    with pytest.raises(dbapi.ProgrammingError, match="no valid stream of Arrow record batches"):
        bind("SELECT ? AS v", broken)


@pytest.mark.parametrize("size", [65_000, 66_000, 3_900_000])
def test_large_parameters(bind: Bind, size: int) -> None:
    """Below 64 kB they travel in the handle, above they stay at the node; the client sees no difference."""
    value = "ü" * (size // 2)
    assert bind("SELECT ? AS v, length(?) AS n", *[pa.array([value])] * 2).to_pylist() == [{"v": value, "n": size // 2}]


def test_an_upload_over_the_bound_is_refused(bind: Bind) -> None:
    """A client cannot fill the node's memory with parameters."""
    with pytest.raises(dbapi.ProgrammingError, match="16777216 bytes of parameters were sent"):
        bind("SELECT ? AS v", pa.chunked_array([["x" * 1_000_000]] * 17))


def test_binding_again_replaces_the_values(server: ServedBy) -> None:
    """A prepared handle stays what it was: each bind makes a handle of its own, and the first is still unbound."""
    client, options = server.flight()
    with client:
        prepared = _prepare(client, options, "SELECT ? AS v")
        first = _bound(client, options, prepared.prepared_statement_handle, pa.record_batch({"1": [1]}))
        second = _bound(client, options, first, pa.record_batch({"1": ["x"]}))
        assert _rows(client, options, first) == [{"v": 1}]
        assert _rows(client, options, second) == [{"v": "x"}]
        with pytest.raises(pa.ArrowInvalid, match="none is bound"):
            _rows(client, options, prepared.prepared_statement_handle)


def test_get_schema_follows_the_bound_values(server: ServedBy) -> None:
    """The schema of a prepared statement takes its bound parameters into account, as the standard asks."""
    client, options = server.flight()
    with client:
        prepared = _prepare(client, options, "SELECT ? AS v")
        for value, arrow in ((True, pa.bool_()), (1.5, pa.float64())):
            handle = _bound(client, options, prepared.prepared_statement_handle, pa.record_batch({"1": [value]}))
            command = fl.FlightDescriptor.for_command(pack(m.CommandPreparedStatementQuery(handle)))
            assert client.get_schema(command, options).schema.equals(pa.schema([("v", arrow)]))


def test_preparing_tells_the_types_of_parameters_and_result(server: ServedBy) -> None:
    """JDBC binds into exactly these types; a parameter of the null type could not be bound at all."""
    client, options = server.flight()
    sql = f"SELECT flight_date, arr_delay FROM {FLIGHTS} WHERE carrier = $c AND arr_delay > $d AND flight_date < $f"
    with client:
        prepared = _prepare(client, options, sql)
    assert pa.ipc.read_schema(pa.py_buffer(prepared.parameter_schema)) == pa.schema(
        [("c", pa.string()), ("d", pa.int32()), ("f", pa.date32())]
    )
    assert pa.ipc.read_schema(pa.py_buffer(prepared.dataset_schema)).names == ["flight_date", "arr_delay"]
    assert prepared.is_update is False


def test_preparing_never_executes(server: ServedBy) -> None:
    """A statement that would run for years is prepared, described and closed at once, and leaves nothing running."""
    endless = "SELECT count(*) AS n FROM range(1000000000000) a, range(1000000000000) b WHERE a.range + b.range = ?"
    client, options = server.flight()
    with client:
        began, cpu = time.monotonic(), _cpu_seconds(server.process.pid)
        prepared = _prepare(client, options, endless)
        handle = _bound(client, options, prepared.prepared_statement_handle, pa.record_batch({"1": [-1]}))
        info = client.get_flight_info(
            fl.FlightDescriptor.for_command(pack(m.CommandPreparedStatementQuery(handle))), options
        )
        body = pack(m.ActionClosePreparedStatementRequest(handle))
        assert list(client.do_action(("ClosePreparedStatement", body), options)) == []
        assert time.monotonic() - began < 2
        assert info.schema.names == ["n"]
        time.sleep(1)
    assert _cpu_seconds(server.process.pid) - cpu < 1, "something goes on computing"


def test_a_handle_outlives_a_reload(start_small: Callable[..., Any]) -> None:
    """A prepared statement is approved anew on what is served now, so a reload in between is not noticed."""
    from flightmesh.service.control import Control

    with start_small() as served:
        client, options = served.flight()
        with client:
            prepared = _prepare(client, options, "SELECT count(*) AS n FROM clinical.trials.arms WHERE arms = ?")
            handle = _bound(client, options, prepared.prepared_statement_handle, pa.record_batch({"1": [1]}))
            Control(served.state).reload(30)
            assert _rows(client, options, handle) == [{"n": 1}]
            again = _bound(client, options, handle, pa.record_batch({"1": [9]}))
            assert _rows(client, options, again) == [{"n": 0}]


def test_a_handle_of_another_user_is_worth_nothing(server: ServedBy) -> None:
    """Bound values may be secrets: a handle that leaks opens nothing for others."""
    client, steward = server.flight("steward")
    with client:
        prepared = _prepare(client, steward, "SELECT ? AS v")
        handle = _bound(client, steward, prepared.prepared_statement_handle, pa.record_batch({"1": ["secret"]}))
        for other in ("analyst", None):
            with pytest.raises(fl.FlightUnauthenticatedError, match="issued to somebody else"):
                _rows(client, server.flight(other)[1], handle)


def test_rows_bound_for_an_update_of_nothing_are_refused(connection: dbapi.Connection) -> None:
    """executemany is the drivers' way to insert; of a query, which writes nothing, it is told so."""
    with connection.cursor() as cursor, pytest.raises(dbapi.ProgrammingError, match="which writes nothing"):
        cursor.executemany("SELECT ? AS v", [(1,), (2,)])


def _prepare(client: fl.FlightClient, options: fl.FlightCallOptions, sql: str) -> m.ActionCreatePreparedStatementResult:
    body = pack(m.ActionCreatePreparedStatementRequest(sql))
    (result,) = client.do_action(("CreatePreparedStatement", body), options)
    message = unpack(result.body.to_pybytes())
    assert isinstance(message, m.ActionCreatePreparedStatementResult)
    return message


def _bound(client: fl.FlightClient, options: fl.FlightCallOptions, handle: bytes, values: pa.RecordBatch) -> bytes:
    descriptor = fl.FlightDescriptor.for_command(pack(m.CommandPreparedStatementQuery(handle)))
    writer, reader = client.do_put(descriptor, values.schema, options)
    with writer:
        writer.write_batch(values)
        writer.done_writing()
        answer = decode(m.DoPutPreparedStatementResult, reader.read().to_pybytes())
    assert answer.prepared_statement_handle is not None
    return answer.prepared_statement_handle


def _rows(client: fl.FlightClient, options: fl.FlightCallOptions, handle: bytes) -> list[dict[str, Any]]:
    descriptor = fl.FlightDescriptor.for_command(pack(m.CommandPreparedStatementQuery(handle)))
    info = client.get_flight_info(descriptor, options)
    rows: list[dict[str, Any]] = client.do_get(info.endpoints[0].ticket, options).read_all().to_pylist()
    return rows


def _cpu_seconds(pid: int) -> float:
    """Processor time that the process has used so far."""
    import os
    from pathlib import Path

    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

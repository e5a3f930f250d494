"""What the batches of a result look like on the wire: their size for every stock client, and schemas of every shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import duckdb
import pyarrow as pa
import pyarrow.flight as fl
import pytest

from flightmesh.config import Limits
from flightmesh.flightsql import messages as m
from flightmesh.flightsql.codec import pack

if TYPE_CHECKING:
    from tests.conftest import ServedBy

pytestmark = pytest.mark.client

Read: TypeAlias = Callable[[str], pa.Table]
ROWS = Limits().batch_rows_max
# What gRPC puts around a record batch: the frame, and the fields of FlightData.
_ENVELOPE_BYTES = 64


@pytest.fixture
def batches(server: ServedBy) -> Callable[[str], list[pa.RecordBatch]]:
    """The batches of a statement's stream as they arrive."""

    def read(sql: str) -> list[pa.RecordBatch]:
        client, options = server.flight()
        with client:
            info = client.get_flight_info(fl.FlightDescriptor.for_command(pack(m.CommandStatementQuery(sql))), options)
            return [chunk.data for chunk in client.do_get(info.endpoints[0].ticket, options)]

    return read


def _fits(batch: pa.RecordBatch) -> bool:
    size: int = pa.ipc.get_record_batch_size(batch)
    return size + _ENVELOPE_BYTES < Limits().wire_bytes_max


def test_narrow_rows_come_by_the_number_of_rows(batches: Callable[[str], list[pa.RecordBatch]]) -> None:
    """Small batches would cost a client its speed: 64k rows each, and only the last has fewer."""
    found = batches("SELECT range AS v FROM range(300000)")
    assert [batch.num_rows for batch in found[:-1]] == [ROWS] * (len(found) - 1)
    assert ROWS >= 65_536
    assert sum(batch.num_rows for batch in found) == 300_000


WIDE = {
    "integers": "SELECT " + ", ".join(f"range + {i} AS c{i}" for i in range(40)) + " FROM range(60000)",
    "texts": "SELECT repeat('x', 100 + (range % 200)::INTEGER) AS a, range AS b FROM range(50000)",
    "unequal": "SELECT CASE WHEN range % 1000 = 0 THEN repeat('x', 900000) ELSE 'y' END AS a FROM range(20000)",
    "nested": "SELECT list_transform(range(20), lambda x: {'a': x, 'b': repeat('x', 20)}) AS a FROM range(8000)",
    "map": "SELECT MAP {'k' || range: [range, range + 1]} AS a, range AS b FROM range(100000)",
    "enum": "SELECT (CASE WHEN range % 2 = 0 THEN 'left' ELSE 'right' END)::ENUM ('left', 'right') AS a, "
    "repeat('x', 100) AS b FROM range(200000)",
    "nulls": "SELECT CASE WHEN range % 3 = 0 THEN repeat('x', 90) END AS a, NULL AS b FROM range(200000)",
    "union": "SELECT union_value(num := range) AS a, repeat('x', 100) AS b FROM range(50000)",
    "binary": "SELECT repeat('x', 500)::BLOB AS a FROM range(50000)",
}


@pytest.mark.parametrize("sql", WIDE.values(), ids=WIDE.keys())
def test_wide_rows_come_in_messages_that_every_client_takes(
    batches: Callable[[str], list[pa.RecordBatch]], sql: str
) -> None:
    """Grafana, Rust and JavaScript clients refuse messages over 4 MiB: none is, and none is needlessly small."""
    found = batches(sql)
    assert all(map(_fits, found))
    sizes = [pa.ipc.get_record_batch_size(batch) for batch in found]
    assert sum(sizes) / len(sizes) > 1_000_000


@pytest.mark.parametrize("sql", WIDE.values(), ids=WIDE.keys())
def test_cutting_loses_nothing(batches: Callable[[str], list[pa.RecordBatch]], adbc: Read, sql: str) -> None:
    """Slices put together are the engine's rows, through both stock clients."""
    whole = pa.Table.from_batches(batches(sql))
    whole.validate(full=True)
    relation = duckdb.sql(sql)
    assert relation is not None
    wanted = relation.to_arrow_table()
    assert whole.equals(wanted if wanted.schema == whole.schema else wanted.cast(whole.schema))
    other = adbc(sql)
    assert other.equals(whole if other.schema == whole.schema else whole.cast(other.schema))


_ONE_WIDE = "SELECT repeat('x', CASE WHEN range = 5 THEN 5000000 ELSE 10 END::INTEGER) AS a FROM range(10)"


def test_a_single_row_over_the_bound_is_refused_with_the_option(batches: Callable[[str], list[pa.RecordBatch]]) -> None:
    """Five megabytes in one value cannot be cut, and most clients would break off with words of gRPC's."""
    with pytest.raises(pa.ArrowInvalid, match=r"A row of the result takes 5\d{6} bytes.*batch_bytes_max"):
        batches(_ONE_WIDE)


def test_a_client_that_asks_for_more_gets_the_wide_row(server: ServedBy) -> None:
    """Who can take large messages says so by a header or an option of the session, and reads every row."""
    header = {"adbc.flight.sql.rpc.call_header.x-flightmesh-batch-bytes-max": "8000000"}
    with server.adbc(**header) as connection, connection.cursor() as cursor:
        cursor.execute(_ONE_WIDE)
        assert sorted(map(len, cursor.fetch_arrow_table()["a"].to_pylist())) == [10] * 9 + [5_000_000]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM aviation.flights.flights LIMIT 0",
        "SELECT 1::TINYINT AS a, 'x' AS b, [1] AS c, {'d': DATE '2013-01-01'} AS e WHERE false",
        "SELECT 'a'::ENUM ('a', 'b') AS v, NULL AS n WHERE false",
        "SELECT * FROM aviation.flights.daily_delays WHERE carrier = '??'",
    ],
)
def test_no_rows_keep_their_schema(flight: Read, adbc: Read, sql: str) -> None:
    """An empty answer is a table with columns, for both clients the same."""
    table = flight(sql)
    assert table.num_rows == 0
    assert table.schema.equals(adbc(sql).schema)
    assert len(table.schema) > 0


NAMES = ["plain", "UPPER", "two words", "dot.ted", 'quo"te', "it's", "ü日😀", "a,b", "$1", "?", "SELECT", "x" * 300]


def test_column_names_of_every_kind(flight: Read, adbc: Read) -> None:
    """Names arrive as written: quotes, dots, spaces, other alphabets, keywords, three hundred characters."""
    sql = "SELECT " + ", ".join(f"{i} AS " + '"' + name.replace('"', '""') + '"' for i, name in enumerate(NAMES))
    for table in (flight(sql), adbc(sql)):
        assert table.schema.names == NAMES
        assert [column[0].as_py() for column in table.columns] == list(range(len(NAMES)))


def test_equal_column_names(flight: Read, adbc: Read) -> None:
    """SQL allows a name twice; neither column is lost or renamed between information and stream."""
    sql = "SELECT 1 AS a, 'x' AS a, 2 AS A, x.v, y.v FROM (SELECT 3 AS v) x, (SELECT 4 AS v) y"
    for table in (flight(sql), adbc(sql)):
        assert table.schema.names == ["a", "a", "A", "v", "v"]
        assert [column[0].as_py() for column in table.columns] == [1, "x", 2, 3, 4]


def test_two_thousand_columns(flight: Read, adbc: Read, batches: Callable[[str], list[pa.RecordBatch]]) -> None:
    """The widest tables that people have: all columns, in order, and batches that still fit a message."""
    columns = ", ".join(f"(range + {i})::INTEGER AS column_{i}" for i in range(2_000))
    sql = f"SELECT {columns} FROM range(1500)"
    found = batches(sql)
    assert all(map(_fits, found))
    assert sum(batch.num_rows for batch in found) == 1_500
    for table in (flight(sql + " LIMIT 2"), adbc(sql + " LIMIT 2")):
        assert table.schema.names == [f"column_{i}" for i in range(2_000)]
        assert [column[1].as_py() for column in table.columns] == list(range(1, 2_001))


TYPES = {
    "'a'::ENUM ('a', 'b')": (pa.string(), "a"),
    "['a'::ENUM ('a', 'b')]": (None, ["a"]),
    "{'e': 'a'::ENUM ('a', 'b')}": (None, {"e": "a"}),
    "NULL": (None, None),
    "NULL::DECIMAL(10, 2)": (pa.decimal128(10, 2), None),
    "99999999999999999999999999999999999999::HUGEINT": (None, None),
    "INTERVAL 3 DAY": (pa.month_day_nano_interval(), None),
    "'101'::BIT": (None, None),
    "TIMESTAMPTZ '2013-01-01 00:00:00+05'": (pa.timestamp("us", "UTC"), None),
    "TIME '10:00:00'": (pa.time64("us"), None),
    "[[1, NULL], []]": (None, [[1, None], []]),
    "{'a': {'b': [1]}}": (None, {"a": {"b": [1]}}),
    "MAP {'k': 1}": (None, [("k", 1)]),
    "uuid()::VARCHAR": (pa.string(), None),
}


@pytest.mark.parametrize("expression", TYPES)
def test_values_of_every_type_stream(flight: Read, expression: str) -> None:
    """The information promises the schema that the stream has: a client that believes it reads every type."""
    arrow, value = TYPES[expression]
    table = flight(f"SELECT {expression} AS v")
    table.validate(full=True)
    assert arrow is None or table.schema.field("v").type == arrow
    assert not pa.types.is_dictionary(table.schema.field("v").type)
    if value is not None:
        assert table["v"].to_pylist() == [value]


def test_the_zone_of_instants_does_not_hang_on_the_machine(start_small: Callable[..., object]) -> None:
    """A server in another time zone gives the same text for an instant: the engine's sessions are in UTC."""
    import os

    os.environ["TZ"] = "America/New_York"
    try:
        with start_small() as served, served.adbc() as connection, connection.cursor() as cursor:  # type: ignore[attr-defined]
            cursor.execute(
                "SELECT TIMESTAMPTZ '2013-07-01 12:00:00+00'::VARCHAR AS v, DATE '2013-07-01'::TIMESTAMPTZ AS w"
            )
            table = cursor.fetch_arrow_table()
    finally:
        del os.environ["TZ"]
    assert table["v"].to_pylist() == ["2013-07-01 12:00:00+00"]
    assert table["w"][0].value == 1_372_636_800_000_000

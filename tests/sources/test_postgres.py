"""PostgreSQL sources against a real server: what is sent, what arrives, and what happens when it fails."""

from __future__ import annotations

import datetime
import threading
import time
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import quote
from flightmesh.product.model import Source
from flightmesh.sources.base import Described, ForeignKey, Narrowing, SourceHandle
from flightmesh.sources.kinds import open_source
from flightmesh.sources.postgres import PostgresDatabase, PostgresTable
from flightmesh.sources.predicate import AllOf, AnyOf, Compare, IsNull, OneOf, Predicate
from flightmesh.sources.secrets import Secrets
from tests.postgres import Postgres
from tests.sources.live import failure, fetched, is_down, opened, table, waited

pytestmark = pytest.mark.postgres

LEGS = """
CREATE TABLE legs (leg bigint PRIMARY KEY, carrier text NOT NULL, weight numeric(10,2), day date, at timestamptz)
"""
FILL = """
INSERT INTO legs SELECT i, 'carrier ' || i % 7, CASE WHEN i % 5 > 0 THEN i * 0.25 END,
 date '2026-01-01' + (i % 100)::int, timestamptz '2026-01-01 12:00:00+02' + i * interval '1 second'
FROM generate_series(1, 1000) i
"""


@pytest.fixture(scope="module")
def tms(postgres: Postgres) -> Postgres:
    """The shared server with a database of this module's own (its name: ``tms``)."""
    postgres.run("DROP DATABASE IF EXISTS tms", "CREATE DATABASE tms")
    postgres.run(LEGS, FILL, database="tms")
    return postgres


def at(server: Postgres, database: str = "postgres", /, **keys: object) -> dict[str, object]:
    return {"type": "postgres", "uri": server.uri_of(database), "mode": "live", **keys}


@pytest.mark.parametrize(
    ("declared", "value", "kind", "expected"),
    [
        ("smallint", "-32768", pa.int16(), -32768),
        ("integer", "2147483647", pa.int32(), 2147483647),
        ("bigint", "-9223372036854775808", pa.int64(), -(2**63)),
        ("real", "'NaN'", pa.float32(), "nan"),
        ("double precision", "0.1", pa.float64(), 0.1),
        ("double precision", "'-Infinity'", pa.float64(), float("-inf")),
        ("boolean", "true", pa.bool_(), True),
        ("text", "''", pa.string(), ""),
        ("text", "'Grüße, 東京 \\ '' \"'", pa.string(), "Grüße, 東京 \\ ' \""),
        ("varchar(3)", "'abc'", pa.string(), "abc"),
        ("char(5)", "'ab '", pa.string(), "ab"),
        ("bytea", "'\\x00ff'", pa.binary(), b"\0\xff"),
        ("date", "'4713-01-01 BC'", pa.date32(), -2440550),
        ("date", "'2026-02-28'", pa.date32(), datetime.date(2026, 2, 28)),
        ("time", "'23:59:59.999999'", pa.time64("us"), datetime.time(23, 59, 59, 999999)),
        (
            "timestamp",
            "'1969-12-31 23:59:59'",
            pa.timestamp("us"),
            datetime.datetime(1969, 12, 31, 23, 59, 59),
        ),
        (
            "timestamptz",
            "'2026-01-01 01:00+02'",
            pa.timestamp("us", "UTC"),
            datetime.datetime(2025, 12, 31, 23, tzinfo=datetime.UTC),
        ),
        ("numeric(10,2)", "-12345678.90", pa.decimal128(10, 2), Decimal("-12345678.90")),
        ("numeric(18,18)", "0.999999999999999999", pa.decimal128(18, 18), Decimal("0.999999999999999999")),
        ("numeric(18)", "-999999999999999999", pa.decimal128(18, 0), -(10**18) + 1),
        ("numeric(19,4)", "999999999999999.9999", pa.decimal128(19, 4), Decimal("999999999999999.9999")),
        ("numeric(38,0)", "-" + "9" * 38, pa.decimal128(38, 0), -(10**38) + 1),
        ("numeric(39,0)", "9" * 39, pa.string(), "9" * 39),
        ("numeric(5,-2)", "12345", pa.string(), "12300"),
        ("numeric", "12.30", pa.float64(), 12.3),
        ("numeric", "'NaN'", pa.float64(), "nan"),
        ("numeric", "'-Infinity'", pa.float64(), float("-inf")),
        ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", pa.string(), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("json", """'{"a" : 1}'""", pa.string(), '{"a" : 1}'),
        ("jsonb", """'{"a" : 1}'""", pa.string(), '{"a": 1}'),
        ("integer[]", "'{1,NULL,3}'", pa.list_(pa.int32()), [1, None, 3]),
        ("text[]", "'{}'", pa.list_(pa.string()), []),
        ("interval", "'1 mon 2 days 3.000004 s'", pa.month_day_nano_interval(), (1, 2, 3_000_004_000)),
        ("mood", "'so so'", pa.string(), "so so"),
        ("short", "'a'", pa.string(), "a"),
        ("price", "1.50", pa.decimal128(6, 2), Decimal("1.50")),
        ("inet", "'10.0.0.1/8'", pa.string(), "10.0.0.1/8"),
        ("oid", "4294967295", pa.string(), "4294967295"),
        ("money", "1.5", pa.string(), "$1.50"),
        ("timetz", "'01:02:03+01'", pa.string(), "01:02:03+01"),
        ("int4range", "'[1,3)'", pa.string(), "[1,3)"),
        ("pair", "ROW(1, 'x')", pa.string(), "(1,x)"),
        ("numeric(4,1)[]", "'{1.5}'", pa.string(), "{1.5}"),
    ],
)
def test_every_type_arrives_as_the_server_has_it(
    tms: Postgres, declared: str, value: str, kind: pa.DataType, expected: object
) -> None:
    """A value would reach consumers changed, by a driver's conversion or by ours; and NULL as something else."""
    tms.run(
        "DROP TABLE IF EXISTS types",
        "DROP TYPE IF EXISTS mood, pair",
        "DROP DOMAIN IF EXISTS short, price",
        "CREATE TYPE mood AS ENUM ('so so', 'good')",
        "CREATE TYPE pair AS (a int, b text)",
        "CREATE DOMAIN short AS varchar(3)",
        "CREATE DOMAIN price AS numeric(6,2)",
        f"CREATE TABLE types (i int, v {declared})",
        f"INSERT INTO types VALUES (1, {value}), (2, NULL)",
        database="tms",
    )
    with opened(at(tms, "tms")) as handle:
        found = table(handle, "types")
        assert found.schema().field("v").type == kind
        both = fetched(found, "v")["v"]
        assert both.equals(found.read().read_all()["v"]) or expected == "nan"
        first, second = (both.cast(pa.int32()) if expected == -2440550 else both).to_pylist()
    assert second is None
    assert str(first) == "nan" if expected == "nan" else first == expected


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        ("date", "'infinity'"),
        ("date", "'-infinity'"),
        ("timestamp", "'infinity'"),
        ("timestamptz", "'-infinity'"),
        ("timestamp", "'294276-12-31'"),
        ("numeric(4,1)", "'NaN'"),
        ("numeric(30,1)", "'NaN'"),
        ("integer[]", "'{{1,2},{3,4}}'"),
    ],
)
def test_what_arrow_cannot_hold_is_an_error_and_not_another_value(tms: Postgres, declared: str, value: str) -> None:
    """The driver turns an infinite date into one of 5.9 million years ago, and lays arrays of arrays flat."""
    tms.run(
        "DROP TABLE IF EXISTS odd",
        f"CREATE TABLE odd (v {declared})",
        f"INSERT INTO odd VALUES ({value})",
        database="tms",
    )
    with opened(at(tms, "tms")) as handle:
        error = failure(lambda: fetched(table(handle, "odd")))
    assert (error.code, "over a value of table odd" in error.message) == (ErrorCode.UNAVAILABLE, True)


def test_projection_filter_and_limit_reach_the_server(tms: Postgres) -> None:
    """Else a consumer who asks for three rows waits for a million."""
    where = AllOf((Compare("carrier", "=", pa.scalar("carrier 3")), Compare("leg", ">", pa.scalar(500))))
    with opened(at(tms, "tms")) as handle:
        found = table(handle, "legs")
        schema = found.schema()
        narrowing = Narrowing(("day", "leg"), where, 3)
        told = found.pushed(narrowing)
        rows = fetched(found, "day", "leg", where=where, limit=3, schema=schema)
    sql = """SELECT "day", "leg" FROM "public"."legs" WHERE "carrier" = 'carrier 3' AND "leg" > 500 LIMIT 3"""
    assert (told.text, told.left) == (sql, ())
    assert f"COPY ({sql}) TO STDOUT" in tms.statements()
    assert (rows.column_names, rows.num_rows, min(rows["leg"].to_pylist()) > 500) == (["day", "leg"], 3, True)


def test_rows_are_counted_without_a_column(tms: Postgres) -> None:
    """count(*) would bring a whole table over the wire, or none of its rows."""
    with opened(at(tms, "tms")) as handle:
        found = table(handle, "legs")
        fetch = found.fetch(Narrowing(()), pa.schema([]))
        assert sum(batch.num_rows for batch in fetch.reader) == 1000


def test_the_server_filters_as_the_engine_would(tms: Postgres) -> None:
    """The server's collation sorts by language, its NaN and its blanks are its own: rows would be lost unseen."""
    tms.run(
        "DROP TABLE IF EXISTS odd",
        """CREATE TABLE odd (t text, c char(4), f float8, b boolean, d date, z timestamptz, n numeric(9,3), u uuid,
         x numeric, v time)""",
        """INSERT INTO odd VALUES ('a', 'a', 'NaN', true, '2026-01-01', '2026-01-01 00:00+00', 1.250,
         'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 0.1, '12:00'), ('B', 'B', -0.0, false, '2026-01-02',
         '2026-01-01 00:00+01', 2, NULL, 2, '13:00'), ('it''s \\ ', '', '-Infinity', NULL, NULL, NULL, NULL, NULL,
         NULL, NULL)""",
        database="tms",
    )
    instant = pa.scalar(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), pa.timestamp("us", "UTC"))
    cases: list[tuple[Predicate, list[str]]] = [
        (Compare("t", "<", pa.scalar("a")), ["B"]),  # By bytes; by language it would be none.
        (Compare("t", "=", pa.scalar("it's \\ ")), ["it's \\ "]),
        (OneOf("t", pa.array(["a", "B"])), ["a", "B"]),
        (Compare("t", "<>", pa.scalar("a")), ["B", "it's \\ "]),
        (Compare("c", "=", pa.scalar("a")), ["a"]),
        (Compare("c", "=", pa.scalar("a   ")), []),
        (Compare("f", ">", pa.scalar(1e300)), ["a"]),
        (Compare("f", "=", pa.scalar(float("nan"))), ["a"]),
        (Compare("f", "=", pa.scalar(0.0)), ["B"]),
        (Compare("f", "<=", pa.scalar(float("-inf"))), ["it's \\ "]),
        (Compare("b", "=", pa.scalar(False)), ["B"]),
        (Compare("d", ">", pa.scalar(datetime.date(2026, 1, 1))), ["B"]),
        (Compare("z", "<", instant), ["B"]),
        (Compare("n", "=", pa.scalar(Decimal("1.250"), pa.decimal128(9, 3))), ["a"]),
        (Compare("x", "=", pa.scalar(0.1)), ["a"]),
        (Compare("u", "=", pa.scalar("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")), ["a"]),
        (Compare("v", ">=", pa.scalar(datetime.time(12, 30))), ["B"]),
        (AnyOf((IsNull("d"), Compare("b", "=", pa.scalar(True)))), ["a", "it's \\ "]),
    ]
    with opened(at(tms, "tms")) as handle:
        found = table(handle, "odd")
        for where, expected in cases:
            assert found.pushed(Narrowing(("t",), where)).left == ()
            assert fetched(found, "t", where=where)["t"].to_pylist() == expected, where


def test_what_the_server_cannot_be_asked_is_left_with_the_reason(tms: Postgres) -> None:
    """A limit after half of a filter would cut rows that the other half keeps."""
    where = AllOf((Compare("leg", "<", pa.scalar(9)), Compare("carrier", "=", pa.scalar("a\0"))))
    with opened(at(tms, "tms")) as handle:
        told = table(handle, "legs").pushed(Narrowing(("leg",), where, 3))
    assert told.text == 'SELECT "leg" FROM "public"."legs" WHERE "leg" < 9'
    assert told.left == ("carrier = ...: the value has no exact form in the source's language.",)


def test_tables_are_those_named_or_all(tms: Postgres) -> None:
    """A table that nobody named would be open to every model; a partition or a table of an extension is none."""
    odd = 'Odd "näme"'
    tms.run(
        "DROP SCHEMA IF EXISTS dwh CASCADE",
        "CREATE SCHEMA dwh",
        "CREATE TABLE dwh.whole (k int, v text) PARTITION BY LIST (k)",
        "CREATE TABLE dwh.part PARTITION OF dwh.whole FOR VALUES IN (1)",
        "CREATE VIEW dwh.seen AS SELECT * FROM dwh.whole",
        "CREATE MATERIALIZED VIEW dwh.kept AS SELECT 1 AS one",
        f'CREATE TABLE dwh.{quote(odd)} ("Big" int, "se lect" text)',
        f"INSERT INTO dwh.{quote(odd)} VALUES (1, 'x')",
        "INSERT INTO dwh.whole VALUES (1, 'y')",
        database="tms",
    )
    with opened(at(tms, "tms", schema="dwh")) as handle:
        assert [path for _, path in handle.tables] == [odd, "kept", "seen", "whole"]
        assert fetched(table(handle, odd)).to_pylist() == [{"Big": 1, "se lect": "x"}]
        assert fetched(table(handle, odd), "se lect", where=Compare("Big", "=", pa.scalar(1, pa.int32()))).num_rows == 1
        assert fetched(table(handle, "seen"), "v")["v"].to_pylist() == ["y"]
        assert handle.database is not None
        assert handle.database.relation(("tms", odd)) == ("dwh", odd)
    with opened(at(tms, "tms", schema="dwh", tables=("kept",))) as handle:
        assert list(handle.tables) == [("tms", "kept")]
        assert ("tms", "whole") not in handle.tables


def test_keys_and_comments_are_known(tms: Postgres) -> None:
    """A product made from a database would lose what its owner wrote down."""
    tms.run(
        "DROP SCHEMA IF EXISTS keys CASCADE",
        "CREATE SCHEMA keys",
        "CREATE TABLE keys.a (x int, y int, PRIMARY KEY (y, x))",
        "CREATE TABLE keys.b (p int NOT NULL, q int, r int, FOREIGN KEY (p, q) REFERENCES keys.a (y, x))",
        "COMMENT ON TABLE keys.b IS 'Legs''s'",
        "COMMENT ON COLUMN keys.b.q IS 'the q'",
        database="tms",
    )
    with opened(at(tms, "tms", schema="keys")) as handle:
        a, b = handle.tables[("tms", "a")], handle.tables[("tms", "b")]
        assert isinstance(a, Described)
        assert isinstance(b, Described)
        assert a.description().primary_key == ("y", "x")
        found = b.description()
    assert found.foreign_keys == (ForeignKey(("p", "q"), "a", ("y", "x")),)
    assert found.required == {"p"}
    assert (found.comment, dict(found.column_comments)) == ("Legs's", {"q": "the q"})


def test_a_missing_table_is_named_with_the_nearest(tms: Postgres) -> None:
    """The author of a product would look for the mistake in the wrong place."""
    with opened(at(tms, "tms", tables=("lesg",))) as handle:
        error = failure(handle.tables[("tms", "lesg")].schema)
    assert (error.code, error.hint) == (ErrorCode.INVALID, "Did you mean legs?")


def test_whole_queries_are_answered_in_the_types_asked_for(tms: Postgres) -> None:
    """The planner would get numeric as text, and sums in another type than it published."""
    schema = pa.schema([("carrier", pa.string()), ("n", pa.int64()), ("w", pa.decimal128(38, 2))])
    sql = 'SELECT "carrier", count(*), sum("weight") FROM "public"."legs" GROUP BY 1 ORDER BY 1 LIMIT 2'
    with opened(at(tms, "tms")) as handle:
        assert handle.database is not None
        assert handle.database.dialect == "postgres"
        rows = handle.database.query(sql, schema).reader.read_all()
        empty = handle.database.query('SELECT FROM "public"."legs" LIMIT 5', pa.schema([])).reader
        assert sum(batch.num_rows for batch in empty) == 5
        assert isinstance(handle.database, PostgresDatabase)
        assert "weight" in handle.database.plain_columns(("tms", "legs"))
    assert rows.schema == schema
    assert [row["n"] for row in rows.to_pylist()] == [142, 143]


def test_nothing_can_be_written(tms: Postgres) -> None:
    """A pushed query that calls a writing function would change the source."""
    tms.run(
        "CREATE OR REPLACE FUNCTION wipe() RETURNS int LANGUAGE sql AS 'DELETE FROM legs RETURNING 1'", database="tms"
    )
    with opened(at(tms, "tms")) as handle:
        assert handle.database is not None
        query = handle.database.query("SELECT wipe()", pa.schema([("n", pa.int32())]))
        error = failure(query.reader.read_all)
        assert fetched(table(handle, "legs"), "leg").num_rows == 1000
    assert error.message == "Source tms: the source answered with an error (SQLSTATE 25006)."
    assert "cannot execute DELETE in a read-only transaction" in tms.statements()


# --- Changed tables ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "columns", "told"),
    [
        ("ALTER TABLE t DROP COLUMN region", ("region",), "table t has no column region any more."),
        ("ALTER TABLE t DROP COLUMN region", (), "table t has no column region any more."),
        (
            "ALTER TABLE t ALTER weight TYPE text",
            ("weight",),
            "column weight of table t is now text, it was numeric(10,2).",
        ),
        (
            "ALTER TABLE t ALTER weight TYPE numeric(12,4)",
            ("weight",),
            "column weight of table t is now numeric(12,4), it was numeric(10,2).",
        ),
        (
            "ALTER TABLE t ALTER weight TYPE float8",
            ("k", "weight"),
            "column weight of table t is now double precision, it was numeric(10,2).",
        ),
        ("ALTER TABLE t ALTER k TYPE bigint", ("k",), "column k of table t is now bigint, it was integer."),
        ("ALTER TABLE t RENAME region TO place", ("k", "region"), "table t has no column region any more."),
        ("DROP TABLE t", ("k",), "there is no table t any more."),
        ("ALTER TABLE t ADD more int", ("k",), None),
        ("ALTER TABLE t DROP COLUMN region", ("k",), None),
        ("ALTER TABLE t ALTER note TYPE varchar(99)", ("note",), None),
    ],
)
def test_a_changed_table_is_told_by_name(
    tms: Postgres, change: str, columns: tuple[str, ...], told: str | None
) -> None:
    """Consumers would get rounded or missing values under the old contract, or an error that nobody understands."""
    tms.run(
        "DROP TABLE IF EXISTS t",
        "CREATE TABLE t (k int, region text, weight numeric(10,2), note varchar(9))",
        "INSERT INTO t VALUES (1, 'north', 1.25, 'n')",
        database="tms",
    )
    with opened(at(tms, "tms")) as handle:
        found = table(handle, "t")
        schema = found.schema()
        assert fetched(found, schema=schema).num_rows == 1
        before = tms.statements().count("COPY")
        assert fetched(found, schema=schema).num_rows == 1
        assert tms.statements().count("COPY") == before + 1  # No extra round trip while all is well.
        tms.run(change, database="tms")
        if told is None:
            assert fetched(found, *columns, schema=schema).num_rows == 1
            return
        error = failure(lambda: fetched(found, *columns, schema=schema))
    assert (error.code, error.message) == (ErrorCode.UNAVAILABLE, f"Source tms: {told}")
    assert error.hint == "Tell the owner of the product."


def test_a_table_that_changed_before_the_server_started_is_told_too(tms: Postgres) -> None:
    """A product restored from its catalog would serve the new type as the old one."""
    with opened(at(tms, "tms")) as handle:
        published = pa.schema([("leg", pa.int64()), ("weight", pa.decimal128(9, 1))])
        error = failure(lambda: table(handle, "legs").fetch(Narrowing(("leg", "weight")), published))
    assert error.message == "Source tms: column weight of table legs is now numeric(10,2), it was decimal128(9, 1)."


def test_a_filter_on_a_changed_column_is_told_too(tms: Postgres) -> None:
    """The column is not among those selected, and the server's own words would be all there is."""
    tms.run("DROP TABLE IF EXISTS t", "CREATE TABLE t (k int, region text)", database="tms")
    with opened(at(tms, "tms")) as handle:
        found = table(handle, "t")
        schema = found.schema()
        tms.run("ALTER TABLE t DROP COLUMN region", database="tms")
        error = failure(lambda: fetched(found, "k", where=Compare("region", "=", pa.scalar("x")), schema=schema))
    assert error.message == "Source tms: table t has no column region any more."


# --- Failures ---------------------------------------------------------------------------------------------------------


def filled(server: Postgres, **keys: object) -> dict[str, object]:
    server.run(LEGS, FILL)
    return {**at(server), **keys}


def test_a_stopped_server_is_told_and_found_again(own_postgres: Postgres) -> None:
    """A product over a database that was restarted would stay down until it is restarted itself."""
    with opened(filled(own_postgres, timeout="2s")) as handle:
        found = table(handle, "legs")
        schema = found.schema()
        assert fetched(found, schema=schema).num_rows == 1000
        own_postgres.stop()
        messages = [failure(lambda: fetched(found, schema=schema)).message for _ in range(4)]
        assert messages[:3] == ["Source tms cannot be reached."] * 3
        assert messages[3].startswith("Source tms is not answering (since 0 s); it is tried again in 1 s.")
        own_postgres.start()
        waited(lambda: not _fails(handle, schema))
        # The links at rest are dead after another restart, and nobody should notice.
        own_postgres.stop()
        own_postgres.start()
        assert fetched(found, schema=schema).num_rows == 1000


def _fails(handle: SourceHandle, schema: pa.Schema) -> bool:
    try:
        fetched(table(handle, "legs"), schema=schema)
    except FlightmeshError as error:
        return is_down(error)
    return False


@pytest.mark.parametrize("is_connected", [True, False])
def test_a_hung_server_costs_the_timeout_and_no_more(own_postgres: Postgres, is_connected: bool) -> None:
    """A driver waits for ever for a server that accepts and says nothing; so would every consumer."""
    with opened(filled(own_postgres, timeout="1s", retries=5)) as handle:
        found = table(handle, "legs")
        schema = found.schema()
        if not is_connected:
            assert isinstance(found, PostgresTable)
            found.remote.pool.forget_idle()
        own_postgres.pause()
        try:
            error = failure(lambda: fetched(found, schema=schema), within_s=1.5)
            assert (error.code, error.message) == (ErrorCode.DEADLINE, "Source tms did not answer within 1 s.")
            assert "timeout:" in str(error.hint)
            for _ in range(2):
                failure(lambda: fetched(found, schema=schema), within_s=1.5)
            assert failure(lambda: fetched(found, schema=schema), within_s=0.2).code is ErrorCode.UNAVAILABLE
        finally:
            own_postgres.resume()
        waited(lambda: not _fails(handle, schema))
        assert isinstance(found, PostgresTable)
        waited(lambda: found.remote.hanging == 0)
        waited(lambda: found.remote.pool.open_count <= 1)


def test_a_server_that_hangs_in_the_middle_is_told(own_postgres: Postgres) -> None:
    """A consumer would wait for ever with half of its rows."""
    own_postgres.run("CREATE TABLE wide AS SELECT i, repeat('x', 1000) AS t FROM generate_series(1, 300000) i")
    with opened(at(own_postgres, timeout="1s")) as handle:
        found = table(handle, "wide")
        fetch = found.fetch(Narrowing(), found.schema())
        assert fetch.reader.read_next_batch().num_rows > 0
        own_postgres.pause()
        try:
            error = failure(fetch.reader.read_all, within_s=3)
        finally:
            own_postgres.resume()
        assert error.code is ErrorCode.DEADLINE
        assert isinstance(found, PostgresTable)
        waited(lambda: found.remote.hanging == 0)


def test_a_server_that_is_lost_in_the_middle_is_told(own_postgres: Postgres) -> None:
    """Half a table would look like a whole one."""
    own_postgres.run("CREATE TABLE wide AS SELECT i, repeat('x', 1000) AS t FROM generate_series(1, 300000) i")
    with opened(at(own_postgres)) as handle:
        found = table(handle, "wide")
        fetch = found.fetch(Narrowing(), found.schema())
        fetch.reader.read_next_batch()
        own_postgres.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'flightmesh'")
        error = failure(fetch.reader.read_all)
    assert error.message == "Source tms: the connection broke before the last row."


def test_a_slow_query_is_ended_at_the_server_and_harms_no_other(own_postgres: Postgres) -> None:
    """One consumer's slow view would close the source to all, or go on burning the database after he left."""
    own_postgres.run("CREATE VIEW slow AS SELECT pg_sleep(60)::text AS t, 1 AS n")
    with opened(filled(own_postgres, timeout="500ms")) as handle:
        slow = table(handle, "slow")
        schema = slow.schema()
        for _ in range(4):
            assert failure(lambda: fetched(slow, "t", schema=schema)).code is ErrorCode.DEADLINE
            waited(lambda: "canceling statement due to user request" in own_postgres.statements())
            assert isinstance(slow, PostgresTable)
            waited(lambda: slow.remote.hanging == 0)
            assert fetched(table(handle, "legs"), "leg").num_rows == 1000


def test_a_cancelled_read_ends_at_once(own_postgres: Postgres) -> None:
    """A consumer who leaves would keep a connection of the database busy."""
    own_postgres.run("CREATE VIEW slow AS SELECT pg_sleep(60)::text AS t")
    with opened(at(own_postgres, timeout="30s")) as handle:
        slow = table(handle, "slow")
        fetch = slow.fetch(Narrowing(), slow.schema())
        threading.Timer(0.3, fetch.cancel).start()
        assert failure(fetch.reader.read_all, within_s=2).code is ErrorCode.CANCELLED
        waited(lambda: "canceling statement due to user request" in own_postgres.statements())
        fetch.cancel()
        fetch.close()


def test_connections_are_bounded_and_given_back(tms: Postgres) -> None:
    """A product would take every connection that the database has."""
    tms.run("CREATE OR REPLACE VIEW nap AS SELECT pg_sleep(0.3)::text AS t", database="tms")
    with opened(at(tms, "tms", connections=2)) as handle:
        nap = table(handle, "nap")
        schema = nap.schema()
        fetches = [nap.fetch(Narrowing(), schema) for _ in range(6)]
        assert isinstance(nap, PostgresTable)
        counts = [(fetch.reader.read_all().num_rows, nap.remote.pool.open_count) for fetch in fetches]
        assert counts == [(1, 2)] * 6
        assert nap.remote.hanging == 0


def test_who_waits_for_a_connection_waits_no_longer_than_the_timeout(tms: Postgres) -> None:
    """A product with one connection would make its second consumer wait for ever."""
    with opened(at(tms, "tms", connections=1, timeout="500ms")) as handle:
        tms.run(
            "CREATE TABLE IF NOT EXISTS wide AS SELECT i, repeat('x', 1000) t FROM generate_series(1, 100000) i",
            database="tms",
        )
        wide = table(handle, "wide")
        schema = wide.schema()
        first = wide.fetch(Narrowing(), schema)
        first.reader.read_next_batch()
        error = failure(lambda: fetched(wide, schema=schema), within_s=1)
        assert error.code is ErrorCode.EXHAUSTED
        assert error.message == "Source tms: no connection was free for 0.5 s; it has 1."
        first.close()
        assert fetched(wide, "i", schema=schema, limit=2).num_rows == 2


def test_a_reader_that_is_dropped_gives_its_connection_back(tms: Postgres) -> None:
    """Reads that nobody finishes would use up the connections one by one."""
    with opened(at(tms, "tms", connections=1, timeout="2s")) as handle:
        found = table(handle, "legs")
        schema = found.schema()
        for _ in range(5):
            found.fetch(Narrowing(), schema)
        assert fetched(found, schema=schema).num_rows == 1000


def test_no_secret_and_no_address_gets_out(own_postgres: Postgres) -> None:
    """The password of a database would stand in the answer to whoever asks while it is down."""
    uri = own_postgres.uri.replace("flightmesh@", "flightmesh:p%40ss%2Fword@").replace("127.0.0.1", "localhost")
    secrets = Secrets({"FLIGHTMESH_SECRET_TMS": uri, "FLIGHTMESH_SECRET_PASS": "p@ss/word"})
    own_postgres.run(LEGS)
    keys = {"type": "postgres", "uri": "${secret:TMS}", "options": {"password": "${secret:PASS}"}, "timeout": "1s"}
    with opened(keys, secrets) as handle:
        found = table(handle, "legs")
        schema = found.schema()
        own_postgres.stop()
        errors = [failure(found.schema), failure(lambda: fetched(found, schema=schema))]
    for error in errors:
        assert not [word for word in ("p@ss", "p%40ss", "localhost", str(own_postgres.port)) if word in str(error)]
    assert "onnection" in str(errors[0].hint)
    assert errors[1].hint == "Try again."


def test_a_source_is_opened_without_being_reached() -> None:
    """A server could not start while one of its databases is down."""
    start = time.monotonic()
    spec = Source.model_validate({"type": "postgres", "uri": "postgresql://nobody@127.0.0.1:1/none"})
    handle = open_source(Path(), "tms", spec)
    assert ("tms", "legs") in handle.tables
    handle.close()
    assert time.monotonic() - start < 0.5


@pytest.mark.parametrize(
    ("option", "said"),
    [("frob", "options.frob is no option that"), ("sslmode", "options.sslmode has no value that")],
)
@pytest.mark.parametrize("is_uri", [True, False])
def test_a_wrong_option_is_named(tms: Postgres, option: str, said: str, is_uri: bool) -> None:
    """Its author would look for a server that is down."""
    keys = at(tms, "tms", options={option: 1})
    if not is_uri:
        keys["uri"] = f"host=127.0.0.1 port={tms.port} dbname=tms"
    with opened(keys) as handle:
        error = failure(lambda: list(handle.tables))
    assert error.code is ErrorCode.INVALID
    assert said in error.message


def test_a_schema_without_tables_is_told_of_as_such(tms: Postgres) -> None:
    """Its author would be told that models or tables are missing."""
    with opened(at(tms, "tms", schema="nope")) as handle:
        error = failure(lambda: list(handle.tables))
    assert error.code is ErrorCode.INVALID
    assert error.message == "Source tms: the schema nope does not exist or has no tables that can be read."


@pytest.mark.parametrize(("encoding", "stored"), [("LATIN1", r"\xe4"), ("SQL_ASCII", r"\xe4")])
def test_text_in_another_encoding(postgres: Postgres, encoding: str, stored: str) -> None:
    """Bytes of another encoding would stop the whole server, or be shown as other letters."""
    name = f"enc_{encoding.lower()}"
    created = f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C' LOCALE_PROVIDER libc"
    postgres.run(f"DROP DATABASE IF EXISTS {name}", created)
    fill = f"INSERT INTO t VALUES (convert_from('{stored}', '{encoding}'), '24:00')"
    postgres.run("CREATE TABLE t (a text, n time)", fill, database=name)
    with opened({"type": "postgres", "uri": postgres.uri_of(name)}) as handle:
        assert fetched(table(handle, "t"), "n").num_rows == 1
        if encoding == "LATIN1":
            assert fetched(table(handle, "t"), "a")["a"].to_pylist() == ["\u00e4"]
        else:
            error = failure(lambda: fetched(table(handle, "t"), "a"))
            assert (error.code, error.message) == (
                ErrorCode.UNAVAILABLE,
                "Source tms: table t holds text that is not UTF-8.",
            )

"""Whole statements at a database: what is refused for what it says, and tables that changed meanwhile."""

from __future__ import annotations

from collections.abc import Mapping

import adbc_driver_postgresql.dbapi
import pyarrow as pa
import pytest

from flightmesh.errors import ErrorCode
from flightmesh.sources.base import Path, SourceHandle
from flightmesh.sources.drivers import DriverFailure
from flightmesh.sources.postgres import PostgresTable
from flightmesh.sources.refusal import StatementRefused, refusal
from flightmesh.sources.secrets import Secrets
from tests.conftest import ServedBy
from tests.postgres import Postgres
from tests.sources.live import failure, opened, table

PARALLEL = ("parallel_setup_cost = 0", "parallel_tuple_cost = 0", "min_parallel_table_scan_size = 0")


def asked(
    handle: SourceHandle, sql: str, schema: pa.Schema, tables: Mapping[Path, pa.Schema] | None = None
) -> pa.Table:
    """The rows of a whole statement."""
    assert handle.database is not None
    fetch = handle.database.query(sql, schema, tables or {})
    try:
        return fetch.reader.read_all()
    finally:
        fetch.close()


@pytest.mark.parametrize(
    ("kind", "is_refused"),
    [
        (DriverFailure("x", is_lost=False, sqlstate="22012"), True),
        (DriverFailure("x", is_lost=False, sqlstate="42883"), True),
        (DriverFailure("x", is_lost=False, sqlstate="0A000"), True),
        (DriverFailure("x", is_lost=False, is_refusal=True), True),
        (DriverFailure("x", is_lost=False, sqlstate="57014", is_refusal=True), False),
        (DriverFailure("x", is_lost=False, sqlstate="53200"), False),
        (DriverFailure("x", is_lost=True, sqlstate="42601"), False),
        (DriverFailure("x", is_lost=False), False),
    ],
)
def test_what_lies_in_the_statement_is_told_from_what_does_not(kind: DriverFailure, is_refused: bool) -> None:
    """A database without memory would be asked for the whole table next; a statement too clever for it would fail."""
    assert (refusal("tms", kind) is not None) == is_refused


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pushed(postgres: Postgres) -> Postgres:
    """The shared server with a database of this module's own, which runs in parallel whatever it can."""
    postgres.run("DROP DATABASE IF EXISTS pushed", "CREATE DATABASE pushed")
    postgres.run(*(f"ALTER DATABASE pushed SET {setting}" for setting in PARALLEL))
    return postgres


@pytest.fixture
def keys(pushed: Postgres) -> dict[str, object]:
    """The keys of a source with the tables t and u, freshly made."""
    pushed.run(
        "DROP TABLE IF EXISTS t, u",
        "CREATE TABLE t (k int, region text, weight numeric(10,2), note varchar(9))",
        "INSERT INTO t SELECT i, 'r' || i % 7, i / 4.0, 'n' FROM generate_series(1, 20000) i",
        "CREATE TABLE u (k int, day date)",
        "INSERT INTO u VALUES (1, '2026-01-01')",
        "ANALYZE",
        database="pushed",
    )
    return {"type": "postgres", "uri": pushed.uri_of("pushed"), "mode": "live"}


JOINED = (
    'SELECT CAST(sum(r1."k") AS bigint) AS c0, CAST(sum(r1."weight") AS float8) AS c1, min(r2."day") AS c2'
    ' FROM "public"."t" AS r1 JOIN "public"."u" AS r2 ON r1."k" = r2."k" WHERE r1."note" = \'n\''
)
RESULT = pa.schema([("c0", pa.int64()), ("c1", pa.float64()), ("c2", pa.date32())])


def published(handle: SourceHandle, *names: str) -> dict[Path, pa.Schema]:
    return {("tms", name): table(handle, name).schema() for name in names}


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("ALTER TABLE t ALTER k TYPE bigint", "column k of table t is now bigint, it was integer."),
        (
            "ALTER TABLE t ALTER weight TYPE numeric(12,4)",
            "column weight of table t is now numeric(12,4), it was numeric(10,2).",
        ),
        ("ALTER TABLE u ALTER day TYPE timestamp", "column day of table u is now timestamp without time zone, it was"),
        ("ALTER TABLE u RENAME day TO date", "table u has no column day any more."),
        ("DROP TABLE u", "there is no table u any more."),
        ("ALTER TABLE t DROP COLUMN region", None),
        ("ALTER TABLE t ALTER region TYPE int USING 1", None),
        ("ALTER TABLE t ADD more int", None),
        ("ALTER TABLE t ALTER note TYPE varchar(99)", None),
    ],
)
def test_a_whole_statement_notices_a_changed_table(
    pushed: Postgres, keys: dict[str, object], change: str, told: str | None
) -> None:
    """Values of another type that happen to fit would be summed up under the old contract, and nobody would know."""
    with opened(keys) as handle:
        tables = published(handle, "t", "u")
        assert asked(handle, JOINED, RESULT, tables).to_pylist()[0]["c0"] == 1
        before = pushed.statements().count("COPY")
        asked(handle, JOINED, RESULT, tables)
        assert pushed.statements().count("COPY") == before + 1  # No extra round trip while all is well.
        pushed.run(change, database="pushed")
        if told is None:
            assert asked(handle, JOINED, RESULT, tables).to_pylist()[0]["c0"] == 1
            return
        error = failure(lambda: asked(handle, JOINED, RESULT, tables))
        assert failure(lambda: asked(handle, JOINED, RESULT, tables)).message == error.message
    assert error.code is ErrorCode.UNAVAILABLE
    assert error.message.startswith(f"Source tms: {told}")


@pytest.mark.postgres
def test_a_change_that_alters_no_value_is_no_failure(pushed: Postgres, keys: dict[str, object]) -> None:
    """A text column that becomes longer would take its port away until somebody restarts the server."""
    with opened(keys) as handle:
        tables = published(handle, "t", "u")
        pushed.run("ALTER TABLE t ALTER note TYPE text", database="pushed")
        assert isinstance(failure(lambda: asked(handle, JOINED, RESULT, tables)), StatementRefused)
        assert asked(handle, JOINED, RESULT, tables).num_rows == 1


@pytest.mark.postgres
def test_the_check_changes_neither_rows_nor_their_order(pushed: Postgres, keys: dict[str, object]) -> None:
    """The first ten of a ranking would be any ten."""
    ranked = 'SELECT r1."k" AS c0, r1."region" AS c1 FROM "public"."t" AS r1 ORDER BY r1."region" COLLATE "C", r1."k"'
    schema = pa.schema([("c0", pa.int32()), ("c1", pa.string())])
    expected = sorted(({"c0": k, "c1": f"r{k % 7}"} for k in range(1, 20001)), key=lambda row: (row["c1"], row["c0"]))
    cases = {
        ranked: expected,
        f"{ranked} LIMIT 10": expected[:10],
        f"{ranked} LIMIT 3 OFFSET 19000": expected[19000:19003],
        f"WITH w AS ({ranked}) SELECT * FROM w ORDER BY c1, c0 LIMIT 5": expected[:5],
        f"({ranked} LIMIT 1) UNION ALL ({ranked} LIMIT 1)": expected[:1] * 2,
        f"SELECT * FROM ({ranked}) AS q WHERE c0 < 0": [],
    }
    with opened(keys) as handle:
        tables = published(handle, "t")
        for sql, rows in cases.items():
            assert asked(handle, sql, schema, tables).to_pylist() == rows, sql


@pytest.mark.postgres
def test_the_check_is_made_once_and_first(pushed: Postgres, keys: dict[str, object]) -> None:
    """Made for every row, or for none where nothing is left, it would cost or miss what it is for."""
    grouped = 'SELECT r1."region" AS c0 FROM "public"."t" AS r1 WHERE r1."k" < 0 GROUP BY 1'
    schema = pa.schema([("c0", pa.string())])
    with opened(keys) as handle:
        tables = published(handle, "t")
        assert asked(handle, grouped, schema, tables).num_rows == 0
        sent = [line for line in pushed.statements().splitlines() if "COPY" in line][-1]
        plan = explained(pushed, sent[sent.index("COPY (") + 6 : sent.rindex(") TO STDOUT")])
        assert plan[0].startswith("Limit")
        assert len([line for line in plan if "InitPlan" in line]) == 1
        assert [line for line in plan if "Gather" in line]
        pushed.run("ALTER TABLE t ALTER region TYPE char(4)", database="pushed")
        assert "column region of table t" in failure(lambda: asked(handle, grouped, schema, tables)).message


def explained(server: Postgres, sql: str) -> list[str]:
    """The lines of the plan."""
    with (
        adbc_driver_postgresql.dbapi.connect(server.uri_of("pushed")) as connection,
        connection.cursor() as cursor,
    ):
        cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})
        cursor.execute(f"EXPLAIN {sql}")
        return [str(row[0]) for row in cursor.fetchall()]


@pytest.mark.postgres
@pytest.mark.parametrize(
    "sql",
    [
        'SELECT 1 / (r1."k" - 1) AS c0 FROM "public"."t" AS r1',
        'SELECT CAST(r1."region" AS integer) AS c0 FROM "public"."t" AS r1',
        'SELECT no_such_function(r1."k") AS c0 FROM "public"."t" AS r1',
        "SELEC",
        'SELECT 2147483648 + r1."k" AS c0 FROM "public"."t" AS r1',
    ],
)
def test_a_statement_that_is_wrong_there_is_refused(keys: dict[str, object], sql: str) -> None:
    """A consumer would be told of a database's error where the engine here has an answer."""
    with opened(keys) as handle:
        tables = published(handle, "t")
        for _ in range(4):
            error = failure(lambda: asked(handle, sql, pa.schema([("c0", pa.int32())]), tables))
            assert isinstance(error, StatementRefused)
            assert error.code is ErrorCode.INVALID
            assert error.message.startswith("Source tms: does not take the statement as a whole")
            assert len(str(error)) < 120  # Nothing of the database's own words.
        found = table(handle, "t")
        assert isinstance(found, PostgresTable)
        assert found.remote.breaker.refusal() is None
        assert found.remote.pool.open_count <= 1


@pytest.mark.postgres
def test_a_statement_that_fails_after_its_first_rows_is_not_refused(keys: dict[str, object]) -> None:
    """Rows that a consumer has would come a second time."""
    sql = (
        "SELECT CASE WHEN i < 2900000 THEN i ELSE 1 / (i - 2900000) END AS c0 FROM generate_series(1, 2900000) AS s(i)"
    )
    with opened(keys) as handle:
        assert handle.database is not None
        reader = handle.database.query(sql, pa.schema([("c0", pa.int32())])).reader
        assert reader.read_next_batch().num_rows > 0
        error = failure(reader.read_all)
    assert (error.code, isinstance(error, StatementRefused)) == (ErrorCode.UNAVAILABLE, False)
    assert error.message == "Source tms: the source answered with an error (SQLSTATE 22012)."


# --- Others -----------------------------------------------------------------------------------------------------------


@pytest.mark.postgres
def test_behind_any_driver_a_change_is_named_and_a_mistake_refused(pushed: Postgres, keys: dict[str, object]) -> None:
    """The same database under its driver's name would tell its consumers less."""
    spec = {**keys, "type": "adbc", "driver": "adbc_driver_postgresql", "schema": "public"}
    wanted = pa.schema([("c0", pa.date32())])
    with opened({**spec, "options": {"dialect": "postgres"}}) as handle:
        tables = published(handle, "u")
        assert plain(handle, ("tms", "t")) == {"k"}  # What is text to the driver may be anything there.
        sql = 'SELECT r1."day" AS c0 FROM "public"."u" AS r1'
        assert asked(handle, sql, wanted, tables).num_rows == 1
        wrong = failure(lambda: asked(handle, f"{sql} WHERE 1 / (k - 1) = 1", wanted, tables))
        assert isinstance(wrong, StatementRefused)
        pushed.run("ALTER TABLE u ALTER day TYPE text USING 'soon'", database="pushed")
        error = failure(lambda: asked(handle, sql, wanted, tables))
        assert error.message == "Source tms: column day of table u is now string, it was date32[day]."
        pushed.run("DROP TABLE u", database="pushed")
        error = failure(lambda: asked(handle, sql, wanted, tables))
        assert error.message == "Source tms: there is no table u any more."


@pytest.mark.client
def test_a_peer_refuses_and_names(server: ServedBy) -> None:
    """A value that another server cannot convert would look like that server being down."""
    options = {"token": "${secret:TOKEN}"}
    spec = {"type": "flightsql", "uri": server.uri, "schema": "aviation.flights", "options": options}
    number = pa.schema([("n", pa.int32())])
    delays = '"aviation"."flights"."daily_delays"'
    with opened(spec, Secrets({"FLIGHTMESH_SECRET_TOKEN": server.tokens["analyst"]})) as handle:
        tables = published(handle, "daily_delays")
        for sql in (
            f"SELECT CAST(origin AS INTEGER) AS n FROM {delays}",
            "SELEC",
            f"SELECT count(*) AS n FROM {delays}",
        ):
            error = failure(lambda sql=sql: asked(handle, sql, number, tables))  # type: ignore[misc]
            assert isinstance(error, StatementRefused), sql
        (path,) = tables
        before = {path: pa.schema([*tables[path], ("gone", pa.int64())])}
        error = failure(lambda: asked(handle, f"SELECT gone AS n FROM {delays}", number, before))
        assert error.message == "Source tms: table daily_delays has no column gone any more."
        assert plain(handle, path) >= {"origin", "flight_date", "dep_late_share"}


def plain(handle: SourceHandle, path: Path) -> frozenset[str]:
    assert handle.database is not None
    return handle.database.plain_columns(path)

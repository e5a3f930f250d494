"""A live PostgreSQL table of a million rows, through a whole server: what PostgreSQL is asked, and what comes back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from flightmesh.errors import FlightmeshError
from tests.live.conftest import Live, live_server, write_product
from tests.postgres import Postgres

pytestmark = pytest.mark.postgres

ROWS = 1_000_000
COLUMNS = {
    "id": "BIGINT",
    "site": "VARCHAR",
    "mass": "DOUBLE",
    "day": "DATE",
    "price": "DECIMAL(12,2)",
    "ok": "BOOLEAN",
}
MADE = f"""
    SELECT i AS id, 'site' || (i % 10) AS site, (i % 1000) / 8 AS mass, DATE '2020-01-01' + (i % 365)::INT AS day,
           ((i % 100000) / 4)::DECIMAL(12, 2) AS price, CASE WHEN i % 7 = 0 THEN NULL ELSE i % 3 = 0 END AS ok
    FROM range({ROWS}) AS made(i)
"""


@pytest.fixture(scope="module")
def expected() -> Iterator[duckdb.DuckDBPyConnection]:
    """The same rows in DuckDB alone, as ``lab.pg.big``, beside the small tables."""
    with duckdb.connect() as connection:
        connection.execute("ATTACH ':memory:' AS lab")
        connection.execute("CREATE SCHEMA lab.pg")
        connection.execute(f"CREATE TABLE lab.pg.big AS {MADE}")
        connection.execute("CREATE TABLE towns (site VARCHAR, town VARCHAR)")
        connection.execute("INSERT INTO towns VALUES ('site1', 'Bergen'), ('site2', 'Łódź'), ('site3', 'Rom')")
        connection.execute("CREATE TABLE limits (town VARCHAR, most BIGINT)")
        connection.execute("INSERT INTO limits VALUES ('Bergen', 5), ('Łódź', 900000)")
        connection.execute(
            "CREATE VIEW lab.pg.joined AS SELECT b.id, b.price, t.town, l.most FROM lab.pg.big b "
            "JOIN memory.towns t ON t.site = b.site LEFT JOIN memory.limits l ON l.town = t.town WHERE b.ok"
        )
        yield connection


@pytest.fixture(scope="module")
def live(
    postgres: Postgres, expected: duckdb.DuckDBPyConnection, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Live]:
    """A server over the big table, alone and joined with a CSV file and a SQLite table."""
    folder = tmp_path_factory.mktemp("postgres")
    postgres.run("DROP TABLE IF EXISTS big")
    postgres.run(
        "CREATE TABLE big (id bigint PRIMARY KEY, site text NOT NULL, mass double precision, day date, "
        "price numeric(12, 2), ok boolean)"
    )
    rows = expected.sql("SELECT * EXCLUDE (price), price::VARCHAR AS price FROM lab.pg.big").to_arrow_table()
    postgres.ingest("big_loaded", rows)
    postgres.run(
        "INSERT INTO big SELECT id, site, mass, day, price::numeric(12, 2), ok FROM big_loaded",
        "DROP TABLE big_loaded",
        "ANALYZE big",
    )
    product = folder / "product"
    (product / "data").mkdir(parents=True)
    expected.execute(f"COPY towns TO '{product}/data/towns.csv'")
    with sqlite3.connect(product / "data/limits.sqlite") as file:
        file.execute("CREATE TABLE limits (town TEXT, most INTEGER)")
        file.executemany("INSERT INTO limits VALUES (?, ?)", expected.sql("FROM limits").fetchall())
    file.close()
    write_product(
        product,
        "lab.pg",
        f"""
        pg: {{type: postgres, uri: "{postgres.uri}", mode: live, tables: [big], timeout: 30s}}
        towns: {{type: csv, path: data/towns.csv, mode: live}}
        books: {{type: sqlite, path: data/limits.sqlite, mode: live, tables: [limits]}}
        """,
        """
        big: {from: pg.big}
        joined:
          sql: |
            SELECT b.id, b.price, t.town, l.most FROM big b JOIN towns t ON t.site = b.site
            LEFT JOIN books.limits l ON l.town = t.town WHERE b.ok
        """,
        {
            "big": COLUMNS,
            "joined": {"id": "BIGINT", "price": "DECIMAL(12,2)", "town": "VARCHAR", "most": "BIGINT"},
        },
    )
    with live_server(folder, product) as served:
        assert not served.application.ready.unavailable
        yield served
    postgres.run("DROP TABLE big")


def _same(live: Live, expected: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    found, wanted = live.table(sql), expected.sql(sql).to_arrow_table()
    assert found.schema.names == wanted.schema.names
    assert found.to_pylist() == wanted.to_pylist()
    return found


def test_filter_projection_and_limit_reach_postgres(
    live: Live, postgres: Postgres, asked: Callable[[str, str], list[str]]
) -> None:
    """A point read would move a million rows over the network."""
    before = len(postgres.statements())
    rows = live.rows("SELECT id, mass FROM lab.pg.big WHERE day >= DATE '2020-06-01' AND site = 'site3' LIMIT 7")
    assert len(rows) == 7
    assert all(set(row) == {"id", "mass"} for row in rows)
    (statement,) = asked(postgres.statements()[before:], "big")
    assert "2020-06-01" in statement
    assert "'site3'" in statement
    assert "LIMIT 7" in statement
    assert '"price"' not in statement


def test_an_aggregate_is_pushed_whole(
    live: Live, expected: duckdb.DuckDBPyConnection, postgres: Postgres, asked: Callable[[str, str], list[str]]
) -> None:
    """Ten groups would cost the transfer of a million rows."""
    before = len(postgres.statements())
    sql = (
        "SELECT site, count(*) AS n, sum(price) AS total, min(day) AS first, avg(price) AS mean "
        "FROM lab.pg.big WHERE id % 2 = 0 GROUP BY site ORDER BY site"
    )
    found = _same(live, expected, sql)
    assert found.num_rows == 5
    (statement,) = asked(postgres.statements()[before:], "big")
    assert "GROUP BY" in statement
    explained = live.client.sql(sql).explain()
    assert explained.pushed_whole
    assert explained.engine == "remote"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM lab.pg.joined WHERE id < 5000 ORDER BY id",
        "SELECT town, count(*) AS n, sum(price) AS total, max(most) AS most FROM lab.pg.joined GROUP BY 1 ORDER BY 1",
        "SELECT a.id, b.town FROM lab.pg.big a JOIN lab.pg.joined b USING (id) WHERE a.day = DATE '2020-03-01' "
        "AND b.most > 10 ORDER BY a.id",
        "SELECT count(*) AS n FROM lab.pg.joined WHERE most IS NULL",
        "SELECT * FROM lab.pg.joined WHERE town = 'nowhere'",
    ],
)
def test_postgres_joined_with_csv_and_sqlite_answers_right(
    live: Live, expected: duckdb.DuckDBPyConnection, sql: str
) -> None:
    """Rows of three systems would be matched wrongly, or lost on the way."""
    _same(live, expected, sql)


def test_both_sides_of_a_join_are_narrowed(
    live: Live, postgres: Postgres, asked: Callable[[str, str], list[str]]
) -> None:
    """A filter on the joined port would stay on this side and every row would be moved."""
    before = len(postgres.statements())
    live.rows("SELECT town FROM lab.pg.joined WHERE id BETWEEN 10 AND 20")
    (statement,) = asked(postgres.statements()[before:], "big")
    assert "10" in statement
    assert "20" in statement
    assert '"price"' not in statement


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM lab.pg.big WHERE id IN (1, 14, 999999) ORDER BY id",
        "SELECT id FROM lab.pg.big WHERE ok IS NULL AND mass > 124.5 ORDER BY id LIMIT 20",
        "SELECT DISTINCT site FROM lab.pg.big WHERE site > 'site4' ORDER BY 1 DESC",
        "SELECT count(*) AS n FROM lab.pg.big WHERE price > 24000.25 OR day = DATE '2020-12-30'",
        "SELECT upper(site) AS s, reverse(site) AS r FROM lab.pg.big WHERE id = 4",
        "SELECT id FROM lab.pg.big WHERE regexp_matches(site, '[89]$') AND id < 30 ORDER BY id",
        "SELECT id FROM lab.pg.big WHERE id > 2000000",
        "SELECT max(id) AS m FROM lab.pg.big WHERE id > 2000000",
        "SELECT * FROM lab.pg.big ORDER BY price DESC, id LIMIT 3 OFFSET 2",
        "WITH x AS (SELECT site, max(id) AS m FROM lab.pg.big GROUP BY site) SELECT b.* FROM lab.pg.big b JOIN x "
        "ON x.m = b.id ORDER BY b.id",
        "SELECT id, row_number() OVER (ORDER BY id DESC) AS n FROM lab.pg.big WHERE id < 5 ORDER BY id",
        "SELECT 1 AS one FROM lab.pg.big WHERE id = -1 UNION ALL SELECT id FROM lab.pg.big WHERE id = 3",
    ],
)
def test_whatever_is_pushed_the_answer_is_duckdbs(live: Live, expected: duckdb.DuckDBPyConnection, sql: str) -> None:
    """The answer would depend on where it is computed."""
    _same(live, expected, sql)


def test_a_full_scan_brings_every_row(live: Live, expected: duckdb.DuckDBPyConnection) -> None:
    """A stream that ends early looks whole."""
    found = live.table("SELECT * FROM lab.pg.big")
    assert found.num_rows == ROWS
    (wanted,) = expected.sql("SELECT sum(id), sum(price), count(ok), sum(mass) FROM lab.pg.big").fetchall()
    checked = expected.sql("SELECT sum(id), sum(price), count(ok), sum(mass) FROM found").fetchall()
    assert checked == [wanted]


@pytest.mark.parametrize(("value", "n"), [(3, 1), (-1, 0), (None, 0)])
def test_parameters_are_literals_there(live: Live, value: int | None, n: int) -> None:
    """Prepared statements are what drivers send most."""
    found = live.client.sql("SELECT id FROM lab.pg.big WHERE id = ?", [value]).arrow()
    assert found.num_rows == n


def test_parameters_of_every_kind_find_their_rows(live: Live) -> None:
    """A decimal or a text with a quote would be written wrongly into the other dialect."""
    sql = "SELECT id FROM lab.pg.big WHERE price = $1 AND site = $2 AND day = CAST($3 AS DATE) ORDER BY id"
    first = live.rows("SELECT price, site, day FROM lab.pg.big WHERE id = 12345")[0]
    found = live.client.sql(sql, [first["price"], first["site"], str(first["day"])]).arrow()
    assert {"id": 12345} in found.to_pylist()
    assert live.client.sql(sql, [Decimal("1.00"), "o'neill \\ \"", "2020-01-01"]).arrow().num_rows == 0


def test_the_address_is_in_no_answer(live: Live, postgres: Postgres, tmp_path: Path) -> None:
    """An error that quotes the driver would tell where the database is."""
    with pytest.raises(FlightmeshError) as refused:
        live.rows("SELECT 1 / 0 AS x, CAST(site AS INTEGER) AS y FROM lab.pg.big LIMIT 1")
    assert str(postgres.port) not in str(refused.value)


@pytest.fixture(scope="module")
def odd(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A table whose texts are equal to PostgreSQL without being the same, and with a date that has no end."""
    folder = tmp_path_factory.mktemp("odd")
    postgres.run(
        "CREATE COLLATION IF NOT EXISTS loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        "CREATE TABLE odd (id int, word text COLLATE loose, day date)",
        "INSERT INTO odd VALUES (1, 'a', '2024-01-01'), (2, 'A', 'infinity'), (-1, NULL, NULL)",
    )
    product = write_product(
        folder / "product",
        "lab.odd",
        f'pg: {{type: postgres, uri: "{postgres.uri}", mode: live, tables: [odd]}}',
        "odd: {from: pg.odd}\nguarded: {from: pg.odd, keep: [id, word]}",
        {"odd": {"id": "INTEGER", "word": "VARCHAR", "day": "DATE"}, "guarded": {"id": "INTEGER", "word": "VARCHAR"}},
        policies="""
        - {grant: read, port: "*", to: ["*", anonymous]}
        - {rows: "id <> 2", of: guarded}
        """,
    )
    with live_server(folder, product) as served:
        assert not served.application.ready.unavailable
        yield served
    postgres.run("DROP TABLE odd", "DROP COLLATION loose")


def test_texts_are_equal_only_when_they_are_the_same(odd: Live) -> None:
    """A database's own idea of equal texts would group, join and filter otherwise than its readers expect."""
    assert odd.rows("SELECT count(DISTINCT word) AS n FROM lab.odd.odd") == [{"n": 2}]
    assert odd.rows("SELECT id FROM lab.odd.odd WHERE word = 'A'") == [{"id": 2}]
    assert odd.rows("SELECT count(*) AS n FROM (SELECT word FROM lab.odd.odd GROUP BY word)") == [{"n": 3}]
    union = "SELECT word FROM lab.odd.odd UNION SELECT word FROM lab.odd.odd"
    assert odd.rows(f"SELECT count(*) AS n FROM ({union})") == [{"n": 3}]


def test_a_date_without_end_is_an_error_and_not_another_date(odd: Live) -> None:
    """A maximum over it would come back as a day in the past."""
    for sql in ("SELECT max(day) AS d FROM lab.odd.odd", "SELECT day FROM lab.odd.odd"):
        with pytest.raises(FlightmeshError, match="pg"):
            odd.rows(sql)


def test_a_condition_is_not_tried_on_hidden_rows(odd: Live, postgres: Postgres) -> None:
    """One that fails on hidden rows alone would tell that they are there, and what they hold."""
    sql = "SELECT id FROM lab.odd.{} WHERE id * 1073741824 - id <> 5 ORDER BY id"
    with pytest.raises(FlightmeshError):
        odd.rows(sql.format("odd"))
    errors = postgres.statements().count("integer out of range")
    assert odd.rows(sql.format("guarded")) == [{"id": -1}, {"id": 1}]
    assert postgres.statements().count("integer out of range") == errors

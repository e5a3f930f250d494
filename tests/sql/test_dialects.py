"""``flightmesh.sql.dialects``: TPC-H pushed whole, and what is refused, in plain words."""

from __future__ import annotations

import re
from collections.abc import Iterator

import duckdb
import pytest

from flightmesh.sql.dialects import NotPushed, RemoteTable, transpile
from tests.postgres import Postgres
from tests.sql.both_engines import BothEngines, opened
from tests.tpch.data import load_duckdb, load_postgres, tpch_tables
from tests.tpch.queries import QUERIES


@pytest.fixture(scope="module")
def tpch(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BothEngines]:
    """TPC-H at scale 0.01, with its keys, in both engines."""
    tables = tpch_tables(0.01, tmp_path_factory.mktemp("tpch"))
    load_postgres(postgres, "tpch_pushed", tables)
    with duckdb.connect() as duck, opened(postgres, "tpch_pushed") as cursor:
        load_duckdb(duck, tables)
        described = {name: duck.execute(f"DESCRIBE {name}").fetchall() for name in tables}
        remote = [
            RemoteTable((name,), ("public", name), {row[0]: row[1] for row in rows}) for name, rows in described.items()
        ]
        yield BothEngines(duck, cursor, tuple(remote))


@pytest.mark.parametrize("number", QUERIES)
def test_each_query_of_tpch_is_pushed_whole_and_answers_alike(tpch: BothEngines, number: int) -> None:
    """A report over a live database would read whole tables, or show other totals than the database holds."""
    outcome = tpch.compare(QUERIES[number])
    assert outcome.kind == "equal", outcome


@pytest.mark.parametrize("number", [number for number in QUERIES if "order by" in QUERIES[number]])
def test_the_order_of_rows_survives(tpch: BothEngines, number: int) -> None:
    """The first row of a ranking would be another one."""
    sql = QUERIES[number]
    tpch.cursor.execute(tpch.pushed(sql))
    pushed, here = tpch.cursor.fetchall(), tpch.duck.execute(sql).fetchall()
    keys = {1: (0, 1), 2: (1, 3), 4: (0,), 7: (0, 1, 2), 9: (0, 1), 12: (0,), 13: (1, 0), 15: (0,), 16: (3, 0, 1, 2)}
    for column in keys.get(number, ()):
        assert [row[column] for row in pushed] == [row[column] for row in here]


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT regexp_matches(t, 'a') FROM h", "regexp_matches has no proven equal in postgres"),
        ("SELECT lower(t) FROM h", "lower has no proven equal"),
        ("SELECT t ILIKE 'a' FROM h", "~~\\* has no proven equal"),
        ("SELECT round(f8) FROM h", "round of DOUBLE"),
        ("SELECT f8::DECIMAL(5,2) FROM h", "cast of DOUBLE to DECIMAL"),
        ("SELECT t::INTEGER FROM h", "cast of VARCHAR to INTEGER"),
        ("SELECT f8::VARCHAR FROM h", "cast of DOUBLE to VARCHAR"),
        ("SELECT date_trunc('day', tz) FROM h", "TIMESTAMP WITH TIME ZONE"),
        ("SELECT tz::DATE FROM h", "cast of TIMESTAMP WITH TIME ZONE to DATE"),
        ("SELECT year(tz) FROM h", "year of TIMESTAMP WITH TIME ZONE"),
        ("SELECT any_value(i4) FROM h", "any_value has no proven equal"),
        ("SELECT median(i4) FROM h", "median has no proven equal"),
        ("SELECT list(i4) FROM h", "list has no proven equal"),
        ("SELECT string_agg(t, ',') FROM h", "string_agg has no proven equal"),
        ("SELECT min(b) FROM h", "min of BOOLEAN"),
        ("SELECT d5 = t FROM (SELECT d5, '1' AS t FROM h)", "DECIMAL\\(5,2\\) and VARCHAR are mixed"),
        ("SELECT i4 FROM h WHERE i4", "INTEGER is used as a condition"),
        ("SELECT b = 1 FROM h", "BOOLEAN and INTEGER are mixed"),
        ("PIVOT h ON i4 IN (1, 2) USING count(*)", "pivot in FROM is not pushed"),
        ("SELECT DISTINCT ON (b) i4 FROM h", "distinct_modifier with distinct_on_targets is not pushed"),
        ("SELECT i4 FROM h GROUP BY ROLLUP (i4)", "GROUPING SETS, ROLLUP and CUBE"),
        ("SELECT i4 FROM h LIMIT 10%", "limit_modifier with limit_type is not pushed"),
        ("SELECT i4 FROM h LIMIT (SELECT 1)", "LIMIT is not a constant number"),
        ("SELECT i4 FROM h TABLESAMPLE 10%", "base_table with sample is not pushed"),
        ("SELECT current_date FROM h", "current_date is no column"),
        ("SELECT now() FROM h", "now has no proven equal"),
        ("SELECT random() FROM h", "random has no proven equal"),
        ("SELECT 1 FROM h UNION ALL BY NAME SELECT 2 FROM h", "UNION BY NAME is not pushed"),
        ("SELECT * FROM h SEMI JOIN t1 USING (id)", "regular semi join is not pushed"),
        ("SELECT * FROM h ASOF JOIN t1 ON h.id >= t1.id", "asof inner join is not pushed"),
        ("SELECT * FROM h, LATERAL (SELECT h.i4 + 1) q", "reads the tables beside it"),
        ("SELECT * FROM h, range(3)", "table function in FROM is not pushed"),
        ("SELECT h FROM h", "h is no column"),
        ("SELECT COLUMNS(*) FROM h", "star with columns is not pushed"),
        ("SELECT DISTINCT i4 FROM h ORDER BY id", "ordered by more than a result column"),
        ("SELECT count(*) FROM h GROUP BY 'a'", "rows are grouped by constants"),
        ("SELECT coalesce(d::DECIMAL(38,2), d30::DECIMAL(38,6)) FROM t1, h", "need more than 38 digits"),
        ("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) FROM r", "recursive cte"),
        ("SELECT sum(i4 ORDER BY id) FROM h", "sum with ORDER BY is not pushed"),
        ("SELECT first_value(i4) OVER (ORDER BY id) FROM h", "first_value has no proven equal"),
        ("SELECT i4 > ALL (SELECT id FROM h) FROM h", "pushed for = alone"),
        ("SELECT i4 + to_days(i4) FROM h", None),
        ("SELECT date + to_days(i4) FROM h", "an interval is not constant"),
        ("SELECT extract(epoch FROM ts) FROM h", "epoch of TIMESTAMP"),
    ],
)
def test_what_is_not_proven_equal_is_refused_in_plain_words(both: BothEngines, sql: str, reason: str | None) -> None:
    """A statement would be answered by a database that means something else by it; or nobody would learn why not."""
    outcome = both.compare(sql)
    if reason is None:
        assert outcome.kind == "unbound"
    else:
        assert outcome.kind == "refused", outcome
        assert re.search(reason, outcome.reason), outcome.reason


def test_a_table_of_another_database_is_refused() -> None:
    """A statement over two databases would be sent to one of them."""
    known = RemoteTable(("a",), ("public", "a"), {"x": "BIGINT"})
    with pytest.raises(NotPushed, match="more than tables of this database"):
        transpile("SELECT a.x FROM a, b", [known], dialect="postgres", result=[("x", "BIGINT")])


@pytest.mark.parametrize("dialect", ["sqlite", "mysql", "", "Postgres"])
def test_an_unknown_dialect_is_refused(dialect: str) -> None:
    """A statement would be sent in words that nobody has proven."""
    with pytest.raises(NotPushed, match="whole statements are not pushed to"):
        transpile("SELECT 1", [], dialect=dialect, result=[("1", "INTEGER")])


def test_a_type_that_was_not_followed_is_refused() -> None:
    """A mistake in our own typing would change values unseen."""
    table = RemoteTable(("a",), ("public", "a"), {"x": "BIGINT"})
    for result in ([("x", "HUGEINT")], [("x", "DECIMAL(19,0)")], [("x", "BIGINT"), ("y", "BIGINT")]):
        with pytest.raises(NotPushed, match="followed"):
            transpile("SELECT x FROM a", [table], dialect="postgres", result=result)


def test_names_of_the_author_do_not_reach_the_database() -> None:
    """A name could be a word of the database's own, too long for it, or spelled by somebody who means harm."""
    columns = {'a"; DROP TABLE x; --': "BIGINT", "select": "VARCHAR"}
    table = RemoteTable(("c", "s", "t"), ("Pub lic", 'o"t'), columns)
    sql = (
        'WITH "w" AS (SELECT * FROM c.s.t AS "from" LIMIT 3) '
        'SELECT "a""; DROP TABLE x; --" AS "x\'y", "y"" z"."select" FROM w AS "y"" z"'
    )
    text = transpile(sql, [table], dialect="postgres", result=[("x'y", "BIGINT"), ("select", "VARCHAR")])
    assert text == (
        'WITH w2 AS (SELECT r1."a""; DROP TABLE x; --" AS c0, r1."select" AS c1 FROM "Pub lic"."o""t" AS r1 LIMIT 3) '
        'SELECT r3."c0" AS c0, r3."c1" AS c1 FROM "w2" AS r3'
    )


def test_a_name_that_the_database_would_cut_is_refused() -> None:
    """Another column than the one that was named would be read."""
    table = RemoteTable(("t",), ("public", "t"), {"x" * 64: "BIGINT"})
    with pytest.raises(NotPushed, match="63 bytes"):
        transpile("SELECT * FROM t", [table], dialect="postgres", result=[("x", "BIGINT")])


def test_a_statement_that_becomes_too_long_is_refused() -> None:
    """The database's parser would be handed megabytes that one sum was written as."""
    table = RemoteTable(("t",), ("public", "t"), {"f": "DOUBLE"})
    deep = "f"
    for _ in range(14):
        deep = f"(1 / {deep})"
    with pytest.raises(NotPushed, match="too long"):
        transpile(f"SELECT {deep} AS x FROM t", [table], dialect="postgres", result=[("x", "DOUBLE")])

"""``flightmesh.sql.peers``: a statement for another DuckDB keeps its meaning under the other's names."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from flightmesh.sql.ast import parse
from flightmesh.sql.dialects import NotPushed, RemoteTable, transpile
from flightmesh.sql.gate import survey

_TABLES = [
    RemoteTable(("live", "peer", "orders"), ("domain", "sales", "orders"), {"k": "BIGINT", "p": "DECIMAL(12,2)"}),
    RemoteTable(("live", "peer", "names"), ("domain", "sales", "Na mes"), {"k": "BIGINT", "n": "VARCHAR"}),
    RemoteTable(("live", "peer", "people"), ("domain", "sales", "people"), {"age": "BIGINT", "user": "VARCHAR"}),
]
_SESSION = [
    *("current_catalog", "current_date", "current_role", "current_schema", "current_time", "current_timestamp"),
    *("current_user", "localtime", "localtimestamp", "session_user", "user"),
]


@pytest.fixture(scope="module")
def peer() -> Iterator[duckdb.DuckDBPyConnection]:
    """Both names in one database, so that both statements can be run."""
    with duckdb.connect() as connection:
        for catalog, schema in (("live", "peer"), ("domain", "sales")):
            connection.execute(f"ATTACH ':memory:' AS {catalog}")
            connection.execute(f"CREATE SCHEMA {catalog}.{schema}")
        orders = "FROM range(20) t(i) SELECT CAST(i % 4 AS BIGINT) AS k, CAST(i * 1.25 AS DECIMAL(12,2)) AS p"
        names = "FROM (VALUES (0::BIGINT, 'a'), (1, 'ä'), (7, NULL)) v(k, n)"
        connection.execute(f"CREATE TABLE live.peer.orders AS {orders}; CREATE TABLE domain.sales.orders AS {orders}")
        connection.execute(f'CREATE TABLE live.peer.names AS {names}; CREATE TABLE domain.sales."Na mes" AS {names}')
        people = "SELECT * FROM (VALUES (40, 'ann'), (41, 'bob')) v(age, user)"
        connection.execute(f"CREATE TABLE live.peer.people AS {people}; CREATE TABLE domain.sales.people AS {people}")
        yield connection


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM live.peer.orders ORDER BY p DESC LIMIT 3",
        "SELECT orders.k, live.peer.orders.p, count(*) FROM live.peer.orders GROUP BY ALL ORDER BY ALL",
        "SELECT n, median(p), list_sort(list(p)) FROM live.peer.orders JOIN live.peer.names USING (k) GROUP BY n",
        "SELECT regexp_replace(n, 'a', 'b'), lower(n), n ILIKE 'A' FROM live.peer.names",
        "PIVOT live.peer.orders ON k IN (1, 2) USING sum(p)",
        "WITH names AS (SELECT 1 AS k) SELECT names.k, o.p FROM names JOIN live.peer.orders o USING (k)",
        "SELECT DISTINCT ON (k) k, p FROM live.peer.orders ORDER BY k, p DESC",
        "SELECT (SELECT max(p) FROM live.peer.orders o WHERE o.k = names.k) FROM live.peer.names ORDER BY k",
        'SELECT age, "user" FROM live.peer.people WHERE age > 40 AND "user" <> \'x\' ORDER BY "user"',
        'SELECT "user", count(*) FROM (SELECT * FROM live.peer.people) AS p GROUP BY "user"',
        'WITH w AS (SELECT "user" AS "current_date" FROM live.peer.people) SELECT "current_date" FROM w',
        'SELECT n FROM live.peer.names JOIN live.peer.people p ON "user" <> n',
        "SELECT p.user, now FROM (SELECT age AS now, user FROM live.peer.people) p",
        'SELECT "user" FROM (SELECT "user" FROM live.peer.people UNION ALL SELECT n FROM live.peer.names) u',
        'SELECT "localtime" FROM live.peer.people AS p(x, "localtime")',
    ],
)
def test_a_statement_answers_alike_under_the_peers_names(peer: duckdb.DuckDBPyConnection, sql: str) -> None:
    """A reader of a mesh of servers would get other rows, or rows in another order."""
    result = [(row[0], row[1]) for row in peer.execute(f"DESCRIBE {sql}").fetchall()]
    text = transpile(sql, _TABLES, dialect="duckdb", result=result)
    relations = survey(parse(text, bytes_max=10_000, depth_max=100)).relations
    assert {reference.path[0] for reference in relations} == {"domain"}
    here, there = peer.execute(sql).fetchall(), peer.execute(text).fetchall()
    assert [column[0] for column in peer.execute(text).description] == [f"c{index}" for index in range(len(result))]
    assert there == here if "ORDER BY" in sql else sorted(map(str, there)) == sorted(map(str, here))


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT random() FROM live.peer.orders", "random answers for the session"),
        ("SELECT now() FROM live.peer.orders", "now answers for the session"),
        ("SELECT current_date FROM live.peer.orders", "current_date answers for the session"),
        ("SELECT uuid() FROM live.peer.orders", "uuid answers for the session"),
        ("SELECT age() FROM live.peer.people", "age answers for the session"),
        ('SELECT "user" FROM live.peer.orders', "user answers for the session"),
        ('SELECT (SELECT "user" FROM live.peer.orders LIMIT 1) FROM live.peer.people', "user answers for"),
        ('SELECT "user" FROM live.peer.people AS p(x, y)', "user answers for the session"),
        ('SELECT "user" FROM (SELECT age FROM live.peer.people) p', "user answers for the session"),
        ('SELECT "user" FROM (SELECT * EXCLUDE ("user") FROM live.peer.people) p', "user answers for"),
        ("SELECT p.k FROM live.peer.orders p JOIN live.peer.names q ON q.n = session_user", "session_user answers"),
        ('WITH w AS (SELECT k FROM live.peer.orders) SELECT "USER" FROM w', "USER answers for the session"),
        ("SELECT k FROM live.peer.orders TABLESAMPLE 10%", "a sample is another one"),
        ("SELECT '2020-01-01 00:00:00+00'::TIMESTAMPTZ FROM live.peer.orders", "session's time zone"),
        ("SELECT * FROM live.peer.orders, elsewhere", "more than tables of this database"),
        ("SELECT getenv('HOME') FROM live.peer.orders", "the function getenv is not allowed"),
        ("SELECT k FROM live.peer.orders WHERE k = $1", "it has parameters"),
        ("SELECT orders FROM live.peer.orders AT (VERSION => 1)", "time travel"),
    ],
)
def test_what_answers_for_the_session_is_refused(sql: str, reason: str) -> None:
    """The peer would answer with its own clock, chance or user."""
    with pytest.raises(NotPushed) as caught:
        transpile(sql, _TABLES, dialect="duckdb", result=[("x", "BIGINT")])
    assert reason in caught.value.reason


def test_the_words_of_the_session_are_those_that_duckdb_reads_as_functions() -> None:
    """A new version reads one more word without brackets, which would be the peer's user or clock."""
    with duckdb.connect() as connection:
        words = "SELECT function_name FROM duckdb_functions() UNION SELECT keyword_name FROM duckdb_keywords()"
        names = {row[0] for row in connection.execute(words).fetchall()} | set(_SESSION)
        found = set()
        for name in names:
            try:
                connection.execute(
                    f'CREATE OR REPLACE VIEW v AS SELECT "{name.replace(chr(34), "")}" AS x FROM range(1) r(i)'
                )
                found.add(name)
            except duckdb.BinderException:
                pass
    assert found == set(_SESSION)


@pytest.mark.parametrize("word", _SESSION)
def test_a_word_of_the_session_is_refused_where_it_is_no_column(word: str) -> None:
    """A reader would get the upstream's user, day or hour."""
    with pytest.raises(NotPushed, match=f"{word} answers for the session"):
        transpile(f"SELECT {word} FROM live.peer.orders", _TABLES, dialect="duckdb", result=[("x", "BIGINT")])

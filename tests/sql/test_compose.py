"""``flightmesh.sql.compose``: a statement means the same after its relations were replaced, or it is refused."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.sql.ast import parse
from flightmesh.sql.compose import compose
from flightmesh.sql.gate import survey

_SETUP = """
CREATE SCHEMA s; CREATE SCHEMA r; CREATE SCHEMA n;
CREATE TABLE s.t AS SELECT i AS x, i + 1 AS y, {'a': i} AS st FROM range(3) t(i);
CREATE TABLE r.t AS SELECT i + 2 AS x, i AS z FROM range(3) t(i);
CREATE TABLE t0 AS SELECT 1 AS a;
CREATE TABLE n.tt AS FROM s.t; CREATE TABLE n.rr AS FROM r.t; CREATE TABLE n.zz AS FROM t0;
"""
# What was called so, by every way to write it, is read from here afterwards.
_NEW = {("memory", "s", "t"): "tt", ("memory", "r", "t"): "rr", ("memory", "main", "t0"): "zz"}
_WRITTEN = {
    **{path[start:]: new for path, new in _NEW.items() for start in (0, 1)},
    ("t0",): "zz",
}
_SUBQUERIES = {path: f"SELECT * FROM memory.n.{new}" for path, new in _WRITTEN.items()}
_PATHS = {path: ("memory", "n", new) for path, new in _WRITTEN.items()}

_STATEMENTS = """
SELECT s.t.x, r.t.x FROM s.t, r.t
SELECT s.t.x FROM s.t, (SELECT s.t.y FROM s.t) q
SELECT u.x FROM s.t AS u
SELECT memory.s.t.x, memory.s.t.x + 1, (SELECT max(x) FROM s.t) FROM s.t
SELECT memory.main.t0.a, main.t0.a FROM t0
SELECT (SELECT s.t.y FROM r.t u LIMIT 1) FROM s.t
SELECT * FROM s.t, r.t
SELECT t FROM s.t
SELECT * FROM s.t TABLESAMPLE 100%
SELECT x FROM s.t GROUP BY s.t.x HAVING s.t.x > 0 ORDER BY s.t.x DESC LIMIT 1
SELECT s.t.x FROM s.t UNION SELECT x FROM r.t ORDER BY s.t.x
SELECT x FROM s.t UNION ALL BY NAME SELECT z, x FROM r.t ORDER BY ALL
SELECT * FROM s.t JOIN r.t USING (x)
SELECT s.t.x, r.t.x FROM s.t FULL JOIN r.t USING (x)
SELECT * FROM s.t NATURAL JOIN s.t u
FROM s.t SELECT * REPLACE (s.t.x + 1 AS x)
SELECT * RENAME (s.t.x AS xx) FROM s.t
SELECT * EXCLUDE (s.t.x) FROM s.t
SELECT * EXCLUDE (memory.s.t.x) FROM s.t
PIVOT s.t ON x IN (1, 2) USING sum(y)
UNPIVOT s.t ON x, y
SELECT s.t.x FROM (s.t)
SELECT t.* FROM s.t
SELECT t.* EXCLUDE (x) FROM s.t
SELECT s.t.st.a, t.st.a, st.a FROM s.t
WITH t0 AS (SELECT 5 AS a) FROM t0
WITH t0 AS (FROM t0) FROM t0
WITH T0 AS (SELECT 7 AS a) SELECT t0.a, main.t0.a FROM main.t0
WITH RECURSIVE q AS (SELECT 0 AS n UNION ALL SELECT q.n + 1 FROM q, t0 WHERE q.n < t0.a + 3) FROM q, t0
SELECT (SELECT count(*) FROM r.t u WHERE u.x = s.t.x) FROM s.t ORDER BY ALL
SELECT o.x, l.z FROM s.t o, LATERAL (SELECT z FROM r.t WHERE r.t.x > o.x ORDER BY z LIMIT 1) l ORDER BY 1
SELECT count(*) FROM s.t WHERE EXISTS (FROM r.t a WHERE a.x = s.t.x)
SELECT list_transform([s.t.x, 2], lambda q: q + s.t.y) FROM s.t
SELECT "T".x FROM S."T" ORDER BY 1
SELECT q.a FROM t0 AS q(a) WHERE q.a = 1
FROM s.t WHERE (x, y) IN (SELECT x, z + 2 FROM r.t)
SELECT unnest([t0.a]) FROM t0
SELECT row_number() OVER (ORDER BY s.t.x DESC), x FROM s.t QUALIFY row_number() OVER (ORDER BY s.t.x DESC) = 1
WITH c AS (SELECT * FROM s.t) SELECT c.x, (WITH d AS (FROM c) SELECT max(d.x) FROM d) FROM c ORDER BY 1
TABLE t0
VALUES ((SELECT max(a) FROM t0))
SELECT x FROM s.t WHERE x = ANY(SELECT x FROM r.t) ORDER BY 1
SELECT * FROM t0 CROSS JOIN LATERAL (SELECT t0.a + 1 AS b)
SELECT COLUMNS(t.*) FROM s.t
SELECT COLUMNS('x') FROM s.t
WITH tt AS (SELECT 1 AS z) SELECT * FROM s.t
SELECT t0.a FROM t0 WHERE t0.a IN (SELECT t0.a FROM t0)
SELECT "(s.t.x + 1)" FROM (SELECT s.t.x + 1 FROM s.t)
FROM s.t a ASOF JOIN r.t b ON a.x >= b.x
FROM s.t POSITIONAL JOIN r.t
SELECT s.t.x, sum(s.t.y) OVER w FROM s.t WINDOW w AS (ORDER BY s.t.x)
SELECT r.t.x FROM r.t WHERE r.t.x NOT IN (SELECT s.t.x FROM s.t WHERE y > 1)
SELECT 'it''''s', E'a\\\\b\\n', "s".t.x AS "a ""b c" FROM s.t
""".strip().splitlines()


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(_SETUP)
        yield connection


def _answer(database: duckdb.DuckDBPyConnection, sql: str) -> tuple[list[str], list[str]]:
    rows = database.execute(sql)
    return [column[0] for column in rows.description], sorted(map(str, rows.fetchall()))


@pytest.mark.parametrize("sql", _STATEMENTS)
def test_a_statement_means_the_same_after_its_relations_were_replaced(
    database: duckdb.DuckDBPyConnection, sql: str
) -> None:
    """A reader would get other rows or other column names because a port is computed and not stored."""
    expected = _answer(database, sql)
    for replacements in (_SUBQUERIES, _PATHS):
        composed = compose(sql, replacements)
        assert _answer(database, composed) == expected, composed


@pytest.mark.parametrize("sql", _STATEMENTS)
def test_nothing_is_left_of_what_was_replaced(sql: str) -> None:
    """A reference that the walk passes by would read the table behind the reader's own view of it."""
    for composed in (compose(sql, _PATHS), compose(sql, _SUBQUERIES)):
        found = survey(parse(composed, bytes_max=10_000, depth_max=100))
        assert {reference.path[:-1] for reference in found.relations} <= {("memory", "n")}, composed


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT t.x FROM s.t, r.t", "Several tables in FROM are called t"),
        ("SELECT t.* FROM s.t, r.t", "Several tables in FROM are called t"),
        ("SELECT (SELECT max(s.t.y) FROM r.t) FROM s.t", "Tables of a query and of its subquery are both called t"),
        ("SELECT s.t FROM s.t", "used as a value under its full name"),
        ("SELECT other.t0.a FROM t0", "says more than FROM does"),
        ("SELECT * FROM s.t AT (VERSION => 1)", "keeps no past"),
        ("SELECT 1; SELECT 2", "several statements"),
        ("SELECT FROM", "does not parse"),
    ],
)
def test_what_would_change_its_meaning_is_refused(sql: str, said: str) -> None:
    """A reader would get rows of another table than the one that was named."""
    with pytest.raises(FlightmeshError, match=said):
        compose(sql, _SUBQUERIES)


@pytest.mark.parametrize("replacement", ["SELECT * FROM zz", "WITH c AS (FROM zz) FROM c", ("zz",)])
@pytest.mark.parametrize(
    "sql",
    [
        "WITH zz AS (SELECT 9 AS a) SELECT * FROM t0",
        "WITH ZZ AS (SELECT 9 AS a) SELECT (SELECT max(a) FROM t0)",
        "WITH RECURSIVE zz AS (SELECT 1 AS a UNION ALL SELECT a FROM t0) FROM zz",
    ],
)
def test_a_with_clause_cannot_slip_under_a_replacement(sql: str, replacement: str | tuple[str, ...]) -> None:
    """A reader could put rows of their own under a model, or under the filter of a row policy."""
    with pytest.raises(FlightmeshError, match=r"of a WITH clause hides a table") as caught:
        compose(sql, {("t0",): replacement})
    assert caught.value.code is ErrorCode.INVALID


def test_a_name_of_the_replacement_itself_is_no_conflict(database: duckdb.DuckDBPyConnection) -> None:
    """A model with a WITH clause could not be read by a statement with one of the same name."""
    sql = "WITH c AS (SELECT 2 AS a) SELECT c.a, t0.a FROM c, t0"
    composed = compose(sql, {("t0",): "WITH c AS (SELECT 3 AS a) FROM c"})
    assert _answer(database, composed)[1] == ["(2, 3)"]


def test_caps_hold_for_every_text() -> None:
    """A statement over the caps would reach the parser by this way."""
    with pytest.raises(FlightmeshError, match="bytes"):
        compose("SELECT 1", {}, bytes_max=5)
    with pytest.raises(FlightmeshError, match="nests more"):
        compose(f"SELECT {'(' * 50}1{')' * 50}", {}, depth_max=20)

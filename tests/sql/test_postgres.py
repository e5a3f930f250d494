"""``flightmesh.sql.postgres``: groups, orders, set operations, and queries made by chance answer alike."""

from __future__ import annotations

from collections import Counter

import pytest

from flightmesh.sql.dialects import RemoteTable, transpile
from tests.sql.both_engines import BothEngines
from tests.sql.random_queries import RandomQueries

_QUERIES = """
SELECT * FROM t1
SELECT * EXCLUDE (g, f) FROM t1 WHERE k > 2
SELECT k AS a, count(*) FROM t1 GROUP BY a
SELECT k + 1 AS k, count(*) FROM t1 GROUP BY 1
SELECT g, sum(d) FROM t1 GROUP BY ALL HAVING sum(d) > 3
SELECT g, sum(d) AS s FROM t1 GROUP BY g HAVING s > 3
SELECT count(*) FROM t1 HAVING count(*) > 1000
SELECT DISTINCT g, k FROM t1
SELECT k AS x, x + 1 AS y FROM t1 WHERE x > 2
SELECT -k AS k FROM t1 WHERE k > 2
SELECT g FROM t1 UNION SELECT t FROM h
SELECT g FROM t1 UNION ALL SELECT NULL
SELECT i FROM t1 EXCEPT SELECT k FROM t2
SELECT i FROM t1 INTERSECT ALL SELECT k FROM t2
SELECT d FROM t1 UNION SELECT i FROM t2 UNION ALL SELECT 2.55
SELECT f8 FROM h UNION SELECT f8 FROM h
SELECT DISTINCT f8 FROM h
SELECT f8, count(*) FROM h GROUP BY ALL
SELECT f4, min(t), max(t), min("u U"), max(f8), min(f8) FROM h GROUP BY f4
SELECT id, row_number() OVER (PARTITION BY g ORDER BY id) AS n FROM t1 QUALIFY n = 1
SELECT id FROM t1 QUALIFY rank() OVER (PARTITION BY g ORDER BY d DESC, id) <= 2
SELECT * FROM (SELECT t FROM h ORDER BY t LIMIT 5)
SELECT * FROM (SELECT t FROM h ORDER BY t DESC LIMIT 5)
SELECT * FROM (SELECT "u U", id FROM h ORDER BY 1 NULLS FIRST, 2 LIMIT 6 OFFSET 1)
SELECT * FROM (SELECT f8 FROM h ORDER BY f8 DESC LIMIT 3)
SELECT * FROM (SELECT g FROM t1 UNION SELECT t FROM h ORDER BY g DESC LIMIT 4)
SELECT * FROM (SELECT DISTINCT g AS x FROM t1 ORDER BY x LIMIT 3)
SELECT * FROM (SELECT max(k) AS m FROM t1 GROUP BY g ORDER BY m + 1, g LIMIT 3)
SELECT * FROM (VALUES (1, 'a', NULL), (2, NULL, 2.5)) v(x, y, z)
SELECT (SELECT max(x.d) FROM t2 x WHERE x.k = t1.k) FROM t1
SELECT * FROM t1 WHERE k NOT IN (SELECT k FROM t2)
SELECT * FROM t1 WHERE k NOT IN (SELECT k FROM t2 WHERE k IS NOT NULL)
SELECT * FROM t1 WHERE d IN (SELECT i FROM t2)
SELECT * FROM t1 WHERE NOT EXISTS (SELECT 1 FROM t2 WHERE t2.k = t1.k AND t2.g = t1.g)
WITH a AS (SELECT k, sum(d) AS s FROM t1 GROUP BY k), b AS (SELECT max(s) AS m FROM a) SELECT a.* FROM a, b WHERE s = m
WITH a(x) AS (SELECT k FROM t1) SELECT (WITH a AS (SELECT 5 AS x) SELECT max(x) FROM a) FROM a
SELECT 'it''s', E'back\\slash\\n', '\u00fc', '', 1.50, -7, NULL, true FROM t1
SELECT 'E''\\' || t FROM h
SELECT g LIKE '100\\%' FROM t1
SELECT "u U" AS "select", t AS "a.b" FROM h
SELECT CAST('2020-02-29' AS DATE) = dt, CAST('12' AS BIGINT) + k, CAST('0.10' AS DECIMAL(3,2)) * d FROM t1
SELECT sum(i), sum(d), avg(d), avg(i), sum(f), avg(f), min(dt), max(ts) FROM t1 WHERE false
SELECT sum(i8), avg(i8), sum(i2), avg(i2), avg(d15), sum(d15) FROM h WHERE i8 < 1000000000000000
SELECT avg(d30), sum(d30), min(d30), max(d30), avg(d5) FROM h WHERE id <> 3
SELECT sum(f8) FROM h WHERE id NOT IN (2, 3, 4)
SELECT sum(f8), avg(f8), max(f8) FROM h WHERE id IN (3, 6)
SELECT sum(f8) FROM h WHERE id IN (3, 4)
SELECT sum(d) / count(*), sum(d) / sum(i), 100.00 * sum(CASE WHEN b THEN d ELSE 0 END) / sum(d) FROM t1
SELECT k FROM t1 GROUP BY k ORDER BY ALL
SELECT g, i FROM t1 ORDER BY ALL
SELECT g, i FROM t1 ORDER BY ALL DESC
SELECT tz, id FROM h WHERE tz > TIMESTAMPTZ '2005-01-01 00:00:00+00' ORDER BY ALL
SELECT count(DISTINCT k), count(DISTINCT f), count(DISTINCT dt), count(DISTINCT g) FROM t1 GROUP BY b
SELECT date_trunc('month', dt) AS m, count(*) FROM t1 GROUP BY m ORDER BY m
SELECT date_trunc('day', ts), date_trunc('year', ts), date_trunc('quarter', dt), date_trunc('month', ts) FROM t1
SELECT year(dt), month(dt), day(ts), quarter(ts), sum(d) FROM t1 GROUP BY ALL
SELECT CASE WHEN d > 1 THEN 'high' WHEN d IS NULL THEN 'none' ELSE 'low' END AS band, count(*) FROM t1 GROUP BY band
SELECT coalesce(g, 'none'), coalesce(d, 0), ifnull(i, k), coalesce(dt, DATE '2020-01-01') FROM t1
SELECT * FROM t1 WHERE g IN (SELECT t FROM h) AND k IN (SELECT k FROM t2 GROUP BY k HAVING count(*) > 3)
SELECT t FROM h WHERE t LIKE 'a%' OR starts_with(t, 'B') OR t LIKE '%x' OR t NOT LIKE '%b%'
SELECT * FROM (SELECT g, sum(d) AS s FROM t1 GROUP BY g ORDER BY s DESC, g LIMIT 3)
SELECT * FROM (SELECT k, count(*) FROM t1 GROUP BY k ORDER BY count(*) DESC, 1 LIMIT 2 OFFSET 1)
SELECT * FROM (SELECT k, avg(d) FROM t1 GROUP BY 1 ORDER BY max(f), k DESC LIMIT 4)
SELECT a FROM (SELECT sum(k) AS a, max(g) AS b, 1 AS c FROM t1)
SELECT c FROM (SELECT sum(k) AS a, max(g) AS b, 1 AS c FROM t1)
SELECT c FROM (SELECT sum(k) AS a, 1 AS c FROM t1 WHERE false)
SELECT c FROM (SELECT 1 AS c FROM t1 HAVING count(*) > 1)
SELECT count(*) FROM (SELECT sum(k), max(g) FROM t1)
SELECT count(*) FROM (SELECT k, g FROM t1 GROUP BY ALL)
SELECT count(*) FROM (SELECT g, sum(k) AS s FROM t1 GROUP BY ALL)
SELECT s FROM (SELECT g, sum(k) AS s FROM t1 GROUP BY ALL)
SELECT count(*) FROM (SELECT DISTINCT k, g FROM t1)
SELECT k FROM (SELECT DISTINCT k, g FROM t1)
SELECT k FROM (SELECT k, g FROM t1 UNION SELECT k, g FROM t2)
SELECT k FROM (SELECT k, g FROM t1 UNION ALL SELECT k, g FROM t2)
SELECT count(*) FROM (SELECT k, g FROM t1 UNION ALL SELECT k, g FROM t2)
SELECT g FROM (SELECT k, g FROM t1 UNION ALL (SELECT DISTINCT k, g FROM t2) UNION ALL SELECT max(k), min(g) FROM h, t1)
SELECT g FROM (SELECT k, g, id FROM t1 UNION ALL SELECT k, g, id FROM t2 ORDER BY id, k, g LIMIT 7)
SELECT k FROM (SELECT k, g FROM t1 EXCEPT ALL SELECT k, g FROM t2)
SELECT k FROM (SELECT k, row_number() OVER (PARTITION BY g ORDER BY id) AS n, g FROM t1 QUALIFY n = 1)
SELECT n FROM (SELECT k, id, row_number() OVER (ORDER BY id) AS n FROM t1 QUALIFY n < 9 ORDER BY k, id LIMIT 3)
SELECT g FROM (SELECT k, g, sum(d) OVER (PARTITION BY k) AS s FROM t1) WHERE s > 1
SELECT x.g FROM (SELECT * FROM t1) x LEFT JOIN (SELECT id, k AS q, 1 AS one FROM t2) y ON x.k = y.q WHERE y.one IS NULL
SELECT one FROM t1 LEFT JOIN (SELECT k + 100 AS k, 1 AS one, g FROM t2) y USING (k)
SELECT x.id FROM (SELECT * FROM t1) x WHERE EXISTS (SELECT y.* FROM (SELECT * FROM t2) y WHERE y.k = x.k AND y.g = x.g)
SELECT id FROM (SELECT * FROM t1) x WHERE EXISTS (SELECT max(y.g) FROM (SELECT * FROM t2 WHERE k > 99) y)
SELECT id, (SELECT max(z.d) FROM (SELECT * FROM (SELECT * FROM t2) y WHERE y.k = x.k) z) FROM (SELECT * FROM t1) x
WITH a AS (FROM t1), b AS (FROM a WHERE k > 1), c AS (FROM b) SELECT c.id, a.g FROM c JOIN a USING (id)
WITH a AS (SELECT k, g, d FROM t1 WHERE d > 0), b AS (SELECT k FROM a), c AS (SELECT g FROM t2) SELECT count(*) FROM b
WITH a AS (FROM t1 LIMIT 0) SELECT (SELECT count(*) FROM a), (WITH b AS (SELECT g, k FROM a) SELECT max(g) FROM b)
WITH a(x, y) AS (SELECT k, g FROM t1), b(z) AS (FROM (SELECT x FROM a)) SELECT z FROM b WHERE z IN (SELECT x FROM a)
WITH a AS (WITH b AS (SELECT k, g FROM t1 WHERE k > 1) SELECT g FROM b) SELECT a.g FROM a, a b WHERE a.g = b.g
SELECT count(*) FROM (SELECT 1) x, (SELECT k FROM t1) y
SELECT 'r1."c0" FROM "w2" AS r3', k FROM (SELECT k, g FROM t1 WHERE g <> 'r2."c1"')
SELECT count(*) FILTER (WHERE b), count(b), count(DISTINCT g), count(DISTINCT d), bool_and(b), count_if(b) FROM t1
""".strip().splitlines()


@pytest.mark.parametrize("sql", _QUERIES)
def test_queries_answer_alike(both: BothEngines, sql: str) -> None:
    """A pushed query would lose, repeat or change rows."""
    outcome = both.compare(sql)
    assert outcome.kind == "equal", outcome


@pytest.mark.parametrize("seed", range(8))
def test_queries_made_by_chance_answer_alike(both: BothEngines, seed: int) -> None:
    """A combination that nobody thought of would be pushed and answer otherwise."""
    queries = RandomQueries(seed)
    kinds = Counter(both.compare(queries.statement()).kind for _ in range(50))
    assert kinds["equal"] > 35, kinds


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(100, 140))
def test_many_queries_made_by_chance_answer_alike(both: BothEngines, seed: int) -> None:
    """As above, for many more."""
    queries = RandomQueries(seed)
    kinds = Counter(both.compare(queries.statement()).kind for _ in range(100))
    assert kinds["equal"] > 70, kinds


def test_an_order_without_limit_survives(both: BothEngines) -> None:
    """Rows would come in the database's own order of texts, or with NULLs first."""
    for order in ("t, id", "t DESC, id", "t NULLS FIRST, id DESC", "f8, id", "f8 DESC, id", "-i8 + 0, id", "2, 1"):
        sql = f"SELECT id, t FROM h WHERE i8 > -100 ORDER BY {order}"
        both.cursor.execute(both.pushed(sql))
        assert both.cursor.fetchall() == both.duck.execute(sql).fetchall(), order


_BIG = RemoteTable(
    ("big",), ("public", "big"), {"id": "BIGINT", "site": "VARCHAR", "mass": "DOUBLE", "day": "DATE", "ok": "BOOLEAN"}
)


@pytest.mark.parametrize(
    ("sql", "result", "text"),
    [
        (
            "SELECT CAST(id AS INTEGER), mass FROM (SELECT * FROM (SELECT * FROM big)) WHERE site = 'a' LIMIT 7",
            ["INTEGER", "DOUBLE"],
            'SELECT CAST(r3."id" AS integer) AS c0, r3."mass" AS c1 FROM "public"."big" AS r3 '
            "WHERE (r3.\"site\" = CAST('a' AS text)) LIMIT 7",
        ),
        (
            "WITH a AS (SELECT id AS i, * FROM big WHERE ok), b AS (FROM big) SELECT i FROM a WHERE day IS NULL",
            ["BIGINT"],
            'WITH w2 AS (SELECT r1."id" AS c0, r1."day" AS c4 FROM "public"."big" AS r1 WHERE r1."ok") '
            'SELECT r5."c0" AS c0 FROM "w2" AS r5 WHERE (r5."c4" IS NULL)',
        ),
        (
            "SELECT count(*) FROM (SELECT * FROM big WHERE ok)",
            ["BIGINT"],
            'SELECT CAST(count(*) AS bigint) AS c0 FROM (SELECT 1 AS c0 FROM "public"."big" AS r1 WHERE r1."ok") AS r2',
        ),
        (
            "SELECT mass FROM (SELECT mass, site FROM big UNION ALL SELECT mass, site FROM big)",
            ["DOUBLE"],
            'SELECT r3."c0" AS c0 FROM (SELECT q.c0 AS c0 FROM ((SELECT r1."mass" AS c0 FROM "public"."big" AS r1) '
            'UNION ALL (SELECT r2."mass" AS c0 FROM "public"."big" AS r2)) AS q) AS r3',
        ),
        (
            "SELECT mass FROM (SELECT DISTINCT mass, ok FROM big)",
            ["DOUBLE"],
            'SELECT r2."c0" AS c0 FROM (SELECT q.c0 AS c0 FROM (SELECT DISTINCT r1."mass" AS c0, r1."ok" AS c1 '
            'FROM "public"."big" AS r1) AS q) AS r2',
        ),
    ],
)
def test_columns_that_nothing_reads_are_left_out(sql: str, result: list[str], text: str) -> None:
    """The database would carry every column through each layer of a port, and its log would hide what is read."""
    assert transpile(sql, [_BIG], dialect="postgres", result=[("x", kind) for kind in result]) == text


def test_a_total_of_integers_is_pushed_as_the_decimal_that_arrow_has_for_it() -> None:
    """Arrow knows no HUGEINT: no sum of whole numbers would be pushed."""
    text = transpile("SELECT sum(id) FROM big", [_BIG], dialect="postgres", result=[("x", "DECIMAL(38,0)")])
    assert text.startswith('SELECT CAST(CAST(CAST(sum(r1."id") AS numeric) AS numeric) AS numeric(38,0)) AS c0')

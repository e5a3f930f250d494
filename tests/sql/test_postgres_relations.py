"""``flightmesh.sql.postgres_relations``: joins bring the same rows and columns together as in DuckDB."""

from __future__ import annotations

import pytest

from tests.sql.both_engines import BothEngines


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM t1 JOIN t2 USING (k)",
        "SELECT * FROM t1 LEFT JOIN t2 USING (k, g)",
        "SELECT * FROM t1 RIGHT JOIN t2 USING (k)",
        "SELECT * FROM t1 FULL JOIN t2 USING (k)",
        "SELECT k, t1.k, t2.k FROM t1 FULL JOIN t2 USING (k)",
        "SELECT k, t1.k, t2.k, t2.* FROM t1 RIGHT JOIN t2 USING (k)",
        "SELECT k, g, count(*) FROM t1 x JOIN t2 USING (k) JOIN t1 y USING (k, id) GROUP BY k, x.g, y.g, g",
        "SELECT x.id, y.id FROM t1 x JOIN t2 y USING (k) WHERE k = 3",
        "SELECT * FROM t1 a JOIN t2 b ON a.k = b.k AND a.g < b.g",
        "SELECT * FROM t1 a LEFT JOIN t2 b ON a.k = b.k AND b.d > 1",
        "SELECT a.id, b.id FROM t1 a FULL JOIN t2 b ON a.k = b.k AND a.g = b.g",
        "SELECT count(*) FROM t1, t2, h WHERE t1.k = t2.k AND h.id = t1.id",
        "SELECT count(*) FROM t1 CROSS JOIN (t2 CROSS JOIN h)",
        "SELECT a.id FROM t1 a LEFT JOIN (t2 b JOIN h c ON b.id = c.id) ON a.k = b.k",
        "SELECT a.x, b.y FROM (SELECT k AS x FROM t1) a LEFT JOIN (SELECT k AS y FROM t2) b ON a.x = b.y",
        "SELECT q, g FROM t1 AS r(w, q) WHERE w < 10",
        "SELECT v.n, t1.id FROM t1 JOIN (VALUES (1, 'one'), (2, 'two')) v(k, n) USING (k)",
        "SELECT * FROM t1 a JOIN h b ON a.g = b.t",
        "SELECT * FROM h a JOIN h b ON a.f8 = b.f8",
        'SELECT a.id, b.id FROM h a JOIN h b ON a.d15 = b.d30 AND a.t <> b."u U"',
        "SELECT T1.ID, T1.K FROM t1 WHERE T1.k = 2",
    ],
)
def test_joins_answer_alike(both: BothEngines, sql: str) -> None:
    """A join pushed down would match other rows, or show a key of the wrong side."""
    outcome = both.compare(sql)
    assert outcome.kind in ("equal", "unbound"), outcome
    assert outcome.kind == "equal" or "x JOIN t2 USING" in sql


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT * FROM t1 NATURAL JOIN (SELECT k FROM t2)", "natural inner join"),
        ("SELECT * FROM t1 POSITIONAL JOIN t2", "positional inner join"),
        ("SELECT a.id FROM t1 a FULL JOIN t2 b ON a.k < b.k", "full join by more than equal columns"),
        ("SELECT x FROM t1 a, (SELECT a.k AS x) b", "reads the tables beside it"),
        ("SELECT (SELECT x FROM t2 b, (SELECT b.k AS x) c LIMIT 1) FROM t1 b", "reads the tables beside it"),
    ],
)
def test_joins_of_other_kinds_are_refused(both: BothEngines, sql: str, reason: str) -> None:
    """A join would be pushed as one of another kind."""
    outcome = both.compare(sql)
    assert outcome.kind == "refused"
    assert reason in outcome.reason

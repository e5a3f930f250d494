"""``flightmesh.sql.postgres_expressions``: a name means in the database what it means to DuckDB, or is refused."""

from __future__ import annotations

import pytest

from flightmesh.sql.dialects import NotPushed, RemoteTable, transpile
from flightmesh.sql.postgres_expressions import constant_integer, has_aggregate, has_column, only
from tests.sql.both_engines import BothEngines


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT k + 1 AS k, k AS j FROM t1",
        "SELECT -k AS k FROM t1 WHERE k > 2",
        "SELECT k AS x, x + 1 AS y, y * 2 AS z FROM t1 WHERE z > 6",
        "SELECT d AS k FROM t1 GROUP BY k, d",
        "SELECT * FROM (SELECT -k AS k FROM t1 ORDER BY k NULLS FIRST LIMIT 20)",
        "SELECT * FROM (SELECT -k AS k, id FROM t1 ORDER BY k + 0, id LIMIT 20)",
        "SELECT (SELECT count(*) FROM t2 WHERE t2.k = t1.k AND g = t1.g) FROM t1",
        "SELECT (SELECT sum(t2.d + t1.d) FROM t2 WHERE t2.k = t1.k) FROM t1",
        "SELECT sum(k) AS k FROM t1 GROUP BY g",
        "SELECT t1.k FROM t1 WHERE EXISTS (SELECT 1 FROM t2 t1 WHERE t1.k = 2)",
        'SELECT ID, "Id" FROM t1 WHERE iD = 3',
    ],
)
def test_names_mean_the_same(both: BothEngines, sql: str) -> None:
    """A condition would be about another column than its author meant."""
    outcome = both.compare(sql)
    assert outcome.kind == "equal", outcome


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT (SELECT sum(a.k) FROM t2) FROM t1 a", "columns of the outer query alone"),
        ("SELECT sum(k) AS k FROM t1 HAVING k > 1", "is a column and a result"),
        ("SELECT id AS k FROM t1 WHERE id IN (SELECT i AS z FROM t2 WHERE z > t1.k)", ""),
        (
            "SELECT a.id FROM (SELECT 1 AS z, id FROM t1) a WHERE id IN (SELECT i AS z FROM t2 WHERE z > 0)",
            "outer query",
        ),
    ],
)
def test_names_that_could_mean_two_things_are_refused(both: BothEngines, sql: str, reason: str) -> None:
    """DuckDB and the rendering could each take another of the two."""
    outcome = both.compare(sql)
    assert outcome.kind == ("refused" if reason else "equal"), outcome
    assert reason in outcome.reason


def test_a_column_of_unknown_type_is_in_no_expression() -> None:
    """A column that the database compares in its own way would be compared there."""
    table = RemoteTable(("t",), ("public", "t"), {"x": "BIGINT", "j": "", "e": "ENUM('a')"})
    for expression in ("j = j", "j || 'x'", "max(j)", "coalesce(j, j)", "e = 'a'", "j IN (j)", "count(DISTINCT x) + e"):
        with pytest.raises(NotPushed):
            transpile(f"SELECT {expression} AS y FROM t", [table], dialect="postgres", result=[("y", "BOOLEAN")])
    for clause in ("SELECT DISTINCT j FROM t", "SELECT j FROM t GROUP BY j", "SELECT j FROM t ORDER BY j"):
        with pytest.raises(NotPushed):
            transpile(clause, [table], dialect="postgres", result=[("j", "VARCHAR")])
    text = transpile("SELECT x FROM (SELECT * FROM t) q", [table], dialect="postgres", result=[("x", "BIGINT")])
    assert text == 'SELECT r2."x" AS c0 FROM "public"."t" AS r2'


def test_a_key_that_is_not_known_is_refused() -> None:
    """A new version of the parser would add a word to a node, and the statement be pushed without it."""
    with pytest.raises(NotPushed, match="function with surprise is not pushed"):
        only({"class": "FUNCTION", "type": "FUNCTION", "surprise": 1}, "arguments")


def test_what_a_node_holds() -> None:
    """Groups would be formed over constants, or over totals."""
    column = {"class": "COLUMN_REF", "column_names": ["x"]}
    total = {"class": "FUNCTION", "function_name": "sum", "arguments": [{"expression": column}]}
    assert has_column(total)
    assert has_aggregate([total])
    assert not has_aggregate({"class": "SUBQUERY", "subquery": total})
    assert not has_column({"class": "CONSTANT"})
    assert constant_integer({"class": "CONSTANT", "literal": {"kind": "INTEGER", "text": "-12"}}) == -12
    assert constant_integer({"class": "CONSTANT", "literal": {"kind": "STRING", "text": "٣"}}) is None
    assert constant_integer(column) is None

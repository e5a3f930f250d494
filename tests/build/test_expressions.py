"""Authors' fragments of SQL cannot leave the brackets they are put between."""

from __future__ import annotations

import pytest

from flightmesh.build.expressions import checked_expression, checked_type, names_in, with_clause_after_calls
from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError


@pytest.mark.parametrize(
    "text",
    [
        "delay > 0",
        " a -- late ",
        "count(*)",
        "CASE WHEN a THEN 1 END",
        "(SELECT max(x) FROM t)",
        "'); DROP TABLE t; --'",
        "a /* b */ + c",
        "sum(x) OVER (PARTITION BY y)",
    ],
)
def test_one_expression_passes(text: str) -> None:
    """Ordinary expressions would be refused."""
    assert checked_expression(text, Limits()) == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  -- nothing",
        "1) FROM secrets --",
        "1) + (2",
        "1) OR (true",
        "1, 2",
        "1 AS x",
        "x: 1",
        "1 FROM t",
        "1 WHERE true",
        "1 ORDER BY 1",
        "1 LIMIT 1",
        "1 UNION SELECT 2",
        "1; SELECT 2",
        "DISTINCT a",
        "ALL a",
        "*",
        "t.*",
        "* EXCLUDE (a)",
        "a /* open",
        "'open",
        "a\0",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """The text around the expression would no longer mean what the model says."""
    with pytest.raises(FlightmeshError) as caught:
        checked_expression(text, Limits())
    assert caught.value.code is ErrorCode.INVALID
    assert "line" not in caught.value.message


@pytest.mark.parametrize("text", ["INTEGER", "DECIMAL(10, 2)", "TIMESTAMP WITH TIME ZONE", "INT[]", "STRUCT(a INT)"])
def test_one_type_passes(text: str) -> None:
    """Ordinary types would be refused."""
    assert checked_type(text, Limits()) == text


@pytest.mark.parametrize("text", ["", "INT) + (1", "INT), (CAST(1 AS INT", "INT) AS x", "INT) FROM t --", "INT --"])
def test_no_type_is_refused(text: str) -> None:
    """As for expressions. A comment would take the closing bracket with it where the type stands on one line."""
    with pytest.raises(FlightmeshError, match="is not"):
        checked_type(text, Limits())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sum(x)", "sum(x) OVER w"),
        ("x - lag(x) + 1", "x - lag(x) OVER w + 1"),
        ("round(avg( x ) FILTER (WHERE a OR b), 2) -- mean", "round(avg( x ) FILTER (WHERE a OR b) OVER w, 2) -- mean"),
        ("count(*) /* ) */ / sum(ö)", "count(*) OVER w /* ) */ / sum(ö) OVER w"),
        ("'sum(x)' || max(\"sum(y)\")", "'sum(x)' || max(\"sum(y)\") OVER w"),
        ("CASE WHEN count(*) > 1 THEN min(x) END", "CASE WHEN count(*) OVER w > 1 THEN min(x) OVER w END"),
        ("SUM(x + abs(y))", "SUM(x + abs(y)) OVER w"),
        ("sum(x)::DOUBLE", "sum(x) OVER w::DOUBLE"),
        ("max(x) > (SELECT max(y) FROM t)", "max(x) OVER w > (SELECT max(y) FROM t)"),
    ],
)
def test_a_clause_stands_behind_each_call(text: str, expected: str) -> None:
    """A measure would see all rows, or the clause would stand in a string, a comment or another query."""
    assert with_clause_after_calls(text, "OVER w", Limits(), is_ordered=True) == expected


@pytest.mark.parametrize("text", ["x", "abs(x)", "(SELECT sum(x) FROM t)", "sum(x) OVER ()", "sum(x), 1", "sum(x"])
def test_a_clause_needs_a_call_of_its_own(text: str) -> None:
    """The text would run and mean something else."""
    with pytest.raises(FlightmeshError):
        with_clause_after_calls(text, "OVER w", Limits(), is_ordered=True)


def test_calls_that_hang_on_an_order_need_one() -> None:
    """Their answer would change from run to run."""
    for call in ("lag(x)", "first(x)", "Row_Number()", "string_agg(x, ',')"):
        with pytest.raises(FlightmeshError, match="needs rows in an order"):
            with_clause_after_calls(call, "OVER w", Limits(), is_ordered=False)
    assert with_clause_after_calls("sum(x)", "OVER w", Limits(), is_ordered=False) == "sum(x) OVER w"


def test_two_filters_do_not_stand_behind_one_call() -> None:
    """The engine would refuse text that its author did not write."""
    with pytest.raises(FlightmeshError, match="FILTER of its own"):
        with_clause_after_calls("sum(x) FILTER (WHERE y)", "FILTER (WHERE z)", Limits(), is_ordered=True)


def test_the_columns_that_an_expression_names() -> None:
    """A derived column would not find the one before it."""
    assert names_in("A + abs(t.b) - 'c' -- d", Limits()) == {"a", "t", "b"}

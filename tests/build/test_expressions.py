"""Authors' fragments of SQL cannot leave the brackets they are put between."""

from __future__ import annotations

import pytest

from flightmesh.build.expressions import checked_expression, checked_type
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

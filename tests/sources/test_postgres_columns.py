"""Columns of PostgreSQL as Arrow types. The values are in ``test_postgres``, from a real server."""

from __future__ import annotations

import pyarrow as pa
import pytest

from flightmesh.sources.postgres_columns import Column, arrived, column_of


def column(declared: str, base: str, **more: object) -> Column:
    row = {"name": 'a "b', "declared": declared, "bare": declared, "base": base, "type_id": 1, "modifier": -1}
    return column_of({**row, "is_required": False, "comment": None, "is_deterministic": True, "is_utf8": True, **more})


@pytest.mark.parametrize(
    ("declared", "base", "expression", "is_plain"),
    [
        ("integer", "int4", '"a ""b"', True),
        ("numeric(9,2)", "numeric", '("a ""b" * 100)::int8', True),
        ("numeric(9,0)", "numeric", '("a ""b")::int8', True),
        ("numeric(19,2)", "numeric", '"a ""b"::text', True),
        ("numeric", "numeric", '"a ""b"::float8', False),
        ("uuid", "uuid", '"a ""b"::text', False),
        ("jsonb", "jsonb", '"a ""b"', False),
    ],
)
def test_how_a_column_is_asked_for(declared: str, base: str, expression: str, is_plain: bool) -> None:
    """Names with quotes would break the statement; SQL over a uuid at the source is not SQL over text."""
    found = column(declared, base)
    assert (found.expression, found.is_plain, found.is_cast) == (expression, is_plain, expression != '"a ""b"')


def test_text_is_compared_only_as_the_engine_compares_it() -> None:
    """Another encoding has another order; a collation without case keeps other rows."""
    assert column("text", "text").operand.equal == '"a ""b"'
    assert column("text", "text", is_deterministic=False).operand.equal == '"a ""b" COLLATE "C"'
    assert column("text", "text", is_utf8=False).operand.equal is None


def test_scaled_integers_become_decimals() -> None:
    """An amount would be a hundred times too large."""
    found = arrived(column("numeric(9,2)", "numeric"), pa.array([-150, None]))
    assert [str(value) for value in found] == ["-1.50", "None"]

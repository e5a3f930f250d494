"""``flightmesh.sql.postgres_values``: literals and conversions mean in the database what they mean to DuckDB."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from flightmesh.sql.postgres_values import Value, cast, compared, integer, literal, quoted, type_name, typed_literal
from flightmesh.sql.pushable import DATE, DOUBLE, INTERVAL, TIMESTAMP, TIMESTAMPTZ, VARCHAR, NotPushed, Type
from tests.sql.both_engines import BothEngines


@settings(max_examples=60)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_every_text_arrives_as_it_is(both: BothEngines, text: str) -> None:
    """A quote or backslash in a value would end the literal and be read as SQL."""
    for setting in ("on", "off"):
        both.cursor.execute(f"SET standard_conforming_strings = {setting}")
        both.cursor.execute(f"SELECT CAST({quoted(text)} AS text)")
        assert both.cursor.fetchall() == [(text,)]
    both.cursor.execute("SET standard_conforming_strings = on")


def test_a_text_with_nul_is_refused() -> None:
    """PostgreSQL would end the statement there."""
    with pytest.raises(NotPushed, match="NUL"):
        quoted("a\0b")


@given(value=st.integers(-(2**127), 2**127 - 1))
def test_integers_are_typed_by_their_size(value: int) -> None:
    """A literal would be of another type than in DuckDB, and so would be what is computed with it."""
    found = integer(value)
    assert found.integer == value
    assert str(found.type) == ("INTEGER" if abs(value) < 2**31 else "BIGINT" if abs(value) < 2**63 else "HUGEINT")


@pytest.mark.parametrize(
    ("constant", "text", "type_"),
    [
        ({"kind": "NUMERIC", "text": "0.05"}, "CAST('0.05' AS numeric(3,2))", "DECIMAL(3,2)"),
        ({"kind": "NUMERIC", "text": "-1.50"}, "CAST('-1.50' AS numeric(3,2))", "DECIMAL(3,2)"),
        ({"kind": "NUMERIC", "text": "1e3"}, "CAST('1e3' AS double precision)", "DOUBLE"),
        ({"kind": "BOOLEAN", "text": "true"}, "TRUE", "BOOLEAN"),
        ({"kind": "NULL_LITERAL"}, "CAST(NULL AS text)", "NULL"),
        ({"kind": "STRING", "text": "a'\\"}, "CAST(E'a''\\\\' AS text)", "VARCHAR"),
    ],
)
def test_literals_are_rendered_from_the_tree(constant: dict[str, Any], text: str, type_: str) -> None:
    """A number would be rounded, or a text be read as something else."""
    found = literal(constant)
    assert (found.text, str(found.type)) == (text, type_)


@pytest.mark.parametrize(
    "constant", [{"kind": "NUMERIC", "text": "1_0"}, {"kind": "X"}, {"kind": "NUMERIC", "text": "9" * 39}]
)
def test_other_literals_are_refused(constant: dict[str, Any]) -> None:
    """A literal of a kind that nobody has looked at would be copied as text."""
    with pytest.raises(NotPushed):
        literal(constant)


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("2020-1-1", DATE),
        ("2020-01-01 (BC)", DATE),
        ("0000-01-01", DATE),
        ("infinity", DATE),
        ("now", TIMESTAMP),
        ("2020-01-01 25:00:00", TIMESTAMP),
        ("2020-01-01 00:00:00", TIMESTAMPTZ),
        (" 1.5", DOUBLE),
        ("1.5 ", Type("DECIMAL", 5, 2)),
        ("x", INTERVAL),
    ],
)
def test_texts_that_engines_read_in_two_ways_are_refused(text: str, type_: Type) -> None:
    """'now' is today to one and an error to the other; 2020-1-1 is a day to both, by no rule that we have proven."""
    with pytest.raises(NotPushed, match="a text literal is read as"):
        typed_literal(Value(quoted(text), VARCHAR, string=text), type_)


def test_texts_are_compared_by_their_bytes() -> None:
    """A database in another language has another order of letters, and other equal letters."""
    one, other, fixed = Value("a", VARCHAR), Value("b", VARCHAR), Value("'x'", VARCHAR, string="x")
    assert compared([one, other], is_order=True) == ['(a COLLATE "C")', '(b COLLATE "C")']
    assert compared([one, other], is_order=False) == ['(a COLLATE "C")', '(b COLLATE "C")']
    assert compared([one, fixed], is_order=False) == ["a", "'x'"]


def test_types_without_an_equal_are_refused() -> None:
    """A value would be cast to the next best type."""
    for type_ in (INTERVAL, Type("OTHER"), Type("TINYINT")):
        with pytest.raises(NotPushed):
            type_name(type_)
    with pytest.raises(NotPushed, match="has no proven equal"):
        cast(Value("x", DOUBLE), Type("DECIMAL", 5, 2))

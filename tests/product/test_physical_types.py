"""``flightmesh.product.physical_types``: one spelling for each DuckDB type."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from flightmesh.product.physical_types import fits, logical_type, normalised

WORDS = ["STRUCT", "MAP", "int", "(", ")", "[", "]", ",", "a", "4", '"', "decimal", " ", "ENUM", "'x'"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("text", "VARCHAR"), ("VARCHAR(20)", "VARCHAR"), ("character varying(5)", "VARCHAR"), ("int", "INTEGER"),
        ("LONG", "BIGINT"), ("timestamptz", "TIMESTAMP WITH TIME ZONE"), ("datetime", "TIMESTAMP"),
        ("timestamp  with time zone", "TIMESTAMP WITH TIME ZONE"), ("numeric(10, 2)", "DECIMAL(10,2)"),
        ("decimal", "DECIMAL(18,3)"), ("dec(9)", "DECIMAL(9,0)"), ("float8", "DOUBLE"), ("double precision", "DOUBLE"),
        ("int[ ]", "INTEGER[]"), ("real[3]", "FLOAT[3]"),
        ('STRUCT("a" int, B text[])[]', "STRUCT(a INTEGER,b VARCHAR[])[]"),
        ("map(text, int8)", "MAP(VARCHAR,BIGINT)"), ("enum('a', 'B')", "ENUM('a','B')"), ("", ""), ("uhu", "UHU"),
    ],
)  # fmt: skip
def test_spellings(written: str, expected: str) -> None:
    """A contract would be refused for an alias, or two types taken for one."""
    assert normalised(written) == expected
    assert normalised(expected) == expected


@given(st.lists(st.sampled_from(WORDS), max_size=40).map("".join))
def test_any_text_has_one_spelling(text: str) -> None:
    """A contract's free text would break the comparison."""
    assert normalised(normalised(text)) == normalised(text) or "(" in text or "[" in text
    assert normalised("STRUCT(a " * 2000).startswith("STRUCT")


def test_logical_types() -> None:
    """A mask would be put on a column whose type it changes."""
    names = ["INTEGER", "DECIMAL(9,0)", "DECIMAL(9,2)", "TIMESTAMPTZ", "DATE[]", "UUID", "GEOMETRY"]
    assert [logical_type(name) for name in names] == [
        "integer", "integer", "number", "timestamp", "array", "string", None,
    ]  # fmt: skip
    assert fits("INTEGER", "number")
    assert not fits("DOUBLE", "integer")
    assert fits("GEOMETRY", "string")

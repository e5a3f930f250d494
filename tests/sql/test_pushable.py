"""``flightmesh.sql.pushable``: types are read and united as DuckDB does it."""

from __future__ import annotations

from itertools import combinations_with_replacement

import duckdb
import pytest

from flightmesh.sql.pushable import NULL, NotPushed, Type, common_type, fits, integer_for, read_type

_TYPES = ["SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "DOUBLE", "VARCHAR", "DATE", "TIMESTAMP", "BOOLEAN", "UUID"]
_TYPES += ["DECIMAL(5,2)", "DECIMAL(15,3)", "DECIMAL(38,6)"]


@pytest.mark.parametrize(("one", "other"), [*combinations_with_replacement(_TYPES, 2)])
def test_two_types_unite_as_in_duckdb(one: str, other: str) -> None:
    """A CASE over two types would have another scale than DuckDB gives it."""
    try:
        found, holds_all = common_type([read_type(one), read_type(other)], [None, None])
    except NotPushed:
        return
    with duckdb.connect() as connection:
        rows = connection.execute(f"SELECT typeof(coalesce(CAST(NULL AS {one}), CAST(NULL AS {other})))").fetchall()
    expected = read_type(rows[0][0])
    assert found.kind == expected.kind
    if holds_all:
        assert found == expected


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("BIGINT", "BIGINT"),
        ("int4", "INTEGER"),
        ("DECIMAL(12,2)", "DECIMAL(12,2)"),
        ("numeric(5)", "DECIMAL(5,0)"),
        ("DECIMAL", "DECIMAL(18,3)"),
        ("timestamptz", "TIMESTAMP WITH TIME ZONE"),
        ('"NULL"', "NULL"),
    ],
)
def test_types_are_read_as_duckdb_writes_them(text: str, type_: str) -> None:
    """A column of a known type would not be pushed."""
    assert str(read_type(text)) == type_


@pytest.mark.parametrize(
    "text", ["", "UTINYINT", "INTEGER[]", "ENUM('a')", "DECIMAL(39,2)", "DECIMAL(2,3)", "TIMESTAMP_NS"]
)
def test_other_types_are_refused(text: str) -> None:
    """A type that nobody has compared would be pushed."""
    with pytest.raises(NotPushed, match="is not pushed"):
        read_type(text)


def test_literals_take_the_type_of_what_stands_beside_them() -> None:
    """A SMALLINT column plus 1 would be an INTEGER, and overflow elsewhere."""
    small, whole = read_type("SMALLINT"), read_type("INTEGER")
    assert common_type([small, whole], [None, 7])[0] == small
    assert common_type([small, whole], [None, 70_000])[0] == whole
    assert common_type([whole, NULL], [1, None])[0] == whole
    assert common_type([NULL, NULL], [None, None])[0] == NULL


def test_the_widest_integers_have_a_type() -> None:
    """A literal at the edge would be typed too small."""
    assert integer_for(2**31 - 1) == Type("INTEGER")
    assert integer_for(-(2**63) - 1) == Type("HUGEINT")
    assert not fits(2**15, Type("SMALLINT"))
    with pytest.raises(NotPushed):
        integer_for(2**127)

"""The tables of a database, without one."""

from __future__ import annotations

import pytest

from flightmesh.sources.tables import Tables


def unreachable() -> list[str]:
    raise AssertionError("the source was reached")


def test_looking_up_reaches_out_to_nothing() -> None:
    """A server could not start while a database is down."""
    tables = Tables("tms", (), unreachable, str.upper)
    assert tables[("tms", "legs")] == "LEGS"
    assert ("tms", "any") in tables
    assert ("other", "legs") not in tables
    with pytest.raises(AssertionError):
        list(tables)


def test_named_tables_are_the_only_ones() -> None:
    """A model would reach a table that its author did not offer."""
    tables = Tables("tms", ("legs",), unreachable, str.upper)
    assert (list(tables), len(tables)) == ([("tms", "legs")], 1)
    assert ("tms", "secrets") not in tables


def test_a_table_is_opened_once() -> None:
    """What is known of its columns would be asked for at every read."""
    opened: list[str] = []

    def record(name: str) -> str:
        opened.append(name)
        return name

    tables = Tables("tms", (), lambda: ["a"], record)
    assert [tables[("tms", "a")], *tables.values()] == ["a", "a"]
    assert opened == ["a"]

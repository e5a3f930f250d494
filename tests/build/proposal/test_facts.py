"""Values of a proposal."""

from __future__ import annotations

from flightmesh.build.proposal.facts import Column, Table, words


def test_words() -> None:
    """Lists are read by people."""
    assert [words([]), words(["a"]), words(["a", "b"]), words(iter("abc"))] == ["", "a", "a and b", "a, b and c"]


def test_columns_are_found_by_name() -> None:
    """Keys and links name columns."""
    table = Table("t", ("t",), "t", False, 0, True, (Column("a", "DATE"), Column("b", "DATE")), {"from": "t"})
    assert (table.names, table.column("b").name) == (("a", "b"), "b")

"""Plain names: whatever a file or a table is called, its port has a name that SQL takes without quotes."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from flightmesh.build.proposal.naming import free_name, plain_name
from flightmesh.names import is_plain


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("flights", "flights"),
        ("Order Details", "order_details"),
        ("Größen", "grossen"),
        ("2024-sales (final)", "table_2024_sales_final"),
        ("таблица", "table"),
        ("__", "table"),
        ("a" * 80, "a" * 63),
    ],
)
def test_names_are_made_plain(text: str, name: str) -> None:
    """A port whose name needs quotes is one that every consumer misspells."""
    assert plain_name(text, "table") == name


@given(st.text(max_size=100))
def test_every_text_gives_a_plain_name(text: str) -> None:
    """A table with an unforeseen name must not stop the others."""
    assert is_plain(plain_name(text, "table"))


def test_collisions_are_numbered() -> None:
    """Two tables that differ in case alone would otherwise overwrite each other's contract."""
    assert free_name("sales", {"sales", "sales_2"}) == "sales_3"
    assert free_name("a" * 63, {"a" * 63}) == "a" * 61 + "_2"

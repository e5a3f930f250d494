"""What rows of PostgreSQL's catalogue say. The queries run in ``test_postgres``."""

from __future__ import annotations

from flightmesh.sources.base import ForeignKey
from flightmesh.sources.postgres_catalog import columns_query, description


def key(
    name: str, column: str, *, target: str | None = None, schema: str = "s", at: str | None = None
) -> dict[str, object]:
    return {
        "key": name,
        "is_primary": target is None,
        "name": column,
        "target": target,
        "target_schema": schema,
        "referenced": at,
    }


def test_keys_keep_their_order_and_their_schema() -> None:
    """Two columns would be joined crosswise; a key to a table that the source has not would fail the check."""
    rows = [
        key("pk", "b"),
        key("pk", "a"),
        key("fk", "x", target="t", at="y"),
        key("fk", "v", target="t", at="w"),
        key("out", "x", target="t", schema="other", at="y"),
    ]
    found = description("s", (), rows, [{"comment": "said"}])
    assert found.primary_key == ("b", "a")
    assert found.foreign_keys == (ForeignKey(("x", "v"), "t", ("y", "w")),)
    assert found.comment == "said"


def test_names_are_literals() -> None:
    """A table named with a quote would end the query."""
    assert "c.relname = 'o''dd'" in columns_query("s", "o'dd")

"""``flightmesh.product.draft``: one bad part does not hide the others."""

from __future__ import annotations

from pathlib import Path

from flightmesh.product.document import parse
from flightmesh.product.draft import Draft, draft
from flightmesh.product.model import Grant


def _draft(text: str) -> Draft:
    document, problems = parse(text.encode(), "product.yaml")
    assert document is not None, problems
    return draft(Path("."), document)


def test_a_part_of_the_wrong_shape_keeps_its_name() -> None:
    """Whatever refers to it would be called unknown."""
    parts = _draft("sources: {a: 3, b: {type: csv, path: x}}\nmodels: []\npolicies: [{grant: read, to: x}, 7]\n")
    assert parts.sources is not None
    assert parts.sources["a"] is None
    assert parts.sources["b"] is not None
    assert parts.models is None
    assert not parts.is_named
    assert [(index, type(policy)) for index, policy in parts.policies] == [(0, Grant)]


def test_addresses() -> None:
    """A model could not read a table, or could read a database as if it were one."""
    parts = _draft("sources: {a: {type: csv}, b: {type: sqlite, tables: [x, y]}}\nmodels: {m: {from: a}}\n")
    assert parts.addresses() == {"a", "b.x", "b.y", "m"}

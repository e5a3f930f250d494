"""``flightmesh.product.inactive``: nothing of a manifest is ignored without a word."""

from __future__ import annotations

from flightmesh.product.document import Document, parse
from flightmesh.product.inactive import activity, inactive, unservable


def _document(text: str) -> Document:
    document, problems = parse(text.encode(), "product.yaml")
    assert document is not None, problems
    return document


def test_what_has_no_effect_is_listed_with_its_line() -> None:
    """An author would believe that a changed column is only warned of."""
    document = _document(
        "sources:\n  a: {schema_drift: warn}\nports:\n  p: {accelerate: auto}\n  q: {accelerate: arrow}\napps: {x: 1}\n"
    )
    assert [str(notice) for notice in inactive(document)] == [
        "product.yaml:2:7: sources.a.schema_drift is not active yet. It has no effect.",
        "product.yaml:5:19: ports.q.accelerate: arrow is not active yet. It has no effect.",
        "product.yaml:6:1: apps is not active yet. It has no effect.",
    ]


def test_empty_sections_and_wrong_shapes_are_not_listed() -> None:
    """Noise would hide what matters."""
    document = _document(
        "apps:\npolicies: [{grant: [run]}, 3]\nports: 7\nsources: {a: {type: [x], mode: liv}, b: {type: uhu}}\n"
    )
    assert inactive(document) == []
    assert unservable(document, ["csv", "postgres"]) == []


def test_what_cannot_be_served_is_a_problem() -> None:
    """A product would start without one of its sources."""
    document = _document("sources: {a: {type: flightmesh, mode: live}, b: {type: csv, mode: snapshot}}\n")
    assert [problem.message for problem in unservable(document, ["csv", "flightmesh"])] == [
        "sources.a.type: flightmesh is not active yet."
    ]


def test_activity_of_keys_below_inactive_ones() -> None:
    """The reference would call a key active that stands in a part without effect."""
    assert activity(("quality",)) == ()
    assert activity(("ports", "*", "versions", "*", "current")) == ()
    assert activity(("title",)) is None
    assert activity(("policies", "*", "grant")) == ("read",)

"""``flightmesh.product.words``: sentences for authors, not for programmers."""

from __future__ import annotations

from flightmesh.product.words import found, one_of, place


def test_values_in_words() -> None:
    """An author would read `NoneType` and `dict`."""
    words = [found(None), found(True), found(1.1, "1.10"), found("x" * 100), found({}), found([])]
    assert words == ["nothing", "true", "the number 1.10", f"the text '{'x' * 57}...'", "a mapping", "a list"]


def test_places_and_choices() -> None:
    """An author would have to count items."""
    assert place(["policies", 0, "to"]) == "policies[0].to"
    assert [one_of([]), one_of(["a"]), one_of(["a", "b", "c"])] == ["", "a", "a, b or c"]

"""YAML that is written is the YAML that is read."""

from __future__ import annotations

from typing import Any

from hypothesis import given, strategies as st

from flightmesh.build.proposal.emit import Commented, block, flow, remark, scalar
from flightmesh.product.document import parse

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**62), 2**62), _TEXTS)
_VALUES: st.SearchStrategy[Any] = st.recursive(
    _SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_TEXTS, inner, max_size=4))
)


def read_back(text: str) -> Any:
    document, problems = parse(text.encode(), "t.yaml")
    assert problems == []
    assert document is not None
    return document.value


@given(st.dictionaries(_TEXTS, _VALUES, min_size=1, max_size=4))
def test_everything_is_read_back(value: dict[str, Any]) -> None:
    """A comment of a database with a colon, a quote or a line break must not break the contract it goes into."""
    if "<<" not in value and "<<" not in str(value):
        assert read_back("\n".join(block({"a": value})) + "\n") == {"a": value}


@given(_TEXTS)
def test_a_comment_ends_with_its_line(text: str) -> None:
    """The name of a file with a line break in it would write keys into the manifest."""
    assert read_back(f"a: {remark(text)}\n  b: 1\n") == {"a": {"b": 1}}
    lines = block({"a": Commented({"b": [Commented({"c": {"d": 1}}, [text])]}, [text])})
    assert read_back("\n".join(lines) + "\n") == {"a": {"b": [{"c": {"d": 1}}]}}


def test_text_that_looks_like_something_else_is_quoted() -> None:
    """``no`` is a country, ``1e3`` a part number."""
    for text in ("no", "null", "1e3", "0x10", "2024-01-01", "", " a", "a: b", "a #b", "- a", "*", "yes", "~", "12"):
        assert scalar(text).startswith('"'), text
    assert [scalar(text) for text in ("plain name", "data/x.csv", "0.1.0")] == ["plain name", "data/x.csv", "0.1.0"]


def test_comments_stand_above_and_out_means_commented() -> None:
    """A proposal is taken up by removing the # before it, and nothing else."""
    value = {"a": [{"name": "x", "tags": Commented(["pii"], ("Proposed.",), is_out=True), "b": 1}]}
    lines = list(block(value))
    assert lines == ["a:", "- name: x", "  # Proposed.", "  # tags: [pii]", "  b: 1"]
    taken = "\n".join(line.replace("# tags", "tags") for line in lines)
    assert read_back(taken) == {"a": [{"name": "x", "tags": ["pii"], "b": 1}]}


def test_short_values_stand_on_one_line() -> None:
    """The manifest is read by people."""
    assert flow({"from": "a", "take": ["b", "c, d"]}) == '{from: a, take: [b, "c, d"]}'
    assert list(block({"model": {"from": "orders", "on": "id"}})) == ["model: {from: orders, on: id}"]

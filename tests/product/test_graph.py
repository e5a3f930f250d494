"""``flightmesh.product.graph``: models in an order in which they can be built."""

from __future__ import annotations

import pytest

from flightmesh.errors import FlightmeshError
from flightmesh.product.graph import find_cycle, model_inputs, order
from flightmesh.product.model import Model
from flightmesh.product.schema import read_part


def test_each_model_stands_after_what_it_reads() -> None:
    """A model would be built from one that is not there yet."""
    edges = {"c": ["b", "source.table"], "b": ["a"], "a": ["source"], "d": []}
    assert order(["c", "d", "b", "a"], edges) == ["d", "a", "b", "c"]


def test_a_cycle_is_named_along_its_references() -> None:
    """The author would be told that there is a cycle and not where."""
    assert find_cycle({"b": ["c"], "c": ["a"], "a": ["b"], "d": ["a"]}) == ("a", "b", "c", "a")
    assert find_cycle({"a": ["a"]}) == ("a", "a")
    assert find_cycle({"a": ["b"], "b": []}) is None
    with pytest.raises(FlightmeshError, match="in a circle: a -> b -> a"):
        order(["a", "b"], {"a": ["b"], "b": ["a"]})


def test_what_a_model_reads() -> None:
    """A model that is only joined would be built too late."""
    joined = {"from": "b", "on": "k", "take": ["x"]}
    low_code = read_part(Model, {"from": "a", "join": [joined], "lookup": [{**joined, "from": "s.t"}, joined]})
    assert model_inputs(low_code) == ("a", "b", "s.t")
    assert model_inputs(read_part(Model, {"from": "a", "union": ["b", "s.t"], "join": [joined]})) == ("a", "b", "s.t")
    assert model_inputs(read_part(Model, {"from": "a", "union": {"from": ["c"]}})) == ("a", "c")
    assert model_inputs(Model(python="f.py:g", inputs=("y", "x"))) == ("y", "x")
    assert model_inputs(Model(sql="SELECT 1 FROM a")) == ()

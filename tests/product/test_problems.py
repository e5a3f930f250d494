"""``flightmesh.product.problems``: the list that refuses a product."""

from __future__ import annotations

import pickle

from flightmesh.product.problems import Problem, ProductProblems, in_order


def test_problems_are_sorted_by_place_without_repetitions() -> None:
    """An author would read the same line twice, in the order of our checks."""
    late, early = Problem("product.yaml", 9, 1, "b"), Problem("product.yaml", 2, 3, "a", "Do.")
    other = Problem("contracts/a.yaml", 1, 1, "c")
    assert in_order([other, late, early, late]) == (early, late, other)
    assert str(ProductProblems([other, early])) == "product.yaml:2:3: a Do.\ncontracts/a.yaml:1:1: c"


def test_the_list_survives_pickling() -> None:
    """A build in another process would lose what is wrong."""
    error = ProductProblems([Problem("product.yaml", 1, 1, "a")])
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.problems, copy.message) == (error.problems, error.message)

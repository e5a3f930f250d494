"""The README of a new product."""

from __future__ import annotations

from dataclasses import replace

from flightmesh.build.proposal.facts import Link
from flightmesh.build.proposal.inputs import Input
from flightmesh.build.proposal.readme import readme_text, rows_text, variables
from tests.build.proposal.test_manifest import CUSTOMERS, INPUTS, ORDERS, PRODUCT, WIDE


def test_the_readme_says_what_there_is_and_what_was_guessed() -> None:
    """Guesses that are not told of are taken for facts."""
    near = Link(("id",), "customers", ("id",), is_declared=False, found=0.934)
    orders = replace(ORDERS, key=("id",), near=(near,))
    customers = replace(CUSTOMERS, is_whole=False, rows=100_000, likely_key=("id",))
    secret = Input("erp_db", "postgresql://h/erp", INPUTS[0].spec, True, ("ERP_DB_URI", "postgresql://u:hunter2@h/erp"))
    text = readme_text(PRODUCT, (secret, INPUTS[1]), (customers, orders), WIDE, ["A | note"], is_accepted=False)
    assert "| `customers` | at least 100,000 | 2 | not promised; probably `id` |  |" in text
    assert "| `orders_wide` | as `orders` | 3 | `id` | holds `customers` |" in text
    assert "Of `customers` only the first rows were read" in text
    assert "export FLIGHTMESH_SECRET_ERP_DB_URI=..." in text
    assert "- `customers.email`: e-mail addresses, by its name" in text
    assert (
        "- `orders` (id) to `customers` (id): 93.4% of its values are there, so it was not followed; a `join` can"
        in text
    )
    assert "- A \\| note" in text
    assert "hunter2" not in text
    assert variables([secret]) == ["FLIGHTMESH_SECRET_ERP_DB_URI"]


def test_sections_without_content_are_left_out() -> None:
    """A heading over nothing makes readers look for what is missing."""
    text = readme_text(PRODUCT, INPUTS[1:], (ORDERS,), None, [], is_accepted=False)
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Where it comes from",
        "## Ports",
        "## Serve it",
        "## Left to you",
    ]
    assert rows_text(ORDERS) == "9"

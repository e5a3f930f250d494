"""The manifest of a new product."""

from __future__ import annotations

from typing import Any

from flightmesh.build.proposal.facts import Column, Join, Personal, Table, Wide
from flightmesh.build.proposal.inputs import Input
from flightmesh.build.proposal.manifest import About, manifest_text, wide_model
from flightmesh.names import ProductName
from flightmesh.product.document import parse

PRODUCT = ProductName("retail", "shop")
CUSTOMERS = Table(
    "customers", ("erp_db", "Customers"), "Customers", True, 9, True,
    (Column("id", "BIGINT"), Column("email", "VARCHAR", personal=Personal("e-mail addresses", "by its name"))),
    {"from": "erp_db.Customers"},
)  # fmt: skip
ORDERS = Table(
    "orders", ("orders_file",), "orders", False, 9, True, (Column("id", "BIGINT"), Column("void", "VARCHAR")),
    {"from": "orders_file", "cast": {"void": "VARCHAR"}},
)  # fmt: skip
INPUTS = (
    Input("erp_db", "postgresql://h/erp", {"type": "postgres", "uri": "${secret:ERP_DB_URI}", "mode": "live"}, True),
    Input("orders_file", "orders.csv", {"type": "csv", "path": "data/orders.csv"}),
)
WIDE = Wide("orders_wide", "orders", (Join(("orders", "customers"), "customers", {"id": "id"}, {"c_email": "email"}),))


def written(about: About | None = None, *, is_accepted: bool = False) -> tuple[str, Any]:
    text = manifest_text(PRODUCT, about or About(), INPUTS, (CUSTOMERS, ORDERS), WIDE, is_accepted=is_accepted)
    document, problems = parse(text.encode(), "product.yaml")
    assert problems == []
    assert document is not None
    return text, document.value


def test_the_manifest_holds_sources_models_ports_and_a_grant() -> None:
    """Whoever reads it must find what was on the command line."""
    _, value = written()
    assert value["sources"]["erp_db"] == {"type": "postgres", "uri": "${secret:ERP_DB_URI}", "mode": "live"}
    assert value["models"]["customers"] == {"from": "erp_db.Customers"}
    assert value["ports"]["orders_wide"] == {"model": "orders_wide", "contract": "contracts/orders_wide.odcs.yaml"}
    assert value["policies"] == [{"grant": "read", "port": "*", "to": ["*", "anonymous"]}]


def test_the_wide_model_reads_sources_where_models_only_pass_them_on() -> None:
    """A narrowed read of the wide port must reach the database; a model that casts must be read after its cast."""
    assert wide_model(WIDE, {"orders": ORDERS, "customers": CUSTOMERS}) == {
        "from": "orders",
        "join": [{"from": "erp_db.Customers", "on": "id", "take": {"c_email": "email"}}],
    }


def test_what_only_people_know_is_asked_for_or_taken() -> None:
    """A title that was given must not be asked for again."""
    assert written()[1]["title"].startswith("Fill in:")
    value = written(About("Sales: all of them", "Team no", "a@example.org"))[1]
    assert (value["title"], value["owner"]) == ("Sales: all of them", {"team": "Team no", "email": "a@example.org"})


def test_a_mask_is_proposed_unless_it_was_accepted() -> None:
    """Taking away one # is all that it takes."""
    mask = {"mask": {"tag": "pii", "with": None}, "unless": "role:steward"}
    text, _ = written()
    document, _ = parse(text.replace("  # - {mask", "  - {mask").encode(), "product.yaml")
    assert document is not None
    assert document.value["policies"][1] == mask
    assert written(is_accepted=True)[1]["policies"][1] == mask


def test_equal_input_gives_equal_text() -> None:
    """A product is drawn up again and compared."""
    assert written() == written()

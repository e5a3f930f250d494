"""Contracts that are written, as the server reads them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from flightmesh.build.proposal.contracts import contract_text, wide_columns, wide_text
from flightmesh.build.proposal.facts import Column, Join, Link, Personal, Table, Wide
from flightmesh.names import ProductName
from flightmesh.product.contract import DataContract, load_contract

PRODUCT = ProductName("retail", "shop")
MAIL = Personal("e-mail addresses", "by its name")
CUSTOMERS = Table(
    "customers", ("customers_file",), "Customers", False, 40, True,
    (
        Column("id", "BIGINT", is_unique=True, required=True),
        Column("email", "VARCHAR", nulls=2, personal=MAIL),
        Column("state", "VARCHAR", values=("new", "no", "1"), comment='The state: "new", or\nolder #1'),
        Column("weight_kg", "DOUBLE", unit="kilograms"),
        Column("dist", "DOUBLE", quantity="a distance"),
        Column("parts", "STRUCT(a BIGINT)[]"),
        Column("codes", "MAP(VARCHAR, BIGINT)"),
    ),
    {"from": "customers_file"},
    key=("id",),
)  # fmt: skip
TYPES = {column.name: column.sql_type for column in CUSTOMERS.columns}


def loaded(text: str, folder: Path) -> DataContract:
    (folder / "c.odcs.yaml").write_text(text, encoding="utf-8")
    contract, problems = load_contract("c.odcs.yaml", folder)
    assert problems == []
    assert contract is not None
    return contract


def test_a_contract_is_valid_and_says_what_is_known(tmp_path: Path) -> None:
    """A contract that breaks the standard cannot be served."""
    contract = loaded(contract_text(PRODUCT, CUSTOMERS, TYPES, is_accepted=False), tmp_path)
    assert (contract.table, contract.primary_key, contract.status) == ("customers", ("id",), "draft")
    by_name = {column.name: column for column in contract.columns}
    assert [column.physical_type for column in contract.columns] == list(TYPES.values())
    assert [column.logical_type for column in contract.columns] == [
        "integer", "string", "string", "number", "number", "array", None,
    ]  # fmt: skip
    assert [column.name for column in contract.columns if column.required] == ["id"]
    assert by_name["weight_kg"].unit == "kilograms"
    assert by_name["state"].description == 'The state: "new", or\nolder #1'
    assert by_name["dist"].description == "Fill in: what dist means, and its unit (by its name a distance)."
    table = contract.raw["schema"][0]
    assert [rule["metric"] for rule in table["quality"]] == ["rowCount", "duplicateValues"]
    assert table["properties"][2]["quality"][0]["arguments"] == {"validValues": ["new", "no", "1"]}


def test_personal_data_are_proposed_and_not_tagged(tmp_path: Path) -> None:
    """A tag by guess would mask columns that their readers need; a mask that nobody sees would not be questioned."""
    text = contract_text(PRODUCT, CUSTOMERS, TYPES, is_accepted=False)
    assert "    # Proposed. Probably e-mail addresses: by its name.\n    # tags: [pii]\n" in text
    assert all(column.tags == frozenset() for column in loaded(text, tmp_path).columns)
    taken_up = loaded(text.replace("# tags: [pii]", "tags: [pii]"), tmp_path)
    assert [column.name for column in taken_up.columns if column.tags] == ["email"]
    accepted = loaded(contract_text(PRODUCT, CUSTOMERS, TYPES, is_accepted=True), tmp_path)
    assert [column.name for column in accepted.columns if column.tags] == ["email"]


def test_links_are_relationships_of_the_standard(tmp_path: Path) -> None:
    """A name that the standard's references cannot hold is left to the README."""
    columns = tuple(Column(name, "BIGINT") for name in ("a", "b", "größe"))
    links = (
        Link(("a",), "customers", ("id",), is_declared=True),
        Link(("a", "b"), "stock", ("x", "y"), is_declared=True),
        Link(("größe",), "customers", ("id",), is_declared=True),
    )
    table = replace(CUSTOMERS, port="orders", columns=columns, key=(), likely_key=("a",), links=links)
    text = contract_text(PRODUCT, table, dict.fromkeys(table.names, "BIGINT"), is_accepted=False)
    contract = loaded(text, tmp_path)
    assert contract.raw["schema"][0]["relationships"] == [
        {"from": "orders.a", "to": "customers.id"},
        {"from": ["orders.a", "orders.b"], "to": ["stock.x", "stock.y"]},
    ]
    assert contract.primary_key == ()
    assert loaded(text.replace("# primaryKey: true", "primaryKey: true"), tmp_path).primary_key == ("a",)


def test_the_wide_contract_promises_what_joins_keep(tmp_path: Path) -> None:
    """A column that is joined is NULL where the key leads nowhere, whatever its own table promises."""
    orders = Table(
        "orders", ("orders_file",), "orders", False, 9, True,
        (Column("order_id", "BIGINT", required=True), Column("customer_id", "BIGINT")),
        {"from": "orders_file"}, key=("order_id",),
    )  # fmt: skip
    join = Join(("orders", "customers"), "customers", {"customer_id": "id"}, {"customers_email": "email", "c_id": "id"})
    wide = Wide("orders_wide", "orders", (join,))
    types = [("order_id", "BIGINT"), ("customer_id", "BIGINT"), ("customers_email", "VARCHAR"), ("c_id", "BIGINT")]
    columns = wide_columns(wide, {"orders": orders, "customers": CUSTOMERS}, types)
    contract = loaded(wide_text(PRODUCT, wide, columns, orders, is_accepted=True), tmp_path)
    assert contract.primary_key == ("order_id",)
    assert [(column.name, column.required, sorted(column.tags)) for column in contract.columns] == [
        ("order_id", True, []),
        ("customer_id", False, []),
        ("customers_email", False, ["pii"]),
        ("c_id", False, []),
    ]

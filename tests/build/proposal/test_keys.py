"""Keys and links that are found in rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from flightmesh.build.proposal.facts import Table
from flightmesh.build.proposal.keys import with_key, with_links
from flightmesh.build.proposal.reading import Bench
from flightmesh.sources.base import ForeignKey

Read = Callable[[str, Mapping[str, object]], Table]


@pytest.mark.parametrize(
    ("name", "rows", "key"),
    [
        ("t", {"id": [1, 2, 3], "v": [1, 1, 2]}, ("id",)),
        ("orders", {"batch_id": [1, 2, 3], "order_id": [4, 5, 6]}, ("order_id",)),
        ("t", {"code": ["a", "b"], "value": [1.5, 2.5]}, ("code",)),
        ("t", {"v": [1, 1, 2], "measure": [7, 8, 9]}, ()),
        ("t", {"id": [1, None, 3]}, ()),
        ("t", {"site": ["a", "a", "b"], "day_id": [1, 2, 1]}, ("site", "day_id")),
        ("t", {"id": []}, ()),
    ],
)
def test_keys(bench: Bench, read: Read, name: str, rows: Mapping[str, object], key: tuple[str, ...]) -> None:
    """A false key makes wrong joins, and a key is a promise to consumers."""
    table = with_key(bench, read(name, rows))
    assert table.key == key
    assert all(table.column(column).required for column in key)


def test_a_live_table_promises_no_key_that_the_database_does_not(bench: Bench, read: Read) -> None:
    """The next row may break it, and nothing would refuse that row."""
    table = with_key(bench, replace(read("t", {"id": [1, 2]}), is_live=True))
    assert (table.key, table.likely_key) == ((), ("id",))


def linked(bench: Bench, *tables: Table, declared: Mapping[str, Sequence[ForeignKey]] | None = None) -> list[str]:
    keyed = [with_key(bench, table) for table in tables]
    found = with_links(bench, keyed, {(f"{name}_file",): keys for name, keys in (declared or {}).items()})
    return [
        f"{table.port}({', '.join(link.columns)}) {'~' if link.found < 1 else '->'} {link.port}"
        for table in found
        for link in (*table.links, *table.near)
    ]


def test_links_by_name_and_inclusion(bench: Bench, read: Read) -> None:
    """Names alone are no proof; the rows must bear them out."""
    customers = read("customers", {"id": [1, 2, 3], "name": ["x", "y", "z"]})
    airports = read("airports", {"faa": ["EWR", "JFK"], "tz": [5, 5]})
    orders = read(
        "orders",
        {"order_id": [7, 8, 9], "customer_id": [1, 2, None], "shipCustomerId": [3, 3, 1], "faa": ["JFK", "LGA", "EWR"]},
    )
    assert linked(bench, customers, airports, orders) == [
        "orders(customer_id) -> customers",
        "orders(shipCustomerId) -> customers",
        "orders(faa) ~ airports",
    ]


def test_prefixes_of_columns_are_seen_through(bench: Bench, read: Read) -> None:
    """TPC-H and many warehouses write o_orderkey and l_orderkey."""
    orders = read("orders", {"o_orderkey": [1, 2], "o_total": [5, 5]})
    lines = read("lineitem", {"l_orderkey": [1, 1, 2], "l_tax": [3, 3, 3]})
    assert linked(bench, orders, lines) == ["lineitem(l_orderkey) -> orders"]


def test_links_over_two_columns(bench: Bench, read: Read) -> None:
    """Weather is known by place and hour."""
    weather = read("weather", {"site": ["a", "a", "b"], "hour_id": [1, 2, 1]})
    trips = read("trips", {"trip_id": [1, 2, 3], "site": ["a", "b", "a"], "hour_id": [2, 1, 2]})
    assert linked(bench, weather, trips) == ["trips(site, hour_id) -> weather"]


def test_types_that_differ_are_not_linked(bench: Bench, read: Read) -> None:
    """A join of text to numbers fails when the model runs."""
    assert linked(bench, read("shops", {"shop_id": ["1", "2"]}), read("t", {"id": [5, 6], "shop_id": [1, 2]})) == []


def test_two_tables_with_one_key_are_linked_one_way(bench: Bench, read: Read) -> None:
    """A link and its reverse would be a circle of our own making."""
    a, b = read("a", {"x_id": [1, 2], "v": [1, 1]}), read("b", {"x_id": [1, 2], "w": [1, 1]})
    assert linked(bench, a, b) == []


def test_declared_links_stand_alone(bench: Bench, read: Read) -> None:
    """What the database says is not bettered by guesses; a key that leads to two rows is not followed."""
    parent = read("parent", {"id": [1, 2], "twice": [1, 1]})
    child = read("child", {"id": [7, 8], "parent_id": [1, 2], "other": [1, 1]})
    keys = {
        "child": [
            ForeignKey(("other",), "parent_file", ("id",)),
            ForeignKey(("other",), "parent_file", ("twice",)),
            ForeignKey(("other",), "elsewhere", ("id",)),
        ]
    }
    assert linked(bench, parent, child, declared=keys) == ["child(other) -> parent"]

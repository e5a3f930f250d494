"""``flightmesh.planner.surface``: what a reader may not see is in no name, no column and no view."""

from __future__ import annotations

import duckdb
import pytest

from flightmesh.catalog.snapshot import Snapshot, Unavailable
from flightmesh.engine.twin import Twin
from flightmesh.errors import FlightmeshError
from flightmesh.names import ProductName, TableName
from flightmesh.planner.masks import Reader
from flightmesh.planner.surface import Surface, surface

SAMPLES = TableName("lab", "samples", "samples")
VAULT = TableName("lab", "samples", "vault")


def _surface(snapshot: Snapshot, *roles: str, key: bytes = b"k" * 32, user: str = "a", **attributes: str) -> Surface:
    return surface(snapshot, Reader(user, frozenset(roles), attributes), mask_key=key)


def _columns(shown: Surface, name: TableName) -> list[str]:
    return [column.name for column in shown.tables[name].columns]


def test_each_role_has_its_own_tables_and_columns(snapshot: Snapshot) -> None:
    """A hidden port or column would be named."""
    head, analyst, site = (_surface(snapshot, role, site="north") for role in ("head", "analyst", "site"))
    assert list(head.tables) == [SAMPLES, VAULT]
    assert list(analyst.tables) == list(site.tables) == [SAMPLES]
    assert _columns(head, SAMPLES) == _columns(site, SAMPLES) == ["id", "site", "mass"]
    assert _columns(analyst, SAMPLES) == ["site", "mass"]
    assert "vault" not in str(analyst)
    assert '"id"' not in str(analyst)


def test_nothing_granted_is_an_empty_surface(snapshot: Snapshot) -> None:
    """A stranger would meet an error of ours instead of an empty catalogue."""
    nobody = _surface(snapshot, "visitor")
    assert not nobody.tables
    assert nobody.namespace.paths == ()
    assert nobody.instance.attachments == ()
    assert nobody.instance.ddl == ()


def test_a_key_is_shown_only_whole_and_unmasked(snapshot: Snapshot) -> None:
    """A tool would join on a key that is none."""
    assert _surface(snapshot, "head").tables[SAMPLES].primary_key == ("id",)
    assert _surface(snapshot, "analyst").tables[SAMPLES].primary_key == ()
    both = _surface(snapshot, "analyst", "site", site="north").tables[SAMPLES]
    assert both.primary_key == ()
    assert {column.name: column.is_nullable for column in both.columns}["id"]


def test_equal_rights_share_a_surface_and_others_do_not(snapshot: Snapshot) -> None:
    """Two readers with different rights would share one engine; or each user would open one of its own."""
    assert _surface(snapshot, "head", user="a").id == _surface(snapshot, "head", user="b").id
    assert _surface(snapshot, "head").id == _surface(snapshot, "head", "visitor").id
    different = [
        _surface(snapshot, "head"),
        _surface(snapshot, "analyst"),
        _surface(snapshot, "site", site="north"),
        _surface(snapshot, "site", site="south"),
        _surface(snapshot, "site"),
        _surface(snapshot, "analyst", "site", site="north"),
        _surface(snapshot),
    ]
    assert len({shown.id for shown in different}) == len(different)


def test_the_base_has_a_name_that_nobody_can_guess(snapshot: Snapshot) -> None:
    """A reader who knows the name of the base could read past the view."""
    first, second = _surface(snapshot, "head"), _surface(snapshot, "head")
    names = {attachment.alias for shown in (first, second) for attachment in shown.instance.attachments}
    assert len(names) == len(first.instance.attachments) * 2
    assert all(len(name) >= 37 for name in names)
    assert not any(name in first.id for name in names)


def test_every_view_is_secure(snapshot: Snapshot) -> None:
    """Statistics of hidden rows would be seen through a plain view."""
    views = [ddl for ddl in _surface(snapshot, "site", site="north").instance.ddl if " VIEW " in ddl]
    assert views
    assert all(ddl.startswith("CREATE SECURE VIEW ") for ddl in views)


def test_the_twin_has_the_names_and_types_of_the_engine_and_no_more(snapshot: Snapshot) -> None:
    """A statement would bind and then fail where the data are; or the binder would name what is hidden."""
    shown = _surface(snapshot, "analyst", "site", site="north")
    twin = Twin(shown.twin_ddl)
    with duckdb.connect() as engine:
        for attachment in shown.instance.attachments:
            engine.execute(f"ATTACH '{attachment.path}' AS \"{attachment.alias}\" (READ_ONLY)")
        for ddl in shown.instance.ddl:
            engine.execute(ddl)
        bound = twin.bind(f"SELECT * FROM {SAMPLES.sql}")
        assert bound.schema == engine.sql(f"SELECT * FROM {SAMPLES.sql}").to_arrow_table().schema
    for hidden in ("rowid", "filename", "file_row_number"):
        with pytest.raises(FlightmeshError):
            twin.bind(f"SELECT {hidden} FROM {SAMPLES.sql}")
    twin.close()


def test_a_broken_product_is_known_to_those_who_could_read_it(snapshot: Snapshot) -> None:
    """A stranger would learn of a hidden product on the day it fails; its readers would not learn why."""
    [entry] = snapshot.products.values()
    unknown = ProductName("lab", "other")
    broken = Snapshot(
        "g",
        {},
        {
            entry.name: Unavailable(entry.name, "a file is missing.", entry.product),
            unknown: Unavailable(unknown, "the manifest does not read.", None),
        },
    )
    assert _surface(broken, "head").namespace.unavailable == {
        ("lab", "samples"): "a file is missing.",
        ("lab", "other"): "the manifest does not read.",
    }
    assert _surface(broken, "visitor").namespace.unavailable == {("lab", "other"): "the manifest does not read."}

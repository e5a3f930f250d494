"""``flightmesh.planner.surface``: what a reader may not see is in no name, no column and no view."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from flightmesh.catalog.snapshot import DataColumn, Snapshot, Unavailable
from flightmesh.engine.base import Plan
from flightmesh.engine.duckdb import DuckDBEngine
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


def _described(snapshot: Snapshot) -> Snapshot:
    """The product with words in its contract, and columns of types that are not plain."""
    [product] = snapshot.products.values()
    contract = product.contracts["samples"]
    columns = tuple(
        replace(column, description=f'The sample\'s {column.name}.\nIn "kg"; not \0 -- é')
        for column in contract.columns
    )
    port = product.ports["samples"]
    types = {"kind": "ENUM('a''b', 'c')", "parts": 'STRUCT(x INTEGER, "y z" VARCHAR[])[]', "m": "MAP(VARCHAR, DATE)"}
    added = tuple(DataColumn(name, kind) for name, kind in types.items())
    full = replace(
        product,
        ports={**product.ports, "samples": replace(port, columns=(*port.columns, *added))},
        contracts={
            **product.contracts,
            "samples": replace(contract, description="What was weighed; it's all.", grain="one", columns=columns),
        },
    )
    return Snapshot(snapshot.generation, {product.name: full}, {})


Ask = Callable[[Surface, str], list[tuple[Any, ...]]]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Asks the locked catalogue instance of a Surface, as the engine opens it, with lab.samples as the search path."""

    def run(shown: Surface, sql: str) -> list[tuple[Any, ...]]:
        engine = DuckDBEngine(threads=1, memory_bytes=1 << 28, spill=tmp_path, spill_bytes=0, instances_max=1)
        with closing(engine):
            plan = Plan("duckdb", shown.catalogue, sql, (), ('"lab"."samples"',), 1_000, is_catalogue=True)
            execution = engine.execute(plan)
            try:
                return [tuple(row.values()) for row in execution.start().read_all().to_pylist()]
            finally:
                execution.close()

    return run


def test_the_catalogue_tells_of_tables_as_the_contract_does(snapshot: Snapshot, ask: Ask) -> None:
    """A tool would show a port without its types, keys, nullability or words."""
    head = _surface(_described(snapshot), "head")
    assert head.catalogue.key == f"{head.id}:catalogue"
    assert (head.catalogue.attachments, dict(head.catalogue.scans)) == ((), {})
    assert [row[:3] for row in ask(head, "SHOW ALL TABLES")] == [
        ("lab", "samples", "samples"),
        ("lab", "samples", "vault"),
    ]
    assert [row[0] for row in ask(head, "SHOW TABLES")] == ["samples", "vault"]
    for name in ("samples", "lab.samples.samples"):
        assert [row[:4] for row in ask(head, f"DESCRIBE {name}")] == [
            ("id", "BIGINT", "NO", "PRI"),
            ("site", "VARCHAR", "YES", None),
            ("mass", "BIGINT", "YES", None),
            ("kind", "ENUM('a''b', 'c')", "YES", None),
            ("parts", 'STRUCT(x INTEGER, "y z" VARCHAR[])[]', "YES", None),
            ("m", "MAP(VARCHAR, DATE)", "YES", None),
        ]
    assert ask(
        head,
        "SELECT column_name, is_nullable, COLUMN_COMMENT FROM information_schema.columns "
        "WHERE table_catalog = current_catalog() AND table_schema = current_schema() AND table_name = 'samples' "
        "AND ordinal_position < 3 ORDER BY ordinal_position",
    ) == [
        ("id", "NO", 'The sample\'s id.\nIn "kg"; not  -- é'),
        ("site", "YES", 'The sample\'s site.\nIn "kg"; not  -- é'),
    ]
    assert ask(
        head, "SELECT TABLE_COMMENT, table_type FROM information_schema.tables WHERE table_name = 'samples'"
    ) == [("What was weighed; it's all. Grain: one.", "BASE TABLE")]
    assert ask(
        head,
        "SELECT table_name, constraint_column_names FROM duckdb_constraints() WHERE constraint_type = 'PRIMARY KEY' "
        "AND database_name = current_catalog() AND schema_name = 'samples' ORDER BY 1",
    ) == [("samples", ["id"]), ("vault", ["id"])]
    assert ask(
        head,
        "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = 'samples' AND c.relkind = 'r' AND pg_table_is_visible(c.oid) ORDER BY 1",
    ) == [("samples",), ("vault",)]


def test_the_catalogue_knows_nothing_that_is_hidden(snapshot: Snapshot, ask: Ask) -> None:
    """A reader would learn names of hidden ports and columns, policy literals, or where the files are."""
    described = _described(snapshot)
    [product] = described.products.values()
    paths = {str(port.database) for port in product.ports.values()}
    for shown in (_surface(described, "analyst"), _surface(described, "analyst", "visitor")):
        told = "\n".join(shown.catalogue.ddl)
        assert "The sample''s mass." in told
        assert not re.search(r"\bvault\b|\bid\b|PRIMARY|CASE|WHERE|VIEW|data_", told)
        assert not [path for path in paths if path in told]
    site = "\n".join(_surface(described, "site", site="north-pole").catalogue.ddl)
    assert "north-pole" not in site
    analyst = _surface(described, "analyst")
    assert ask(analyst, "SELECT DISTINCT database_name FROM duckdb_tables()") == [("lab",)]
    assert ask(analyst, "SELECT path FROM duckdb_databases() WHERE path IS NOT NULL") == []
    assert ask(analyst, "SELECT * FROM duckdb_constraints() WHERE constraint_type = 'PRIMARY KEY'") == []
    nobody = _surface(described, "visitor")
    assert nobody.catalogue.ddl == ()


@pytest.mark.parametrize(
    ("sql_type", "has_key"),
    [
        ("VARCHAR", True),
        ("ENUM('[', 'b')", True),
        ("DECIMAL(38,2)", True),
        ("TIMESTAMP WITH TIME ZONE", True),
        ("JSON", True),
        ("INTERVAL", False),
        ("INTEGER[]", False),
        ("INTEGER[3]", False),
        ("STRUCT(a INTEGER)", False),
        ("MAP(INTEGER, INTEGER)", False),
        ("UNION(a INTEGER)", False),
        ("VARIANT", False),
    ],
)
def test_a_key_that_the_engine_cannot_index_does_not_spoil_the_catalogue(
    snapshot: Snapshot, ask: Ask, sql_type: str, has_key: bool
) -> None:
    """One product with such a key would take SHOW and DESCRIBE from every reader who sees it."""
    [product] = snapshot.products.values()
    port = product.ports["samples"]
    columns = tuple(DataColumn(c.name, sql_type) if c.name == "id" else c for c in port.columns)
    odd = replace(product, ports={"samples": replace(port, columns=columns)})
    shown = _surface(Snapshot("g", {product.name: odd}, {}), "head")
    [(count,)] = ask(shown, "SELECT count(*) FROM duckdb_constraints() WHERE constraint_type = 'PRIMARY KEY'")
    assert count == has_key
    assert ask(shown, "DESCRIBE samples")[0][0] == "id"


def test_a_wide_catalogue_opens_in_a_moment(snapshot: Snapshot, ask: Ask) -> None:
    """The first SHOW of a reader of many ports would hang."""
    [product] = _described(snapshot).products.values()
    names = [ProductName("lab", f"samples{number or ''}") for number in range(100)]
    many = {name: replace(product, name=name) for name in names}
    shown = _surface(Snapshot("g", many, {}), "head")
    began = time.perf_counter()
    assert ask(shown, "SELECT count(*) FROM duckdb_tables()") == [(200,)]
    assert time.perf_counter() - began < 2.0

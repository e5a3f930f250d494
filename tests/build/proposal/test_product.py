"""``init`` as a whole: from sources to a folder that passes ``check`` and can be served unedited."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

import flightmesh
from flightmesh.build.check import check_product
from flightmesh.build.pipeline import build_product
from flightmesh.build.proposal.manifest import About
from flightmesh.build.proposal.product import PersonalReport, init_product
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.manifest import load_bundle
from tests.build.proposal.thirty import TABLES, WIDE, load_thirty
from tests.tpch.data import load_postgres, tpch_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from tests.conftest import ServedBy
    from tests.postgres import Postgres

BUNDLED = Path(__file__).parents[3] / "products"
RAW = (
    BUNDLED / "aviation_flights" / "data" / "flights.parquet",
    BUNDLED / "aviation_flights" / "data" / "weather.csv.gz",
    BUNDLED / "aviation_flights" / "data" / "reference.sqlite",
    BUNDLED / "clinical_trials" / "data" / "actg175.csv.gz",
)
Start = Callable[..., AbstractContextManager["ServedBy"]]


def manifest(folder: Path) -> Any:
    return YAML(typ="safe").load((folder / "product.yaml").read_text(encoding="utf-8"))


def port_rows(folder: Path, state: Path, port: str) -> pa.Table:
    """The rows of a port as a snapshot, also of what is read live when it is served."""
    path = folder / "product.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("mode: live", "mode: snapshot"), encoding="utf-8")
    try:
        snapshot = build_product(load_bundle(folder), state=state, progress=lambda *_: None)
    finally:
        path.write_text(text, encoding="utf-8")
    parquet = snapshot.ports[port].parquet
    assert parquet is not None
    return pq.ParquetFile(parquet).read()


def test_a_folder_of_exports_becomes_a_product(shop: Path, tmp_path: Path, state: Path) -> None:
    """Keys, links, codes, words for NULL and personal data are found, and nothing has to be edited."""
    folder = tmp_path / "product"
    report = init_product(folder, [str(shop)], "retail.shop")
    assert check_product(folder).problems == ()
    assert [(port.name, port.rows, port.columns, port.key) for port in report.ports] == [
        ("customers", 40, 5, ("id",)),
        ("orders", 200, 6, ("order_id",)),
        ("products", 5, 2, ("sku",)),
        ("orders_wide", 200, 11, ("order_id",)),
    ]
    assert {(each.port, each.column) for each in report.personal} == {
        ("customers", "name"),
        ("customers", "email"),
        ("customers", "zip"),
    }
    assert report.notes == ("In orders.csv, 'NA' was taken for no value in every column.",)
    wide = port_rows(folder, state, "orders_wide")
    assert wide.num_rows == 200
    first = wide.slice(0, 1).to_pylist()[0]
    assert (first["customers_name"], first["customers_zip"], first["products_price_usd"]) == ("Person 2", "01002", 2.5)


@pytest.mark.slow
def test_the_raw_files_of_the_bundled_products(tmp_path: Path, start: Start) -> None:
    """What a newcomer does first has to end well, and before the coffee is ready."""
    folder = tmp_path / "first"
    began = time.monotonic()
    report = init_product(folder, list(map(str, RAW)), "demo.first")
    assert check_product(folder).problems == ()
    assert time.monotonic() - began < 10
    rows = {port.name: port.rows for port in report.ports}
    assert rows["flights"] == rows["flights_wide"] == 336_776
    assert (rows["weather"], rows["airlines"], rows["actg175"]) == (26_115, 16, 2_139)
    with start(products=[folder]) as served, flightmesh.connect(served.uri) as client:
        assert {port: client.table(f"demo.first.{port}").count() for port in rows} == rows
        wide = client.table("demo.first.flights_wide", where="carrier = 'UA'").arrow()
        assert set(wide["airlines_name"].to_pylist()) == {"United Air Lines Inc."}


def test_links_of_sqlite_files_are_followed(tmp_path: Path, state: Path) -> None:
    """Most small systems keep their tables in one such file."""
    with closing(sqlite3.connect(tmp_path / "Crew.db")) as connection:
        connection.executescript(
            """
            CREATE TABLE ships (ship_id INTEGER PRIMARY KEY, name TEXT NOT NULL);
            CREATE TABLE crew (crew_id INTEGER PRIMARY KEY, ship_id INTEGER REFERENCES ships, last_name TEXT);
            INSERT INTO ships VALUES (1, 'Fram'), (2, 'Gjøa');
            INSERT INTO crew VALUES (10, 1, 'Nansen'), (11, 2, 'Amundsen'), (12, NULL, 'Sverdrup');
            """
        )
    report = init_product(tmp_path / "product", [str(tmp_path / "Crew.db")], "polar.crew")
    assert report.wide == "crew_wide"
    found = port_rows(tmp_path / "product", state, "crew_wide").to_pylist()
    assert [row["ships_name"] for row in found] == ["Fram", "Gjøa", None]


def test_proposals_can_be_taken_up_as_they_stand(shop: Path, tmp_path: Path) -> None:
    """The author removes # and is done; a proposal that check then refuses would cost more than it helps."""
    folder = tmp_path / "product"
    init_product(folder, [str(shop)], "retail.shop")
    for file in (*sorted((folder / "contracts").iterdir()), folder / "product.yaml"):
        text = file.read_text(encoding="utf-8").replace("# tags: [pii]", "tags: [pii]")
        file.write_text(text.replace("  # - {mask", "  - {mask"), encoding="utf-8")
    assert check_product(folder).problems == ()
    assert len(load_bundle(folder).product.policies) == 2


def test_accepted_proposals_are_made_real(shop: Path, tmp_path: Path) -> None:
    """On a terminal the author says yes once."""
    asked: list[Sequence[PersonalReport]] = []

    def accepts(found: Sequence[PersonalReport]) -> bool:
        asked.append(found)
        return True

    folder = tmp_path / "product"
    report = init_product(folder, [str(shop)], "retail.shop", about=About("Shop", "sales"), accepts=accepts)
    assert report.masked
    assert list(report.personal) == list(asked[0])
    bundle = load_bundle(folder)
    assert len(bundle.product.policies) == 2
    tagged = {column.name for column in bundle.contracts["orders_wide"].columns if column.tags}
    assert tagged == {"customers_name", "customers_email", "customers_zip"}


def test_equal_sources_give_equal_files(shop: Path, tmp_path: Path) -> None:
    """A product that is drawn up again is compared with the one that was edited."""
    for name in ("one", "two"):
        init_product(tmp_path / name, [str(shop)], "retail.shop")
    for path in (tmp_path / "one").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes(), path


def test_an_empty_folder_is_filled_and_a_full_one_refused(shop: Path, tmp_path: Path) -> None:
    """Nobody's work is overwritten."""
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    inode = os.stat(folder).st_ino
    init_product(folder, [str(shop / "orders.csv")], "retail.shop")
    assert os.stat(folder).st_ino == inode
    before = (folder / "product.yaml").read_bytes()
    with pytest.raises(FlightmeshError, match="not empty") as caught:
        init_product(folder, [str(shop / "Customers.csv")], "retail.shop")
    assert caught.value.code is ErrorCode.INVALID
    assert (folder / "product.yaml").read_bytes() == before


@pytest.mark.parametrize("content", [b"a,a\n1,2\n", b"\xff\xfe\x00", b""])
def test_what_fails_leaves_nothing_behind(tmp_path: Path, content: bytes) -> None:
    """The next try must not meet half of the last one."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.csv").write_bytes(content)
    with pytest.raises(FlightmeshError):
        init_product(tmp_path / "out" / "deep" / "product", [str(tmp_path / "in" / "bad.csv")], "a.b")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("name", ["a\nports: {x: {}}\n.csv", "a\u2028b: c.csv", "a`|<b>.csv"])
def test_names_of_files_write_nothing_into_the_manifest(tmp_path: Path, name: str) -> None:
    """Whoever names a file would write the product; or its folder of exports could not be drawn up."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_text("x,y\n1,2\n")
    init_product(tmp_path / "out", [str(tmp_path / "in")], "a.b")
    assert len(manifest(tmp_path / "out")["ports"]) == 1
    assert (tmp_path / "out" / "README.md").read_text(encoding="utf-8").count("\n- `") == 1


def test_names_that_cannot_be_served_are_refused_first(shop: Path, tmp_path: Path) -> None:
    """A minute of reading for a misspelt name is a minute lost."""
    for name in ("shop", "Retail.shop", "system.shop", "retail.main"):
        with pytest.raises(FlightmeshError):
            init_product(tmp_path / "product", [str(shop)], name)
    with pytest.raises(FlightmeshError, match="nothing to start from"):
        init_product(tmp_path / "product", [], "retail.shop")
    assert not (tmp_path / "product").exists()


# ---------------------------------------------------------------------------------------------------------- PostgreSQL


@pytest.fixture(scope="module")
def thirty(postgres: Postgres) -> str:
    """The address of a database of 30 tables."""
    return load_thirty(postgres, "thirty")


def test_thirty_tables_become_a_checked_product(thirty: str, tmp_path: Path) -> None:
    """Every table is a port with the database's own keys and comments, within the half minute that was promised."""
    folder = tmp_path / "product"
    began = time.monotonic()
    report = init_product(folder, [thirty], "shop.thirty")
    assert check_product(folder).problems == ()
    assert time.monotonic() - began < 30
    assert len(report.ports) == TABLES + 1
    assert report.wide == "order_lines_wide"
    keys = {port.name: port.key for port in report.ports}
    assert (keys["grossen"], keys["stock"], keys["audit_log"]) == (("größe_id",), ("warehouse_id", "product_id"), ())
    bundle = load_bundle(folder)
    assert bundle.product.sources["thirty_db"].mode == "live"
    orders = bundle.contracts["orders"]
    assert orders.description == 'One order of a customer; "placed", not yet paid.'
    required = [column.name for column in orders.columns if column.required]
    assert required == ["order_id", "customer_id", "ordered_on"]
    assert orders.columns[5].description == "The day, in the shop's own time zone: not UTC."
    assert {(each.port, each.column) for each in report.personal} >= {
        ("customers", "email"),
        ("suppliers", "iban"),
        ("employees", "phone"),
    }


def test_the_wide_model_of_thirty_tables_is_right(thirty: str, tmp_path: Path, state: Path) -> None:
    """Row by row what a person would have joined by hand."""
    import adbc_driver_postgresql.dbapi as postgresql

    init_product(tmp_path / "product", [thirty], "shop.thirty")
    wide = port_rows(tmp_path / "product", state, "order_lines_wide")
    with postgresql.connect(thirty) as connection, connection.cursor() as cursor:
        cursor.execute(WIDE)
        expected = [dict(zip([c[0] for c in cursor.description], row, strict=True)) for row in cursor.fetchall()]
    assert set(expected[0]) <= set(wide.column_names)
    names = list(expected[0])
    found = sorted(wide.select(names).to_pylist(), key=lambda row: (row["order_id"], row["line_no"]))
    for row in found:
        row["price_usd"] = float(row["price_usd"])
    wrong = [pair for pair in zip(found, expected, strict=True) if pair[0] != pair[1]]
    assert wrong[:3] == []


@pytest.mark.slow
def test_thirty_tables_are_served_live(thirty: str, tmp_path: Path, start: Start) -> None:
    """Unedited, with the wide port read from the database at query time."""
    init_product(tmp_path / "product", [thirty], "shop.thirty")
    with start(products=[tmp_path / "product"]) as served, flightmesh.connect(served.uri) as client:
        assert len(served.ready["tables"]) == TABLES + 1
        assert client.table("shop.thirty.order_lines_wide").count() == 6_000
        (row,) = client.sql(
            "SELECT count(*) AS n, count(stock_on_hand) AS stocked FROM shop.thirty.order_lines_wide WHERE quantity > 4"
        ).arrow().to_pylist()  # fmt: skip
        assert row["n"] > row["stocked"] > 0
        assert client.table("shop.thirty.grossen").count() == 2


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_tpch_becomes_a_served_product(postgres: Postgres, tmp_path: Path, start: Start) -> None:
    """A database of a million rows takes no longer than one of a thousand: only so much of it is read."""
    load_postgres(postgres, "tpch_init", tpch_tables(0.1, tmp_path / "generated"))
    folder = tmp_path / "product"
    began = time.monotonic()
    report = init_product(folder, [postgres.uri_of("tpch_init")], "bench.tpch")
    assert check_product(folder).problems == ()
    assert time.monotonic() - began < 10
    assert report.wide == "lineitem_wide"
    assert {port.name: port.key for port in report.ports}["partsupp"] == ("ps_partkey", "ps_suppkey")
    with start(products=[folder]) as served, flightmesh.connect(served.uri) as client:
        counts = {port.name: client.table(f"bench.tpch.{port.name}").count() for port in report.ports}
        assert counts["lineitem_wide"] == counts["lineitem"] > 600_000
        assert (counts["nation"], counts["part"]) == (25, 20_000)


def test_a_password_stays_out_of_the_product(thirty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is committed; the server gets the address from its environment."""
    folder = tmp_path / "product"
    report = init_product(folder, [thirty.replace("flightmesh@", "flightmesh:hunter2@")], "shop.thirty")
    assert report.variables == ("FLIGHTMESH_SECRET_THIRTY_DB_URI",)
    texts = [path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()]
    assert not any("hunter2" in text for text in texts)
    assert manifest(folder)["sources"]["thirty_db"]["uri"] == "${secret:THIRTY_DB_URI}"
    monkeypatch.setenv("FLIGHTMESH_SECRET_THIRTY_DB_URI", thirty)
    assert check_product(folder).problems == ()


def test_a_database_that_does_not_answer_is_named(tmp_path: Path) -> None:
    """Within seconds, and without its password."""
    began = time.monotonic()
    with pytest.raises(FlightmeshError, match="erp_db") as caught:
        init_product(tmp_path / "product", ["postgresql://me:hunter2@127.0.0.1:1/erp"], "a.b")
    assert time.monotonic() - began < 6
    assert caught.value.code is ErrorCode.UNAVAILABLE
    assert "hunter2" not in f"{caught.value}{caught.value.hint}"
    assert list(tmp_path.iterdir()) == []

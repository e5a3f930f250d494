"""What ``--from`` may name."""

from __future__ import annotations

from pathlib import Path

import pytest

from flightmesh.build.proposal.inputs import gather, secrets_of, stem_of, type_of
from flightmesh.errors import ErrorCode, FlightmeshError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the new product."""
    path = tmp_path / "product"
    path.mkdir()
    return path


def test_files_folders_and_patterns(shop: Path, folder: Path) -> None:
    """People name what they have in the way that is shortest; a file that is named twice is one source."""
    found = gather([str(shop), str(shop / "*.csv"), str(shop / "orders.csv")], folder)
    assert [(each.name, each.origin, dict(each.spec)) for each in found.inputs] == [
        ("customers_file", "Customers.csv", {"type": "csv", "path": "data/customers.csv", "delimiter": ";"}),
        ("orders_file", "orders.csv", {"type": "csv", "path": "data/orders.csv"}),
        ("products_file", "products.parquet", {"type": "parquet", "path": "data/products.parquet"}),
    ]
    assert (folder / "data" / "orders.csv").read_bytes() == (shop / "orders.csv").read_bytes()


def test_equal_names_do_not_overwrite_each_other(tmp_path: Path, folder: Path) -> None:
    """Two folders may each have a sales.csv."""
    paths = []
    for number, part in enumerate("ab"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "Sales.CSV").write_text(f"n\n{number}\n")
        paths.append(str(tmp_path / part / "Sales.CSV"))
    found = gather(paths, folder).inputs
    assert [(each.name, each.spec["path"]) for each in found] == [
        ("sales_file", "data/sales.csv"),
        ("sales_file_2", "data/sales_2.csv"),
    ]
    assert (folder / "data" / "sales_2.csv").read_text() == "n\n1\n"


@pytest.mark.parametrize(
    ("uri", "name", "kind", "shown"),
    [
        ("postgresql://localhost/erp", "erp_db", "postgres", "postgresql://localhost/erp"),
        ("postgres://me@db.example.org:5433/My%20Shop?connect_timeout=2", "my_shop_db", "postgres", None),
        ("grpc+tls://mesh.example.org:8815", "mesh_example_org_db", "flightsql", None),
    ],
)
def test_addresses_without_a_password_stand_in_the_manifest(
    folder: Path, uri: str, name: str, kind: str, shown: str | None
) -> None:
    """A database is read where it is."""
    (found,) = gather([uri], folder).inputs
    assert (found.name, found.is_live, found.secret) == (name, True, None)
    assert found.spec == {"type": kind, "uri": uri, "mode": "live"}
    assert shown is None or found.origin == shown


@pytest.mark.parametrize(
    "uri", ["postgresql://me:hunter2@db.example.org/erp", "postgresql://db.example.org/erp?user=me&password=hunter2"]
)
def test_a_password_goes_into_no_file(folder: Path, uri: str) -> None:
    """A manifest is committed and shared."""
    (found,) = gather([uri], folder).inputs
    assert found.spec["uri"] == "${secret:ERP_DB_URI}"
    assert "hunter2" not in f"{found!r}{found.origin}{found.spec}"
    assert secrets_of([found]).fill("erp_db", "${secret:ERP_DB_URI}") == uri


@pytest.mark.parametrize("text", ["mysql://localhost/x", "postgresql://[broken/x", "s3://bucket/a.parquet"])
def test_addresses_that_cannot_be_read_are_refused(folder: Path, text: str) -> None:
    """Better a word now than a product that never answers."""
    with pytest.raises(FlightmeshError) as caught:
        gather([text], folder)
    assert caught.value.code is ErrorCode.INVALID
    assert caught.value.hint is not None


def test_what_is_no_data_is_refused(shop: Path, folder: Path, tmp_path: Path) -> None:
    """A typing mistake must not make an empty product."""
    (tmp_path / "empty").mkdir()
    for text in (str(shop / "notes.txt"), str(tmp_path / "empty"), str(shop / "missing.csv"), str(shop / "*.xlsx")):
        with pytest.raises(FlightmeshError):
            gather([text], folder)
    assert list(folder.iterdir()) == []


def test_kinds_and_stems_of_files() -> None:
    """The port is named after the stem, without endings of format and compression."""
    names = ["a.csv", "a.b.CSV.gz", "a.jsonl.zst", "x.parquet.gz", "db.sqlite3", "orders.odcs.yaml", "t.tsv"]
    assert [type_of(Path(name)) for name in names] == ["csv", "csv", "json", None, "sqlite", None, "csv"]
    assert [stem_of(Path(name)) for name in names] == ["a", "a.b", "a", "x", "db", "orders", "t"]

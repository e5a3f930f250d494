"""Products that start from a contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from flightmesh.build.check import check_product
from flightmesh.build.pipeline import build_product
from flightmesh.build.proposal.product import init_product
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.manifest import load_bundle
from flightmesh.product.problems import ProductProblems

CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: sales-1
name: sales
version: 2.1.0
status: active
schema:
- name: Sales
  properties:
  - {name: sale_id, logicalType: integer, physicalType: NUMBER(10), required: true, primaryKey: true}
  - {name: sold_on, logicalType: date}
  - {name: shop, logicalType: string, physicalType: nvarchar(40)}
  - {name: eur, logicalType: number, physicalType: "DECIMAL(10,2)"}
  - {name: tags, logicalType: array}
- name: shops
  properties:
  - {name: shop, logicalType: string, required: true}
"""


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    """A contract of two tables, as another tool wrote it."""
    path = tmp_path / "sales.odcs.yaml"
    path.write_text(CONTRACT)
    return path


def manifest(folder: Path) -> Any:
    return YAML(typ="safe").load((folder / "product.yaml").read_text(encoding="utf-8"))


def rows(folder: Path, state: Path, port: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    snapshot = build_product(load_bundle(folder), state=state, progress=lambda *_: None)
    parquet = snapshot.ports[port].parquet
    assert parquet is not None
    found: list[dict[str, Any]] = pq.ParquetFile(parquet).read().to_pylist()
    return found


def test_a_contract_alone_gives_files_to_be_filled(contract: Path, tmp_path: Path, state: Path) -> None:
    """The product checks before the first row is there, and serves rows once they are written below the header."""
    folder = tmp_path / "product"
    report = init_product(folder, [str(contract)], "retail.sales")
    assert [port.name for port in report.ports] == ["sales", "shops"]
    assert (folder / "data" / "sales.csv").read_text() == "sale_id,sold_on,shop,eur,tags\n"
    assert report.notes == ("2 files below data/ hold the header alone: put rows below it.",)
    assert rows(folder, state, "sales") == []
    with (folder / "data" / "sales.csv").open("a") as stream:
        stream.write('7,2025-02-03,007,12.50,"[a, b]"\n')
    assert check_product(folder).problems == ()
    (row,) = rows(folder, state, "sales")
    assert (row["sale_id"], str(row["sold_on"]), row["shop"], str(row["eur"])) == (7, "2025-02-03", "007", "12.50")
    assert row["tags"] == ["a", "b"]


def test_types_of_other_systems_are_kept_beside_ours(contract: Path, tmp_path: Path) -> None:
    """The contract's author must find again what stood there."""
    init_product(tmp_path / "product", [str(contract)], "retail.sales")
    text = YAML(typ="safe").load((tmp_path / "product" / "contracts" / "sales.odcs.yaml").read_text())
    columns = text["schema"][0]["properties"]
    types = [column["physicalType"] for column in columns]
    assert types == ["BIGINT", "DATE", "nvarchar(40)", "DECIMAL(10,2)", "VARCHAR[]"]
    assert columns[0]["customProperties"] == [{"property": "originalPhysicalType", "value": "NUMBER(10)"}]
    assert (text["version"], text["id"]) == ("2.1.0", "sales-1-sales")


def test_a_source_of_that_name_is_put_under_the_contract(contract: Path, tmp_path: Path, state: Path) -> None:
    """Columns are kept, named and typed as the contract promises; what is lacking and not required is NULL."""
    data = tmp_path / "SALES.csv"
    data.write_text("SALE_ID,sold_on,eur,internal\n1,2025-01-01,2.5,x\n2,2025-01-02,,y\n")
    folder = tmp_path / "product"
    report = init_product(folder, [str(contract), str(data)], "retail.sales")
    assert [(port.name, port.columns) for port in report.ports] == [("sales", 5), ("shops", 1)]
    assert manifest(folder)["models"]["sales"] == {
        "from": "sales_file",
        "keep": {"sale_id": "SALE_ID", "sold_on": "sold_on", "eur": "eur"},
        "cast": {"eur": "DECIMAL(10,2)"},
        "derive": {"shop": "CAST(NULL AS VARCHAR)", "tags": "CAST(NULL AS VARCHAR[])"},
    }
    found = rows(folder, state, "sales")
    assert [(row["sale_id"], str(row["eur"]), row["shop"]) for row in found] == [(1, "2.50", None), (2, "None", None)]


@pytest.mark.parametrize("header", ["sold_on\n2025-01-01\n", "sale_id,sold_on\n1,2025-01-01\n,2025-01-02\n"])
def test_a_promise_that_the_data_cannot_keep_is_refused(contract: Path, tmp_path: Path, header: str) -> None:
    """Better no product than one that cannot be served, or a contract that was changed in silence."""
    data = tmp_path / "sales.csv"
    data.write_text(header)
    with pytest.raises(FlightmeshError, match="sale_id") as caught:
        init_product(tmp_path / "product", [str(contract), str(data)], "retail.sales")
    assert caught.value.code is ErrorCode.INVALID
    assert not (tmp_path / "product").exists()


def test_a_contract_that_breaks_the_standard_is_refused_with_places(contract: Path, tmp_path: Path) -> None:
    """Its author mends it by line and column."""
    contract.write_text(CONTRACT.replace("status: active\n", "status: active\nowner: me\n"))
    with pytest.raises(ProductProblems, match=r"sales\.odcs\.yaml:7:1: Unknown key owner"):
        init_product(tmp_path / "product", [str(contract)], "retail.sales")

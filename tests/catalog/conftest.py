"""Generations made of small real files, without a build."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flightmesh.catalog.durable import move_whole, staging_folder
from flightmesh.catalog.records import (
    DATABASE,
    RECORD,
    FileRecord,
    PortRecord,
    SnapshotRecord,
    encode_snapshot,
    port_data,
    snapshot_folder,
)
from flightmesh.catalog.snapshot import DataColumn, PortData, ProductSnapshot, Snapshot, Unavailable
from flightmesh.names import ProductName
from flightmesh.product.contract import ContractColumn, DataContract
from flightmesh.product.model import DataProduct

MakeProductSnapshot = Callable[..., ProductSnapshot]

MANIFEST = """{
  "flightmesh": "v1", "product": "a.b", "version": "1.0.0", "title": "t", "owner": {"team": "t"}, "tags": ["x"],
  "sources": {"s": {"type": "csv", "path": "s.csv", "types": {"z": "string"}}},
  "models": {"m": {"from": "s", "keep": {"z": "y", "a": "b"}, "join": [{"from": "s", "on": "z", "take": ["q"]}]}},
  "ports": {"p": {"model": "m", "contract": "p.yaml"}},
  "policies": [{"grant": "read", "port": "*", "to": ["role:a", "*"]},
               {"rows": "z > 1", "of": "p", "for": "role:a", "unless": "role:b"},
               {"mask": {"column": "a", "with": {"band": 5}}, "unless": "role:b"}]
}"""
CONTRACT = DataContract(
    "p-1",
    "1.0.0",
    "active",
    "p",
    "what it is",
    None,
    (
        ContractColumn("z", "string", "VARCHAR", True, True, 1, "däta", None, "restricted", frozenset({"pii", "x"})),
        ContractColumn("a", None, None, False, False, None, None, "min", None, frozenset()),
    ),
    {"id": "p-1", "schema": [{"name": "p", "properties": [{"name": "z"}]}], "number": 1.5},
)


@pytest.fixture
def make_snapshot(state: Path) -> MakeProductSnapshot:
    """Puts a snapshot folder into the state directory and returns the product."""

    def make(snapshot_id: str, *, bundle_id: str = "bundle", name: str = "a.b") -> ProductSnapshot:
        folder = snapshot_folder(state, ProductName.parse(name), snapshot_id)
        files = {DATABASE: b"d" * 10, "p.parquet": b"p" * 20}
        record = SnapshotRecord(
            name,
            snapshot_id,
            (
                PortRecord(
                    "p", "p", 3, (DataColumn("z", "VARCHAR"), DataColumn("a", "BIGINT")), "p.parquet", {"z": 1, "a": 0}
                ),
            ),
            tuple(FileRecord(file, len(content), "0" * 64) for file, content in files.items()),
            {"s": "f" * 64},
            "c" * 32,
            {"duckdb": "2.0.0"},
        )
        with staging_folder(state) as staging:
            for file, content in files.items():
                (staging / file).write_bytes(content)
            (staging / RECORD).write_bytes(encode_snapshot(record))
            move_whole(staging, folder)
        product = DataProduct.model_validate_json(MANIFEST.replace("a.b", name))
        data = port_data(folder, record)
        return ProductSnapshot(ProductName.parse(name), product, {"p": CONTRACT}, data, snapshot_id, bundle_id)

    return make


def generation(name: str, *products: ProductSnapshot, failed: Unavailable | None = None) -> Snapshot:
    """A generation of these products."""
    unavailable = {} if failed is None else {failed.name: failed}
    return Snapshot(name, {product.name: product for product in products}, unavailable)


def parquet_of(port: PortData) -> Path:
    """The Parquet file of a port whose rows were read."""
    assert port.parquet is not None
    return port.parquet

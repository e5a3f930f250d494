"""A real snapshot of a small product, built once, for the tests of this room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flightmesh.build.catalog import find_products, load_catalog
from flightmesh.build.pipeline import BuildBounds
from flightmesh.catalog.snapshot import Snapshot
from flightmesh.catalog.store import Store
from flightmesh.config import Limits
from flightmesh.engine.workshop import Bounds

PRODUCT = """\
flightmesh: v1
product: lab.samples
version: 1.0.0
title: Samples of the laboratory
grain: one row per sample
owner: {team: lab}
sources:
  raw: {type: csv, path: data/raw.csv}
models:
  samples: {from: raw}
  vault: {from: raw}
ports:
  samples: {model: samples, contract: contracts/samples.odcs.yaml}
  vault: {model: vault, contract: contracts/vault.odcs.yaml}
policies:
- {grant: read, port: samples, to: ["role:head", "role:analyst", "role:site"]}
- {rows: "site = :user.site", of: samples, for: "role:site"}
- {mask: {column: mass, with: {band: 5}}, of: samples, for: "role:analyst"}
- {mask: {column: id, with: drop}, of: samples, for: "role:analyst"}
- {grant: read, port: vault, to: "role:head"}
"""
CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: lab-{name}-1
version: 1.0.0
status: active
schema:
- name: {name}
  properties:
  - {{name: id, logicalType: integer, physicalType: BIGINT, required: true, primaryKey: true}}
  - {{name: site, logicalType: string, physicalType: VARCHAR}}
  - {{name: mass, logicalType: integer, physicalType: BIGINT}}
"""
ROWS = "id,site,mass\n1,north,12\n2,south,17\n3,north,\n"


@pytest.fixture(scope="session")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snapshot]:
    """The small product, loaded; its files stay while the tests run."""
    folder = tmp_path_factory.mktemp("planner")
    files = {
        "product.yaml": PRODUCT,
        "contracts/samples.odcs.yaml": CONTRACT.format(name="samples"),
        "contracts/vault.odcs.yaml": CONTRACT.format(name="vault"),
        "data/raw.csv": ROWS,
    }
    for file, text in files.items():
        path: Path = folder / "samples" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    bounds = BuildBounds(workshop=Bounds(threads=1, memory_bytes=1 << 28), limits=Limits())
    with Store(folder / "state") as store:
        with store.building():
            loaded = load_catalog(
                find_products([folder / "samples"]), store, lambda *_: None, previous=None, bounds=bounds
            )
        assert not loaded.unavailable
        yield loaded

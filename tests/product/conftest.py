"""A small product on disk, for the tests of this room: valid as it is, with any of its files replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

PRODUCT = """\
flightmesh: v1
product: lab.samples
version: 1.0.0
title: Samples of the laboratory
owner: {team: lab}
sources:
  raw: {type: csv, path: data/raw.csv}
  db: {type: sqlite, path: data/db.sqlite, tables: [sites]}
models:
  clean:
    from: raw
    keep: [id, site, taken, mass]
  samples:
    from: clean
    lookup:
    - {from: db.sites, on: site, take: [city]}
  heavy:
    python: models/heavy.py:build
    inputs: [samples]
ports:
  samples: {model: samples, contract: contracts/samples.odcs.yaml}
policies:
- {grant: read, port: samples, to: "role:analyst"}
- {mask: {column: mass, with: {band: 5}}, of: samples, for: "role:analyst"}
"""

CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: lab-samples-1
version: 1.0.0
status: active
schema:
- name: samples
  properties:
  - {name: id, logicalType: string, physicalType: VARCHAR, required: true, primaryKey: true, tags: [pii]}
  - {name: site, logicalType: string, physicalType: VARCHAR}
  - {name: taken, logicalType: date, physicalType: DATE}
  - {name: mass, logicalType: number, physicalType: DOUBLE}
  - {name: city, logicalType: string, physicalType: VARCHAR}
"""

FILES = {
    "product.yaml": PRODUCT,
    "contracts/samples.odcs.yaml": CONTRACT,
    "models/heavy.py": "def build(samples):\n    return samples.filter(samples.mass > 1)\n",
    "data/raw.csv": "id\n",
    "data/db.sqlite": "",
}


@pytest.fixture
def make_product(tmp_path: Path) -> Callable[[Mapping[str, str]], Path]:
    """Writes the small product with some of its files replaced or added, and gives back its folder."""

    def make(replaced: Mapping[str, str]) -> Path:
        folder = tmp_path / "product"
        for file, text in {**FILES, **replaced}.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return folder

    return make


@pytest.fixture
def product_yaml() -> str:
    """The manifest of the small product."""
    return PRODUCT


@pytest.fixture
def contract_yaml() -> str:
    """The contract of the small product's one port."""
    return CONTRACT

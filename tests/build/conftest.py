"""A small real product for the build room's tests: Parquet, CSV and SQLite sources; SQL, low-code and Polars models."""

from __future__ import annotations

import sqlite3
import textwrap
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flightmesh.catalog.snapshot import PortData

MANIFEST = """\
flightmesh: v1
product: air.mini
version: 1.0.0
title: A small product
owner: {team: tests}
sources:
  departures: {type: parquet, path: data/departures.parquet}
  weather: {type: csv, path: data/weather.csv}
  reference: {type: sqlite, path: data/reference.sqlite, tables: [airlines]}
models:
  flights:
    from: departures
    join:
      - {from: weather, on: [origin, hour], take: [temp]}
    lookup:
      - {from: reference.airlines, on: carrier, take: {airline: name}}
  by_carrier:
    sql: |
      SELECT carrier, count(*) AS flights, avg(delay) AS delay_mean
      FROM flights
      GROUP BY carrier
      ORDER BY carrier
  by_origin:
    python: models/by_origin.py:build
    inputs: [flights]
ports:
  flights: {model: flights, contract: contracts/flights.odcs.yaml}
  by_carrier: {model: by_carrier, contract: contracts/by_carrier.odcs.yaml}
  by_origin: {model: by_origin, contract: contracts/by_origin.odcs.yaml}
policies:
  - {grant: read, port: "*", to: ["*", anonymous]}
"""
CODE = """\
import polars as pl


def build(flights: pl.LazyFrame) -> pl.LazyFrame:
    return flights.group_by("origin").agg(pl.len().cast(pl.Int64).alias("flights")).sort("origin")
"""
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "flights": {
        "carrier": "VARCHAR", "origin": "VARCHAR", "hour": "TIMESTAMP WITH TIME ZONE", "delay": "SMALLINT",
        "temp": "DOUBLE", "airline": "VARCHAR",
    },
    "by_carrier": {"carrier": "VARCHAR", "flights": "BIGINT", "delay_mean": "DOUBLE"},
    "by_origin": {"origin": "VARCHAR", "flights": "BIGINT"},
}  # fmt: skip

# What the ports hold, worked out by hand from the files below.
BY_CARRIER = [
    {"carrier": "EV", "flights": 2, "delay_mean": 15.0},
    {"carrier": "UA", "flights": 2, "delay_mean": -3.0},
]
BY_ORIGIN = [{"origin": "EWR", "flights": 3}, {"origin": "JFK", "flights": 1}]

# Texts of the manifest that make its Polars model and port, which take a process and a second each time.
POLARS_PARTS = (
    "  by_origin:\n    python: models/by_origin.py:build\n    inputs: [flights]\n",
    "  by_origin: {model: by_origin, contract: contracts/by_origin.odcs.yaml}\n",
)

MakeProduct = Callable[..., Path]


@pytest.fixture
def make_product(tmp_path: Path) -> MakeProduct:
    """Makes the product in a folder of the given name; ``edit`` replaces texts of its manifest; ``lean`` leaves
    Polars out.
    """

    def make(
        name: str = "mini", *, edit: Mapping[str, str] | None = None, code: str = CODE, lean: bool = False
    ) -> Path:
        folder = tmp_path / "products" / name
        for part in ("data", "models", "contracts"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        manifest = MANIFEST
        without = dict.fromkeys(POLARS_PARTS, "") if lean else {}
        for old, new in {**without, **(edit or {})}.items():
            assert old in manifest, old
            manifest = manifest.replace(old, new)
        (folder / "product.yaml").write_text(manifest)
        (folder / "models" / "by_origin.py").write_text(code)
        write_data(folder / "data")
        for port, columns in COLUMNS.items():
            write_contract(folder, port, columns)
        return folder

    return make


def write_data(data: Path) -> None:
    """Four flights, two hours of weather, two airlines."""
    hours = pa.array([0, 0, 3_600, 0], pa.timestamp("s", "UTC")).cast(pa.timestamp("us", "UTC"))
    departures = pa.table(
        {
            "carrier": ["EV", "UA", "EV", "UA"],
            "origin": ["EWR", "EWR", "JFK", "EWR"],
            "hour": hours,
            "delay": pa.array([10, None, 20, -3], pa.int16()),
        }
    )
    pq.write_table(departures, data / "departures.parquet")
    (data / "weather.csv").write_text(
        "origin,hour,temp\nEWR,1970-01-01 00:00:00+00,39.02\nJFK,1970-01-01 02:00:00+00,40.5\n"
    )
    (data / "reference.sqlite").unlink(missing_ok=True)
    with closing(sqlite3.connect(data / "reference.sqlite")) as connection:
        connection.execute("CREATE TABLE airlines (carrier TEXT PRIMARY KEY, name TEXT)")
        connection.executemany("INSERT INTO airlines VALUES (?, ?)", [("EV", "ExpressJet"), ("UA", "United")])
        connection.commit()


def write_contract(folder: Path, port: str, columns: Mapping[str, str]) -> None:
    """An ODCS contract with these columns."""
    text = f"""\
        apiVersion: v3.1.0
        kind: DataContract
        id: mini-{port}
        name: {port}
        version: 1.0.0
        status: active
        schema:
        - name: {port}
          physicalType: table
          properties:
        """
    lines = [f"  - {{name: {name}, physicalType: {kind}}}" for name, kind in columns.items()]
    path = folder / "contracts" / f"{port}.odcs.yaml"
    path.write_text(textwrap.dedent(text) + "\n".join(lines) + "\n")


def parquet_of(port: PortData) -> Path:
    """The Parquet file of a port whose rows were read."""
    assert port.parquet is not None
    return port.parquet

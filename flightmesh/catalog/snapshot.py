"""The immutable catalogue: which products exist in one generation, with the data files behind their ports.

A ``Snapshot`` is swapped whole; nobody changes one. It knows what exists and where it lies, not who may read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flightmesh.names import ProductName
from flightmesh.product.contract import DataContract
from flightmesh.product.model import DataProduct


@dataclass(frozen=True, slots=True)
class DataColumn:
    """A column as the engine holds it: its name and the engine's own spelling of its type."""

    name: str
    sql_type: str


@dataclass(frozen=True, slots=True)
class PortData:
    """The files of one port in one data snapshot. ``table`` is the table's name in the ``.duckdb`` file."""

    name: str
    columns: tuple[DataColumn, ...]
    rows: int
    parquet: Path
    database: Path
    table: str


@dataclass(frozen=True, slots=True)
class ProductSnapshot:
    """One product in one generation: its manifest, contracts by port, and data by port."""

    name: ProductName
    product: DataProduct
    contracts: Mapping[str, DataContract]
    ports: Mapping[str, PortData]
    snapshot_id: str
    bundle_id: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A product that could not be loaded, and why, in words fit for a client.

    ``product`` is the manifest where it could be read: then only principals with a grant learn that the product exists.
    """

    name: ProductName
    reason: str
    product: DataProduct | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One generation of the whole catalogue. ``generation`` is a content hash: equal content, equal generation."""

    generation: str
    products: Mapping[ProductName, ProductSnapshot]
    unavailable: Mapping[ProductName, Unavailable]

"""The immutable catalogue: which products exist in one generation, with the data files behind their ports.

A ``Snapshot`` is swapped whole; nobody changes one. It knows what exists and where it lies, not who may read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from flightmesh.names import ProductName
from flightmesh.product.contract import DataContract
from flightmesh.product.model import DataProduct

# A relation as models name it: ("weather",), ("tms", "legs").
Relation = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DataColumn:
    """A column as the engine holds it: its name and the engine's own spelling of its type."""

    name: str
    sql_type: str


@dataclass(frozen=True, slots=True)
class PortData:
    """One port in one data snapshot: its files, or, where it is computed when it is read, its model.

    ``table`` is the table's name in the ``.duckdb`` file. Of a live port ``rows``, ``parquet`` and ``database`` are
    None and ``table`` is the name of its model.
    """

    name: str
    columns: tuple[DataColumn, ...]
    rows: int | None
    parquet: Path | None
    database: Path | None
    table: str

    @property
    def is_live(self) -> bool:
        """Whether the port is computed when it is read."""
        return self.database is None


@dataclass(frozen=True, slots=True)
class LiveRelation:
    """A table of a live source, with its columns as published.

    ``dialect`` and ``remote`` are the SQL that its source speaks and the table's name there; None and empty where the
    source takes no queries. ``plain`` are the columns that it compares and reads as the engine does.
    """

    schema: pa.Schema
    dialect: str | None = None
    remote: tuple[str, ...] = ()
    plain: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class LiveModel:
    """A model that is computed when it is read: one SELECT over relations as models name them, or a Polars function.

    ``sql`` is None where ``python`` (``models/daily.py:build``) is not. ``schema`` has the columns of a Polars model.
    """

    name: str
    sql: str | None
    reads: tuple[Relation, ...]
    python: str | None = None
    schema: pa.Schema | None = None


@dataclass(frozen=True, slots=True)
class LivePart:
    """What of a product is computed when it is read.

    ``tables`` are the tables of live sources; ``models`` stand each after all it reads; ``kept`` are relations that
    live models read and that were read at build: their tables in ``database``. ``folder`` is the product's, for
    sources and code that lie in it.
    """

    folder: Path
    tables: Mapping[Relation, LiveRelation]
    models: tuple[LiveModel, ...]
    kept: Mapping[Relation, str]
    database: Path | None


@dataclass(frozen=True, slots=True)
class ProductSnapshot:
    """One product in one generation: its manifest, contracts by port, and data by port.

    ``built_at`` is when its sources were read (seconds since 1970); ``stale`` why they could not be read again since.
    """

    name: ProductName
    product: DataProduct
    contracts: Mapping[str, DataContract]
    ports: Mapping[str, PortData]
    snapshot_id: str
    bundle_id: str
    live: LivePart | None = None
    built_at: float = field(default=0.0, compare=False)
    stale: str | None = None


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A product that could not be loaded, and why, in words fit for a client.

    ``product`` is the manifest where it could be read: then only principals with a grant learn that the product exists.
    ``is_passing`` says that trying again may help: a source did not answer.
    """

    name: ProductName
    reason: str
    product: DataProduct | None
    is_passing: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One generation of the whole catalogue. ``generation`` is a content hash: equal content, equal generation."""

    generation: str
    products: Mapping[ProductName, ProductSnapshot]
    unavailable: Mapping[ProductName, Unavailable]

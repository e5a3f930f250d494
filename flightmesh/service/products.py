"""What a principal may know of the catalogue: products, ports, columns. Hidden things do not exist here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from flightmesh.catalog.snapshot import ProductSnapshot
from flightmesh.config import Limits
from flightmesh.names import ProductName, TableName
from flightmesh.planner.cache import Cache
from flightmesh.planner.pipeline import Planner
from flightmesh.planner.surface import Surface, SurfaceTable
from flightmesh.planner.upstream import upstream
from flightmesh.service.generations import Generations
from flightmesh.service.sessions import Session
from flightmesh.sources.naming import Dataset


@dataclass(frozen=True, slots=True)
class ProductCard:
    """A visible product in a few lines. ``unavailable`` says why it cannot be read now."""

    name: ProductName
    title: str
    version: str
    status: str
    description: str | None
    owner: str | None
    tables: tuple[SurfaceTable, ...]
    unavailable: str | None
    upstream: Mapping[TableName, tuple[Dataset, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TableDescription:
    """A visible port with the Arrow schema of all its columns, as ``SELECT *`` returns it."""

    table: SurfaceTable
    schema: pa.Schema


class Products:
    """The catalogue as one principal sees it."""

    def __init__(self, generations: Generations, planner: Planner, limits: Limits) -> None:
        self._generations = generations
        self._planner = planner
        self._limits = limits
        self._datasets: Cache[tuple[str, str], tuple[Dataset, ...]] = Cache(limits.surface_cache_entries_max)
        self._described: Cache[str, tuple[TableDescription, ...]] = Cache(limits.surface_cache_entries_max)

    def surface(self, session: Session) -> Surface:
        """All ports that the principal may read."""
        return self._generations.surface(session.principal)

    def tables(self, session: Session) -> tuple[SurfaceTable, ...]:
        """The visible ports, ordered by name."""
        return _ordered(self.surface(session))

    def described(self, session: Session) -> tuple[TableDescription, ...]:
        """The visible ports with their Arrow schemas, ordered by name."""
        surface = self.surface(session)

        def make() -> tuple[TableDescription, ...]:
            return tuple(
                TableDescription(table, self._planner.prepare(surface, f"SELECT * FROM {table.name.sql}").schema)
                for table in _ordered(surface)
            )

        return self._described.get_or_make(surface.id, make)

    def cards(self, session: Session) -> tuple[ProductCard, ...]:
        """The visible products, ordered by name; those that failed to load among them."""
        snapshot, shown = self._generations.current, self.surface(session)
        cards = []
        for name, entry in snapshot.products.items():
            tables = tuple(table for table in _ordered(shown) if table.name.product == name)
            if tables:
                product = entry.product
                cards.append(
                    ProductCard(
                        name,
                        product.title,
                        product.version,
                        product.status,
                        product.description,
                        product.owner.team,
                        tables,
                        None,
                        {table.name: self._upstream(entry, table) for table in tables},
                    )
                )
        for path, reason in shown.namespace.unavailable.items():
            cards.append(ProductCard(ProductName(*path), ".".join(path), "", "unavailable", None, None, (), reason))
        return tuple(sorted(cards, key=lambda card: card.name))

    def _upstream(self, entry: ProductSnapshot, table: SurfaceTable) -> tuple[Dataset, ...]:
        """The tables of sources that the port comes from."""
        model = entry.product.ports[table.name.table].model
        key = (entry.bundle_id, model)
        return self._datasets.get_or_make(key, lambda: upstream(entry.product, model, limits=self._limits))


def _ordered(surface: Surface) -> tuple[SurfaceTable, ...]:
    return tuple(table for _, table in sorted(surface.tables.items()))

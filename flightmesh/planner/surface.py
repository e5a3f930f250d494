"""What one role set may see: public names, and the secure views behind them.

A Surface is a pure function of a catalogue generation and a principal's grants. It writes DDL as text and runs none.
Rows and columns that a policy hides are absent from the views, so a statement that reaches the engine cannot name
them.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from flightmesh.catalog.snapshot import DataColumn, PortData, ProductSnapshot, Snapshot
from flightmesh.engine.base import Attachment, InstanceSpec
from flightmesh.names import TableName, quote
from flightmesh.planner.masks import Reader, Visible, visible
from flightmesh.planner.resolve import Namespace, Path
from flightmesh.product import policy
from flightmesh.product.contract import ContractColumn


@dataclass(frozen=True, slots=True)
class SurfaceColumn:
    """A visible column: the engine's type, whether it may hold NULL, and what the contract says of it (None without a
    word).
    """

    name: str
    sql_type: str
    is_nullable: bool
    contract: ContractColumn | None


@dataclass(frozen=True, slots=True)
class SurfaceTable:
    """A visible port. ``primary_key`` is empty when a key column is hidden or masked: what is left is no key."""

    name: TableName
    columns: tuple[SurfaceColumn, ...]
    primary_key: tuple[str, ...]
    description: str | None
    grain: str | None


@dataclass(frozen=True, slots=True)
class Surface:
    """All that one role set may see of one generation, and the locked engine instance that holds nothing else.

    ``id`` is a digest of the views, their policy literals included: equal ids read equal data under equal rules.
    """

    id: str
    generation: str
    tables: Mapping[TableName, SurfaceTable]
    namespace: Namespace
    instance: InstanceSpec
    twin_ddl: tuple[str, ...] = field(repr=False)


def surface(snapshot: Snapshot, reader: Reader, *, mask_key: bytes) -> Surface:
    """The Surface of a reader: the union of what its grants show. Empty, but well-formed, when nothing is granted."""
    views: list[_View] = []
    for product in sorted(snapshot.products.values(), key=lambda entry: entry.name):
        for port in product.ports.values():
            shown = visible(product, port, reader, mask_key=mask_key)
            if shown is not None and shown.columns:
                views.append(_View(product, port, shown))
    digest = hashlib.sha256(snapshot.generation.encode())
    for view in views:
        digest.update(view.ddl("").encode())
        digest.update(str(view.port.database).encode())
    return _assemble(snapshot, reader, views, digest.hexdigest()[:32])


@dataclass(frozen=True, slots=True)
class _View:
    product: ProductSnapshot
    port: PortData
    shown: Visible

    @property
    def name(self) -> TableName:
        return TableName(self.product.name.domain, self.product.name.name, self.port.name)

    def ddl(self, alias: str) -> str:
        columns = ", ".join(
            quote(column.name) if expression is None else f"{expression} AS {quote(column.name)}"
            for column, expression in self.shown.columns
        )
        base = f"{quote(alias)}.main.{quote(self.port.table)}"
        where = f" WHERE {self.shown.predicate}" if self.shown.predicate else ""
        return f"CREATE SECURE VIEW {self.name.sql} AS SELECT {columns} FROM {base}{where}"

    def table(self) -> SurfaceTable:
        contract = self.product.contracts[self.port.name]
        promised = {column.name: column for column in contract.columns}
        key = contract.primary_key
        masked = {column.name for column, expression in self.shown.columns if expression is not None}
        shown = {column.name for column, _ in self.shown.columns}
        return SurfaceTable(
            self.name,
            tuple(_column(column, expression, promised.get(column.name)) for column, expression in self.shown.columns),
            key if shown.issuperset(key) and masked.isdisjoint(key) else (),
            contract.description or self.product.product.description,
            contract.grain or self.product.product.grain,
        )


def _column(column: DataColumn, expression: str | None, promised: ContractColumn | None) -> SurfaceColumn:
    is_nullable = expression is not None or promised is None or not promised.required
    return SurfaceColumn(column.name, column.sql_type, is_nullable, promised)


def _assemble(snapshot: Snapshot, reader: Reader, views: list[_View], identity: str) -> Surface:
    aliases = {view.port.database: f"data_{secrets.token_hex(16)}" for view in views}
    tables = {view.name: view.table() for view in views}
    schemas = _schemas(tables)
    return Surface(
        id=identity,
        generation=snapshot.generation,
        tables=tables,
        namespace=Namespace(
            paths=tuple((name.catalog, name.schema, name.table) for name in tables),
            unavailable=_unavailable(snapshot, reader),
        ),
        instance=InstanceSpec(
            key=identity,
            attachments=tuple(Attachment(path, alias) for path, alias in aliases.items()),
            ddl=(*schemas, *(view.ddl(aliases[view.port.database]) for view in views)),
        ),
        twin_ddl=(*schemas, *map(_empty_view, tables.values())),
    )


def _schemas(tables: Mapping[TableName, SurfaceTable]) -> tuple[str, ...]:
    domains = dict.fromkeys(name.catalog for name in tables)
    schemas = dict.fromkeys((name.catalog, name.schema) for name in tables)
    return (
        *(f"ATTACH ':memory:' AS {quote(domain)}" for domain in domains),
        *(f"CREATE SCHEMA {quote(domain)}.{quote(schema)}" for domain, schema in schemas),
    )


def _empty_view(table: SurfaceTable) -> str:
    """A view, as in the engine: what a table has besides its columns (rowid) must not bind here either."""
    columns = ", ".join(f"CAST(NULL AS {column.sql_type}) AS {quote(column.name)}" for column in table.columns)
    return f"CREATE VIEW {table.name.sql} AS SELECT {columns} WHERE FALSE"


def _unavailable(snapshot: Snapshot, reader: Reader) -> dict[Path, str]:
    """Products that failed to load, as far as the reader may know of them: all, or those with a grant where the
    policy is known.
    """
    return {
        (name.domain, name.name): entry.reason
        for name, entry in snapshot.unavailable.items()
        if entry.product is None
        or any(
            policy.granting(entry.product, port, roles=reader.roles, user=reader.user) for port in entry.product.ports
        )
    }

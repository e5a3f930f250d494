"""What one role set may see: public names, and the secure views behind them.

A Surface is a pure function of a catalogue generation and a principal's grants. It writes DDL as text and runs none.
Rows and columns that a policy hides are absent from the views, so a statement that reaches the engine cannot name
them.
"""

from __future__ import annotations

import hashlib
import hmac
import pathlib
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from flightmesh.catalog.snapshot import DataColumn, LivePart, PortData, ProductSnapshot, Snapshot
from flightmesh.engine.base import Attachment, InstanceSpec
from flightmesh.names import ProductName, TableName, literal, quote
from flightmesh.planner.live import Private, private
from flightmesh.planner.masks import Reader, Visible, visible
from flightmesh.planner.resolve import Namespace, Path
from flightmesh.product import policy
from flightmesh.product.contract import ContractColumn
from flightmesh.product.model import DataProduct


@dataclass(frozen=True, slots=True)
class SurfaceColumn:
    """A visible column: the engine's type, whether it may hold NULL, and what the contract says of it (None without a
    word).
    """

    name: str
    sql_type: str
    is_nullable: bool
    contract: ContractColumn | None


# What DuckDB has no index for, and so no PRIMARY KEY; nested types also end in brackets.
_UNINDEXED = ("INTERVAL", "MAP(", "STRUCT(", "UNION(", "VARIANT")

# Stands for a port's model in LiveView.select.
BASE = "base"


@dataclass(frozen=True, slots=True)
class LiveView:
    """How a live port is made: the SELECT that its public view is, over the word BASE for its model.

    ``part`` is what the product publishes of its live half, ``scans`` the scans that reading the port may need.
    """

    part: LivePart
    product: DataProduct
    model: str
    select: str
    scans: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """What a policy does to a port for this reader: the masked columns, whether rows are filtered or columns are not
    there at all, and the data behind it: when it was read (seconds since 1970; None: when it is queried) and why it
    could not be read again. ``rows`` is their number where it is known: not behind a row filter, not of a live port.
    """

    masked: tuple[str, ...]
    has_row_filter: bool
    snapshot: str
    built_at: float | None
    stale: str | None
    has_hidden_columns: bool = False
    rows: int | None = None


_PLAIN = Shown((), has_row_filter=False, snapshot="", built_at=None, stale=None)


@dataclass(frozen=True, slots=True)
class SurfaceTable:
    """A visible port. ``primary_key`` is empty when a key column is hidden or masked: what is left is no key.

    ``live`` is None for a port whose rows were read when it was built.
    """

    name: TableName
    columns: tuple[SurfaceColumn, ...]
    primary_key: tuple[str, ...]
    description: str | None
    grain: str | None
    shown: Shown = _PLAIN
    live: LiveView | None = None

    @property
    def remarks(self) -> str | None:
        """What the contract says of the table, and its grain; None without a word."""
        grain = f"Grain: {self.grain.rstrip('.')}." if self.grain else None
        return " ".join(filter(None, (self.description, grain))) or None


@dataclass(frozen=True, slots=True)
class Surface:
    """All that one role set may see of one generation, and the locked engine instances that hold nothing else: its
    rows, and ``catalogue``, which holds tables without rows that say what the reader may know of them.

    ``id`` is a digest of the views, their policy literals included: equal ids read equal data under equal rules.
    """

    id: str
    generation: str
    tables: Mapping[TableName, SurfaceTable]
    namespace: Namespace
    instance: InstanceSpec
    catalogue: InstanceSpec
    twin_ddl: tuple[str, ...] = field(repr=False)


def catalogue_key(identity: str) -> str:
    """The key of the instance that tells of the Surface with this id."""
    return f"{identity}:catalogue"


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
        digest.update(f"{view.port.database} {view.product.snapshot_id} {_folder(view)}".encode())
    identity = digest.hexdigest()[:32]
    # Equal Surfaces name what is private alike: they share an engine instance.
    secret = hmac.new(mask_key, f"private {identity}".encode(), hashlib.sha256).hexdigest()
    return _assemble(snapshot, reader, views, identity, secret)


@dataclass(frozen=True, slots=True)
class _View:
    product: ProductSnapshot
    port: PortData
    shown: Visible

    @property
    def name(self) -> TableName:
        return TableName(self.product.name.domain, self.product.name.name, self.port.name)

    def select(self, base: str) -> str:
        columns = ", ".join(
            quote(column.name) if expression is None else f"{expression} AS {quote(column.name)}"
            for column, expression in self.shown.columns
        )
        where = f" WHERE {self.shown.predicate}" if self.shown.predicate else ""
        return f"SELECT {columns} FROM {base}{where}"

    def ddl(self, base: str) -> str:
        return f"CREATE SECURE VIEW {self.name.sql} AS {self.select(base)}"

    def table(self, scans: tuple[str, ...]) -> SurfaceTable:
        contract = self.product.contracts[self.port.name]
        promised = {column.name: column for column in contract.columns}
        key = contract.primary_key
        masked = {column.name for column, expression in self.shown.columns if expression is not None}
        shown = {column.name for column, _ in self.shown.columns}
        return SurfaceTable(
            self.name,
            tuple(self.column(column, expression, promised) for column, expression in self.shown.columns),
            key if shown.issuperset(key) and masked.isdisjoint(key) else (),
            contract.description or self.product.product.description,
            contract.grain or self.product.product.grain,
            Shown(
                tuple(sorted(masked)),
                self.shown.predicate is not None,
                self.product.snapshot_id,
                None if self.port.is_live else self.product.built_at,
                None if self.port.is_live else self.product.stale,
                has_hidden_columns=len(self.shown.columns) < len(self.port.columns),
                rows=None if self.shown.predicate else self.port.rows,
            ),
            self.live(scans),
        )

    def column(
        self, column: DataColumn, expression: str | None, promised: Mapping[str, ContractColumn]
    ) -> SurfaceColumn:
        contract = promised.get(column.name)
        # What a live source promises nobody has verified.
        is_nullable = self.port.is_live or expression is not None or contract is None or not contract.required
        return SurfaceColumn(column.name, column.sql_type, is_nullable, contract)

    def live(self, scans: tuple[str, ...]) -> LiveView | None:
        part = self.product.live
        if part is None or not self.port.is_live:
            return None
        # OFFSET keeps a database from trying the reader's own conditions on rows that the policy hides: an error, or
        # none, would tell of them. In the engine the secure view does that.
        fence = " OFFSET 0" if self.shown.predicate else ""
        return LiveView(part, self.product.product, self.port.table, self.select(BASE) + fence, scans)


def _folder(view: _View) -> pathlib.Path | None:
    """Where a live product's files lie: equal content may move."""
    return None if view.product.live is None else view.product.live.folder


def _assemble(snapshot: Snapshot, reader: Reader, views: list[_View], identity: str, secret: str) -> Surface:
    aliases: dict[pathlib.Path, str] = {}
    for view in views:
        live = view.product.live if view.port.is_live else None
        database = view.port.database if live is None else live.database
        if database is not None:
            aliases.setdefault(database, f"data_{secrets.token_hex(16)}")
    privates = _privates(views, aliases, secret)
    ddl, tables = [], {}
    for view in views:
        own = privates.get(view.product.name) if view.port.is_live else None
        if own is None:
            assert view.port.database is not None
            base = f"{quote(aliases[view.port.database])}.main.{quote(view.port.table)}"
        else:
            base = own.relation(view.port.table)
        ddl.append(view.ddl(base))
        tables[view.name] = view.table(() if own is None else own.needs[view.port.table])
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
            ddl=(*schemas, *(text for own in privates.values() for text in own.ddl), *ddl),
            scans={name: scan for own in privates.values() for name, scan in own.scans.items()},
        ),
        catalogue=InstanceSpec(catalogue_key(identity), (), (*schemas, *_declared(tables))),
        twin_ddl=(*schemas, *map(_empty_view, tables.values())),
    )


def _privates(views: list[_View], aliases: Mapping[pathlib.Path, str], secret: str) -> dict[ProductName, Private]:
    """The private databases of the products with a live port that can be seen."""
    found: dict[ProductName, Private] = {}
    for view in views:
        live = view.product.live
        if view.port.is_live and live is not None and view.product.name not in found:
            data_alias = None if live.database is None else aliases[live.database]
            found[view.product.name] = private(view.product, data_alias, secret)
    return found


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


def _declared(tables: Mapping[TableName, SurfaceTable]) -> Iterator[str]:
    """The tables without rows: types, NOT NULL, keys and comments, for the engine's own catalogue to tell of."""
    for table in tables.values():
        types = {column.name: column.sql_type for column in table.columns}
        columns = [
            f"{quote(column.name)} {column.sql_type}{'' if column.is_nullable else ' NOT NULL'}"
            for column in table.columns
        ]
        if table.primary_key and all(_is_indexed(types[name]) for name in table.primary_key):
            columns.append(f"PRIMARY KEY ({', '.join(map(quote, table.primary_key))})")
        yield f"CREATE TABLE {table.name.sql} ({', '.join(columns)})"
        if table.remarks:
            yield f"COMMENT ON TABLE {table.name.sql} IS {_comment(table.remarks)}"
        for column in table.columns:
            if column.contract is not None and column.contract.description:
                text = _comment(column.contract.description)
                yield f"COMMENT ON COLUMN {table.name.sql}.{quote(column.name)} IS {text}"


def _is_indexed(sql_type: str) -> bool:
    return not sql_type.upper().startswith(_UNINDEXED) and not sql_type.endswith("]")


def _comment(text: str) -> str:
    """The text as a literal, without what SQL text cannot hold."""
    return literal(text.replace("\0", "").encode(errors="replace").decode())


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

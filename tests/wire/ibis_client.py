"""Ibis through ``ibis-gizmosql``, in an environment with the versions that the backend pins."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from tests.wire.client import Login, Result
from tests.wire.dialects import environments
from tests.wire.dialects.bridge import DialectBridge, like, used

ENVIRONMENT = "ibis"
NAME = "Ibis"
VERSION = environments.version_of(ENVIRONMENT, "ibis-gizmosql")
_STATEMENTS = ("query", "stream", "prepare", "named", "update", "schema", "ingest", "session")
_LISTS = ("catalogs", "schemas", "tables", "columns")
CAN = frozenset((*_STATEMENTS, *_LISTS))


def missing() -> str | None:
    """Why Ibis with its backend cannot be had here."""
    return environments.missing(ENVIRONMENT)


def connect(login: Login, folder: Path) -> IbisClient:
    """A backend of its own."""
    return IbisClient(login, folder)


class IbisClient:
    """See ``client.Client``. Ibis calls a schema a database; it lists names, whose patterns are matched here."""

    name = NAME
    can = CAN

    def __init__(self, login: Login, folder: Path) -> None:
        self.bridge = DialectBridge(ENVIRONMENT, "ibis_bridge", folder)
        self.bridge.connect(login)

    def close(self) -> None:
        self.bridge.close()

    def query(self, sql: str, parameters: Sequence[Any] = (), named: Mapping[str, Any] | None = None) -> Result:
        return self.bridge.result("query", sql=sql, parameters=list(parameters), named=named)

    def count(self, sql: str) -> int:
        return int(self.bridge.ask("count", sql=sql))

    def update(self, sql: str, rows: Sequence[Sequence[Any]] = ()) -> int:
        (row,) = rows or ((),)  # several at once are the feature "batch"
        return int(self.bridge.ask("update", sql=sql, parameters=list(row)))

    def columns_of(self, sql: str) -> tuple[str, ...]:
        return tuple(self.bridge.ask("columns_of", sql=sql))

    def catalogs(self) -> tuple[str, ...]:
        return tuple(sorted(self.bridge.ask("catalogs")))

    def schemas(self, catalog: str | None = None, pattern: str | None = None) -> tuple[tuple[str, str], ...]:
        catalogs = self.catalogs() if catalog is None else (catalog,)
        found = ((one, name) for one in catalogs for name in self.bridge.ask("schemas", catalog=one))
        return tuple(sorted(one for one in found if like(pattern, one[1])))

    def tables(
        self,
        catalog: str | None = None,
        schema: str | None = None,
        table: str | None = None,
        types: Sequence[str] = (),
    ) -> tuple[tuple[str, str, str, str], ...]:
        """All are called TABLE: ``list_tables`` tells names alone."""
        found = []
        for one, within in self.schemas(catalog, schema):
            names: Sequence[str] = self.bridge.ask("tables", catalog=one, schema=within)
            found += [(one, within, name, "TABLE") for name in sorted(names) if like(table, name)]
        return tuple(one for one in found if not types or one[3] in types)

    def columns(self, catalog: str, schema: str, table: str) -> tuple[Mapping[str, Any], ...]:
        return tuple(self.bridge.ask("columns", catalog=catalog, schema=schema, table=table))

    def ingest(self, table: str, data: pa.Table, mode: str, *, temporary: bool = True) -> int:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, data.schema) as writer:
            writer.write_table(data)
        stream = base64.b64encode(sink.getvalue()).decode()
        return int(self.bridge.ask("ingest", table=table, data=stream, mode=mode, temporary=temporary))

    def set_session(self, catalog: str | None = None, schema: str | None = None) -> None:
        self.query(used(catalog, schema))

    def session(self) -> tuple[str | None, str | None]:
        catalog, schema = self.bridge.ask("session")
        return catalog, schema

"""SQLAlchemy through ``sqlalchemy-gizmosql-adbc-dialect``, in an environment with the versions that it pins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.wire.client import Login, Result
from tests.wire.dialects import environments
from tests.wire.dialects.bridge import DialectBridge, like, used

ENVIRONMENT = "sqlalchemy"
NAME = "SQLAlchemy"
VERSION = environments.version_of(ENVIRONMENT, "sqlalchemy-gizmosql-adbc-dialect")
_STATEMENTS = ("query", "stream", "prepare", "named", "batch", "update", "transactions", "session")
_LISTS = ("schemas", "tables", "columns", "primary_keys", "foreign_keys")
CAN = frozenset((*_STATEMENTS, *_LISTS))


def missing() -> str | None:
    """Why SQLAlchemy with its dialect cannot be had here."""
    return environments.missing(ENVIRONMENT)


def connect(login: Login, folder: Path) -> SqlAlchemyClient:
    """A connection of an engine of its own."""
    return SqlAlchemyClient(login, folder)


class SqlAlchemyClient:
    """See ``client.Client``. The inspector lists one catalogue, the session's; patterns are matched here."""

    name = NAME
    can = CAN

    def __init__(self, login: Login, folder: Path) -> None:
        self.bridge = DialectBridge(ENVIRONMENT, "sqlalchemy_bridge", folder)
        self.bridge.connect(login)

    def close(self) -> None:
        self.bridge.close()

    def query(self, sql: str, parameters: Sequence[Any] = (), named: Mapping[str, Any] | None = None) -> Result:
        return self.bridge.result("query", sql=sql, parameters=list(parameters), named=named)

    def count(self, sql: str) -> int:
        return int(self.bridge.ask("count", sql=sql))

    def update(self, sql: str, rows: Sequence[Sequence[Any]] = ()) -> int:
        return int(self.bridge.ask("update", sql=sql, rows=[list(row) for row in rows]))

    def schemas(self, catalog: str | None = None, pattern: str | None = None) -> tuple[tuple[str, str], ...]:
        found = []
        for one in self._catalogs() if catalog is None else (catalog,):
            self._in(one)
            found += [(one, name) for name in self.bridge.ask("schemas") if like(pattern, name)]
        return tuple(found)

    def tables(
        self,
        catalog: str | None = None,
        schema: str | None = None,
        table: str | None = None,
        types: Sequence[str] = (),
    ) -> tuple[tuple[str, str, str, str], ...]:
        found = []
        for current, name in self.schemas(catalog, schema):
            self._in(current)
            listed: Mapping[str, Sequence[str]] = self.bridge.ask("tables", schema=name)
            found += [(current, name, one, kind) for kind, names in listed.items() for one in names if like(table, one)]
        return tuple(one for one in found if not types or one[3] in types)

    def columns(self, catalog: str, schema: str, table: str) -> tuple[Mapping[str, Any], ...]:
        self._in(catalog)
        return tuple(self.bridge.ask("columns", schema=schema, table=table))

    def primary_keys(self, catalog: str, schema: str, table: str) -> tuple[str, ...]:
        self._in(catalog)
        return tuple(self.bridge.ask("primary_keys", schema=schema, table=table))

    def foreign_keys(self, catalog: str, schema: str, table: str) -> int:
        self._in(catalog)
        return int(self.bridge.ask("foreign_keys", schema=schema, table=table))

    def begin(self) -> None:
        self.bridge.ask("begin")

    def commit(self) -> None:
        self.bridge.ask("commit")

    def rollback(self) -> None:
        self.bridge.ask("rollback")

    def set_session(self, catalog: str | None = None, schema: str | None = None) -> None:
        self.query(used(catalog, schema))

    def session(self) -> tuple[str | None, str | None]:
        ((catalog, schema),) = self.query("SELECT current_catalog(), current_schema()").rows
        return catalog, schema

    def _catalogs(self) -> list[str]:
        """The inspector lists no catalogues; its users ask by a statement, and look into one after the other."""
        return [row[0] for row in self.query("SELECT DISTINCT table_catalog FROM information_schema.tables").rows]

    def _in(self, catalog: str) -> None:
        """The catalogue is the session's from now on."""
        if self.session()[0] != catalog:
            self.set_session(catalog)

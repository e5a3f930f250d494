"""Apache Superset through the GizmoSQL dialect made for it, in an environment with the versions that it pins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.wire.client import Login, Result
from tests.wire.dialects import environments
from tests.wire.dialects.bridge import DialectBridge, like
from tests.wire.dialects.pages import snippets

ENVIRONMENT = "superset"
NAME = "Superset"
VERSION = environments.version_of(ENVIRONMENT, "apache_superset")
CAN = frozenset(["query", "schemas", "tables", "columns"])


def missing() -> str | None:
    """Why Superset with its dialect cannot be had here."""
    return environments.missing(ENVIRONMENT)


def connect(login: Login, folder: Path) -> SupersetClient:
    """An application of its own, whose metadata lie in the folder, with the server as its one database."""
    return SupersetClient(login, folder)


class SupersetClient:
    """See ``client.Client``. Superset browses one catalogue, that of the database's URL; patterns are matched here."""

    name = NAME
    can = CAN

    def __init__(self, login: Login, folder: Path) -> None:
        home = folder / "superset"
        home.mkdir()
        (configuration,) = snippets("superset.md")
        (home / "superset_config.py").write_text(configuration.code)
        self.catalog = login.options.get("catalog", "")
        self.bridge = DialectBridge(ENVIRONMENT, "superset_bridge", folder, SUPERSET_HOME=str(home))
        self.bridge.connect(login)

    def close(self) -> None:
        self.bridge.close()

    def query(self, sql: str, parameters: Sequence[Any] = (), named: Mapping[str, Any] | None = None) -> Result:
        assert not parameters, "SQL Lab has no parameters"
        assert not named, "SQL Lab has no parameters"
        return self.bridge.result("query", sql=sql)

    def schemas(self, catalog: str | None = None, pattern: str | None = None) -> tuple[tuple[str, str], ...]:
        assert catalog in (None, self.catalog), "another catalogue is another database of Superset's"
        return tuple((self.catalog, name) for name in self.bridge.ask("schemas") if like(pattern, name))

    def tables(
        self,
        catalog: str | None = None,
        schema: str | None = None,
        table: str | None = None,
        types: Sequence[str] = (),
    ) -> tuple[tuple[str, str, str, str], ...]:
        found = []
        for current, name in self.schemas(catalog, schema):
            listed: Mapping[str, Sequence[str]] = self.bridge.ask("tables", schema=name)
            found += [(current, name, one, kind) for kind, names in listed.items() for one in names if like(table, one)]
        return tuple(one for one in found if not types or one[3] in types)

    def columns(self, catalog: str, schema: str, table: str) -> tuple[Mapping[str, Any], ...]:
        return tuple(self.bridge.ask("columns", schema=schema, table=table))

    def chart(self, schema: str, table: str, by: str, measure: str, grain: str | None = None) -> Result:
        """The rows of a chart: a measure by a column, cut into grains of time where one is given."""
        return self.bridge.result("chart", schema=schema, table=table, by=by, measure=measure, grain=grain)

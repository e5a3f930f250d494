"""Apache Superset without its web pages, driven by lines of JSON: SQL Lab, the browser of tables, datasets and charts
by the functions that its pages call. Runs in an environment of its own. The folder that SUPERSET_HOME names holds the
configuration that docs/clients/superset.md asks for, and gets the metadata, in SQLite.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.wire import values
from tests.wire.dialects import lines

_HOME = Path(os.environ["SUPERSET_HOME"])
_CONFIGURATION = f"""
SECRET_KEY = "for one test of one machine"
SQLALCHEMY_DATABASE_URI = "sqlite:///{_HOME}/superset.db"
WTF_CSRF_ENABLED = False
TALISMAN_ENABLED = False
RATELIMIT_ENABLED = False
"""
_USER = "admin"


class SupersetBridge:
    """One application with one database of the server's in it."""

    _database: Any  # Superset is not known to the environment of the checks

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        configuration = _HOME / "superset_config.py"
        with configuration.open("a") as lines_of_the_page:
            lines_of_the_page.write(_CONFIGURATION)
        os.environ["SUPERSET_CONFIG_PATH"] = str(configuration)
        from superset.app import create_app  # type: ignore[import-not-found,unused-ignore]

        self._app = create_app()
        self._app.test_request_context().push()
        from flask import g  # type: ignore[import-not-found,unused-ignore]
        from flask_appbuilder import Model  # type: ignore[import-not-found,unused-ignore]
        from superset import db, security_manager  # type: ignore[import-not-found,unused-ignore]

        # Migrations would take a minute to come to the same tables.
        Model.metadata.create_all(db.engine)
        security_manager.add_role("Admin")
        g.user = security_manager.add_user(
            _USER, "A", "User", "admin@example.org", security_manager.find_role("Admin"), password="admin"
        )

    def connect(
        self, uri: str, user: str | None, password: str | None, token: str | None, options: Mapping[str, str]
    ) -> None:
        from superset import db
        from superset.models.core import Database  # type: ignore[import-not-found,unused-ignore]

        assert token is None, "the dialect has no place for a token"
        who = f"{user}:{password}@" if user else ""
        self._database = Database(database_name="flightmesh", expose_in_sqllab=True)
        address = f"gizmosql://{who}{uri.removeprefix('grpc://')}?{urlencode(options)}"
        self._database.set_sqlalchemy_uri(address)
        db.session.add(self._database)
        db.session.commit()

    def close(self) -> None:
        """The process's end closes all: each statement had a connection of its own."""

    def query(self, sql: str, schema: str | None = None) -> Mapping[str, Any]:
        """The rows of a statement as SQL Lab runs it."""
        from superset import db
        from superset.models.sql_lab import Query  # type: ignore[import-not-found,unused-ignore]
        from superset.sql_lab import execute_sql_statements  # type: ignore[import-not-found,unused-ignore]

        number = next(self._numbers)
        query = Query(
            client_id=f"q{number}",
            database_id=self._database.id,
            sql=sql,
            schema=schema,
            limit=100_000,
            status="pending",
        )
        db.session.add(query)
        db.session.commit()
        done = execute_sql_statements(query.id, sql, True, False, None, False, None)
        if done["status"] != "success":
            raise RefusedError(done.get("error", str(done)))
        columns = tuple(column["column_name"] for column in done["columns"])
        rows = [tuple(row[name] for name in columns) for row in done["data"]]
        shown = values.of_rows(columns, rows)
        return {"columns": shown.columns, "rows": shown.rows}

    def schemas(self) -> Sequence[str]:
        return sorted(self._database.get_all_schema_names())

    def tables(self, schema: str) -> Mapping[str, Sequence[str]]:
        tables = self._database.get_all_table_names_in_schema(catalog=None, schema=schema)
        views = self._database.get_all_view_names_in_schema(catalog=None, schema=schema)
        return {kind: sorted(one[0] for one in found) for kind, found in (("TABLE", tables), ("VIEW", views))}

    def columns(self, schema: str, table: str) -> Sequence[Mapping[str, Any]]:
        from superset.sql.parse import Table  # type: ignore[import-not-found,unused-ignore]

        found = self._database.get_columns(Table(table, schema))
        return [
            {"name": one["column_name"], "type_name": str(one["type"]), "nullable": one.get("nullable", True)}
            for one in found
        ]

    def chart(self, schema: str, table: str, by: str, measure: str, grain: str | None) -> Mapping[str, Any]:
        """The rows of a chart over a dataset of the table: a measure by a column, the largest first; with a grain of
        time, the column is the chart's axis.
        """
        from superset.common.query_context_factory import (  # type: ignore[import-not-found,unused-ignore]
            QueryContextFactory,
        )

        metric = {"expressionType": "SQL", "sqlExpression": measure, "label": "measure"}
        axis = {
            "columnType": "BASE_AXIS",
            "expressionType": "SQL",
            "sqlExpression": by,
            "label": by,
            "timeGrain": grain,
        }
        asked = {
            "columns": [by if grain is None else axis],
            "metrics": [metric],
            "filters": [{"col": by, "op": "IS NOT NULL"}],
            "orderby": [[metric, False]],
            "row_limit": 100,
        }
        dataset = self._dataset(schema, table)
        context = QueryContextFactory().create(datasource={"type": "table", "id": dataset.id}, queries=[asked])
        (payload,) = context.get_payload(force_cached=False)["queries"]
        if payload["error"]:
            raise RefusedError(payload["error"])
        rows = [(row[by], row["measure"]) for row in payload["data"]]
        return {"columns": (by, "measure"), "rows": values.of_rows((), rows).rows}

    def _dataset(self, schema: str, table: str) -> Any:
        from superset import db
        from superset.connectors.sqla.models import SqlaTable  # type: ignore[import-not-found,unused-ignore]

        dataset = SqlaTable(table_name=table, schema=schema, database=self._database)
        db.session.add(dataset)
        db.session.flush()
        dataset.fetch_metadata()
        return dataset


class RefusedError(Exception):
    """What Superset shows to its user in place of rows."""


if __name__ == "__main__":
    import sqlalchemy as sa  # type: ignore[import-not-found,unused-ignore]
    from superset.exceptions import SupersetException  # type: ignore[import-not-found,unused-ignore]

    lines.answer(SupersetBridge, (RefusedError, SupersetException, sa.exc.DBAPIError))

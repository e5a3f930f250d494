"""Ibis with the published GizmoSQL backend, driven by lines of JSON. Runs in the backend's own environment."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlparse

import ibis  # type: ignore[import-not-found,unused-ignore]  # another environment's
import pyarrow as pa
from adbc_driver_gizmosql import dbapi  # type: ignore[import-not-found,unused-ignore]
from adbc_driver_manager import Error

from tests.wire import values
from tests.wire.client import Result
from tests.wire.dialects import lines

_HEADER = "adbc.flight.sql.rpc.call_header."


class IbisBridge:
    """One backend, which is one connection of its driver."""

    _backend: Any  # not known to the environment of the checks

    def connect(
        self, uri: str, user: str | None, password: str | None, token: str | None, options: Mapping[str, str]
    ) -> None:
        if token is None and not options:
            place = urlparse(uri)
            self._backend = ibis.gizmosql.connect(host=place.hostname, port=place.port, user=user, password=password)
            return
        # connect() has no place for a token or a header, and passes over its own arguments database and schema.
        headers = {_HEADER + name: value for name, value in options.items()}
        if token is not None:
            headers["adbc.flight.sql.authorization_header"] = f"Bearer {token}"
        connection = dbapi.connect(uri, username=user, password=password, db_kwargs=headers)
        self._backend = ibis.gizmosql.from_connection(connection)

    def close(self) -> None:
        self._backend.con.close()

    def query(self, sql: str, parameters: Sequence[Any], named: Mapping[str, Any] | None) -> Mapping[str, Any]:
        # By name only Arrow can be bound: the driver lacks the option that a mapping of Python's needs.
        bound = pa.record_batch({name: [value] for name, value in named.items()}) if named else list(parameters)
        with self._backend.raw_sql(sql, parameters=bound) as cursor:
            return _shown(values.of_table(cursor.fetch_arrow_table())) if cursor.description else _shown(Result((), ()))

    def count(self, sql: str) -> int:
        return sum(batch.num_rows for batch in self._backend.sql(sql).to_pyarrow_batches())

    def update(self, sql: str, parameters: Sequence[Any]) -> int:
        with self._backend.raw_sql(sql, parameters=list(parameters) or None) as cursor:
            return int(cursor.rowcount)

    def columns_of(self, sql: str) -> Sequence[str]:
        return list(self._backend.sql(sql).columns)

    def catalogs(self) -> Sequence[str]:
        return list(self._backend.list_catalogs())

    def schemas(self, catalog: str) -> Sequence[str]:
        return list(self._backend.list_databases(catalog=catalog))

    def tables(self, catalog: str, schema: str) -> Sequence[str]:
        return list(self._backend.list_tables(database=(catalog, schema)))

    def columns(self, catalog: str, schema: str, table: str) -> Sequence[Mapping[str, Any]]:
        found = self._backend.table(table, database=(catalog, schema)).schema()
        return [{"name": name, "nullable": kind.nullable} for name, kind in found.items()]

    def session(self) -> Sequence[str]:
        return self._backend.current_catalog, self._backend.current_database

    def version(self) -> str:
        return str(self._backend.version)

    def ingest(self, table: str, data: str, mode: str, temporary: bool) -> int:
        with self._backend.con.cursor() as cursor:
            return int(cursor.adbc_ingest(table, _table(data), mode=mode, temporary=temporary))

    # What users write instead of SQL ----------------------------------------------------------------------------------

    def counted_by(self, catalog: str, schema: str, table: str, column: str) -> Mapping[str, Any]:
        """The rows of a table per value of a column."""
        by = self._backend.table(table, database=(catalog, schema)).group_by(column)
        return _shown(values.of_table(by.agg(rows=ibis._.count()).order_by(column).to_pyarrow()))

    def older_than(self, catalog: str, schema: str, table: str, column: str, bound: int) -> int:
        """The rows whose column is greater than an Ibis parameter, counted by way of pandas."""
        asked, given = self._backend.table(table, database=(catalog, schema)), ibis.param("int64")
        return int(asked.filter(asked[column] > given).count().execute(params={given: bound}))

    def own_table(self, name: str, columns: Mapping[str, str], source: Sequence[str]) -> int:
        """Makes a temporary table twice, empty and from a query over a table of the server: the rows of the second."""
        self._backend.create_table(name, schema=dict(columns), temp=True)
        catalog, schema, table = source
        rows = self._backend.table(table, database=(catalog, schema)).select(*columns)
        made = self._backend.create_table(name, rows, temp=True, overwrite=True)
        counted = int(made.count().execute())
        self._backend.drop_table(name, database=("temp", "main"))
        return counted

    def joined(self, catalog: str, schema: str, table: str, rows: Mapping[str, Sequence[Any]]) -> int:
        """The rows of an inner join with an in-memory table, on all of its columns."""
        own = ibis.memtable(dict(rows))
        return int(self._backend.table(table, database=(catalog, schema)).join(own, list(rows)).count().execute())

    def joined_with_own(self, catalog: str, schema: str, table: str, own: str, column: str) -> int:
        """The rows of an inner join with a temporary table."""
        other = self._backend.table(own)
        return int(self._backend.table(table, database=(catalog, schema)).join(other, column).count().execute())


def _table(data: str) -> pa.Table:
    return pa.ipc.open_stream(base64.b64decode(data)).read_all()


def _shown(result: Result) -> Mapping[str, Any]:
    return {"columns": result.columns, "rows": result.rows}


if __name__ == "__main__":
    lines.answer(IbisBridge, (Error, ibis.common.exceptions.IbisError))

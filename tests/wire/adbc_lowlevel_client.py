"""The ADBC Flight SQL driver without the database interface: handles, options, statements, as other wrappers use it.

Statements go without being prepared where they have no parameters, which the database interface never does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import adbc_driver_flightsql
import adbc_driver_manager as adbc
import pyarrow as pa

from tests.wire import adbc_client, values
from tests.wire.client import Login, Refused, Result

NAME = "ADBC (low level)"
VERSION = adbc_client.VERSION
CAN = adbc_client.CAN

_MODES = {
    "create": "adbc.ingest.mode.create",
    "append": "adbc.ingest.mode.append",
    "replace": "adbc.ingest.mode.replace",
    "create_append": "adbc.ingest.mode.create_append",
}
_CATALOG, _SCHEMA = adbc.ConnectionOptions.CURRENT_CATALOG.value, adbc.ConnectionOptions.CURRENT_DB_SCHEMA.value
# What GetInfo numbers the vendor's name and version.
_VENDOR_NAME, _VENDOR_VERSION = 0, 1


def missing() -> str | None:
    """Nothing: the driver manager is one of the server's own dependencies."""
    return None


def connect(login: Login, folder: Path) -> LowLevelClient:
    """A connection that has signed in."""
    return LowLevelClient(login)


class LowLevelClient:
    """See ``client.Client``."""

    name = NAME
    can = CAN

    def __init__(self, login: Login) -> None:
        with adbc_client.told():
            self._database = adbc_driver_flightsql.connect(login.uri, db_kwargs=adbc_client.options_of(login))
            self._connection = adbc.AdbcConnection(self._database)

    def close(self) -> None:
        self._connection.close()
        self._database.close()

    # Statements -------------------------------------------------------------------------------------------------------

    def query(self, sql: str, parameters: Sequence[Any] = (), named: Mapping[str, Any] | None = None) -> Result:
        given = named or {str(number): value for number, value in enumerate(parameters, start=1)}
        with self._statement(sql) as statement:
            if given:
                statement.prepare()
                statement.bind(pa.record_batch({name: [value] for name, value in given.items()}))
            return values.of_table(_reader(statement.execute_query()[0]).read_all())

    def count(self, sql: str) -> int:
        with self._statement(sql) as statement:
            return sum(batch.num_rows for batch in _reader(statement.execute_query()[0]))

    def update(self, sql: str, rows: Sequence[Sequence[Any]] = ()) -> int:
        with self._statement(sql) as statement:
            if rows:
                statement.prepare()
                columns = [pa.array(list(column)) for column in zip(*rows, strict=True)]
                statement.bind(pa.record_batch(columns, names=list(map(str, range(len(columns))))))
            return int(statement.execute_update())

    def columns_of(self, sql: str) -> tuple[str, ...]:
        with self._statement(sql) as statement:
            return tuple(pa.schema(statement.execute_schema()).names)

    def parameter_types(self, sql: str) -> tuple[str, ...]:
        with self._statement(sql) as statement:
            statement.prepare()
            return tuple(map(str, pa.schema(statement.get_parameter_schema()).types))

    def cancel_running(self, sql: str) -> float:
        with self._statement(sql) as statement:
            return adbc_client.cancelled(lambda: _reader(statement.execute_query()[0]).read_all(), statement.cancel)

    def partitions(self, sql: str) -> Result:
        with self._statement(sql) as statement:
            parts = statement.execute_partitions()[0]
            return values.of_table(
                pa.concat_tables(_reader(self._connection.read_partition(part)).read_all() for part in parts)
            )

    # Metadata ---------------------------------------------------------------------------------------------------------

    def catalogs(self) -> tuple[str, ...]:
        return adbc_client.catalogs(self._objects(adbc.GetObjectsDepth.CATALOGS))

    def schemas(self, catalog: str | None = None, pattern: str | None = None) -> tuple[tuple[str, str], ...]:
        return adbc_client.schemas(self._objects(adbc.GetObjectsDepth.DB_SCHEMAS, catalog=catalog, db_schema=pattern))

    def tables(
        self,
        catalog: str | None = None,
        schema: str | None = None,
        table: str | None = None,
        types: Sequence[str] = (),
    ) -> tuple[tuple[str, str, str, str], ...]:
        filters = {"catalog": catalog, "db_schema": schema, "table_name": table, "table_types": list(types) or None}
        return adbc_client.tables(self._objects(adbc.GetObjectsDepth.TABLES, **filters))

    def columns(self, catalog: str, schema: str, table: str) -> tuple[Mapping[str, Any], ...]:
        filters = {"catalog": catalog, "db_schema": schema, "table_name": table}
        return adbc_client.columns(self._objects(adbc.GetObjectsDepth.ALL, **filters))

    def table_types(self) -> tuple[str, ...]:
        with adbc_client.told():
            return tuple(_reader(self._connection.get_table_types()).read_all()["table_type"].to_pylist())

    def info(self) -> Mapping[str, Any]:
        with adbc_client.told():
            rows = _reader(self._connection.get_info()).read_all().to_pylist()
        known = {row["info_name"]: row["info_value"] for row in rows}
        return {"name": known[_VENDOR_NAME], "version": known[_VENDOR_VERSION]}

    # Sessions, transactions, own rows ---------------------------------------------------------------------------------

    def ingest(self, table: str, data: pa.Table, mode: str, *, temporary: bool = True) -> int:
        options = {
            adbc.StatementOptions.INGEST_TARGET_TABLE.value: table,
            adbc.StatementOptions.INGEST_MODE.value: _MODES[mode],
            adbc.StatementOptions.INGEST_TEMPORARY.value: "true" if temporary else "false",
        }
        with self._statement() as statement:
            statement.set_options(**options)
            statement.bind_stream(data.to_reader())
            return int(statement.execute_update())

    def begin(self) -> None:
        with adbc_client.told():
            self._connection.set_autocommit(False)

    def commit(self) -> None:
        self._end(self._connection.commit)

    def rollback(self) -> None:
        self._end(self._connection.rollback)

    def _end(self, how: Any) -> None:  # Any: a method of the driver's, untyped
        with adbc_client.told():
            how()
            self._connection.set_autocommit(True)

    def set_session(self, catalog: str | None = None, schema: str | None = None) -> None:
        with adbc_client.told():
            for option, value in ((_CATALOG, catalog), (_SCHEMA, schema)):
                if value is not None:
                    self._connection.set_options(**{option: value})

    def session(self) -> tuple[str | None, str | None]:
        with adbc_client.told():
            return self._connection.get_option(_CATALOG) or None, self._connection.get_option(_SCHEMA) or None

    # The calls beneath ------------------------------------------------------------------------------------------------

    @contextmanager
    def _statement(self, sql: str | None = None) -> Iterator[adbc.AdbcStatement]:
        with adbc_client.told(), closing(adbc.AdbcStatement(self._connection)) as statement:
            if sql is not None:
                statement.set_sql_query(sql)
            try:
                yield statement
            except pa.ArrowException as error:  # Errors within a stream come as Arrow's own.
                raise Refused(str(error)) from error

    def _objects(self, depth: adbc.GetObjectsDepth, **filters: Any) -> list[dict[str, Any]]:
        with adbc_client.told():
            rows: list[dict[str, Any]] = _reader(self._connection.get_objects(depth, **filters)).read_all().to_pylist()
        return rows


def _reader(handle: Any) -> pa.RecordBatchReader:  # Any: the driver's handle of a C stream
    return pa.RecordBatchReader.from_stream(handle)

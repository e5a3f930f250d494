"""The ADBC Flight SQL driver through Python's database interface, ``adbc_driver_flightsql.dbapi``."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
from adbc_driver_flightsql import DatabaseOptions, dbapi

from tests.wire import values
from tests.wire.client import FEATURES, Login, Refused, Result

NAME = "ADBC (dbapi)"
VERSION = version("adbc-driver-flightsql")
CAN = frozenset(FEATURES) - {"primary_keys", "foreign_keys", "type_info"} | {"arrow"}


def missing() -> str | None:
    """Nothing: the driver is one of the server's own dependencies."""
    return None


def connect(login: Login, folder: Path) -> AdbcClient:
    """A connection that has signed in."""
    return AdbcClient(login)


def options_of(login: Login) -> dict[str, str]:
    """The driver's options for the login: cookies on, as a session without a token needs."""
    options = {DatabaseOptions.WITH_COOKIE_MIDDLEWARE.value: "true"}
    if login.token is not None:
        options[DatabaseOptions.AUTHORIZATION_HEADER.value] = f"Bearer {login.token}"
    elif login.user is not None:
        options |= {"username": login.user, "password": login.password or ""}
    prefix = DatabaseOptions.RPC_CALL_HEADER_PREFIX.value
    return options | {prefix + name: value for name, value in login.options.items()}


def dialled(login: Login) -> dbapi.Connection:
    """A connection of the stock driver that commits each statement by itself."""
    with told():
        return dbapi.connect(login.uri, db_kwargs=options_of(login), autocommit=True)


@contextmanager
def told() -> Iterator[None]:
    """The server's refusals as ``Refused``."""
    try:
        yield
    except dbapi.Error as error:
        raise Refused(str(error)) from error


class AdbcClient:
    """See ``client.Client``."""

    name = NAME
    can = CAN

    def __init__(self, login: Login) -> None:
        self._connection = dialled(login)

    def close(self) -> None:
        self._connection.close()

    # Statements -------------------------------------------------------------------------------------------------------

    def query(self, sql: str, parameters: Sequence[Any] = (), named: Mapping[str, Any] | None = None) -> Result:
        # By name only Arrow can be bound: the driver lacks the option that a mapping of Python's needs.
        bound = pa.record_batch({name: [value] for name, value in named.items()}) if named else list(parameters)
        with self._cursor() as cursor:
            cursor.execute(sql, bound)
            columns = tuple(column[0] for column in cursor.description or ())
            return values.of_rows(columns, cursor.fetchall())

    def count(self, sql: str) -> int:
        with self._cursor() as cursor:
            cursor.execute(sql)
            return sum(batch.num_rows for batch in cursor.fetch_record_batch())

    def update(self, sql: str, rows: Sequence[Sequence[Any]] = ()) -> int:
        with self._cursor() as cursor:
            cursor.executemany(sql, rows or None)
            return int(cursor.rowcount)

    def execute(self, sql: str) -> None:
        """Runs a statement of any kind, with the call that users have for all of them."""
        with self._cursor() as cursor:
            cursor.execute(sql)

    def columns_of(self, sql: str) -> tuple[str, ...]:
        with self._cursor() as cursor:
            return tuple(cursor.adbc_execute_schema(sql).names)

    def parameter_types(self, sql: str) -> tuple[str, ...]:
        with self._cursor() as cursor:
            schema = cursor.adbc_prepare(sql)
            return () if schema is None else tuple(map(str, schema.types))

    def cancel_running(self, sql: str) -> float:
        with self._cursor() as cursor:
            return cancelled(lambda: cursor.execute(sql).fetchall(), cursor.adbc_cancel)

    def partitions(self, sql: str) -> Result:
        with self._cursor() as cursor:
            parts, schema = cursor.adbc_execute_partitions(sql)
            tables = []
            for part in parts:
                cursor.adbc_read_partition(part)
                tables.append(cursor.fetch_arrow_table())
            return values.of_table(pa.concat_tables(tables) if tables else schema.empty_table())

    # Metadata ---------------------------------------------------------------------------------------------------------

    def catalogs(self) -> tuple[str, ...]:
        return catalogs(self._objects(depth="catalogs"))

    def schemas(self, catalog: str | None = None, pattern: str | None = None) -> tuple[tuple[str, str], ...]:
        return schemas(self._objects(depth="db_schemas", catalog_filter=catalog, db_schema_filter=pattern))

    def tables(
        self,
        catalog: str | None = None,
        schema: str | None = None,
        table: str | None = None,
        types: Sequence[str] = (),
    ) -> tuple[tuple[str, str, str, str], ...]:
        filters = {"catalog_filter": catalog, "db_schema_filter": schema, "table_name_filter": table}
        return tables(self._objects(depth="tables", table_types_filter=list(types) or None, **filters))

    def columns(self, catalog: str, schema: str, table: str) -> tuple[Mapping[str, Any], ...]:
        filters = {"catalog_filter": catalog, "db_schema_filter": schema, "table_name_filter": table}
        return columns(self._objects(depth="all", **filters))

    def table_types(self) -> tuple[str, ...]:
        with told():
            return tuple(self._connection.adbc_get_table_types())

    def info(self) -> Mapping[str, Any]:
        with told():
            info = self._connection.adbc_get_info()
        return {"name": info["vendor_name"], "version": info["vendor_version"]}

    def table_schema(self, catalog: str, schema: str, table: str) -> tuple[str, ...]:
        """The columns of one table, by the driver's call for that."""
        with told():
            found = self._connection.adbc_get_table_schema(table, catalog_filter=catalog, db_schema_filter=schema)
        return tuple(found.names)

    # Sessions, transactions, own rows ---------------------------------------------------------------------------------

    def ingest(self, table: str, data: pa.Table, mode: str, *, temporary: bool = True) -> int:
        with self._cursor() as cursor:
            # The driver's own words for the modes are those of client.py.
            return int(cursor.adbc_ingest(table, data, mode=mode, temporary=temporary))  # type: ignore[arg-type]

    def begin(self) -> None:
        with told():
            self._connection.adbc_connection.set_autocommit(False)

    def commit(self) -> None:
        # The connection's own commit and rollback do nothing where it was opened with autocommit.
        self._end(self._connection.adbc_connection.commit)

    def rollback(self) -> None:
        self._end(self._connection.adbc_connection.rollback)

    def _end(self, how: Any) -> None:  # Any: a bound method of the driver, untyped
        with told():
            how()
            self._connection.adbc_connection.set_autocommit(True)

    def set_session(self, catalog: str | None = None, schema: str | None = None) -> None:
        with told():
            if catalog is not None:
                self._connection.adbc_current_catalog = catalog
            if schema is not None:
                self._connection.adbc_current_db_schema = schema

    def session(self) -> tuple[str | None, str | None]:
        with told():
            return self._connection.adbc_current_catalog or None, self._connection.adbc_current_db_schema or None

    # The calls beneath ------------------------------------------------------------------------------------------------

    @contextmanager
    def _cursor(self) -> Iterator[dbapi.Cursor]:
        with told(), self._connection.cursor() as cursor:
            yield cursor

    def _objects(self, **filters: Any) -> list[dict[str, Any]]:  # Any: the driver's own filters and rows
        with told():
            rows: list[dict[str, Any]] = self._connection.adbc_get_objects(**filters).read_all().to_pylist()
        return rows


def cancelled(run: Any, cancel: Any, *, after_s: float = 0.5) -> float:  # Any: calls of a driver, untyped
    """Seconds from the cancel to the error of the call that runs in this thread."""
    at: list[float] = []

    def later() -> None:
        time.sleep(after_s)
        at.append(time.monotonic())
        cancel()

    thread = threading.Thread(target=later, daemon=True)
    thread.start()
    ended = _error_of(run)
    at_end = time.monotonic()
    thread.join(30)
    assert ended is not None, "the cancelled statement ended by itself"
    assert at, f"failed before it was cancelled: {ended}"
    return at_end - at[0]


def _error_of(run: Any) -> str | None:  # Any: a call of a driver, untyped
    try:
        run()
    except (dbapi.Error, pa.ArrowException, OSError) as error:  # Errors within a stream come as Arrow's own.
        return str(error)
    return None


# What the driver's tree of objects holds ------------------------------------------------------------------------------


def catalogs(objects: list[dict[str, Any]]) -> tuple[str, ...]:
    """The names of the catalogues."""
    return tuple(each["catalog_name"] for each in objects)


def schemas(objects: list[dict[str, Any]]) -> tuple[tuple[str, str], ...]:
    """Catalogue and schema of every schema."""
    return tuple(
        (each["catalog_name"], schema["db_schema_name"])
        for each in objects
        for schema in each["catalog_db_schemas"] or ()
    )


def tables(objects: list[dict[str, Any]]) -> tuple[tuple[str, str, str, str], ...]:
    """Catalogue, schema, name and type of every table."""
    return tuple(
        (each["catalog_name"], schema["db_schema_name"], table["table_name"], table["table_type"])
        for each in objects
        for schema in each["catalog_db_schemas"] or ()
        for table in schema["db_schema_tables"] or ()
    )


def columns(objects: list[dict[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """What is told of every column."""
    return tuple(
        _column(column)
        for each in objects
        for schema in each["catalog_db_schemas"] or ()
        for table in schema["db_schema_tables"] or ()
        for column in table["table_columns"] or ()
    )


def _column(told_of: Mapping[str, Any]) -> Mapping[str, Any]:
    names = {
        "type_name": told_of["xdbc_type_name"],
        "size": told_of["xdbc_column_size"],
        "nullable": {"YES": True, "NO": False}.get(told_of["xdbc_is_nullable"] or ""),
        "remarks": told_of["remarks"],
    }
    return {"name": told_of["column_name"], **{name: value for name, value in names.items() if value is not None}}

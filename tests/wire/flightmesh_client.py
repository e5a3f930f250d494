"""Our own Python client, ``flightmesh.connect``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

import flightmesh
from flightmesh.client import Port
from flightmesh.errors import FlightmeshError
from tests.wire import values
from tests.wire.client import Login, Refused, Result

NAME = "flightmesh"
VERSION = flightmesh.__version__
CAN = frozenset(
    {
        *("query", "stream", "prepare", "named", "schema", "catalogs", "columns", "primary_keys"),
        *("update", "ingest", "arrow", "transactions"),
    }
)


def missing() -> str | None:
    """Nothing: it is the package itself."""
    return None


def connect(login: Login, folder: Path) -> FlightmeshClient:
    """A connection; the first call signs in."""
    return FlightmeshClient(login)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except FlightmeshError as error:
        raise Refused(f"{error.code.value}: {error.message} {error.hint or ''}".strip()) from error


class FlightmeshClient:
    """See ``client.Client``."""

    name = NAME
    can = CAN

    def __init__(self, login: Login) -> None:
        self._client = flightmesh.connect(login.uri, login.token, user=login.user, password=login.password)

    def close(self) -> None:
        self._client.close()

    def query(self, sql: str, parameters: Sequence[Any] = (), named: Mapping[str, Any] | None = None) -> Result:
        with _told():
            return values.of_table(self._client.sql(sql, named or list(parameters) or None).arrow())

    def count(self, sql: str) -> int:
        with _told():
            return sum(batch.num_rows for batch in self._client.sql(sql).reader())

    def columns_of(self, sql: str) -> tuple[str, ...]:
        with _told():
            return tuple(self._client.sql(sql).schema.names)

    def update(self, sql: str, rows: Sequence[Sequence[Any]] = ()) -> int:
        with _told():
            return self._client.execute(sql, list(rows[0]) if rows else None)

    def ingest(self, table: str, data: pa.Table, mode: Any, *, temporary: bool = True) -> int:
        assert temporary, "its API brings temporary tables only"
        with _told():
            return self._client.upload(table, data, mode)

    def begin(self) -> None:
        self.update("BEGIN")

    def commit(self) -> None:
        self.update("COMMIT")

    def rollback(self) -> None:
        self.update("ROLLBACK")

    def catalogs(self) -> tuple[str, ...]:
        with _told():
            return tuple(sorted({product.name.partition(".")[0] for product in self._client.products()}))

    def columns(self, catalog: str, schema: str, table: str) -> tuple[Mapping[str, Any], ...]:
        return tuple(
            {"name": column.name, "type_name": column.type, "nullable": column.nullable, "remarks": column.description}
            for column in self._port(catalog, schema, table).columns
        )

    def primary_keys(self, catalog: str, schema: str, table: str) -> tuple[str, ...]:
        return tuple(self._port(catalog, schema, table).primary_key)

    def _port(self, catalog: str, schema: str, table: str) -> Port:
        with _told():
            ports = [port for product in self._client.products() for port in product.ports]
        return next(port for port in ports if port.table == f"{catalog}.{schema}.{table}")

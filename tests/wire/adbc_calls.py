"""What the tests of the stock ADBC driver say again and again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import adbc_driver_flightsql
import adbc_driver_manager as manager
import pyarrow as pa
import pytest
from adbc_driver_flightsql import dbapi

if TYPE_CHECKING:
    from tests.conftest import ServedBy


@contextmanager
def low_level(server: ServedBy) -> Iterator[manager.AdbcConnection]:
    """An analyst's connection without the database interface."""
    options = {"adbc.flight.sql.authorization_header": f"Bearer {server.tokens['analyst']}"}
    with (
        closing(adbc_driver_flightsql.connect(server.uri, db_kwargs=options)) as database,
        closing(manager.AdbcConnection(database)) as connection,
    ):
        yield connection


def ask(connection: dbapi.Connection, sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        return cursor.execute(sql).fetchall()


def run(connection: dbapi.Connection, *statements: str) -> None:
    with connection.cursor() as cursor:
        for sql in statements:
            cursor.execute(sql)


def read(handle: Any) -> pa.RecordBatchReader:  # Any: the driver's handle of a C stream
    return pa.RecordBatchReader.from_stream(handle)


def fails(status: manager.AdbcStatusCode, match: str | None = None) -> Any:  # Any: a context manager of pytest's
    return pytest.raises(dbapi.Error, match=match, check=lambda error: error.status_code == status)

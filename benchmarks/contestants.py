"""Who takes part: every way to put a statement and get Arrow back, behind one protocol.

A contestant keeps its connection open from the start: connecting is not part of any figure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import adbc_driver_flightsql.dbapi as adbc
import duckdb
import pyarrow as pa
import pyarrow.flight as fl

from benchmarks import tpch
from benchmarks.bare_server import BATCH_ROWS
from benchmarks.flight_sql import pack
from flightmesh.client import connect

IN_PROCESS = "in-process DuckDB"
BARE_ADBC = "bare server, ADBC"
BARE_FLIGHT = "bare server, pyarrow.flight"
OURS_ADBC = "flightmesh, ADBC"
OURS_FLIGHT = "flightmesh, pyarrow.flight"
OURS_CLIENT = "flightmesh, its client"

PLAIN_NAMES = ""
PRODUCT_NAMES = f"{tpch.PRODUCT}."


class Contestant(Protocol):
    """One way to the rows. ``prefix`` stands before the name of every table in the statements that it is given."""

    name: str
    prefix: str

    def fetch(self, sql: str) -> pa.Table:
        """The whole result."""
        ...

    def first_batch(self, sql: str) -> tuple[pa.RecordBatch, Callable[[], None]]:
        """The first batch, and what gives up the rest of the result."""
        ...

    def close(self) -> None: ...


class InProcess:
    """DuckDB in this process, over native tables in memory: no wire, no server."""

    prefix = PLAIN_NAMES

    def __init__(self, name: str, connection: duckdb.DuckDBPyConnection) -> None:
        self.name = name
        self._connection = connection

    def fetch(self, sql: str) -> pa.Table:
        return self._connection.sql(sql).to_arrow_table()

    def first_batch(self, sql: str) -> tuple[pa.RecordBatch, Callable[[], None]]:
        reader = self._connection.sql(sql).to_arrow_reader(BATCH_ROWS)
        return reader.read_next_batch(), reader.close

    def close(self) -> None:
        self._connection.close()


class Adbc:
    """The stock ADBC driver for Flight SQL as its documentation uses it: a cursor for each statement."""

    def __init__(self, name: str, uri: str, *, prefix: str, token: str | None) -> None:
        self.name, self.prefix = name, prefix
        options = {} if token is None else {"adbc.flight.sql.authorization_header": f"Bearer {token}"}
        self._connection = adbc.connect(uri, db_kwargs=options, autocommit=True)

    def fetch(self, sql: str) -> pa.Table:
        with self._connection.cursor() as cursor:
            return cursor.execute(sql).fetch_arrow_table()

    def first_batch(self, sql: str) -> tuple[pa.RecordBatch, Callable[[], None]]:
        cursor = self._connection.cursor()
        return cursor.execute(sql).fetch_record_batch().read_next_batch(), cursor.close

    def close(self) -> None:
        self._connection.close()


class Flight:
    """pyarrow's Flight client: GetFlightInfo, then DoGet."""

    def __init__(self, name: str, uri: str, *, prefix: str, token: str | None) -> None:
        self.name, self.prefix = name, prefix
        headers = [] if token is None else [(b"authorization", b"Bearer " + token.encode())]
        self._options = fl.FlightCallOptions(headers=headers)
        self._client = fl.connect(uri)

    def plan(self, sql: str) -> fl.FlightInfo:
        """GetFlightInfo alone."""
        descriptor = fl.FlightDescriptor.for_command(pack("CommandStatementQuery", sql))
        return self._client.get_flight_info(descriptor, self._options)

    def fetch(self, sql: str) -> pa.Table:
        return self._stream(sql).read_all()

    def first_batch(self, sql: str) -> tuple[pa.RecordBatch, Callable[[], None]]:
        stream = self._stream(sql)
        return stream.read_chunk().data, stream.cancel

    def close(self) -> None:
        self._client.close()

    def _stream(self, sql: str) -> Any:  # Any: pyarrow ships no types
        return self._client.do_get(self.plan(sql).endpoints[0].ticket, self._options)


class Client:
    """``flightmesh.connect``."""

    prefix = PRODUCT_NAMES

    def __init__(self, name: str, uri: str, token: str) -> None:
        self.name = name
        self._client = connect(uri, token)

    def fetch(self, sql: str) -> pa.Table:
        return self._client.sql(sql).arrow()

    def first_batch(self, sql: str) -> tuple[pa.RecordBatch, Callable[[], None]]:
        reader = self._client.sql(sql).reader()
        return reader.read_next_batch(), reader.close

    def close(self) -> None:
        self._client.close()


def all_contestants(
    native: duckdb.DuckDBPyConnection, *, bare_uri: str, our_uri: str, token: str
) -> Sequence[Contestant]:
    """Everybody who takes part, connected."""
    return (
        InProcess(IN_PROCESS, native),
        Adbc(BARE_ADBC, bare_uri, prefix=PLAIN_NAMES, token=None),
        Flight(BARE_FLIGHT, bare_uri, prefix=PLAIN_NAMES, token=None),
        Adbc(OURS_ADBC, our_uri, prefix=PRODUCT_NAMES, token=token),
        Flight(OURS_FLIGHT, our_uri, prefix=PRODUCT_NAMES, token=token),
        Client(OURS_CLIENT, our_uri, token),
    )

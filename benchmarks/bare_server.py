"""The yardstick: what thirty lines of pyarrow and DuckDB do without accounts, policies, contracts or bounds.

One native in-memory DuckDB database, one endpoint for each result, DuckDB's own stream handed to gRPC. Started as a
process of its own with the folder of Parquet files; prints one JSON line when it answers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow.flight as fl

from benchmarks.flight_sql import pack, unpack

# ADBC refuses messages over 16 MiB; this many rows of lineitem are 11.
BATCH_ROWS = 65_536


def load(folder: Path) -> duckdb.DuckDBPyConnection:
    """An in-memory database with a native table for every Parquet file of the folder."""
    connection = duckdb.connect(":memory:")
    for file in sorted(folder.glob("*.parquet")):
        connection.execute(f"CREATE TABLE {file.stem} AS FROM read_parquet('{file}')")
    return connection


class BareServer(fl.FlightServerBase):  # type: ignore[misc]  # pyarrow ships no types
    """Flight SQL statements, prepared ones included, and nothing else."""

    def __init__(self, location: str, connection: duckdb.DuckDBPyConnection) -> None:
        super().__init__(location)
        self._connection = connection

    def get_flight_info(self, context: fl.ServerCallContext, descriptor: fl.FlightDescriptor) -> fl.FlightInfo:
        sql = unpack(descriptor.command)
        schema = self._connection.cursor().sql(f"FROM ({sql}) LIMIT 0").to_arrow_table().schema
        return fl.FlightInfo(schema, descriptor, [fl.FlightEndpoint(sql.encode(), [])], -1, -1)

    def do_get(self, context: fl.ServerCallContext, ticket: fl.Ticket) -> fl.RecordBatchStream:
        return fl.RecordBatchStream(self._connection.cursor().sql(ticket.ticket.decode()).to_arrow_reader(BATCH_ROWS))

    def do_action(self, context: fl.ServerCallContext, action: fl.Action) -> Iterator[bytes]:
        if action.type == "CreatePreparedStatement":  # The handle is the statement's text.
            yield pack("ActionCreatePreparedStatementResult", unpack(action.body.to_pybytes()))


if __name__ == "__main__":
    server = BareServer("grpc://127.0.0.1:0", load(Path(sys.argv[1])))
    print(json.dumps({"event": "ready", "flight": f"grpc://127.0.0.1:{server.port}"}), flush=True)
    server.serve()

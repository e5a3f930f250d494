"""A client to be killed in the middle of an upload, run as ``python sender.py URI TOKEN WAY TABLE MODE STOP END``.

Ways: ``ingest`` and ``path`` (pyarrow.flight: the ingest command, and a plain upload to a path), ``announced``
(as ``ingest``, with the count of its rows at the end), ``adbc`` (``adbc_ingest``), ``own``
(``flightmesh.connect().upload``). It sends BATCHES batches of ROWS rows; before batch STOP
(-1: before the schema; BATCHES: before it says that this was all) it tells so, and waits to be killed (``wait``) or
fails as a program does (``raise``).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl

from flightmesh.flightsql import messages as m
from flightmesh.flightsql.codec import pack

BATCHES = 5
ROWS = 2_000
SCHEMA = pa.schema([("n", pa.int64())])
VALUES = range(BATCHES * ROWS)
# A connection of ADBC's that is closed, or forgotten, closes the session with its tables.
_open: list[Any] = []
_MODES = {"create": (1, 1), "append": (2, 2), "replace": (1, 3), "create_append": (1, 2)}


def pause(end: str) -> None:
    # What was written is on its way when the end comes.
    time.sleep(0.05)
    print("reached", flush=True)
    if end == "raise":
        raise RuntimeError("the program that brings the rows has failed")
    sys.stdin.read()


def batches(stop: int, end: str) -> Iterator[pa.RecordBatch]:
    for number in range(BATCHES):
        if number == stop:
            pause(end)
        yield pa.record_batch([pa.array(VALUES[number * ROWS : (number + 1) * ROWS], pa.int64())], SCHEMA)
    if stop == BATCHES:
        pause(end)


def send(uri: str, token: str, way: str, table: str, mode: str, stop: int, end: str) -> None:
    if stop < 0:
        pause(end)
    if way == "own":
        rows = pa.RecordBatchReader.from_batches(SCHEMA, batches(stop, end))
        import flightmesh

        client = flightmesh.connect(uri, token)
        client.upload(table, rows, mode)  # type: ignore[arg-type] # as it stands on the command line
    elif way == "adbc":
        import adbc_driver_flightsql.dbapi as adbc

        rows = pa.RecordBatchReader.from_batches(SCHEMA, batches(stop, end))
        options = {"adbc.flight.sql.authorization_header": f"Bearer {token}"}
        connection = adbc.connect(uri, db_kwargs=options, autocommit=True)
        _open.append(connection)
        connection.cursor().adbc_ingest(table, rows, mode=mode, temporary=True)  # type: ignore[arg-type] # as above
    else:
        put(uri, token, way, table, mode, batches(stop, end))


def put(uri: str, token: str, way: str, table: str, mode: str, rows: Iterator[pa.RecordBatch]) -> None:
    headers = [(b"authorization", b"Bearer " + token.encode())]
    if way == "path":
        headers.append((b"x-flightmesh-put-mode", mode.encode()))
        descriptor = fl.FlightDescriptor.for_path("temp", "main", table)
    else:
        missing, exists = _MODES[mode]
        options = m.TableDefinitionOptions(m.TableNotExistOption(missing), m.TableExistsOption(exists))
        descriptor = fl.FlightDescriptor.for_command(pack(m.CommandStatementIngest(options, table, temporary=True)))
    # Not closed when the program fails: closing says to the server that this was all.
    client: Any = fl.connect(uri)
    schema = SCHEMA.with_metadata({"flightmesh:commit": "explicit"}) if way == "announced" else SCHEMA
    writer, reader = client.do_put(descriptor, schema, fl.FlightCallOptions(headers=headers))
    for batch in rows:
        writer.write_batch(batch)
    if way == "announced":
        writer.write_metadata(pa.py_buffer(json.dumps({"rows": len(VALUES)}).encode()))
    writer.done_writing()
    reader.read()
    writer.close()


def main(uri: str, token: str, way: str, table: str, mode: str, stop: str, end: str) -> None:
    try:
        send(uri, token, way, table, mode, int(stop), end)
    except Exception:
        if way == "adbc":
            os._exit(1)
        raise
    print("sent", flush=True)
    if way == "adbc":
        os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])

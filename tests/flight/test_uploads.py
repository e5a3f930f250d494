"""What clients send by DoPut: validated before anything reads a value, bounded, and whole or refused."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest

from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flight import uploads
from flightmesh.flight.watcher import Watcher
from flightmesh.flightsql import messages as m
from flightmesh.service.options import Options
from flightmesh.service.updates import Ingest

LIMITS = replace(Limits(), put_bytes_max=10_000, put_batches_max=20, parameters_rows_max=100)
ROWS = pa.record_batch({"a": [1, 2], "b": ["x", None]})
ANNOUNCED = ROWS.schema.with_metadata({uploads.COMMIT_KEY: uploads.COMMIT_EXPLICIT})


class _Uploads(fl.FlightServerBase):  # type: ignore[misc] # pyarrow has no types
    """Answers an upload with what was read of it, or with how it was refused. The descriptor's command says how it is
    read: ``parameters``, ``maybe`` (a schema may be missing) or ``rows``.
    """

    def __init__(self) -> None:
        self.watcher = Watcher(poll_s=0.01, stall_s=0.5)
        self.told: list[dict[str, Any]] = []
        self.batches = 0
        super().__init__("grpc://127.0.0.1:0")

    def do_put(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        try:
            with self.watcher.watch(context, 30) as watched:
                told = self._read(descriptor.command, context, reader, watched)
        except FlightmeshError as error:
            told = {"code": error.code.value, "text": str(error), "caused": error.__context__ is not None}
        self.told.append(told)
        writer.write(pa.py_buffer(json.dumps(told).encode()))

    def _read(self, how: bytes, context: Any, reader: Any, watched: Any) -> dict[str, Any]:
        if how != b"rows":
            batch = uploads.parameters(reader, watched, LIMITS, may_miss=how == b"maybe")
            return {"rows": batch.to_pylist(), "names": batch.schema.names}
        rows = []
        for batch in uploads.rows(reader, context, watched, LIMITS):
            self.batches += 1
            rows += batch.to_pylist()
        return {"rows": rows}


@pytest.fixture(scope="module")
def server() -> Iterator[_Uploads]:
    """Such a server."""
    with _Uploads() as server:
        yield server
        server.watcher.close()


@pytest.fixture(scope="module")
def client(server: _Uploads) -> Iterator[fl.FlightClient]:
    """A client of it."""
    with fl.connect(f"grpc://127.0.0.1:{server.port}") as client:
        yield client


def _upload(
    client: fl.FlightClient, schema: pa.Schema, *batches: pa.RecordBatch | bytes, how: str = "parameters"
) -> dict[str, Any]:
    writer, reader = client.do_put(fl.FlightDescriptor.for_command(how.encode()), schema)
    with writer:
        with suppress(fl.FlightError, OSError):  # A client that still writes after a refusal finds its stream closed.
            for batch in batches:
                if isinstance(batch, bytes):
                    writer.write_metadata(pa.py_buffer(batch))
                else:
                    writer.write_batch(batch)
        writer.done_writing()
        told: dict[str, Any] = json.loads(reader.read().to_pybytes())
    return told


# ----------------------------------------------------------------------------------------------------------- parameters


@pytest.mark.client
def test_an_upload_of_parameters_is_one_batch(client: fl.FlightClient) -> None:
    """In however many batches it comes: none, one, several, with messages of metadata alone between them."""
    assert _upload(client, ROWS.schema) == {"rows": [], "names": ["a", "b"]}
    assert _upload(client, ROWS.schema, ROWS.slice(0, 0))["rows"] == []
    assert _upload(client, ROWS.schema, ROWS)["rows"] == ROWS.to_pylist()
    twice = _upload(client, ROWS.schema, ROWS.slice(1), b"metadata", ROWS)["rows"]
    assert twice == [*ROWS.slice(1).to_pylist(), *ROWS.to_pylist()]
    assert _upload(client, pa.schema([]), how="maybe") == {"rows": [], "names": []}


@pytest.mark.client
@pytest.mark.parametrize("how", ["parameters", "rows"])
def test_a_broken_upload_is_the_clients_mistake(client: fl.FlightClient, how: str) -> None:
    """Buffers that lie crash whoever touches them: they are refused unread, and their contents are not quoted."""
    lost = pa.DictionaryArray.from_arrays(pa.array([5], pa.int8()), pa.array(["x"]), safe=False)
    for broken in (pa.record_batch({"a": pa.array([b"\xff\xfe"]).view(pa.string())}), pa.record_batch({"a": lost})):
        told = _upload(client, broken.schema, broken, how=how)
        assert (told["code"], told["text"], told["caused"]) == (
            "invalid",
            "The upload is no valid stream of Arrow record batches.",
            False,
        )


@pytest.mark.client
def test_an_upload_of_parameters_is_bounded(client: fl.FlightClient) -> None:
    """The bounds hold over all batches together, and for batches that hold nothing."""
    large, empty = pa.record_batch({"a": ["x" * 3_500]}), pa.record_batch({"a": pa.array([], pa.string())})
    assert len(_upload(client, large.schema, large, large)["rows"]) == 2
    assert _upload(client, large.schema, *[empty] * 9)["rows"] == []
    many = pa.record_batch({"a": pa.array([None] * 101, pa.null())})
    for batches in ([large] * 3, [empty] * 10, [many]):
        told = _upload(client, batches[0].schema, *batches)
        assert told["code"] == "invalid"
        assert "100 rows or 10000 bytes of parameters were sent" in told["text"]


# ----------------------------------------------------------------------------------------------------------------- rows


@pytest.mark.client
def test_rows_come_as_they_are_sent(client: fl.FlightClient) -> None:
    """No batch, several, and empty ones; a client that announces nothing needs to say nothing at the end."""
    assert _upload(client, ROWS.schema, how="rows") == {"rows": []}
    assert _upload(client, ROWS.schema, ROWS, ROWS.slice(0, 0), b"x", ROWS, how="rows")["rows"] == ROWS.to_pylist() * 2


@pytest.mark.client
def test_an_announced_count_must_come_and_be_right(client: fl.FlightClient) -> None:
    """The end of a stream proves nothing: a program that failed half-way closes its stream as one that is done."""
    right = b'{"rows": 4}'
    assert len(_upload(client, ANNOUNCED, ROWS, ROWS, right, how="rows")["rows"]) == 4
    assert _upload(client, ANNOUNCED, b'{"rows": 0}', how="rows") == {"rows": []}
    assert len(_upload(client, ANNOUNCED, ROWS, b'{"rows": 2}', ROWS, right, how="rows")["rows"]) == 4
    for ending in (
        *((), (b'{"rows": 3}',), (b'{"rows": 5}',), (b'{"rows": -4}',), (b'{"rows": "4"}',), (b'{"rows": 4.5}',)),
        *((b"4",), (b"",), (b"{}",), (b"null",), (b"\xff\xfe",), (right, b"garbage"), (b"[" * 10_000,)),
    ):
        told = _upload(client, ANNOUNCED, ROWS, ROWS, *ending, how="rows")
        assert (told.get("code"), told.get("caused")) == ("invalid", False), ending
        assert told["text"] == "The upload ended before its announced end; nothing of it is kept. Send it again."


@pytest.mark.client
def test_the_number_of_batches_is_bounded(client: fl.FlightClient) -> None:
    """A client could keep a thread for ever with batches of nothing."""
    empty = ROWS.slice(0, 0)
    assert _upload(client, ROWS.schema, *[empty] * 20, how="rows") == {"rows": []}
    told = _upload(client, ROWS.schema, *[empty] * 21, how="rows")
    assert told["code"] == "invalid"
    assert "more than 20 batches" in told["text"]


_KILLED = """
import os, sys
import pyarrow as pa, pyarrow.flight as fl
batch = pa.record_batch({"a": list(range(1000))})
client = fl.connect(sys.argv[1])
writer, _ = client.do_put(fl.FlightDescriptor.for_command(b"rows"), batch.schema)
for _ in range(int(sys.argv[2])):
    writer.write_batch(batch)
print("sent", flush=True)
sys.stdin.readline()
os.kill(os.getpid(), 9)
"""


@pytest.mark.client
@pytest.mark.parametrize("batches", [0, 1, 3])
def test_a_killed_client_is_told_from_one_that_is_done(server: _Uploads, batches: int) -> None:
    """At every boundary between batches its stream ends as if it were whole; nothing of it may be kept."""
    before, read = len(server.told), server.batches
    command = [sys.executable, "-c", _KILLED, f"grpc://127.0.0.1:{server.port}", str(batches)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "sent\n"
        assert _until(lambda: server.batches == read + batches)
        killed.communicate("\n", timeout=30)
    assert _until(lambda: len(server.told) > before)
    (told,) = server.told[before:]
    assert told.get("code") == "cancelled", told


@pytest.mark.client
def test_a_program_that_fails_half_way_is_told_by_the_missing_count(server: _Uploads, client: fl.FlightClient) -> None:
    """Its writer is closed as it is taken apart, so that the call ends in order: the announced count tells."""
    before, read = len(server.told), server.batches
    writer, reader = client.do_put(fl.FlightDescriptor.for_command(b"rows"), ANNOUNCED)
    writer.write_batch(ROWS)
    assert _until(lambda: server.batches == read + 1)
    del writer, reader
    assert _until(lambda: len(server.told) > before)
    assert server.told[-1].get("code") == "invalid"


@pytest.mark.client
def test_a_client_that_falls_silent_does_not_keep_its_thread(server: _Uploads) -> None:
    """After the schema, or after a batch: the connection is cut when its time is over."""
    for batches in (0, 1):
        before = len(server.told)
        with fl.connect(f"grpc://127.0.0.1:{server.port}") as silent:
            writer, _ = silent.do_put(fl.FlightDescriptor.for_command(b"rows"), ROWS.schema)
            for _number in range(batches):
                writer.write_batch(ROWS)
            assert _until(partial(_has_told, server, before), 15)
            assert server.told[-1].get("code") in ("cancelled", "invalid", "deadline")
            with suppress(fl.FlightError, pa.ArrowException, OSError):
                writer.close()


def _has_told(server: _Uploads, before: int) -> bool:
    return len(server.told) > before


def _until(is_so: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.005)
    return is_so()


# -------------------------------------------------------------------------------------------------------------- targets


_OPTIONS = m.TableDefinitionOptions(
    m.TableNotExistOption.TABLE_NOT_EXIST_OPTION_CREATE, m.TableExistsOption.TABLE_EXISTS_OPTION_FAIL
)


def _ingest(**changes: Any) -> m.CommandStatementIngest:
    return replace(m.CommandStatementIngest(table_definition_options=_OPTIONS, table="t", temporary=True), **changes)


def test_an_ingest_names_a_temporary_table() -> None:
    """Modes and transaction arrive as they were sent; the place of temporary tables may be named."""
    assert uploads.target_of(_ingest(), Options()) == Ingest("t", "fail", "create", None)
    assert uploads.target_of(_ingest(catalog="temp", schema="main"), Options()).table == "t"
    assert uploads.target_of(_ingest(catalog="", schema="", transaction_id=b""), Options()) == Ingest(
        "t", "fail", "create", None
    )
    assert uploads.target_of(_ingest(transaction_id=b"x"), Options()).transaction == "x"
    assert uploads.target_of(_ingest(transaction_id=b"\xff"), Options()).transaction == "\ufffd"
    append = m.TableDefinitionOptions(
        m.TableNotExistOption.TABLE_NOT_EXIST_OPTION_FAIL, m.TableExistsOption.TABLE_EXISTS_OPTION_APPEND
    )
    assert uploads.target_of(_ingest(table_definition_options=append), Options()) == Ingest("t", "append", "fail", None)


def test_a_session_may_take_every_table_for_a_temporary_one() -> None:
    """For tools that cannot say temporary; a table with a place of its own is still refused."""
    options = Options(new_tables="temporary")
    assert uploads.target_of(_ingest(temporary=False), options).table == "t"
    for place in ({"catalog": "lab"}, {"schema": "readings"}, {"catalog": "temp"}):
        with pytest.raises(FlightmeshError, match="Only temporary tables take rows"):
            uploads.target_of(_ingest(temporary=False, **place), options)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"temporary": False}, "Only temporary tables take rows. Set temporary (adbc_ingest(..., temporary=True))"),
        ({"catalog": "lab"}, "no catalogue or schema of its own"),
        ({"schema": "readings"}, "no catalogue or schema of its own"),
        ({"table_definition_options": None}, "what to do when the table is there"),
        ({"table_definition_options": m.TableDefinitionOptions()}, "what to do when the table is there"),
    ],
)
def test_other_ingests_are_refused_with_what_to_do(changes: dict[str, Any], said: str) -> None:
    """A driver's default is a permanent table, which is somebody's product here."""
    with pytest.raises(FlightmeshError) as failure:
        uploads.target_of(_ingest(**changes), Options())
    assert failure.value.code is ErrorCode.INVALID
    assert said in str(failure.value)


def test_a_path_names_a_temporary_table() -> None:
    """A plain Flight upload; what happens to a table that is there is an option of the session."""
    for path in (("t",), ("temp", "t"), ("temp", "main", "t"), ("temp.t",), ("temp.main.t",)):
        assert uploads.target_of_path(path, Options()).table == "t"
    assert uploads.target_of_path(("temp", "main", "a.b"), Options()).table == "a.b"
    found = [uploads.target_of_path(("t",), Options(put_mode=mode)) for mode in uploads.PUT_MODES]
    assert [(target.exists, target.missing) for target in found] == [
        ("fail", "create"),
        ("append", "fail"),
        ("replace", "create"),
        ("append", "create"),
    ]


@pytest.mark.parametrize(
    "path", [(), ("",), ("lab", "readings", "points"), ("temp", "main", ""), ("x", "t"), ("temp",) * 4, ("a.b",)]
)
def test_other_paths_take_no_rows(path: tuple[str, ...]) -> None:
    """Ports are somebody's product."""
    with pytest.raises(FlightmeshError, match="Only temporary tables take rows"):
        uploads.target_of_path(path, Options())

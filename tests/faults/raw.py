"""A Flight client that sends bytes, not messages: what no honest library would put on the wire.

FlightData is written by hand and sent through gRPC's generic calls, so that headers, bodies and lengths can lie.
"""

from __future__ import annotations

import importlib
import os
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest

from tests.conftest import CANARIES

_SERVICE = "/arrow.flight.protocol.FlightService/"
# The server's own line; pyarrow puts words of its own before and behind it.
_SAID = re.compile(r"(?P<code>[a-z_]+): [^\n]* \[id [0-9a-f]{16}\]")
CODES = {
    "invalid",
    "not_found",
    "unsupported",
    "unauthenticated",
    "permission_denied",
    "unavailable",
    "exhausted",
    "deadline",
    "cancelled",
}
_STATUSES_BEFORE = {"UNKNOWN", "INTERNAL", "INVALID_ARGUMENT", "UNIMPLEMENTED"}
# The server's line of at most 1 kB, which pyarrow says twice.
_TEXT_BYTES_MAX = 2_200
# What no answer may hold besides: an address in memory, a path, words of libraries about their inside.
_INNER = re.compile(r"\b0x[0-9a-f]{4,}|/(?:tmp|home|root|usr|work|proc|var)/|\.py\b|\.cc\b|duckdb[_.]\w|site-packages")


@dataclass(frozen=True, slots=True)
class Answer:
    """How a call ended: gRPC's word for its status, the text, and the messages that came before it."""

    status: str
    text: str
    messages: tuple[bytes, ...]

    @property
    def is_ok(self) -> bool:
        return self.status == "OK"

    @property
    def code(self) -> str | None:
        """Our own code in the text; None when the text is not of the server's door."""
        said = _SAID.search(self.text)
        return said["code"] if said else None

    @property
    def is_before_the_door(self) -> bool:
        """Whether Arrow or gRPC refused the call before any handler of the server was asked: it tells of the bytes
        that it was sent, and nothing of the server.
        """
        return self.status in _STATUSES_BEFORE and self.code is None and "Python" not in self.text

    def problems(self) -> list[str]:
        """What is wrong with the answer as one for a hostile caller: nothing when it is a success or our own line."""
        if self.is_ok:
            return []
        found = [match[0] for pattern in (CANARIES, _INNER) for match in pattern.finditer(self.text)]
        if self.code not in CODES and not self.is_before_the_door:
            found.append(f"not one of our codes: {self.status}: {self.text[:300]}")
        if "\n" in self.text.strip() or len(self.text.encode()) > _TEXT_BYTES_MAX:
            found.append(f"not one line: {self.text[:300]}")
        return found


class RawFlight:
    """One connection. ``token`` is the bearer of every call."""

    def __init__(self, uri: str, token: str) -> None:
        self.grpc: Any = importlib.import_module("grpc")  # Any: it brings no types
        limits = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        # Not the connection that another client of this process has.
        own = [("grpc.use_local_subchannel_pool", 1)]
        self.channel = self.grpc.insecure_channel(uri.removeprefix("grpc://"), options=[*limits, *own])
        self.metadata = [("authorization", f"Bearer {token}")]

    def __enter__(self) -> RawFlight:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def put(self, frames: Iterable[bytes], timeout_s: float = 30.0) -> Answer:
        """DoPut with these frames, then the end of what the client says."""
        return self._streamed("stream_stream", "DoPut", iter(frames), timeout_s)

    def exchange(self, frames: Iterable[bytes]) -> Answer:
        return self._streamed("stream_stream", "DoExchange", iter(frames), 30.0)

    def get(self, ticket: bytes) -> Answer:
        """DoGet with the serialised Ticket."""
        return self._streamed("unary_stream", "DoGet", ticket, 30.0)

    def act(self, action: bytes) -> Answer:
        """DoAction with the serialised Action."""
        return self._streamed("unary_stream", "DoAction", action, 30.0)

    def info(self, descriptor: bytes) -> Answer:
        return self._single("GetFlightInfo", descriptor)

    def schema(self, descriptor: bytes) -> Answer:
        return self._single("GetSchema", descriptor)

    def _streamed(self, kind: str, name: str, request: Any, timeout_s: float) -> Answer:
        call = getattr(self.channel, kind)(_SERVICE + name)
        kept: list[bytes] = []
        try:
            kept.extend(call(request, timeout=timeout_s, metadata=self.metadata))
        except self.grpc.RpcError as error:
            return Answer(error.code().name, error.details() or "", tuple(kept))
        return Answer("OK", "", tuple(kept))

    def _single(self, name: str, request: bytes) -> Answer:
        try:
            answer = self.channel.unary_unary(_SERVICE + name)(request, timeout=30.0, metadata=self.metadata)
        except self.grpc.RpcError as error:
            return Answer(error.code().name, error.details() or "", ())
        return Answer("OK", "", (answer,))


def has_grpc() -> None:
    """Skips the test where gRPC's own library is not installed."""
    pytest.importorskip("grpc")


# Protobuf by hand -----------------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    """A number of at most 64 bits."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def field(number: int, content: bytes, size: int | None = None) -> bytes:
    """A field of bytes; ``size`` is what its length says when that is to be a lie."""
    return varint(number << 3 | 2) + varint(len(content) if size is None else size) + content


def frame(header: bytes = b"", body: bytes | None = None, *, descriptor: bytes | None = None, says: int = -1) -> bytes:
    """One FlightData. ``descriptor`` is a serialised FlightDescriptor; ``says`` a length of the body that is a lie."""
    parts = field(1, descriptor) if descriptor is not None else b""
    parts += field(2, header) if header else b""
    return parts + (b"" if body is None else field(1000, body, None if says < 0 else says))


def command_of(command: bytes) -> bytes:
    """The serialised descriptor of a command."""
    return bytes(fl.FlightDescriptor.for_command(command).serialize())


def path_of(*parts: str) -> bytes:
    return bytes(fl.FlightDescriptor.for_path(*parts).serialize())


def messages_of(schema: pa.Schema, batches: Sequence[pa.RecordBatch], **options: Any) -> list[tuple[bytes, bytes]]:
    """Header and body of each message of the stream: the schema's, the dictionaries', the batches'."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for batch in batches:
            writer.write_batch(batch)
    kept: list[tuple[bytes, bytes]] = []
    for message in _read(sink.getvalue()):
        kept.append((message.metadata.to_pybytes(), b"" if message.body is None else message.body.to_pybytes()))
    return kept


def frames_of(descriptor: bytes, messages: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """The FlightData of a stream, the descriptor in the first."""
    return [
        frame(header, body, descriptor=None if number else descriptor) for number, (header, body) in enumerate(messages)
    ]


def _read(data: pa.Buffer) -> Iterator[Any]:
    reader = pa.ipc.MessageReader.open_stream(data)
    while True:
        try:
            yield reader.read_next_message()
        except StopIteration:
            return


# The server's process -------------------------------------------------------------------------------------------------


def threads_of(pid: int) -> int:
    """How many threads the process has."""
    return len(os.listdir(f"/proc/{pid}/task"))


def resident_bytes(pid: int) -> int:
    """The memory that the process has in use."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Silence:
    """Frames, and then nothing until ``end`` is called: a client that goes quiet in mid-call."""

    def __init__(self, frames: Iterable[bytes]) -> None:
        self._frames = list(frames)
        self._ended = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        yield from self._frames
        self._ended.wait(60)

    def end(self) -> None:
        self._ended.set()

"""What the server and the worker of a live Polars model say to each other: frames of a JSON header and Arrow parts.

The worker speaks and the server answers, one frame for one frame: ``scan`` (an input, narrowed) is answered by
``opened``, ``next`` by ``batch`` or ``end``, ``batch`` (rows of the result) by ``more``; ``done`` and ``fault`` end a
read and have no answer. Any other answer than these is ``stop``: the read is given up. The server begins with ``read``.

The worker runs other people's code: nothing that it sends is believed. Neither side imports the other.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import pyarrow as pa

from flightmesh.sources.predicate import AllOf, AnyOf, Compare, Comparison, IsNull, IsPresent, OneOf, Predicate

HEADER_BYTES_MAX = 16 << 20
PART_BYTES_MAX = 1 << 30
PARTS_MAX = 1_000
_DEPTH_MAX = 100
_RECEIVED_AT_ONCE = 1 << 20
# Sizes of header and number of parts, then the size of each part.
_HEAD = struct.Struct("!II")
_SIZE = struct.Struct("!Q")
_COMPARISONS: Mapping[str, Comparison] = {op: op for op in get_args(Comparison)}


class ProtocolError(Exception):
    """The other side does not keep to what is written above."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One thing said."""

    does: str
    header: Mapping[str, Any]  # Any: parsed JSON
    parts: tuple[bytearray, ...] = ()


@dataclass(slots=True)
class Line:
    """One end of the socket. ``look`` is called whenever the other side lets us wait; what it raises ends the wait.

    ``is_whole`` is False while a frame is on its way: then the line is of no use after an exception.
    """

    end: socket.socket
    look: Callable[[], None] = lambda: None
    is_whole: bool = field(default=True, init=False)

    def say(self, does: str, *parts: Any, **header: object) -> None:
        """Sends a frame; parts are buffers. OSError when nobody is there."""
        views = [memoryview(part).cast("B") for part in parts]
        text = json.dumps({"does": does, **header}).encode()
        sizes = b"".join(_SIZE.pack(len(view)) for view in views)
        self.is_whole = False
        for view in (memoryview(_HEAD.pack(len(text), len(views)) + sizes + text), *views):
            self._send(view)
        self.is_whole = True

    def hear(self) -> Frame:
        """The next frame. EOFError when there is none, ProtocolError when it is not one."""
        head = self._receive(_HEAD.size, is_first=True)
        n_header, n_parts = _HEAD.unpack(head)
        if n_header > HEADER_BYTES_MAX or n_parts > PARTS_MAX:
            raise ProtocolError
        sizes = [size for (size,) in _SIZE.iter_unpack(self._receive(n_parts * _SIZE.size))]
        if sum(sizes) > PART_BYTES_MAX:
            raise ProtocolError
        try:
            header = json.loads(self._receive(n_header))
        except (ValueError, RecursionError) as error:
            raise ProtocolError from error
        if not isinstance(header, dict) or not isinstance(header.get("does"), str):
            raise ProtocolError
        parts = tuple(self._receive(size) for size in sizes)
        self.is_whole = True
        return Frame(header["does"], header, parts)

    def _send(self, view: memoryview) -> None:
        while len(view):
            try:
                view = view[self.end.send(view) :]
            except TimeoutError:
                self.look()

    def _receive(self, size: int, *, is_first: bool = False) -> bytearray:
        found = bytearray(size)
        view = memoryview(found)
        while len(view):
            try:
                count = self.end.recv_into(view, min(len(view), _RECEIVED_AT_ONCE))
            except TimeoutError:
                self.look()
                continue
            if not count:
                raise EOFError
            self.is_whole = False
            view = view[count:]
        return found


def rows_part(batch: pa.RecordBatch) -> pa.Buffer:
    """A batch as a part of a frame."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def rows_of(part: bytearray) -> pa.RecordBatch:
    """The batch of a part. ProtocolError when it is none, or malformed: that would crash whoever reads its values."""
    try:
        with pa.ipc.open_stream(pa.py_buffer(part)) as reader:
            batch = reader.read_next_batch()
        batch.validate(full=True)
    except (pa.ArrowException, OSError, StopIteration, EOFError) as error:
        raise ProtocolError from error
    return batch


def predicate_parts(predicate: Predicate | None) -> tuple[Any, list[pa.Buffer]]:
    """A predicate as JSON, and its literals as parts: one of one column for each comparison."""
    literals: list[pa.Array] = []
    tree = None if predicate is None else _written(predicate, literals)
    return tree, [rows_part(pa.record_batch([values], ["literal"])) for values in literals]


def predicate_of(tree: Any, parts: Sequence[bytearray], schema: pa.Schema) -> Predicate | None:
    """The predicate over columns of the schema. ProtocolError when it is none."""
    literals = [rows_of(part) for part in parts]
    if any(batch.num_columns != 1 or batch.column(0).null_count for batch in literals):
        raise ProtocolError
    return None if tree is None else _read(tree, [batch.column(0) for batch in literals], frozenset(schema.names), 0)


def _written(predicate: Predicate, literals: list[pa.Array]) -> list[object]:
    match predicate:
        case AllOf(parts):
            return ["and", [_written(part, literals) for part in parts]]
        case AnyOf(parts):
            return ["or", [_written(part, literals) for part in parts]]
        case Compare(column, op, value):
            literals.append(pa.array([value], value.type))
            return [op, column, len(literals) - 1]
        case OneOf(column, values):
            literals.append(values)
            return ["in", column, len(literals) - 1]
        case IsNull(column):
            return ["null", column]
        case IsPresent(column):
            return ["present", column]


def _read(tree: Any, literals: Sequence[pa.Array], columns: frozenset[str], depth: int) -> Predicate:
    if depth > _DEPTH_MAX:
        raise ProtocolError
    match tree:
        case ["and" | "or" as word, [_, _, *_] as inner]:
            parts = tuple(_read(part, literals, columns, depth + 1) for part in inner)
            return AllOf(parts) if word == "and" else AnyOf(parts)
        case ["null" | "present" as word, str(column)] if column in columns:
            return IsNull(column) if word == "null" else IsPresent(column)
        case [str(word), str(column), int(index)] if column in columns and 0 <= index < len(literals):
            values = literals[index]
            if word == "in" and len(values):
                return OneOf(column, values)
            if word in _COMPARISONS and len(values) == 1:
                return Compare(column, _COMPARISONS[word], values[0])
    raise ProtocolError

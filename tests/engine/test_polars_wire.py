"""Frames between server and worker: whole, bounded, and never believed."""

from __future__ import annotations

import decimal
import socket
import struct
import threading
from collections.abc import Iterator

import pyarrow as pa
import pytest

from flightmesh.engine.polars_wire import Frame, Line, ProtocolError, predicate_of, predicate_parts, rows_of, rows_part
from flightmesh.sources.predicate import AllOf, AnyOf, Compare, IsNull, IsPresent, OneOf, Predicate

SCHEMA = pa.schema([("n", pa.int8()), ("text", pa.string()), ("at", pa.timestamp("ns", "UTC"))])


@pytest.fixture
def ends() -> Iterator[tuple[Line, Line]]:
    one, other = socket.socketpair()
    with one, other:
        yield Line(one), Line(other)


def received(part: pa.Buffer) -> bytearray:
    return bytearray(part.to_pybytes())


def test_frames_arrive_as_they_were_said(ends: tuple[Line, Line]) -> None:
    """A large part that is cut, or an empty one that is lost, would be taken for other rows."""
    here, there = ends
    parts = [b"", b"x" * 5_000_000, pa.py_buffer(b"yz")]
    saying = threading.Thread(target=here.say, args=("batch", *parts), kwargs={"number": 3, "tree": ["and", None]})
    saying.start()
    frame = there.hear()
    saying.join()
    assert (frame.does, frame.header["number"], frame.header["tree"]) == ("batch", 3, ["and", None])
    assert [bytes(part) for part in frame.parts] == [b"", b"x" * 5_000_000, b"yz"]
    assert here.is_whole
    assert there.is_whole


def test_a_wait_can_be_ended(ends: tuple[Line, Line]) -> None:
    """A cancelled read would wait for a worker that is silent; half a frame leaves the line unusable."""
    here, there = ends
    there.end.settimeout(0.01)

    def look() -> None:
        raise InterruptedError

    there.look = look
    with pytest.raises(InterruptedError):
        there.hear()
    assert there.is_whole
    here.end.send(b"\0\0")
    with pytest.raises(InterruptedError):
        there.hear()
    assert not there.is_whole


def test_the_end_of_the_other_side_is_told(ends: tuple[Line, Line]) -> None:
    """A worker that is gone would be waited for."""
    here, there = ends
    here.end.close()
    with pytest.raises(EOFError):
        there.hear()


@pytest.mark.parametrize(
    "said",
    [
        struct.pack("!II", 1 << 30, 0),
        struct.pack("!II", 2, 1 << 20),
        struct.pack("!IIQ", 2, 1, 1 << 40) + b"{}",
        struct.pack("!II", 2, 0) + b"[]",
        struct.pack("!II", 2, 0) + b"{}",
        struct.pack("!II", 3, 0) + b"\xff\xfe{",
        struct.pack("!II", 10_000, 0) + b"[" * 10_000,
        struct.pack("!II", 10, 0) + b'{"does":1}',
    ],
)
def test_what_is_no_frame_is_refused(ends: tuple[Line, Line], said: bytes) -> None:
    """A worker could make the server reserve any amount of memory, or fail in words nobody expects."""
    here, there = ends
    here.end.sendall(said)
    with pytest.raises(ProtocolError):
        there.hear()


def test_malformed_rows_are_refused() -> None:
    """Offsets beyond the data crash whoever reads the values."""
    sound = rows_part(pa.record_batch([pa.array(["a", "b"])], ["text"])).to_pybytes()
    broken = sound.replace(struct.pack("<iii", 0, 1, 2), struct.pack("<iii", 0, 1, 1_000_000))
    assert broken != sound
    with pytest.raises(ProtocolError):
        rows_of(bytearray(broken))
    with pytest.raises(ProtocolError):
        rows_of(bytearray(b"no arrow at all"))
    with pytest.raises(ProtocolError):
        rows_of(bytearray())


@pytest.mark.parametrize(
    "predicate",
    [
        None,
        IsNull("n"),
        IsPresent("text"),
        Compare("n", "<=", pa.scalar(-5, pa.int8())),
        Compare("at", ">", pa.scalar(1_234_567_891, pa.timestamp("ns", "UTC"))),
        OneOf("text", pa.array(["", "'; --", "ü"])),
        AllOf((Compare("n", "=", pa.scalar(1)), AnyOf((IsNull("text"), Compare("n", "<>", pa.scalar(2)))))),
        Compare("n", "=", pa.scalar(decimal.Decimal("1.50"))),
    ],
)
def test_predicates_arrive_with_the_types_of_their_literals(predicate: Predicate | None) -> None:
    """A literal of another type compares otherwise: rows would be missing."""
    tree, parts = predicate_parts(predicate)
    assert predicate_of(tree, [received(part) for part in parts], SCHEMA) == predicate


@pytest.mark.parametrize(
    ("tree", "literals"),
    [
        (["=", "other", 0], [[1]]),
        (["null", "other"], []),
        (["=", "n", 1], [[1]]),
        (["=", "n", -1], [[1]]),
        (["=", "n", 0], [[1, 2]]),
        (["=", "n", 0], [[None]]),
        (["in", "n", 0], [[]]),
        (["= 1 OR 1", "n", 0], [[1]]),
        (["and", [["null", "n"]]], []),
        (["and", "nn"], []),
        ({"and": 1}, []),
        ("n", []),
    ],
)
def test_what_is_no_predicate_is_refused(tree: object, literals: list[list[int]]) -> None:
    """What a worker sends becomes SQL: nothing may pass that is not exactly a predicate over the input's columns."""
    parts = [received(rows_part(pa.record_batch([pa.array(values, pa.int64())], ["x"]))) for values in literals]
    with pytest.raises(ProtocolError):
        predicate_of(tree, parts, SCHEMA)


def test_a_deep_predicate_is_refused() -> None:
    """Python's own limit of nesting would be an error that nobody expects."""
    tree: object = ["null", "n"]
    for _ in range(500):
        tree = ["and", [tree, ["null", "n"]]]
    with pytest.raises(ProtocolError):
        predicate_of(tree, [], SCHEMA)


def test_a_frame_says_what_it_does() -> None:
    """The sides match on it by its place."""
    assert Frame("done", {}).parts == ()

"""Arrow streams and protobuf messages, right at first and then damaged: bits, lengths, offsets, order. Seeded."""

from __future__ import annotations

import datetime
import decimal
import random
import struct
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from tests.faults.raw import field, messages_of, varint

Messages = list[tuple[bytes, bytes]]
_WORDS = ["", "a", "bc", "d\u00e9f", "\U0001f512", None]
_EXTREME_32 = (0, 1, -1, 2**31 - 1, -(2**31), 2**16, 2**30, 7)
_EXTREME_64 = (0, 1, -1, 2**63 - 1, -(2**63), 2**31, 2**40, 2**62, 2**31 - 8)


def columns() -> dict[str, pa.Array]:
    """A column of every kind of layout, of six rows."""
    numbers = [1, None, 3, -4, 2**31 - 1, 0]
    moments = [datetime.datetime(2024, 2, 29, 12, 30, 15, number) for number in range(6)]
    lists = [[1, 2], [], None, [3], [4, 5, 6], [None]]
    text = pa.array(_WORDS)
    union = (pa.array([0, 1, 0, 1, 0, 1], pa.int8()), pa.array([0, 0, 1, 1, 2, 2], pa.int32()))
    halves = [pa.array([1, 2, 3], pa.int64()), pa.array(["x", "y", "z"])]
    wholes = [pa.array(range(6), pa.int64()), pa.array([str(number) for number in range(6)])]
    return {
        "int64": pa.array(numbers, pa.int64()),
        "int32": pa.array(numbers, pa.int32()),
        "uint8": pa.array([1, 2, 3, None, 255, 0], pa.uint8()),
        "double": pa.array([1.5, float("nan"), None, float("inf"), -0.0, 1e308]),
        "bool": pa.array([True, False, None, True, False, True]),
        "null": pa.nulls(6),
        "string": text,
        "large_string": text.cast(pa.large_string()),
        "string_view": text.cast(pa.string_view()),
        "long_view": pa.array([(word or "x") * 20 for word in _WORDS], pa.string_view()),
        "binary": text.cast(pa.binary()),
        "fixed": pa.array([b"1234", b"5678", None, b"abcd", b"\0\0\0\0", b"\xff\xff\xff\xff"], pa.binary(4)),
        "decimal": pa.array([decimal.Decimal("1.25"), None, decimal.Decimal("-999.99")] * 2, pa.decimal128(5, 2)),
        "decimal256": pa.array([decimal.Decimal("1.25"), None, decimal.Decimal("9" * 30)] * 2, pa.decimal256(40, 2)),
        "date": pa.array(moments, pa.timestamp("us")).cast(pa.date32()),
        "time": pa.array([0, 1, None, 86_399, 5, 6], pa.time32("s")),
        "timestamp": pa.array(moments, pa.timestamp("us", "UTC")),
        "timestamp_s": pa.array([0, 1, None, -5, 2**31, 7], pa.timestamp("s")),
        "timestamp_ns": pa.array(moments, pa.timestamp("ns")),
        "duration": pa.array([1, 2, None, -3, 4, 5], pa.duration("us")),
        "interval": pa.array([(1, 2, 3), (4, 5, 6), None] * 2, pa.month_day_nano_interval()),
        "list": pa.array(lists, pa.list_(pa.int32())),
        "large_list": pa.array(lists, pa.large_list(pa.int32())),
        "list_view": pa.array(lists, pa.list_view(pa.int32())),
        "fixed_list": pa.array([[1, 2], [3, 4], None, [5, 6], [7, 8], [9, 0]], pa.list_(pa.int32(), 2)),
        "struct": pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": ""}] * 2),
        "map": pa.array([[("k", 1)], [], None, [("a", 2), ("b", None)], [], []], pa.map_(pa.string(), pa.int32())),
        "nested": pa.array([[{"a": ["x", None]}], [], None] * 2),
        "dictionary": text.dictionary_encode(),
        "dense_union": pa.UnionArray.from_dense(*union, halves),
        "sparse_union": pa.UnionArray.from_sparse(union[0], wholes),
        "run_end": pa.RunEndEncodedArray.from_arrays(pa.array([2, 5, 6], pa.int32()), pa.array(["a", None, "b"])),
    }


def streams() -> list[Messages]:
    """Valid streams of two batches each: one per kind of column, some of several, some compressed."""
    made = columns()
    groups = [[name] for name in made]
    groups += [["int64", "string", "list"], ["dictionary", "struct", "decimal"], ["map", "bool", "timestamp"]]
    kept = [_stream(made, names) for names in groups]
    kept += [_stream(made, names, compression=how) for names in groups[-3:] for how in ("lz4", "zstd")]
    return kept


def _stream(made: dict[str, pa.Array], names: Sequence[str], **options: Any) -> Messages:
    batch = pa.record_batch([made[name] for name in names], names=list(names))
    return messages_of(batch.schema, [batch, batch], **options)


def damaged(chance: random.Random, messages: Messages) -> Messages:
    """The stream with one to three things wrong: mostly in a body, at times in a header or in the order."""
    changed = list(messages)
    for _ in range(chance.choice((1, 1, 2, 3))):
        how = chance.random()
        place = chance.randrange(len(changed)) if changed else None
        if place is None:
            break
        header, body = changed[place]
        if how < 0.7:
            bodies = [number for number, message in enumerate(changed) if message[1]]
            if bodies:
                place = chance.choice(bodies)
                header, body = changed[place]
                changed[place] = (header, damaged_bytes(chance, body))
        elif how < 0.9:
            changed[place] = (damaged_bytes(chance, header), body)
        else:
            changed = _reordered(chance, changed, place)
    return changed


def _reordered(chance: random.Random, messages: Messages, place: int) -> Messages:
    how = chance.randrange(4)
    if how == 0:
        return messages[:place] + messages[place + 1 :]
    if how == 1:
        return [*messages[: place + 1], messages[place], *messages[place + 1 :]]
    if how == 2:
        return chance.sample(messages, len(messages))
    other = chance.randrange(len(messages))
    return [*messages[:place], (messages[place][0], messages[other][1]), *messages[place + 1 :]]


def damaged_bytes(chance: random.Random, data: bytes) -> bytes:
    """The bytes with bits turned, numbers made extreme, pieces lost, doubled, swapped or made up."""
    if not data:
        return chance.randbytes(chance.randint(1, 40))
    changed = bytearray(data)
    how = chance.randrange(10)
    if how < 3:
        for _ in range(chance.choice((1, 1, 2, 8))):
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    elif how < 5 and len(changed) >= 4:
        struct.pack_into("<i", changed, _aligned(chance, len(changed), 4), chance.choice(_EXTREME_32))
    elif how < 7 and len(changed) >= 8:
        struct.pack_into("<q", changed, _aligned(chance, len(changed), 8), chance.choice(_EXTREME_64))
    elif how == 7:
        del changed[chance.randrange(len(changed)) :]
    elif how == 8:
        start = chance.randrange(len(changed))
        end = min(len(changed), start + chance.randint(1, 24))
        changed[start:end] = chance.choice((b"", chance.randbytes(end - start), bytes(end - start), changed[:end]))
    else:
        middle = chance.randrange(len(changed))
        changed = changed[middle:] + changed[:middle]
    return bytes(changed)


def _aligned(chance: random.Random, size: int, width: int) -> int:
    return chance.randrange(size // width) * width


def damaged_message(chance: random.Random, message: bytes, others: Sequence[bytes]) -> bytes:
    """A protobuf message with bytes damaged, a length that lies, another's end, or another type in its envelope."""
    how = chance.randrange(12)
    if how < 3:
        return damaged_bytes(chance, message)
    if how < 8:
        return _damaged_inside(chance, message)
    if how == 8:
        return message + varint(chance.randrange(1, 1 << 12) << 3 | 2) + varint(chance.choice((2**31, 2**63, 5)))
    if how == 9:
        other = chance.choice(others)
        return message[: chance.randrange(len(message) + 1)] + other[chance.randrange(len(other) + 1) :]
    if how == 10:
        start = message.find(b"arrow.flight.protocol.sql.")
        if start >= 0:
            start += len(b"arrow.flight.protocol.sql.")
            return message[:start] + bytes(chance.choices(b"CommandGetTablesQuery", k=12)) + message[start + 12 :]
        return message * 2
    return b"\x0b" * chance.randint(1, 300) + message


def _damaged_inside(chance: random.Random, message: bytes) -> bytes:
    """What is in the envelope, damaged; the envelope around it is right."""
    if message[:1] != b"\x0a" or b"type.googleapis.com" not in message[:24]:
        return damaged_bytes(chance, message)
    behind = 2 + message[1]
    inside = message[behind + 2 :] if len(message) - behind < 130 else message[behind + 3 :]
    return message[:behind] + field(2, damaged_bytes(chance, inside))

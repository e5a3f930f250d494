"""Few bytes that stand for many: told without being made."""

from __future__ import annotations

import struct

import pyarrow as pa
import pytest

from flightmesh.engine.expansion import halved, holds, is_expanding
from flightmesh.engine.intake import PIECE_ROWS_MAX, Intake
from flightmesh.errors import ErrorCode, FlightmeshError

_TEXT = pa.array(["x" * 1_000_000])


def _nulls(rows: int) -> pa.Array:
    return pa.Array.from_buffers(pa.null(), rows, [None])


def _repeated(rows: int) -> pa.Array:
    return pa.RunEndEncodedArray.from_arrays(pa.array([rows], pa.int64()), _TEXT)


BOMBS = {
    "a run": _repeated(2**40),
    "a dictionary": pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int8()), 100_000), _TEXT),
    "a view": pa.Array.from_buffers(
        pa.string_view(),
        100_000,
        [None, pa.py_buffer(struct.pack("<i4sii", 1_000_000, b"xxxx", 0, 0) * 100_000), pa.py_buffer(b"x" * 1_000_000)],
    ),
    "a dictionary of lists": pa.DictionaryArray.from_arrays(
        pa.repeat(pa.scalar(0, pa.int8()), 100_000), pa.array([["y" * 1_000_000]])
    ),
    "a view of lists": pa.ListViewArray.from_arrays(
        pa.repeat(pa.scalar(0, pa.int32()), 100_000),
        pa.repeat(pa.scalar(1_000_000, pa.int32()), 100_000),
        pa.repeat(pa.scalar(1, pa.int64()), 1_000_000),
    ),
}


@pytest.mark.parametrize("array", BOMBS.values(), ids=BOMBS)
def test_pieces_are_small_as_values(array: pa.Array) -> None:
    """One message of a few kilobytes must not take the server's memory."""
    batch = pa.record_batch([array], names=["x"])
    intake = Intake(batch.schema, columns_max=10)
    pieces = intake.batches(batch)
    first = [next(pieces) for _ in range(3)]
    assert all(0 < piece.nbytes <= 70 << 20 for piece in first)
    assert all(piece.num_rows >= 1 for piece in first)


def test_nulls_without_end_come_in_pieces() -> None:
    """A column of NULLs has no bytes at all, and any length."""
    batch = pa.record_batch([_nulls(10**15)], names=["x"])
    piece = next(Intake(batch.schema, columns_max=10).batches(batch))
    assert piece.num_rows == PIECE_ROWS_MAX


@pytest.mark.parametrize("inner", [_nulls(2**31 - 1), _repeated(2**31 - 1)], ids=["nulls", "runs"])
def test_one_row_too_large_is_refused(inner: pa.Array) -> None:
    """It cannot be cut: the client is told."""
    array = pa.ListArray.from_arrays(pa.array([0, 2**31 - 1], pa.int32()), inner)
    with pytest.raises(FlightmeshError, match="A row stands for more") as failure:
        list(halved(pa.record_batch([array], names=["x"])))
    assert failure.value.code is ErrorCode.EXHAUSTED


def test_all_rows_are_there_in_order() -> None:
    """Halving loses none and mixes none up."""
    dictionary = pa.array(["x" * 10_000_000, "y"])
    indices = pa.array([0, 1, None] * 30, pa.int8())
    batch = pa.record_batch([pa.DictionaryArray.from_arrays(indices, dictionary)], names=["x"])
    pieces = list(halved(batch))
    assert len(pieces) > 1
    joined = pa.Table.from_batches(pieces).column("x").combine_chunks()
    assert joined.indices.to_pylist() == indices.to_pylist()


def test_where_such_types_hide() -> None:
    """Inside of others too."""
    assert is_expanding(pa.null())
    assert not is_expanding(pa.string())
    assert holds(pa.list_(pa.struct([("a", pa.map_(pa.string(), pa.string_view()))])), is_expanding)
    assert not holds(pa.list_(pa.struct([("a", pa.string())])), is_expanding)

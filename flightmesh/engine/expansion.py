"""How much a batch stands for: a run, a dictionary or a view takes few bytes on the wire and may be many as values.

Sizes are told from lengths alone: nothing here makes the values.
"""

from __future__ import annotations

from array import array as machine_array
from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from flightmesh.errors import ErrorCode, FlightmeshError

_PIECE_BYTES_MAX = 64 << 20
_ROW_BYTES_MAX = 1 << 30
_TEXTS: tuple[Callable[[pa.DataType], bool], ...] = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
)


def halved(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The batch in pieces of a bounded size as plain values; EXHAUSTED when one row alone is too large."""
    weight = sum(map(_weight, batch.columns))
    if weight <= _PIECE_BYTES_MAX or (batch.num_rows == 1 and weight <= _ROW_BYTES_MAX):
        yield batch
    elif batch.num_rows == 1:
        raise FlightmeshError(
            ErrorCode.EXHAUSTED, f"A row stands for more than {_ROW_BYTES_MAX} bytes.", hint="Send smaller values."
        )
    else:
        middle = batch.num_rows // 2
        yield from halved(batch.slice(0, middle))
        yield from halved(batch.slice(middle))


def is_expanding(kind: pa.DataType) -> bool:
    """Whether few bytes of such an array may stand for many."""
    tests = (pa.types.is_null, pa.types.is_dictionary, pa.types.is_run_end_encoded)
    views = (pa.types.is_string_view, pa.types.is_binary_view, pa.types.is_list_view, pa.types.is_large_list_view)
    return any(test(kind) for test in (*tests, *views))


def _weight(sent: pa.Array) -> int:
    """About how many bytes the values take as plain ones; never far too few."""
    kind, length = sent.type, len(sent)
    if isinstance(kind, pa.BaseExtensionType):
        return _weight(sent.storage)
    if pa.types.is_dictionary(kind):
        return length * _largest(sent.dictionary)
    if pa.types.is_run_end_encoded(kind):
        return length * _largest(sent.values)
    if any(test(kind) for test in _TEXTS):
        return 4 * length + int(pc.sum(_lengths(sent)).as_py() or 0)
    if pa.types.is_nested(kind):
        return _nested_weight(sent)
    return length * (4 if pa.types.is_null(kind) else max(1, kind.bit_width // 8))


def _nested_weight(sent: pa.Array) -> int:
    kind, length = sent.type, len(sent)
    if pa.types.is_struct(kind):
        return length + sum(map(_weight, sent.flatten()))
    if pa.types.is_union(kind):
        return length + sum(length * _largest(sent.field(place)) for place in range(kind.num_fields))
    if pa.types.is_fixed_size_list(kind):
        return length + _weight(sent.values.slice(sent.offset * kind.list_size, length * kind.list_size))
    plain = as_list(sent) if pa.types.is_map(kind) else sent
    items = int(pc.sum(pc.list_value_length(plain)).as_py() or 0)
    # Flattening copies what several rows of a view share; so many items are too many anyway.
    return 4 * length + (_weight(plain.flatten()) if items <= _PIECE_BYTES_MAX else items)


def _largest(values: pa.Array) -> int:
    """At most how many bytes one of the values takes; what itself expands counts as a whole."""
    kind = values.type
    if any(test(kind) for test in _TEXTS):
        return 4 + int(pc.max(_lengths(values)).as_py() or 0)
    is_plain = not (pa.types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType) or is_expanding(kind))
    return 16 if is_plain else 16 + _weight(values)


def _lengths(texts: pa.Array) -> pa.Array:
    """How many bytes each text takes as a plain one."""
    if not (pa.types.is_string_view(texts.type) or pa.types.is_binary_view(texts.type)):
        return pc.binary_length(texts)
    # A view is 16 bytes long and begins with the length, which no function of pyarrow tells.
    views = machine_array("i", bytes(texts.buffers()[1].slice(16 * texts.offset, 16 * len(texts))))
    lengths = pa.Array.from_buffers(pa.int32(), len(texts), [None, pa.py_buffer(views[::4].tobytes())])
    return pc.if_else(pc.is_valid(texts), lengths, 0)


def holds(kind: pa.DataType, test: Callable[[pa.DataType], bool]) -> bool:
    """Whether the type or one inside it passes the test."""
    if isinstance(kind, pa.BaseExtensionType):
        return holds(kind.storage_type, test)
    if test(kind):
        return True
    if pa.types.is_dictionary(kind):
        return holds(kind.value_type, test)
    return any(holds(kind.field(place).type, test) for place in range(kind.num_fields))


def as_list(sent: pa.Array) -> pa.Array:
    """A map as the list of its entries, over the same buffers."""
    kind = sent.type
    entry = pa.struct([kind.key_field, kind.item_field])
    entries = pa.StructArray.from_arrays([sent.keys, sent.items], fields=list(entry))
    return pa.Array.from_buffers(pa.list_(entry), len(sent), sent.buffers()[:2], offset=sent.offset, children=[entries])

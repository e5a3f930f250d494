"""Arrow types: by the names that authors write in ``types:``, and in the plain form that every source gives them."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from flightmesh.names import did_you_mean
from flightmesh.sources.base import invalid

_TYPES = {
    "bool": pa.bool_(),
    "int8": pa.int8(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "uint8": pa.uint8(),
    "uint16": pa.uint16(),
    "uint32": pa.uint32(),
    "uint64": pa.uint64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "double": pa.float64(),
    "string": pa.string(),
    "utf8": pa.string(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "date32": pa.date32(),
    "time": pa.time64("us"),
    "time64": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
}
_TIMESTAMP = re.compile(r"timestamp\[(s|ms|us|ns)(?:,\s*(?:tz=)?([A-Za-z0-9_+\-/:]+))?\]")
_DECIMAL = re.compile(r"decimal(?:128)?\((\d{1,2}),\s*(\d{1,2})\)")


def arrow_type(source: str, column: str, text: str) -> pa.DataType:
    """The type of that name: ``int64``, ``string``, ``timestamp[us, UTC]``, ``decimal128(10, 2)``; INVALID for
    another.
    """
    if text in _TYPES:
        return _TYPES[text]
    stamp = _TIMESTAMP.fullmatch(text)
    if stamp:
        return pa.timestamp(stamp[1], stamp[2])
    decimal = _DECIMAL.fullmatch(text)
    if decimal and 1 <= int(decimal[1]) <= 38 and int(decimal[2]) <= int(decimal[1]):
        return pa.decimal128(int(decimal[1]), int(decimal[2]))
    raise invalid(
        source,
        f"{text!r}, the type of column {column}, is not the name of an Arrow type.",
        did_you_mean(text, _TYPES) or "Write for example int64, float64, string, date32, timestamp[us, UTC].",
    )


def plain(kind: pa.DataType) -> pa.DataType:
    """The type without a special layout: offsets of 32 bits, no views, dictionaries, runs or extensions."""
    if isinstance(kind, pa.BaseExtensionType):
        return plain(kind.storage_type)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return plain(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_map(kind):
        return pa.map_(plain(kind.key_type), plain(kind.item_type))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(plain(kind.value_type), kind.list_size)
    if pa.types.is_nested(kind) and hasattr(kind, "value_type"):
        return pa.list_(plain(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, plain(field.type)) for field in kind])
    return kind


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """The columns with plain types, all of them nullable, without metadata: what any source may promise."""
    return pa.schema([pa.field(field.name, plain(field.type)) for field in schema])


def plain_array(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """The values as that type, without loss; ArrowInvalid when one would be lost."""
    if array.type == kind:
        return array
    if isinstance(array.type, pa.BaseExtensionType):
        return plain_array(array.storage, kind)
    if pa.types.is_run_end_encoded(array.type):
        return plain_array(pc.run_end_decode(array), kind)
    if pa.types.is_dictionary(array.type):
        return plain_array(array.dictionary_decode(), kind)
    return array.cast(kind)


def check_sound(batch: pa.RecordBatch) -> None:
    """ArrowInvalid when the batch claims what its bytes do not hold, text that is not UTF-8 among it: those who read on
    would crash.
    """
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        try:
            if pa.types.is_time(array.type):
                _check_times(array)
            else:
                array.validate(full=True)
        except pa.ArrowInvalid as error:
            raise pa.ArrowInvalid(f"column {name}: {error}") from error


def _check_times(array: pa.Array) -> None:
    """As ``validate``, but that a day may end at 24:00:00, which SQL has and Arrow's own check does not."""
    numbers = array.view(pa.int32() if pa.types.is_time32(array.type) else pa.int64())
    numbers.validate(full=True)
    bounds = pc.min_max(numbers)
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[array.type.unit]
    lowest, highest = bounds["min"].as_py(), bounds["max"].as_py()
    if lowest is not None and not 0 <= lowest <= highest <= 86_400 * per_second:
        raise pa.ArrowInvalid("a time that is not of a day")

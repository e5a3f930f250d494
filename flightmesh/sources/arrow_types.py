"""Arrow types by the names that authors write in ``types:`` of a CSV source."""

from __future__ import annotations

import re

import pyarrow as pa

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

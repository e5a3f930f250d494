"""Values in the form that ``client.py`` tells of: from Arrow's scalars, and from what Python drivers give to users."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa

from tests.wire.client import Result

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}


def of_table(table: pa.Table) -> Result:
    """Columns and rows of an Arrow table, with nothing lost: nanoseconds and maps included."""
    rows = tuple(tuple(of_arrow(column[number]) for column in table.columns) for number in range(table.num_rows))
    return Result(tuple(table.column_names), rows)


def of_arrow(scalar: pa.Scalar) -> Any:  # Any: a value in the form of client.py
    """The value of an Arrow scalar."""
    kind = scalar.type
    if not scalar.is_valid:
        return None
    if isinstance(scalar, pa.ExtensionScalar):
        return of_arrow(scalar.value)
    if pa.types.is_dictionary(kind):
        return of_arrow(scalar.index if scalar.dictionary is None else scalar.dictionary[scalar.index.as_py()])
    if pa.types.is_nested(kind):
        return _nested(scalar)
    if pa.types.is_timestamp(kind):
        return _instant(scalar.value, kind.unit) + ("Z" if kind.tz else "")
    if pa.types.is_time(kind):
        return _instant(scalar.value, kind.unit).removeprefix("1970-01-01T")
    if pa.types.is_duration(kind):
        return {"months": 0, "days": 0, "nanoseconds": scalar.value * 10**9 // _PER_SECOND[kind.unit]}
    return of_python(scalar.as_py())


def _nested(scalar: pa.Scalar) -> Any:  # Any: see of_arrow
    kind = scalar.type
    if pa.types.is_union(kind):
        return of_arrow(scalar.value)
    if pa.types.is_struct(kind):
        return {field.name: of_arrow(scalar[number]) for number, field in enumerate(kind)}
    if pa.types.is_map(kind):
        return {str(of_arrow(entry[0])): of_arrow(entry[1]) for entry in scalar.values}
    return [of_arrow(value) for value in scalar.values]


def of_rows(columns: tuple[str, ...], rows: list[Any]) -> Result:
    """Rows as a driver of Python's database interface gives them."""
    return Result(columns, tuple(tuple(map(of_python, row)) for row in rows))


def of_python(value: object) -> Any:  # Any: see of_arrow
    """A value of Python, numpy or pandas."""
    if isinstance(value, Mapping):
        return {str(of_python(key)): of_python(item) for key, item in value.items()}
    if _is_interval(value):
        return dict(zip(("months", "days", "nanoseconds"), value, strict=True))  # type: ignore[call-overload]
    if isinstance(value, list | tuple | np.ndarray):
        return [of_python(item) for item in value]
    return _plain(value.item() if isinstance(value, np.generic) and not isinstance(value, np.datetime64) else value)


def _is_interval(value: object) -> bool:
    return isinstance(value, pa.MonthDayNano)


def _plain(value: object) -> Any:  # Any: see of_arrow
    if _is_missing(value):
        return None
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes | bytearray | memoryview):
        return "hex:" + bytes(value).hex()
    if isinstance(value, UUID | np.datetime64):
        return str(value)
    return _moment(value) if isinstance(value, datetime | date | time | timedelta) else value


def _is_missing(value: object) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _moment(value: datetime | date | time | timedelta) -> Any:  # Any: see of_arrow
    if isinstance(value, timedelta):
        return {"months": 0, "days": value.days, "nanoseconds": value.seconds * 10**9 + value.microseconds * 1000}
    zone = ""
    if isinstance(value, datetime) and value.tzinfo is not None:
        value, zone = value.astimezone(UTC).replace(tzinfo=None), "Z"
    text = value.isoformat()
    return (text.rstrip("0").rstrip(".") if "." in text else text) + zone


def _instant(value: int, unit: str) -> str:
    """ISO 8601 of a count of units since 1970, in full precision."""
    seconds, fraction = divmod(value, _PER_SECOND[unit])
    text = (datetime(1970, 1, 1) + timedelta(seconds=seconds)).isoformat()
    digits = f"{fraction:0{_DIGITS[unit]}d}".rstrip("0") if fraction else ""
    return f"{text}.{digits}" if digits else text

"""Arrow types in the words of DuckDB's SQL, and Arrow values as parameters.

A parameter is written ``CAST($1 AS <type>)``, so its type in the plan is the type that was bound, whatever the
driver's API thinks of it.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from flightmesh.errors import ErrorCode, FlightmeshError

_PLAIN: dict[pa.DataType, str] = {
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.uint8(): "UTINYINT",
    pa.uint16(): "USMALLINT",
    pa.uint32(): "UINTEGER",
    pa.uint64(): "UBIGINT",
    pa.float16(): "FLOAT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.date32(): "DATE",
    pa.date64(): "DATE",
    pa.string(): "VARCHAR",
    pa.large_string(): "VARCHAR",
    pa.string_view(): "VARCHAR",
    pa.binary(): "BLOB",
    pa.large_binary(): "BLOB",
    pa.binary_view(): "BLOB",
}
_TIMESTAMPS = {"s": "TIMESTAMP_S", "ms": "TIMESTAMP_MS", "us": "TIMESTAMP", "ns": "TIMESTAMP_NS"}


def sql_type(arrow: pa.DataType) -> str | None:
    """DuckDB's name of the type that holds every value of the Arrow type; None when a parameter cannot have it."""
    if arrow in _PLAIN:
        return _PLAIN[arrow]
    if pa.types.is_decimal(arrow):
        return (
            f"DECIMAL({arrow.precision},{arrow.scale})"
            if arrow.precision <= 38 and 0 <= arrow.scale <= arrow.precision
            else None
        )
    if pa.types.is_timestamp(arrow):
        return _TIMESTAMPS[arrow.unit] if arrow.tz is None else "TIMESTAMP WITH TIME ZONE"
    if pa.types.is_time(arrow):
        return "TIME_NS" if arrow.unit == "ns" else "TIME"
    if pa.types.is_fixed_size_binary(arrow):
        return "BLOB"
    if pa.types.is_dictionary(arrow):
        return sql_type(arrow.value_type)
    return None


def python_value(scalar: pa.Scalar) -> object:
    """The scalar as the Python value that DuckDB binds without loss; None for NULL.

    Dates, times and timestamps travel as ISO text, which the parameter's CAST reads back exactly: Python's own types
    end at microseconds and in the year 9999.
    """
    if not scalar.is_valid:
        return None
    arrow = scalar.type
    if pa.types.is_dictionary(arrow):
        return python_value(scalar.value)
    for matches, convert in _AS_TEXT:
        if matches(arrow):
            return convert(scalar)
    return scalar.as_py()


def _timestamp_text(scalar: pa.Scalar) -> str:
    """ISO 8601 with all digits of the unit; UTC where the type has a zone (Arrow keeps such values in UTC)."""
    arrow = scalar.type
    if arrow.tz is not None and arrow.unit == "ns" and scalar.value % 1000:
        raise FlightmeshError(
            ErrorCode.INVALID,
            "A timestamp with zone holds nanoseconds; the engine keeps microseconds.",
            hint="Bind microseconds, or a timestamp without zone.",
        )
    plain = pa.scalar(scalar.value, pa.int64()).cast(pa.timestamp(arrow.unit))
    return str(plain.cast(pa.string())) + ("" if arrow.tz is None else "+00")


def _iso_text(scalar: pa.Scalar) -> str:
    return str(scalar.cast(pa.string()))


_AS_TEXT: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Scalar], str]], ...] = (
    (pa.types.is_timestamp, _timestamp_text),
    (pa.types.is_date, _iso_text),
    (pa.types.is_time, _iso_text),
)

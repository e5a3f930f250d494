"""Values as SQL literals, exactly: PostgreSQL's spelling, DuckDB's, SQLite's, and what every dialect agrees on.

Each function gives None for a value that it cannot spell so that the source reads exactly that value.
"""

from __future__ import annotations

import datetime
import decimal
import functools
import math
from collections.abc import Callable

import pyarrow as pa

from flightmesh.names import literal as quoted


def _of(
    is_known: Callable[[pa.DataType], bool],
) -> Callable[[Callable[[pa.Scalar], str | None]], Callable[[pa.Scalar], str | None]]:
    """A literal for values of that kind alone: of NULL, and of another kind, there is none."""

    def limited(spell: Callable[[pa.Scalar], str | None]) -> Callable[[pa.Scalar], str | None]:
        @functools.wraps(spell)
        def literal(value: pa.Scalar) -> str | None:
            return spell(value) if value.is_valid and is_known(value.type) else None

        return literal

    return limited


@_of(pa.types.is_integer)
def integer(value: pa.Scalar) -> str | None:
    """All dialects. The smallest BIGINT is a sign and a number beyond BIGINT, so it has no form."""
    number = value.as_py()
    return None if number == -(2**63) else str(number)


@_of(pa.types.is_boolean)
def boolean(value: pa.Scalar) -> str | None:
    """PostgreSQL, DuckDB."""
    return "TRUE" if value.as_py() else "FALSE"


@_of(pa.types.is_decimal)
def decimal_number(value: pa.Scalar) -> str | None:
    """PostgreSQL, DuckDB. Without an exponent, which would make it a float."""
    number: decimal.Decimal = value.as_py()
    return f"{number:f}"


@_of(lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
def text(value: pa.Scalar) -> str | None:
    """Where a backslash is a character like any other. NUL ends texts in too many places."""
    content: str = value.as_py()
    return None if "\0" in content else quoted(content)


@_of(pa.types.is_floating)
def postgres_float(value: pa.Scalar) -> str | None:
    """NaN is equal to itself and above all others in PostgreSQL, as in DuckDB."""
    number: float = value.as_py()
    kind = "float4" if value.type == pa.float32() else "float8"
    return f"'{_float(number)}'::{kind}"


@_of(pa.types.is_floating)
def duckdb_float(value: pa.Scalar) -> str | None:
    kind = "FLOAT" if value.type == pa.float32() else "DOUBLE"
    return f"CAST('{_float(value.as_py())}' AS {kind})"


@_of(pa.types.is_floating)
def finite_float(value: pa.Scalar) -> str | None:
    """SQLite, where there is no NaN."""
    number: float = value.as_py()
    return repr(number) if math.isfinite(number) else None


@_of(pa.types.is_date)
def date(value: pa.Scalar) -> str | None:
    """``DATE '2020-01-31'``; none outside of the years 1 to 9999."""
    day = _moment(value)
    return None if day is None else f"DATE '{day.isoformat()}'"


@_of(pa.types.is_timestamp)
def timestamp(value: pa.Scalar) -> str | None:
    """``TIMESTAMP '2020-01-31 12:00:00'``, with time zone as UTC; none for nanoseconds that would be lost."""
    moment = _moment(value)
    if not isinstance(moment, datetime.datetime):
        return None
    if value.type.tz is None:
        return f"TIMESTAMP '{moment.isoformat(' ')}'"
    return f"TIMESTAMPTZ '{moment.astimezone(datetime.UTC).isoformat(' ')}'"


@_of(pa.types.is_time)
def time(value: pa.Scalar) -> str | None:
    """``TIME '12:00:00.000001'``."""
    moment = _moment(value)
    return None if moment is None else f"TIME '{moment.isoformat()}'"


def _moment(value: pa.Scalar) -> datetime.date | datetime.time | None:
    kind = value.type
    try:
        if getattr(kind, "unit", None) == "ns":
            # Raises where a part of a microsecond would be lost.
            value = value.cast(pa.time64("us") if pa.types.is_time(kind) else pa.timestamp("us", kind.tz))
        found: datetime.date | datetime.time = value.as_py()
    except (ValueError, OverflowError):  # pa.ArrowInvalid is a ValueError.
        return None
    return found


def _float(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return repr(number)

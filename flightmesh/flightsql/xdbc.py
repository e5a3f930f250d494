"""JDBC's and ODBC's view of data types: which XDBC type an Arrow type is, and the rows of GetXdbcTypeInfo.

Type names are DuckDB's. Unsigned integers are reported as the next wider signed type, so that a driver that goes by
the type number alone allots enough room. Nested types have no XDBC type and are ``XDBC_UNKNOWN_TYPE``. Decides
nothing about values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import pyarrow as pa


class XdbcDataType(IntEnum):
    """The type numbers of JDBC and ODBC."""

    XDBC_UNKNOWN_TYPE = 0
    XDBC_CHAR = 1
    XDBC_NUMERIC = 2
    XDBC_DECIMAL = 3
    XDBC_INTEGER = 4
    XDBC_SMALLINT = 5
    XDBC_FLOAT = 6
    XDBC_REAL = 7
    XDBC_DOUBLE = 8
    XDBC_DATETIME = 9
    XDBC_INTERVAL = 10
    XDBC_VARCHAR = 12
    XDBC_DATE = 91
    XDBC_TIME = 92
    XDBC_TIMESTAMP = 93
    XDBC_LONGVARCHAR = -1
    XDBC_BINARY = -2
    XDBC_VARBINARY = -3
    XDBC_LONGVARBINARY = -4
    XDBC_BIGINT = -5
    XDBC_TINYINT = -6
    XDBC_BIT = -7
    XDBC_WCHAR = -8
    XDBC_WVARCHAR = -9


class XdbcDatetimeSubcode(IntEnum):
    """The kinds of date and time that DuckDB has."""

    XDBC_SUBCODE_DATE = 1
    XDBC_SUBCODE_TIME = 2
    XDBC_SUBCODE_TIMESTAMP = 3
    XDBC_SUBCODE_TIME_WITH_TIMEZONE = 4
    XDBC_SUBCODE_TIMESTAMP_WITH_TIMEZONE = 5


class Searchable(IntEnum):
    """Which operators of WHERE a type takes."""

    SEARCHABLE_NONE = 0
    SEARCHABLE_CHAR = 1
    SEARCHABLE_BASIC = 2
    SEARCHABLE_FULL = 3


NULLABILITY_NULLABLE = 1

_X = XdbcDataType
_S = XdbcDatetimeSubcode


@dataclass(frozen=True, slots=True)
class ColumnType:
    """An Arrow type in XDBC's words.

    ``column_size``: digits of an exact number, bits of an approximate one (then ``radix`` is 2), characters of a date
    or time. ``decimal_digits``: digits after the point, of numbers and of seconds. ``None``: does not apply, or has
    no bound.
    """

    data_type: XdbcDataType
    type_name: str
    column_size: int | None = None
    decimal_digits: int | None = None
    radix: int | None = None
    datetime_subcode: XdbcDatetimeSubcode | None = None

    @property
    def sql_data_type(self) -> XdbcDataType:
        """The type number, which is ``XDBC_DATETIME`` for every date and time."""
        return self.data_type if self.datetime_subcode is None else _X.XDBC_DATETIME

    @property
    def is_text(self) -> bool:
        return self.data_type is _X.XDBC_VARCHAR


def column_type(arrow_type: pa.DataType) -> ColumnType:
    """The XDBC type of an Arrow type; ``XDBC_UNKNOWN_TYPE`` with Arrow's name for types that XDBC has no word for."""
    if pa.types.is_dictionary(arrow_type):
        return column_type(arrow_type.value_type)
    if pa.types.is_timestamp(arrow_type):
        return _timestamp(arrow_type)
    if pa.types.is_time(arrow_type):
        digits = _SECOND_DIGITS[arrow_type.unit]
        return ColumnType(_X.XDBC_TIME, "TIME", _clock_size(8, digits), digits, None, _S.XDBC_SUBCODE_TIME)
    if pa.types.is_decimal(arrow_type):
        name = f"DECIMAL({arrow_type.precision},{arrow_type.scale})"
        return ColumnType(_X.XDBC_DECIMAL, name, arrow_type.precision, arrow_type.scale, 10)
    if pa.types.is_fixed_size_binary(arrow_type):
        return ColumnType(_X.XDBC_VARBINARY, "BLOB", arrow_type.byte_width)
    return _SIMPLE.get(arrow_type) or ColumnType(_X.XDBC_UNKNOWN_TYPE, str(arrow_type))


def _timestamp(arrow_type: pa.DataType) -> ColumnType:
    digits = _SECOND_DIGITS[arrow_type.unit]
    size = _clock_size(19, digits)
    if arrow_type.tz is None:
        name = _TIMESTAMP_NAMES[arrow_type.unit]
        return ColumnType(_X.XDBC_TIMESTAMP, name, size, digits, None, _S.XDBC_SUBCODE_TIMESTAMP)
    zone = _S.XDBC_SUBCODE_TIMESTAMP_WITH_TIMEZONE
    return ColumnType(_X.XDBC_TIMESTAMP, "TIMESTAMP WITH TIME ZONE", size + len("+00:00"), digits, None, zone)


def _clock_size(whole: int, digits: int) -> int:
    """Characters of a clock time whose whole seconds take the given number."""
    return whole + (digits + 1 if digits else 0)


_SECOND_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_TIMESTAMP_NAMES = {"s": "TIMESTAMP_S", "ms": "TIMESTAMP_MS", "us": "TIMESTAMP", "ns": "TIMESTAMP_NS"}
_TEXT = ColumnType(_X.XDBC_VARCHAR, "VARCHAR")
_BLOB = ColumnType(_X.XDBC_VARBINARY, "BLOB")
_DATE = ColumnType(_X.XDBC_DATE, "DATE", 10, None, None, _S.XDBC_SUBCODE_DATE)

_SIMPLE: dict[pa.DataType, ColumnType] = {
    pa.null(): ColumnType(_X.XDBC_UNKNOWN_TYPE, "NULL"),
    pa.bool_(): ColumnType(_X.XDBC_BIT, "BOOLEAN", 1),
    pa.int8(): ColumnType(_X.XDBC_TINYINT, "TINYINT", 3, 0, 10),
    pa.int16(): ColumnType(_X.XDBC_SMALLINT, "SMALLINT", 5, 0, 10),
    pa.int32(): ColumnType(_X.XDBC_INTEGER, "INTEGER", 10, 0, 10),
    pa.int64(): ColumnType(_X.XDBC_BIGINT, "BIGINT", 19, 0, 10),
    pa.uint8(): ColumnType(_X.XDBC_SMALLINT, "UTINYINT", 3, 0, 10),
    pa.uint16(): ColumnType(_X.XDBC_INTEGER, "USMALLINT", 5, 0, 10),
    pa.uint32(): ColumnType(_X.XDBC_BIGINT, "UINTEGER", 10, 0, 10),
    pa.uint64(): ColumnType(_X.XDBC_NUMERIC, "UBIGINT", 20, 0, 10),
    pa.float16(): ColumnType(_X.XDBC_REAL, "FLOAT", 11, None, 2),
    pa.float32(): ColumnType(_X.XDBC_REAL, "FLOAT", 24, None, 2),
    pa.float64(): ColumnType(_X.XDBC_DOUBLE, "DOUBLE", 53, None, 2),
    pa.string(): _TEXT,
    pa.large_string(): _TEXT,
    pa.string_view(): _TEXT,
    pa.binary(): _BLOB,
    pa.large_binary(): _BLOB,
    pa.binary_view(): _BLOB,
    pa.date32(): _DATE,
    pa.date64(): _DATE,
    pa.month_day_nano_interval(): ColumnType(_X.XDBC_INTERVAL, "INTERVAL"),
}

# GetXdbcTypeInfo ----------------------------------------------------------------------------------

XDBC_TYPE_INFO_SCHEMA: pa.Schema = pa.schema(
    [
        pa.field("type_name", pa.string(), nullable=False),
        pa.field("data_type", pa.int32(), nullable=False),
        pa.field("column_size", pa.int32()),
        pa.field("literal_prefix", pa.string()),
        pa.field("literal_suffix", pa.string()),
        pa.field("create_params", pa.list_(pa.field("item", pa.string(), nullable=False))),
        pa.field("nullable", pa.int32(), nullable=False),
        pa.field("case_sensitive", pa.bool_(), nullable=False),
        pa.field("searchable", pa.int32(), nullable=False),
        pa.field("unsigned_attribute", pa.bool_()),
        pa.field("fixed_prec_scale", pa.bool_(), nullable=False),
        pa.field("auto_increment", pa.bool_()),
        pa.field("local_type_name", pa.string()),
        pa.field("minimum_scale", pa.int32()),
        pa.field("maximum_scale", pa.int32()),
        pa.field("sql_data_type", pa.int32(), nullable=False),
        pa.field("datetime_subcode", pa.int32()),
        pa.field("num_prec_radix", pa.int32()),
        pa.field("interval_precision", pa.int32()),
    ]
)


@dataclass(frozen=True, slots=True)
class TypeInfo:
    """One data type that SQL can name. A literal is written between the prefix and the suffix."""

    type: ColumnType
    prefix: str | None = None
    suffix: str | None = None
    create_params: tuple[str, ...] | None = None
    is_unsigned: bool | None = None
    scale_max: int | None = None


_TEXT_SIZE_MAX = 2_147_483_647


def _signed(arrow_type: pa.DataType) -> TypeInfo:
    return TypeInfo(column_type(arrow_type), is_unsigned=False, scale_max=0)


def _unsigned(arrow_type: pa.DataType) -> TypeInfo:
    return TypeInfo(column_type(arrow_type), is_unsigned=True, scale_max=0)


def _clock(type_: ColumnType) -> TypeInfo:
    return TypeInfo(type_, f"{type_.type_name} '", "'", scale_max=type_.decimal_digits)


def _text(name: str) -> TypeInfo:
    return TypeInfo(replace(_TEXT, type_name=name, column_size=_TEXT_SIZE_MAX), "'", "'")


TYPE_INFO: tuple[TypeInfo, ...] = (
    TypeInfo(column_type(pa.bool_())),
    _signed(pa.int8()),
    _signed(pa.int16()),
    _signed(pa.int32()),
    _signed(pa.int64()),
    _unsigned(pa.uint8()),
    _unsigned(pa.uint16()),
    _unsigned(pa.uint32()),
    _unsigned(pa.uint64()),
    TypeInfo(ColumnType(_X.XDBC_NUMERIC, "HUGEINT", 39, 0, 10), is_unsigned=False, scale_max=0),
    TypeInfo(ColumnType(_X.XDBC_NUMERIC, "UHUGEINT", 39, 0, 10), is_unsigned=True, scale_max=0),
    TypeInfo(column_type(pa.float32()), is_unsigned=False),
    TypeInfo(column_type(pa.float64()), is_unsigned=False),
    TypeInfo(
        ColumnType(_X.XDBC_DECIMAL, "DECIMAL", 38, 0, 10),
        create_params=("precision", "scale"),
        is_unsigned=False,
        scale_max=38,
    ),
    _text("VARCHAR"),
    TypeInfo(ColumnType(_X.XDBC_VARCHAR, "UUID", 36), "'", "'"),
    TypeInfo(replace(_BLOB, column_size=_TEXT_SIZE_MAX), "'", "'::BLOB"),
    _clock(_DATE),
    _clock(column_type(pa.time64("us"))),
    _clock(ColumnType(_X.XDBC_TIME, "TIME WITH TIME ZONE", 21, 6, None, _S.XDBC_SUBCODE_TIME_WITH_TIMEZONE)),
    *(_clock(column_type(pa.timestamp(unit))) for unit in _SECOND_DIGITS),
    _clock(column_type(pa.timestamp("us", "UTC"))),
    TypeInfo(ColumnType(_X.XDBC_INTERVAL, "INTERVAL"), "INTERVAL '", "'"),
)


def xdbc_type_info(data_type: int | None = None) -> pa.Table:
    """The data types of SQL, ordered by number and name; with a number, those of that number only."""
    rows = sorted((info.type.data_type, info.type.type_name, info) for info in TYPE_INFO if _is_asked(info, data_type))
    return pa.Table.from_pylist([_row(info) for _, _, info in rows], schema=XDBC_TYPE_INFO_SCHEMA)


def _is_asked(info: TypeInfo, data_type: int | None) -> bool:
    return data_type is None or info.type.data_type == data_type


def _row(info: TypeInfo) -> dict[str, object]:
    kind = info.type
    return {
        "type_name": kind.type_name,
        "data_type": int(kind.data_type),
        "column_size": kind.column_size,
        "literal_prefix": info.prefix,
        "literal_suffix": info.suffix,
        "create_params": info.create_params,
        "nullable": NULLABILITY_NULLABLE,
        "case_sensitive": kind.is_text,
        "searchable": int(Searchable.SEARCHABLE_FULL if kind.is_text else Searchable.SEARCHABLE_BASIC),
        "unsigned_attribute": info.is_unsigned,
        "fixed_prec_scale": False,
        "auto_increment": None if info.is_unsigned is None else False,
        "local_type_name": kind.type_name,
        "minimum_scale": None if info.scale_max is None else 0,
        "maximum_scale": info.scale_max,
        "sql_data_type": int(kind.sql_data_type),
        "datetime_subcode": kind.datetime_subcode,
        "num_prec_radix": kind.radix,
        "interval_precision": None,
    }

"""PostgreSQL's types as Arrow types: how each column is asked for, how it arrives, how it is compared.

================================  ============================  ====================================================
PostgreSQL                        Arrow                         remark
================================  ============================  ====================================================
smallint, integer, bigint         int16, int32, int64
real, double precision            float, double
numeric(p, s), p <= 38            decimal128(p, s)              NaN in it is an error: Arrow has none
numeric without precision         double                        17 digits; declare a precision to keep all
numeric of more than 38 digits    string
boolean, bytea, date, time        bool, binary, date32, time64  infinite dates are an error: Arrow has none
timestamp, timestamptz            timestamp[us], with UTC       likewise
text, varchar                     string
char(n)                           string                        without the blanks it is padded with, as CAST gives
json, jsonb, uuid, enums          string
interval                          month_day_nano_interval
arrays of these plain types       list                          more than one dimension is an error
all others                        string                        as CAST(... AS text) gives
================================  ============================  ====================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal as Word

import pyarrow as pa
import pyarrow.compute as pc

from flightmesh.names import quote
from flightmesh.sources import literals
from flightmesh.sources.render import Literal, Operand

# How an array that arrived becomes one of the column's type.
Arrival = Word["as it is", "scaled integer", "text", "checked days", "checked instants"]

_PLAIN: Mapping[str, pa.DataType] = {
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "bool": pa.bool_(),
    "bytea": pa.binary(),
    "text": pa.string(),
    "varchar": pa.string(),
    "json": pa.string(),
    "jsonb": pa.string(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
    "interval": pa.month_day_nano_interval(),
}
_ELEMENTS = frozenset({"int2", "int4", "int8", "float4", "float8", "bool", "text", "varchar"})
_ARRIVALS: Mapping[str, Arrival] = {
    "date": "checked days",
    "timestamp": "checked instants",
    "timestamptz": "checked instants",
}
_COMPARED: Mapping[str, Literal] = {
    "int2": literals.integer,
    "int4": literals.integer,
    "int8": literals.integer,
    "float4": literals.postgres_float,
    "float8": literals.postgres_float,
    "bool": literals.boolean,
    "date": literals.date,
    "time": literals.time,
    "timestamp": literals.timestamp,
    "timestamptz": literals.timestamp,
}
_NUMERIC_TYPMOD = re.compile(r"numeric\((\d+),(-?\d+)\)")
# The first day and instant that PostgreSQL has, 24 November 4714 BC. The infinite ones arrive below them, because the
# driver adds the distance between the two epochs without looking.
_DAY_MIN = -2_440_588
_INSTANT_MIN = _DAY_MIN * 86_400_000_000


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the catalogue has it. ``declared`` is PostgreSQL's spelling of its type, ``base`` the name of the
    type beneath domains, ``type_id`` and ``modifier`` what the catalogue compares.
    """

    name: str
    declared: str
    base: str
    type_id: int
    modifier: int
    is_required: bool
    comment: str | None
    type: pa.DataType
    wire: pa.DataType
    expression: str
    arrival: Arrival
    operand: Operand

    @property
    def is_cast(self) -> bool:
        """Whether the source converts it before it sends it, so that its type cannot be told from what arrives."""
        return self.expression != quote(self.name)

    @property
    def is_plain(self) -> bool:
        """Whether SQL over the column at the source means what it means over the published column."""
        if self.base in ("text", "varchar"):
            # Under another encoding or collation than that of bytes, equal texts may be different ones.
            return self.operand.equal == quote(self.name)
        return self.base in _COMPARED or isinstance(self.type, pa.Decimal128Type)


def column_of(row: Mapping[str, object]) -> Column:
    """The column of one row of ``postgres_catalog.columns_query``."""
    name, base, bare = str(row["name"]), str(row["base"]), str(row["bare"])
    kind, wire, expression, arrival = _transport(quote(name), base, bare)
    return Column(
        name,
        str(row["declared"]),
        base,
        int(str(row["type_id"])),
        int(str(row["modifier"])),
        bool(row["is_required"]),
        None if row["comment"] is None else str(row["comment"]),
        kind,
        wire,
        expression,
        arrival,
        _operand(row, base, kind, expression),
    )


def arrived(column: Column, array: pa.Array) -> pa.Array:
    """The array in the column's type. pa.ArrowInvalid naming a value that Arrow cannot hold."""
    match column.arrival:
        case "scaled integer":
            return array.cast(pa.decimal128(19, 0)).view(column.type)
        case "text":
            return array.cast(column.type)
        case "checked days":
            return _checked(array, array.view(pa.int32()), _DAY_MIN)
        case "checked instants":
            return _checked(array, array.view(pa.int64()), _INSTANT_MIN)
        case _:
            return array


def finite(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch; pa.ArrowInvalid where it holds an infinite date or time, which arrives as another one."""
    for array in batch.columns:
        if pa.types.is_date32(array.type):
            _checked(array, array.view(pa.int32()), _DAY_MIN)
        elif pa.types.is_timestamp(array.type):
            _checked(array, array.view(pa.int64()), _INSTANT_MIN)
    return batch


def _checked(array: pa.Array, numbers: pa.Array, first: int) -> pa.Array:
    lowest = pc.min(numbers).as_py()
    if lowest is not None and lowest < first:
        raise pa.ArrowInvalid("an infinite date or time")
    return array


def _transport(name: str, base: str, bare: str) -> tuple[pa.DataType, pa.DataType, str, Arrival]:
    """The type, the type on the wire, the expression that is selected, and what becomes of what arrives."""
    if base in _PLAIN:
        return _PLAIN[base], _PLAIN[base], name, _ARRIVALS.get(base, "as it is")
    if base == "numeric":
        return _numeric(name, bare)
    if base.startswith("_") and base[1:] in _ELEMENTS:
        kind = pa.list_(_PLAIN[base[1:]])
        # The driver would lay more dimensions flat. The text that is no array makes the statement fail instead.
        guarded = f"CASE WHEN array_ndims({name}) > 1 THEN array_dims({name})::{base[1:]}[] ELSE {name} END"
        return kind, kind, guarded, "as it is"
    return pa.string(), pa.string(), f"{name}::text", "as it is"


def _numeric(name: str, bare: str) -> tuple[pa.DataType, pa.DataType, str, Arrival]:
    declared = _NUMERIC_TYPMOD.fullmatch(bare)
    if declared is None:
        return pa.float64(), pa.float64(), f"{name}::float8", "as it is"
    precision, scale = int(declared[1]), int(declared[2])
    if precision > 38 or not 0 <= scale <= precision:
        return pa.string(), pa.string(), f"{name}::text", "as it is"
    kind = pa.decimal128(precision, scale)
    if precision <= 18:
        # As an integer a number costs the source, the driver and us half of what its digits as text cost.
        factor = f" * 1{'0' * scale}" if scale else ""
        return kind, pa.int64(), f"({name}{factor})::int8", "scaled integer"
    return kind, pa.string(), f"{name}::text", "text"


def _operand(row: Mapping[str, object], base: str, kind: pa.DataType, expression: str) -> Operand:
    """How the source compares it."""
    name = quote(str(row["name"]))
    if base in _COMPARED:
        return Operand(name, _COMPARED[base], equal=name, ordered=name)
    if base == "numeric" and pa.types.is_decimal(kind):
        return Operand(name, literals.decimal_number, equal=name, ordered=name)
    if base == "numeric" and pa.types.is_floating(kind):
        return Operand(name, literals.postgres_float, equal=expression, ordered=expression)
    # Text in another encoding has another order, and no place for most literals.
    if kind != pa.string() or base in ("json", "jsonb") or not row["is_utf8"]:
        return Operand(name)
    bytewise = f'{expression} COLLATE "C"'
    # Under a deterministic collation only equal bytes are equal, and the column's own index is of use.
    is_indexed = row["is_deterministic"] and expression == name
    return Operand(name, literals.text, equal=name if is_indexed else bytewise, ordered=bytewise)

"""Predicates as files are filtered by them: as exact pyarrow expressions, weakened to some columns, and in words.

SQL orders NaN above all numbers and takes -0.0 for 0.0; pyarrow does neither by itself. A row that SQL keeps must pass
here too, so what pyarrow cannot say exactly is left to the engine.
"""

from __future__ import annotations

import functools
import math
import operator

import pyarrow as pa
import pyarrow.compute as pc

from flightmesh.names import literal, quote
from flightmesh.sources.predicate import (
    AllOf,
    AnyOf,
    Compare,
    IsNull,
    IsPresent,
    OneOf,
    Predicate,
    all_of,
    columns_of,
    conjuncts,
    to_arrow,
)

_VALUES_SHOWN = 8


class _Misfit(Exception):  # noqa: N818 - an outcome, not an error
    """A part that has no exact expression over the columns."""


def fitted(predicate: Predicate | None, schema: pa.Schema) -> tuple[Predicate | None, tuple[str, ...]]:
    """The parts that have an exact expression, their literals in the columns' types; and the others, in words."""
    kept: list[Predicate] = []
    left: list[str] = []
    for part in conjuncts(predicate):
        try:
            fit = _fit(part, schema)
            schema.empty_table().filter(expression(fit))
            kept.append(fit)
        except (_Misfit, pa.ArrowException):
            left.append(f"{words(part)}: files cannot be filtered by it")
    return all_of(tuple(kept)), tuple(left)


def expression(predicate: Predicate) -> pc.Expression:
    """The predicate, whose literals have the columns' types, with NaN and zeros as SQL has them."""
    match predicate:
        case AllOf(parts):
            return functools.reduce(operator.and_, map(expression, parts))
        case AnyOf(parts):
            return functools.reduce(operator.or_, map(expression, parts))
        case Compare(column, op, value) if op in (">", ">=") and pa.types.is_floating(value.type):
            return to_arrow(predicate) | pc.is_nan(pc.field(column))
        case OneOf(column, values) if pa.types.is_floating(values.type):
            return functools.reduce(operator.or_, (to_arrow(Compare(column, "=", value)) for value in values))
    return to_arrow(predicate)


def weakened(predicate: Predicate | None, columns: frozenset[str]) -> Predicate | None:
    """What the predicate says of these columns alone: holds wherever the predicate does; None when it says nothing."""
    match predicate:
        case AllOf(parts):
            return all_of(tuple(found for part in parts if (found := weakened(part, columns)) is not None))
        case AnyOf(parts):
            each = [weakened(part, columns) for part in parts]
            return None if None in each else AnyOf(tuple(part for part in each if part is not None))
    return predicate if columns.issuperset(columns_of(predicate)) else None


def words(predicate: Predicate) -> str:
    """The predicate for people, much as SQL has it; long lists are cut."""
    match predicate:
        case AllOf(parts):
            return " AND ".join(f"({words(part)})" for part in parts)
        case AnyOf(parts):
            return " OR ".join(f"({words(part)})" for part in parts)
        case Compare(column, op, value):
            return f"{_name(column)} {op} {_literal(value)}"
        case OneOf(column, values):
            shown = [_literal(value) for value in values[:_VALUES_SHOWN]]
            more = [f"and {len(values) - _VALUES_SHOWN} more"] if len(values) > _VALUES_SHOWN else []
            return f"{_name(column)} IN ({', '.join(shown + more)})"
        case IsNull(column):
            return f"{_name(column)} IS NULL"
        case IsPresent(column):
            return f"{_name(column)} IS NOT NULL"


def _fit(predicate: Predicate, schema: pa.Schema) -> Predicate:
    match predicate:
        case AllOf(parts):
            return AllOf(tuple(_fit(part, schema) for part in parts))
        case AnyOf(parts):
            return AnyOf(tuple(_fit(part, schema) for part in parts))
        case Compare(column, op, value):
            return Compare(column, op, _cast(pa.array([value], value.type), _type(schema, column))[0])
        case OneOf(column, values):
            return OneOf(column, _cast(values, _type(schema, column)))
    _type(schema, predicate.column)
    return predicate


def _type(schema: pa.Schema, column: str) -> pa.DataType:
    if schema.get_field_index(column) < 0:
        raise _Misfit
    return schema.field(column).type


def _cast(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """The literals in the column's type, when that loses nothing and turns none into another."""
    instants = [pa.types.is_timestamp(t) and t.tz is not None for t in (values.type, kind)]
    if instants[0] != instants[1] or pa.types.is_string(kind) != pa.types.is_string(values.type):
        raise _Misfit
    found = values.cast(kind)
    if pa.types.is_floating(kind) and any(math.isnan(value.as_py()) for value in found):
        raise _Misfit
    if pa.types.is_floating(kind) and found.cast(values.type) != values:
        raise _Misfit
    return found


def _name(column: str) -> str:
    return column if column.isidentifier() else quote(column)


def _literal(value: pa.Scalar) -> str:
    if pa.types.is_binary(value.type):
        return f"x'{value.as_py().hex()}'"
    if pa.types.is_nested(value.type) or pa.types.is_floating(value.type):
        return str(value.as_py())
    shown = value.cast(pa.string()).as_py()
    return str(shown) if pa.types.is_primitive(value.type) and not pa.types.is_temporal(value.type) else literal(shown)

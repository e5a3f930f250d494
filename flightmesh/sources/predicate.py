"""Row predicates as values: what the engine asks of a scan, between the engine's own form and those of the sources.

DuckDB hands a scan its filters as a pyarrow expression. Its only complete form that can be read is the one pyarrow
pickles it in: an Arrow IPC message whose metadata lists the tree and whose columns hold the literals, with their
types. What cannot be read is None: then a source is asked for more rows and the caller filters. NULL follows SQL
(three-valued logic) everywhere.
"""

from __future__ import annotations

import ctypes
import functools
import operator
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

Comparison = Literal["=", "<>", "<", "<=", ">", ">="]

_COMPARISONS: dict[str, Comparison] = {
    "equal": "=",
    "not_equal": "<>",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
}
_MIRRORED: dict[Comparison, Comparison] = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
# A node of the pickled tree: ("field", name), ("literal", scalar), or ("call", function, children, options).
_Node = tuple[Any, ...]
_OPERATORS: dict[Comparison, Any] = {  # Any: pyarrow is untyped
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Compare:
    """A column against a literal, which is never NULL and has the column's type."""

    column: str
    op: Comparison
    value: pa.Scalar


@dataclass(frozen=True, slots=True)
class OneOf:
    """A column among literals without NULL."""

    column: str
    values: pa.Array


@dataclass(frozen=True, slots=True)
class IsNull:
    """A column without a value."""

    column: str


@dataclass(frozen=True, slots=True)
class IsPresent:
    """A column with a value."""

    column: str


@dataclass(frozen=True, slots=True)
class AllOf:
    """AND of two and more."""

    parts: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """OR of two and more."""

    parts: tuple[Predicate, ...]


Predicate = Compare | OneOf | IsNull | IsPresent | AllOf | AnyOf


def conjuncts(predicate: Predicate | None) -> tuple[Predicate, ...]:
    """The parts that must all hold; none for None."""
    if predicate is None:
        return ()
    return predicate.parts if isinstance(predicate, AllOf) else (predicate,)


def all_of(parts: tuple[Predicate, ...]) -> Predicate | None:
    """The predicate that all parts hold; None for no parts."""
    flat = tuple(inner for part in parts for inner in conjuncts(part))
    return AllOf(flat) if len(flat) > 1 else next(iter(flat), None)


def columns_of(predicate: Predicate | None) -> tuple[str, ...]:
    """The columns that the predicate reads, each once, in order."""
    if predicate is None:
        return ()
    if isinstance(predicate, AllOf | AnyOf):
        return tuple(dict.fromkeys(name for part in predicate.parts for name in columns_of(part)))
    return (predicate.column,)


def to_arrow(predicate: Predicate) -> pc.Expression:
    """The predicate as a pyarrow expression."""
    match predicate:
        case AllOf(parts):
            return functools.reduce(operator.and_, map(to_arrow, parts))
        case AnyOf(parts):
            return functools.reduce(operator.or_, map(to_arrow, parts))
        case Compare(column, op, value):
            return _OPERATORS[op](pc.field(column), pc.scalar(value))
        case OneOf(column, values):
            return pc.field(column).isin(values)
        case IsNull(column):
            return pc.field(column).is_null()
        case IsPresent(column):
            return pc.field(column).is_valid()


def decode(expression: pc.Expression | None) -> Predicate | None:
    """The predicate that holds wherever the expression does: parts of a conjunction that have no form here are left
    out.
    """
    if expression is None:
        return None
    try:
        return _necessary(_tree(expression))
    except (_Unknown, RecursionError):  # Thousands of conditions nest as deeply.
        return None


def fields(expression: pc.Expression) -> tuple[str, ...] | None:
    """The columns that the expression reads, each once; None when that cannot be told."""
    try:
        return tuple(dict.fromkeys(_names(_tree(expression))))
    except (_Unknown, RecursionError):
        return None


def _names(node: _Node) -> Iterator[str]:
    if node[0] == "field":
        yield node[1]
    elif node[0] == "call":
        for child in node[2]:
            yield from _names(child)


class _Unknown(Exception):  # noqa: N818 - an outcome, not an error
    """A part of an expression without a form here."""


def _necessary(node: _Node) -> Predicate | None:
    """The node's predicate, or of an AND the parts that have one."""
    if node[0] == "call" and node[1] in ("and_kleene", "and"):
        return all_of(tuple(part for part in map(_necessary, node[2]) if part is not None))
    try:
        return _exact(node)
    except _Unknown:
        return None


def _exact(node: _Node) -> Predicate:
    if node[0] != "call":
        raise _Unknown
    _, function, children, options = node
    if function in ("and_kleene", "and"):
        found = all_of(tuple(map(_exact, children)))
        assert found is not None
        return found
    if function in ("or_kleene", "or"):
        parts = tuple(map(_exact, children))
        return AnyOf(tuple(inner for part in parts for inner in (part.parts if isinstance(part, AnyOf) else (part,))))
    if function in _COMPARISONS:
        return _compare(_COMPARISONS[function], *children)
    if function == "if_else":
        return _guarded(*children)
    if function == "is_in":
        return _one_of(_name(children[0]), options)
    if function == "is_null" and not options.get("nan_is_null"):
        return IsNull(_name(children[0]))
    if function == "is_valid":
        return IsPresent(_name(children[0]))
    raise _Unknown


def _compare(op: Comparison, left: _Node, right: _Node) -> Predicate:
    if left[0] == "literal":
        op, left, right = _MIRRORED[op], right, left
    if right[0] != "literal" or not right[1].is_valid:
        raise _Unknown
    return Compare(_name(left), op, right[1])


def _guarded(condition: _Node, value: _Node, otherwise: _Node) -> Predicate:
    """``if_else(is_valid(c), is_in(c, ...), null)``: how DuckDB spells IN so that NULL stays NULL."""
    if otherwise[0] != "literal" or otherwise[1].is_valid:
        raise _Unknown
    guard, guarded = _exact(condition), _exact(value)
    if not isinstance(guard, IsPresent) or columns_of(guarded) != (guard.column,):
        raise _Unknown
    return guarded


def _one_of(column: str, options: dict[str, Any]) -> Predicate:
    values = options["value_set"]
    if not isinstance(values, pa.Array) or values.null_count:  # An empty set has come as a list.
        raise _Unknown
    return OneOf(column, values)


def _name(node: _Node) -> str:
    if node[0] != "field":
        raise _Unknown
    return str(node[1])


def _tree(expression: pc.Expression) -> _Node:
    """The expression as nodes, from the message that it is pickled in (arrow::compute::Serialize)."""
    message = expression.__reduce__()[1][0]
    with pa.ipc.open_file(pa.BufferReader(message)) as file:
        schema = file.schema
        literals = file.get_batch(0) if file.num_record_batches else None
    steps = iter(_metadata(schema))
    try:
        return _node(*next(steps), steps, literals)
    except (StopIteration, IndexError, KeyError, ValueError) as error:
        raise _Unknown from error


def _node(word: str, text: str, steps: Iterator[tuple[str, str]], literals: pa.RecordBatch) -> _Node:
    if word == "field_ref":
        return ("field", text)
    if word == "literal":
        return ("literal", literals.column(int(text))[0])
    if word != "call":
        raise _Unknown
    children: list[_Node] = []
    options: dict[str, Any] = {}
    for inner, value in steps:
        if inner == "end":
            return ("call", text, children, options)
        if inner == "options":
            found = literals.column(int(value))[0]
            options = {name: getattr(found[name], "values", None) or found[name].as_py() for name in found}
        else:
            children.append(_node(inner, value, steps, literals))
    raise _Unknown


class _ArrowSchema(ctypes.Structure):
    """struct ArrowSchema of the Arrow C data interface, as far as it is read here."""

    _fields_ = (
        ("format", ctypes.c_char_p),
        ("name", ctypes.c_char_p),
        ("metadata", ctypes.c_void_p),
        ("flags", ctypes.c_int64),
        ("n_children", ctypes.c_int64),
        ("children", ctypes.c_void_p),
        ("dictionary", ctypes.c_void_p),
        ("release", ctypes.c_void_p),
        ("private_data", ctypes.c_void_p),
    )


def _metadata(schema: pa.Schema) -> list[tuple[str, str]]:
    """All pairs in order. pyarrow shows metadata as a dict, in which repeated keys are lost; the C data interface has
    them all.
    """
    exported = _ArrowSchema()
    schema._export_to_c(ctypes.addressof(exported))
    try:
        at = exported.metadata
        if not at:
            raise _Unknown
        (count,) = struct.unpack("=i", ctypes.string_at(at, 4))
        at += 4
        texts = []
        for _ in range(2 * count):
            (length,) = struct.unpack("=i", ctypes.string_at(at, 4))
            texts.append(ctypes.string_at(at + 4, length).decode())
            at += 4 + length
    finally:
        pa.Schema._import_from_c(ctypes.addressof(exported))  # Takes it back, and with it frees it.
    return list(zip(texts[::2], texts[1::2], strict=True))

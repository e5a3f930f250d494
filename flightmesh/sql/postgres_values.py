"""Values in PostgreSQL's words: literals rendered from the tree, and conversions that keep DuckDB's meaning.

Every text made here is one operand, safe to stand beside any operator. A conversion that is not known to give what
DuckDB gives is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from flightmesh.sql.pushable import (
    BIGINT,
    BLOB,
    BOOLEAN,
    DATE,
    DOUBLE,
    FLOAT,
    HUGEINT,
    INTEGER,
    INTEGERS,
    NULL,
    SMALLINT,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    UUID,
    VARCHAR,
    NotPushed,
    Type,
    common_type,
    fits,
    integer_for,
    is_exact,
)

_NAMES = {
    BOOLEAN: "boolean",
    SMALLINT: "smallint",
    INTEGER: "integer",
    BIGINT: "bigint",
    HUGEINT: "numeric",
    FLOAT: "real",
    DOUBLE: "double precision",
    VARCHAR: "text",
    DATE: "date",
    TIME: "time",
    TIMESTAMP: "timestamp",
    TIMESTAMPTZ: "timestamp with time zone",
    UUID: "uuid",
    BLOB: "bytea",
    NULL: "text",
}
_DAY = r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?"
# How a text literal must be written to mean the same to both; year 0 is none to PostgreSQL.
_LITERALS = {
    DATE: re.compile(rf"(?!0000){_DAY}"),
    TIME: re.compile(_CLOCK),
    TIMESTAMP: re.compile(rf"(?!0000){_DAY}(?:[ T]{_CLOCK})?"),
    TIMESTAMPTZ: re.compile(rf"(?!0000){_DAY}[ T]{_CLOCK}(?:Z|[+-]\d\d(?::\d\d)?)"),
    UUID: re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
    BOOLEAN: re.compile(r"true|false"),
    DOUBLE: re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"),
}
_INTEGER = re.compile(r"-?\d+")
_DECIMAL = re.compile(r"-?(?:\d+\.?\d*|\.\d+)")
_DOUBLE = re.compile(r"-?(?:\d+\.?\d*|\.\d+)[eE][+-]?\d+")


@dataclass(frozen=True, slots=True)
class Value:
    """An operand: its text in the database and its type in DuckDB.

    ``integer`` and ``string`` are set for literals, which take the type of what stands beside them. ``is_typed``: the
    database is sure to have the operand in its own type of that name.
    """

    text: str
    type: Type
    integer: int | None = None
    string: str | None = None
    is_typed: bool = False

    @property
    def is_literal(self) -> bool:
        return self.integer is not None or self.string is not None


def type_name(type_: Type) -> str:
    """The database's name of the type that holds DuckDB's; NotPushed when there is none."""
    if type_.kind == "DECIMAL":
        return f"numeric({type_.width},{type_.scale})"
    if type_ not in _NAMES:
        raise NotPushed(f"the type {type_} is not pushed")
    return _NAMES[type_]


def literal(constant: dict[str, Any]) -> Value:  # Any: the parser's own JSON
    """A constant of the tree."""
    kind, text = constant.get("kind"), str(constant.get("text", ""))
    if kind == "NULL_LITERAL":
        return Value("CAST(NULL AS text)", NULL)
    if kind == "BOOLEAN" and text in ("true", "false"):
        return Value(text.upper(), BOOLEAN, is_typed=True)
    if kind == "STRING":
        return Value(f"CAST({quoted(text)} AS text)", VARCHAR, string=text, is_typed=True)
    if kind == "INTEGER" and _INTEGER.fullmatch(text):
        return integer(int(text))
    if kind in ("NUMERIC", "INTEGER", "FLOAT", "DOUBLE"):
        return _number(text)
    raise NotPushed(f"a literal of the kind {kind} is not pushed")


def integer(value: int) -> Value:
    type_ = integer_for(value)
    return Value(f"CAST({quoted(str(value))} AS {type_name(type_)})", type_, integer=value, is_typed=True)


def quoted(text: str) -> str:
    """A string literal that means the same whatever ``standard_conforming_strings`` is."""
    if "\0" in text:
        raise NotPushed("a text literal holds the character NUL")
    doubled = text.replace("'", "''")
    return "E'" + doubled.replace("\\", "\\\\") + "'" if "\\" in text else f"'{doubled}'"


def _number(text: str) -> Value:
    if _DOUBLE.fullmatch(text):
        return Value(f"CAST({quoted(text)} AS double precision)", DOUBLE, is_typed=True)
    if not _DECIMAL.fullmatch(text):
        raise NotPushed("a number is written in a way that is not known here")
    whole, _, fraction = text.lstrip("-").partition(".")
    type_ = Type("DECIMAL", len(whole) + len(fraction), len(fraction))
    if type_.width > 38:
        raise NotPushed("a number has more than 38 digits")
    return Value(f"CAST({quoted(text)} AS {type_name(type_)})", type_, is_typed=True)


def typed_literal(value: Value, target: Type) -> Value:
    """A text literal read as the type, when both engines read it alike."""
    text = value.string or ""
    pattern = _INTEGER if target in INTEGERS else _DECIMAL if target.kind == "DECIMAL" else _LITERALS.get(target)
    if pattern is None or not pattern.fullmatch(text):
        raise NotPushed(f"a text literal is read as {target}")
    return Value(f"CAST({quoted(text)} AS {type_name(target)})", target, is_typed=True)


def convert(value: Value, target: Type) -> str:
    """The operand widened to the type, as DuckDB does by itself; loses nothing."""
    if value.type == target:
        return value.text
    if value.type == NULL:
        return f"CAST(NULL AS {type_name(target)})"
    if value.string is not None and target != VARCHAR:
        return typed_literal(value, target).text
    if value.integer is not None and target in INTEGERS and fits(value.integer, target):
        return f"CAST({quoted(str(value.integer))} AS {type_name(target)})"
    if target == DOUBLE:
        return to_double(value)
    if target.kind == "DECIMAL" and is_exact(value.type):
        return f"CAST({value.text} AS numeric)"
    if (target in INTEGERS and value.type in INTEGERS) or (value.type, target) == (DATE, TIMESTAMP):
        return f"CAST({value.text} AS {type_name(target)})"
    raise NotPushed(f"{value.type} is read as {target}")


def to_double(value: Value) -> str:
    """The operand as the nearest double, which is what both engines take."""
    if value.type == DOUBLE:
        return value.text
    if value.type not in (*INTEGERS, FLOAT) and value.type.kind != "DECIMAL":
        raise NotPushed(f"{value.type} is read as DOUBLE")
    return f"CAST({value.text} AS double precision)"


def cast(value: Value, target: Type) -> Value:
    """The operand under an explicit CAST, a literal no more; NotPushed for casts of which the answers may differ."""
    if value.string is not None and target != VARCHAR:
        return typed_literal(value, target)
    if value.type == target:
        return replace(value, integer=None, string=None)
    return Value(_cast(value, target), target, is_typed=True)


def _cast(value: Value, target: Type) -> str:
    if value.type == NULL or target == DOUBLE or (value.integer is not None and target in INTEGERS):
        return convert(value, target)
    if is_exact(value.type) and is_exact(target):
        rounded = f"round(CAST({value.text} AS numeric))" if target == HUGEINT else value.text
        return f"CAST({rounded} AS {type_name(target)})"
    if (value.type, target) in ((DATE, TIMESTAMP), (TIMESTAMP, DATE), (BOOLEAN, INTEGER), (UUID, VARCHAR)):
        return f"CAST({value.text} AS {type_name(target)})"
    if value.type == DOUBLE and target in (SMALLINT, INTEGER, BIGINT):
        return f"CAST({value.text} AS {type_name(target)})"
    if target == VARCHAR and (is_exact(value.type) or value.type == BOOLEAN):
        # At the type's own scale, which is what is written.
        return f"CAST(CAST({value.text} AS {type_name(value.type)}) AS text)"
    if target == BOOLEAN and value.type in INTEGERS:
        return f"({value.text} <> 0)"
    raise NotPushed(f"the cast of {value.type} to {target} has no proven equal")


def united(values: Sequence[Value]) -> tuple[list[str], Type]:
    """The operands as values of one type, and that type; NotPushed where DuckDB would cut digits to unite them."""
    type_, holds_all = common_type([value.type for value in values], [value.integer for value in values])
    if not holds_all:
        raise NotPushed("decimals need more than 38 digits together")
    return [convert(value, type_) for value in values], type_


def compared(values: Sequence[Value], *, is_order: bool) -> list[str]:
    """The operands ready to be compared with each other: in one type, and texts by their bytes."""
    strings = [value for value in values if value.string is not None]
    others = {value.type for value in values if value.string is None and value.type != NULL}
    if strings and len(others) == 1 and VARCHAR not in others:
        target = others.pop()
        values = [value if value.string is None else typed_literal(value, target) for value in values]
    type_, _ = common_type([value.type for value in values], [value.integer for value in values])
    texts = [convert(value, type_) for value in values]
    if type_ in (UUID, BLOB) and is_order:
        raise NotPushed(f"values of {type_} are put in order")
    if type_ != VARCHAR:
        return texts
    # Equality with a literal may use an index, and compares bytes under every collation but a nondeterministic one.
    is_plain = not is_order and sum(not value.is_literal for value in values) <= 1
    return texts if is_plain else [by_bytes(text) for text in texts]


def by_bytes(text: str) -> str:
    return f'({text} COLLATE "C")'


def order_key(value: Value) -> str:
    """The operand as a sort key."""
    if value.type.kind in ("OTHER", "INTERVAL", "UUID", "BLOB", "NULL"):
        raise NotPushed(f"rows are put in the order of {value.type}")
    return by_bytes(value.text) if value.type == VARCHAR else value.text

"""What a pushed statement is made of: relations of one database, types in DuckDB's words, and the reason why not.

The types here are those that DuckDB gives to expressions; how a database calls them is its dialect's business. A type
or a mixture of types that is not known here is not pushed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flightmesh.names import fold

DECIMAL_WIDTH_MAX = 38


class NotPushed(Exception):  # noqa: N818 - an outcome with a reason, not a failure
    """Why a statement is not sent to the database as a whole, in plain words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class RemoteTable:
    """A relation of the database.

    ``path`` is its name in DuckDB's text (one to three parts), ``remote`` its name in the database, ``columns`` the
    DuckDB type of every column in order, by name. The type is empty for a column that the database compares or reads
    otherwise than DuckDB (char(n), citext, nondeterministic collations): no expression over it is pushed.
    """

    path: tuple[str, ...]
    remote: tuple[str, ...]
    columns: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Type:
    """A DuckDB type. ``width`` and ``scale`` are those of DECIMAL, 0 for all others."""

    kind: str
    width: int = 0
    scale: int = 0

    def __str__(self) -> str:
        return f"DECIMAL({self.width},{self.scale})" if self.kind == "DECIMAL" else self.kind


NULL, BOOLEAN, VARCHAR = Type("NULL"), Type("BOOLEAN"), Type("VARCHAR")
SMALLINT, INTEGER, BIGINT, HUGEINT = Type("SMALLINT"), Type("INTEGER"), Type("BIGINT"), Type("HUGEINT")
FLOAT, DOUBLE = Type("FLOAT"), Type("DOUBLE")
DATE, TIME, TIMESTAMP = Type("DATE"), Type("TIME"), Type("TIMESTAMP")
TIMESTAMPTZ, INTERVAL = Type("TIMESTAMP WITH TIME ZONE"), Type("INTERVAL")
# A column of a type that is not known here: it can be passed on and counted, and nothing else.
OTHER = Type("OTHER")
UUID, BLOB = Type("UUID"), Type("BLOB")

# From the narrowest to the widest, with the digits that each holds as a decimal.
INTEGERS = (SMALLINT, INTEGER, BIGINT, HUGEINT)
_DIGITS = {SMALLINT: 5, INTEGER: 10, BIGINT: 19, HUGEINT: DECIMAL_WIDTH_MAX}
_BITS = {SMALLINT: 15, INTEGER: 31, BIGINT: 63, HUGEINT: 127}
_SPELLINGS = {
    "BOOLEAN": BOOLEAN,
    "BOOL": BOOLEAN,
    "LOGICAL": BOOLEAN,
    "SMALLINT": SMALLINT,
    "INT2": SMALLINT,
    "SHORT": SMALLINT,
    "INTEGER": INTEGER,
    "INT": INTEGER,
    "INT4": INTEGER,
    "SIGNED": INTEGER,
    "BIGINT": BIGINT,
    "INT8": BIGINT,
    "LONG": BIGINT,
    "HUGEINT": HUGEINT,
    "FLOAT": FLOAT,
    "REAL": FLOAT,
    "FLOAT4": FLOAT,
    "DOUBLE": DOUBLE,
    "FLOAT8": DOUBLE,
    "VARCHAR": VARCHAR,
    "TEXT": VARCHAR,
    "STRING": VARCHAR,
    "CHAR": VARCHAR,
    "BPCHAR": VARCHAR,
    "DATE": DATE,
    "TIME": TIME,
    "TIMESTAMP": TIMESTAMP,
    "TIMESTAMP_US": TIMESTAMP,
    "DATETIME": TIMESTAMP,
    "TIMESTAMP WITH TIME ZONE": TIMESTAMPTZ,
    "TIMESTAMPTZ": TIMESTAMPTZ,
    "UUID": UUID,
    "BLOB": BLOB,
    "BYTEA": BLOB,
    "NULL": NULL,
    '"NULL"': NULL,
    "DECIMAL": Type("DECIMAL", 18, 3),
    "NUMERIC": Type("DECIMAL", 18, 3),
    "DEC": Type("DECIMAL", 18, 3),
}
_DECIMAL = re.compile(r"(?:DECIMAL|NUMERIC|DEC)\s*\(\s*(\d{1,2})\s*(?:,\s*(\d{1,2})\s*)?\)")


def read_type(text: str) -> Type:
    """The type that DuckDB writes so; NotPushed when it is none of those known here."""
    spelled = fold(text).upper().strip()
    decimal = _DECIMAL.fullmatch(spelled)
    if decimal is not None:
        width, scale = int(decimal[1]), int(decimal[2] or 0)
        if scale <= width <= DECIMAL_WIDTH_MAX:
            return Type("DECIMAL", width, scale)
    if spelled not in _SPELLINGS:
        raise NotPushed(f"the type {text} is not pushed")
    return _SPELLINGS[spelled]


def integer_for(value: int) -> Type:
    """The type of an integer literal."""
    for type_ in (INTEGER, BIGINT, HUGEINT):
        if fits(value, type_):
            return type_
    raise NotPushed("an integer is larger than HUGEINT")


def fits(value: int, type_: Type) -> bool:
    return bool(-(2 ** _BITS[type_]) <= value < 2 ** _BITS[type_])


def is_exact(type_: Type) -> bool:
    """Whether values of the type are integers or decimals."""
    return type_ in INTEGERS or type_.kind == "DECIMAL"


def is_numeric(type_: Type) -> bool:
    return is_exact(type_) or type_ in (FLOAT, DOUBLE)


def as_decimal(type_: Type, literal: int | None = None) -> Type:
    """The decimal that holds every value of the exact type, or the literal of it."""
    if type_.kind == "DECIMAL":
        return type_
    return Type("DECIMAL", _DIGITS[type_] if literal is None else len(str(abs(literal))), 0)


def common_type(types: Sequence[Type], literals: Sequence[int | None]) -> tuple[Type, bool]:
    """The type in which DuckDB compares or unites values of these types, and whether it holds all their digits.

    ``literals`` has the value where an operand is an integer literal: such a one takes the others' type. NotPushed for
    mixtures that are not numbers, or of FLOAT with other numbers.
    """
    if OTHER in types or INTERVAL in types:
        raise NotPushed("a column's type is not known here")
    known = [(type_, literal) for type_, literal in zip(types, literals, strict=True) if type_ != NULL]
    if not known:
        return NULL, True
    distinct = {type_ for type_, _ in known}
    if len(distinct) == 1:
        return known[0][0], True
    if distinct == {DATE, TIMESTAMP}:
        return TIMESTAMP, True
    if not all(is_numeric(type_) for type_ in distinct) or (FLOAT in distinct and distinct != {FLOAT, DOUBLE}):
        raise NotPushed(f"values of the types {' and '.join(sorted(map(str, distinct)))} are mixed")
    if DOUBLE in distinct:
        return DOUBLE, True
    if any(type_.kind == "DECIMAL" for type_ in distinct):
        decimals = [as_decimal(type_, literal) for type_, literal in known]
        scale = max(decimal.scale for decimal in decimals)
        width = scale + max(decimal.width - decimal.scale for decimal in decimals)
        return Type("DECIMAL", min(width, DECIMAL_WIDTH_MAX), scale), width <= DECIMAL_WIDTH_MAX
    return _common_integer(known), True


def _common_integer(known: Sequence[tuple[Type, int | None]]) -> Type:
    columns = [type_ for type_, literal in known if literal is None]
    widest = max((INTEGERS.index(type_) for type_ in columns), default=0)
    for type_, literal in known:
        if literal is not None and (not columns or not fits(literal, INTEGERS[widest])):
            widest = max(widest, INTEGERS.index(type_))
    return INTEGERS[widest]

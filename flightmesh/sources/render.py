"""Predicates as SQL text: typed literals from the tree, never a user's text.

The rule: whatever is left out or widened, every row that the engine keeps has to come. So a source states for each
column how it compares (``Operand``), and a part of a conjunction that it would compare by another order, or whose
literal it does not read exactly as it is, is left to the engine with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from flightmesh.sources.predicate import AllOf, AnyOf, Compare, IsNull, IsPresent, OneOf, Predicate, conjuncts

# A longer list costs the source more to parse than it saves in rows.
VALUES_MAX = 1_000
_OTHER = "the source does not compare the column as the engine does"
_ORDER = "the source has another order of the column's values"

# The text of a value; None when the dialect has none that means exactly that value.
Literal = Callable[[pa.Scalar], str | None]


def no_literal(_value: pa.Scalar) -> str | None:
    """For columns that are not compared at the source."""
    return None


@dataclass(frozen=True, slots=True)
class Operand:
    """A column as its source compares it.

    ``equal`` is the expression for = and IN, ``ordered`` the one for the other comparisons; None: the source's order is
    not the engine's. ``is_exact`` is False where = and IN may keep more rows at the source than in the engine.
    """

    name: str
    literal: Literal = no_literal
    equal: str | None = None
    ordered: str | None = None
    is_exact: bool = True


@dataclass(frozen=True, slots=True)
class Rendered:
    """SQL that holds for every row that the predicate keeps; None: for any. ``left``: what the engine filters, and why.

    ``is_exact``: it holds for no other row, so that a limit may follow.
    """

    sql: str | None
    left: tuple[str, ...]
    is_exact: bool


def render(predicate: Predicate | None, operands: Mapping[str, Operand]) -> Rendered:
    """The predicate over these columns; ``operands`` has each column's plain name quoted as the source wants it."""
    sql: list[str] = []
    left: list[str] = []
    is_exact = True
    for part in conjuncts(predicate):
        try:
            text, part_is_exact = _exact(part, operands)
        except _Left as reason:
            left.append(str(reason))
            is_exact = False
        else:
            sql.append(text)
            is_exact = is_exact and part_is_exact
    return Rendered(" AND ".join(sql) or None, tuple(dict.fromkeys(left)), is_exact)


class _Left(Exception):  # noqa: N818 - an outcome, not an error
    """A part that the source does not evaluate as the engine does, with the reason."""


def _exact(predicate: Predicate, operands: Mapping[str, Operand]) -> tuple[str, bool]:
    match predicate:
        case AllOf(parts):
            found = [_exact(part, operands) for part in parts]
            return "(" + " AND ".join(text for text, _ in found) + ")", all(exact for _, exact in found)
        case AnyOf(parts):
            found = [_exact(part, operands) for part in parts]
            return "(" + " OR ".join(text for text, _ in found) + ")", all(exact for _, exact in found)
        case Compare():
            return _compare(predicate, operands)
        case OneOf(column, values):
            return _one_of(column, values, operands)
        case IsNull(column):
            return f"{_operand(column, operands).name} IS NULL", True
        case IsPresent(column):
            return f"{_operand(column, operands).name} IS NOT NULL", True


def _compare(part: Compare, operands: Mapping[str, Operand]) -> tuple[str, bool]:
    operand = _operand(part.column, operands)
    is_equality = part.op == "="
    side = operand.equal if is_equality else operand.ordered
    if side is None:
        raise _Left(f"{part.column} {part.op} ...: {_OTHER if operand.equal is None else _ORDER}.")
    text = operand.literal(part.value)
    if text is None:
        raise _Left(f"{part.column} {part.op} ...: the value has no exact form in the source's language.")
    return f"{side} {part.op} {text}", operand.is_exact or not is_equality


def _one_of(column: str, values: pa.Array, operands: Mapping[str, Operand]) -> tuple[str, bool]:
    operand = _operand(column, operands)
    if operand.equal is None:
        raise _Left(f"{column} IN ...: {_OTHER}.")
    if len(values) > VALUES_MAX:
        raise _Left(f"{column} IN ...: the list has more than {VALUES_MAX} values.")
    texts = [operand.literal(value) for value in values]
    known = [text for text in texts if text is not None]
    if len(known) < len(texts):
        raise _Left(f"{column} IN ...: a value has no exact form in the source's language.")
    return f"{operand.equal} IN ({', '.join(known)})", operand.is_exact


def _operand(column: str, operands: Mapping[str, Operand]) -> Operand:
    if column not in operands:
        raise _Left(f"{column}: the source does not know this column.")
    return operands[column]

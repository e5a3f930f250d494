"""Predicates as SQL: what is sent keeps every row, and what is not sent says why."""

from __future__ import annotations

import pyarrow as pa
import pytest

from flightmesh.sources import literals
from flightmesh.sources.predicate import AllOf, AnyOf, Compare, IsNull, IsPresent, OneOf, Predicate
from flightmesh.sources.render import VALUES_MAX, Operand, render

OPERANDS = {
    "i": Operand('"i"', literals.integer, '"i"', '"i"'),
    "t": Operand('"t"', literals.text, '"t"', None),
    "loose": Operand('"loose"', literals.text, '"loose"', None, is_exact=False),
    "blob": Operand('"blob"'),
}
ONE, WORD = pa.scalar(1), pa.scalar("o'x")


@pytest.mark.parametrize(
    ("predicate", "sql", "is_exact"),
    [
        (None, None, True),
        (Compare("i", ">=", ONE), '"i" >= 1', True),
        (Compare("t", "=", WORD), "\"t\" = 'o''x'", True),
        (Compare("loose", "=", WORD), "\"loose\" = 'o''x'", False),
        (OneOf("t", pa.array(["a", "b"])), "\"t\" IN ('a', 'b')", True),
        (IsNull("blob"), '"blob" IS NULL', True),
        (AllOf((IsPresent("blob"), Compare("i", "<", ONE))), '"blob" IS NOT NULL AND "i" < 1', True),
        (AnyOf((IsNull("i"), AllOf((IsPresent("t"), Compare("i", "=", ONE))))),
         '("i" IS NULL OR ("t" IS NOT NULL AND "i" = 1))', True),
    ],
)  # fmt: skip
def test_what_the_source_compares_alike_is_sent(predicate: Predicate | None, sql: str | None, is_exact: bool) -> None:
    """The source would send rows that nobody wants, or a limit would cut rows that are."""
    found = render(predicate, OPERANDS)
    assert (found.sql, found.left, found.is_exact) == (sql, (), is_exact)


@pytest.mark.parametrize(
    ("predicate", "told"),
    [
        (Compare("t", "<", WORD), "t < ...: the source has another order of the column's values."),
        (Compare("t", "<>", WORD), "t <> ...: the source has another order of the column's values."),
        (Compare("blob", "=", ONE), "blob = ...: the source does not compare the column as the engine does."),
        (Compare("t", "=", pa.scalar("\0")), "t = ...: the value has no exact form in the source's language."),
        (OneOf("t", pa.array(["a", "\0"])), "t IN ...: a value has no exact form in the source's language."),
        (OneOf("blob", pa.array([1])), "blob IN ...: the source does not compare the column as the engine does."),
        (OneOf("i", pa.array(range(VALUES_MAX + 1))), "i IN ...: the list has more than 1000 values."),
        (Compare("gone", "=", ONE), "gone: the source does not know this column."),
        (
            AnyOf((IsNull("i"), Compare("t", "<", WORD))),
            "t < ...: the source has another order of the column's values.",
        ),
    ],
)
def test_what_it_does_not_is_left_with_the_reason(predicate: Predicate, told: str) -> None:
    """Half of an OR keeps back rows of the other half; a limit after half of an AND cuts rows."""
    found = render(AllOf((Compare("i", "=", ONE), predicate)), OPERANDS)
    assert (found.sql, found.left, found.is_exact) == ('"i" = 1', (told,), False)

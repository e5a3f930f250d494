"""What the text of a low-code model is made of."""

from __future__ import annotations

import pytest

from flightmesh.build.lowcode import LowCodeFaults, lowcode_sql
from flightmesh.build.lowcode_text import Block, Line, Text, bracketed, commas, with_clause
from flightmesh.config import Limits
from flightmesh.product.model import Model


def lines(block: list[Line]) -> list[str]:
    return [line.text for line in block]


def test_a_comment_does_not_take_the_bracket_with_it() -> None:
    """The statement would end in the author's comment."""
    assert lines(bracketed("  ", "a -- b", " AS x", ())) == ["  (", "    a -- b", "  ) AS x"]
    assert lines(bracketed("  ", "a - b", " AS x", ())) == ["  (a - b) AS x"]


def test_lines_of_a_string_stay_where_they_are() -> None:
    """Spaces of the layout would become part of the value."""
    (opening, first, second, closing) = bracketed("  ", "'a\nb'", "", ())
    assert [first.indented(2).text, second.indented(2).text] == ["'a", "b'"]
    assert [opening.indented(2).text, closing.indented(2).text] == ["    (", "    )"]


def test_commas_stand_between_cells_of_several_lines() -> None:
    """The list would not parse."""
    cells = [[Line("(", ()), Line(")", ())], [Line("b", ())], [Line("c", ())]]
    assert lines(list(commas(cells))) == ["(", "),", "b,", "c"]


def test_blocks_become_one_clause() -> None:
    """A statement has one WITH."""
    blocks = [Block("_a", (Line("SELECT 1", ()),)), Block("_b", (Line("SELECT 2", ()),))]
    assert lines(with_clause(blocks)) == ["WITH _a AS (", "  SELECT 1", "),", "_b AS (", "  SELECT 2", ")"]
    assert with_clause([]) == []


def test_names_of_blocks_and_helpers_are_free() -> None:
    """Two steps that number rows, or an author's column of that name, would break the statement."""
    model = Model(from_="t", derive={"a": "_row + 1", "_ROW_": "2"})
    text = Text(model, {("t",): ["_place"]}, Limits(), is_live=False, keeps_order=True)
    assert (text.row, text.place) == ("_row__", "_place_")
    text.columns, text.last = ["_place"], "t"
    for _ in range(2):
        text.number(())
        text.restore(())
    assert [block.name for block in text.blocks] == ["_numbered", "_ordered", "_numbered_2", "_ordered_2"]


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("s.orderz", "Did you mean s.orders?"),
        ("s", "Write s.TABLE, for example s.orders."),
        ("S", "Write S.TABLE, for example s.orders."),
        ("x", None),
    ],
)
def test_what_is_offered_helps_with_names(written: str, hint: str | None) -> None:
    """Over a live database nothing that a model does not read is in the workshop, so nothing could be meant."""
    offered = [("s", "orders"), ("s", "parts"), ("model",)]
    with pytest.raises(LowCodeFaults) as caught:
        lowcode_sql("m", Model.model_validate({"from": written}), {}, limits=Limits(), offered=offered)
    assert [fault.hint for fault in caught.value.faults] == [hint]

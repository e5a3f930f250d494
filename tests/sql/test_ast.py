"""``flightmesh.sql.ast``: one SELECT in, a tree out, and a plain refusal of everything else at bounded cost."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, strategies as st

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.sql.ast import parse, place
from flightmesh.sql.gate import survey


def _refusal(text: str, *, bytes_max: int = 200_000, depth_max: int = 200) -> str:
    with pytest.raises(FlightmeshError) as caught:
        parse(text, bytes_max=bytes_max, depth_max=depth_max)
    assert caught.value.code is ErrorCode.INVALID
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "select 1;",
        "FROM t",
        "TABLE t",
        "VALUES (1)",
        "WITH a AS (SELECT 1) FROM a",
        "SELECT 1 UNION SELECT 2",
        "-- a comment\nSELECT 1 -- and another",
        "(SELECT 1)",
        "PIVOT t ON a IN (1) USING sum(b)",
    ],
)
def test_one_select_is_a_tree(text: str) -> None:
    """A reader could not write the SELECT that the engine understands."""
    tree = parse(text, bytes_max=1_000, depth_max=10)
    assert tree.text == text
    assert "node" in tree.root


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "The statement is empty."),
        (" ;; ", "The statement is empty."),
        ("-- x", "The statement is empty."),
        ("SELECT 1; SELECT 2", "The text holds several statements"),
        ("INSERT INTO t VALUES (1)", "INSERT is not allowed."),
        ("COPY t TO 'x'", "COPY is not allowed."),
        ("EXPLAIN SELECT 1", "EXPLAIN is not allowed."),
        ("ATTACH 'x'", "ATTACH is not allowed."),
        ("SELECT ?, $a", "The statement mixes ? and $name parameters."),
        ("SELEC 1", 'The statement does not parse: syntax error at or near "SELEC" (line 1, column 1).'),
        ("SELECT 1,\n  2 FORM t x", 'The statement does not parse: syntax error at or near "t" (line 2, column 10).'),
        ("SELECT '\0'", "The statement holds a character that SQL text cannot hold."),
        ("SELECT '\ud800'", "The statement holds a character that SQL text cannot hold."),
    ],
)
def test_all_else_is_refused_in_plain_words(text: str, said: str) -> None:
    """A reader would see the parser's own text, or a write would pass."""
    assert _refusal(text).startswith(said)


def test_the_caps_hold_at_their_edges() -> None:
    """A statement at the bound would be refused, or one beyond it be parsed."""
    assert parse("SELECT 1", bytes_max=8, depth_max=0)
    assert _refusal("SELECT 1", bytes_max=7) == "The statement has 8 bytes; 7 are allowed. Bind data as parameters."
    assert parse("SELECT ((1))", bytes_max=99, depth_max=2)
    assert _refusal("SELECT ((1))", depth_max=1) == "The statement nests more than 1 brackets or signs. Flatten it."
    assert "bytes" in _refusal("SELECT 'é'", bytes_max=10)


@pytest.mark.parametrize(
    "text", ["SELECT '((('", "SELECT 1 -- (((", "SELECT /* ((( */ 1", 'SELECT 1 AS "((("', "SELECT $$((($$"]
)
def test_brackets_that_nest_nothing_are_not_counted(text: str) -> None:
    """A text with many brackets in it could not be searched for."""
    assert parse(text, bytes_max=99, depth_max=1)


@pytest.mark.parametrize("opening", ["(", "[", "{", "((("])
def test_deep_brackets_cost_nothing(opening: str) -> None:
    """Four kilobytes of brackets would keep the parser busy for seconds and take gigabytes."""
    began = time.perf_counter()
    _refusal("SELECT " + opening * 60_000)
    assert time.perf_counter() - began < 5


@given(st.text(max_size=60), st.integers(0, 80))
def test_a_place_counts_characters_not_bytes(text: str, offset: int) -> None:
    """An error would point beside its word in a text that is not English."""
    offset = min(offset, len(text))
    line, column = place(text, len(text[:offset].encode(errors="surrogatepass")))
    before = text[:offset].split("\n")
    assert (line, column) == (len(before), len(before[-1]) + 1)


SPACES = (
    "\u00a0",
    "\u2003",
    "\u3000",
    "\u200b",
    "\ufeff",
    "\u202f",
    "\u2028",
    "\x85",
    "\x0b",
    " ",
    "\n",
    "é",
    "\U0001f512",
)


@given(st.lists(st.sampled_from((*SPACES, "'", '"', "--", "/*", "*/", "$$", "?", "a", ",", "1", "||", "(", ")", ";"))))
def test_every_position_is_one_of_the_text(parts: list[str]) -> None:
    """DuckDB counts after it has shortened spaces of Unicode: a parameter's place would lie in the middle of a string,
    and its type would be written there.
    """
    text = "select " + "".join(parts)
    try:
        tree = parse(text, bytes_max=10_000, depth_max=99)
    except FlightmeshError:
        return
    data = tree.text.encode()
    for reference in survey(tree).parameters:
        assert data[reference.offset : reference.offset + reference.length] == b"?"


@pytest.mark.parametrize("text", ["SELECT 'é'", "-- é\nSELECT 1", " SELECT 1 ", ";;SELECT 1;;", "SELECT '\u00a0'"])
def test_the_text_is_kept_where_its_positions_hold(text: str) -> None:
    """Errors would point to another line than the author's."""
    tree = parse(text, bytes_max=99, depth_max=9)
    assert tree.text == text or "--" in text


def test_spaces_of_unicode_become_plain_ones() -> None:
    """What was pasted from a web page would not parse, or be cut in the wrong place."""
    assert parse("SELECT\u00a0'a\u00a0b',\u20031", bytes_max=99, depth_max=9).text == "SELECT 'a\u00a0b', 1"

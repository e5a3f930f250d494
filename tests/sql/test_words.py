"""``flightmesh.sql.words``: where the parts of a statement begin and end."""

from __future__ import annotations

import pytest

from flightmesh.sql.words import Words, is_name, name


def test_words_and_signs_are_taken_one_after_the_other() -> None:
    """A command would be read past its words, or not at all."""
    words = Words("Drop /* table */ TABLE IF exists x;;")
    assert words.take("drop", "table")
    assert not words.take("if", "not")
    assert (words.word(), words.word(1), words.sign(1), words.word(9)) == ("if", "exists", "exists", "")
    assert words.take("if", "exists")
    assert words.path() == ("x",)
    assert (words.at, words.sign()) == (words.end, "")


@pytest.mark.parametrize(
    ("text", "path"),
    [("a", ("a",)), ('A."b.""c" . d', ("A", 'b."c', "d")), ("é.ü x", ("é", "ü")), ("1", ("",)), ("a.", ("a", ""))],
)
def test_a_path_is_its_parts_without_quotes(text: str, path: tuple[str, ...]) -> None:
    """A table whose name holds a dot or a quote could not be named."""
    assert Words(text).path() == path


def test_brackets_hide_words_and_commas() -> None:
    """A condition would be cut at a WHERE or a comma of a subquery, a string, a name or a comment."""
    words = Words(
        "SET a = (SELECT 1, 2 FROM t WHERE x), b = [1, {'where': 2}], \"where\" = 'where' /* where */ WHERE é > 1 -- c"
    )
    where = words.find({"where"})
    assert words.piece(where, words.end) == "WHERE é > 1"
    assert [words.piece(*part) for part in words.parts(1, where)] == [
        "a = (SELECT 1, 2 FROM t WHERE x)",
        "b = [1, {'where': 2}]",
        "\"where\" = 'where'",
    ]
    assert words.sign(words.closing(3)) == ")"
    assert words.piece(4, words.closing(3)) == "SELECT 1, 2 FROM t WHERE x"
    assert words.find({"nothing"}) == words.end
    assert words.piece(2, 2) == ""


def test_the_rest_begins_where_the_reader_stands() -> None:
    """The query of a command would lose its first word or keep the command's."""
    words = Words("EXPLAIN SELECT 1 -- c\n;")
    assert words.take("explain")
    assert words.rest() == "SELECT 1"


def test_only_words_and_quoted_words_are_names() -> None:
    """A number or a string would be taken for a column."""
    found = Words("a \"b c\" 1 'x' (").tokens
    assert [is_name(token) for token in found] == [True, True, False, False, False]
    assert [name(token) for token in found[:2]] == ["a", "b c"]

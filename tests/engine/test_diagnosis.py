"""DuckDB's error texts in our words: the place and the nearest name, never values, inner names or advice that does not
apply.
"""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given, strategies as st

from flightmesh.engine.diagnosis import binding_error, caret, runtime_error
from flightmesh.errors import ErrorCode


def _raised(sql: str) -> str:
    """What DuckDB itself says of a statement today; a new version's texts are seen here first."""
    with duckdb.connect(":memory:") as connection:
        connection.execute("CREATE TABLE flights (carrier VARCHAR, arr_delay INTEGER)")
        with pytest.raises(duckdb.Error) as error:
            connection.execute(sql).fetchall()
    return str(error.value)


BINDING = [
    (
        "SELECT carier FROM flights",
        ErrorCode.INVALID,
        'Referenced column "carier"',
        "(line 1, column 8)",
        "Did you mean carrier?",
    ),
    ("SELECT f.nope FROM flights f", ErrorCode.INVALID, "nope", "(line 1, column 8)", None),
    ("SELECT\n  carrier,\n  arr_dely\nFROM flights", ErrorCode.INVALID, "arr_dely", "(line 3, column 3)", "arr_delay"),
    (
        "SELECT carrier + DATE '2013-01-01' FROM flights",
        ErrorCode.INVALID,
        "No function matches",
        "(line 1, column 16)",
        None,
    ),
    ("SELECT nosuch(1)", ErrorCode.NOT_FOUND, "nosuch", "(line 1, column 8)", None),
    ("SELECT sum(carrier), arr_delay FROM flights", ErrorCode.INVALID, "", "(line 1, column", None),
    ("SELECT 1 FROM flights HAVING arr_delay", ErrorCode.INVALID, "", "", None),
]


@pytest.mark.parametrize(("sql", "code", "fact", "place", "hint"), BINDING, ids=[case[0][:30] for case in BINDING])
def test_binding_errors(sql: str, code: ErrorCode, fact: str, place: str, hint: str | None) -> None:
    """One sentence, the place in the user's own text, and the nearest name where DuckDB knows one."""
    error = binding_error(sql, _raised(sql))
    assert error.code is code
    assert fact in error.message
    assert place in error.message
    assert error.message.endswith(".")
    assert "\n" not in str(error)
    assert "LINE" not in str(error)
    if hint is not None:
        assert error.hint is not None
        assert hint in error.hint


def test_the_place_in_a_long_line() -> None:
    """DuckDB shows a part of a long line; the column is that in the whole line nevertheless."""
    for before in (0, 30, 100, 500):
        for after in (0, 30, 500):
            sql = "SELECT 1,\n" + ", ".join(["1"] * before + ["carier"] + ["2"] * after) + " FROM flights"
            assert caret(sql, _raised(sql)) == (2, 1 + before * 3), (before, after)


def test_no_picture_is_no_place() -> None:
    """Some errors come without one; nothing is made up."""
    assert caret("SELECT 1", "Binder Error: something") is None
    assert caret("SELECT 1", "LINE 1: SELECT 1") is None
    assert caret("SELECT 1", "LINE 9: ...not in the text...\n            ^") is None


@given(st.text(max_size=200), st.text(max_size=400))
def test_any_text_becomes_a_bounded_error(sql: str, message: str) -> None:
    """A text of a shape nobody has seen must not raise, nor grow without bound."""
    error = binding_error(sql, message)
    assert len(error.message) < 400
    assert error.code in (ErrorCode.INVALID, ErrorCode.NOT_FOUND)
    assert runtime_error(message).code is ErrorCode.INTERNAL or message.split(" ")[0][:3] in {
        "INT",
        "Con",
        "Out",
        "Inv",
        "Not",
    }


RUNTIME = [
    (
        "SELECT CAST(carrier AS INTEGER) FROM (VALUES ('secret')) t(carrier)",
        ErrorCode.INVALID,
        "converted to INT32",
        "TRY_CAST",
    ),
    ("SELECT 'secret'::DATE", ErrorCode.INVALID, "converted", "TRY_CAST"),
    ("SELECT CAST(x AS TINYINT) FROM (VALUES (725)) t(x)", ErrorCode.INVALID, "converted to INT8", "TRY_CAST"),
    ("SELECT error('secret')", ErrorCode.INVALID, "failed on one of its values", "TRY"),
    ("SELECT 9223372036854775807 + x FROM (VALUES (1), (2)) t(x)", ErrorCode.INVALID, "out of the range", "wider"),
]


@pytest.mark.parametrize(("sql", "code", "fact", "hint"), RUNTIME, ids=[case[0][:30] for case in RUNTIME])
def test_errors_at_run_time(sql: str, code: ErrorCode, fact: str, hint: str) -> None:
    """The kind and what to do about it; DuckDB's text quotes the value, which may be of a hidden column."""
    error = runtime_error(_raised(sql))
    assert error.code is code
    assert fact in error.message
    assert error.hint is not None
    assert hint in error.hint
    assert "secret" not in str(error)
    assert "725" not in str(error)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("INTERRUPT Error: Interrupted!", ErrorCode.CANCELLED),
        ("Out of Memory Error: failed to allocate /spill/x", ErrorCode.EXHAUSTED),
        ("Not implemented Error: inner", ErrorCode.UNSUPPORTED),
        ("INTERNAL Error: Attempted to access index 3", ErrorCode.INTERNAL),
        ("IO Error: Could not read /state/data.duckdb", ErrorCode.INTERNAL),
        ("Catalog Error: Table data_abc does not exist", ErrorCode.INTERNAL),
        ("", ErrorCode.INTERNAL),
    ],
)
def test_kinds_that_tests_cannot_provoke(message: str, code: ErrorCode) -> None:
    """Kinds off the list are the server's fault and tell nothing."""
    error = runtime_error(message)
    assert error.code is code
    assert "/" not in str(error)
    assert "data_abc" not in str(error)

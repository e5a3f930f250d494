"""``flightmesh.sql.commands``: what is no SELECT becomes a value, and its SELECT does what the statement would do."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.sql.commands import (
    Command,
    Control,
    CreateTable,
    Drop,
    Explain,
    Insert,
    SetOption,
    Use,
    command,
    is_query,
    name_path,
)


def _command(text: str) -> Command:
    return command(text, bytes_max=200_000, depth_max=200)


def _refused(text: str) -> str:
    with pytest.raises(FlightmeshError) as caught:
        _command(text)
    assert caught.value.code is ErrorCode.INVALID
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        " \n-- c\n/* d */ ((select 1))",
        "/* /* a */ INSERT */ SELECT 1",
        "\u00a0-- INSERT\n values (1)",
        "; VALUES (1)",
        "FROM t",
        "Desc t",
        "WITH x AS (SELECT 1) SELECT (1) update FROM x",
        "WITH x(a) AS (SELECT 1), y AS MATERIALIZED (SELECT 2) FROM x",
        "WITH x AS (INSERT INTO t VALUES (1) RETURNING *) FROM x",
        "UNPIVOT t ON a",
        "\ud800",
    ],
)
def test_a_query_is_known_by_its_first_word(text: str) -> None:
    """A query would be refused as a command."""
    assert is_query(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-- SELECT",
        "USE a",
        "/* SELECT */ INSERT INTO t SELECT 1",
        "WITH x AS (SELECT 1) INSERT INTO t FROM x",
        "WITH x(a) AS (SELECT 1), y AS (SELECT 2) DELETE FROM t",
        "EXPLAIN SELECT 1",
        '"select" 1',
    ],
)
def test_what_is_no_query_is_not_taken_for_one(text: str) -> None:
    """A command would be refused as a bad query."""
    assert not is_query(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("USE a", Use(("a",))),
        ('USE "a b"."b.""c" ;', Use(("a b", 'b."c'))),
        ("USE 'a.b'", Use(("a", "b"))),
        ("SET x TO 'it''s'", SetOption("x", "it's")),
        ("SET SESSION Limit_Rows = -1", SetOption("limit_rows", -1)),
        ("SET x = 1.5", SetOption("x", 1.5)),
        ("SET python_enable_replacements = 'False'", SetOption("python_enable_replacements", "False")),
        ("SET x = TRUE", SetOption("x", True)),
        ("SET x = DEFAULT", SetOption("x", None)),
        ("SET schema = 'a.b' -- c", SetOption("schema", "a.b")),
        ("SET SCHEMA 'b'", SetOption("schema", "b")),
        ('SET search_path = a."B c"', SetOption("search_path", 'a."B c"')),
        ("SET TIME ZONE 'utc'", SetOption("timezone", "UTC")),
        ("SET TimeZone = 'Etc/UTC'", SetOption("timezone", "UTC")),
        ("RESET SESSION x", SetOption("x", None)),
        ("BEGIN", Control("begin")),
        ("START TRANSACTION READ ONLY", Control("begin")),
        ("end transaction", Control("commit")),
        ("COMMIT;", Control("commit")),
        ("ABORT", Control("rollback")),
        ("ROLLBACK WORK", Control("rollback")),
        ("DROP TABLE t", Drop(("t",), if_exists=False)),
        ('DROP TABLE IF EXISTS a."b.c".t CASCADE', Drop(("a", "b.c", "t"), if_exists=True)),
        ("EXPLAIN SELECT 1", Explain("SELECT 1", is_analyze=False)),
        ("EXPLAIN (SELECT 1)", Explain("(SELECT 1)", is_analyze=False)),
        ("EXPLAIN (ANALYZE) SELECT 1", Explain("SELECT 1", is_analyze=True)),
        ("EXPLAIN ANALYZE FROM t", Explain("FROM t", is_analyze=True)),
        ("CREATE TEMP TABLE t AS FROM x -- c", CreateTable(("t",), "FROM x", False, False, True)),
        ("CREATE OR REPLACE TABLE a.t AS (SELECT 1)", CreateTable(("a", "t"), "(SELECT 1)", True, False, False)),
        ("CREATE TABLE IF NOT EXISTS data AS VALUES (1)", CreateTable(("data",), "VALUES (1)", False, True, False)),
        ("INSERT INTO t SELECT 1", Insert(("t",), None, "SELECT 1")),
        ('INSERT INTO t(a, "b)c") FROM x', Insert(("t",), ("a", "b)c"), "FROM x")),
        ("INSERT INTO t (values) (SELECT 1)", Insert(("t",), ("values",), "(SELECT 1)")),
        ("INSERT INTO t (VALUES (1))", Insert(("t",), None, "(VALUES (1))")),
        ("INSERT INTO t BY NAME SELECT 1 a", Insert(("t",), None, "SELECT 1 a", is_by_name=True)),
        ("INSERT INTO t BY POSITION SELECT 1", Insert(("t",), None, "SELECT 1")),
        ("INSERT INTO t FROM x JOIN y ON conflict = 1", Insert(("t",), None, "FROM x JOIN y ON conflict = 1")),
        (
            "INSERT INTO t VALUES (f(1, 2), ','), (?, (3))",
            Insert(("t",), None, "VALUES (f(1, 2), ','), (?, (3))", rows=(("f(1, 2)", "','"), ("?", "(3)"))),
        ),
    ],
)
def test_a_command_is_read(text: str, expected: Command) -> None:
    """A driver's ordinary statement would be refused, or do something else."""
    assert _command(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "The statement is empty."),
        ("DROP TABLE a; DROP TABLE b", "The text holds several statements"),
        ("SELECT 1", "This is a query"),
        ("UPDATE", "The statement does not parse"),
        ("INSERT INTO t VALUES (1) RETURNING *", "RETURNING is not offered."),
        ("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING", "ON CONFLICT is not offered"),
        ("INSERT INTO t SELECT 1 ON CONFLICT (a) DO UPDATE SET a = 1", "ON CONFLICT is not offered"),
        ("INSERT OR IGNORE INTO t VALUES (1)", "INSERT OR REPLACE and INSERT OR IGNORE are not offered."),
        ("INSERT INTO t DEFAULT VALUES", "INSERT DEFAULT VALUES is not offered"),
        ("INSERT INTO t VALUES (1, DEFAULT)", "DEFAULT is not offered"),
        ("INSERT INTO t (a, A) SELECT 1, 2", "A column is named twice."),
        ("DELETE FROM t USING u WHERE true", "USING is not offered in DELETE."),
        ("DELETE FROM t WHERE true RETURNING a", "RETURNING is not offered."),
        ("WITH t AS (SELECT 1) DELETE FROM T", "WITH may not have the name of the table"),
        ("UPDATE t SET a = 1 FROM u", "FROM is not offered in UPDATE."),
        ("UPDATE t SET a = 1 RETURNING a", "RETURNING is not offered."),
        ("UPDATE t SET a = DEFAULT", "DEFAULT is not offered"),
        ("UPDATE t SET a = 1, A = 2", "The column A is given two values."),
        ("UPDATE t SET (a, b) = (SELECT 1, 2)", "A list of columns takes a list of as many values."),
        ("UPDATE t SET a = unnest([1])", "Window functions and unnest are not allowed in UPDATE."),
        ("UPDATE t SET a = 1 WHERE row_number() OVER () = 1", "Window functions and unnest are not allowed in UPDATE."),
        ("CREATE VIEW v AS SELECT 1", "CREATE VIEW is not allowed."),
        ("CREATE TEMP VIEW v AS SELECT 1", "CREATE VIEW is not allowed."),
        ("CREATE TEMP TABLE t (a INT, PRIMARY KEY (a))", "PRIMARY KEY is not offered for temporary tables."),
        ("CREATE TEMP TABLE t (a INT UNIQUE)", "UNIQUE is not offered for temporary tables."),
        ("CREATE TEMP TABLE t (a INT CHECK (a > 1))", "CHECK is not offered for temporary tables."),
        ("CREATE TEMP TABLE t (a INT REFERENCES u (b))", "REFERENCES is not offered for temporary tables."),
        ("CREATE TEMP TABLE t (a INT NOT NULL DEFAULT 1)", "DEFAULT is not offered for temporary tables."),
        ("CREATE TEMP TABLE t (a AS (1))", "A generated column is not offered for temporary tables."),
        ("CREATE TEMP TABLE t (a INT GENERATED ALWAYS AS (1))", "A generated column is not offered"),
        ("DROP SCHEMA s", "DROP SCHEMA is not allowed."),
        ("DEALLOCATE x", "DEALLOCATE X is not allowed."),
        ("SET GLOBAL threads = 1", "SET GLOBAL is not allowed."),
        ("SET VARIABLE x = 1", "SET VARIABLE is not allowed."),
        ("SET x = (SELECT 1)", "An option takes one plain value"),
        ("SET x = NULL", "An option takes one plain value"),
        ("SET TIME ZONE 'Europe/Berlin'", "The time zone is UTC and cannot be changed."),
        ("EXPLAIN INSERT INTO t VALUES (1)", "EXPLAIN INSERT is not allowed."),
        ("EXPLAIN (FORMAT json) SELECT 1", "EXPLAIN takes no option but ANALYZE."),
        ("ATTACH 'x'", "ATTACH is not allowed."),
        ("COPY t TO 'x'", "COPY is not allowed."),
        ("PRAGMA show_tables", "PRAGMA is not allowed."),
        ("CALL x()", "CALL is not allowed."),
        ("INSTALL x", "INSTALL is not allowed."),
        ("ALTER TABLE t ADD COLUMN a INT", "ALTER is not allowed."),
        ("MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE", "MERGE is not allowed."),
        ("(" * 300, "The statement nests more than 200"),
    ],
)
def test_what_is_not_offered_is_refused_by_its_name(text: str, said: str) -> None:
    """A command would be half obeyed, or its author would not learn what there is instead."""
    assert _refused(text).startswith(said)


def test_a_path_is_read_from_a_text() -> None:
    """A schema whose name holds a dot could not be chosen; nonsense would be taken for one."""
    assert name_path('a."b.c"') == ("a", "b.c")
    for text in ("", "a.", "a b", "1", "\ud800", "a.'b'"):
        with pytest.raises(FlightmeshError):
            name_path(text)


WORDS = """
insert into update delete from set use reset create or replace temp table if not exists as values ( ) , . ; = 'x' "q" a
b t where returning using on conflict do nothing by name with default null primary key int explain analyze drop begin
commit -- /* */ ? $1 1 2.5 select [ ] { } end row truncate time zone é \u00a0 session to is distinct
"""


@settings(deadline=None)
@given(
    st.sampled_from(["INSERT INTO t", "UPDATE t SET a = 1", "DELETE FROM t", "CREATE TEMP TABLE t", "SET x", ""]),
    st.lists(st.sampled_from([*WORDS.split(" "), "\n"]), max_size=15).map(" ".join),
)
def test_text_that_looks_like_a_command_is_read_or_refused(first: str, rest: str) -> None:
    """A statement of a stranger would end in an exception that nobody expects."""
    assert _is_answered(f"{first} {rest}")


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """As above, for text that looks like nothing."""
    assert _is_answered(text)


def _is_answered(text: str) -> bool:
    """Whether the text is read, or refused as INVALID in few words."""
    is_query(text)
    try:
        _command(text)
    except FlightmeshError as error:
        return error.code is ErrorCode.INVALID and len(str(error)) < 600
    return True

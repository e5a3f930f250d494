"""Statements that write: a session's own tables and settings, whole or not at all, and nothing that is not its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.service.updates import Ingest
from tests.service.conftest import Call

if TYPE_CHECKING:
    from tests.service.conftest import Bench


def _values(**columns: Any) -> pa.RecordBatch:
    return pa.record_batch({name: pa.array(values) for name, values in columns.items()})


@pytest.fixture
def own(bench: Bench) -> Bench:
    """With a table of three rows: ``own (n BIGINT NOT NULL, s VARCHAR, t TINYINT)``."""
    bench.run("CREATE TEMP TABLE own (n BIGINT NOT NULL, s VARCHAR, t TINYINT)")
    assert bench.run("INSERT INTO own VALUES (1, 'a', 1), (2, 'b', 2), (3, NULL, NULL)") == 3
    return bench


ROWS = [(1, "a", 1), (2, "b", 2), (3, None, None)]
ALL = "SELECT * FROM own ORDER BY n"


def _refused(bench: Bench, sql: str, values: pa.RecordBatch | None = None, **more: Any) -> FlightmeshError:
    with pytest.raises(FlightmeshError) as failure:
        bench.run(sql, values, **more)
    return failure.value


# ------------------------------------------------------------------------------------------------------------ creating


def test_a_table_is_made_of_a_query_over_ports(bench: Bench) -> None:
    """The answer is 0, as of all DDL: drivers execute a statement again whose count is -1."""
    assert bench.run("CREATE TEMP TABLE own AS SELECT n, v * 2 AS w FROM lab.readings.points WHERE n > 0") == 0
    assert bench.rows("SELECT * FROM own ORDER BY n") == [(1, 40), (2, 60)]
    assert bench.rows("SELECT p.v, o.w FROM own o JOIN lab.readings.points p USING (n) ORDER BY 1") == [
        (20, 40),
        (30, 60),
    ]


def test_a_table_belongs_to_its_session(own: Bench) -> None:
    """Not to another session of its user, nor to another user with the same session's id."""
    for other in (own.session("visitor", id="t"), own.session("visitor", name="bob"), own.session()):
        with pytest.raises(FlightmeshError) as failure:
            own.rows(ALL, other)
        assert failure.value.code is ErrorCode.NOT_FOUND
        assert _refused(own, "DROP TABLE own", session=other).code is ErrorCode.NOT_FOUND
        assert own.run("DROP TABLE IF EXISTS own", session=other) == 0
    assert own.rows(ALL) == ROWS


def test_creating_again(own: Bench) -> None:
    """Refused, replaced, or left as it is: as the statement says."""
    assert "already exists" in str(_refused(own, "CREATE TEMP TABLE OWN AS SELECT 1 AS x"))
    assert own.run("CREATE TEMP TABLE IF NOT EXISTS own AS SELECT 1 AS x") == 0
    assert own.rows(ALL) == ROWS
    assert own.run("CREATE OR REPLACE TEMP TABLE own AS SELECT n + 10 AS n FROM own WHERE n < 3") == 0
    assert own.rows(ALL) == [(11,), (12,)]


def test_the_names_of_a_temporary_table(bench: Bench) -> None:
    """Every way in which DuckDB lets one write it makes the same table; other places are refused."""
    for written in (
        "TEMP TABLE a",
        "TEMPORARY TABLE temp.b",
        "TEMP TABLE temp.main.c",
        "TABLE temp.d",
        'TEMP TABLE "q""x.y"',
    ):
        assert bench.run(f"CREATE {written} AS SELECT 1 AS x") == 0
    for name in ("a", "temp.b", "temp.main.c", "d", '"q""x.y"'):
        assert bench.rows(f"SELECT * FROM {name}") == [(1,)]
    for written in ("TABLE e", "TABLE main.e", "TABLE lab.readings.e", "TEMP TABLE lab.e", "TEMP TABLE memory.main.e"):
        refusal = _refused(bench, f"CREATE {written} AS SELECT 1 AS x")
        assert refusal.code is ErrorCode.INVALID
        assert "emporary table" in str(refusal)
    assert len(bench.temporaries.visible(bench.session("visitor"))) == 5


def test_columns_with_equal_names_are_no_table(bench: Bench) -> None:
    """A column could not be named any more."""
    assert _refused(bench, "CREATE TEMP TABLE own AS SELECT 1 AS a, 2 AS A").code is ErrorCode.INVALID


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("CREATE TEMP TABLE x AS SELECT * FROM lab.readings.secrets", ErrorCode.NOT_FOUND),
        ("CREATE TEMP TABLE x AS SELECT * FROM read_csv('/etc/passwd')", ErrorCode.INVALID),
        ("CREATE TEMP TABLE x AS SELECT * FROM duckdb_settings()", ErrorCode.INVALID),
        ("INSERT INTO own SELECT n, 'x', 1 FROM lab.readings.secrets", ErrorCode.NOT_FOUND),
        ("INSERT INTO own VALUES ((SELECT max(n) FROM lab.readings.secrets), 'x', 1)", ErrorCode.NOT_FOUND),
        ("UPDATE own SET n = (SELECT max(n) FROM lab.readings.secrets)", ErrorCode.NOT_FOUND),
        ("DELETE FROM own WHERE n IN (SELECT n FROM lab.readings.secrets)", ErrorCode.NOT_FOUND),
        ("UPDATE own SET s = getenv('HOME')", ErrorCode.INVALID),
    ],
)
def test_writing_reads_with_the_callers_rights(own: Bench, sql: str, code: ErrorCode) -> None:
    """What may not be read could be copied into a table of one's own and read there."""
    assert _refused(own, sql).code is code
    assert own.rows(ALL) == ROWS
    assert list(own.temporaries.visible(own.session("visitor"))) == ["own"]


# ----------------------------------------------------------------------------------------------------------- inserting


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("INSERT INTO own VALUES (4, 'd', 4)", [(4, "d", 4)]),
        ("INSERT INTO own VALUES (4, 'd', NULL), (5, NULL, 5)", [(4, "d", None), (5, None, 5)]),
        ("INSERT INTO temp.main.OWN (T, N) VALUES (4, 4)", [(4, None, 4)]),
        ("INSERT INTO own (n) SELECT v FROM lab.readings.points WHERE n = 0", [(10, None, None)]),
        ("INSERT INTO own SELECT n + 10, s, t FROM own WHERE n = 1 -- all of it", [(11, "a", 1)]),
        ("INSERT INTO own BY NAME SELECT 'x' AS S, 9 AS n", [(9, "x", None)]),
        ("INSERT INTO own VALUES (4, 5, '6')", [(4, "5", 6)]),
        ("INSERT INTO own VALUES (4, 'a'';-- ?', 1)", [(4, "a';-- ?", 1)]),
        ("INSERT INTO own SELECT 4, 'x', 1 WHERE false", []),
        ("WITH w AS (SELECT 7 AS n) INSERT INTO own SELECT n, 'w', 7 FROM w", [(7, "w", 7)]),
    ],
)
def test_inserting(own: Bench, sql: str, rows: list[tuple[object, ...]]) -> None:
    """The count is that of the rows; columns that are left out are NULL; values take their column's type."""
    assert own.run(sql) == len(rows)
    assert own.rows(ALL) == [*ROWS, *rows]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("INSERT INTO own VALUES (4, 'd')", ""),
        ("INSERT INTO own VALUES (4, 'd', 4, 5)", ""),
        ("INSERT INTO own SELECT 4, 'd'", "3 columns of own and gives 2 values"),
        ("INSERT INTO own (n, s) SELECT 4", "2 columns of own and gives 1 values"),
        ("INSERT INTO own (n) VALUES (4, 5)", ""),
        ("INSERT INTO own (n, nn) VALUES (4, 5)", "has no column nn. Did you mean n?"),
        ("INSERT INTO own (n, N) VALUES (4, 5)", "named twice"),
        ("INSERT INTO own BY NAME SELECT 4 AS n, 'x' AS text", "has no column text"),
        ("INSERT INTO own VALUES (4, 'd', 300)", ""),
        ("INSERT INTO own VALUES (4, 'd', 4), (5, 'e', 300)", ""),
        ("INSERT INTO own SELECT n + 10, s, 127 + n FROM own", ""),
        ("INSERT INTO own VALUES ('x', 'd', 4)", ""),
        ("INSERT INTO own VALUES (NULL, 'd', 4)", ""),
        ("INSERT INTO own (s) VALUES ('d')", ""),
        ("INSERT INTO own SELECT nullif(n, 2) + 10, s, t FROM own", ""),
        ("INSERT INTO own VALUES (4, 'd', 4) RETURNING n", "RETURNING"),
        ("INSERT OR REPLACE INTO own VALUES (4, 'd', 4)", ""),
    ],
)
def test_what_does_not_fit_is_not_inserted(own: Bench, sql: str, said: str) -> None:
    """Wrong numbers of values, values that are too large, NULL where none may be: nothing of it is written."""
    refusal = _refused(own, sql)
    assert refusal.code is ErrorCode.INVALID
    assert said in str(refusal)
    assert own.rows(ALL) == ROWS
    assert own.temporaries.sizes()["uploads"] == 0


def test_parameters_of_an_insert_take_their_columns_types(own: Bench) -> None:
    """JDBC and ADBC bind into the types that they are told: those of the table."""
    session, sql = own.session("visitor"), "INSERT INTO own (t, n, s) VALUES (?, ?, ?)"
    declared = own.updates.parameters(session, sql, None)
    assert declared.types == [pa.int8(), pa.int64(), pa.string()]
    assert own.run(sql, _values(a=[4, None], b=[4, 5], c=["d", None])) == 2
    assert own.rows(ALL) == [*ROWS, (4, "d", 4), (5, None, None)]
    named = "INSERT INTO own VALUES ($n, $s, $t)"
    assert own.updates.parameters(session, named, None).names == ["n", "s", "t"]
    assert own.run(named, _values(t=[6], s=["f"], n=[6])) == 1
    assert own.rows("SELECT s FROM own WHERE n = 6") == [("f",)]


def test_rows_of_parameters_are_written_all_or_none(own: Bench) -> None:
    """``executemany`` with a bad row in the middle would leave the rows before it."""
    for bad in ([4, 300, 5], [4, 5, 300]):
        refusal = _refused(own, "INSERT INTO own VALUES (?, 'x', ?)", _values(a=[4, 5, 6], b=bad))
        assert refusal.code is ErrorCode.INVALID
        assert own.rows(ALL) == ROWS
    assert _refused(own, "INSERT INTO own VALUES (?, 'x', 1)", _values(a=[4, None])).code is ErrorCode.INVALID
    assert own.rows(ALL) == ROWS


@pytest.mark.parametrize(
    "sql", ["INSERT INTO own VALUES (?, ?, 1)", "DELETE FROM own WHERE n = ?", "UPDATE own SET n = ?"]
)
def test_values_are_wanted_where_parameters_are(own: Bench, sql: str) -> None:
    """A statement would be run with NULL in the place of what was meant."""
    for values in (None, _values(a=[1], b=["x"], c=[1])):
        assert _refused(own, sql, values).code is ErrorCode.INVALID
    assert own.rows(ALL) == ROWS


# ------------------------------------------------------------------------------------------------- updating, deleting


@pytest.mark.parametrize(
    ("sql", "count", "rows"),
    [
        ("DELETE FROM own WHERE n < 3", 2, [ROWS[2]]),
        ("DELETE FROM own WHERE t = 1", 1, ROWS[1:]),
        ("DELETE FROM own o WHERE o.n IN (SELECT n FROM lab.readings.points)", 2, [ROWS[2]]),
        ("DELETE FROM own", 3, []),
        ("TRUNCATE own", 3, []),
        ("DELETE FROM own WHERE false -- none", 0, ROWS),
        ("UPDATE own SET s = 'x'", 3, [(1, "x", 1), (2, "x", 2), (3, "x", None)]),
        ("UPDATE own SET t = n, s = s || '!' WHERE n <> 2", 2, [(1, "a!", 1), ROWS[1], (3, None, 3)]),
        ("UPDATE temp.own SET n = n + 10 WHERE t IS NULL", 1, [*ROWS[:2], (13, None, None)]),
        ("UPDATE own SET n = t, t = n WHERE t > 1", 1, ROWS),
        ("UPDATE own SET s = 'x' WHERE t > 1", 1, [ROWS[0], (2, "x", 2), ROWS[2]]),
        ("UPDATE own SET s = (SELECT max(v) FROM lab.readings.points) WHERE n = 1", 1, [(1, "30", 1), *ROWS[1:]]),
    ],
)
def test_changing(own: Bench, sql: str, count: int, rows: list[tuple[object, ...]]) -> None:
    """The count is that of the rows concerned; a condition that is NULL concerns none."""
    assert own.run(sql) == count
    assert own.rows(ALL) == rows


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE own SET t = 300 WHERE n = 2",
        "UPDATE own SET n = NULL WHERE n = 2",
        "UPDATE own SET nn = 1",
        "UPDATE own SET n = 1, n = 2",
        "UPDATE own SET s = sum(n)",
        "UPDATE own SET n = row_number() OVER ()",
        "UPDATE own SET n = unnest([1, 2])",
        "UPDATE own SET s = 'x' FROM lab.readings.points p WHERE p.n = own.n",
        "DELETE FROM own USING lab.readings.points p WHERE p.n = own.n",
        "DELETE FROM own WHERE nn = 1",
        "DELETE FROM own WHERE s > 5 AND n = 'x'",
    ],
)
def test_a_change_that_fails_changes_nothing(own: Bench, sql: str) -> None:
    """Values that do not fit, NULL where none may be, columns that are not there: the table stays as it was."""
    assert _refused(own, sql).code is ErrorCode.INVALID
    assert own.rows(ALL) == ROWS


def test_parameters_of_changes(own: Bench) -> None:
    """Each row of values works on what the one before has left; the types are those of the columns."""
    session = own.session("visitor")
    update, delete = "UPDATE own SET t = ?, s = ? WHERE n = ?", "DELETE FROM own WHERE n = ?"
    assert own.updates.parameters(session, update, None).types == [pa.int8(), pa.string(), pa.int64()]
    assert own.updates.parameters(session, delete, None).types == [pa.int64()]
    assert own.run(update, _values(a=[9], b=["z"], c=[1])) == 1
    assert own.run("UPDATE own SET n = n + ? WHERE n >= ?", _values(a=[10, 100], b=[2, 12])) == 4
    assert own.rows(ALL) == [(1, "z", 9), (112, "b", 2), (113, None, None)]
    assert own.run(delete, _values(a=[1, 5, 113])) == 2
    assert own.rows("SELECT n FROM own") == [(112,)]
    assert own.run(delete, _values(a=pa.array([], pa.int64()))) == 0


@pytest.mark.parametrize("is_own", [False, True], ids=["by itself", "in a transaction"])
def test_rows_of_values_change_all_or_nothing(own: Bench, is_own: bool) -> None:
    """The second row fails: what the first did is undone, and no transaction is left open."""
    session = own.session("visitor")
    open_before = own.updates.begin(session) if is_own else None
    bad = _values(a=[5, 300], b=[1, 2])
    assert _refused(own, "UPDATE own SET t = ? WHERE n = ?", bad, transaction=open_before).code is ErrorCode.INVALID
    if open_before is not None:
        own.updates.end(session, open_before, commits=True)
    assert own.rows(ALL) == ROWS
    assert own.temporaries.sizes()["transactions"] == 0


def test_not_null_is_kept_by_every_change(own: Bench) -> None:
    """A promise that a driver has shown would be forgotten at the first UPDATE."""
    for sql in ("UPDATE own SET n = n + 1", "DELETE FROM own WHERE n = 2", "INSERT INTO own VALUES (9, 'x', 1)"):
        own.run(sql)
        (table,) = own.temporaries.visible(own.session("visitor")).values()
        assert [field.nullable for field in table.schema] == [False, True, True], sql
        assert _refused(own, "UPDATE own SET n = NULL").code is ErrorCode.INVALID


# ------------------------------------------------------------------------------------------------ what is not one's own


@pytest.mark.parametrize("name", ["lab.readings.points", "readings.points", "points", "LAB.readings.POINTS"])
@pytest.mark.parametrize(
    "sql", ["INSERT INTO {} VALUES (1, 2)", "DELETE FROM {}", "UPDATE {} SET v = 1", "DROP TABLE {}"]
)
def test_ports_are_read_only(bench: Bench, sql: str, name: str) -> None:
    """The refusal says what may be written instead."""
    refusal = _refused(bench, sql.format(name))
    assert refusal.code is ErrorCode.INVALID
    assert str(refusal) == f"{name} is read-only. Temporary tables of your session can be written."
    assert bench.rows("SELECT count(*) FROM lab.readings.points") == [(3,)]


@pytest.mark.parametrize(
    "sql", ["INSERT INTO {} VALUES (1, 2)", "DELETE FROM {}", "UPDATE {} SET v = 1", "DROP TABLE {}"]
)
def test_hidden_ports_are_tables_that_never_were(bench: Bench, sql: str) -> None:
    """Writing would tell of what reading hides: the same words for both, and no name in a hint."""
    told = {
        str(_refused(bench, sql.format(f"lab.readings.{name}"))).replace(name, "NAME")
        for name in ("secrets", "secretz")
    }
    assert len(told) == 1
    assert _refused(bench, sql.format("lab.readings.secrets")).code is ErrorCode.NOT_FOUND
    assert _refused(bench, sql.format("nothing")).code is ErrorCode.NOT_FOUND


def test_dropping_a_port_drops_no_table_of_ones_own(bench: Bench) -> None:
    """``DROP TABLE IF EXISTS lab.readings.points`` must not take the temporary table that is called ``points``."""
    bench.run("CREATE TEMP TABLE points AS SELECT 1 AS x")
    for path in ("nothing.points", "main.points"):
        assert bench.run(f"DROP TABLE IF EXISTS {path}") == 0
    assert "read-only" in _refused(bench, "DROP TABLE IF EXISTS lab.readings.points").message
    assert bench.rows("SELECT * FROM temp.main.points") == [(1,)]
    assert bench.run("DROP TABLE IF EXISTS temp.points") == 0
    assert bench.temporaries.sizes()["tables"] == 0


def test_dropping(own: Bench) -> None:
    """What is gone is gone; IF EXISTS asks for no more."""
    assert own.run("DROP TABLE OWN") == 0
    refusal = _refused(own, "DROP TABLE own")
    assert (refusal.code, refusal.hint) == (ErrorCode.NOT_FOUND, "Make it with CREATE TEMP TABLE.")
    assert own.run("DROP TABLE IF EXISTS own") == 0


@pytest.mark.parametrize(
    "sql",
    [
        *("CREATE VIEW x AS SELECT 1", "CREATE SCHEMA x", "ATTACH 'x.db'", "COPY own TO 'x.csv'", "INSTALL httpfs"),
        *(
            "PRAGMA database_list",
            "CALL pragma_version()",
            "SELECT 1",
            "SELECT 1; DELETE FROM own",
            "",
            "DELETE",
            "VACUUM",
        ),
        *(
            "ALTER TABLE own ADD COLUMN x INT",
            "MERGE INTO own USING own o ON true WHEN MATCHED THEN DELETE",
            "CHECKPOINT",
        ),
        *("EXPLAIN SELECT 1", "SET threads = 64", "SET enable_external_access = true", "LOAD json", "EXECUTE x"),
    ],
)
def test_everything_else_is_refused(own: Bench, sql: str) -> None:
    """Whatever DuckDB knows beside this runs nowhere."""
    assert _refused(own, sql).code is ErrorCode.INVALID
    assert own.rows(ALL) == ROWS


# ------------------------------------------------------------------------------------------------- settings, explaining


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("USE lab.readings", ("lab", "readings")),
        ("USE lab", ("lab", None)),
        ("USE READINGS", ("lab", "readings")),
        ("USE 'lab.readings'", ("lab", "readings")),
        ('USE "lab"."readings"', ("lab", "readings")),
        ("SET schema = 'lab.readings'", ("lab", "readings")),
        ("SET schema = 'readings'", ("lab", "readings")),
        ("SET search_path = 'lab.readings'", ("lab", "readings")),
        ('SET schema = \'"lab"."readings"\'', ("lab", "readings")),
        ('SET schema = "lab"."readings"', ("lab", "readings")),
    ],
)
def test_defaults_are_set_by_statements(bench: Bench, sql: str, found: tuple[str, str | None]) -> None:
    """Tools send these and write short names afterwards."""
    session = bench.session("visitor")
    assert bench.run(sql) == 0
    kept = bench.sessions.resolve(session.id, session.principal)
    assert (kept.catalog, kept.schema) == found
    assert bench.rows("SELECT count(*) FROM points", kept) == [(3,)]
    for reset in ("RESET schema", "USE memory", "SET schema = 'memory'"):
        bench.run(sql)
        assert bench.run(reset) == 0, reset
        assert bench.sessions.resolve(session.id, session.principal).catalog is None, reset


@pytest.mark.parametrize("sql", ["USE nowhere", "USE lab.nowhere", "USE a.b.c", "SET schema = 'nowhere'"])
def test_defaults_that_are_not_there_are_refused(bench: Bench, sql: str) -> None:
    """Every later statement would fail, far from the typo."""
    bench.run("USE lab.readings")
    _refused(bench, sql)
    session = bench.session("visitor")
    assert bench.sessions.resolve(session.id, session.principal).schema == "readings"


def test_options_are_set_by_statements(bench: Bench) -> None:
    """What the session protocol sets can be set where only SQL can be sent."""
    session = bench.session("visitor")
    for sql in ("SET query_timeout_s = 5", "SET SESSION dictionaries = true", "SET TimeZone = 'UTC'"):
        assert bench.run(sql) == 0
    assert dict(bench.sessions.resolve(session.id, session.principal).options) == {
        "query_timeout_s": 5.0,
        "dictionaries": True,
    }
    bench.run("RESET query_timeout_s")
    assert dict(bench.sessions.resolve(session.id, session.principal).options) == {"dictionaries": True}
    assert "Did you mean query_timeout_s?" in str(_refused(bench, "SET query_timeout = 5"))


def test_explain_answers_with_rows(bench: Bench) -> None:
    """BI tools show a plan: two columns of text, as DuckDB's; parameters count as NULL and nothing is read."""
    session = bench.session("visitor")
    sql = "EXPLAIN SELECT count(*) AS c FROM lab.readings.points WHERE n > ?"
    assert bench.updates.answers(sql)
    assert not bench.updates.answers("DELETE FROM own")
    assert bench.updates.schema(session, sql).names == ["explain_key", "explain_value"]
    assert bench.updates.schema(session, "DELETE FROM own") == pa.schema({"Count": pa.int64()})
    ((key, text),) = bench.rows(bench.updates.answer(session, sql, None, Call(), None))
    assert key == "flightmesh"
    assert text.splitlines()[:2] == ["Answered by: duckdb", "Columns: c int64"]
    assert "Reads lab.readings.points (read at " in text
    for hidden in ("EXPLAIN SELECT * FROM lab.readings.secrets", "EXPLAIN DELETE FROM own"):
        with pytest.raises(FlightmeshError):
            bench.updates.answer(session, hidden, None, Call(), None)


def test_a_statement_sent_as_a_query_is_executed_once(own: Bench) -> None:
    """Drivers that know no updates get the count of rows as their result."""
    session = own.session("visitor")
    for sql, count in (
        ("DELETE FROM own WHERE n = 1", 1),
        ("CREATE TEMP TABLE x AS SELECT * FROM own", 0),
        ("BEGIN", 0),
    ):
        select = own.updates.answer(session, sql, None, Call(), None)
        assert own.read(own.queries.run_sql(session, select)).to_pylist() == [{"Count": count}]
    own.run("ROLLBACK")
    assert own.rows("SELECT count(*) FROM own") == [(2,)]


# --------------------------------------------------------------------------------------------------------- transactions


def test_a_transaction_is_seen_by_itself_until_it_commits(own: Bench) -> None:
    """Statements with its id see its changes; others of the session see none of them before the end."""
    session = own.session("visitor")
    transaction = own.updates.begin(session)
    assert own.run("DELETE FROM own WHERE n = 1", transaction=transaction) == 1
    assert own.run("CREATE TEMP TABLE x AS SELECT * FROM own", transaction=transaction) == 0
    assert own.rows("SELECT count(*) FROM x", transaction=transaction) == [(2,)]
    assert own.rows(ALL) == ROWS
    assert _refused(own, "DROP TABLE x").code is ErrorCode.NOT_FOUND
    own.updates.end(session, transaction, commits=True)
    assert own.rows(ALL) == own.rows("SELECT * FROM x ORDER BY n") == ROWS[1:]


def test_a_rollback_leaves_nothing(own: Bench) -> None:
    """Not even of a table that was dropped and made again."""
    session = own.session("visitor")
    transaction = own.updates.begin(session)
    own.run("DROP TABLE own", transaction=transaction)
    own.run("CREATE TEMP TABLE own AS SELECT 7 AS n", transaction=transaction)
    own.run("INSERT INTO own VALUES (?)", _values(a=[8, 9]), transaction=transaction)
    assert own.rows(ALL, transaction=transaction) == [(7,), (8,), (9,)]
    own.updates.end(session, transaction, commits=False)
    assert own.rows(ALL) == ROWS


def test_a_transaction_without_an_id(own: Bench) -> None:
    """BEGIN makes it that of all statements that name none, until COMMIT or ROLLBACK."""
    for ending, rows in (("ROLLBACK", ROWS), ("ABORT", ROWS), ("COMMIT", ROWS[1:]), ("END", [])):
        assert own.run("BEGIN TRANSACTION") == 0
        assert _refused(own, "BEGIN").code is ErrorCode.INVALID
        own.run("DELETE FROM own WHERE n = (SELECT min(n) FROM own)" if ending != "END" else "DELETE FROM own")
        assert own.run(ending) == 0
        assert own.rows(ALL) == rows
    for ending in ("COMMIT", "ROLLBACK", "END"):
        assert own.run(ending) == 0


def test_many_rows_of_values_in_a_transaction_without_an_id(own: Bench) -> None:
    """``executemany`` of an UPDATE after BEGIN is a part of it: it sees what came before, and ROLLBACK undoes it."""
    own.run("BEGIN")
    own.run("CREATE TEMP TABLE later AS SELECT n FROM own")
    assert own.run("UPDATE later SET n = n + ? WHERE n = ?", _values(a=[10, 20], b=[1, 2])) == 2
    assert own.run("DELETE FROM own WHERE n = ?", _values(a=[1, 2])) == 2
    assert own.rows("SELECT * FROM later ORDER BY n") == [(3,), (11,), (22,)]
    own.run("ROLLBACK")
    assert own.rows(ALL) == ROWS
    assert own.temporaries.sizes()["transactions"] == 0


def test_explain_sees_the_transaction_it_is_asked_in(own: Bench) -> None:
    """A statement that runs in a transaction can be explained in it."""
    session = own.session("visitor")
    transaction = own.updates.begin(session)
    own.run("CREATE TEMP TABLE later AS SELECT 1 AS n", transaction=transaction)
    assert own.rows("SELECT n FROM later", transaction=transaction) == [(1,)]
    assert "explain_key" in own.updates.answer(session, "EXPLAIN SELECT n FROM later", None, Call(), transaction)


def test_words_in_a_drivers_transaction_end_nothing(own: Bench) -> None:
    """ADBC ends its transaction by its id; BEGIN and COMMIT as text in between are a habit."""
    session = own.session("visitor")
    transaction = own.updates.begin(session)
    own.run("DELETE FROM own", transaction=transaction)
    for word in ("BEGIN", "COMMIT", "ROLLBACK"):
        assert own.run(word, transaction=transaction) == 0
    own.updates.end(session, transaction, commits=True)
    assert own.rows(ALL) == []


@pytest.mark.parametrize("transaction", ["x", "x" * 10_000])
def test_foreign_transactions_are_refused(own: Bench, transaction: str) -> None:
    """One that is unknown, over, or another session's: nothing is done outside of it instead."""
    session, other = own.session("visitor"), own.session("visitor", id="t")
    over, foreign = own.updates.begin(session), own.updates.begin(other)
    own.updates.end(session, over, commits=True)
    for wrong in (transaction, over, foreign):
        assert _refused(own, "DELETE FROM own", transaction=wrong).code is ErrorCode.INVALID
        with pytest.raises(FlightmeshError):
            own.updates.end(session, wrong, commits=True)
    assert own.rows(ALL) == ROWS


# -------------------------------------------------------------------------------------------- ingest, stopping, sharing


def test_an_ingest_is_whole_or_not_there(own: Bench) -> None:
    """``rows`` raises when the upload is not whole: then neither the table nor a file of it is left."""
    session, schema = own.session("visitor"), pa.schema([("n", pa.int64())])
    batch = pa.record_batch({"n": pa.array([1, 2], pa.int64())})

    def broken() -> Iterator[pa.RecordBatch]:
        yield batch
        raise FlightmeshError(ErrorCode.CANCELLED, "The client went away.")

    for target in (Ingest("fresh", "fail", "create"), Ingest("own", "replace", "create")):
        with pytest.raises(FlightmeshError, match="went away"):
            own.updates.ingest(session, target, schema, broken(), Call())
        assert own.rows(ALL) == ROWS
    assert list(own.temporaries.visible(session)) == ["own"]
    assert own.updates.ingest(session, Ingest("fresh", "fail", "create"), schema, iter([batch, batch]), Call()) == 4
    assert own.updates.ingest(session, Ingest("fresh", "append", "fail"), schema, iter([batch]), Call()) == 2
    assert own.rows("SELECT count(*), sum(n) FROM fresh") == [(6, 9)]
    with pytest.raises(FlightmeshError, match="already exists"):
        own.updates.ingest(session, Ingest("fresh", "fail", "create"), schema, iter([batch]), Call())
    with pytest.raises(FlightmeshError) as failure:
        own.updates.ingest(session, Ingest("absent", "append", "fail"), schema, iter([batch]), Call())
    assert failure.value.code is ErrorCode.NOT_FOUND


def test_an_ingest_takes_part_in_a_transaction(own: Bench) -> None:
    """By its id, or in the one that BEGIN has opened."""
    session, batch = own.session("visitor"), pa.record_batch({"n": pa.array([1], pa.int64())})
    transaction = own.updates.begin(session)
    own.updates.ingest(session, Ingest("x", "fail", "create", transaction), batch.schema, iter([batch]), Call())
    assert own.rows("SELECT * FROM x", transaction=transaction) == [(1,)]
    own.updates.end(session, transaction, commits=False)
    own.run("BEGIN")
    own.updates.ingest(session, Ingest("y", "fail", "create"), batch.schema, iter([batch]), Call())
    own.run("ROLLBACK")
    assert list(own.temporaries.visible(session)) == ["own"]


def test_a_stopped_statement_writes_nothing(own: Bench) -> None:
    """A cancel, a kill or a deadline in the middle leaves the table as it was, and the session free."""
    call, failures = Call(), []
    endless = "INSERT INTO own SELECT a.range, 'x', 1 FROM range(10000000000) a, range(10000000000) b"

    def run() -> None:
        try:
            own.updates.run(own.session("visitor"), endless, None, call, None)
        except FlightmeshError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    steward = own.session("steward", name="root")
    while not (found := own.running.visible(steward)):
        pass
    assert found[0].sql == endless
    while thread.is_alive():
        call.stop(ErrorCode.CANCELLED, "The query was cancelled.")
        thread.join(0.05)
    assert [str(failure) for failure in failures] == ["The query was cancelled."]
    assert own.rows(ALL) == ROWS
    assert own.running.visible(steward) == []
    assert (own.admission.running, own.engine.running, own.temporaries.sizes()["uploads"]) == (0, 0, 0)
    assert own.run("DELETE FROM own") == 3


def test_changes_of_one_session_do_not_lose_each_other(own: Bench) -> None:
    """Two threads that read, change and write back one table: every change counts."""
    own.run("CREATE TEMP TABLE counter AS SELECT 0 AS n")
    wrong: list[Exception] = []

    def add() -> None:
        for _ in range(10):
            try:
                own.run("UPDATE counter SET n = n + 1")
                own.run("INSERT INTO counter VALUES (-1000)")
            except FlightmeshError as error:
                wrong.append(error)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert own.rows("SELECT max(n), count(*) FROM counter") == [(40, 41)]


def test_a_session_that_is_closed_has_nothing_left(own: Bench) -> None:
    """Its settings and tables are gone, also its files."""
    session = own.session("visitor")
    own.run("USE lab.readings")
    own.updates.close(session)
    with pytest.raises(FlightmeshError):
        own.rows(ALL)
    assert own.sessions.resolve(session.id, session.principal).schema is None
    assert own.temporaries.sizes()["bytes"] == 0
    own.updates.close(session)


def test_the_whole_of_a_table_is_read_by_its_full_name(bench: Bench) -> None:
    """A path descriptor of a table with an odd name reads this table."""
    bench.run('CREATE TEMP TABLE "a.""b" AS SELECT 5 AS x')
    (table,) = bench.temporaries.visible(bench.session("visitor")).values()
    assert bench.rows(bench.updates.select_all(table)) == [(5,)]
    ((entry, schema),) = bench.updates.tables(bench.session("visitor"))
    assert (entry.name, schema) == ('a."b', pa.schema([("x", pa.int32())]))

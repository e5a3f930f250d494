"""``flightmesh.sql.writes``: the SELECT of a command that writes gives what the engine's own statement would leave."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest
from hypothesis import given, settings, strategies as st

from flightmesh.errors import FlightmeshError
from flightmesh.sql.commands import Command, command
from flightmesh.sql.writes import CreateTable, Delete, Insert, Update


def _command(text: str) -> Command:
    return command(text, bytes_max=200_000, depth_max=200)


ROWS = [(1, "a'b", 1.5), (2, None, -2.0), (3, "é -- x", None), (None, "WHERE", 0.0)]
CREATE = 'CREATE TABLE t (a BIGINT, "b, c" VARCHAR, f DOUBLE)'


def _table() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(CREATE)
    connection.executemany("INSERT INTO t VALUES (?, ?, ?)", ROWS)
    connection.execute("CREATE TABLE u AS SELECT range AS a FROM range(3)")
    return connection


def _sorted(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=repr)


def _outcome(text: str, values: list[object], *, is_typed: bool = False) -> tuple[Any, Any]:
    """The table's rows after DuckDB's own statement, and after ours; None for an error."""
    with _table() as connection:
        found = _command(text)
        assert isinstance(found, Insert | Delete | Update)
        types = [row[1] for row in connection.execute("DESCRIBE t").fetchall()]
        sql = found.select_as(types) if isinstance(found, Insert) else found.select
        if isinstance(found, Update) and is_typed:
            sql = found.select_as(dict(zip(["a", "b, c", "f"], types, strict=True)))
        try:
            mine = connection.execute(sql, values).fetchall()
            if isinstance(found, Update):
                mine = [row[:-1] for row in mine]
            elif isinstance(found, Insert):
                mine = connection.execute("FROM t").fetchall() + mine
        except duckdb.Error:
            mine = None
        try:
            connection.execute(text, values)
            real = connection.execute("FROM t").fetchall()
        except duckdb.Error:
            real = None
    return real and _sorted(real), mine and _sorted(mine)


CONDITIONS = st.sampled_from(
    [
        "a > 1",
        "a = 1 OR f < 0 -- done",
        "\"b, c\" = 'WHERE'",
        "\"b, c\" = 'a''b' /* ; */",
        "a IN (SELECT a FROM u WHERE u.a > 1)",
        "t.a IS DISTINCT FROM 1",
        "EXISTS (SELECT 1 FROM u WHERE u.a = t.a)",
        "a",
        "f",
        "NULL",
        "a = ?",
        "(SELECT max(a) FROM t) = a",
        "CASE WHEN a > 1 THEN f > 0 END",
        '"b, c" LIKE $$é%$$',
        "nothing = 1",
        "sum(a) > 1",
        "unnest([true, false])",
        "regexp_split_to_table('t f', ' ')",
    ]
)
VALUES = st.sampled_from(
    ["a + 1", "NULL", "-a", "1.5", "'7'", 'length("b, c")', "(SELECT max(a) FROM u)", "?", "f IS NOT DISTINCT FROM 1"]
)
COLUMNS = st.lists(st.sampled_from(["a", '"b, c"', "F"]), min_size=1, max_size=3, unique=True)


def _values(text: str) -> list[object]:
    return list(range(1, text.count("?") + 1))


@settings(deadline=None, max_examples=60)
@given(CONDITIONS, st.sampled_from(["", "WITH w AS (SELECT 1) "]), st.sampled_from(["", ";", " ; -- end"]))
def test_delete_keeps_the_rows_that_the_engine_would_keep(condition: str, before: str, end: str) -> None:
    """A row would be lost, or stay, that the author did not mean."""
    text = f"{before}DELETE FROM t WHERE {condition}\n{end}"
    real, mine = _outcome(text, _values(text))
    assert mine == real


@settings(deadline=None, max_examples=100)
@given(COLUMNS, st.lists(VALUES, min_size=3, max_size=3), st.none() | CONDITIONS)
def test_update_changes_what_the_engine_would_change(columns: list[str], values: list[str], where: str | None) -> None:
    """A wrong value, in a wrong row, or rounded on its way through another type."""
    changes = ", ".join(f"{column} = {value}" for column, value in zip(columns, values, strict=False))
    text = f"UPDATE t SET {changes}" + (f" WHERE {where}" if where else "")
    if where is not None and where.startswith(("unnest", "regexp_split_to_table")):
        with pytest.raises(FlightmeshError, match="unnest"):
            _command(text)
        return
    for is_typed in (False, True):
        real, mine = _outcome(text, _values(text), is_typed=is_typed)
        assert mine == real


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=3))
def test_insert_casts_each_value_to_its_column(rows: list[tuple[str, str, str]]) -> None:
    """Rows whose values are of different types would be refused or changed where the engine takes them."""
    text = "INSERT INTO t VALUES " + ", ".join(f"({', '.join(row)})" for row in rows)
    real, mine = _outcome(text, _values(text))
    assert mine == real


def test_update_tells_which_rows_matched_and_keeps_the_order_of_parameters() -> None:
    """The number of changed rows would be wrong, or a value bound to another place."""
    found = _command("UPDATE t AS x SET f = x.a + ?, a = ? WHERE x.a > ?")
    assert isinstance(found, Update)
    with _table() as connection:
        result = connection.execute(found.select, [0.25, 9, 1])
        assert result.description is not None
        assert [column[0] for column in result.description] == ["a", "b, c", "f", found.marker]
        assert _sorted([(row[0], row[2], row[3]) for row in result.fetchall()]) == [
            (1, 1.5, False),
            (9, 2.25, True),
            (9, 3.25, True),
            (None, 0.0, False),
        ]


def test_a_large_whole_number_is_not_rounded_where_a_value_is_a_fraction() -> None:
    """The rows that an UPDATE does not match would change on their way through DOUBLE."""
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT 9007199254740993 AS a")
        found = _command("UPDATE t SET a = 1e0 WHERE false")
        assert isinstance(found, Update)
        assert connection.execute(found.select).fetchall() == [(9007199254740993, False)]


def test_defined_columns_become_a_query_of_no_row() -> None:
    """An empty temporary table would have other columns than its author defined."""
    found = _command(
        'CREATE TEMP TABLE t ("a,b" INT NOT NULL, b DECIMAL(10, 2) NULL, c VARCHAR(3)[], d STRUCT(x INT, "y)" TEXT), '
        "e ENUM ('a,b', 'c'), f TIMESTAMP WITH TIME ZONE) ON COMMIT PRESERVE ROWS"
    )
    assert isinstance(found, CreateTable)
    assert found.required == ("a,b",)
    with duckdb.connect() as connection:
        rows = connection.execute(f"DESCRIBE {found.select}").fetchall()
        assert connection.execute(found.select).fetchall() == []
    assert [row[:2] for row in rows] == [
        ("a,b", "INTEGER"),
        ("b", "DECIMAL(10,2)"),
        ("c", "VARCHAR[]"),
        ("d", 'STRUCT(x INTEGER, "y)" VARCHAR)'),
        ("e", "ENUM('a,b', 'c')"),
        ("f", "TIMESTAMP WITH TIME ZONE"),
    ]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('CREATE TEMP TABLE t (x, "y z") AS SELECT 1, 2 -- c', [("x", 1), ("y z", 2)]),
        ("CREATE TEMP TABLE t AS SELECT 1 AS a, 2 AS b WITH NO DATA", [("a", None), ("b", None)]),
        ("CREATE TEMP TABLE t AS SELECT 1 AS a WITH DATA", [("a", 1)]),
        ("CREATE TEMP TABLE t (x) AS WITH w AS (SELECT 7) FROM w WITH NO DATA", [("x", None)]),
    ],
)
def test_create_as_keeps_names_and_leaves_out_the_rows_when_told(text: str, rows: list[tuple[str, object]]) -> None:
    """A table would have the query's names, or rows that nobody asked for."""
    found = _command(text)
    assert isinstance(found, CreateTable)
    with duckdb.connect() as connection:
        result = connection.execute(found.select)
        assert result.description is not None
        names = [column[0] for column in result.description]
        row = result.fetchone() or (None,) * len(names)
    assert list(zip(names, row, strict=True)) == rows


def test_values_and_columns_that_do_not_fit_the_table_are_refused() -> None:
    """A value would land in another column, or the author would read of a SELECT that he never wrote."""
    rows, change = _command("INSERT INTO t VALUES (1), (3)"), _command("UPDATE t SET nothing = 1")
    assert isinstance(rows, Insert)
    with pytest.raises(FlightmeshError, match=r"not as many values as there are columns \(2\)"):
        rows.select_as(["BIGINT", "BIGINT"])
    assert isinstance(change, Update)
    with pytest.raises(FlightmeshError, match="The table t has no column nothing"):
        change.select_as({"a": "BIGINT"})


def test_a_query_is_inserted_as_it_is() -> None:
    """A query's columns would be cast one by one where the engine casts the result."""
    found = _command("WITH w AS (SELECT 1) INSERT INTO t WITH v AS (SELECT 2) FROM v, w")
    assert isinstance(found, Insert)
    assert found.select_as(["BIGINT", "BIGINT"]) == found.select
    with duckdb.connect() as connection:
        assert connection.execute(found.select).fetchall() == [(2, 1)]

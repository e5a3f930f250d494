"""``flightmesh.sql.gate``: what a statement consists of, and the refusal of every part that is on no list."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.sql.ast import parse
from flightmesh.sql.gate import Survey, position, survey


def _survey(text: str) -> Survey:
    return survey(parse(text, bytes_max=200_000, depth_max=200))


def _relations(text: str) -> list[str]:
    found = _survey(text)
    assert not found.refusals, found.refusals
    return [".".join(reference.path) for reference in found.relations]


@pytest.mark.parametrize(
    ("text", "relations"),
    [
        ("SELECT 1", []),
        ("FROM a", ["a"]),
        ('FROM d."P q".t x JOIN b USING (k)', ["d.P q.t", "b"]),
        ("SELECT (SELECT 1 FROM a) FROM b WHERE EXISTS (FROM c)", ["a", "b", "c"]),
        ("SELECT 1 FROM a UNION SELECT 2 FROM b EXCEPT FROM c", ["a", "b", "c"]),
        ("SELECT * FROM a ORDER BY (SELECT 1 FROM b) LIMIT (SELECT 1 FROM c)", ["a", "b", "c"]),
        ("SELECT sum(1) OVER (ORDER BY (SELECT 1 FROM b)) FROM a QUALIFY (SELECT true FROM c)", ["b", "a", "c"]),
        ("SELECT list_transform([1], lambda x: (SELECT 1 FROM a))", ["a"]),
        ("PIVOT a ON k IN ('x') USING sum(v)", ["a"]),
        ("UNPIVOT a ON b, c", ["a"]),
        ("FROM a, LATERAL (SELECT a.x) l, unnest([1]) u", ["a"]),
        ("VALUES ((SELECT 1 FROM a))", ["a"]),
        ("FROM a TABLESAMPLE 10%", ["a"]),
        ("SELECT CASE WHEN x IN (FROM a) THEN 1 END FROM b GROUP BY ALL HAVING (SELECT true FROM c)", ["a", "b", "c"]),
    ],
)
def test_every_relation_is_found_where_it_stands(text: str, relations: list[str]) -> None:
    """A relation that the walk passes by would be read without anybody having asked whether it may be."""
    assert _relations(text) == relations


@pytest.mark.parametrize(
    ("text", "relations"),
    [
        ("WITH a AS (SELECT 1) FROM a", []),
        ("WITH a AS (SELECT 1) FROM A", []),
        ("WITH a AS (FROM a) FROM a", ["a"]),
        ("WITH a AS (SELECT 1), b AS (FROM a) FROM b", []),
        ("WITH b AS (FROM a), a AS (SELECT 1) FROM b", ["a"]),
        ("FROM (WITH a AS (SELECT 1) FROM a), a", ["a"]),
        ("WITH a AS (SELECT 1) FROM d.a", ["d.a"]),
        ("WITH a AS (SELECT 1) FROM (SELECT (SELECT 1 FROM a))", []),
        ("WITH RECURSIVE a AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM a WHERE n < 3) FROM a", []),
        ("WITH RECURSIVE a AS (FROM a) FROM a", ["a"]),
        ("WITH a AS (SELECT 1) SELECT 1 UNION (WITH b AS (FROM a) FROM b, c)", ["c"]),
        ("SELECT 1 WHERE EXISTS (WITH a AS (SELECT 1) FROM a) AND EXISTS (FROM a)", ["a"]),
    ],
)
def test_a_cte_hides_a_name_only_where_it_is_in_scope(text: str, relations: list[str]) -> None:
    """A CTE of one subquery would cover up a read of the same name in another."""
    assert _relations(text) == relations


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FROM query('x')", "The table function query is not allowed (line 1, column 6)."),
        ("SELECT stats(a) FROM t", "The function stats is not allowed (line 1, column 8)."),
        ("SELECT 1,\n system.main.upper('a')", "The function system.main.upper is not allowed (line 2, column 2)."),
        ("FROM t AT (VERSION => 1)", "Time travel (AT) is not offered by this version (line 1, column 6)."),
        ("SELECT 1::a.b", "A type may not be named with a catalogue or schema"),
        ("WITH duckdb_tables AS (SELECT 1) SELECT 1", "A CTE may not be named duckdb_tables."),
        ("SHOW VARIABLES", "SHOW VARIABLES is not allowed."),
        (
            "FROM duckdb_settings()",
            "duckdb_settings is not offered: it shows the server's settings (line 1, column 6).",
        ),
        ("FROM duckdb_secrets", "duckdb_secrets is not offered: it shows secrets"),
        ("FROM pg_settings", "pg_settings is not offered: it shows the server's settings"),
        ("FROM pg_catalog.pg_settings", "pg_catalog.pg_settings is not offered: it shows the server's settings"),
        ("FROM system.main.duckdb_logs", "duckdb_logs is not offered: it shows other people's statements"),
        ("FROM information_schema.routines", "information_schema.routines is not offered (line 1, column 6)."),
        ("FROM lab.information_schema.tables", "There is no lab.information_schema.tables"),
        ("FROM lab.pg_catalog.pg_settings", "lab.pg_catalog.pg_settings is not offered"),
        ("FROM system.main.duckdb_tables()", "The table function system.main.duckdb_tables is not allowed"),
        ("SELECT pg_catalog.current_setting('x')", "The function pg_catalog.current_setting is not allowed"),
        ("SELECT pg_catalog.pg_sleep(1)", "The function pg_catalog.pg_sleep is not allowed"),
        ("SELECT duckdb_tables()", "The function duckdb_tables is not allowed"),
        ("SELECT lab.pg_catalog.pg_typeof(1)", "The function lab.pg_catalog.pg_typeof is not allowed"),
        (
            "FROM t, information_schema.tables",
            "A statement reads ports or the catalogue (information_schema.tables), not both (line 1, column 6).",
        ),
        (
            "SELECT pg_table_is_visible(1) FROM t",
            "A statement reads ports or the catalogue (pg_table_is_visible()), not",
        ),
        (
            "SELECT current_schemas(true) FROM t",
            "A statement reads ports or the catalogue (current_schemas()), not both",
        ),
        ("FROM (DESCRIBE t) JOIN t ON true", "A statement reads ports or the catalogue (DESCRIBE), not both"),
        (
            "WITH x AS (FROM t) FROM x, (SHOW TABLES)",
            "A statement reads ports or the catalogue (SHOW TABLES), not both",
        ),
        ("DESCRIBE SELECT getvariable('x') FROM t", "The function getvariable is not allowed"),
        ("SUMMARIZE FROM query('x')", "The table function query is not allowed"),
        ("WITH x AS (INSERT INTO t VALUES (1) RETURNING *) FROM x", "INSERT is not allowed in a query."),
        ("WITH x AS (COPY t TO 'f') FROM x", "COPY is not allowed in a query."),
    ],
)
def test_what_is_on_no_list_is_refused_at_its_place(text: str, said: str) -> None:
    """A construct of DuckDB that shows more than rows, or writes, would pass inside a SELECT."""
    refusals = _survey(text).refusals
    assert str(refusals[0]).startswith(said)
    assert all(refusal.code is ErrorCode.INVALID for refusal in refusals)


@pytest.mark.parametrize(
    ("text", "catalogue", "described", "system"),
    [
        ("SHOW TABLES", ["SHOW TABLES"], [], []),
        ("SHOW ALL TABLES", ["SHOW ALL TABLES"], [], []),
        ("DESCRIBE", ["SHOW ALL TABLES"], [], []),
        ("SELECT name FROM (SHOW DATABASES)", ["SHOW DATABASES"], [], []),
        ("SHOW SCHEMAS", ["SHOW SCHEMAS"], [], []),
        ("SHOW TABLES FROM a.b", ["SHOW TABLES FROM"], [], []),
        ("SHOW search_path", ["SHOW search_path"], [], []),
        ("SHOW TimeZone", ["SHOW TimeZone"], [], []),
        ("SHOW threads", ["SHOW threads"], ["threads"], []),
        (
            "WITH temp_directory AS (SELECT 1) FROM (SHOW temp_directory)",
            ["SHOW temp_directory"],
            ["temp_directory"],
            [],
        ),
        ("SHOW t", ["SHOW t"], ["t"], []),
        ("SHOW d.s.t", ["SHOW"], ["d.s.t"], []),
        ("DESC t", ["DESCRIBE"], ["t"], []),
        ('DESCRIBE TABLE d."s x".t', ["DESCRIBE"], ["d.s x.t"], []),
        ("DESCRIBE SELECT (SELECT 1 FROM b) FROM a", ["DESCRIBE"], ["b", "a"], []),
        ("FROM (DESCRIBE a), (DESCRIBE b)", ["DESCRIBE"], ["a", "b"], []),
        ("WITH a AS (SELECT 1) FROM (DESCRIBE a)", ["DESCRIBE"], [], []),
        (
            "DESCRIBE information_schema.tables",
            ["DESCRIBE", "information_schema.tables"],
            [],
            ["information_schema.tables"],
        ),
        ("FROM INFORMATION_SCHEMA.Columns", ["INFORMATION_SCHEMA.Columns"], [], ["INFORMATION_SCHEMA.Columns"]),
        (
            "FROM system.information_schema.schemata",
            ["system.information_schema.schemata"],
            [],
            ["system.information_schema.schemata"],
        ),
        ("FROM pg_class", ["pg_class"], [], ["pg_class"]),
        ("FROM pg_catalog.pg_type", ["pg_catalog.pg_type"], [], ["pg_catalog.pg_type"]),
        ("FROM duckdb_tables", ["duckdb_tables"], [], ["duckdb_tables"]),
        ("SELECT * FROM duckdb_constraints()", ["duckdb_constraints()"], [], []),
        ("SUMMARIZE pg_class", ["pg_class"], [], ["pg_class"]),
        ("SELECT pg_catalog.obj_description(1, 'x')", ["pg_catalog.obj_description()"], [], []),
        ("SELECT has_table_privilege('t', 'select')", ["has_table_privilege()"], [], []),
        ("SELECT current_user, pg_typeof(1), pg_catalog.current_schema()", [], [], []),
        (
            "SELECT current_user(), pg_catalog.current_schemas(true)",
            ["current_user()", "pg_catalog.current_schemas()"],
            [],
            [],
        ),
    ],
)
def test_a_question_to_the_catalogue_is_known(
    text: str, catalogue: list[str], described: list[str], system: list[str]
) -> None:
    """It would be answered where the data are, or a table that is only described would be read."""
    found = _survey(text)
    assert not found.refusals, found.refusals
    assert not found.relations
    assert list(found.catalogue) == catalogue
    assert [".".join(reference.path) for reference in found.described] == described
    assert [".".join(reference.path) for reference in found.system] == system


@pytest.mark.parametrize(
    ("text", "relations"),
    [
        ("SUMMARIZE d.s.t", ["d.s.t"]),
        ("FROM (SUMMARIZE SELECT * FROM a JOIN b USING (k))", ["a", "b"]),
        ("SELECT pg_typeof(a), current_user FROM t", ["t"]),
        ("FROM a.b.pg_class", ["a.b.pg_class"]),
        ("FROM s.duckdb_tables", ["s.duckdb_tables"]),
        ("FROM pg_mine", ["pg_mine"]),
    ],
)
def test_what_reads_rows_is_no_question_to_the_catalogue(text: str, relations: list[str]) -> None:
    """A port's rows would be looked for where there are none."""
    assert _relations(text) == relations
    assert _survey(text).catalogue == ()


# Every place of the grammar that holds an expression.
PLACES = (
    "select {F}",
    "select a, {F} from t",
    "select distinct on ({F}) a from t",
    "from t where {F}",
    "from t group by {F}",
    "from t group by grouping sets (({F}), (a))",
    "from t group by rollup ({F})",
    "from t group by cube (a, {F})",
    "select 1 from t having {F}",
    "select 1 from t qualify {F} = 1",
    "select 1 order by {F}",
    "select 1 limit {F}",
    "select 1 limit 1 offset {F}",
    "select 1 limit ({F})%",
    "select sum(a order by {F}) from t",
    "select sum(a) filter (where {F}) from t",
    "select sum(distinct {F}) from t",
    "select sum(a) over (partition by {F}) from t",
    "select sum(a) over (order by {F}) from t",
    "select sum(a) over (order by b rows between {F} preceding and current row) from t",
    "select sum(a) over (order by b range between current row and {F} following) from t",
    "select lag(a, {F}, b) over () from t",
    "select lag(a, 1, {F}) over () from t",
    "select lag(a order by {F}) over () from t",
    "select sum(a) over w from t window w as (partition by {F})",
    "select case {F} when 1 then 2 end",
    "select case when {F} then 2 end",
    "select case when a then {F} else 1 end",
    "select case when a then 1 else {F} end",
    "select {F}::int",
    "select try_cast({F} as int)",
    "select a between {F} and 2",
    "select a in (1, {F})",
    "select {F} in (select 1)",
    "select a = any(select {F})",
    "select exists(select {F})",
    "select array(select {F})",
    "select [{F}]",
    "select {'a': {F}}",
    "select map {'a': {F}}",
    "select [x for x in [{F}]]",
    "select [x for x in [1] if {F}]",
    "select [{F} for x in [1]]",
    "select list_transform([1], lambda x: {F})",
    "select list_transform([1], x -> {F})",
    "select a[{F}:2]",
    "select a[1:2:{F}]",
    "select {F}[1]",
    "select columns(c -> {F})",
    "select columns({F})",
    "select * replace ({F} as a) from t",
    "select * like {F} from t",
    "select unnest({F})",
    "select a collate nocase || {F}",
    "select a is distinct from {F}",
    "select a similar to {F}",
    "select extract(year from {F})",
    "select interval ({F}) day",
    "select a at time zone {F}",
    "select trim(both {F} from a)",
    "select position({F} in a)",
    "select overlay(a placing {F} from 1)",
    "select ({F}, 1)",
    "select coalesce({F})",
    "select try({F})",
    "select {F}!",
    "values ({F})",
    "from (values ({F})) v",
    "from range({F})",
    "from t, unnest([{F}])",
    "from t join u on {F}",
    "from t asof join u on {F} > 1",
    "from t, lateral (select {F})",
    "from t positional join (select {F})",
    "pivot t on a in (1) using sum({F})",
    "from t pivot (sum({F}) for a in (1))",
    "from t pivot (sum(a) for {F} in (1))",
    "from t pivot (sum(a) for b in ({F}))",
    "from t unpivot (v for k in ({F}))",
    "unpivot t on ({F}) into name a value b",
    "with x as (select {F}) from x",
    "with x as materialized (select {F}) select 1",
    "with recursive x as (select {F} union all select 1 from x) from x",
    "with recursive x(a) using key (a) as (select 1 union select {F} from x) from x",
    "select 1 union select {F}",
    "select 1 except all select {F}",
    "(select {F}) intersect select 1",
    "select 1 union by name select {F}",
    "select (with y as (select {F}) from y)",
    "select a -> {F}",
    "select string_agg(a, {F}) from t",
    "select nth_value(a, {F} ignore nulls) over () from t",
    "from t at (version => {F})",
    "select struct_pack(a := {F})",
    "select a + {F}",
)


@pytest.mark.parametrize("place", PLACES)
def test_no_place_is_passed_by(place: str) -> None:
    """A function or a table in an odd corner of the grammar would not be asked about."""
    called = _survey(place.replace("{F}", "getvariable('x')"))
    assert any("getvariable" in str(refusal) for refusal in called.refusals)
    read = _survey(place.replace("{F}", "(select 1 from hidden)"))
    assert ("hidden",) in [reference.path for reference in read.relations]
    bound = _survey(place.replace("{F}", "($place)"))
    assert "place" in [reference.identifier for reference in bound.parameters]


def test_all_refusals_of_a_statement_are_found() -> None:
    """The walk would end at the first and call the rest allowed."""
    found = _survey("SELECT stats(a), getvariable('x') FROM query('y'), read_csv('z') ORDER BY nextval('s')")
    told = " ".join(map(str, found.refusals))
    assert [name for name in ("stats", "getvariable", "query", "read_csv", "nextval") if name not in told] == []


def test_parameters_are_found_once_each_in_the_order_of_the_text() -> None:
    """A value would be bound to the wrong place."""
    found = _survey("SELECT $b, $a + 1, x FROM t WHERE y = $b AND z IN (SELECT $c)").parameters
    assert [(p.identifier, p.is_bare_column) for p in found] == [
        ("b", True),
        ("a", False),
        ("b", False),
        ("c", True),
    ]
    assert [p.identifier for p in _survey("SELECT ?, (SELECT ?) LIMIT ?").parameters] == ["1", "2", "3"]
    assert [p.identifier for p in _survey("SELECT '$1', $$ ? $$, $2 -- $3").parameters] == ["2"]


def test_nowhere_has_no_position() -> None:
    """A refusal of a whole statement would point to a column that does not exist."""
    assert position("SELECT 1", 2**64 - 1) == ""
    assert position("é\nSELECT", 4) == " (line 2, column 2)"


WORDS = """
select from where group by having order limit with recursive as union all except intersect join lateral on using pivot
unpivot summarize describe show insert into values update delete copy to attach at version in exists not null case when
then end cast try_cast :: ( ) [ ] { } , . ; ' " $$ $1 ? $a * + - / -> => := lambda x : = a b t d.s.t 1 2.5 'x' query(
read_csv( unnest( range( upper( stats( columns( #1 over partition window qualify sample positional asof natural full
semi anti é -- /* */ exclude replace rename collate interval struct enum
"""


@given(st.lists(st.sampled_from([*WORDS.split(), "\n"]), max_size=25).map(" ".join))
def test_text_that_looks_like_sql_is_surveyed_or_refused(text: str) -> None:
    """A statement of a stranger would end in an exception that nobody expects."""
    assert _is_answered(text)


@given(st.text(max_size=80))
def test_any_text_is_surveyed_or_refused(text: str) -> None:
    """As above, for text that looks like nothing."""
    assert _is_answered(text)


def _is_answered(text: str) -> bool:
    """Whether the text is surveyed, or refused as INVALID in few words."""
    try:
        _survey(text)
    except FlightmeshError as error:
        return error.code is ErrorCode.INVALID and len(str(error)) < 600
    return True

"""SqlInfo: the right child of the union for every id, and the truth about DuckDB's dialect."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest

from flightmesh.flightsql.sqlinfo import (
    CHILDREN,
    DATETIME_FUNCTIONS,
    KEYWORDS,
    NUMERIC_FUNCTIONS,
    SQL_INFO_SCHEMA,
    STRING_FUNCTIONS,
    SYSTEM_FUNCTIONS,
    Child,
    SqlInfo,
    default_sql_info,
    sql_info,
)

VALUES = default_sql_info(server_version="0.1.0", duckdb_version="v2.0.0", arrow_version="26.0.1")

# The child that the Arrow Flight SQL JDBC driver casts each id to.
BATCHES = range(572, 577)  # batch updates to call syntax
JDBC = {
    Child.STRING: [0, 1, 504, 513, 514, 529, 530, 531],
    Child.BOOL: [3, 515, 516, *range(518, 522), 523, 524, 527, 532, 536, 537, 539, 556, 563, 565, 566, *BATCHES],
    Child.BIGINT: [*range(541, 556), *range(557, 563)],
    Child.INT32: [522, 525, 526, 528, 533, 534, 535, 538, 540, 564, 567],
    Child.STRING_LIST: [*range(508, 513)],
    Child.INT32_LIST_MAP: [517],
}


def _codes(table: pa.Table) -> dict[int, int]:
    value = table["value"].chunk(0)
    return dict(zip(table["info_name"].to_pylist(), value.type_codes.to_pylist(), strict=True))


def test_schema_is_the_reference_servers() -> None:
    """C++ and Java clients expect a dense union with these children, none of them nullable."""
    assert str(SQL_INFO_SCHEMA.field("info_name")) == "pyarrow.Field<info_name: uint32 not null>"
    value = SQL_INFO_SCHEMA.field("value")
    assert not value.nullable
    assert str(value.type) == (
        "dense_union<string_value: string not null=0, bool_value: bool not null=1, bigint_value: int64 not null=2, "
        "int32_bitmask: int32 not null=3, string_list: list<item: string> not null=4, "
        "int32_to_int32_list_map: map<int32, list<item: int32>> not null=5>"
    )


def test_every_id_that_jdbc_reads_has_its_child() -> None:
    """One wrong child and every getter of the driver's DatabaseMetaData throws ClassCastException."""
    codes = _codes(sql_info(VALUES))
    for child, ids in JDBC.items():
        assert {id_: codes[id_] for id_ in ids} == dict.fromkeys(ids, child)
    assert codes[8] == Child.INT32  # ADBC takes any other child for: no answer


def test_children_cover_every_id() -> None:
    """A value given for an id of the standard always has a place in the union."""
    assert set(CHILDREN) == set(SqlInfo)


def test_no_ids_means_the_standards_ids() -> None:
    """JDBC asks for everything and fails on an id that its enum does not hold."""
    table = sql_info(VALUES, [])
    ids = table["info_name"].to_pylist()
    assert ids == sorted(VALUES)
    assert max(ids) == 576
    assert set(SqlInfo) - set(ids) == {6, 7}  # Substrait versions: there is no Substrait
    table.validate(full=True)


def test_ids_asked_for_come_in_order_once() -> None:
    """Ids that this server does not know are left out, not answered with a null."""
    table = sql_info(VALUES, [504, 0, 10_000, 2**32 - 1, 0, 6, 8])
    assert table.to_pydict() == {"info_name": [504, 0, 8], "value": ['"', "flightmesh", 1]}
    assert table.schema == SQL_INFO_SCHEMA


def test_unknown_ids_alone_give_no_rows() -> None:
    """An empty answer keeps its schema."""
    table = sql_info(VALUES, [9999])
    assert table.num_rows == 0
    assert table.schema == SQL_INFO_SCHEMA
    table.validate(full=True)


def test_values_survive_ipc() -> None:
    """The union arrives as it was built, lists and map included."""
    table = sql_info(VALUES)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    again = pa.ipc.open_stream(sink.getvalue()).read_all()
    rows = dict(zip(again["info_name"].to_pylist(), again["value"].to_pylist(), strict=True))
    assert rows[508] == list(KEYWORDS)
    assert rows[3] is False
    assert rows[557] == 200_000
    assert dict(rows[517])[4] == [3, 4, 16, 19]


@pytest.mark.parametrize(("duckdb_version", "ours"), [("v2.0.0", "0.1.0"), ("2.0.0", "v0.1.0")])
def test_version_begins_with_duckdb(duckdb_version: str, ours: str) -> None:
    """Tools that know DuckDB pick its dialect by this text."""
    values = default_sql_info(server_version=ours, duckdb_version=duckdb_version, arrow_version="26.0.1")
    assert values[SqlInfo.FLIGHT_SQL_SERVER_VERSION] == "duckdb v2.0.0 flightmesh v0.1.0"


def test_what_is_claimed_of_writing() -> None:
    """Drivers choose by these what they send at all: whether ADBC begins transactions, whether JDBC writes."""
    claimed = {int(id_): VALUES[id_] for id_ in VALUES if id_ in (3, 5, *range(8, 12), 500, 501, 502, *range(562, 567))}
    assert claimed == {
        **{3: False, 5: False, 8: 1, 9: True, 10: True, 11: True},
        **{500: False, 501: False, 502: True},
        # Read committed, by default and alone; statements that define tables are part of the transaction.
        **{562: 2, 563: True, 564: 0b100, 565: False, 566: False},
    }
    assert [VALUES[SqlInfo(id_)] for id_ in (536, 537, 572, 573, 574, 576)] == [False, False, True, False, False, False]


@pytest.mark.parametrize(
    ("prepared_ttl_s", "transaction_ttl_s", "expected"),
    [(86_400, 3_600, [86_400_000, 3_600_000]), (0.0001, 1e9, [1, 2**31 - 1])],
)
def test_how_long_handles_last(prepared_ttl_s: float, transaction_ttl_s: float, expected: list[int]) -> None:
    """In milliseconds and within int32; 0 would say for ever."""
    values = default_sql_info(
        server_version="1",
        duckdb_version="2",
        arrow_version="26",
        prepared_ttl_s=prepared_ttl_s,
        transaction_ttl_s=transaction_ttl_s,
    )
    assert sql_info(values, [100, 101]).to_pydict() == {"info_name": [100, 101], "value": expected}


def test_keywords_are_those_of_duckdb() -> None:
    """A tool quotes exactly the names that the parser would not take bare."""
    rows = duckdb.execute("select keyword_name from duckdb_keywords() where keyword_category = 'reserved'").fetchall()
    assert set(KEYWORDS) == {name for (name,) in rows}


def test_functions_exist_in_duckdb() -> None:
    """A tool that offers a function from these lists offers one that runs."""
    rows = duckdb.execute("select distinct function_name from duckdb_functions()").fetchall()
    known = {name for (name,) in rows}
    for listed in (NUMERIC_FUNCTIONS, STRING_FUNCTIONS, SYSTEM_FUNCTIONS, DATETIME_FUNCTIONS):
        assert set(listed) <= known
        assert len(set(listed)) == len(listed)


SAMPLES = {
    0: ("1::BIGINT", "BIGINT"),
    2: ("true", "BOOLEAN"),
    3: ("'1'::CHAR", "CHAR"),
    4: ("DATE '2020-01-01'", "DATE"),
    5: ("1::DECIMAL(9,2)", "DECIMAL(9,2)"),
    6: ("1::DOUBLE", "DOUBLE"),
    7: ("1::INTEGER", "INTEGER"),
    12: ("1::NUMERIC(9,2)", "NUMERIC(9,2)"),
    13: ("1::REAL", "REAL"),
    14: ("1::SMALLINT", "SMALLINT"),
    15: ("TIME '10:00:00'", "TIME"),
    16: ("TIMESTAMP '2020-01-01'", "TIMESTAMP"),
    17: ("1::TINYINT", "TINYINT"),
    18: ("'1'::BLOB", "BLOB"),
    19: ("'1'", "VARCHAR"),
}


def test_conversions_are_those_of_duckdb() -> None:
    """What the server says it converts, it converts; what it does not name, DuckDB refuses."""
    conversions = VALUES[SqlInfo.SQL_SUPPORTS_CONVERT]
    assert isinstance(conversions, dict)
    assert set(conversions) == set(SAMPLES)
    for source, (value, _) in SAMPLES.items():
        for target, (_, type_name) in SAMPLES.items():
            assert (target in conversions[source]) is _casts(f"select ({value})::{type_name}"), (source, target)


def _casts(query: str) -> bool:
    try:
        duckdb.execute(query).fetchall()
    except duckdb.ConversionException as error:
        return "Unimplemented type for cast" not in str(error)
    except duckdb.Error:
        return False
    return True


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("select x from (values (1), (null)) t(x) order by x", [(1,), (None,)]),
        ("select x from (values (1), (null)) t(x) order by x desc", [(1,), (None,)]),
        ("select 'a' || null", [(None,)]),
        ("select a$b from (select 1 as a$b)", [(1,)]),
        ("select A from (select 1 as a)", [(1,)]),
        ("select a from (values (1, 2)) t(a, b) order by b + 1", [(1,)]),
        ("select 1 = any (select 1), exists (select 1), 1 in (select 1)", [(True, True, True)]),
        ("select count(*) from (values (1)) t(a) full outer join (values (2)) u(b) on a = b", [(2,)]),
        ("select 'a%' like 'a!%' escape '!'", [(True,)]),
    ],
)
def test_dialect_is_as_claimed(query: str, rows: list[tuple[object, ...]]) -> None:
    """Null ordering, case, extra characters, subqueries and joins are claims about the engine: ask it."""
    assert duckdb.execute(query).fetchall() == rows

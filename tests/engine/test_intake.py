"""Each Arrow type in, and out again through DuckDB: the same values, or a refusal that says why."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import Any
from uuid import UUID

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from flightmesh.engine.intake import PIECE_ROWS_MAX, Intake
from flightmesh.errors import ErrorCode, FlightmeshError

_END = 2**63 - 1
_A_UUID = UUID("12345678-1234-5678-1234-567812345678")


def taken_in(array: pa.Array) -> tuple[Intake, pa.Table]:
    """The array as a column x of a table that was taken in."""
    batch = pa.record_batch([array], names=["x"])
    batch.validate(full=True)
    intake = Intake(batch.schema, columns_max=100)
    table = pa.Table.from_batches(list(intake.batches(batch)), intake.schema)
    table.validate(full=True)
    return intake, table


def read_back(table: pa.Table) -> list[Any]:
    """The column x as DuckDB reads it, streamed."""
    connection = duckdb.connect(":memory:")
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("t", table)
    try:
        rows: list[Any] = connection.sql("SELECT * FROM t").to_arrow_reader(1_000).read_all()["x"].to_pylist()
        return rows
    finally:
        connection.close()


def refused(array: pa.Array) -> tuple[ErrorCode, str]:
    with pytest.raises(FlightmeshError) as failure:
        taken_in(array)
    return failure.value.code, str(failure.value)


_TEXTS = ["", "a\0b", "\U0001f600", None, "x" * 100]
_BLOBS = [b"", b"\xff\0", None, b"y" * 100]
_LISTS = [[1, None], None, [], [2]]
_STRUCT = pa.struct([("a b", pa.int32()), ("c", pa.list_(pa.struct([("d", pa.string_view())])))])
_STRUCTS = [{"a b": 1, "c": [{"d": "x"}, None]}, None, {"a b": None, "c": None}]

# Values that come back as they went in, Arrow's type, DuckDB's.
PLAIN: list[tuple[list[Any], pa.DataType, str]] = [
    ([True, False, None], pa.bool_(), "BOOLEAN"),
    ([-128, 127, None], pa.int8(), "TINYINT"),
    ([-(2**15), 2**15 - 1], pa.int16(), "SMALLINT"),
    ([-(2**31), 2**31 - 1], pa.int32(), "INTEGER"),
    ([-(2**63), _END, None], pa.int64(), "BIGINT"),
    ([0, 255], pa.uint8(), "UTINYINT"),
    ([0, 2**16 - 1], pa.uint16(), "USMALLINT"),
    ([0, 2**32 - 1], pa.uint32(), "UINTEGER"),
    ([0, 2**64 - 1, None], pa.uint64(), "UBIGINT"),
    ([1.5, -65504.0, math.inf, None], pa.float16(), "FLOAT"),
    ([1.5, math.inf, -math.inf, None], pa.float32(), "FLOAT"),
    ([1e308, 5e-324, -math.inf, None], pa.float64(), "DOUBLE"),
    ([Decimal("12345.67"), None], pa.decimal32(7, 2), "DECIMAL(7,2)"),
    ([Decimal("-1.25"), None], pa.decimal64(18, 2), "DECIMAL(18,2)"),
    ([Decimal(10**38 - 1), Decimal(1 - 10**38)], pa.decimal128(38, 0), "DECIMAL(38,0)"),
    ([Decimal("0." + "9" * 38), None], pa.decimal128(38, 38), "DECIMAL(38,38)"),
    ([Decimal("1.25"), None], pa.decimal256(38, 2), "DECIMAL(38,2)"),
    ([Decimal(12300), None], pa.decimal128(5, -2), "DECIMAL(7,0)"),
    (_TEXTS, pa.string(), "VARCHAR"),
    (_TEXTS, pa.large_string(), "VARCHAR"),
    (_TEXTS, pa.string_view(), "VARCHAR"),
    (_BLOBS, pa.binary(), "BLOB"),
    (_BLOBS, pa.large_binary(), "BLOB"),
    (_BLOBS, pa.binary_view(), "BLOB"),
    ([b"abc", None], pa.binary(3), "BLOB"),
    ([b"", None], pa.binary(0), "BLOB"),
    ([dt.date(1, 1, 1), dt.date(9999, 12, 31), None], pa.date32(), "DATE"),
    ([dt.date(1969, 12, 31), None], pa.date64(), "DATE"),
    ([dt.time(23, 59, 59), None], pa.time32("s"), "TIME"),
    ([dt.time(23, 59, 59, 999_000), None], pa.time32("ms"), "TIME"),
    ([dt.time(23, 59, 59, 999_999), None], pa.time64("us"), "TIME"),
    ([dt.time(0, 0, 0, 1), None], pa.time64("ns"), "TIME_NS"),
    ([pa.MonthDayNano([-1, 2, 3_000]), None], pa.month_day_nano_interval(), "INTERVAL"),
    (_LISTS, pa.list_(pa.int32()), "INTEGER[]"),
    (_LISTS, pa.large_list(pa.int32()), "INTEGER[]"),
    (_LISTS, pa.list_view(pa.int32()), "INTEGER[]"),
    (_LISTS, pa.large_list_view(pa.int32()), "INTEGER[]"),
    ([[1, 2], None, [None, 3]], pa.list_(pa.int32(), 2), "INTEGER[2]"),
    ([[], None], pa.list_(pa.int32(), 0), "INTEGER[]"),
    ([["a", None], None, []], pa.list_(pa.large_string()), "VARCHAR[]"),
    ([[None], [], None], pa.list_(pa.null()), "INTEGER[]"),
    ([["a", "a"], None], pa.list_(pa.dictionary(pa.int8(), pa.string())), "VARCHAR[]"),
    (_STRUCTS, _STRUCT, 'STRUCT("a b" INTEGER, c STRUCT(d VARCHAR)[])'),
    ([[("a", 1), ("b", None)], None, []], pa.map_(pa.string_view(), pa.int32()), "MAP(VARCHAR, INTEGER)"),
    ([None, None], pa.null(), "INTEGER"),
]


@pytest.mark.parametrize(("values", "arrow", "sql"), PLAIN, ids=lambda value: str(value)[:40])
def test_what_goes_in_comes_out(values: list[Any], arrow: pa.DataType, sql: str) -> None:
    """A client's value that became another one would be a wrong answer without a sign."""
    array = pa.array(values, arrow)
    for sent, expected in ((array, values), (array.slice(1), values[1:]), (array.slice(0, 0), [])):
        intake, table = taken_in(sent)
        assert intake.columns == (("x", sql),)
        assert read_back(table) == expected
        assert read_back(table.slice(1)) == expected[1:]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_moments(unit: str) -> None:
    """All units, with and without a zone, before 1970, and DuckDB's infinities."""
    values = [1, -1, None, _END, -_END]
    _, table = taken_in(pa.array(values, pa.timestamp(unit)))
    assert table["x"].type == pa.timestamp(unit)
    assert table["x"].cast(pa.int64()).to_pylist() == values
    assert read_back(table.slice(0, 2)) == pa.array([1, -1], pa.timestamp(unit)).to_pylist()
    zoned = pa.array([1, -1, None], pa.timestamp(unit, "Europe/Rome"))
    intake, table = taken_in(zoned)
    assert intake.columns[0][1] == ("TIMESTAMPTZ_NS" if unit == "ns" else "TIMESTAMP WITH TIME ZONE")
    assert read_back(table) == zoned.to_pylist()


@pytest.mark.parametrize(
    "array",
    [
        pa.array([-(2**63)], pa.timestamp("us")),
        pa.array([-9_223_372_022_401], pa.timestamp("s")),
        pa.array([9_223_372_036_855], pa.timestamp("s")),
        pa.array([-(2**63)], pa.timestamp("us", "UTC")),
        pa.array([-(2**31)], pa.int32()).view(pa.date32()),
    ],
    ids=str,
)
def test_moments_that_would_spoil_the_engine_are_refused(array: pa.Array) -> None:
    """``CAST(x AS VARCHAR)`` of such a timestamp ends the whole DuckDB instance, for everybody on it."""
    code, text = refused(array)
    assert code is ErrorCode.INVALID
    assert "'x' lies before or after all times" in text


@pytest.mark.parametrize(("unit", "per_second"), [("s", 1), ("ms", 1_000), ("us", 1_000_000), ("ns", 1_000_000_000)])
def test_durations_become_intervals(unit: str, per_second: int) -> None:
    """DuckDB would cut nanoseconds off and turn long ones round without a word: those are refused."""
    _, table = taken_in(pa.array([per_second, None, -2 * per_second], pa.duration(unit)))
    day = 1_000_000_000
    assert read_back(table) == [pa.MonthDayNano([0, 0, day]), None, pa.MonthDayNano([0, 0, -2 * day])]
    if unit != "ns":
        assert refused(pa.array([_END // 2], pa.duration(unit)))[0] is ErrorCode.INVALID
    else:
        assert "finer than microseconds" in refused(pa.array([1], pa.duration("ns")))[1]
        interval = pa.array([pa.MonthDayNano([0, 0, 1])], pa.month_day_nano_interval())
        assert "finer than microseconds" in refused(interval)[1]


def test_not_a_number() -> None:
    """NaN is a value, not NULL."""
    for kind in (pa.float16(), pa.float32(), pa.float64()):
        _, table = taken_in(pa.array([math.nan, None], kind))
        first, second = read_back(table)
        assert math.isnan(first)
        assert second is None


def test_unions_become_structs() -> None:
    """A value stands in the member of its type; the others are NULL."""
    codes = pa.array([0, 1, 0], pa.int8())
    dense = pa.UnionArray.from_dense(
        codes, pa.array([0, 0, 1], pa.int32()), [pa.array([1, None]), pa.array(["x"])], ["i", "s"]
    )
    sparse = pa.UnionArray.from_sparse(codes, [pa.array([1, 7, None]), pa.array(["w", "x", "y"])], ["i", "s"])
    expected = [{"i": 1, "s": None}, {"i": None, "s": "x"}, {"i": None, "s": None}]
    for union in (dense, sparse):
        intake, table = taken_in(union)
        assert intake.columns[0][1] == "STRUCT(i BIGINT, s VARCHAR)"
        assert read_back(table) == expected
        assert read_back(taken_in(union.slice(1))[1]) == expected[1:]


def test_dictionaries_and_runs_become_their_values() -> None:
    """Of any value type, inside of others, with NULL as index and as value, sliced."""
    structs = pa.array([{"a": 1}, None], pa.struct([("a", pa.int32())]))
    indices = pa.array([0, None, 1, 0], pa.uint8())
    nested = pa.DictionaryArray.from_arrays(indices, pa.array(["u", "v"]).dictionary_encode())
    runs = pc.run_end_encode(pa.array(["a", "a", None, "b"]))
    for array, values in (
        (pa.DictionaryArray.from_arrays(indices, structs), [{"a": 1}, None, None, {"a": 1}]),
        (nested, ["u", None, "v", "u"]),
        (runs, ["a", "a", None, "b"]),
        (pa.RunEndEncodedArray.from_arrays(pa.array([2, 4], pa.int16()), structs), [{"a": 1}, {"a": 1}, None, None]),
        (pa.StructArray.from_arrays([runs], ["r"]), [{"r": "a"}, {"r": "a"}, {"r": None}, {"r": "b"}]),
    ):
        assert read_back(taken_in(array)[1]) == values
        assert read_back(taken_in(array.slice(1, 2))[1]) == values[1:3]


def test_extension_types() -> None:
    """UUID and JSON are DuckDB's too; inside of others they are text; of unknown ones the values are kept."""
    uuids = pa.array([_A_UUID.bytes, None], pa.uuid())
    intake, table = taken_in(uuids)
    assert intake.columns == (("x", "UUID"),)
    assert read_back(table) == [str(_A_UUID), None]
    inside = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), uuids)
    assert read_back(taken_in(inside)[1]) == [[str(_A_UUID)], [None]]
    intake, table = taken_in(pa.array(['{"a":1}', None], pa.json_()))
    assert intake.columns == (("x", "JSON"),)
    assert read_back(table) == ['{"a":1}', None]
    assert read_back(taken_in(pa.ExtensionArray.from_storage(pa.bool8(), pa.array([0, -3, None], pa.int8())))[1]) == [
        False,
        True,
        None,
    ]
    opaque = pa.ExtensionArray.from_storage(pa.opaque(pa.binary(), "bignum", "DuckDB"), pa.array([b"\x01"]))
    intake, table = taken_in(opaque)
    assert intake.columns == (("x", "BLOB"),)
    assert read_back(table) == [b"\x01"]


def test_a_field_that_calls_itself_an_extension_is_plain() -> None:
    """DuckDB would take the bytes for its own format, and nobody has validated them as that."""
    marked = pa.field("x", pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"}, nullable=False)
    intake = Intake(pa.schema([marked], metadata={"k": "v"}), columns_max=10)
    assert intake.columns == (("x", "BLOB"),)
    assert intake.schema.equals(pa.schema([("x", pa.binary())]), check_metadata=True)


@pytest.mark.parametrize(
    ("arrow", "code"),
    [
        (pa.decimal256(39, 2), ErrorCode.UNSUPPORTED),
        (pa.struct([]), ErrorCode.UNSUPPORTED),
        (pa.struct([("a", pa.int32()), ("A", pa.int32())]), ErrorCode.INVALID),
        (pa.struct([("", pa.int32())]), ErrorCode.INVALID),
    ],
    ids=str,
)
def test_types_without_room_are_refused(arrow: pa.DataType, code: ErrorCode) -> None:
    """At the schema, before a byte of data is sent."""
    with pytest.raises(FlightmeshError) as failure:
        Intake(pa.schema([("x", arrow)]), columns_max=10)
    assert failure.value.code is code
    assert "x" in failure.value.message


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([], "at least one column"),
        (["a", "a"], "'a' and 'a'"),
        (["b", "ä", "B"], "1 and 3 of the columns have the same name: 'b' and 'B'"),
        (["a", ""], "Number 2 of the columns has no name"),
        (["a\0"], "NUL"),
        (["a" * 256], "255 bytes"),
        ([f"c{n}" for n in range(11)], "more than 10 columns"),
    ],
    ids=str,
)
def test_names_that_duckdb_would_change_are_refused(names: list[str], told: str) -> None:
    """It renames them by itself; then the client's own names are unknown."""
    with pytest.raises(FlightmeshError) as failure:
        Intake(pa.schema([(name, pa.int32()) for name in names]), columns_max=10)
    assert failure.value.code is ErrorCode.INVALID
    assert told in str(failure.value)


def test_names_are_kept() -> None:
    """Quotes, dots, spaces, other alphabets, words of SQL."""
    names = ['a"b', "x.y", " ", "\U0001f600", "Ä", "ä", "select"]
    intake = Intake(pa.schema([(name, pa.int32()) for name in names]), columns_max=10)
    assert [name for name, _ in intake.columns] == names == intake.schema.names


def test_deep_and_wide_schemas_are_refused() -> None:
    """Recursion over them would end the process."""
    deep = pa.int32()
    for _ in range(100):
        deep = pa.list_(deep)
    wide = pa.struct([(f"c{n}", pa.int32()) for n in range(2_000)])
    for kind in (deep, wide):
        with pytest.raises(FlightmeshError) as failure:
            Intake(pa.schema([("x", kind)]), columns_max=1_000)
        assert failure.value.code is ErrorCode.INVALID


def test_every_type_is_sql() -> None:
    """The planner writes them into casts and views."""
    for _, arrow, sql in PLAIN:
        assert str(duckdb.connect().from_query(f"SELECT CAST(NULL AS {sql}) AS x").types[0]) == sql, arrow


def test_a_map_with_a_key_twice_is_refused() -> None:
    """DuckDB could never read the table again."""
    code, text = refused(pa.array([[("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int32())))
    assert (code, "key twice" in text) == (ErrorCode.INVALID, True)
    assert read_back(taken_in(pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int32())))[1]) == [[("a", 1)]]


def test_other_columns_than_announced_are_refused() -> None:
    """A stream's schema stands before its batches."""
    intake = Intake(pa.schema([("x", pa.int32())]), columns_max=10)
    with pytest.raises(FlightmeshError, match="other columns"):
        list(intake.batches(pa.record_batch({"y": [1]})))


def test_large_batches_are_cut() -> None:
    """DuckDB's scan would cut them itself, and then fails on structs."""
    _, table = taken_in(pa.array([{"a": n} for n in range(PIECE_ROWS_MAX + 1)]))
    assert [len(chunk) for chunk in table["x"].chunks] == [PIECE_ROWS_MAX, 1]
    assert read_back(table)[-1] == {"a": PIECE_ROWS_MAX}

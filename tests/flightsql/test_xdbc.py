"""XDBC types: what drivers allot for a column, and the rows that ODBC tools list."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest

from flightmesh.flightsql.xdbc import XDBC_TYPE_INFO_SCHEMA, XdbcDataType, column_type, xdbc_type_info

X = XdbcDataType


@pytest.mark.parametrize(
    ("arrow_type", "data_type", "name", "size", "digits", "radix"),
    [
        (pa.bool_(), X.XDBC_BIT, "BOOLEAN", 1, None, None),
        (pa.int8(), X.XDBC_TINYINT, "TINYINT", 3, 0, 10),
        (pa.int64(), X.XDBC_BIGINT, "BIGINT", 19, 0, 10),
        (pa.uint8(), X.XDBC_SMALLINT, "UTINYINT", 3, 0, 10),
        (pa.uint64(), X.XDBC_NUMERIC, "UBIGINT", 20, 0, 10),
        (pa.float32(), X.XDBC_REAL, "FLOAT", 24, None, 2),
        (pa.float64(), X.XDBC_DOUBLE, "DOUBLE", 53, None, 2),
        (pa.decimal128(18, 3), X.XDBC_DECIMAL, "DECIMAL(18,3)", 18, 3, 10),
        (pa.string(), X.XDBC_VARCHAR, "VARCHAR", None, None, None),
        (pa.string_view(), X.XDBC_VARCHAR, "VARCHAR", None, None, None),
        (pa.dictionary(pa.int8(), pa.string()), X.XDBC_VARCHAR, "VARCHAR", None, None, None),
        (pa.binary(), X.XDBC_VARBINARY, "BLOB", None, None, None),
        (pa.binary(16), X.XDBC_VARBINARY, "BLOB", 16, None, None),
        (pa.date32(), X.XDBC_DATE, "DATE", 10, None, None),
        (pa.time64("us"), X.XDBC_TIME, "TIME", 15, 6, None),
        (pa.timestamp("us"), X.XDBC_TIMESTAMP, "TIMESTAMP", 26, 6, None),
        (pa.timestamp("s"), X.XDBC_TIMESTAMP, "TIMESTAMP_S", 19, 0, None),
        (pa.timestamp("us", "UTC"), X.XDBC_TIMESTAMP, "TIMESTAMP WITH TIME ZONE", 32, 6, None),
        (pa.month_day_nano_interval(), X.XDBC_INTERVAL, "INTERVAL", None, None, None),
        (pa.list_(pa.int32()), X.XDBC_UNKNOWN_TYPE, "list<item: int32>", None, None, None),
        (pa.null(), X.XDBC_UNKNOWN_TYPE, "NULL", None, None, None),
    ],
)
def test_arrow_type_in_xdbc_words(
    arrow_type: pa.DataType, data_type: XdbcDataType, name: str, size: int | None, digits: int | None, radix: int | None
) -> None:
    """A driver allots its buffers by these numbers; too small a size cuts values off."""
    found = column_type(arrow_type)
    assert (found.data_type, found.type_name) == (data_type, name)
    assert (found.column_size, found.decimal_digits, found.radix) == (size, digits, radix)


def test_dates_and_times_are_datetime_to_odbc() -> None:
    """ODBC tells dates from timestamps by the subcode below one general type."""
    assert column_type(pa.date32()).sql_data_type is X.XDBC_DATETIME
    assert column_type(pa.date32()).datetime_subcode == 1
    assert column_type(pa.timestamp("us", "UTC")).datetime_subcode == 5
    assert column_type(pa.int32()).sql_data_type is X.XDBC_INTEGER


def test_type_names_are_duckdbs() -> None:
    """The name that a tool shows, or writes into a cast, is one that the server's SQL knows."""
    for name in xdbc_type_info()["type_name"].to_pylist():
        assert duckdb.execute(f"select null::{name}").fetchall() == [(None,)]


def test_literals_are_written_as_said() -> None:
    """A tool that builds a literal from prefix and suffix builds one that parses."""
    texts = {"DATE": "2020-01-31", "UUID": "00000000-0000-0000-0000-000000000000", "INTERVAL": "1 day"}
    for row in xdbc_type_info().to_pylist():
        if row["literal_prefix"] is not None:
            name = row["type_name"]
            clock = "2020-01-31 10:00:00" if name.startswith("TIMESTAMP") else "10:00:00"
            text = f"{row['literal_prefix']}{texts.get(name, clock)}{row['literal_suffix']}"
            assert duckdb.execute(f"select {text} is not null").fetchall() == [(True,)], text


def test_type_info_is_ordered_and_well_formed() -> None:
    """ODBC promises its applications this order."""
    table = xdbc_type_info()
    table.validate(full=True)
    assert table.schema == XDBC_TYPE_INFO_SCHEMA
    keys = list(zip(table["data_type"].to_pylist(), table["type_name"].to_pylist(), strict=True))
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys) == 26
    for field in table.schema:
        assert field.nullable or table[field.name].null_count == 0


def test_type_info_is_narrowed_by_type() -> None:
    """SQLGetTypeInfo(SQL_BIGINT) lists the types that a BIGINT buffer can hold, an unknown number none."""
    assert xdbc_type_info(X.XDBC_BIGINT)["type_name"].to_pylist() == ["BIGINT", "UINTEGER"]
    empty = xdbc_type_info(12345)
    assert empty.num_rows == 0
    assert empty.schema == XDBC_TYPE_INFO_SCHEMA


def test_nullability_bits_are_the_reference_servers() -> None:
    """Clients that compare schemas see the reference servers' bits."""
    required = [field.name for field in XDBC_TYPE_INFO_SCHEMA if not field.nullable]
    expected = "type_name data_type nullable case_sensitive searchable fixed_prec_scale sql_data_type"
    assert " ".join(required) == expected
    assert not XDBC_TYPE_INFO_SCHEMA.field("create_params").type.value_field.nullable

"""The metadata tables: their schemas to the last bit, their order, and what filters let through."""

from __future__ import annotations

import time
from functools import cache

import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from flightmesh.flightsql import messages as m, metadata as md
from flightmesh.names import TableName

ID = pa.field("id", pa.int64(), nullable=False)


def _entry(name: str, table_type: str = "TABLE", key: tuple[str, ...] = ()) -> md.TableEntry:
    return md.TableEntry(TableName(*name.split(".")), table_type, pa.schema([ID]), key, f"about {name}")


ENTRIES = [
    _entry("clinical.trials.patients", key=("arm", "pidnum")),
    _entry("aviation.flights.route_performance", "VIEW"),
    _entry("aviation.flights.flights", key=("id",)),
    _entry("aviation.Airports.routes"),
    _entry("aviation.flights.routeXperformance"),
]


def _names(table: pa.Table) -> list[str]:
    rows = table.select(["catalog_name", "db_schema_name", "table_name"]).to_pylist()
    return [".".join(row.values()) for row in rows]


TABLES = [
    "catalog_name: string",
    "db_schema_name: string",
    "table_name: string not null",
    "table_type: string not null",
]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (m.CommandGetCatalogs(), ["catalog_name: string not null"]),
        (m.CommandGetDbSchemas(), ["catalog_name: string", "db_schema_name: string not null"]),
        (m.CommandGetTables(), TABLES),
        (m.CommandGetTables(include_schema=True), [*TABLES, "table_schema: binary not null"]),
        (m.CommandGetTableTypes(), ["table_type: string not null"]),
        (
            m.CommandGetPrimaryKeys(),
            [
                "catalog_name: string",
                "db_schema_name: string",
                "table_name: string not null",
                "column_name: string not null",
                "key_sequence: int32 not null",
                "key_name: string",
            ],
        ),
        *[
            (
                command,
                [
                    "pk_catalog_name: string",
                    "pk_db_schema_name: string",
                    "pk_table_name: string not null",
                    "pk_column_name: string not null",
                    "fk_catalog_name: string",
                    "fk_db_schema_name: string",
                    "fk_table_name: string not null",
                    "fk_column_name: string not null",
                    "key_sequence: int32 not null",
                    "fk_key_name: string",
                    "pk_key_name: string",
                    "update_rule: uint8 not null",
                    "delete_rule: uint8 not null",
                ],
            )
            for command in (m.CommandGetExportedKeys(), m.CommandGetImportedKeys(), m.CommandGetCrossReference())
        ],
    ],
)
def test_schemas_are_the_reference_servers(command: md.MetadataCommand, expected: list[str]) -> None:
    """ADBC compares name, type, nullability and metadata; one bit off and get_objects fails."""
    pa_fields = [str(field).removeprefix("pyarrow.Field<").removesuffix(">") for field in md.schema_of(command)]
    assert pa_fields == expected
    assert all(field.metadata is None for field in md.schema_of(command))


def test_every_table_has_the_schema_announced() -> None:
    """The stream's schema equals the one of GetFlightInfo, also when there are no rows."""
    for entries in (ENTRIES, []):
        for command in (m.CommandGetTables(), m.CommandGetTables(include_schema=True)):
            assert md.tables(entries, command).schema == md.schema_of(command)
        assert md.catalogs(entries).schema == md.CATALOGS_SCHEMA
        assert md.db_schemas(entries, m.CommandGetDbSchemas()).schema == md.DB_SCHEMAS_SCHEMA
        assert md.primary_keys(entries, m.CommandGetPrimaryKeys()).schema == md.PRIMARY_KEYS_SCHEMA
    assert md.foreign_keys().schema == md.FOREIGN_KEYS_SCHEMA
    assert md.foreign_keys().num_rows == 0
    md.tables(ENTRIES, m.CommandGetTables(include_schema=True)).validate(full=True)


def test_catalogs_and_schemas_are_ordered_and_unique() -> None:
    """Tools that walk the tree see each domain and product once, in the standard's order."""
    assert md.catalogs(ENTRIES).to_pydict() == {"catalog_name": ["aviation", "clinical"]}
    rows = md.db_schemas(ENTRIES, m.CommandGetDbSchemas()).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("aviation", "Airports"),
        ("aviation", "flights"),
        ("clinical", "trials"),
    ]


def test_schemas_are_narrowed_by_catalog_and_pattern() -> None:
    """No filter shows all, the empty catalogue shows what has none, a pattern minds its case."""

    def found(catalog: str | None, pattern: str | None) -> list[str]:
        return list(md.db_schemas(ENTRIES, m.CommandGetDbSchemas(catalog, pattern))["db_schema_name"].to_pylist())

    assert found("clinical", None) == ["trials"]
    assert found("", None) == []
    assert found(None, "%s") == ["Airports", "flights", "trials"]
    assert found(None, "airports") == []
    assert found(None, "") == []


def test_tables_are_ordered_and_narrowed() -> None:
    """A BI tool that asks for one table's columns gets that table, in the standard's order."""

    def found(*args: object) -> list[str]:
        return _names(md.tables(ENTRIES, m.CommandGetTables(*args)))  # type: ignore[arg-type]

    assert found() == [
        "aviation.Airports.routes",
        "aviation.flights.flights",
        "aviation.flights.routeXperformance",
        "aviation.flights.route_performance",
        "clinical.trials.patients",
    ]
    assert found("clinical") == ["clinical.trials.patients"]
    assert found("") == []
    assert found(None, None, "route_performance") == [
        "aviation.flights.routeXperformance",
        "aviation.flights.route_performance",
    ]
    assert found(None, None, "route\\_performance") == ["aviation.flights.route_performance"]
    assert found(None, "fl%", "fl%") == ["aviation.flights.flights"]
    assert found(None, None, None, ("VIEW",)) == ["aviation.flights.route_performance"]
    assert found(None, None, None, ("SYSTEM TABLE",)) == []


def test_table_schema_is_readable_ipc() -> None:
    """ADBC's get_table_schema and JDBC's getColumns read the columns from these bytes."""
    command = m.CommandGetTables(table_name_filter_pattern="flights", include_schema=True)
    row = md.tables(ENTRIES, command).to_pylist()[0]
    schema = pa.ipc.read_schema(pa.py_buffer(row["table_schema"]))
    assert schema == pa.schema([ID])
    assert schema.metadata == {b"ARROW:FLIGHT:SQL:REMARKS": b"about aviation.flights.flights"}


def test_primary_keys_keep_the_order_of_their_columns() -> None:
    """Clients join and update by the key, whose columns have an order of their own."""
    rows = md.primary_keys(ENTRIES, m.CommandGetPrimaryKeys(table="patients")).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("clinical", "trials", "patients", "arm", 1, None),
        ("clinical", "trials", "patients", "pidnum", 2, None),
    ]
    assert md.primary_keys(ENTRIES, m.CommandGetPrimaryKeys("aviation", None, "patients")).num_rows == 0
    assert md.primary_keys(ENTRIES, m.CommandGetPrimaryKeys(None, "trials", "patients")).num_rows == 2
    assert md.primary_keys(ENTRIES, m.CommandGetPrimaryKeys(None, None, "pat%")).num_rows == 0


def test_table_types_are_ordered_and_unique() -> None:
    """A tool's filter shows each type once."""
    assert md.table_types(["VIEW", "TABLE", "VIEW"]).to_pydict() == {"table_type": ["TABLE", "VIEW"]}


@pytest.mark.parametrize(
    ("pattern", "text", "is_match"),
    [
        ("%", "", True),
        ("", "", True),
        ("", "a", False),
        ("a%", "abc", True),
        ("%c", "abc", True),
        ("a%c", "ac", True),
        ("a%a", "a", False),
        ("%b%", "abc", True),
        ("_", "ü", True),
        ("a_c", "a\nc", True),
        ("A%", "abc", False),
        ("a\\%", "a%", True),
        ("a\\%", "ab", False),
        ("\\_", "x", False),
        ("\\\\", "\\", True),
        ("a\\", "a\\", True),
        ("[a]", "a", False),
        (".*", "abc", False),
    ],
)
def test_like(pattern: str, text: str, is_match: bool) -> None:
    """Patterns mean what SQL's LIKE means, and a regular expression is plain text."""
    assert md.like(pattern)(text) is is_match


def _slow_like(pattern: str, text: str) -> bool:
    """The definition of LIKE, by trying everything."""

    @cache
    def match(p: int, t: int) -> bool:
        if p == len(pattern):
            return t == len(text)
        if pattern[p] == "%":
            return match(p + 1, t) or (t < len(text) and match(p, t + 1))
        escaped = pattern[p] == "\\" and p + 1 < len(pattern)
        p += escaped
        is_one = t < len(text) and (text[t] == pattern[p] or (pattern[p] == "_" and not escaped))
        return is_one and match(p + 1, t + 1)

    return match(0, 0)


@given(st.text("ab%_\\", max_size=10), st.text("ab%_\\", max_size=12))
def test_like_equals_its_definition(pattern: str, text: str) -> None:
    """No pattern lets a client see fewer or more tables than it asked for."""
    assert md.like(pattern)(text) is _slow_like(pattern, text)


def test_hostile_pattern_takes_no_time() -> None:
    """A pattern made to blow up a regular expression must not hold the server."""
    start = time.perf_counter()
    assert not md.like("%a" * 500 + "b")("a" * 2000)
    assert time.perf_counter() - start < 2.0


TABLE = TableName("aviation", "flights", "flights")


def test_field_describes_itself() -> None:
    """JDBC's getColumns, ADBC's get_objects and our own pages read the column from its metadata."""
    field = md.describe_field(
        "delay",
        pa.decimal128(12, 3),
        table=TABLE,
        nullable=True,
        ordinal=4,
        remarks="Minutes late",
        unit="min",
        classification="public",
    )
    assert (field.name, field.type, field.nullable) == ("delay", pa.decimal128(12, 3), True)
    assert {key.decode(): value.decode() for key, value in field.metadata.items()} == {
        "ARROW:FLIGHT:SQL:CATALOG_NAME": "aviation",
        "ARROW:FLIGHT:SQL:SCHEMA_NAME": "flights",
        "ARROW:FLIGHT:SQL:DB_SCHEMA_NAME": "flights",
        "ARROW:FLIGHT:SQL:TABLE_NAME": "flights",
        "ARROW:FLIGHT:SQL:TYPE_NAME": "DECIMAL(12,3)",
        "ARROW:FLIGHT:SQL:PRECISION": "12",
        "ARROW:FLIGHT:SQL:SCALE": "3",
        "ARROW:FLIGHT:SQL:IS_AUTO_INCREMENT": "0",
        "ARROW:FLIGHT:SQL:IS_CASE_SENSITIVE": "0",
        "ARROW:FLIGHT:SQL:IS_READ_ONLY": "1",
        "ARROW:FLIGHT:SQL:IS_SEARCHABLE": "1",
        "ARROW:FLIGHT:SQL:REMARKS": "Minutes late",
        "ORDINAL_POSITION": "4",
        "REMARKS": "Minutes late",
        "XDBC_DATA_TYPE": "3",
        "XDBC_TYPE_NAME": "DECIMAL(12,3)",
        "XDBC_COLUMN_SIZE": "12",
        "XDBC_DECIMAL_DIGITS": "3",
        "XDBC_NUM_PREC_RADIX": "10",
        "XDBC_NULLABLE": "1",
        "XDBC_SQL_DATA_TYPE": "3",
        "XDBC_IS_NULLABLE": "YES",
        "XDBC_IS_AUTOINCREMENT": "false",
        "XDBC_IS_AUTOGENERATEDCOLUMN": "false",
        "flightmesh:unit": "min",
        "flightmesh:classification": "public",
    }


def test_field_leaves_out_what_is_not_known() -> None:
    """An absent unit is absent, not the word None; a type name given wins over the Arrow type's."""
    tags = pa.list_(pa.string())
    field = md.describe_field("tags", tags, table=TABLE, nullable=False, ordinal=1, type_name="VARCHAR[]")
    assert b"None" not in field.metadata.values()
    assert field.metadata[b"ARROW:FLIGHT:SQL:TYPE_NAME"] == b"VARCHAR[]"
    assert field.metadata[b"XDBC_IS_NULLABLE"] == b"NO"
    assert not {b"REMARKS", b"flightmesh:unit", b"XDBC_COLUMN_SIZE"} & set(field.metadata)


def test_result_field_has_no_remarks() -> None:
    """The JDBC driver would show a column's description in place of its name."""
    field = md.describe_field("a", pa.string(), table=TABLE, nullable=True, ordinal=1, remarks="long text", unit="m")
    result = md.result_field(field)
    assert not any(b"REMARKS" in key for key in result.metadata)
    assert result.metadata[b"flightmesh:unit"] == b"m"
    assert result.equals(field)
    assert md.result_field(ID).equals(ID, check_metadata=True)

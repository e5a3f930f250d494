"""Metadata commands: every one that the standard knows is answered, in its schema, from the caller's own catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from flightmesh.engine.base import Temporary
from flightmesh.flight.metadata import MetadataAnswers
from flightmesh.flightsql import messages as m
from flightmesh.flightsql.metadata import TableEntry, describe_field, schema_of, tables
from flightmesh.flightsql.sqlinfo import default_sql_info
from flightmesh.names import TableName
from flightmesh.planner.surface import SurfaceColumn, SurfaceTable
from flightmesh.product.contract import ContractColumn
from flightmesh.service.authn import ANONYMOUS_PRINCIPAL
from flightmesh.service.products import TableDescription
from flightmesh.service.sessions import Session
from tests.temporaries import temporary

SESSION = Session("s", ANONYMOUS_PRINCIPAL, 0, 0)
COMMANDS = (
    m.CommandGetCatalogs(),
    m.CommandGetDbSchemas(),
    m.CommandGetTables(),
    m.CommandGetTables(include_schema=True),
    m.CommandGetTableTypes(),
    m.CommandGetPrimaryKeys(table="points"),
    m.CommandGetExportedKeys(table="points"),
    m.CommandGetImportedKeys(table="points"),
    m.CommandGetCrossReference(pk_table="a", fk_table="b"),
    m.CommandGetSqlInfo(),
    m.CommandGetXdbcTypeInfo(),
)


class _Session:
    """What one session holds: a temporary table, or none."""

    def __init__(self, *tables: Temporary) -> None:
        self._tables = tables

    def tables(self, session: Session) -> list[tuple[Temporary, pa.Schema]]:
        assert session is SESSION
        return [(table, table.schema) for table in self._tables]


class _Catalogue:
    """One port, or none."""

    def __init__(self, *tables: SurfaceTable) -> None:
        self._tables = tables

    def described(self, session: Session) -> tuple[TableDescription, ...]:
        assert session is SESSION
        schema = pa.schema([("n", pa.int64()), ("w", pa.float64())])
        return tuple(TableDescription(table, schema) for table in self._tables)


def _table(grain: str | None, description: str | None) -> SurfaceTable:
    promised = ContractColumn(
        name="w",
        logical_type="number",
        physical_type="DOUBLE",
        required=False,
        unique=False,
        primary_key_position=None,
        description="Weight.",
        unit="kg",
        classification="public",
        tags=frozenset(),
    )
    columns = (SurfaceColumn("n", "BIGINT", False, None), SurfaceColumn("w", "DOUBLE", True, promised))
    return SurfaceTable(TableName("lab", "readings", "points"), columns, ("n",), description, grain)


def _answers(*tables: SurfaceTable, own: Sequence[Temporary] = ()) -> MetadataAnswers:
    catalogue: Any = _Catalogue(*tables)
    updates: Any = _Session(*own)
    info = default_sql_info(server_version="1.0", duckdb_version="2.0.0", arrow_version="26.0.1")
    return MetadataAnswers(catalogue, updates, info)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
@pytest.mark.parametrize("tables", [(), (_table(None, None),)], ids=["nothing", "one"])
def test_answers_have_the_schema_that_was_promised(command: Any, tables: tuple[SurfaceTable, ...]) -> None:
    """Also for a caller who may see nothing at all: empty and well-formed."""
    answers = _answers(*tables)
    assert answers.answers(command)
    assert answers.schema(command).equals(schema_of(command), check_metadata=True)
    assert answers.table(SESSION, command, 4_000_000).schema.equals(schema_of(command), check_metadata=True)


@pytest.mark.parametrize("message", [m.CommandStatementQuery("SELECT 1"), m.TicketStatementQuery(b"x"), object()])
def test_statements_are_no_metadata(message: object) -> None:
    """They go to the planner."""
    assert not _answers().answers(message)


@pytest.mark.parametrize(
    ("grain", "description", "remarks"),
    [
        ("a point", "All points.", "All points. Grain: a point."),
        ("A point.", None, "Grain: A point."),
        (None, "All points.", "All points."),
        (None, None, None),
    ],
)
def test_remarks_of_a_table(grain: str | None, description: str | None, remarks: str | None) -> None:
    """Description and grain in one text, with one full stop after each."""
    (entry,) = _answers(_table(grain, description)).entries(SESSION)
    assert entry.remarks == remarks


def test_columns_carry_the_contract() -> None:
    """Type, nullability and words of the contract, in the metadata keys of the standard and in ours."""
    (entry,) = _answers(_table(None, None)).entries(SESSION)
    number, weight = entry.schema
    assert (number.nullable, weight.nullable) == (False, True)
    assert weight.metadata[b"flightmesh:unit"] == b"kg"
    assert weight.metadata[b"flightmesh:classification"] == b"public"
    assert weight.metadata[b"ARROW:FLIGHT:SQL:REMARKS"] == b"Weight."
    assert b"REMARKS" not in number.metadata
    assert [field.metadata[b"ORDINAL_POSITION"] for field in entry.schema] == [b"1", b"2"]
    assert entry.primary_key == ("n",)


def _own() -> Temporary:
    table = temporary("Trips", "n BIGINT, note VARCHAR")
    schema = pa.schema([pa.field("n", pa.int64(), nullable=False), pa.field("note", pa.string())])
    return replace(table, schema=schema)


def test_a_sessions_own_tables_are_listed_as_what_they_are() -> None:
    """Tools show and complete them; they are ``LOCAL TEMPORARY``, of ``temp.main``, and may be written."""
    answers = _answers(_table(None, None), own=[_own()])
    port, own = answers.entries(SESSION)
    assert (own.name, own.table_type) == (TableName("temp", "main", "Trips"), "LOCAL TEMPORARY")
    assert [field.nullable for field in own.schema] == [False, True]
    assert own.schema.field("n").metadata[b"ARROW:FLIGHT:SQL:TYPE_NAME"] == b"BIGINT"
    assert own.schema.field("n").metadata[b"ARROW:FLIGHT:SQL:IS_READ_ONLY"] == b"0"
    assert port.schema.field("n").metadata[b"ARROW:FLIGHT:SQL:IS_READ_ONLY"] == b"1"
    listed = answers.table(SESSION, m.CommandGetTables(), 4_000_000).to_pylist()
    assert [(row["table_name"], row["table_type"]) for row in listed] == [
        ("points", "TABLE"),
        ("Trips", "LOCAL TEMPORARY"),
    ]
    only = m.CommandGetTables(table_types=("LOCAL TEMPORARY",))
    assert answers.table(SESSION, only, 4_000_000)["table_name"].to_pylist() == ["Trips"]
    assert answers.table(SESSION, m.CommandGetTableTypes(), 4_000_000)["table_type"].to_pylist() == [
        "LOCAL TEMPORARY",
        "TABLE",
    ]
    assert answers.table(SESSION, m.CommandGetCatalogs(), 4_000_000)["catalog_name"].to_pylist() == ["lab", "temp"]


def test_a_sessions_own_tables_are_no_ports() -> None:
    """ListFlights is what the node offers to everybody like the caller; catalogues without tables are not listed."""
    answers = _answers(_table(None, None), own=[_own()])
    assert [str(entry.name) for entry in answers.ports(SESSION)] == ["lab.readings.points"]
    assert _answers(_table(None, None)).table(SESSION, m.CommandGetCatalogs(), 4_000_000)[
        "catalog_name"
    ].to_pylist() == ["lab"]


def test_a_schema_larger_than_a_message_goes_without_descriptions() -> None:
    """One table of thousands of columns must not take the listing of all others down."""
    entries = [TableEntry(TableName("lab", "s", "wide"), "TABLE", pa.schema([_field_of("c" * 40)] * 50))]
    command = m.CommandGetTables(include_schema=True)
    for bytes_max, has_words in ((None, True), (100_000, True), (5_000, False)):
        (data,) = tables(entries, command, bytes_max)["table_schema"].to_pylist()
        schema = pa.ipc.read_schema(pa.py_buffer(data))
        assert (schema.field(0).metadata is not None) is has_words
        assert (len(schema), schema.field(0).nullable) == (50, False)


def _field_of(name: str) -> pa.Field:
    return describe_field(
        name, pa.int64(), table=TableName("lab", "s", "wide"), nullable=False, ordinal=1, remarks="words " * 20
    )

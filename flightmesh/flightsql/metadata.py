"""The standard result tables of Flight SQL's metadata commands: their schemas, and builders from rows.

The schemas are the reference servers' to the last nullability bit, since ADBC compares them whole. Builders take the
entries that the caller may see, and narrow them by the command: who may see what is decided above. Follows
``FlightSql.proto`` and, where the implementations agree against its comments (order of GetPrimaryKeys, SCHEMA_NAME),
the implementations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa

from flightmesh.flightsql import messages as m
from flightmesh.flightsql.sqlinfo import SQL_INFO_SCHEMA
from flightmesh.flightsql.xdbc import XDBC_TYPE_INFO_SCHEMA, column_type
from flightmesh.names import TableName


@dataclass(frozen=True, slots=True)
class TableEntry:
    """A table as clients see it; ``schema`` holds fields made by ``describe_field``, an empty primary key means
    none."""

    name: TableName
    table_type: str
    schema: pa.Schema
    primary_key: tuple[str, ...] = ()
    remarks: str | None = None


def _field(name: str, arrow_type: pa.DataType, *, nullable: bool = False) -> pa.Field:
    return pa.field(name, arrow_type, nullable=nullable)


def _optional(name: str) -> pa.Field:
    return pa.field(name, pa.string(), nullable=True)


def _required(name: str) -> pa.Field:
    return pa.field(name, pa.string(), nullable=False)


CATALOGS_SCHEMA: pa.Schema = pa.schema([_required("catalog_name")])

DB_SCHEMAS_SCHEMA: pa.Schema = pa.schema([_optional("catalog_name"), _required("db_schema_name")])

TABLES_SCHEMA: pa.Schema = pa.schema(
    [_optional("catalog_name"), _optional("db_schema_name"), _required("table_name"), _required("table_type")]
)

TABLES_WITH_SCHEMA_SCHEMA: pa.Schema = TABLES_SCHEMA.append(_field("table_schema", pa.binary()))

TABLE_TYPES_SCHEMA: pa.Schema = pa.schema([_required("table_type")])

PRIMARY_KEYS_SCHEMA: pa.Schema = pa.schema(
    [
        _optional("catalog_name"),
        _optional("db_schema_name"),
        _required("table_name"),
        _required("column_name"),
        _field("key_sequence", pa.int32()),
        _optional("key_name"),
    ]
)

FOREIGN_KEYS_SCHEMA: pa.Schema = pa.schema(
    [
        _optional("pk_catalog_name"),
        _optional("pk_db_schema_name"),
        _required("pk_table_name"),
        _required("pk_column_name"),
        _optional("fk_catalog_name"),
        _optional("fk_db_schema_name"),
        _required("fk_table_name"),
        _required("fk_column_name"),
        _field("key_sequence", pa.int32()),
        _optional("fk_key_name"),
        _optional("pk_key_name"),
        _field("update_rule", pa.uint8()),
        _field("delete_rule", pa.uint8()),
    ]
)

MetadataCommand: TypeAlias = (
    m.CommandGetCatalogs
    | m.CommandGetDbSchemas
    | m.CommandGetTables
    | m.CommandGetTableTypes
    | m.CommandGetPrimaryKeys
    | m.CommandGetExportedKeys
    | m.CommandGetImportedKeys
    | m.CommandGetCrossReference
    | m.CommandGetSqlInfo
    | m.CommandGetXdbcTypeInfo
)
"""The commands whose result schema is fixed by the standard."""

_SCHEMAS: dict[type, pa.Schema] = {
    m.CommandGetCatalogs: CATALOGS_SCHEMA,
    m.CommandGetDbSchemas: DB_SCHEMAS_SCHEMA,
    m.CommandGetTables: TABLES_SCHEMA,
    m.CommandGetTableTypes: TABLE_TYPES_SCHEMA,
    m.CommandGetPrimaryKeys: PRIMARY_KEYS_SCHEMA,
    m.CommandGetExportedKeys: FOREIGN_KEYS_SCHEMA,
    m.CommandGetImportedKeys: FOREIGN_KEYS_SCHEMA,
    m.CommandGetCrossReference: FOREIGN_KEYS_SCHEMA,
    m.CommandGetSqlInfo: SQL_INFO_SCHEMA,
    m.CommandGetXdbcTypeInfo: XDBC_TYPE_INFO_SCHEMA,
}


def schema_of(command: MetadataCommand) -> pa.Schema:
    """The schema of the command's result, for GetFlightInfo and GetSchema."""
    if isinstance(command, m.CommandGetTables) and command.include_schema:
        return TABLES_WITH_SCHEMA_SCHEMA
    return _SCHEMAS[type(command)]


# Builders -----------------------------------------------------------------------------------------


def catalogs(entries: Iterable[TableEntry]) -> pa.Table:
    """The catalogues of the entries, ordered."""
    return _table(CATALOGS_SCHEMA, sorted({(entry.name.catalog,) for entry in entries}))


def db_schemas(entries: Iterable[TableEntry], command: m.CommandGetDbSchemas) -> pa.Table:
    """The schemas of the entries that the command asks for, ordered by catalogue and schema."""
    is_schema = _pattern(command.db_schema_filter_pattern)
    names = {(entry.name.catalog, entry.name.schema) for entry in entries if _is_in(entry, command.catalog)}
    return _table(DB_SCHEMAS_SCHEMA, sorted(name for name in names if is_schema(name[1])))


def tables(entries: Iterable[TableEntry], command: m.CommandGetTables, schema_bytes_max: int | None = None) -> pa.Table:
    """The entries that the command asks for, ordered by catalogue, schema, table and type. A schema over the bound
    goes without what describes its columns: names, types and nullability stay.
    """
    is_schema = _pattern(command.db_schema_filter_pattern)
    is_table = _pattern(command.table_name_filter_pattern)
    found = [
        entry
        for entry in entries
        if _is_in(entry, command.catalog)
        and is_schema(entry.name.schema)
        and is_table(entry.name.table)
        and (not command.table_types or entry.table_type in command.table_types)
    ]
    found.sort(key=lambda entry: (entry.name, entry.table_type))
    rows: list[tuple[object, ...]] = [
        (entry.name.catalog, entry.name.schema, entry.name.table, entry.table_type) for entry in found
    ]
    if command.include_schema:
        rows = [(*row, _schema_bytes(entry, schema_bytes_max)) for row, entry in zip(rows, found, strict=True)]
    return _table(schema_of(command), rows)


def table_types(types: Iterable[str]) -> pa.Table:
    """The table types, ordered."""
    return _table(TABLE_TYPES_SCHEMA, sorted({(each,) for each in types}))


def primary_keys(entries: Iterable[TableEntry], command: m.CommandGetPrimaryKeys) -> pa.Table:
    """The columns of the primary keys of the tables that the command names; keys have no names here."""
    found = [
        entry
        for entry in entries
        if _is_in(entry, command.catalog)
        and command.db_schema in (None, entry.name.schema)
        and command.table == entry.name.table
    ]
    rows = [
        (entry.name.catalog, entry.name.schema, entry.name.table, column, sequence, None)
        for entry in sorted(found, key=lambda entry: entry.name)
        for sequence, column in enumerate(entry.primary_key, start=1)
    ]
    return _table(PRIMARY_KEYS_SCHEMA, rows)


def foreign_keys() -> pa.Table:
    """No foreign keys, well-formed: the answer to exported keys, imported keys and cross reference."""
    return _table(FOREIGN_KEYS_SCHEMA, [])


def like(pattern: str) -> Callable[[str], bool]:
    """Whether a text matches the pattern: ``%`` any characters, ``_`` any one, a backslash takes the next as it is.

    Case matters. Takes time in proportion to pattern times text at worst, whatever the pattern.
    """
    first, *rest = _segments(pattern)

    def matches(text: str) -> bool:
        if not _fits(first, text, 0):
            return False
        if not rest:
            return len(text) == len(first)
        at = len(first)
        for segment in rest[:-1]:
            starts = range(at, len(text) - len(segment) + 1)
            start = next((start for start in starts if _fits(segment, text, start)), None)
            if start is None:
                return False
            at = start + len(segment)
        start = len(text) - len(rest[-1])
        return start >= at and _fits(rest[-1], text, start)

    return matches


_Segment: TypeAlias = list[str | None]
"""Characters between two ``%``; None stands for any one character."""


def _segments(pattern: str) -> list[_Segment]:
    segments: list[_Segment] = [[]]
    characters = iter(pattern)
    for character in characters:
        if character == "%":
            segments.append([])
        elif character == "_":
            segments[-1].append(None)
        else:
            # A backslash at the very end stands for itself.
            segments[-1].append(next(characters, character) if character == "\\" else character)
    return segments


def _fits(segment: _Segment, text: str, at: int) -> bool:
    return at + len(segment) <= len(text) and all(
        wanted is None or wanted == text[at + index] for index, wanted in enumerate(segment)
    )


def _pattern(pattern: str | None) -> Callable[[str], bool]:
    return (lambda _: True) if pattern is None else like(pattern)


def _is_in(entry: TableEntry, catalog: str | None) -> bool:
    """The catalogue ``""`` asks for what has none, which equality already says."""
    return catalog is None or entry.name.catalog == catalog


def _schema_bytes(entry: TableEntry, bytes_max: int | None) -> bytes:
    schema = entry.schema
    if entry.remarks is not None:
        schema = schema.with_metadata({**(schema.metadata or {}), _SQL_KEY + "REMARKS": entry.remarks})
    described = bytes(schema.serialize())
    if bytes_max is None or len(described) <= bytes_max:
        return described
    return bytes(pa.schema([field.remove_metadata() for field in schema]).serialize())


def _table(schema: pa.Schema, rows: Sequence[tuple[object, ...]]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else ([] for _ in schema)
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )


# Column metadata ----------------------------------------------------------------------------------

_SQL_KEY = "ARROW:FLIGHT:SQL:"


def describe_field(
    name: str,
    arrow_type: pa.DataType,
    *,
    table: TableName,
    nullable: bool,
    ordinal: int,
    type_name: str | None = None,
    remarks: str | None = None,
    unit: str | None = None,
    classification: str | None = None,
    is_read_only: bool = True,
) -> pa.Field:
    """The column with all that Flight SQL, ADBC and flightmesh say about one, in its metadata.

    For the ``table_schema`` of GetTables; query results take ``result_field`` of it, since the JDBC driver shows
    REMARKS as the column's label. ``ordinal`` counts from 1. Without a type name it is DuckDB's for the Arrow type.
    """
    kind = column_type(arrow_type)
    type_name = type_name or kind.type_name
    pairs = {
        "CATALOG_NAME": table.catalog,
        # The reference servers write SCHEMA_NAME, the standard's text says DB_SCHEMA_NAME: clients read either.
        "SCHEMA_NAME": table.schema,
        "DB_SCHEMA_NAME": table.schema,
        "TABLE_NAME": table.table,
        "TYPE_NAME": type_name,
        "PRECISION": kind.column_size,
        "SCALE": kind.decimal_digits,
        "IS_AUTO_INCREMENT": 0,
        "IS_CASE_SENSITIVE": int(kind.is_text),
        "IS_READ_ONLY": int(is_read_only),
        "IS_SEARCHABLE": 1,
        "REMARKS": remarks,
    }
    plain = {
        "ORDINAL_POSITION": ordinal,
        "REMARKS": remarks,
        "XDBC_DATA_TYPE": int(kind.data_type),
        "XDBC_TYPE_NAME": type_name,
        "XDBC_COLUMN_SIZE": kind.column_size,
        "XDBC_DECIMAL_DIGITS": kind.decimal_digits,
        "XDBC_NUM_PREC_RADIX": kind.radix,
        "XDBC_NULLABLE": int(nullable),
        "XDBC_SQL_DATA_TYPE": int(kind.sql_data_type),
        "XDBC_DATETIME_SUB": kind.datetime_subcode,
        "XDBC_IS_NULLABLE": "YES" if nullable else "NO",
        "XDBC_IS_AUTOINCREMENT": "false",
        "XDBC_IS_AUTOGENERATEDCOLUMN": "false",
        "flightmesh:unit": unit,
        "flightmesh:classification": classification,
    }
    known = {**{_SQL_KEY + key: value for key, value in pairs.items()}, **plain}
    metadata = {key: str(value) for key, value in known.items() if value is not None}
    return pa.field(name, arrow_type, nullable=nullable, metadata=metadata)


def result_field(field: pa.Field) -> pa.Field:
    """The column without REMARKS, for the result of a query."""
    without = {key: value for key, value in (field.metadata or {}).items() if key not in _REMARKS_KEYS}
    return field.with_metadata(without)


_REMARKS_KEYS = {b"REMARKS", _SQL_KEY.encode() + b"REMARKS"}

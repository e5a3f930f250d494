"""Answers to the metadata commands: the catalogue as the caller may see it, in the result schemas of Flight SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import starmap
from typing import Any

import pyarrow as pa

from flightmesh.flightsql import messages as m, metadata, sqlinfo, xdbc
from flightmesh.flightsql.metadata import TableEntry, describe_field
from flightmesh.flightsql.sqlinfo import SqlInfo
from flightmesh.names import TableName
from flightmesh.service.options import options_of
from flightmesh.service.products import Products, TableDescription
from flightmesh.service.sessions import Session
from flightmesh.service.shown import widened
from flightmesh.service.updates import CATALOG, SCHEMA, Temporary, Updates

# What a row of GetTables has beside its schema.
_ROW_BYTES = 16_384
TABLE_TYPE, TEMPORARY_TYPE = "TABLE", "LOCAL TEMPORARY"


class MetadataAnswers:
    """One builder per metadata command."""

    def __init__(self, products: Products, updates: Updates, server_info: Mapping[SqlInfo, sqlinfo.Value]) -> None:
        self._products = products
        self._updates = updates
        self._server_info = server_info

    def answers(self, command: object) -> bool:
        """Whether the message is a metadata command."""
        return type(command) in _BUILDERS

    def schema(self, command: Any) -> pa.Schema:  # Any: one of the classes of _BUILDERS
        """The schema of the command's result."""
        return metadata.schema_of(command)

    def table(self, session: Session, command: Any, bytes_max: int) -> pa.Table:  # Any: as above
        """The command's result for this caller, each row fit for a message of so many bytes if that can be."""
        if isinstance(command, m.CommandGetTables):
            return metadata.tables(self.entries(session), command, schema_bytes_max=bytes_max - _ROW_BYTES)
        return _BUILDERS[type(command)](self, session, command)

    def ports(self, session: Session) -> Sequence[TableEntry]:
        """The visible ports as Flight SQL describes tables."""
        return [_entry(described) for described in self._products.described(session)]

    def entries(self, session: Session) -> Sequence[TableEntry]:
        """The same with the session's temporary tables."""
        found = [*self.ports(session), *starmap(_temporary_entry, self._updates.tables(session))]
        if not options_of(session).java_types:
            return found
        return [replace(entry, schema=widened(entry.schema)) for entry in found]

    def info(self, command: m.CommandGetSqlInfo) -> pa.Table:
        """What the server says of itself."""
        return sqlinfo.sql_info(self._server_info, command.info)


def _entry(described: TableDescription) -> TableEntry:
    table = described.table
    fields = [
        describe_field(
            column.name,
            field.type,
            table=table.name,
            nullable=column.is_nullable,
            ordinal=ordinal,
            type_name=column.sql_type,
            remarks=column.contract.description if column.contract else None,
            unit=column.contract.unit if column.contract else None,
            classification=column.contract.classification if column.contract else None,
        )
        for ordinal, (column, field) in enumerate(zip(table.columns, described.schema, strict=True), start=1)
    ]
    return TableEntry(table.name, TABLE_TYPE, pa.schema(fields), table.primary_key, table.remarks)


def _temporary_entry(table: Temporary, schema: pa.Schema) -> TableEntry:
    name = TableName(CATALOG, SCHEMA, table.name)
    fields = [
        describe_field(
            field.name,
            field.type,
            table=name,
            nullable=kept.nullable,
            ordinal=ordinal,
            type_name=type_name,
            is_read_only=False,
        )
        for ordinal, (field, kept, (_, type_name)) in enumerate(
            zip(schema, table.schema, table.columns, strict=True), start=1
        )
    ]
    return TableEntry(name, TEMPORARY_TYPE, pa.schema(fields), (), None)


_Builder = Callable[[MetadataAnswers, Session, Any], pa.Table]

_BUILDERS: Mapping[type, _Builder] = {
    m.CommandGetCatalogs: lambda self, session, _: metadata.catalogs(self.entries(session)),
    m.CommandGetDbSchemas: lambda self, session, command: metadata.db_schemas(self.entries(session), command),
    m.CommandGetTables: lambda self, session, command: metadata.tables(self.entries(session), command, None),
    m.CommandGetTableTypes: lambda _self, _session, _command: metadata.table_types([TEMPORARY_TYPE, TABLE_TYPE]),
    m.CommandGetPrimaryKeys: lambda self, session, command: metadata.primary_keys(self.entries(session), command),
    # Contracts declare no foreign keys yet: the answers are empty and well-formed.
    m.CommandGetExportedKeys: lambda _self, _session, _command: metadata.foreign_keys(),
    m.CommandGetImportedKeys: lambda _self, _session, _command: metadata.foreign_keys(),
    m.CommandGetCrossReference: lambda _self, _session, _command: metadata.foreign_keys(),
    m.CommandGetSqlInfo: lambda self, _session, command: self.info(command),
    m.CommandGetXdbcTypeInfo: lambda _self, _session, command: xdbc.xdbc_type_info(command.data_type),
}

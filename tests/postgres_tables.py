"""Arrow tables as tables of PostgreSQL, with the type that means what Arrow's means."""

from __future__ import annotations

from collections.abc import Sequence

import adbc_driver_postgresql.dbapi
import pyarrow as pa

from flightmesh.names import quote
from tests.postgres import Postgres

_TYPES = {
    pa.bool_(): "boolean",
    pa.int16(): "smallint",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.float32(): "real",
    pa.float64(): "double precision",
    pa.date32(): "date",
    pa.string(): "text",
    pa.binary(): "bytea",
    pa.timestamp("us"): "timestamp",
    pa.timestamp("us", "UTC"): "timestamp with time zone",
    pa.time64("us"): "time",
}


def create_table(
    server: Postgres,
    database: str,
    name: str,
    rows: pa.Table,
    *,
    schema: str = "public",
    constraints: Sequence[str] = (),
) -> None:
    """A new table with these rows; columns that Arrow calls not nullable are NOT NULL."""
    columns = [
        f"{quote(field.name)} {postgres_type(field.type)}{'' if field.nullable else ' NOT NULL'}"
        for field in rows.schema
    ]
    server.run(
        f"CREATE TABLE {quote(schema)}.{quote(name)} ({', '.join([*columns, *constraints])})",
        database=database,
    )
    with (
        adbc_driver_postgresql.dbapi.connect(server.uri_of(database)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.adbc_ingest(name, rows, mode="append", db_schema_name=schema)
        connection.commit()


def postgres_type(kind: pa.DataType) -> str:
    """PostgreSQL's type for values of the Arrow type."""
    if pa.types.is_decimal(kind):
        return f"numeric({kind.precision},{kind.scale})"
    return _TYPES[kind]

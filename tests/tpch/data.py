"""TPC-H tables for tests: made once a folder, loaded into PostgreSQL with their keys, or into DuckDB."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.tpch import TABLES, make_product
from tests.postgres import Postgres
from tests.postgres_tables import create_table

# Table to its foreign keys, as the TPC-H specification has them (1.4.2): columns, and what they refer to.
FOREIGN_KEYS: Mapping[str, tuple[tuple[tuple[str, ...], str], ...]] = {
    "nation": ((("n_regionkey",), "region"),),
    "supplier": ((("s_nationkey",), "nation"),),
    "customer": ((("c_nationkey",), "nation"),),
    "partsupp": ((("ps_partkey",), "part"), (("ps_suppkey",), "supplier")),
    "orders": ((("o_custkey",), "customer"),),
    "lineitem": ((("l_orderkey",), "orders"), (("l_partkey", "l_suppkey"), "partsupp")),
}


def tpch_tables(scale: float, folder: Path) -> dict[str, pa.Table]:
    """The eight tables at the scale factor, from files in the folder that are made unless they are there."""
    data = make_product(folder, scale) / "data"
    tables = {name: pq.read_table(data / f"{name}.parquet") for name in TABLES}
    return {name: table.cast(pa.schema(map(_plain, table.schema))) for name, table in tables.items()}


def _plain(field: pa.Field) -> pa.Field:
    """Whole columns, of text that every driver reads."""
    kind = pa.string() if pa.types.is_string_view(field.type) else field.type
    return pa.field(field.name, kind, nullable=False)


def load_postgres(server: Postgres, database: str, tables: Mapping[str, pa.Table]) -> None:
    """A new database with these tables in its schema ``public``: typed, NOT NULL, with primary and foreign keys."""
    server.run(f'CREATE DATABASE "{database}"')
    for name in TABLES:
        keys = [f"PRIMARY KEY ({', '.join(TABLES[name])})"]
        keys += [
            f"FOREIGN KEY ({', '.join(columns)}) REFERENCES {parent}" for columns, parent in FOREIGN_KEYS.get(name, ())
        ]
        create_table(server, database, name, tables[name], constraints=keys)
    server.run("ANALYZE", database=database)


def load_duckdb(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> None:
    """The tables as DuckDB's own, in the connection's schema."""
    for name, table in tables.items():
        connection.register("arriving", table)
        connection.execute(f'CREATE TABLE "{name}" AS FROM arriving')
        connection.unregister("arriving")

"""TPC-H as a data product: Parquet files from tpchgen-cli, a manifest and contracts made from their schemas."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML

PRODUCT = "benchmark.tpch"
ROLE = "reader"

# Table to primary key, as the TPC-H specification has them (1.4.2).
TABLES: Mapping[str, tuple[str, ...]] = {
    "region": ("r_regionkey",),
    "nation": ("n_nationkey",),
    "supplier": ("s_suppkey",),
    "customer": ("c_custkey",),
    "part": ("p_partkey",),
    "partsupp": ("ps_partkey", "ps_suppkey"),
    "orders": ("o_orderkey",),
    "lineitem": ("l_orderkey", "l_linenumber"),
}


def make_product(folder: Path, scale: float) -> Path:
    """The product at this scale factor below ``folder``, made unless it is there already; its folder.

    Its ``data`` folder holds one Parquet file for each table, for the other contestants too.
    """
    product = folder / f"tpch-sf{scale:g}"
    if not (product / "product.yaml").is_file():
        _generate(product / "data", scale)
        (product / "contracts").mkdir(exist_ok=True)
        for table in TABLES:
            schema = pq.read_schema(product / "data" / f"{table}.parquet")
            _write_yaml(product / "contracts" / f"{table}.odcs.yaml", _contract(table, schema))
        _write_yaml(product / "product.yaml", _manifest(scale))  # Last: it says that the rest is whole.
    return product


def _generate(folder: Path, scale: float) -> None:
    command = shutil.which("tpchgen-cli", path=sysconfig.get_path("scripts")) or shutil.which("tpchgen-cli")
    if command is None:
        raise SystemExit("tpchgen-cli is not installed: pip install 'flightmesh[test]'")
    folder.mkdir(parents=True, exist_ok=True)
    options = ["--scale-factor", f"{scale:g}", "--output-dir", str(folder), "--overwrite", "--quiet"]
    subprocess.run([command, "parquet", *options], check=True)


def _manifest(scale: float) -> Mapping[str, object]:
    return {
        "flightmesh": "v1",
        "product": PRODUCT,
        "version": "1.0.0",
        "title": f"TPC-H at scale factor {scale:g}",
        "owner": {"team": "benchmarks"},
        "sources": {f"{table}_file": {"type": "parquet", "path": f"data/{table}.parquet"} for table in TABLES},
        "models": {table: {"from": f"{table}_file"} for table in TABLES},
        "ports": {table: {"model": table, "contract": f"contracts/{table}.odcs.yaml"} for table in TABLES},
        "policies": [{"grant": "read", "port": "*", "to": f"role:{ROLE}"}],
    }


def _contract(table: str, schema: pa.Schema) -> Mapping[str, object]:
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": f"benchmark-tpch-{table}",
        "name": table,
        "version": "1.0.0",
        "status": "active",
        "dataProduct": PRODUCT,
        "schema": [
            {
                "name": table,
                "physicalType": "table",
                "description": f"The {table} table of TPC-H.",
                "dataGranularityDescription": f"One row per {', '.join(TABLES[table])}.",
                "properties": [_property(field, TABLES[table]) for field in schema],
            }
        ],
    }


def _property(field: pa.Field, key: tuple[str, ...]) -> Mapping[str, object]:
    logical, physical = _types(field.type)
    column: dict[str, object] = {
        "name": field.name,
        "logicalType": logical,
        "physicalType": physical,
        "required": not field.nullable,
    }
    if field.name in key:
        column |= {"primaryKey": True, "primaryKeyPosition": key.index(field.name) + 1}
    return column


def _types(kind: pa.DataType) -> tuple[str, str]:
    """The logical type of ODCS and DuckDB's name for one of the types that TPC-H uses."""
    if pa.types.is_decimal(kind):
        return "number", f"DECIMAL({kind.precision},{kind.scale})"
    if pa.types.is_date32(kind):
        return "date", "DATE"
    if pa.types.is_integer(kind):
        return "integer", {32: "INTEGER", 64: "BIGINT"}[kind.bit_width]
    assert pa.types.is_string_view(kind) or pa.types.is_string(kind), kind
    return "string", "VARCHAR"


def _write_yaml(path: Path, content: Any) -> None:  # Any: whatever YAML can hold
    with path.open("w", encoding="utf-8") as stream:
        YAML().dump(content, stream)

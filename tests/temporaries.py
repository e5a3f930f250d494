"""A session's temporary table as planner and engine are handed one, for tests that have no session."""

from __future__ import annotations

import pyarrow as pa

from flightmesh.engine.base import Temporary


def temporary(name: str, kinds: str = "n BIGINT", version: str | None = None, **columns: pa.Array) -> Temporary:
    """A table of these SQL types (``"n BIGINT, s VARCHAR"``) and rows; without rows it has none."""
    types = tuple((column, kind) for column, kind in (part.strip().split(" ", 1) for part in kinds.split(",")))
    if not columns:
        arrow = {"BIGINT": pa.int64(), "VARCHAR": pa.string(), "DOUBLE": pa.float64()}
        columns = {column: pa.array([], arrow[kind]) for column, kind in types}
    rows = pa.table(columns)
    return Temporary(name, version or f"{name} 1", types, rows.schema, rows.num_rows, lambda: rows)

"""The caller's own rows on their way to the server: as Arrow, in batches of a good size, and with a count at the end.

The server takes an upload for whole only with that count: rows of a program that fails in between are not kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import pyarrow as pa

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flightsql import messages as m

Mode: TypeAlias = Literal["create", "append", "replace", "create_append"]

_ROWS = 65_536
_COMMIT = {b"flightmesh:commit": b"explicit"}
_CREATE, _FAIL = (
    m.TableNotExistOption.TABLE_NOT_EXIST_OPTION_CREATE,
    m.TableNotExistOption.TABLE_NOT_EXIST_OPTION_FAIL,
)
_MODES = {
    "create": m.TableDefinitionOptions(_CREATE, m.TableExistsOption.TABLE_EXISTS_OPTION_FAIL),
    "append": m.TableDefinitionOptions(_FAIL, m.TableExistsOption.TABLE_EXISTS_OPTION_APPEND),
    "replace": m.TableDefinitionOptions(_CREATE, m.TableExistsOption.TABLE_EXISTS_OPTION_REPLACE),
    "create_append": m.TableDefinitionOptions(_CREATE, m.TableExistsOption.TABLE_EXISTS_OPTION_APPEND),
}


def command(table: str, mode: Mode) -> m.CommandStatementIngest:
    """The message that says where the rows go. Errors: INVALID for another mode."""
    options = _MODES.get(mode)
    if options is None:
        raise FlightmeshError(ErrorCode.INVALID, f"There is no mode {mode!r}.", hint=f"Write one of {list(_MODES)}.")
    return m.CommandStatementIngest(table_definition_options=options, table=table, temporary=True)


def stream_of(data: Any) -> pa.RecordBatchReader:  # Any: whatever holds columns
    """The rows as a stream: of a pyarrow table or reader, a polars or pandas frame, a DuckDB relation, a dict of
    columns; its schema says that a count will follow. Errors: INVALID for anything else.
    """
    if isinstance(data, dict):
        data = pa.table(data)
    elif hasattr(data, "to_arrow_reader"):
        data = data.to_arrow_reader(_ROWS)
    elif not hasattr(data, "__arrow_c_stream__"):
        raise FlightmeshError(
            ErrorCode.INVALID,
            f"A {type(data).__name__} holds no columns.",
            hint="Give a pyarrow table or reader, a polars or pandas frame, a DuckDB relation, or a dict of lists.",
        )
    reader = data if isinstance(data, pa.RecordBatchReader) else pa.RecordBatchReader.from_stream(data)
    schema = reader.schema.with_metadata({**(reader.schema.metadata or {}), **_COMMIT})
    return pa.RecordBatchReader.from_batches(schema, _batches(reader, schema))


def trailer(rows: int) -> bytes:
    """The last message of an upload."""
    return json.dumps({"rows": rows}).encode()


def _batches(reader: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in reader:
        for start in range(0, batch.num_rows, _ROWS):
            yield pa.RecordBatch.from_arrays(batch.slice(start, _ROWS).columns, schema=schema)

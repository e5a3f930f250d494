"""Results as text and files: a table for people, CSV, JSON, Arrow and Parquet for programs.

All but the table stream: rows are written as they come. Types that a format lacks are written as text: binary as
hexadecimal digits, intervals as ISO 8601 durations, nested values in CSV as JSON.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import IO, TYPE_CHECKING, Any

from flightmesh.cli.terminal import printable

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console

TABLE_ROWS_MAX = 1_000
CELL_CHARACTERS_MAX = 60

# Between two columns of a table.
_GAP = 3


class Format(StrEnum):
    """How a result is written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    ARROW = "arrow"
    PARQUET = "parquet"

    @property
    def is_binary(self) -> bool:
        return self in (Format.ARROW, Format.PARQUET)


def write_csv(reader: pa.RecordBatchReader, sink: IO[bytes]) -> None:
    """A header and one line per row; NULL is nothing at all, an empty text is ``""``."""
    import pyarrow as pa
    from pyarrow import csv

    empty = _csv_batch(pa.RecordBatch.from_pylist([], reader.schema))
    with csv.CSVWriter(sink, empty.schema) as writer:
        for batch in reader:
            writer.write_batch(_csv_batch(batch))


def write_json(reader: pa.RecordBatchReader, sink: IO[bytes]) -> None:
    """One array with an object per row and line. Decimals keep all digits; NaN and infinities become null."""
    start = b"[\n"
    for batch in reader:
        if batch.num_rows:
            sink.write(start + ",\n".join(_json_objects(batch)).encode())
            start = b",\n"
    sink.write(b"[]\n" if start == b"[\n" else b"\n]\n")


def write_arrow(reader: pa.RecordBatchReader, sink: IO[bytes]) -> None:
    """An Arrow IPC stream."""
    import pyarrow as pa

    with pa.ipc.new_stream(sink, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)


def write_parquet(reader: pa.RecordBatchReader, sink: IO[bytes]) -> None:
    """A Parquet file. Errors: NotImplementedError for a type that Parquet lacks."""
    from pyarrow import parquet

    with parquet.ParquetWriter(sink, reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)


WRITERS: Mapping[Format, Callable[[pa.RecordBatchReader, IO[bytes]], None]] = {
    Format.CSV: write_csv,
    Format.JSON: write_json,
    Format.ARROW: write_arrow,
    Format.PARQUET: write_parquet,
}


def print_table(reader: pa.RecordBatchReader, console: Console) -> bool:
    """Prints the first TABLE_ROWS_MAX rows; whether these are all. A terminal gets the columns that fit into it."""
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    rows, is_whole = _first_rows(reader, TABLE_ROWS_MAX)
    cells = [[None if value is None else _cell(value) for value in row] for row in rows]
    names = [_shortened(printable(name)) for name in reader.schema.names]
    widths = [max([cell_len(name), *(cell_len(row[i] or "NULL") for row in cells)]) for i, name in enumerate(names)]
    shown = _fitting(widths, console.width) if console.is_terminal else len(names)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name, field in zip(names[:shown], reader.schema, strict=False):
        table.add_column(Text(name), justify="right" if _is_number(field.type) else "left", no_wrap=True)
    for row in cells:
        table.add_row(*(Text("NULL", "dim") if cell is None else Text(cell) for cell in row[:shown]))
    if not console.is_terminal:
        console.width = max(console.width, sum(widths) + _GAP * len(widths))
    console.print(table)
    more = f", {shown} of {len(names)} columns" if shown < len(names) else ""
    console.print(
        f"({len(rows)}{'' if is_whole else ' or more'} row{'' if len(rows) == 1 else 's'}{more})", style="dim"
    )
    return is_whole


def json_text(value: object) -> str:
    """The value as JSON."""
    if isinstance(value, str | bool | int | None):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else "null"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, list) and value and all(isinstance(item, tuple) and len(item) == 2 for item in value):
        # What pyarrow makes of a map.
        return "{" + ",".join(f"{json_text(_plain(key))}:{json_text(item)}" for key, item in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(json_text, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{json_text(name)}:{json_text(item)}" for name, item in value.items()) + "}"
    return json.dumps(_plain(value), ensure_ascii=False)


def _json_objects(batch: pa.RecordBatch) -> list[str]:
    """The rows as JSON objects. Whole columns are turned into text: ten times as fast as value by value."""
    import pyarrow.compute as pc

    parts: list[Any] = []  # Any: text, or an array of text
    for number, (name, column) in enumerate(zip(batch.schema.names, batch.columns, strict=True)):
        parts += [("," if number else "{") + json_text(name) + ":", _json_column(column)]
    joined = pc.binary_join_element_wise(*parts, "}", "", null_handling="replace", null_replacement="null")
    objects: list[str] = joined.to_pylist()
    return objects


def _json_column(column: pa.Array) -> pa.Array:
    """Each value as JSON, NULL as NULL."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_floating(kind):
        return pc.if_else(pc.is_finite(column), column, None).cast(pa.string())
    if _is_number(kind) or pa.types.is_boolean(kind):
        return column.cast(pa.string())
    column = _exact(column)
    if pa.types.is_string(column.type) or pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        # These repeat themselves: each value is turned into text once.
        encoded = column.dictionary_encode()
        return _each(encoded.dictionary, json_text).take(encoded.indices)
    return _each(column, json_text)


def _each(column: pa.Array, text: Callable[[object], str]) -> pa.Array:
    """The text of each value, NULL for NULL."""
    import pyarrow as pa

    return pa.array((None if value is None else text(value) for value in column.to_pylist()), pa.string())


def _plain(value: object) -> str:
    """The value as text that reads the same everywhere."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    return _interval(value) if hasattr(value, "nanoseconds") else str(value)


def _interval(value: Any) -> str:  # Any: pyarrow's MonthDayNano, which has no type
    return f"P{value.months}M{value.days}DT{format(Decimal(value.nanoseconds) / 10**9, 'f')}S"


def _cell(value: object) -> str:
    if isinstance(value, list | dict | bool | Decimal):
        text = json_text(value)
    elif isinstance(value, datetime.datetime):
        text = value.isoformat(sep=" ")
    else:
        text = _plain(value)
    return _shortened(printable(text))


def _shortened(text: str) -> str:
    return text if len(text) <= CELL_CHARACTERS_MAX else text[: CELL_CHARACTERS_MAX - 1] + "…"


def _fitting(widths: Iterable[int], room: int) -> int:
    """How many columns fit beside each other: at least one."""
    fitting, taken = 0, 0
    for width in widths:
        taken += width + (_GAP if fitting else 0)
        if fitting and taken > room:
            break
        fitting += 1
    return fitting


def _first_rows(reader: pa.RecordBatchReader, rows_max: int) -> tuple[list[list[object]], bool]:
    rows: list[list[object]] = []
    for batch in reader:
        rows += _rows(batch.slice(0, rows_max + 1 - len(rows)))
        if len(rows) > rows_max:
            return rows[:rows_max], False
    return rows, True


def _rows(batch: pa.RecordBatch) -> Iterator[list[object]]:
    """The rows as Python values. Duplicate column names are kept, as a list of dicts would not."""
    columns = [_exact(column).to_pylist() for column in batch.columns]
    return (list(row) for row in zip(*columns, strict=True))


def _exact(column: pa.Array) -> pa.Array:
    """The column, as text where Python's own type would lose nanoseconds."""
    import pyarrow as pa

    kind = column.type
    is_finer = (pa.types.is_timestamp(kind) or pa.types.is_time(kind)) and kind.unit == "ns"
    return column.cast(pa.string()) if is_finer else column


def _csv_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with every column that CSV cannot hold written as text."""
    import pyarrow as pa

    columns = [column if _is_in_csv(column.type) else _each(column, _csv_cell) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _csv_cell(value: object) -> str:
    return json_text(value) if isinstance(value, list | dict) else _plain(value)


def _is_in_csv(kind: pa.DataType) -> bool:
    import pyarrow as pa

    types = pa.types
    is_text = types.is_string(kind) or types.is_large_string(kind)
    is_moment = types.is_timestamp(kind) or types.is_date(kind) or types.is_time(kind)
    return is_text or is_moment or _is_number(kind) or types.is_boolean(kind) or types.is_null(kind)


def _is_number(kind: Any) -> bool:  # Any: pyarrow has no types
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))

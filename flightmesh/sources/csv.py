"""CSV files, plain or compressed (``.gz``, ``.zst``, ``.bz2``, by suffix): UTF-8, a header line, types inferred from
the whole file.

Inference looks at every value, so that a late value cannot surprise; ``types`` overrules it. Files of more than
INFERENCE_BYTES_MAX are inferred from their beginning alone, and a later value that does not fit is an error that
names the way out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as arrow_csv

from flightmesh.errors import FlightmeshError
from flightmesh.names import did_you_mean
from flightmesh.product.model import Source
from flightmesh.sources.arrow_types import arrow_type
from flightmesh.sources.base import BATCH_ROWS, SourceHandle, invalid, unavailable
from flightmesh.sources.files import File, Stamp, find_file, fingerprint, stamp

INFERENCE_BYTES_MAX = 1 << 30
_STREAM_BLOCK_BYTES = 1 << 24
_HINT = "Give the column's type under types:, or the text that means NULL under null_values:."


@dataclass(frozen=True, slots=True)
class _Format:
    """How the file is written; hashable, so that inferred schemas can be remembered."""

    source: str
    file: str
    delimiter: str
    null_values: tuple[str, ...]
    types: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CsvTable:
    """Rows of one CSV file. Texts of ``null_values`` are NULL in columns of every type."""

    source: str
    file: File
    format: _Format

    def schema(self) -> pa.Schema:
        return _inferred(stamp(self.source, self.file), self.format)

    def read(self) -> pa.RecordBatchReader:
        return _reader(stamp(self.source, self.file), self.format)

    def fingerprint(self) -> str:
        return fingerprint(self.source, (self.file,))


def open_csv(folder: Path, name: str, spec: Source) -> SourceHandle:
    """The source as one table under the source's own name."""
    if len(spec.delimiter) != 1 or not spec.delimiter.isascii():
        raise invalid(name, "the delimiter must be one ASCII character.")
    file = find_file(folder, name, spec)
    form = _Format(name, file.name, spec.delimiter, spec.null_values, tuple(spec.types.items()))
    return SourceHandle(name, {(name,): CsvTable(name, file, form)})


@lru_cache(maxsize=256)
def _inferred(state: Stamp, form: _Format) -> pa.Schema:
    return _reader(state, form).schema


def _reader(state: Stamp, form: _Format) -> pa.RecordBatchReader:
    try:
        content = _content(state.path)
        return _stream(state.path, form) if content is None else _whole(content, form)
    except pa.ArrowInvalid as error:
        raise _not_csv(form, error) from error
    except OSError as error:
        message = f"the file {form.file} cannot be read, or is not compressed as its name says."
        raise unavailable(form.source, message) from error


def _content(path: str) -> pa.Buffer | None:
    """The file, decompressed; None when it is too large to be held for inference."""
    with pa.input_stream(path, compression="detect") as stream:
        content = stream.read_buffer(INFERENCE_BYTES_MAX + 1)
    return content if content.size <= INFERENCE_BYTES_MAX else None


def _whole(content: pa.Buffer, form: _Format) -> pa.RecordBatchReader:
    reading = arrow_csv.ReadOptions(block_size=content.size + 1)
    columns = _header(pa.BufferReader(content), form)
    convert = _convert(form, columns)
    table = arrow_csv.read_csv(
        pa.BufferReader(content), read_options=reading, parse_options=_parse(form), convert_options=convert
    )
    wanted = _final(table.schema, form)
    return table.cast(wanted).to_reader(max_chunksize=BATCH_ROWS)


def _stream(path: str, form: _Format) -> pa.RecordBatchReader:
    with pa.input_stream(path, compression="detect") as stream:
        columns = _header(stream, form)
    reader = arrow_csv.open_csv(
        pa.input_stream(path, compression="detect"),
        read_options=arrow_csv.ReadOptions(block_size=_STREAM_BLOCK_BYTES),
        parse_options=_parse(form),
        convert_options=_convert(form, columns),
    )
    wanted = _final(reader.schema, form)

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            for batch in reader:
                yield batch.cast(wanted)
        except pa.ArrowInvalid as error:
            raise _not_csv(form, error) from error

    return pa.RecordBatchReader.from_batches(wanted, batches())


def _header(stream: pa.NativeFile, form: _Format) -> list[str]:
    """The names in the first line; INVALID when they are not distinct and not empty."""
    block = stream.read(1 << 20)
    line = block[: block.find(b"\n") + 1] or block
    try:
        names = arrow_csv.read_csv(pa.BufferReader(line), parse_options=_parse(form)).column_names
    except UnicodeDecodeError as error:
        raise invalid(form.source, f"the header of {form.file} is not UTF-8.", "Save it as UTF-8.") from error
    if len(set(names)) < len(names) or "" in names:
        twice = next((name for name in names if name and names.count(name) > 1), None)
        fault = "a column without a name" if twice is None else f"two columns named {twice!r}"
        raise invalid(form.source, f"{form.file} has {fault}.")
    return list(names)


def _parse(form: _Format) -> arrow_csv.ParseOptions:
    return arrow_csv.ParseOptions(delimiter=form.delimiter, newlines_in_values=True)


def _convert(form: _Format, columns: list[str]) -> arrow_csv.ConvertOptions:
    types = {}
    for column, text in form.types:
        if column not in columns:
            raise invalid(
                form.source, f"{form.file} has no column {column}, which types: names.", did_you_mean(column, columns)
            )
        types[column] = arrow_type(form.source, column, text)
    return arrow_csv.ConvertOptions(column_types=types, null_values=list(form.null_values), strings_can_be_null=True)


def _final(schema: pa.Schema, form: _Format) -> pa.Schema:
    """The schema with the types that inference alone would leave odd: text for empty columns, microseconds for
    coarser times.
    """
    chosen = dict(form.types)
    fields = []
    for field in schema:
        kind = field.type if field.name in chosen else _usual(field.type)
        if pa.types.is_binary(kind) and field.name not in chosen:
            raise invalid(form.source, f"column {field.name} of {form.file} is not UTF-8 text.")
        fields.append(pa.field(field.name, kind))
    return pa.schema(fields)


def _usual(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_timestamp(kind) and kind.unit in ("s", "ms"):
        return pa.timestamp("us", kind.tz)
    return pa.time64("us") if pa.types.is_time32(kind) else kind


def _not_csv(form: _Format, error: pa.ArrowInvalid) -> FlightmeshError:
    # The library's text quotes values of the file: it goes to the author, in the hint, and to nobody else.
    return invalid(form.source, f"{form.file} does not read as CSV.", f"{str(error)[:500]} {_HINT}")

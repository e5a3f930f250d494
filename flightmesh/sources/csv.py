"""CSV files, plain or compressed (``.gz``, ``.zst``, ``.bz2``, by suffix): UTF-8, a header line, types inferred from
all values of all files.

Inference looks at every value, so that a late value cannot surprise; ``types`` overrules it. Files of more than
INFERENCE_BYTES_MAX are inferred from their beginning alone, and a later value that does not fit is an error that
names the way out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from flightmesh.errors import FlightmeshError
from flightmesh.names import did_you_mean
from flightmesh.product.model import Source
from flightmesh.sources.arrow_types import arrow_type
from flightmesh.sources.base import SourceHandle, invalid, unavailable
from flightmesh.sources.dataset import Batches, FilesTable
from flightmesh.sources.filesystems import Part, open_place, unreachable
from flightmesh.sources.secrets import Secrets

INFERENCE_BYTES_MAX = 1 << 30
_STREAM_BLOCK_BYTES = 1 << 24
_HINT = "Give the column's type under types:, or the text that means NULL under null_values:."
_SUFFIXES = (".csv", ".tsv", ".txt")
_PACKED = ("", ".gz", ".zst", ".bz2")
# What values of two types, found in two files, are when one looks at them together.
_COMMON = {
    frozenset((pa.int64(), pa.float64())): pa.float64(),
    frozenset((pa.date32(), pa.timestamp("us"))): pa.timestamp("us"),
    frozenset((pa.date32(), pa.timestamp("ns"))): pa.timestamp("ns"),
    frozenset((pa.timestamp("us"), pa.timestamp("ns"))): pa.timestamp("ns"),
    frozenset((pa.timestamp("us", "UTC"), pa.timestamp("ns", "UTC"))): pa.timestamp("ns", "UTC"),
}


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """How the files are written; hashable, so that inferred schemas can be remembered. Texts of ``null_values`` are
    NULL in columns of every type.
    """

    source: str
    delimiter: str
    null_values: tuple[str, ...]
    types: tuple[tuple[str, str], ...]
    suffixes: tuple[str, ...] = tuple(suffix + packed for suffix in _SUFFIXES for packed in _PACKED)
    infers: bool = True

    def schema(self, part: Part) -> pa.Schema:
        return _inferred(self, part)

    def common(self, one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
        if pa.types.is_null(one) or pa.types.is_null(other):
            return other if pa.types.is_null(one) else one
        return one if one == other else _COMMON.get(frozenset((one, other)), pa.string())

    def batches(self, part: Part, wanted: pa.Schema, condition: pc.Expression | None) -> Batches:
        with _reading(self, part), _stream(part) as stream:
            converting = arrow_csv.ConvertOptions(
                column_types=wanted,
                include_columns=wanted.names,
                null_values=list(self.null_values),
                strings_can_be_null=True,
            )
            blocks = arrow_csv.ReadOptions(block_size=_STREAM_BLOCK_BYTES)
            yield from arrow_csv.open_csv(
                stream, read_options=blocks, parse_options=_parse(self), convert_options=converting
            )

    def skipped(self, part: Part, condition: pc.Expression) -> tuple[int, int]:
        return (0, 0)


def open_csv(folder: Path, name: str, spec: Source, secrets: Secrets) -> SourceHandle:
    """The source as one table under the source's own name."""
    if len(spec.delimiter) != 1 or not spec.delimiter.isascii():
        raise invalid(name, "the delimiter must be one ASCII character.")
    form = CsvFormat(name, spec.delimiter, spec.null_values, tuple(spec.types.items()))
    place = open_place(folder, name, spec, secrets, form.suffixes)
    return SourceHandle(name, {(name,): FilesTable(name, place, form)})


@lru_cache(maxsize=4096)
def _inferred(form: CsvFormat, part: Part) -> pa.Schema:
    with _reading(form, part):
        with _stream(part) as stream:
            content = stream.read_buffer(INFERENCE_BYTES_MAX + 1)
        converting = _convert(form, part, _header(form, part, pa.BufferReader(content)))
        if content.size > INFERENCE_BYTES_MAX:
            del content
            with _stream(part) as stream:
                blocks = arrow_csv.ReadOptions(block_size=_STREAM_BLOCK_BYTES)
                reader = arrow_csv.open_csv(
                    stream, read_options=blocks, parse_options=_parse(form), convert_options=converting
                )
                return _final(form, part, reader.schema)
        whole = arrow_csv.ReadOptions(block_size=content.size + 1)
        table = arrow_csv.read_csv(
            pa.BufferReader(content), read_options=whole, parse_options=_parse(form), convert_options=converting
        )
        return _final(form, part, table.schema)


@contextmanager
def _reading(form: CsvFormat, part: Part) -> Iterator[None]:
    """Turns the library's errors, which show paths and values, into ours."""
    try:
        yield
    except FlightmeshError:
        raise
    except pa.ArrowInvalid as error:
        # The library's text quotes values of the file: it goes to the author, in the hint, and to nobody else.
        hint = f"{str(error)[:500]} {_HINT}"
        raise invalid(form.source, f"{part.name} does not read as CSV.", hint) from error
    except (pa.ArrowException, OSError) as error:
        if not part.store.is_local:
            raise unreachable(form.source, part.store, part.name, error) from error
        message = f"the file {part.name} cannot be read, or is not compressed as its name says."
        raise unavailable(form.source, message) from error


def _stream(part: Part) -> pa.NativeFile:
    """The content, decompressed."""
    return part.store.filesystem.open_input_stream(part.key)


def _header(form: CsvFormat, part: Part, stream: pa.NativeFile) -> list[str]:
    """The names in the first line; INVALID when they are not distinct and not empty."""
    block = stream.read(1 << 20)
    line = block[: block.find(b"\n") + 1] or block
    try:
        names = arrow_csv.read_csv(pa.BufferReader(line), parse_options=_parse(form)).column_names
    except UnicodeDecodeError as error:
        raise invalid(form.source, f"the header of {part.name} is not UTF-8.", "Save it as UTF-8.") from error
    if len(set(names)) < len(names) or "" in names:
        twice = next((name for name in names if name and names.count(name) > 1), None)
        fault = "a column without a name" if twice is None else f"two columns named {twice!r}"
        raise invalid(form.source, f"{part.name} has {fault}.")
    return list(names)


def _parse(form: CsvFormat) -> arrow_csv.ParseOptions:
    return arrow_csv.ParseOptions(delimiter=form.delimiter, newlines_in_values=True)


def _convert(form: CsvFormat, part: Part, columns: list[str]) -> arrow_csv.ConvertOptions:
    types = {}
    for column, text in form.types:
        if column not in columns:
            hint = did_you_mean(column, columns)
            raise invalid(form.source, f"{part.name} has no column {column}, which types: names.", hint)
        types[column] = arrow_type(form.source, column, text)
    return arrow_csv.ConvertOptions(column_types=types, null_values=list(form.null_values), strings_can_be_null=True)


def _final(form: CsvFormat, part: Part, schema: pa.Schema) -> pa.Schema:
    """The schema with the types that inference alone would leave odd."""
    chosen = dict(form.types)
    fields = []
    for field in schema:
        kind = field.type if field.name in chosen else usual(field.type)
        if pa.types.is_binary(kind) and field.name not in chosen:
            raise invalid(form.source, f"column {field.name} of {part.name} is not UTF-8 text.")
        fields.append(pa.field(field.name, kind))
    return pa.schema(fields)


def usual(kind: pa.DataType) -> pa.DataType:
    """The inferred type, but microseconds for coarser times."""
    if pa.types.is_timestamp(kind) and kind.unit in ("s", "ms"):
        return pa.timestamp("us", kind.tz)
    return pa.time64("us") if pa.types.is_time32(kind) else kind

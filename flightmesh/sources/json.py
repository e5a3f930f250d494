"""JSON files, plain or compressed (``.gz``, ``.zst``, ``.bz2``, by suffix): one object a line, or one array of objects.

Types follow from all values, as with CSV, and ``types`` overrules them. A key that an object lacks is NULL. Numbers
beyond 64 bits are read as double.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as arrow_json

from flightmesh.errors import FlightmeshError
from flightmesh.product.model import Source
from flightmesh.sources.arrow_types import arrow_type, check_sound, plain_array
from flightmesh.sources.base import SourceHandle, invalid, unavailable
from flightmesh.sources.csv import usual
from flightmesh.sources.dataset import Batches, FilesTable
from flightmesh.sources.filesystems import Part, open_place, unreachable
from flightmesh.sources.secrets import Secrets

# Larger files are inferred from their beginning; larger arrays are refused, since they can only be read as a whole.
INFERENCE_BYTES_MAX = 1 << 30
ARRAY_BYTES_MAX = 1 << 28
_STREAM_BLOCK_BYTES = 1 << 24
_LINE_BYTES = 1 << 20
_HINT = "Write one object a line, with values of one type a key, or give the type under types:."
# In the order in which they are tried.
_TEMPORAL = (
    *(pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.timestamp("ns"), pa.timestamp("ns", "UTC")),
    pa.time64("us"),
)
_PACKED = ("", ".gz", ".zst", ".bz2")


@dataclass(frozen=True, slots=True)
class JsonFormat:
    """How the files are written; hashable, so that inferred schemas can be remembered."""

    source: str
    types: tuple[tuple[str, str], ...]
    suffixes: tuple[str, ...] = tuple(s + packed for s in (".json", ".jsonl", ".ndjson") for packed in _PACKED)
    infers: bool = True

    def schema(self, part: Part) -> pa.Schema:
        return _inferred(self, part)

    def common(self, one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
        return _common(one, other)

    def batches(self, part: Part, wanted: pa.Schema, condition: pc.Expression | None) -> Batches:
        parsed = pa.schema([pa.field(column.name, _parsed(column.type)) for column in wanted])
        with _reading(self, part), _lines(self, part) as stream:
            blocks = arrow_json.ReadOptions(block_size=_STREAM_BLOCK_BYTES)
            parsing = arrow_json.ParseOptions(explicit_schema=parsed, unexpected_field_behavior="ignore")
            for batch in arrow_json.open_json(stream, read_options=blocks, parse_options=parsing):
                check_sound(batch)  # The parser does not look whether text is UTF-8.
                arrays = [_converted(batch.column(column.name), column.type) for column in wanted]
                yield pa.RecordBatch.from_arrays(arrays, schema=wanted)

    def skipped(self, part: Part, condition: pc.Expression) -> tuple[int, int]:
        return (0, 0)


def open_json(folder: Path, name: str, spec: Source, secrets: Secrets) -> SourceHandle:
    """The source as one table under the source's own name."""
    form = JsonFormat(name, tuple(spec.types.items()))
    place = open_place(folder, name, spec, secrets, form.suffixes)
    return SourceHandle(name, {(name,): FilesTable(name, place, form)})


@lru_cache(maxsize=4096)
def _inferred(form: JsonFormat, part: Part) -> pa.Schema:
    chosen = {column: arrow_type(form.source, column, text) for column, text in form.types}
    with _reading(form, part):
        with _lines(form, part) as stream:
            content = _beginning(stream.read_buffer(INFERENCE_BYTES_MAX + 1))
        parsed = {column: _parsed(kind) for column, kind in chosen.items()}
        found = _parse(content, parsed)
        texts = {column.name: pa.string() for column in found.schema if pa.types.is_timestamp(column.type)}
        if texts:
            # The parser takes some texts for times and drops their zones on the way.
            found = _parse(content, parsed | texts)
        found.validate(full=True)
        first = _first_row(content) if found.num_rows else {}
    names = [*(name for name in first if name in found.schema.names), *found.schema.names]
    return pa.schema([(name, chosen.get(name) or _usual(found.column(name))) for name in dict.fromkeys(names)])


def _first_row(content: pa.Buffer) -> dict[str, object]:
    """The first object, for the order of its keys: the parser puts those of ``types`` first. Empty when it is not on
    one line of its own, which the parser allows.
    """
    try:
        row = json.loads(content.slice(0, min(_LINE_BYTES, content.size)).to_pybytes().lstrip().split(b"\n", 1)[0])
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


def _beginning(content: pa.Buffer) -> pa.Buffer:
    """The content; of one too large to be looked at whole, the lines at its beginning."""
    if content.size <= INFERENCE_BYTES_MAX:
        return content
    head = content.slice(0, min(_STREAM_BLOCK_BYTES, content.size)).to_pybytes()
    return pa.py_buffer(head[: head.rfind(b"\n") + 1])


def _parse(content: pa.Buffer, types: Mapping[str, pa.DataType]) -> pa.Table:
    parsing = arrow_json.ParseOptions(explicit_schema=pa.schema(list(types.items())))
    whole = arrow_json.ReadOptions(block_size=content.size + 1)
    return arrow_json.read_json(pa.BufferReader(content), read_options=whole, parse_options=parsing)


@contextmanager
def _lines(form: JsonFormat, part: Part) -> Iterator[pa.NativeFile]:
    """The content, decompressed, one object a line."""
    files = part.store.filesystem
    with files.open_input_stream(part.key) as stream:
        is_array = stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
    with files.open_input_stream(part.key) as stream:
        if not is_array:
            yield stream
            return
        content = stream.read(ARRAY_BYTES_MAX + 1)
    if len(content) > ARRAY_BYTES_MAX:
        raise invalid(form.source, f"{part.name} is an array of more than {ARRAY_BYTES_MAX} bytes.", _HINT)
    rows = json.loads(content.decode("utf-8-sig"), parse_constant=_no_number)
    yield pa.BufferReader("\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode())


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no JSON.")


def _usual(values: pa.ChunkedArray) -> pa.DataType:
    """The type of a column: dates and times where all texts are such, text inside of others where nothing is."""
    if pa.types.is_string(values.type) and values.null_count < len(values):
        return next((kind for kind in _TEMPORAL if _reads_as(values, kind)), pa.string())
    return _inner(values.type) if pa.types.is_nested(values.type) else values.type


def _converted(values: pa.Array | pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    if pa.types.is_time(kind):
        # There is no cast from text to times of day; on a day of its own it is one to instants.
        instants = pc.binary_join_element_wise("1970-01-01", values, " ").cast(pa.timestamp("us"))
        return instants.cast(kind)
    return plain_array(values, kind)


def _reads_as(values: pa.ChunkedArray, kind: pa.DataType) -> bool:
    try:
        _converted(values, kind)
    except pa.ArrowException:
        return False
    return True


def _inner(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(inner.name, _inner(inner.type)) for inner in kind])
    if pa.types.is_list(kind):
        return pa.list_(_inner(kind.value_type))
    return pa.string() if pa.types.is_null(kind) else usual(kind)


def _parsed(kind: pa.DataType) -> pa.DataType:
    """The type to parse as: dates and times are texts in JSON, and the cast knows more of them than the parser."""
    return pa.string() if pa.types.is_temporal(kind) else kind


def _common(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if {one, other} == {pa.int64(), pa.float64()}:
        return pa.float64()
    return pa.string() if {one, other} <= {pa.string(), *_TEMPORAL} else None


@contextmanager
def _reading(form: JsonFormat, part: Part) -> Iterator[None]:
    """Turns the library's errors, which show paths and values, into ours."""
    try:
        yield
    except FlightmeshError:
        raise
    except (pa.ArrowInvalid, ValueError) as error:
        hint = f"{str(error)[:500]} {_HINT}"
        raise invalid(form.source, f"{part.name} does not read as JSON.", hint) from error
    except (pa.ArrowException, OSError) as error:
        if not part.store.is_local:
            raise unreachable(form.source, part.store, part.name, error) from error
        message = f"the file {part.name} cannot be read, or is not compressed as its name says."
        raise unavailable(form.source, message) from error

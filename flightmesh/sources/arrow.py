"""Arrow IPC files and streams: one, a folder or a pattern."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from flightmesh.errors import FlightmeshError
from flightmesh.product.model import Source
from flightmesh.sources.arrow_types import plain_schema
from flightmesh.sources.base import SourceHandle, invalid
from flightmesh.sources.dataset import Batches, FilesTable, same, shaped
from flightmesh.sources.filesystems import Part, open_place, unreachable
from flightmesh.sources.secrets import Secrets

_MAGIC = b"ARROW1"


@dataclass(frozen=True, slots=True)
class ArrowFormat:
    """How Arrow files are read."""

    source: str
    suffixes: tuple[str, ...] = (".arrow", ".arrows", ".feather", ".ipc")
    infers: bool = False

    def schema(self, part: Part) -> pa.Schema:
        return _schema(self.source, part)

    def common(self, one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
        return same(one, other)

    def batches(self, part: Part, wanted: pa.Schema, condition: pc.Expression | None) -> Batches:
        names = _schema(self.source, part).names
        fields = sorted(names.index(name) for name in wanted.names)
        with _reading(self.source, part), part.store.filesystem.open_input_file(part.key) as file:
            for batch in _batches(file, pa.ipc.IpcReadOptions(included_fields=fields)):
                yield shaped(batch, wanted)

    def skipped(self, part: Part, condition: pc.Expression) -> tuple[int, int]:
        return (0, 0)


def open_arrow(folder: Path, name: str, spec: Source, secrets: Secrets) -> SourceHandle:
    """The source as one table under the source's own name."""
    form = ArrowFormat(name)
    place = open_place(folder, name, spec, secrets, form.suffixes)
    return SourceHandle(name, {(name,): FilesTable(name, place, form)})


@lru_cache(maxsize=4096)
def _schema(source: str, part: Part) -> pa.Schema:
    with _reading(source, part), part.store.filesystem.open_input_file(part.key) as file:
        if _is_file(file):
            with pa.ipc.open_file(file) as reader:
                schema = plain_schema(reader.schema)
        else:
            with pa.ipc.open_stream(file) as reader:
                schema = plain_schema(reader.schema)
    twice = next((name for name in schema.names if schema.names.count(name) > 1), None)
    if twice is not None:
        raise invalid(source, f"{part.name} has two columns named {twice!r}.")
    return schema


def _batches(file: pa.NativeFile, options: pa.ipc.IpcReadOptions) -> Iterator[pa.RecordBatch]:
    if not _is_file(file):
        with pa.ipc.open_stream(file, options=options) as stream:
            yield from stream
        return
    with pa.ipc.open_file(file, options=options) as reader:
        for at in range(reader.num_record_batches):
            yield reader.get_batch(at)


def _is_file(file: pa.NativeFile) -> bool:
    """Whether the file begins as the format with a footer does; what begins otherwise may be a stream."""
    found = bool(file.read(len(_MAGIC)) == _MAGIC)
    file.seek(0)
    return found


@contextmanager
def _reading(source: str, part: Part) -> Iterator[None]:
    """Turns the library's errors, which show paths, into ours."""
    try:
        yield
    except FlightmeshError:
        raise
    except OSError as error:
        raise unreachable(source, part.store, part.name, error) from error
    except pa.ArrowException as error:
        raise invalid(source, f"{part.name} is not an Arrow file, or it is damaged.") from error

"""Parquet files: one, a folder or a pattern. Read live, row groups whose statistics rule a filter out are not read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flightmesh.product.model import Source
from flightmesh.sources.arrow_types import plain_schema
from flightmesh.sources.base import BATCH_ROWS, SourceHandle, invalid, unavailable
from flightmesh.sources.conditions import expression, weakened
from flightmesh.sources.dataset import Batches, FilesTable, same, shaped
from flightmesh.sources.filesystems import Part, open_place, unreachable
from flightmesh.sources.predicate import decode
from flightmesh.sources.secrets import Secrets

# Batches of one file decoded ahead of the reader.
BATCHES_AHEAD = 2


@dataclass(frozen=True, slots=True)
class ParquetFormat:
    """How Parquet files are read."""

    source: str
    suffixes: tuple[str, ...] = (".parquet", ".parq", ".pq")
    infers: bool = False

    def schema(self, part: Part) -> pa.Schema:
        return _schema(self.source, part)

    def common(self, one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
        return same(one, other)

    def batches(self, part: Part, wanted: pa.Schema, condition: pc.Expression | None) -> Batches:
        try:
            found = _whole(part, wanted) if condition is None else _filtered(part, wanted, condition)
            for batch in found:
                yield shaped(batch, wanted)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(self.source, part, error) from error

    def skipped(self, part: Part, condition: pc.Expression) -> tuple[int, int]:
        if not part.store.is_local:
            return (0, 0)
        with _opening(self.source, part):
            fragment = _fragment(part)
            kept = fragment.split_by_row_group(_over_plain(fragment, condition))
            return fragment.num_row_groups - len(kept), fragment.num_row_groups


def open_parquet(folder: Path, name: str, spec: Source, secrets: Secrets) -> SourceHandle:
    """The source as one table under the source's own name."""
    form = ParquetFormat(name)
    place = open_place(folder, name, spec, secrets, form.suffixes)
    return SourceHandle(name, {(name,): FilesTable(name, place, form)})


@lru_cache(maxsize=4096)
def _schema(source: str, part: Part) -> pa.Schema:
    """The columns in the footer."""
    with _opening(source, part), _file(part) as file:
        schema = plain_schema(file.schema_arrow)
    twice = next((name for name in schema.names if schema.names.count(name) > 1), None)
    if twice is not None:
        raise invalid(source, f"{part.name} has two columns named {twice!r}.")
    return schema


def _file(part: Part) -> pq.ParquetFile:
    return pq.ParquetFile(part.store.filesystem.open_input_file(part.key), pre_buffer=not part.store.is_local)


def _whole(part: Part, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
    # Not pyarrow.dataset: importing it imports pandas where that is installed.
    with _file(part) as file:
        everything = file.schema_arrow.names == wanted.names
        yield from file.iter_batches(BATCH_ROWS, columns=None if everything else wanted.names)


def _filtered(part: Part, wanted: pa.Schema, condition: pc.Expression) -> Iterator[pa.RecordBatch]:
    fragment = _fragment(part)
    if _views(fragment).intersection(wanted.names):
        yield from _pruned(part, wanted, fragment.split_by_row_group(_over_plain(fragment, condition)))
        return
    scanner = fragment.scanner(
        columns=wanted.names,
        filter=condition,
        batch_size=BATCH_ROWS,
        batch_readahead=BATCHES_AHEAD,
        fragment_readahead=1,
    )
    with scanner.to_reader() as reader:
        yield from reader


def _pruned(part: Part, wanted: pa.Schema, kept: list[Any]) -> Iterator[pa.RecordBatch]:
    """The rows of the row groups, unfiltered: the library has no filter for columns in the layout of views."""
    groups = [group.id for fragment in kept for group in fragment.row_groups]
    with _file(part) as file:
        yield from file.iter_batches(BATCH_ROWS, row_groups=groups, columns=wanted.names)


def _over_plain(fragment: Any, condition: pc.Expression) -> pc.Expression:
    """What the condition says of columns that are not views: the library cannot compare the statistics of those."""
    views = _views(fragment)
    if not views:
        return condition
    found = weakened(decode(condition), frozenset(fragment.physical_schema.names) - views)
    return pc.scalar(True) if found is None else expression(found)


def _views(fragment: Any) -> frozenset[str]:
    """The columns that the file's writer had in the layout of views, or that hold such."""
    return frozenset(item.name for item in fragment.physical_schema if "_view" in str(item.type))


def _fragment(part: Part) -> Any:  # Any: pyarrow is untyped
    import pyarrow.dataset as ds  # Here, since it imports pandas where that is installed.

    options = ds.ParquetFragmentScanOptions(pre_buffer=not part.store.is_local)
    form = ds.ParquetFileFormat(default_fragment_scan_options=options)
    return form.make_fragment(part.key, part.store.filesystem)


@contextmanager
def _opening(source: str, part: Part) -> Iterator[None]:
    """Turns the library's errors, which show paths, into ours."""
    try:
        yield
    except pa.ArrowInvalid as error:
        raise invalid(source, f"{part.name} is not a Parquet file, or it is damaged.") from error
    except (pa.ArrowException, OSError) as error:
        raise unreachable(source, part.store, part.name, error) from error


def _unreadable(source: str, part: Part, error: Exception) -> Exception:
    if part.store.is_local:
        return unavailable(source, f"{part.name} cannot be read to its end; it may be damaged.")
    return unreachable(source, part.store, part.name, error)

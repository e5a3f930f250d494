"""Tables of files: one source over one file or many, whose folders may be partitions, read whole or narrowed.

The first file by name rules: the others must have its columns with its types. What differs between kinds of files is
a ``Format``; what differs between listings (folders, a Delta log) is a ``Listing``. Nothing is kept between reads but
what a file's state is a key for.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.sources.arrow_types import check_sound, plain_array
from flightmesh.sources.base import BATCH_ROWS, Fetch, Narrowing, Pushed, invalid, unavailable
from flightmesh.sources.conditions import expression, fitted, weakened, words
from flightmesh.sources.filesystems import Part, Place
from flightmesh.sources.predicate import Predicate, columns_of

# Files of an object store whose first rows are asked for at a time, so that its delays overlap.
FILES_AHEAD = 4

Batches = Generator[pa.RecordBatch, None, None]


class Format(Protocol):
    """How files of one kind are read. All raise INVALID or UNAVAILABLE naming source and file."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The ends of the names of files of this kind."""
        ...

    @property
    def infers(self) -> bool:
        """Whether types follow from the values, so that all files have to be looked at to know them."""
        ...

    def schema(self, part: Part) -> pa.Schema:
        """The file's own columns with plain types; remembered by the file's state."""
        ...

    def common(self, one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
        """The type that the values of both can be read as; None when there is none."""
        ...

    def batches(self, part: Part, wanted: pa.Schema, condition: pc.Expression | None) -> Batches:
        """These columns, of which there is at least one. Given a condition over the file's columns, rows that it does
        not keep may be left out; without one no library is loaded for filtering.
        """
        ...

    def skipped(self, part: Part, condition: pc.Expression) -> tuple[int, int]:
        """How many blocks of the file the condition rules out, and how many there are; (0, 0) when that takes more
        than a look at what is remembered.
        """
        ...


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a table, in order, and the columns that are not in them.

    ``values`` gives for each file the values of ``partitions``. ``schema`` is set where something else than the first
    file rules: then columns that a file lacks are NULL.
    """

    parts: tuple[Part, ...]
    partitions: pa.Schema = field(default_factory=lambda: pa.schema([]))
    values: Mapping[str, tuple[pa.Scalar, ...]] = field(default_factory=dict)
    schema: pa.Schema | None = None


@dataclass(frozen=True, slots=True)
class FilesTable:
    """The rows of all files in the order of their names."""

    source: str
    place: Place
    format: Format

    def schema(self) -> pa.Schema:
        return columns(self.source, self.format, self.listing())

    def read(self) -> pa.RecordBatchReader:
        listing = self.listing()
        schema = columns(self.source, self.format, listing)
        return under_way(self.source, schema, Scan(self.source, self.format, listing, schema, schema).batches()).reader

    def fingerprint(self) -> str:
        return self.place.fingerprint(self.place.parts())

    def pushed(self, narrowing: Narrowing) -> Pushed:
        return described(self.format, self.listing, narrowing)

    def fetch(self, narrowing: Narrowing, schema: pa.Schema) -> Fetch:
        return fetch(self.source, self.format, self.listing(), narrowing, schema)

    def listing(self) -> Listing:
        """The files as they are now."""
        return hive_listing(self.source, self.place.parts())


# --- Columns ----------------------------------------------------------------------------------------------------------


def columns(source: str, form: Format, listing: Listing) -> pa.Schema:
    """All columns: those of the files, then the partitions."""
    return _settled(form, _found(source, form, listing))


def _settled(form: Format, schema: pa.Schema) -> pa.Schema:
    """The columns, where types follow from values with text for those without one: SQL knows no type for them."""
    if not form.infers:
        return schema
    return pa.schema([(each.name, pa.string() if pa.types.is_null(each.type) else each.type) for each in schema])


def _found(source: str, form: Format, listing: Listing) -> pa.Schema:
    """The columns of the first file, with types that hold the values of all files where values are what types follow
    from; then the partitions.
    """
    if listing.schema is not None:
        return listing.schema
    first = listing.parts[0]
    types = {column.name: column.type for column in form.schema(first)}
    for part in listing.parts[1:] if form.infers else ():
        schema = form.schema(part)
        for name in types:
            index = schema.get_field_index(name)
            if index < 0:
                raise invalid(source, f"{part.name} has no column {name}, which {first.name} has.")
            found = form.common(types[name], schema.field(index).type)
            if found is None:
                raise invalid(source, _conflict(name, part, schema.field(index).type, first, types[name]))
            types[name] = found
    own = [pa.field(name, kind) for name, kind in types.items() if name not in listing.partitions.names]
    return pa.schema([*own, *listing.partitions])


def _conflict(name: str, part: Part, found: pa.DataType, first: Part, wanted: pa.DataType) -> str:
    return f"column {name} is {found} in {part.name}, {wanted} in {first.name}."


def hive_listing(source: str, parts: tuple[Part, ...]) -> Listing:
    """The files with their partitions: int32 (int64 for longer ones) where all values are integers, else string."""
    texts = [part.partitions for part in parts]
    for part, found in zip(parts, texts, strict=True):
        if list(found) != list(texts[0]):
            raise invalid(source, f"the folders of {part.name} have other partitions than those of {parts[0].name}.")
    arrays = [_typed([found[name] for found in texts]) for name in texts[0]]
    schema = pa.schema([pa.field(name, array.type) for name, array in zip(texts[0], arrays, strict=True)])
    values = {part.name: tuple(array[at] for array in arrays) for at, part in enumerate(parts)}
    return Listing(parts, schema, values)


def _typed(texts: list[str | None]) -> pa.Array:
    array = pa.array(texts, pa.string())
    for kind in (pa.int32(), pa.int64()) if array.null_count < len(array) else ():
        if all(text is None or text.removeprefix("-").isdecimal() for text in texts):
            with contextlib.suppress(pa.ArrowInvalid):
                return array.cast(kind)
    return array


# --- Reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scan:
    """One pass over the files of a listing. ``schema`` is what is wanted, ``needed`` also has the columns that only
    the predicate reads. ``published`` is true where that is what was published, so that a file which does not fit has
    changed since.
    """

    source: str
    format: Format
    listing: Listing
    schema: pa.Schema
    needed: pa.Schema
    predicate: Predicate | None = None
    limit: int | None = None
    published: bool = False

    def batches(self) -> Batches:
        """The rows, as many as are wanted."""
        left = self.limit
        for batch in self._all():
            yield batch if left is None else batch.slice(0, left)
            if left is not None:
                left -= batch.num_rows
                if left <= 0:
                    return

    def _all(self) -> Batches:
        parts = self.listing.parts
        streams = (self._part(part) for part in parts)
        if len(parts) > 1 and not parts[0].store.is_local:
            yield from _ahead(streams)
            return
        for stream in streams:
            yield from stream

    def _part(self, part: Part) -> Batches:
        own = self.wanted(part)
        constants = dict(zip(self.listing.partitions.names, self.listing.values.get(part.name, ()), strict=False))
        condition = self._condition(part, own)
        residual = None if self.predicate is None else expression(self.predicate)
        read = own if own.names else pa.schema([self.format.schema(part).field(0)])
        for batch in self.format.batches(part, read, condition):
            yield self._whole(batch, constants, residual)

    def _condition(self, part: Part, own: pa.Schema) -> pc.Expression | None:
        if not self.published:
            return None
        found = weakened(self.predicate, frozenset(own.names) - set(self.listing.partitions.names))
        return pc.scalar(True) if found is None else expression(found)

    def _whole(
        self, batch: pa.RecordBatch, constants: Mapping[str, pa.Scalar], residual: pc.Expression | None
    ) -> pa.RecordBatch:
        """The batch with the columns that the file does not have, filtered."""
        arrays = []
        for column in self.needed:
            if column.name in constants:
                arrays.append(pa.repeat(constants[column.name], batch.num_rows).cast(column.type))
            elif column.name in batch.schema.names:
                arrays.append(batch.column(column.name))
            else:
                arrays.append(pa.nulls(batch.num_rows, column.type))
        whole = pa.RecordBatch.from_arrays(arrays, schema=self.needed) if arrays else batch.select([])
        if residual is not None:
            whole = whole.filter(residual)
        return whole.select(self.schema.names)

    def wanted(self, part: Part) -> pa.Schema:
        """The columns to read from the file itself. INVALID, or UNAVAILABLE where they were published, naming the
        first that is not there or has another type.
        """
        own = self.format.schema(part)
        found = []
        for column in self.needed:
            index = own.get_field_index(column.name)
            if column.name in self.listing.partitions.names:
                continue
            if index >= 0:
                self._check(part, column, own.field(index).type)
                found.append(column)
            elif self.listing.schema is None:
                raise self._gone(part, column.name)
        return pa.schema(found)

    def _check(self, part: Part, column: pa.Field, found: pa.DataType) -> None:
        if self.listing.schema is not None or self.format.common(column.type, found) == column.type:
            return
        if self.published:
            message = f"column {column.name} of {part.name} is now {found}, it was {column.type}."
            raise unavailable(self.source, message)
        raise invalid(self.source, _conflict(column.name, part, found, self.listing.parts[0], column.type))

    def _gone(self, part: Part, name: str) -> FlightmeshError:
        if self.published:
            return unavailable(self.source, f"column {name} of {part.name} is gone.")
        return invalid(self.source, f"{part.name} has no column {name}, which {self.listing.parts[0].name} has.")


def _ahead(streams: Iterable[Batches]) -> Batches:
    """The streams one after the other, the first batches of the next ones asked for in threads."""
    coming = iter(streams)
    with ThreadPoolExecutor(FILES_AHEAD) as pool:
        waiting: deque[tuple[Batches, Future[pa.RecordBatch | None]]] = deque()

        def ask(count: int) -> None:
            for stream in islice(coming, count):
                waiting.append((stream, pool.submit(next, stream, None)))

        ask(FILES_AHEAD)
        try:
            while waiting:
                stream, first = waiting.popleft()
                batch = first.result()
                ask(1)
                if batch is not None:
                    yield batch
                    yield from stream
        finally:
            for _, first in waiting:
                first.cancel()


# --- Narrowed -----------------------------------------------------------------------------------------------------


def narrowed(narrowing: Narrowing, schema: pa.Schema) -> pa.Schema:
    """The columns of the schema that are wanted, in their order."""
    return schema if narrowing.columns is None else pa.schema([schema.field(name) for name in narrowing.columns])


def fetch(source: str, form: Format, listing: Listing, narrowing: Narrowing, schema: pa.Schema) -> Fetch:
    """The rows of a listing, narrowed, with the columns and types of ``schema``."""
    wanted = narrowed(narrowing, schema)
    first = listing.parts[0].name if listing.schema is None else "the table"
    everything = _settled(form, checked(source, _found(source, form, listing), wanted, first, form.common))
    predicate, left = fitted(narrowing.predicate, everything)
    needed = with_columns_of(predicate, wanted, everything)
    limit = None if left else narrowing.limit
    scan = Scan(source, form, pruned(listing, predicate), wanted, needed, predicate, limit, published=True)
    if scan.listing.parts:
        scan.wanted(scan.listing.parts[0])
    return under_way(source, wanted, scan.batches())


def with_columns_of(predicate: Predicate | None, wanted: pa.Schema, everything: pa.Schema) -> pa.Schema:
    """The wanted columns, then those that only the predicate reads."""
    more = [name for name in columns_of(predicate) if name not in wanted.names]
    return pa.schema([*wanted, *(everything.field(name) for name in more)])


def under_way(source: str, schema: pa.Schema, batches: Batches) -> Fetch:
    """The fetch of a stream: in batches of BATCH_ROWS at most, and stopped between two of them."""
    stop = threading.Event()

    def sliced() -> Batches:
        for batch in batches:
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield batch.slice(start, BATCH_ROWS)

    rows = sliced()

    def guarded() -> Batches:
        # Also the end is checked: rows that were closed must not look like rows that were read.
        while (batch := next(rows, None)) is not None and not stop.is_set():
            yield batch
        if stop.is_set():
            raise FlightmeshError(ErrorCode.CANCELLED, f"Source {source}: the read was cancelled.")

    def close() -> None:
        stop.set()
        # A stream that another thread is reading ends by itself, at its next batch.
        with contextlib.suppress(ValueError):
            rows.close()

    return Fetch(pa.RecordBatchReader.from_batches(schema, guarded()), stop.set, close)


def checked(
    source: str,
    now: pa.Schema,
    published: pa.Schema,
    name: str,
    common: Callable[[pa.DataType, pa.DataType], pa.DataType | None] = lambda one, other: None,
) -> pa.Schema:
    """All columns as they are now, with the published types; UNAVAILABLE when a published one is gone or has changed
    to a type whose values the published one does not hold.
    """
    for column in published:
        index = now.get_field_index(column.name)
        if index < 0:
            raise unavailable(source, f"column {column.name} of {name} is gone.")
        found = now.field(index).type
        if found != column.type and common(column.type, found) != column.type:
            raise unavailable(source, f"column {column.name} of {name} is now {found}, it was {column.type}.")
        now = now.set(index, column)
    return now


def pruned(listing: Listing, predicate: Predicate | None) -> Listing:
    """The listing without the files whose partitions rule the predicate out."""
    found = weakened(predicate, frozenset(listing.partitions.names))
    if found is None or not listing.parts:
        return listing
    rows = [listing.values[part.name] for part in listing.parts]
    arrays = [pa.array(column, f.type) for column, f in zip(zip(*rows, strict=True), listing.partitions, strict=True)]
    arrays.append(pa.array(range(len(rows)), pa.int64()))
    # A name of its own for the place in the list: columns of files cannot hold a zero byte.
    table = pa.table(arrays, schema=listing.partitions.append(pa.field("\0at", pa.int64())))
    kept = table.filter(expression(found)).column("\0at").to_pylist()
    return replace(listing, parts=tuple(listing.parts[at] for at in kept))


def described(form: Format, list_now: Callable[[], Listing], narrowing: Narrowing) -> Pushed:
    """What ``fetch`` would read. Files are listed, none is read but for its description; where that fails, which the
    fetch will say, only what is asked for is told.
    """
    try:
        listing = list_now()
        everything = columns("", form, listing)
    except FlightmeshError:
        return asked(narrowing)
    predicate, left = fitted(narrowing.predicate, everything)
    kept = pruned(listing, predicate)
    count = f"{len(kept.parts)} file{'' if len(kept.parts) == 1 else 's'}"
    rows = where(predicate, None if left else narrowing.limit)
    return Pushed(f"read {wanted_words(narrowing)} of {count}{rows}", left, _skipped(form, listing, kept, predicate))


def asked(narrowing: Narrowing) -> Pushed:
    """What is asked for, where the source does not say what it would read for that."""
    return Pushed(f"read {wanted_words(narrowing)}{where(narrowing.predicate, narrowing.limit)}")


def wanted_words(narrowing: Narrowing) -> str:
    """The columns for people."""
    return "all columns" if narrowing.columns is None else ", ".join(narrowing.columns) or "no column"


def where(predicate: Predicate | None, limit: int | None) -> str:
    """What follows the files in a description: the rows that are wanted."""
    text = "" if predicate is None else f" where ({words(predicate)})"
    return text if limit is None else f"{text} limit {limit}"


def _skipped(form: Format, listing: Listing, kept: Listing, predicate: Predicate | None) -> str | None:
    found = []
    if len(kept.parts) < len(listing.parts):
        found.append(f"{len(listing.parts) - len(kept.parts)} of {len(listing.parts)} files")
    counts = [_blocks(form, listing, part, predicate) for part in kept.parts]
    if skipped := sum(count for count, _ in counts):
        found.append(f"{skipped} of {sum(total for _, total in counts)} row groups")
    return ", ".join(found) or None


def _blocks(form: Format, listing: Listing, part: Part, predicate: Predicate | None) -> tuple[int, int]:
    try:
        own = frozenset(form.schema(part).names) - set(listing.partitions.names)
        found = weakened(predicate, own)
        return (0, 0) if found is None else form.skipped(part, expression(found))
    except FlightmeshError:
        return (0, 0)


def shaped(batch: pa.RecordBatch, wanted: pa.Schema) -> pa.RecordBatch:
    """The wanted columns of a batch, with their types; ArrowInvalid when a value would be lost, or when the batch
    claims what its bytes do not hold, text that is not UTF-8 among it: those who read on would crash.
    """
    check_sound(batch)
    if not wanted.names:
        return batch.select([])  # Keeps the count of the rows.
    arrays = [plain_array(batch.column(column.name), column.type) for column in wanted]
    return pa.RecordBatch.from_arrays(arrays, schema=wanted)


def same(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The common type of files that say their types: the same one, or none."""
    return one if one == other else None

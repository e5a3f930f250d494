"""Iceberg tables: a table's folder, of which the newest metadata counts, or one metadata file. No catalog is needed.

The library plans which data files a filter leaves and reads them one after the other. Files are found relative to the
table, wherever it was written, and never outside of the product's folder or the bucket.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from flightmesh.errors import FlightmeshError
from flightmesh.product.model import Source
from flightmesh.sources.arrow_types import plain_schema
from flightmesh.sources.base import Fetch, Narrowing, Pushed, SourceHandle, invalid, unavailable
from flightmesh.sources.conditions import expression, fitted, words
from flightmesh.sources.dataset import (
    Batches,
    asked,
    checked,
    narrowed,
    shaped,
    under_way,
    wanted_words,
    where,
    with_columns_of,
)
from flightmesh.sources.filesystems import Place
from flightmesh.sources.lakehouse import Pin, open_table, reading
from flightmesh.sources.predicate import (
    AllOf,
    AnyOf,
    Compare,
    IsNull,
    IsPresent,
    OneOf,
    Predicate,
    all_of,
    columns_of,
    conjuncts,
)
from flightmesh.sources.secrets import Secrets

_NUMBER = re.compile(r"v?(\d+)")
_CLASSES = {
    "=": "EqualTo",
    "<>": "NotEqualTo",
    "<": "LessThan",
    "<=": "LessThanOrEqual",
    ">": "GreaterThan",
    ">=": "GreaterThanOrEqual",
}
# Only types whose order and equality are the same in SQL, in the statistics of files, and in the library.
_COMPARED = (pa.types.is_integer, pa.types.is_string, pa.types.is_date, pa.types.is_decimal)


@dataclass(frozen=True, slots=True)
class _State:
    """The table as one snapshot left it; Any: the library's values, which it imports late. ``snapshot`` is None for a
    table that was never written to.
    """

    metadata: Any
    files: Any
    snapshot: int | None
    columns: Any
    table: Any

    @property
    def schema(self) -> pa.Schema:
        from pyiceberg.io.pyarrow import schema_to_pyarrow

        return plain_schema(schema_to_pyarrow(self.columns, include_field_ids=False))


@dataclass(frozen=True, slots=True)
class IcebergSource:
    """The rows of one snapshot of an Iceberg table, by the names of its files."""

    source: str
    place: Place
    pin: Pin

    def schema(self) -> pa.Schema:
        with reading(self.place, "Iceberg", "pyiceberg"):
            return self._state().schema

    def read(self) -> pa.RecordBatchReader:
        with reading(self.place, "Iceberg", "pyiceberg"):
            state = self._state()
            schema = state.schema
        return under_way(self.source, schema, self._rows(state, schema, schema, None)).reader

    def fingerprint(self) -> str:
        with reading(self.place, "Iceberg", "pyiceberg"):
            state = self._state()
            return f"iceberg:{state.metadata.table_uuid}:{state.snapshot}:{state.columns.schema_id}"

    def pushed(self, narrowing: Narrowing) -> Pushed:
        try:
            with reading(self.place, "Iceberg", "pyiceberg"):
                state = self._state()
                predicate, left = _pushable(narrowing.predicate, state)
                kept, total = len(_tasks(state, predicate)), len(_tasks(state, None))
        except FlightmeshError:
            return asked(narrowing)
        text = f"read {wanted_words(narrowing)} of {kept} file{'' if kept == 1 else 's'} of snapshot {state.snapshot}"
        pruned = f"{total - kept} of {total} files" if kept < total else None
        return Pushed(text + where(predicate, None if left else narrowing.limit), left, pruned)

    def fetch(self, narrowing: Narrowing, schema: pa.Schema) -> Fetch:
        wanted = narrowed(narrowing, schema)
        with reading(self.place, "Iceberg", "pyiceberg"):
            state = self._state()
            everything = checked(self.source, state.schema, wanted, self.place.path)
            predicate, left = _pushable(narrowing.predicate, state)
        needed = with_columns_of(predicate, wanted, everything)
        limit = None if left else narrowing.limit
        return under_way(self.source, wanted, self._rows(state, wanted, needed, predicate, limit))

    def _rows(
        self, state: _State, wanted: pa.Schema, needed: pa.Schema, predicate: Predicate | None, limit: int | None = None
    ) -> Batches:
        """The rows file by file, so that no more than one is held."""
        with reading(self.place, "Iceberg", "pyiceberg"):
            from pyiceberg.io.pyarrow import ArrowScan

            names = needed.names or state.schema.names[:1]
            scan = ArrowScan(state.metadata, state.files, state.columns.select(*names), _rendered(predicate))
            for task in _tasks(state, predicate):
                for batch in scan.to_record_batches([task]):
                    found = shaped(batch, needed)
                    kept = found if predicate is None else found.filter(expression(predicate))
                    yield (kept.select(wanted.names) if limit is None else kept.select(wanted.names).slice(0, limit))
                    if limit is not None:
                        limit -= kept.num_rows
                        if limit <= 0:
                            return

    def _state(self) -> _State:
        from pyiceberg.serializers import FromInputFile
        from pyiceberg.table import StaticTable

        root, newest = self._newest()
        files = _files(self.place, root)
        at = f"{files.address}/{newest.removeprefix(root).lstrip('/')}"
        metadata = FromInputFile.table_metadata(files.new_input(at))
        files.written_at = metadata.location
        # Not StaticTable.from_metadata, which lets the table's own properties choose the class that opens files.
        table = StaticTable((self.source,), metadata, at, files, None)  # type: ignore[arg-type]
        snapshot = self._snapshot(table)
        columns = table.scan(snapshot_id=snapshot).projection() if snapshot is not None else metadata.schema()
        return _State(metadata, files, snapshot, columns, table)

    def _newest(self) -> tuple[str, str]:
        """The table's folder and its newest metadata file."""
        path = self.place.path.rstrip("/")
        if path.endswith(".metadata.json"):
            return str(Path(path).parent.parent), path
        listing = replace(self.place, path=f"{path}/metadata/*.metadata.json")
        parts = [(_NUMBER.match(part.name.rpartition("/")[2]), part) for part in listing.parts()]
        return path, max(parts, key=lambda found: (int(found[0][1]) if found[0] else -1, found[1].mtime_ns))[1].name

    def _snapshot(self, table: Any) -> int | None:  # Any: the library's table
        if self.pin.version is not None:
            if table.snapshot_by_id(self.pin.version) is None:
                raise unavailable(self.source, f"{self.place.path} has no snapshot {self.pin.version}.")
            return self.pin.version
        found = table.current_snapshot()
        if self.pin.time is not None:
            found = table.snapshot_as_of_timestamp(int(self.pin.time.timestamp() * 1000))
            if found is None:
                message = f"{self.place.path} has no snapshot as old as {self.pin.time.isoformat()}."
                raise unavailable(self.source, message)
        return None if found is None else int(found.snapshot_id)


def open_iceberg(folder: Path, name: str, spec: Source, secrets: Secrets) -> SourceHandle:
    """The source as one table under the source's own name."""
    place, pin = open_table(folder, name, spec, secrets)
    return SourceHandle(name, {(name,): IcebergSource(name, place, pin)})


def _files(place: Place, root: str) -> Any:  # Any: a FileIO, whose class the library brings
    """The table's files as the library opens them: those of the table by their place in it, others of the same folder
    or bucket by their own, no others.
    """
    from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

    class Confined(PyArrowFileIO):
        address = "table:/"
        written_at = "table:/"

        def new_input(self, location: str) -> PyArrowFile:
            return PyArrowFile(location, self._key(location), place.store.filesystem)

        def _key(self, location: str) -> str:
            plain, home = (_address(text).rstrip("/") for text in (location, self.written_at))
            for start, key in ((self.address, root), (home, root), (_address(place.prefix).rstrip("/"), "")):
                if plain.startswith(start + "/") and ".." not in plain.split("/"):
                    inner = f"{key}/{plain[len(start) + 1 :]}".lstrip("/")
                    if place.store.is_local:
                        place.confined(inner)
                    return f"{place.prefix.rstrip('/')}/{inner}"
            raise invalid(place.source, f"the metadata of {place.path} names a file outside of the table.")

    return Confined({})


def _address(location: str) -> str:
    """The location without what is spelled in several ways: ``file:///a``, ``file:/a``, ``/a``; ``s3a``, ``s3``."""
    if location.startswith("table:"):
        return location
    bare = re.sub(r"^(?:file|s3[an]?|gcs|gs):/*", "", location)
    return bare.lstrip("/")


def _tasks(state: _State, predicate: Predicate | None) -> list[Any]:  # Any: the library's tasks
    """The data files that the filter leaves, by name."""
    if state.snapshot is None:
        return []
    scan = state.table.scan(row_filter=_rendered(predicate), snapshot_id=state.snapshot)
    return sorted(scan.plan_files(), key=lambda task: str(task.file.file_path))


def _pushable(predicate: Predicate | None, state: _State) -> tuple[Predicate | None, tuple[str, ...]]:
    """The parts that the library filters by exactly as SQL does; the others in words."""
    now = state.metadata.schema()
    kept: list[Predicate] = []
    fit, left = fitted(predicate, state.schema)
    for part in conjuncts(fit):
        # The library binds filters to the newest columns, also where an older snapshot is read.
        if all(now.find_column_name(state.columns.find_field(n).field_id) == n for n in columns_of(part)) and _is_exact(
            part
        ):
            kept.append(part)
        else:
            left += (f"{words(part)}: Iceberg filters differ from SQL's for it",)
    return all_of(tuple(kept)), left


def _is_exact(predicate: Predicate) -> bool:
    match predicate:
        case AllOf(parts) | AnyOf(parts):
            return all(map(_is_exact, parts))
        case Compare(_, op, value):
            return _is_compared(value.type) or (pa.types.is_boolean(value.type) and op in ("=", "<>"))
        case OneOf(_, values):
            return _is_compared(values.type)
    return True


def _is_compared(kind: pa.DataType) -> bool:
    return any(test(kind) for test in _COMPARED) or (pa.types.is_timestamp(kind) and kind.unit == "us")


def _rendered(predicate: Predicate | None) -> Any:  # Any: the library's expressions
    import pyiceberg.expressions as ice

    match predicate:
        case None:
            return ice.AlwaysTrue()
        case AllOf(parts):
            return functools.reduce(ice.And, map(_rendered, parts))
        case AnyOf(parts):
            return functools.reduce(ice.Or, map(_rendered, parts))
        case Compare(column, op, value):
            return getattr(ice, _CLASSES[op])(ice.Reference(column), value.as_py())
        case OneOf(column, values):
            among: Any = ice.In  # Its types do not know how it is called.
            return among(ice.Reference(column), values.to_pylist())
        case IsNull(column):
            return ice.IsNull(term=ice.Reference(column))
        case IsPresent(column):
            return ice.NotNull(term=ice.Reference(column))

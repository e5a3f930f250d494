"""Delta Lake tables: the newest version, or a pinned one. The log says which files belong to it.

Files are read as Parquet sources are, partitions pruned. Tables whose files cannot be read without the log, because
rows are deleted or columns renamed in it alone, are read by the library and filtered here.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from flightmesh.errors import FlightmeshError
from flightmesh.product.model import Source
from flightmesh.sources.arrow_types import plain_schema
from flightmesh.sources.base import Fetch, Narrowing, Pushed, SourceHandle, invalid, unavailable
from flightmesh.sources.dataset import (
    Batches,
    Listing,
    Scan,
    asked,
    checked,
    described,
    fetch,
    narrowed,
    shaped,
    under_way,
    wanted_words,
)
from flightmesh.sources.filesystems import CONNECT_S, Part, Place, patience_s, timeout_s
from flightmesh.sources.lakehouse import Pin, open_table, reading
from flightmesh.sources.parquet import ParquetFormat
from flightmesh.sources.secrets import Secrets

_HARMLESS_FEATURES = {"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"}
_LEFT = "every filter: rows are deleted or columns renamed in the table's log, so the library reads it"


@dataclass(frozen=True, slots=True)
class DeltaSource:
    """The rows of one version of a Delta table, by the names of its files."""

    source: str
    place: Place
    pin: Pin
    timeout: float
    retries: int

    def schema(self) -> pa.Schema:
        with reading(self.place, "Delta", "deltalake"):
            return _schema(self._open())

    def read(self) -> pa.RecordBatchReader:
        with reading(self.place, "Delta", "deltalake"):
            table = self._open()
            schema = _schema(table)
            if _needs_library(table):
                return under_way(self.source, schema, self._scanned(table, schema)).reader
            scan = Scan(self.source, ParquetFormat(self.source), self._listing(table), schema, schema)
            return under_way(self.source, schema, scan.batches()).reader

    def fingerprint(self) -> str:
        with reading(self.place, "Delta", "deltalake"):
            table = self._open()
            return f"delta:{table.metadata().id}:{table.version()}"

    def pushed(self, narrowing: Narrowing) -> Pushed:
        try:
            with reading(self.place, "Delta", "deltalake"):
                table = self._open()
                if _needs_library(table):
                    return Pushed(f"read {wanted_words(narrowing)} of version {table.version()}", (_LEFT,))
                listing = self._listing(table)
        except FlightmeshError:
            return asked(narrowing)
        return described(ParquetFormat(self.source), lambda: listing, narrowing)

    def fetch(self, narrowing: Narrowing, schema: pa.Schema) -> Fetch:
        with reading(self.place, "Delta", "deltalake"):
            table = self._open()
            if not _needs_library(table):
                return fetch(self.source, ParquetFormat(self.source), self._listing(table), narrowing, schema)
            wanted = narrowed(narrowing, schema)
            checked(self.source, _schema(table), wanted, self.place.path)
            return under_way(self.source, wanted, self._scanned(table, wanted))

    def _open(self) -> Any:  # Any: deltalake's table
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        options = None if self.place.store.is_local else self._options()
        address = self._address()
        if self.place.store.is_local and not Path(address, "_delta_log").is_dir():
            raise unavailable(self.source, f"{self.place.path} is no Delta table.")
        if self.place.store.is_local:
            self.place.confine_all()
        table = DeltaTable(address, storage_options=options)
        if self.pin.version is not None:
            try:
                table.load_as_version(self.pin.version)
            except DeltaError as error:
                message = f"{self.place.path} has no version {self.pin.version}."
                raise unavailable(self.source, message) from error
        if self.pin.time is not None:
            self._load_at(table, self.pin.time)
        return table

    def _load_at(self, table: Any, time: dt.datetime) -> None:  # Any: deltalake's table
        # For a time before the first version the library loads that one; and it can only tell the times of all
        # versions while the newest is loaded.
        written_ms = {commit.get("version"): commit.get("timestamp", 0) for commit in table.history()}
        table.load_as_version(time)
        if written_ms.get(table.version(), 0) > time.timestamp() * 1000:
            raise unavailable(self.source, f"{self.place.path} has no version as old as {time.isoformat()}.")

    def _address(self) -> str:
        """Where the table lies, as the library wants it."""
        if self.place.store.is_local:
            return str(Path(self.place.prefix, self.place.path))
        return f"s3://{self.place.prefix}{self.place.path}"

    def _options(self) -> dict[str, str]:
        """The options of the store in the words of the library."""
        given = self.place.store.options
        found = {_WORDS[name]: str(value) for name, value in given.items() if name in _WORDS}
        if "endpoint_override" in given:
            found["AWS_ENDPOINT_URL"] = f"{given.get('scheme', 'https')}://{given['endpoint_override']}"
        found["AWS_ALLOW_HTTP"] = str(given.get("scheme") == "http").lower()
        if "access_key" not in given:
            found["AWS_SKIP_SIGNATURE"] = "true"
        found.setdefault("AWS_REGION", "us-east-1")
        patience = given.get("request_timeout", patience_s(self.timeout, self.retries + 1))
        bounds = {"connect_timeout": CONNECT_S, "timeout": patience, "retry_timeout": self.timeout}
        found |= {name: f"{int(value * 1000)}ms" for name, value in bounds.items()}
        return found | {"max_retries": str(self.retries)}

    def _listing(self, table: Any) -> Listing:  # Any: deltalake's table
        """The files of the version, by name, with the values of their partitions."""
        actions = pa.table(table.get_add_actions(flatten=True)).sort_by("path")
        schema = _schema(table)
        partitions = pa.schema([schema.field(name) for name in table.metadata().partition_columns])
        columns = [actions.column(f"partition.{field.name}").cast(field.type) for field in partitions]
        names = map(unquote, actions.column("path").to_pylist())
        sizes = actions.column("size_bytes").to_pylist()
        times = actions.column("modification_time").to_pylist()
        parts = tuple(map(self._part, names, sizes, times))
        values = {part.name: tuple(column[at] for column in columns) for at, part in enumerate(parts)}
        return Listing(parts, partitions, values, schema)

    def _part(self, name: str, size: int, modified_ms: int) -> Part:
        if "://" in name or name.startswith("/") or ".." in name.split("/"):
            raise invalid(self.source, f"the log of {self.place.path} names a file outside of the table.")
        shown = f"{self.place.path.rstrip('/')}/{name}"
        key = str(Path(self.place.prefix, shown)) if self.place.store.is_local else self.place.prefix + shown
        return Part(shown, self.place.store, key, size, modified_ms * 1_000_000)

    def _scanned(self, table: Any, schema: pa.Schema) -> Batches:  # Any: deltalake's table
        """The rows as the library reads them: those of the log's deletions are not among them."""
        with reading(self.place, "Delta", "deltalake"):
            self._listing(table)  # Refuses files outside of the table.
            names = schema.names or _schema(table).names[:1]
            for batch in pa.RecordBatchReader.from_stream(table.scan(columns=names)):
                yield shaped(batch, schema)


def open_delta(folder: Path, name: str, spec: Source, secrets: Secrets) -> SourceHandle:
    """The source as one table under the source's own name."""
    place, pin = open_table(folder, name, spec, secrets)
    if not (place.store.is_local or (spec.path or "").startswith("s3://")):
        raise invalid(name, "Delta tables are read from s3:// or from the product's folder.")
    table = DeltaSource(name, place, pin, timeout_s(name, spec), spec.retries)
    return SourceHandle(name, {(name,): table})


_WORDS = {
    "access_key": "AWS_ACCESS_KEY_ID",
    "secret_key": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
    "region": "AWS_REGION",
}


def _schema(table: Any) -> pa.Schema:  # Any: deltalake's table
    return plain_schema(pa.schema(table.schema().to_arrow()))


def _needs_library(table: Any) -> bool:  # Any: deltalake's table
    """Whether the files do not say by themselves which rows and columns the table has."""
    protocol = table.protocol()
    mapped = table.metadata().configuration.get("delta.columnMapping.mode", "none") != "none"
    return mapped or not set(protocol.reader_features or ()) <= _HARMLESS_FEATURES

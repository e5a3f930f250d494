"""Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from flightmesh.product.model import Source
from flightmesh.sources.base import BATCH_ROWS, SourceHandle, invalid, unavailable
from flightmesh.sources.files import File, find_file, fingerprint


@dataclass(frozen=True, slots=True)
class ParquetTable:
    """Rows of one Parquet file."""

    source: str
    file: File

    def schema(self) -> pa.Schema:
        """The schema in the footer, without file-level metadata."""
        try:
            return pq.read_schema(self.file.path).remove_metadata()
        except pa.ArrowInvalid as error:
            raise invalid(self.source, f"{self.file.name} is not a Parquet file, or it is damaged.") from error
        except OSError as error:
            raise unavailable(self.source, f"the file {self.file.name} cannot be read.") from error

    def read(self) -> pa.RecordBatchReader:
        schema = self.schema()
        return pa.RecordBatchReader.from_batches(schema, self._batches(schema))

    def fingerprint(self) -> str:
        return fingerprint(self.source, (self.file,))

    def _batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        # Not pyarrow.dataset: importing it imports pandas where that is installed.
        try:
            with pq.ParquetFile(self.file.path) as parquet:
                for batch in parquet.iter_batches(BATCH_ROWS):
                    yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
        except (pa.ArrowException, OSError) as error:
            message = f"{self.file.name} cannot be read to its end; it may be damaged."
            raise unavailable(self.source, message) from error


def open_parquet(folder: Path, name: str, spec: Source) -> SourceHandle:
    """The source as one table under the source's own name."""
    return SourceHandle(name, {(name,): ParquetTable(name, find_file(folder, name, spec))})

"""Parquet files: one file, or several of equal schema that a glob pattern names, read in the order of their names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from flightmesh.product.model import Source
from flightmesh.sources.base import BATCH_ROWS, SourceHandle, invalid, unavailable
from flightmesh.sources.files import File, find_files, fingerprint


@dataclass(frozen=True, slots=True)
class ParquetTable:
    """Rows of the files, one after the other."""

    source: str
    files: tuple[File, ...]

    def schema(self) -> pa.Schema:
        """The schema of the first footer, without file-level metadata; INVALID when another file differs."""
        first = self._footer(self.files[0])
        for file in self.files[1:]:
            if not self._footer(file).equals(first):
                raise invalid(self.source, f"the columns of {file.name} differ from those of {self.files[0].name}.")
        return first

    def read(self) -> pa.RecordBatchReader:
        schema = self.schema()
        return pa.RecordBatchReader.from_batches(schema, self._batches(schema))

    def fingerprint(self) -> str:
        return fingerprint(self.source, self.files)

    def _batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        # Not pyarrow.dataset: importing it imports pandas where that is installed.
        for file in self.files:
            try:
                with pq.ParquetFile(file.path) as parquet:
                    for batch in parquet.iter_batches(BATCH_ROWS):
                        yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
            except (pa.ArrowException, OSError) as error:
                raise unavailable(self.source, f"{file.name} cannot be read to its end; it may be damaged.") from error

    def _footer(self, file: File) -> pa.Schema:
        try:
            return pq.read_schema(file.path).remove_metadata()
        except pa.ArrowInvalid as error:
            raise invalid(self.source, f"{file.name} is not a Parquet file, or it is damaged.") from error
        except OSError as error:
            raise unavailable(self.source, f"the file {file.name} cannot be read.") from error


def open_parquet(folder: Path, name: str, spec: Source) -> SourceHandle:
    """The source as one table under the source's own name."""
    return SourceHandle(name, {(name,): ParquetTable(name, find_files(folder, name, spec))})

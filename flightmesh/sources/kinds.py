"""The table of kinds of sources: the type in the manifest to the function that opens it. A new kind is a new row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.model import Source
from flightmesh.sources.adbc import open_adbc
from flightmesh.sources.arrow import open_arrow
from flightmesh.sources.base import SourceHandle
from flightmesh.sources.csv import open_csv
from flightmesh.sources.delta import open_delta
from flightmesh.sources.flightsql import open_flightsql
from flightmesh.sources.iceberg import open_iceberg
from flightmesh.sources.json import open_json
from flightmesh.sources.parquet import open_parquet
from flightmesh.sources.postgres import open_postgres
from flightmesh.sources.secrets import Secrets
from flightmesh.sources.sqlite import open_sqlite

OpenSource = Callable[[Path, str, Source, Secrets], SourceHandle]

KINDS: Mapping[str, OpenSource] = {
    "adbc": open_adbc,
    "arrow": open_arrow,
    "csv": open_csv,
    "delta": open_delta,
    "flightsql": open_flightsql,
    "iceberg": open_iceberg,
    "json": open_json,
    "parquet": open_parquet,
    "postgres": open_postgres,
    "sqlite": open_sqlite,
}


def open_source(
    folder: Path, name: str, spec: Source, /, *, secrets: Secrets | None = None, kinds: Mapping[str, OpenSource] = KINDS
) -> SourceHandle:
    """The source, opened: files are found, nothing read yet; databases are not reached before something is asked.

    Errors: INVALID or UNAVAILABLE naming the source; UNSUPPORTED for kinds that this version does not read.
    """
    if spec.type not in kinds:
        readable = ", ".join(sorted(kinds))
        raise FlightmeshError(
            ErrorCode.UNSUPPORTED, f"Source {name}: type {spec.type} is not active yet.", hint=f"Active: {readable}."
        )
    return kinds[spec.type](folder, name, spec, secrets or Secrets())

"""The table of kinds of sources: the type in the manifest to the function that opens it. A new kind is a new row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.model import Source
from flightmesh.sources.base import SourceHandle
from flightmesh.sources.csv import open_csv
from flightmesh.sources.parquet import open_parquet
from flightmesh.sources.sqlite import open_sqlite

OpenSource = Callable[[Path, str, Source], SourceHandle]

KINDS: Mapping[str, OpenSource] = {"csv": open_csv, "parquet": open_parquet, "sqlite": open_sqlite}


def open_source(folder: Path, name: str, spec: Source, /, *, kinds: Mapping[str, OpenSource] = KINDS) -> SourceHandle:
    """The source, opened: files are found, tables listed, nothing read yet.

    Errors: INVALID or UNAVAILABLE naming the source; UNSUPPORTED for kinds and modes that this version does not read.
    """
    if spec.type not in kinds:
        readable = ", ".join(sorted(kinds))
        raise FlightmeshError(
            ErrorCode.UNSUPPORTED, f"Source {name}: type {spec.type} is not active yet.", hint=f"Active: {readable}."
        )
    if spec.mode != "snapshot":
        raise FlightmeshError(
            ErrorCode.UNSUPPORTED, f"Source {name}: mode {spec.mode} is not active yet.", hint="Use mode: snapshot."
        )
    return kinds[spec.type](folder, name, spec)

"""What tests of live sources share: an opened source, its tables, and what a fetch brings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.model import Source
from flightmesh.sources.base import LiveTable, Narrowing, SourceHandle
from flightmesh.sources.kinds import open_source
from flightmesh.sources.predicate import Predicate
from flightmesh.sources.secrets import Secrets


@contextmanager
def opened(
    keys: Mapping[str, object], secrets: Secrets | None = None, *, folder: Path | None = None
) -> Iterator[SourceHandle]:
    """The source ``tms`` with these keys, closed afterwards."""
    handle = open_source(folder or Path(), "tms", Source.model_validate(keys), secrets=secrets)
    try:
        yield handle
    finally:
        handle.close()


def table(handle: SourceHandle, name: str) -> LiveTable:
    """The table, which has to be one that can be read live."""
    found = handle.tables[(handle.name, name)]
    assert isinstance(found, LiveTable)
    return found


def fetched(
    found: LiveTable,
    *columns: str,
    where: Predicate | None = None,
    limit: int | None = None,
    schema: pa.Schema | None = None,
) -> pa.Table:
    """The rows of a fetch of these columns (none: all), closed afterwards."""
    schema = schema or found.schema()
    narrowing = Narrowing(columns or None, where, limit)
    fetch = found.fetch(narrowing, pa.schema([schema.field(name) for name in columns or schema.names]))
    try:
        return fetch.reader.read_all()
    finally:
        fetch.close()


def failure(act: Callable[[], object], *, within_s: float = 5.0) -> FlightmeshError:
    """The error that the act raises, within that time."""
    start = time.monotonic()
    try:
        act()
    except FlightmeshError as error:
        assert time.monotonic() - start < within_s
        return error
    raise AssertionError("nothing was raised")


def waited(condition: Callable[[], bool], *, within_s: float = 10.0) -> None:
    """Returns as soon as the condition holds, which has to be within that time."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_down(error: FlightmeshError) -> bool:
    """Whether the error says that the source is not there."""
    return error.code in (ErrorCode.UNAVAILABLE, ErrorCode.DEADLINE)

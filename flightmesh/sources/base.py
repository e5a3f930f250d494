"""What a source is to those who read it: tables with a schema, a stream and a fingerprint.

An author of a new kind of source imports this module and nothing else of the room. Errors name a source by its name
in the product and files relative to the product's folder, never by a path of the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from flightmesh.errors import ErrorCode, FlightmeshError

# Rows of one batch handed to the engine: large enough that the cost of a batch does not count, small enough to stay
# in cache.
BATCH_ROWS = 65_536


class SourceTable(Protocol):
    """One table of a source. ``schema()`` equals ``read().schema``; both raise INVALID or UNAVAILABLE."""

    def schema(self) -> pa.Schema:
        """The columns, without reading more than is needed to know them."""
        ...

    def read(self) -> pa.RecordBatchReader:
        """All rows, in the source's own order."""
        ...

    def fingerprint(self) -> str:
        """A hash of the content: equal content, equal fingerprint."""
        ...


@dataclass(frozen=True, slots=True)
class SourceHandle:
    """An opened source: its tables by the path under which models name them, ``("weather",)`` or ``("reference",
    "airlines")``.
    """

    name: str
    tables: Mapping[tuple[str, ...], SourceTable]


def invalid(source: str, message: str, hint: str | None = None) -> FlightmeshError:
    """The source's content or description is wrong. ``hint`` may quote data and is for the author alone."""
    return FlightmeshError(ErrorCode.INVALID, f"Source {source}: {message}", hint=hint)


def unavailable(source: str, message: str, hint: str | None = None) -> FlightmeshError:
    """The source cannot be reached."""
    return FlightmeshError(ErrorCode.UNAVAILABLE, f"Source {source}: {message}", hint=hint)

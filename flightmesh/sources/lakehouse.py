"""What Delta and Iceberg tables have in common: where they lie, which state is meant, libraries that are extras.

The metadata of such a table names files by address. None is followed out of the product's folder or the bucket.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.model import Source
from flightmesh.sources.base import invalid, unavailable
from flightmesh.sources.filesystems import Place, open_place, unreachable
from flightmesh.sources.secrets import Secrets


@dataclass(frozen=True, slots=True)
class Pin:
    """Which state of the table is meant: a version, the one at a time, or the newest (both None)."""

    version: int | None
    time: dt.datetime | None


def open_table(folder: Path, name: str, spec: Source, secrets: Secrets) -> tuple[Place, Pin]:
    """Where the table lies and which state is meant; INVALID when the manifest is wrong in one of them."""
    if spec.version is not None and spec.timestamp is not None:
        raise invalid(name, "version and timestamp are both given.", "Keep one of them.")
    place = open_place(folder, name, spec, secrets)
    return place, Pin(spec.version, None if spec.timestamp is None else _time(name, spec.timestamp))


def _time(source: str, text: str) -> dt.datetime:
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise invalid(source, f"{text!r} is not a time with a zone.", "Write for example 2026-01-31T12:00:00Z.")
    return found


@contextmanager
def reading(place: Place, kind: str, package: str) -> Iterator[None]:
    """Turns everything that the library raises into ours: INVALID for what is no such table, UNAVAILABLE for what
    cannot be reached, UNSUPPORTED where the library is missing.
    """
    source = place.source
    try:
        yield
    except FlightmeshError:
        raise
    except ImportError as error:
        message = f"Source {source}: {kind} tables need the package {package}, which is not installed."
        hint = f"pip install 'flightmesh[{kind.lower()}]'."
        raise FlightmeshError(ErrorCode.UNSUPPORTED, message, hint=hint) from error
    except FileNotFoundError as error:
        raise unavailable(source, f"{place.path} is no {kind} table, or a file of it is missing.") from error
    except OSError as error:
        raise unreachable(source, place.store, place.path, error) from error
    except Exception as error:
        # A door to a library that parses what strangers wrote: whatever it stumbles over is in the table. Its text
        # shows paths.
        message = f"{place.path} does not read as {kind} table of that version."
        raise invalid(source, message, f"The library's word is {type(error).__name__}.") from error

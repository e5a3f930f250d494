"""What the shape of a source cannot say: keys that its type takes, times, secrets, and parts that exclude each other.

Nothing is reached and nothing is opened: files are looked for, addresses are read as text.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator

from flightmesh.product.adbc import is_profile, is_sqlite, reserved
from flightmesh.product.document import Step
from flightmesh.product.draft import Draft
from flightmesh.product.durations import EXAMPLES, seconds
from flightmesh.product.model import Source
from flightmesh.product.paths import near_file, outside
from flightmesh.product.problems import Problem
from flightmesh.product.words import place

_SERVER = {"uri", "schema_", "tables", "options", "timeout", "connections", "retries"}
_REMOTE_FILES = {"path", "options", "timeout", "retries"}
# What each type takes beside what all take. Names of attributes; the key ``schema`` has an underscore there.
_KEYS: dict[str, set[str]] = {
    "parquet": _REMOTE_FILES,
    "csv": {*_REMOTE_FILES, "types", "null_values", "delimiter"},
    "json": {*_REMOTE_FILES, "types"},
    "arrow": _REMOTE_FILES,
    "sqlite": {"path", "tables"},
    "postgres": _SERVER,
    "flightsql": _SERVER,
    "adbc": {*_SERVER, "driver"},
    "delta": {*_REMOTE_FILES, "version", "timestamp"},
    "iceberg": {*_REMOTE_FILES, "version", "timestamp"},
}
# These have places in the manifest of their own meaning, or problems of their own elsewhere.
_KEYS_OF_ALL = {"type", "mode", "every", "stale", "schema_drift"}
_NEEDED = {"postgres": "uri", "flightsql": "uri", "adbc": "driver"}
_SCHEMES = {
    "postgres": (r"postgres(?:ql)?://|[a-z_]+ *=", "postgresql://user@host:5432/database"),
    "flightsql": (r"grpc(?:\+tcp|\+tls)?://", "grpc://host:31337, or grpc+tls://host:31337"),
}
_SECRET = re.compile(r"\$\{secret:[A-Za-z_][A-Za-z0-9_]{0,62}\}")
_SECRET_HINT = "Write ${secret:NAME} with letters, digits and _."
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# Where a secret stood there is "\0": what is left of a password then was written openly.
_OPEN_PASSWORD = re.compile(
    r"""://[^:@/?#]*:\0*[^@/?#\0][^@/?#]*@|(?:^|[\s?&;])(?:password|pwd)\s*=\s*'?[^\s'&;\0]""", re.IGNORECASE
)


def check_source(draft: Draft, name: str, source: Source) -> Iterator[Problem]:
    """All that is wrong with the source beyond its shape."""
    yield from _keys(draft, name, source)
    yield from _needed(draft, name, source)
    yield from _path(draft, name, source)
    yield from _address(draft, name, source)
    yield from _driver(draft, name, source)
    yield from _times(draft, name, source)
    yield from _secrets(draft, name, source)
    yield from _tables(draft, name, source)
    if len(source.delimiter) != 1:
        steps: list[Step] = ["sources", name, "delimiter"]
        yield draft.document.problem(steps, f"{place(steps)} must be one character.")


def source_notices(draft: Draft) -> Iterator[Problem]:
    """What works and should not be so: addresses with a password for all to read. The password is not told."""
    for name, source in (draft.sources or {}).items():
        if source is not None and source.uri is not None and _OPEN_PASSWORD.search(_SECRET.sub("\0", source.uri)):
            steps: list[Step] = ["sources", name, "uri"]
            hint = "Write ${secret:NAME} in its place; the password must not be told."
            yield draft.document.problem(steps, f"{place(steps)} holds a password.", hint)


def keys_of(kind: str) -> tuple[str, ...]:
    """The keys that a source of the type takes beside those that every source takes, as they are written."""
    return tuple(sorted(key.rstrip("_") for key in _KEYS.get(kind, ())))


def is_listed_at_build(source: Source) -> bool:
    """Whether only the source itself knows its tables: a database whose tables the manifest does not name."""
    return "tables" in _KEYS.get(source.type, ()) and not source.tables


def _keys(draft: Draft, name: str, source: Source) -> Iterator[Problem]:
    allowed = _KEYS[source.type]
    for key in sorted(source.model_fields_set - allowed - _KEYS_OF_ALL):
        steps: list[Step] = ["sources", name, key.rstrip("_")]
        message = f"{place(steps)} does not apply to a source of type {source.type}."
        takes = ", ".join(sorted(each.rstrip("_") for each in allowed))
        yield draft.document.problem(steps, message, f"It takes {takes}.", key=True)


def _needed(draft: Draft, name: str, source: Source) -> Iterator[Problem]:
    steps: list[Step] = ["sources", name]
    key = _NEEDED.get(source.type, "path")
    if getattr(source, key) is None:
        hint = f"For example {_SCHEMES[source.type][1]}." if source.type in _SCHEMES else None
        yield draft.document.problem(steps, f"{place(steps)} needs a {key}.", hint, key=True)


def _path(draft: Draft, name: str, source: Source) -> Iterator[Problem]:
    path, steps = source.path, ["sources", name, "path"]
    if path is None or "path" not in _KEYS[source.type] or (_URI.match(path) and source.type != "sqlite"):
        return
    reason = outside(draft.folder, path)
    if reason is not None:
        yield draft.document.problem(steps, f"{place(steps)}: {path!r} {reason}.", "Keep files below product.yaml.")
    elif source.type == "sqlite" and not (draft.folder / path).is_file():
        hint = near_file(draft.folder, path)
        yield draft.document.problem(steps, f"{place(steps)}: there is no file {path}.", hint)
    elif source.type != "sqlite" and not _is_there(draft, path):
        hint = "The pattern fits none." if _is_pattern(path) else near_file(draft.folder, path)
        yield draft.document.problem(steps, f"{place(steps)}: there is no file {path}.", hint)


def _is_pattern(path: str) -> bool:
    return any(char in path for char in "*?[")


def _is_there(draft: Draft, path: str) -> bool:
    if _is_pattern(path):
        return next(draft.folder.glob(path), None) is not None
    return (draft.folder / path).exists()


def _address(draft: Draft, name: str, source: Source) -> Iterator[Problem]:
    if source.uri is None or source.type not in _SCHEMES or source.uri.startswith("${"):
        return
    pattern, example = _SCHEMES[source.type]
    if re.match(pattern, source.uri) is None:
        steps: list[Step] = ["sources", name, "uri"]
        message = f"{place(steps)} is no address of a source of type {source.type}."
        yield draft.document.problem(steps, message, f"For example {example}.")


def _driver(draft: Draft, name: str, source: Source) -> Iterator[Problem]:
    """What would make ADBC's driver manager load code or read files of the machine."""
    if source.type not in ("adbc", "flightsql"):
        return
    option = reserved(source.options)
    if option is not None:
        steps: list[Step] = ["sources", name, "options", option]
        hint = "It would choose what code is loaded."
        yield draft.document.problem(steps, f"{place(steps)} is not for a manifest to give.", hint, key=True)
    if source.type == "adbc" and is_profile(source.uri):
        steps = ["sources", name, "uri"]
        message = f"{place(steps)} names a profile, a file of the machine."
        yield draft.document.problem(steps, message, "Give the address of the database.")
    if source.type == "adbc" and is_sqlite(source.driver):
        steps = ["sources", name, "driver"]
        message = f"{place(steps)}: {source.driver} opens any file of the machine."
        yield draft.document.problem(steps, message, "Use type: sqlite.")


def _times(draft: Draft, name: str, source: Source) -> Iterator[Problem]:
    at: list[Step] = ["sources", name]
    for key, text in (("timeout", source.timeout), ("every", source.every)):
        if text is not None and seconds(text) is None:
            message = f"{place([*at, key])}: {text!r} is not a length of time."
            yield draft.document.problem([*at, key], message, EXAMPLES)
    if source.mode == "live":
        for key, value in (("every", source.every), ("stale", source.stale)):
            if value not in (None, "refuse"):
                message = f"{place([*at, key])} does not apply to mode live."
                yield draft.document.problem([*at, key], message, "It belongs to mode snapshot.", key=True)
    if source.timestamp is not None:
        yield from _timestamp(draft, [*at, "timestamp"], source)


def _timestamp(draft: Draft, steps: list[Step], source: Source) -> Iterator[Problem]:
    if source.version is not None:
        message = f"{place(steps)} and version exclude each other."
        yield draft.document.problem(steps, message, "Give one of them.", key=True)
    try:
        zone = datetime.datetime.fromisoformat(str(source.timestamp)).tzinfo
    except ValueError:
        zone = None
    if zone is None:
        message = f"{place(steps)}: {source.timestamp!r} is not a time with its zone."
        yield draft.document.problem(steps, message, "Write for example 2026-01-31T12:00:00Z.")


def _secrets(draft: Draft, name: str, source: Source) -> Iterator[Problem]:
    places: list[tuple[list[Step], str]] = [
        (["sources", name, "options", key], value) for key, value in source.options.items() if isinstance(value, str)
    ]
    if source.uri is not None:
        places.append((["sources", name, "uri"], source.uri))
    for steps, text in places:
        if "${" in _SECRET.sub("", text):
            yield draft.document.problem(steps, f"{place(steps)} refers to no secret.", _SECRET_HINT)
    if source.path is not None and "${" in source.path:
        steps = ["sources", name, "path"]
        yield draft.document.problem(steps, f"{place(steps)} cannot hold a secret.", "Secrets go into options.")


def _tables(draft: Draft, name: str, source: Source) -> Iterator[Problem]:
    for index, table in enumerate(source.tables):
        if table in source.tables[:index]:
            steps: list[Step] = ["sources", name, "tables", index]
            yield draft.document.problem(steps, f"The table {table} is listed twice.")

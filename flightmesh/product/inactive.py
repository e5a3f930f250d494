"""What the format knows and this version does not do yet. Nothing is ignored without a word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flightmesh.product.document import Document, Step
from flightmesh.product.problems import Problem
from flightmesh.product.words import one_of, place

ACTIVE_SOURCES = (
    "parquet",
    "csv",
    "json",
    "arrow",
    "sqlite",
    "postgres",
    "flightsql",
    "adbc",
    "delta",
    "iceberg",
)

# Places of keys (``*`` for any key or index) to the values that are active there. An empty tuple: none is.
_NOT_ACTIVE: dict[tuple[str, ...], tuple[object, ...]] = {
    ("sources", "*", "schema_drift"): (),
    # This one belongs to a kind of source that is not active.
    ("sources", "*", "port"): (),
    ("models", "*", "materialize"): (),
    ("ports", "*", "versions"): (),
    ("ports", "*", "accelerate"): ("auto",),
    ("ports", "*", "ingest"): (),
    ("policies", "*", "grant"): ("read",),
    ("policies", "*", "algorithm"): (),
    ("policies", "*", "min_group"): (),
    ("quality",): (),
    ("algorithms",): (),
    ("apps",): (),
    ("exposures",): (),
}
# Without these a product cannot be served, so they are problems and not notices.
_NEEDED: dict[tuple[str, ...], tuple[object, ...]] = {
    ("sources", "*", "type"): ACTIVE_SOURCES,
}


def inactive(document: Document) -> list[Problem]:
    """A notice for each key or value of the manifest that is accepted and has no effect yet."""
    found = _with_values(document, _NOT_ACTIVE)
    return [_problem(document, path, active, "It has no effect.") for path, active in found]


def unservable(document: Document, known_types: Sequence[str]) -> list[Problem]:
    """A problem for each value without which the product cannot be served; values of the wrong shape are told of
    elsewhere.
    """
    known = {*known_types}
    found = [(path, active) for path, active in _with_values(document, _NEEDED) if _value(document, path) in known]
    return [_problem(document, path, active, f"Active now: {one_of(map(str, active))}.") for path, active in found]


def activity(pattern: tuple[str, ...]) -> tuple[object, ...] | None:
    """The active values of the key at a place; empty when the key or one above it is not active, None when all are."""
    if any(_NOT_ACTIVE.get(pattern[:length]) == () for length in range(1, len(pattern))):
        return ()
    return {**_NOT_ACTIVE, **_NEEDED}.get(pattern)


def _problem(document: Document, path: list[Step], active: tuple[object, ...], hint: str) -> Problem:
    text = f"{place(path)}: {_value(document, path)}" if active else place(path)
    return document.problem(path, f"{text} is not active yet.", hint, key=not active)


def _with_values(
    document: Document, table: dict[tuple[str, ...], tuple[object, ...]]
) -> Iterator[tuple[list[Step], tuple[object, ...]]]:
    for pattern, active in table.items():
        for path in _matching(document, pattern):
            value = _value(document, path)
            # A value of the wrong shape is the schema's matter.
            is_judged = isinstance(value, str) if active else value is not None
            if is_judged and value not in active:
                yield path, active


def _value(document: Document, path: Sequence[Step]) -> object:
    node = document.find(path)
    return None if node is None else node.value


def _matching(document: Document, pattern: tuple[str, ...]) -> Iterator[list[Step]]:
    paths: list[list[Step]] = [[]]
    for word in pattern:
        paths = [[*path, step] for path in paths for step in _steps(document, path, word)]
    yield from paths


def _steps(document: Document, path: list[Step], word: str) -> list[Step]:
    node = document.find(path)
    if node is None:
        return []
    return list(node.children) if word == "*" else [word] if word in node.children else []

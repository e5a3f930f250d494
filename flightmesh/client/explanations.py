"""What a server says of how it would answer a statement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Dataset:
    """A table of a source, as OpenLineage names it."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Relation:
    """A table that the statement reads. ``read_at`` (ISO 8601) is None for one that is read when it is queried;
    ``stale`` says why its rows could not be read again; ``policy`` what the caller does not see.
    """

    table: str
    is_live: bool
    snapshot: str
    read_at: str | None
    stale: str | None
    policy: tuple[str, ...]
    upstream: tuple[Dataset, ...]


@dataclass(frozen=True, slots=True)
class SourceRead:
    """What a source is asked, what is left to the engine and why, and what is pruned."""

    source: str
    kind: str
    table: str
    pushed: str
    left: tuple[str, ...]
    pruned: str | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a statement is answered. ``reason`` says why it is not ``pushed_whole``; None where nothing is live."""

    engine: str
    columns: tuple[tuple[str, str], ...]
    relations: tuple[Relation, ...]
    pushed_whole: bool
    reason: str | None
    sources: tuple[SourceRead, ...]
    is_plan_cached: bool


def explanation_of(answer: Mapping[str, Any]) -> Explanation:  # Any: JSON of a server, which may be newer than this
    """The answer of the action query.explain."""
    return Explanation(
        engine=answer["engine"],
        columns=tuple((name, kind) for name, kind in answer["columns"]),
        relations=tuple(map(_relation, answer["relations"])),
        pushed_whole=answer["pushed_whole"],
        reason=answer["reason"],
        sources=tuple(map(_source, answer["sources"])),
        is_plan_cached=answer["is_plan_cached"],
    )


def _relation(answer: Mapping[str, Any]) -> Relation:  # Any: as above
    upstream = tuple(Dataset(dataset["namespace"], dataset["name"]) for dataset in answer["upstream"])
    return Relation(
        answer["table"],
        answer["is_live"],
        answer["snapshot"],
        answer["read_at"],
        answer["stale"],
        tuple(answer["policy"]),
        upstream,
    )


def _source(answer: Mapping[str, Any]) -> SourceRead:  # Any: as above
    return SourceRead(
        answer["source"],
        answer["kind"],
        answer["table"],
        answer["pushed"],
        tuple(answer["left"]),
        answer["pruned"],
    )

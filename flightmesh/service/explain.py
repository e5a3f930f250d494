"""``query.explain``: how a statement is answered, as its own principal may know it.

Nothing is read. What a source is asked is shown only where the policy hides no row, value or column from the
principal: the text would tell of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from flightmesh.config import Limits
from flightmesh.engine.base import Plan
from flightmesh.engine.explain import Read
from flightmesh.names import TableName
from flightmesh.planner.pipeline import Planner, Typed
from flightmesh.planner.scope import Scope
from flightmesh.planner.surface import Surface, SurfaceTable
from flightmesh.planner.upstream import upstream
from flightmesh.service.admission import Admission
from flightmesh.service.generations import Generations
from flightmesh.service.sessions import Session
from flightmesh.sources.naming import Dataset

_WITHHELD = "not shown: a policy is part of it"


@dataclass(frozen=True, slots=True)
class RelationNote:
    """A port that the statement reads. ``read_at`` is when its rows were read (ISO 8601), None for one that is read
    when it is queried; ``stale`` why they could not be read again; ``policy`` what the caller does not see, in words.
    """

    table: str
    is_live: bool
    snapshot: str
    read_at: str | None
    stale: str | None
    policy: tuple[str, ...]
    upstream: tuple[Dataset, ...]


@dataclass(frozen=True, slots=True)
class SourceNote:
    """A read of a source: what it is asked, what is left to the engine and why, and what is pruned."""

    source: str
    kind: str
    table: str
    pushed: str
    left: tuple[str, ...]
    pruned: str | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a statement is answered. ``pushed_whole`` says whether one database answers all of it, ``reason`` why not."""

    engine: str
    columns: tuple[tuple[str, str], ...]
    relations: tuple[RelationNote, ...]
    pushed_whole: bool
    reason: str | None
    sources: tuple[SourceNote, ...]
    is_plan_cached: bool


class Explanations:
    """Explains statements for their principals."""

    def __init__(
        self,
        generations: Generations,
        planner: Planner,
        reads: Callable[[Plan], tuple[Read, ...]],
        admission: Admission,
        limits: Limits,
        scope: Callable[[Session, Surface, str | None], Scope],
    ) -> None:
        self._scope = scope
        self._generations = generations
        self._planner = planner
        self._reads = reads
        self._admission = admission
        self._limits = limits

    def explain(self, session: Session, sql: str, transaction: str | None = None) -> Explanation:
        """The explanation; errors as those of preparing the statement. Parameters count as NULL."""
        with self._admission.place(session.principal.name):
            return self._explain(session, sql, transaction)

    def text(self, session: Session, sql: str, transaction: str | None) -> str:
        """The explanation as lines of text, for EXPLAIN."""
        return "\n".join(_lines(self.explain(session, sql, transaction)))

    def _explain(self, session: Session, sql: str, transaction: str | None) -> Explanation:
        surface = self._generations.surface(session.principal)
        scope = self._scope(session, surface, transaction)
        is_cached = self._planner.is_prepared(surface, sql, scope)
        prepared = self._planner.prepare(surface, sql, scope)
        typed = self._planner.typed(prepared, None)
        plan = self._planner.plan_unbound(typed)
        tables = _tables(surface, typed)
        is_open = all(map(_is_open, tables))
        return Explanation(
            engine=plan.engine,
            columns=tuple((field.name, str(field.type)) for field in prepared.schema),
            relations=tuple(self._relation(surface, table) for table in tables),
            pushed_whole=plan.remote is not None,
            reason=_reason(self._planner.pushdown(typed, plan.parameters).reason, is_open=is_open),
            sources=tuple(_source(read, is_open=is_open) for read in self._reads(plan)),
            is_plan_cached=is_cached,
        )

    def _relation(self, surface: Surface, table: SurfaceTable) -> RelationNote:
        shown = table.shown
        product = self._generations.product(surface.generation, table.name.product)
        model = product.ports[table.name.table].model
        return RelationNote(
            str(table.name),
            table.live is not None,
            shown.snapshot,
            read_at(shown.built_at),
            shown.stale,
            tuple(_policy(table)),
            upstream(product, model, limits=self._limits),
        )


def _reason(reason: str | None, *, is_open: bool) -> str | None:
    return reason if reason is None or is_open else _WITHHELD


def _lines(found: Explanation) -> Iterator[str]:
    yield f"Answered by: {'the source itself' if found.pushed_whole else found.engine}"
    yield f"Columns: {', '.join(f'{name} {kind}' for name, kind in found.columns)}"
    for relation in found.relations:
        when = "queried now" if relation.is_live else f"read at {relation.read_at}"
        yield f"Reads {relation.table} ({when}). {' '.join(relation.policy)}"
    for source in found.sources:
        yield f"Asks {source.source} ({source.kind}) for {source.table}: {source.pushed}"
    if found.reason is not None:
        yield f"Not pushed whole: {found.reason}"


def read_at(seconds: float | None) -> str | None:
    """The time (seconds since 1970) in ISO 8601 with zone; None for None."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _is_open(table: SurfaceTable) -> bool:
    """Whether no policy hides anything of the port from this reader: not a row, a value or a column."""
    return not (table.shown.has_row_filter or table.shown.masked or table.shown.has_hidden_columns)


def _policy(table: SurfaceTable) -> list[str]:
    words = ["Only rows that a row filter lets through."] if table.shown.has_row_filter else []
    if table.shown.masked:
        words.append(f"Masked columns: {', '.join(table.shown.masked)}.")
    return words or ["All rows and columns that are offered, as they are."]


def _source(read: Read, *, is_open: bool) -> SourceNote:
    if read.pushed is None:
        return SourceNote(read.source, read.kind, ".".join(read.path), f"not known now: {read.reason}", (), None)
    if not is_open:
        return SourceNote(read.source, read.kind, ".".join(read.path), _WITHHELD, (), None)
    pushed = read.pushed
    return SourceNote(read.source, read.kind, ".".join(read.path), pushed.text, pushed.left, pushed.pruned)


def _tables(surface: Surface, typed: Typed) -> list[SurfaceTable]:
    """The ports that the statement reads, each once."""
    paths = dict.fromkeys(typed.prepared.guarded.resolved.relations)
    names = (TableName(*path) for path in paths if len(path) == 3)
    # The session's own tables are no ports: there is nothing to tell of them.
    return [surface.tables[name] for name in names if name in surface.tables]

"""SELECTs of sessions: planned on what the principal sees and the session holds, typed, and run."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass

import pyarrow as pa

from flightmesh.engine.base import Engine, Execution, Temporary
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import fold, nearest
from flightmesh.planner.pipeline import Planner, Prepared, Typed
from flightmesh.planner.scope import Scope
from flightmesh.planner.surface import Surface
from flightmesh.service.admission import Admission
from flightmesh.service.generations import Generations
from flightmesh.service.running import Watch
from flightmesh.service.sessions import Session
from flightmesh.service.temporary import Temporaries


@dataclass(frozen=True, slots=True)
class Ready:
    """An approved statement, on the Surface that it was approved for."""

    surface: Surface
    prepared: Prepared


class Statements:
    """Plans and runs SELECTs for one node."""

    def __init__(
        self,
        *,
        generations: Generations,
        planner: Planner,
        engine: Engine,
        admission: Admission,
        temporaries: Temporaries,
    ) -> None:
        self._generations = generations
        self._planner = planner
        self._engine = engine
        self._admission = admission
        self._temporaries = temporaries

    def surface(self, session: Session, generation: str | None = None) -> Surface:
        """What the session's principal sees of a generation (None: the current)."""
        return self._generations.surface(session.principal, generation)

    def scope(self, session: Session, surface: Surface, transaction: str | None = None) -> Scope:
        """Where the session's short names are looked up."""
        own = self._visible(session, transaction)
        if session.catalog is None and session.schema is None:
            return Scope(temporaries=own)
        catalog, schema = defaults(surface, session.catalog, session.schema)
        is_there = any(name.catalog == catalog and schema in (None, name.schema) for name in surface.tables)
        return Scope(catalog, schema, own) if is_there else Scope(temporaries=own)

    def _visible(self, session: Session, transaction: str | None) -> Mapping[str, Temporary]:
        """The temporary tables. A transaction that was forgotten (by time, or a restart) is no matter to who has none:
        drivers begin one for whoever only reads.
        """
        try:
            return self._temporaries.visible(session, transaction)
        except FlightmeshError:
            if transaction is None or self._temporaries.visible(session):
                raise
            return {}

    def ready(
        self,
        session: Session,
        sql: str,
        transaction: str | None = None,
        *,
        surface: Surface | None = None,
        is_written_here: bool = False,
    ) -> Ready:
        """The statement approved and bound; no row is read. ``is_written_here``: the text was made of the caller's."""
        surface = surface or self.surface(session)
        scope = self.scope(session, surface, transaction)
        return Ready(surface, self._planner.prepare(surface, sql, scope, is_written_here=is_written_here))

    def typed(self, ready: Ready, values: pa.RecordBatch | None) -> Typed:
        """The statement with its parameters typed as bound; INVALID for a statement with parameters and no values."""
        if values is None:
            refuse_unbound(ready.prepared)
        return self._planner.typed(ready.prepared, None if values is None else values.schema)

    @contextmanager
    def opened(
        self, session: Session, surface: Surface, typed: Typed, values: pa.RecordBatch | None, watch: Watch
    ) -> Iterator[Iterator[Execution]]:
        """An execution for each row of values, one after the other, while the block runs; it takes a place in
        admission and holds the generation.
        """
        with (
            self._generations.hold(surface.generation),
            self._admission.place(session.principal.name, watch),
            # Closed here and not when an error, which keeps frames alive, is collected.
            closing(self._executions(typed, values)) as executions,
        ):
            yield executions

    def _executions(self, typed: Typed, values: pa.RecordBatch | None) -> Generator[Execution]:
        rows = range(1) if values is None else range(values.num_rows)
        for row in rows:
            execution = self._engine.execute(self._planner.plan(typed, values, row))
            try:
                yield execution
            finally:
                execution.close()


def refuse_unbound(prepared: Prepared) -> None:
    """Nothing; INVALID when the statement has parameters."""
    if len(prepared.parameters):
        raise FlightmeshError(
            ErrorCode.INVALID,
            f"Parameters of the statement: {len(prepared.parameters)}; none is bound.",
            hint="Prepare it and bind one row of values.",
        )


def defaults(surface: Surface, catalog: str | None, schema: str | None) -> tuple[str | None, str | None]:
    """The default catalogue and schema as the Surface spells them; a schema alone brings its catalogue.

    Errors: NOT_FOUND for a catalogue or schema that the principal does not see, INVALID for a schema that several
    catalogues have.
    """
    known = {(name.catalog, name.schema) for name in surface.tables} | {path[:2] for path in _unavailable(surface)}
    catalogs = {found for found, _ in known}
    if catalog is not None:
        found = next((name for name in catalogs if fold(name) == fold(catalog)), None)
        if found is None:
            raise _unknown("catalogue", catalog, catalogs)
        catalog = found
    if schema is None:
        return catalog, None
    fitting = [pair for pair in known if fold(pair[1]) == fold(schema) and catalog in (None, pair[0])]
    if not fitting:
        raise _unknown("schema", schema, {name for found, name in known if catalog in (None, found)})
    if len(fitting) > 1:
        raise FlightmeshError(
            ErrorCode.INVALID,
            f"Several catalogues have a schema {schema[:200]}.",
            hint=f"Name the catalogue too, {'.'.join(min(fitting))} for example.",
        )
    return fitting[0]


def _unavailable(surface: Surface) -> Iterator[tuple[str, str]]:
    """Products that cannot be read now: a default that names one is not wrong."""
    for path in surface.namespace.unavailable:
        if len(path) == 2:
            yield path[0], path[1]


def _unknown(kind: str, name: str, known: set[str]) -> FlightmeshError:
    close = nearest(name, sorted(known))
    hint = f"Did you mean {close}?" if close else "The catalogue lists what you may read."
    return FlightmeshError(ErrorCode.NOT_FOUND, f"There is no {kind} {name[:200]}.", hint=hint)

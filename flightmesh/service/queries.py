"""Statements as the doors need them: describe, prepare, bind, issue tickets, execute.

Preparing reads no row; only constants are evaluated. What a client holds between two calls is signed and complete;
nothing is remembered here for correctness.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

import pyarrow as pa

from flightmesh.config import Limits
from flightmesh.engine.base import Engine, Execution
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flightsql.handles import (
    PreparedHandle,
    Signer,
    StatementTicket,
    open_prepared,
    open_ticket,
    seal_prepared,
    seal_ticket,
)
from flightmesh.planner.pipeline import Planner, Prepared, Typed, select_all
from flightmesh.planner.surface import Surface
from flightmesh.service.admission import Admission
from flightmesh.service.bindings import Bindings
from flightmesh.service.generations import Generations
from flightmesh.service.sessions import Session

# The doors know executions through this room; what stands behind them is not theirs to import.
__all__ = ["Described", "Execution", "PreparedStatement", "Queries", "Running"]


@dataclass(frozen=True, slots=True)
class Described:
    """A statement ready to be fetched: the schema of its result and the ticket for it."""

    schema: pa.Schema
    ticket: bytes
    expires_at: float


@dataclass(frozen=True, slots=True)
class PreparedStatement:
    """The answer to a prepare: the handle, the result's schema and the parameters' schema."""

    handle: bytes
    dataset_schema: pa.Schema
    parameter_schema: pa.Schema


@dataclass(frozen=True, slots=True)
class Running:
    """A statement to be run: its schema, and executions to be opened one after the other as the stream is read.

    ``open`` takes the place in admission and the hold on the generation, so it must be entered where it is sure to be
    left.
    """

    schema: pa.Schema
    open: Callable[[], AbstractContextManager[Iterator[Execution]]]


@dataclass(frozen=True, slots=True)
class _Planned:
    surface: Surface
    typed: Typed
    values: pa.RecordBatch | None


class Queries:
    """The chain from a statement to its stream, for one node."""

    def __init__(
        self,
        *,
        generations: Generations,
        planner: Planner,
        engine: Engine,
        admission: Admission,
        bindings: Bindings,
        signer: Signer,
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        self._generations = generations
        self._planner = planner
        self._engine = engine
        self._admission = admission
        self._bindings = bindings
        self._signer = signer
        self._limits = limits
        self._clock = clock

    def describe(self, session: Session, sql: str) -> pa.Schema:
        """The schema of the statement's result."""
        return self._prepare(session, sql)[1].schema

    def statement(self, session: Session, sql: str) -> Described:
        """A ticket for the statement; INVALID when it has parameters, which only a prepared statement can bind."""
        surface, prepared = self._prepare(session, sql)
        _refuse_unbound(prepared)
        return self._described(session, surface, sql, prepared.schema, (None, None))

    def table(self, session: Session, path: tuple[str, ...]) -> Described:
        """A ticket for all rows of the table of a path descriptor (``domain``, ``product``, ``port``; or some of
        them joined by dots).
        """
        parts = tuple(".".join(path).split("."))
        if not any(parts) or len(parts) > self._limits.path_depth_max:
            raise FlightmeshError(
                ErrorCode.INVALID, "The path is empty or too long.", hint="Write domain, product, port."
            )
        return self.statement(session, select_all(self._generations.surface(session.principal), parts))

    def prepare(self, session: Session, sql: str) -> PreparedStatement:
        """A handle for the statement; nothing is executed."""
        surface, prepared = self._prepare(session, sql)
        handle = self._handle(session, surface, sql, (None, None))
        return PreparedStatement(handle, prepared.schema, prepared.parameters)

    def bind(self, session: Session, handle: bytes, values: pa.RecordBatch) -> bytes:
        """A handle for the same statement with these values; one row is one set of parameters."""
        opened, surface, prepared = self._reopen(session, handle)
        if values.num_rows > self._limits.parameters_rows_max:
            raise FlightmeshError(
                ErrorCode.INVALID,
                f"{values.num_rows} rows of parameters were bound; {self._limits.parameters_rows_max} are allowed.",
                hint="Bind fewer rows at a time.",
            )
        if values.num_columns == 0 and not len(prepared.parameters):
            return handle
        self._planner.typed(prepared, values.schema)
        return self._handle(session, surface, opened.sql, self._bindings.put(values))

    def prepared(self, session: Session, handle: bytes) -> Described:
        """A ticket for a prepared statement with the values bound to it."""
        opened, surface, prepared = self._reopen(session, handle)
        typed = self._typed(prepared, self._bindings.get(opened.parameters, opened.parameters_ref))
        return self._described(session, surface, opened.sql, typed.schema, (opened.parameters, opened.parameters_ref))

    def describe_prepared(self, session: Session, handle: bytes) -> pa.Schema:
        """The schema of a prepared statement's result, with the values bound so far taken into account."""
        opened, _, prepared = self._reopen(session, handle)
        values = self._bindings.get(opened.parameters, opened.parameters_ref)
        return prepared.schema if values is None else self._typed(prepared, values).schema

    def close_prepared(self, session: Session, handle: bytes) -> None:
        """Checks the handle; there is nothing to free, because a handle is all there is."""
        self._reopen_handle(session, handle)

    def run(self, session: Session, ticket_bytes: bytes) -> Running:
        """The statement of a ticket, authorised anew: the same principal, seeing what it saw when it got the ticket."""
        ticket = open_ticket(self._signer, ticket_bytes, now=self._clock())
        _check_holder(session, ticket.principal)
        surface = self._generations.surface(session.principal, ticket.generation)
        if surface.id != ticket.surface:
            raise FlightmeshError(
                ErrorCode.UNAUTHENTICATED, "The ticket was issued under another policy.", hint="Ask for a new ticket."
            )
        prepared = self._planner.prepare(surface, ticket.sql, catalog=ticket.catalog, schema=ticket.schema)
        values = self._bindings.get(ticket.parameters, ticket.parameters_ref)
        return self._running(session, _Planned(surface, self._typed(prepared, values), values))

    def run_sql(self, session: Session, sql: str) -> Running:
        """The statement without a ticket, for clients that fetch it in one call."""
        surface, prepared = self._prepare(session, sql)
        _refuse_unbound(prepared)
        return self._running(session, _Planned(surface, self._typed(prepared, None), None))

    def run_prepared(self, session: Session, handle: bytes) -> Running:
        """The prepared statement without a ticket, for clients that send its handle as one."""
        opened, surface, prepared = self._reopen(session, handle)
        values = self._bindings.get(opened.parameters, opened.parameters_ref)
        return self._running(session, _Planned(surface, self._typed(prepared, values), values))

    def _prepare(self, session: Session, sql: str) -> tuple[Surface, Prepared]:
        surface = self._generations.surface(session.principal)
        return surface, self._planner.prepare(surface, sql, catalog=session.catalog, schema=session.schema)

    def _typed(self, prepared: Prepared, values: pa.RecordBatch | None) -> Typed:
        if values is None:
            _refuse_unbound(prepared)
        return self._planner.typed(prepared, None if values is None else values.schema)

    def _running(self, session: Session, planned: _Planned) -> Running:
        @contextmanager
        def opened() -> Iterator[Iterator[Execution]]:
            with ExitStack() as held:
                held.enter_context(self._generations.hold(planned.surface.generation))
                held.enter_context(self._admission.place(session.principal.name))
                yield self._executions(planned)

        return Running(planned.typed.schema, opened)

    def _executions(self, planned: _Planned) -> Iterator[Execution]:
        rows = range(1) if planned.values is None else range(planned.values.num_rows)
        for row in rows:
            execution = self._engine.execute(self._planner.plan(planned.typed, planned.values, row))
            try:
                yield execution
            finally:
                execution.close()

    def _described(
        self,
        session: Session,
        surface: Surface,
        sql: str,
        schema: pa.Schema,
        parameters: tuple[bytes | None, str | None],
    ) -> Described:
        expires_at = self._clock() + self._limits.ticket_ttl_s
        ticket = StatementTicket(
            principal=session.principal.name,
            surface=surface.id,
            generation=surface.generation,
            sql=sql,
            parameters=parameters[0],
            parameters_ref=parameters[1],
            nonce=secrets.token_urlsafe(8),
            catalog=session.catalog,
            schema=session.schema,
        )
        self._generations.lease(surface.generation, expires_at)
        return Described(schema, seal_ticket(self._signer, ticket, expires_at=expires_at), expires_at)

    def _handle(
        self, session: Session, surface: Surface, sql: str, parameters: tuple[bytes | None, str | None]
    ) -> bytes:
        handle = PreparedHandle(
            principal=session.principal.name,
            surface=surface.id,
            generation=surface.generation,
            sql=sql,
            catalog=session.catalog,
            schema=session.schema,
            parameters=parameters[0],
            parameters_ref=parameters[1],
            nonce=secrets.token_urlsafe(8),
        )
        return seal_prepared(self._signer, handle, expires_at=self._clock() + self._limits.prepared_ttl_s)

    def _reopen_handle(self, session: Session, handle: bytes) -> PreparedHandle:
        opened = open_prepared(self._signer, handle, now=self._clock())
        _check_holder(session, opened.principal)
        return opened

    def _reopen(self, session: Session, handle: bytes) -> tuple[PreparedHandle, Surface, Prepared]:
        """The statement of a handle, prepared on the current generation.

        A prepared statement outlives a reload: it is approved anew on what the principal sees now.
        """
        opened = self._reopen_handle(session, handle)
        surface = self._generations.surface(session.principal)
        prepared = self._planner.prepare(surface, opened.sql, catalog=opened.catalog, schema=opened.schema)
        return opened, surface, prepared


def _check_holder(session: Session, principal: str) -> None:
    if session.principal.name != principal:
        raise FlightmeshError(
            ErrorCode.UNAUTHENTICATED, "The ticket or handle was issued to somebody else.", hint="Ask for your own."
        )


def _refuse_unbound(prepared: Prepared) -> None:
    if len(prepared.parameters):
        raise FlightmeshError(
            ErrorCode.INVALID,
            f"Parameters of the statement: {len(prepared.parameters)}; none is bound.",
            hint="Prepare it and bind one row of values.",
        )

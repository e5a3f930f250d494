"""Statements as the doors need them: describe, prepare, bind, issue tickets, execute.

Preparing reads no row; only constants are evaluated. What a client holds between two calls is signed and complete;
nothing is remembered here for correctness. What writes is done by ``service/updates.py``.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import msgspec
import pyarrow as pa

from flightmesh.config import Limits
from flightmesh.engine.base import Execution
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
from flightmesh.planner.pipeline import Prepared, Typed, parts, select_all
from flightmesh.planner.surface import Surface
from flightmesh.service import shown
from flightmesh.service.bindings import Bindings
from flightmesh.service.generations import Generations
from flightmesh.service.options import Options, options_of
from flightmesh.service.running import RunningQueries, Stopped, Watch
from flightmesh.service.sessions import Session
from flightmesh.service.statements import Ready, Statements, refuse_unbound
from flightmesh.service.updates import Updates

# The doors know executions through this room; what stands behind them is not theirs to import.
__all__ = ["Described", "Execution", "PreparedStatement", "Queries", "Running", "Stopped"]

_EMPTY = pa.schema([])


@dataclass(frozen=True, slots=True)
class Described:
    """A statement ready to be fetched: the schema of its result, the tickets for its parts in order (one unless the
    client asks for more), the query's id.
    """

    schema: pa.Schema
    tickets: tuple[bytes, ...]
    expires_at: float
    id: str


@dataclass(frozen=True, slots=True)
class PreparedStatement:
    """The answer to a prepare: the handle, the result's schema (without columns for what writes) and the parameters'
    schema.
    """

    handle: bytes
    dataset_schema: pa.Schema
    parameter_schema: pa.Schema
    is_update: bool


@dataclass(frozen=True, slots=True)
class Running:
    """A statement to be run: its schema, and executions to be opened one after the other as the stream is read.

    ``open`` takes the place in admission and the hold on the generation, so it must be entered where it is sure to be
    left; ``enter`` puts the query among the running ones of this node.
    """

    schema: pa.Schema
    open: Callable[[Watch], AbstractContextManager[Iterator[Execution]]]
    enter: Callable[[Watch], AbstractContextManager[None]]
    timeout_s: float
    batch_bytes_max: int


class Queries:
    """The chain from a statement to its stream, for one node."""

    def __init__(
        self,
        *,
        generations: Generations,
        statements: Statements,
        updates: Updates,
        running: RunningQueries,
        bindings: Bindings,
        signer: Signer,
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        self._generations = generations
        self._statements = statements
        self._updates = updates
        self._running_queries = running
        self._bindings = bindings
        self._signer = signer
        self._limits = limits
        self._clock = clock

    def describe(self, session: Session, sql: str, transaction: str | None = None) -> pa.Schema:
        """The schema of the statement's result; without columns for a statement that writes."""
        if not self._updates.is_query(sql):
            return self._updates.schema(session, sql)
        return self._schema(session, self._statements.ready(session, sql, transaction).prepared)

    def statement(self, session: Session, sql: str, watch: Watch, transaction: str | None = None) -> Described:
        """A ticket for the statement. One that writes is executed here, once, and the ticket is for its count of rows.

        INVALID when it has parameters, which only a prepared statement can bind.
        """
        if not self._updates.is_query(sql):
            sql = self._updates.answer(session, sql, None, watch, transaction)
        ready = self._statements.ready(session, sql, transaction)
        refuse_unbound(ready.prepared)
        return self._described(session, ready.surface, sql, ready.prepared, (None, None), transaction)

    def table(self, session: Session, path: tuple[str, ...]) -> Described:
        """A ticket for all rows of the table of a path descriptor (``domain``, ``product``, ``port``; or some of
        them joined by dots; or a temporary table's name).
        """
        parts = tuple(".".join(path).split("."))
        if not any(parts) or len(parts) > self._limits.path_depth_max:
            raise FlightmeshError(
                ErrorCode.INVALID, "The path is empty or too long.", hint="Write domain, product, port."
            )
        surface = self._statements.surface(session)
        scope = self._statements.scope(session, surface)
        # A temporary table's name may hold dots.
        own = scope.temporary(path) or scope.temporary(parts)
        sql = select_all(surface, parts) if own is None else self._updates.select_all(own)
        ready = self._statements.ready(session, sql)
        return self._described(session, ready.surface, sql, ready.prepared, (None, None), None)

    def prepare(self, session: Session, sql: str, transaction: str | None = None) -> PreparedStatement:
        """A handle for the statement; nothing is executed."""
        if self._updates.is_query(sql):
            ready = self._statements.ready(session, sql, transaction)
            schema, parameters = self._schema(session, ready.prepared), ready.prepared.parameters
        else:
            schema, parameters = _EMPTY, self._updates.parameters(session, sql, transaction)
            if self._updates.answers(sql):
                schema = self._updates.schema(session, sql)
        handle = self._handle(session, sql, (None, None), transaction)
        declared = shown.parameters(parameters, options_of(session))
        return PreparedStatement(handle, schema, declared, is_update=not len(schema))

    def bind(self, session: Session, handle: bytes, values: pa.RecordBatch) -> bytes:
        """A handle for the same statement with these values; one row is one set of parameters."""
        opened, holder = self._opened(session, handle)
        self._check_rows(values)
        if self._updates.is_query(opened.sql):
            ready = self._statements.ready(holder, opened.sql, opened.transaction)
            if values.num_columns == 0 and not len(ready.prepared.parameters):
                return handle
            self._statements.typed(ready, values)
        elif values.num_columns != len(self._updates.parameters(holder, opened.sql, opened.transaction)):
            raise FlightmeshError(
                ErrorCode.INVALID,
                f"The values bound are not as many as the statement has parameters: {values.num_columns}.",
                hint="Bind one column per parameter.",
            )
        return self._handle(holder, opened.sql, self._bindings.put(values), opened.transaction)

    def prepared(self, session: Session, handle: bytes, watch: Watch) -> Described:
        """A ticket for a prepared statement with the values bound to it. One that writes is executed here, once."""
        opened, holder = self._opened(session, handle)
        bound = (opened.parameters, opened.parameters_ref)
        sql = opened.sql
        if not self._updates.is_query(sql):
            sql = self._updates.answer(holder, sql, self._bindings.get(*bound), watch, opened.transaction)
            bound = (None, None)
        ready = self._statements.ready(holder, sql, opened.transaction)
        typed = self._statements.typed(ready, self._bindings.get(*bound))
        return self._described(holder, ready.surface, sql, typed, bound, opened.transaction)

    def describe_prepared(self, session: Session, handle: bytes) -> pa.Schema:
        """The schema of a prepared statement's result, with the values bound so far taken into account."""
        opened, holder = self._opened(session, handle)
        if not self._updates.is_query(opened.sql):
            return self._updates.schema(holder, opened.sql)
        ready = self._statements.ready(holder, opened.sql, opened.transaction)
        values = self._bindings.get(opened.parameters, opened.parameters_ref)
        return self._schema(holder, ready.prepared if values is None else self._statements.typed(ready, values))

    def close_prepared(self, session: Session, handle: bytes) -> None:
        """Checks that the handle is one; there is nothing to free, because a handle is all there is. Java's client
        closes without credentials, so whose it is does not matter.
        """
        open_prepared(self._signer, handle, now=self._clock())

    def update(self, session: Session, sql: str, watch: Watch, transaction: str | None = None) -> int:
        """Executes a statement that writes; how many rows it wrote, 0 for what writes none."""
        return self._updates.run(session, sql, None, watch, transaction)

    def update_prepared(self, session: Session, handle: bytes, values: pa.RecordBatch | None, watch: Watch) -> int:
        """The same for a prepared statement: with these values, or with those bound before when there are none."""
        opened, holder = self._opened(session, handle)
        if values is None or values.num_columns == 0:
            values = self._bindings.get(opened.parameters, opened.parameters_ref)
        else:
            self._check_rows(values)
        return self._updates.run(holder, opened.sql, values, watch, opened.transaction)

    def run(self, session: Session, ticket_bytes: bytes) -> Running:
        """The statement of a ticket, authorised anew: the same principal, seeing what it saw when it got the ticket."""
        ticket = self._ticket(session, ticket_bytes)
        surface = self._statements.surface(session, ticket.generation)
        if surface.id != ticket.surface:
            raise FlightmeshError(
                ErrorCode.UNAUTHENTICATED, "The ticket was issued under another policy.", hint="Ask for a new ticket."
            )
        holder = replace(session, id=ticket.session or session.id, catalog=ticket.catalog, schema=ticket.schema)
        ready = self._statements.ready(holder, ticket.sql, ticket.transaction, surface=surface)
        values = self._bindings.get(ticket.parameters, ticket.parameters_ref)
        options = replace(options_of(session), dictionaries=ticket.encoded, java_types=ticket.java)
        return self._running(session, ready, values, ticket.sql, id_=ticket.nonce, options=options)

    def run_sql(self, session: Session, sql: str, transaction: str | None = None) -> Running:
        """The statement without a ticket, for clients that fetch it in one call."""
        if not self._updates.is_query(sql):
            sql = self._updates.explained(session, sql, transaction)
            ready = self._statements.ready(session, sql, transaction, is_written_here=True)
        else:
            ready = self._statements.ready(session, sql, transaction)
        return self._running(session, ready, None, sql)

    def run_prepared(self, session: Session, handle: bytes) -> Running:
        """The prepared statement without a ticket, for clients that send its handle as one."""
        opened, holder = self._opened(session, handle)
        if not self._updates.is_query(opened.sql):
            return self.run_sql(holder, opened.sql, opened.transaction)
        ready = self._statements.ready(holder, opened.sql, opened.transaction)
        values = self._bindings.get(opened.parameters, opened.parameters_ref)
        return self._running(holder, ready, values, opened.sql)

    def cancel(self, session: Session, ticket_bytes: bytes) -> Stopped:
        """Stops the query of a ticket, or keeps it from being started."""
        return self._running_queries.cancel(self._ticket(session, ticket_bytes).nonce)

    def renew(self, session: Session, ticket_bytes: bytes) -> tuple[bytes, float]:
        """The ticket with a new expiry (seconds since 1970), for the same query."""
        ticket = self._ticket(session, ticket_bytes)
        self._statements.surface(session, ticket.generation)
        expires_at = self._clock() + self._limits.ticket_ttl_s
        self._generations.lease(ticket.generation, expires_at)
        return seal_ticket(self._signer, ticket, expires_at=expires_at), expires_at

    def _schema(self, session: Session, planned: Typed | Prepared) -> pa.Schema:
        options = options_of(session)
        return shown.result(planned.encoded if options.dictionaries else planned.schema, options)

    def _running(
        self,
        session: Session,
        ready: Ready,
        values: pa.RecordBatch | None,
        sql: str,
        *,
        id_: str | None = None,
        options: Options | None = None,
    ) -> Running:
        typed, options = self._statements.typed(ready, values), options or options_of(session)
        known = id_ or _new_id()
        return Running(
            shown.result(typed.encoded if options.dictionaries else typed.schema, options),
            lambda watch: self._statements.opened(session, ready.surface, typed, values, watch),
            lambda watch: self._running_queries.entered(known, session, sql, watch),
            options.query_timeout_s or self._limits.query_timeout_s,
            options.batch_bytes_max or self._limits.batch_bytes_max,
        )

    def _described(
        self,
        session: Session,
        surface: Surface,
        sql: str,
        planned: Typed | Prepared,
        parameters: tuple[bytes | None, str | None],
        transaction: str | None,
    ) -> Described:
        expires_at, options, id_ = self._clock() + self._limits.ticket_ttl_s, options_of(session), _new_id()
        prepared = planned.prepared if isinstance(planned, Typed) else planned
        texts: tuple[str, ...] = (sql,)
        if options.endpoints_max > 1 and parameters == (None, None):
            texts = parts(prepared, sql, options.endpoints_max, self._limits.endpoint_rows_min)
        tickets = (
            StatementTicket(
                principal=session.principal.name,
                surface=surface.id,
                generation=surface.generation,
                sql=text,
                parameters=parameters[0],
                parameters_ref=parameters[1],
                # Parts of one result are run, and cancelled, each by itself.
                nonce=id_ if len(texts) == 1 else f"{id_}.{part}",
                catalog=session.catalog,
                schema=session.schema,
                session=session.id,
                transaction=transaction,
                encoded=options.dictionaries,
                java=options.java_types,
            )
            for part, text in enumerate(texts)
        )
        self._generations.lease(surface.generation, expires_at)
        sealed = tuple(seal_ticket(self._signer, ticket, expires_at=expires_at) for ticket in tickets)
        return Described(self._schema(session, planned), sealed, expires_at, id_)

    def _handle(
        self, session: Session, sql: str, parameters: tuple[bytes | None, str | None], transaction: str | None
    ) -> bytes:
        handle = PreparedHandle(
            principal=session.principal.name,
            sql=sql,
            catalog=session.catalog,
            schema=session.schema,
            parameters=parameters[0],
            parameters_ref=parameters[1],
            nonce=_new_id(),
            session=session.id,
            transaction=transaction,
        )
        return seal_prepared(self._signer, handle, expires_at=self._clock() + self._limits.prepared_ttl_s)

    def _opened(self, session: Session, handle: bytes) -> tuple[PreparedHandle, Session]:
        """The statement of a handle, and the session in which it was prepared. It is approved anew on what the
        principal sees now: a prepared statement outlives a reload, and a restart.
        """
        opened = open_prepared(self._signer, handle, now=self._clock())
        _check_holder(session, opened.principal)
        holder = replace(session, id=opened.session or session.id, catalog=opened.catalog, schema=opened.schema)
        transaction = self._updates.standing(holder, opened.transaction)
        return msgspec.structs.replace(opened, transaction=transaction), holder

    def _ticket(self, session: Session, ticket_bytes: bytes) -> StatementTicket:
        ticket = open_ticket(self._signer, ticket_bytes, now=self._clock())
        _check_holder(session, ticket.principal)
        return ticket

    def _check_rows(self, values: pa.RecordBatch) -> None:
        if values.num_rows > self._limits.parameters_rows_max:
            raise FlightmeshError(
                ErrorCode.INVALID,
                f"{values.num_rows} rows of parameters were bound; {self._limits.parameters_rows_max} are allowed.",
                hint="Bind fewer rows at a time.",
            )


def _new_id() -> str:
    return secrets.token_urlsafe(9)


def _check_holder(session: Session, principal: str) -> None:
    if session.principal.name != principal:
        raise FlightmeshError(
            ErrorCode.UNAUTHENTICATED, "The ticket or handle was issued to somebody else.", hint="Ask for your own."
        )

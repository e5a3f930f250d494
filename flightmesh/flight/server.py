"""The Flight server: each RPC decodes, calls one service method, encodes.

pyarrow fixes the names and signatures of the handlers. Every one of them runs under ``status.guarded``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl

from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flight import actions, uploads
from flightmesh.flight.actions import expiry
from flightmesh.flight.listeners import Listener
from flightmesh.flight.metadata import MetadataAnswers
from flightmesh.flight.middleware import (
    NAME,
    CertificateSessions,
    HandshakeHandler,
    SessionMiddlewareFactory,
    session_of,
)
from flightmesh.flight.status import for_get_schema, guarded, guarded_stream, outward
from flightmesh.flight.streams import data_stream, table_stream
from flightmesh.flight.watcher import Watched, Watcher
from flightmesh.flightsql import messages as m
from flightmesh.flightsql.codec import encode, unpack
from flightmesh.service.options import options_of
from flightmesh.service.queries import Described, Running
from flightmesh.service.sessions import Session
from flightmesh.service.updates import Ingest

_ALLOWED = "Statements, prepared statements, ingest into temporary tables and the metadata commands are offered."


@dataclass(frozen=True, slots=True)
class _Upload:
    """One DoPut: its call, what the client sends, and the watch over both."""

    context: fl.ServerCallContext
    reader: fl.MetadataRecordBatchReader
    watched: Watched


class FlightServer(fl.FlightServerBase):
    """Flight SQL over the services."""

    def __init__(
        self,
        listener: Listener,
        *,
        services: actions.Services,
        metadata: MetadataAnswers,
        middleware: SessionMiddlewareFactory | CertificateSessions,
        watcher: Watcher,
        limits: Limits,
    ) -> None:
        self._queries = services.queries
        self._services = services
        self._metadata = metadata
        self._watcher = watcher
        self._limits = limits
        super().__init__(
            listener.location,
            # With a handler, pyarrow does not tell whose certificate a caller has.
            auth_handler=HandshakeHandler() if listener.client_ca is None else None,
            tls_certificates=None if listener.tls is None else [listener.tls],
            verify_client=listener.client_ca is not None,
            root_certificates=listener.client_ca,
            middleware={NAME: middleware},
        )

    @guarded
    def list_flights(self, context: fl.ServerCallContext, criteria: bytes) -> Iterator[fl.FlightInfo]:
        """One FlightInfo per visible port; ``criteria`` is the start of a dotted name, or empty."""
        session, prefix = session_of(context), criteria.decode(errors="replace")
        names = [entry.name for entry in self._metadata.ports(session) if str(entry.name).startswith(prefix)]
        return guarded_stream((self._port_info(session, (n.catalog, n.schema, n.table)) for n in names), "list_flights")

    @guarded
    def get_flight_info(self, context: fl.ServerCallContext, descriptor: fl.FlightDescriptor) -> fl.FlightInfo:
        """The schema and the ticket of a statement, a path or a metadata command. Only a statement that writes is
        executed here: there are drivers that know no other way.
        """
        session = session_of(context)
        if descriptor.descriptor_type == fl.DescriptorType.PATH:
            return self._port_info(session, _path(descriptor))
        command = _message(descriptor.command)
        if self._metadata.answers(command):
            # As the reference servers do: the command itself is the ticket.
            endpoint = fl.FlightEndpoint(descriptor.command, [])
            return fl.FlightInfo(self._metadata.schema(command), descriptor, [endpoint], -1, -1)
        with self._watched(context, session) as watched:
            described = self._described(session, command, watched)
        return _info(descriptor, described)

    def get_schema(self, context: fl.ServerCallContext, descriptor: fl.FlightDescriptor) -> fl.SchemaResult:
        """The schema alone."""
        try:
            return fl.SchemaResult(self._schema(session_of(context), descriptor))
        except Exception as error:  # A door of its own: pyarrow passes only Arrow's exceptions on from here.
            failure = for_get_schema(outward(error, "get_schema"))
        raise failure

    @guarded
    def do_get(self, context: fl.ServerCallContext, ticket: fl.Ticket) -> fl.FlightDataStream:
        """The rows behind a ticket."""
        session, message = session_of(context), _ticket(ticket.ticket)
        if self._metadata.answers(message):
            bytes_max = options_of(session).batch_bytes_max or self._limits.batch_bytes_max
            return table_stream(self._metadata.table(session, message, bytes_max), bytes_max)
        running = self._run(session, message, ticket.ticket)
        return data_stream(running, context, watcher=self._watcher)

    @guarded
    def do_put(
        self,
        context: fl.ServerCallContext,
        descriptor: fl.FlightDescriptor,
        reader: fl.MetadataRecordBatchReader,
        writer: fl.FlightMetadataWriter,
    ) -> None:
        """Binds parameters, executes updates, takes rows into temporary tables; each answers with one message."""
        session = session_of(context)
        with self._watched(context, session) as watched:
            answer = self._put(session, descriptor, _Upload(context, reader, watched))
        writer.write(pa.py_buffer(encode(answer)))

    @guarded
    def do_exchange(
        self,
        context: fl.ServerCallContext,
        descriptor: fl.FlightDescriptor,
        reader: fl.MetadataRecordBatchReader,
        writer: fl.MetadataRecordBatchWriter,
    ) -> None:
        """Not offered by this version."""
        session_of(context)
        raise FlightmeshError(ErrorCode.UNSUPPORTED, "DoExchange is not offered by this version.")

    @guarded
    def do_action(self, context: fl.ServerCallContext, action: fl.Action) -> Iterator[bytes]:
        """The results of an action."""
        body = action.body.to_pybytes() if action.body is not None else b""
        limit = self._limits.action_body_bytes_max
        results = actions.run(self._services, session_of(context), action.type, body, body_bytes_max=limit)
        return guarded_stream(results, "do_action")

    @guarded
    def list_actions(self, context: fl.ServerCallContext) -> list[tuple[str, str]]:
        """Exactly the actions that do_action answers."""
        session_of(context)
        return [(name, action.description) for name, action in actions.ACTIONS.items()]

    def _watched(self, context: fl.ServerCallContext, session: Session) -> AbstractContextManager[Watched]:
        """The call under watch, for at most as long as the session's queries may take."""
        timeout_s = options_of(session).query_timeout_s or self._limits.query_timeout_s
        return self._watcher.watch(context, timeout_s)

    def _put(
        self, session: Session, descriptor: fl.FlightDescriptor, upload: _Upload
    ) -> m.DoPutUpdateResult | m.DoPutPreparedStatementResult:
        if descriptor.descriptor_type == fl.DescriptorType.PATH:
            return self._ingest(session, uploads.target_of_path(_path(descriptor), options_of(session)), upload)
        match _message(descriptor.command):
            case m.CommandPreparedStatementQuery(handle):
                # Binding executes nothing, and the handle goes to its client alone: one that has gone does no harm.
                values = self._values(upload)
                return m.DoPutPreparedStatementResult(self._queries.bind(session, handle, values))
            case m.CommandStatementUpdate(query, transaction):
                # The reader stays untouched: there are drivers that send no schema with it, and reading would raise.
                count = self._queries.update(session, query, upload.watched, _transaction(transaction))
                return m.DoPutUpdateResult(count)
            case m.CommandPreparedStatementUpdate(handle):
                values = self._values(upload, may_miss=True)
                uploads.check_whole(upload.context, upload.watched)
                return m.DoPutUpdateResult(self._queries.update_prepared(session, handle, values, upload.watched))
            case m.CommandStatementIngest() as command:
                return self._ingest(session, uploads.target_of(command, options_of(session)), upload)
            case command:
                raise _refused(command)

    def _values(self, upload: _Upload, *, may_miss: bool = False) -> pa.RecordBatch:
        return uploads.parameters(upload.reader, upload.watched, self._limits, may_miss=may_miss)

    def _ingest(self, session: Session, target: Ingest, upload: _Upload) -> m.DoPutUpdateResult:
        schema = uploads.schema_of(upload.reader, upload.watched)
        rows = uploads.rows(upload.reader, upload.context, upload.watched, self._limits)
        return m.DoPutUpdateResult(self._services.updates.ingest(session, target, schema, rows, upload.watched))

    def _port_info(self, session: Session, path: tuple[str, ...]) -> fl.FlightInfo:
        described = self._queries.table(session, path)
        return _info(fl.FlightDescriptor.for_path(*path), described)

    def _described(self, session: Session, command: object, watched: Watched) -> Described:
        match command:
            case m.CommandStatementQuery(query, transaction):
                return self._queries.statement(session, query, watched, _transaction(transaction))
            case m.CommandPreparedStatementQuery(handle):
                return self._queries.prepared(session, handle, watched)
        raise _refused(command)

    def _schema(self, session: Session, descriptor: fl.FlightDescriptor) -> pa.Schema:
        if descriptor.descriptor_type == fl.DescriptorType.PATH:
            return self._queries.table(session, _path(descriptor)).schema
        match _message(descriptor.command):
            case m.CommandStatementQuery(query, transaction):
                return self._queries.describe(session, query, _transaction(transaction))
            case m.CommandPreparedStatementQuery(handle):
                return self._queries.describe_prepared(session, handle)
            case command if self._metadata.answers(command):
                return self._metadata.schema(command)
            case command:
                raise _refused(command)

    def _run(self, session: Session, message: object, ticket: bytes) -> Running:
        match message:
            case m.TicketStatementQuery():
                return self._queries.run(session, ticket)
            case m.CommandStatementQuery(query, transaction):
                return self._queries.run_sql(session, query, _transaction(transaction))
            case m.CommandPreparedStatementQuery(handle):
                return self._queries.run_prepared(session, handle)
        raise _refused(message)


def _path(descriptor: fl.FlightDescriptor) -> tuple[str, ...]:
    return tuple(part.decode(errors="replace") for part in descriptor.path)


def _message(data: bytes) -> Any:  # Any: one of the many message classes; callers match on it
    return unpack(data)


def _ticket(data: bytes) -> Any:  # Any: as above
    """The message in a ticket. Whatever is not a message was never a ticket of ours: UNAUTHENTICATED."""
    try:
        return unpack(data)
    except FlightmeshError:
        failure = FlightmeshError(
            ErrorCode.UNAUTHENTICATED, "The ticket was not issued by this server.", hint="Ask for a new one."
        )
    raise failure


def _transaction(id_: bytes | None) -> str | None:
    """The transaction of a message; empty as absent, as clients without optional fields send it."""
    return id_.decode(errors="replace") if id_ else None


def _info(descriptor: fl.FlightDescriptor, described: Described) -> fl.FlightInfo:
    """Endpoints without a location: the client reads them from where it asked. The query's id is the metadata."""
    endpoints = [fl.FlightEndpoint(ticket, [], expiry(described.expires_at)) for ticket in described.tickets]
    return fl.FlightInfo(
        described.schema, descriptor, endpoints, -1, -1, ordered=True, app_metadata=described.id.encode()
    )


def _refused(command: object) -> FlightmeshError:
    if isinstance(command, m.CommandStatementSubstraitPlan):
        return FlightmeshError(ErrorCode.UNSUPPORTED, "Substrait plans are not offered.", hint="Send SQL.")
    return FlightmeshError(ErrorCode.INVALID, f"{type(command).__name__} is not offered.", hint=_ALLOWED)

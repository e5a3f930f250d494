"""The Flight server: each RPC decodes, calls one service method, encodes.

pyarrow fixes the names and signatures of the handlers. Every one of them runs under ``status.guarded``.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl

from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flight import actions
from flightmesh.flight.metadata import MetadataAnswers
from flightmesh.flight.middleware import NAME, HandshakeHandler, SessionMiddlewareFactory, session_of
from flightmesh.flight.status import for_get_schema, guarded, guarded_stream, outward
from flightmesh.flight.streams import data_stream, table_stream
from flightmesh.flight.watcher import Watcher
from flightmesh.flightsql import messages as m
from flightmesh.flightsql.codec import encode, unpack
from flightmesh.service.queries import Described, Running
from flightmesh.service.sessions import Session

_BATCH_COST_BYTES = 1_024
_ALLOWED = "This server is read-only: SELECT statements and the metadata commands are allowed."


@dataclass(frozen=True, slots=True)
class Listener:
    """Where the server listens: a gRPC location, and the TLS certificate chain and key (PEM) of a TLS listener."""

    location: str
    tls: tuple[bytes, bytes] | None = None


class FlightServer(fl.FlightServerBase):
    """Flight SQL over the services."""

    def __init__(
        self,
        listener: Listener,
        *,
        services: actions.Services,
        metadata: MetadataAnswers,
        middleware: SessionMiddlewareFactory,
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
            auth_handler=HandshakeHandler(),
            tls_certificates=None if listener.tls is None else [listener.tls],
            middleware={NAME: middleware},
        )

    @guarded
    def list_flights(self, context: fl.ServerCallContext, criteria: bytes) -> Iterator[fl.FlightInfo]:
        """One FlightInfo per visible port; ``criteria`` is the start of a dotted name, or empty."""
        session, prefix = session_of(context), criteria.decode(errors="replace")
        names = [entry.name for entry in self._metadata.entries(session) if str(entry.name).startswith(prefix)]
        return guarded_stream((self._port_info(session, (n.catalog, n.schema, n.table)) for n in names), "list_flights")

    @guarded
    def get_flight_info(self, context: fl.ServerCallContext, descriptor: fl.FlightDescriptor) -> fl.FlightInfo:
        """The schema and the ticket of a statement, a path or a metadata command; nothing is executed."""
        session = session_of(context)
        if descriptor.descriptor_type == fl.DescriptorType.PATH:
            return self._port_info(session, _path(descriptor))
        command = _message(descriptor.command)
        if self._metadata.answers(command):
            # As the reference servers do: the command itself is the ticket.
            return _info(self._metadata.schema(command), descriptor, descriptor.command, None)
        described = self._described(session, command)
        return _info(described.schema, descriptor, described.ticket, described.expires_at)

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
            return table_stream(self._metadata.table(session, message))
        running = self._run(session, message, ticket.ticket)
        return data_stream(running, context, watcher=self._watcher, limits=self._limits)

    @guarded
    def do_put(
        self,
        context: fl.ServerCallContext,
        descriptor: fl.FlightDescriptor,
        reader: fl.MetadataRecordBatchReader,
        writer: fl.FlightMetadataWriter,
    ) -> None:
        """Binds parameters to a prepared statement; everything else that writes is refused."""
        session = session_of(context)
        if descriptor.descriptor_type == fl.DescriptorType.PATH:
            raise FlightmeshError(ErrorCode.INVALID, "Uploads are not offered.", hint=_ALLOWED)
        command = _message(descriptor.command)
        if not isinstance(command, m.CommandPreparedStatementQuery):
            # The reader stays untouched: some clients send no schema with these, and reading would raise.
            raise FlightmeshError(ErrorCode.INVALID, f"{type(command).__name__} is refused.", hint=_ALLOWED)
        with self._watcher.watch(context, self._limits.query_timeout_s) as watched, watched.sending():
            values = _parameters(reader, self._limits)
        if context.is_cancelled():  # A killed client's stream ends like a whole one; only this tells them apart.
            raise FlightmeshError(ErrorCode.CANCELLED, "The client went away while it bound parameters.")
        handle = self._queries.bind(session, command.prepared_statement_handle, values)
        writer.write(pa.py_buffer(encode(m.DoPutPreparedStatementResult(handle))))

    @guarded
    def do_exchange(
        self,
        context: fl.ServerCallContext,
        descriptor: fl.FlightDescriptor,
        reader: fl.MetadataRecordBatchReader,
        writer: fl.MetadataRecordBatchWriter,
    ) -> None:
        """Not offered by this version."""
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
        return [(name, action.description) for name, action in actions.ACTIONS.items()]

    def _port_info(self, session: Session, path: tuple[str, ...]) -> fl.FlightInfo:
        described = self._queries.table(session, path)
        return _info(described.schema, fl.FlightDescriptor.for_path(*path), described.ticket, described.expires_at)

    def _described(self, session: Session, command: object) -> Described:
        match command:
            case m.CommandStatementQuery(query):
                return self._queries.statement(session, query)
            case m.CommandPreparedStatementQuery(handle):
                return self._queries.prepared(session, handle)
        raise _refused(command)

    def _schema(self, session: Session, descriptor: fl.FlightDescriptor) -> pa.Schema:
        if descriptor.descriptor_type == fl.DescriptorType.PATH:
            return self._queries.table(session, _path(descriptor)).schema
        match _message(descriptor.command):
            case m.CommandStatementQuery(query):
                return self._queries.describe(session, query)
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
            case m.CommandStatementQuery(query):
                return self._queries.run_sql(session, query)
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


def _info(schema: pa.Schema, descriptor: fl.FlightDescriptor, ticket: bytes, expires_at: float | None) -> fl.FlightInfo:
    """One endpoint without a location: the client reads it from where it asked."""
    expiry = None if expires_at is None else datetime.datetime.fromtimestamp(expires_at, datetime.UTC)
    endpoint = fl.FlightEndpoint(ticket, [], pa.scalar(expiry, pa.timestamp("ns", "UTC")) if expiry else None)
    return fl.FlightInfo(schema, descriptor, [endpoint], -1, -1)


def _parameters(reader: fl.MetadataRecordBatchReader, limits: Limits) -> pa.RecordBatch:
    """All rows of an upload as one batch, validated before anything reads a value."""
    try:
        schema, batches = reader.schema, list(_validated(reader, limits))
    except (pa.ArrowException, OSError, NotImplementedError):
        # Nobody's data is concerned, but the texts quote values and buffers; the client knows what it has sent.
        failure = FlightmeshError(ErrorCode.INVALID, "The upload is no valid stream of Arrow record batches.")
    else:
        parts = pa.Table.from_batches(batches, schema).combine_chunks().to_batches()
        return parts[0] if parts else pa.RecordBatch.from_pylist([], schema)
    raise failure


def _validated(reader: fl.MetadataRecordBatchReader, limits: Limits) -> Iterator[pa.RecordBatch]:
    size = rows = 0
    for chunk in reader:
        if chunk.data is None:  # A message of application metadata alone.
            continue
        # Malformed IPC crashes whoever touches the values, so this comes first (security.md, fact 4).
        chunk.data.validate(full=True)
        # A batch without rows or columns costs memory too.
        size += chunk.data.nbytes + _BATCH_COST_BYTES
        rows += chunk.data.num_rows
        if size > limits.put_bytes_max or rows > limits.parameters_rows_max:
            raise FlightmeshError(
                ErrorCode.INVALID,
                f"More than {limits.parameters_rows_max} rows or {limits.put_bytes_max} bytes of parameters were sent.",
                hint="Bind fewer rows at a time.",
            )
        yield chunk.data


def _refused(command: object) -> FlightmeshError:
    return FlightmeshError(ErrorCode.INVALID, f"{type(command).__name__} is not offered.", hint=_ALLOWED)

"""DoAction: one table from action type to service call."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.flight as fl

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flightsql import messages as m
from flightmesh.flightsql.codec import decode, encode, pack, unpack
from flightmesh.names import did_you_mean
from flightmesh.service.explain import Explanations, read_at
from flightmesh.service.options import ENDPOINTS_MAX, set_options, shown_options
from flightmesh.service.products import ProductCard, Products
from flightmesh.service.queries import Queries, Stopped
from flightmesh.service.running import RunningQueries
from flightmesh.service.sessions import Session, Sessions
from flightmesh.service.updates import Updates

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Services:
    """What actions may call."""

    queries: Queries
    updates: Updates
    running: RunningQueries
    sessions: Sessions
    products: Products
    explanations: Explanations


@dataclass(frozen=True, slots=True)
class Action:
    """An action: what ListActions says of it, and the call behind it."""

    description: str
    run: Callable[[Services, Session, bytes], Iterator[bytes]]


def run(services: Services, session: Session, name: str, body: bytes, *, body_bytes_max: int) -> Iterator[bytes]:
    """The results of the action; UNSUPPORTED with the nearest name when there is none of this type."""
    action = ACTIONS.get(name)
    if action is None:
        raise FlightmeshError(
            ErrorCode.UNSUPPORTED, f"There is no action {name[:100]}.", hint=did_you_mean(name, ACTIONS)
        )
    if len(body) > body_bytes_max:
        raise FlightmeshError(
            ErrorCode.INVALID, f"The action's body has {len(body)} bytes; {body_bytes_max} are allowed."
        )
    return action.run(services, session, body)


def _create_prepared(services: Services, session: Session, body: bytes) -> Iterator[bytes]:
    request = _expect(m.ActionCreatePreparedStatementRequest, body)
    transaction = request.transaction_id.decode(errors="replace") if request.transaction_id else None
    prepared = services.queries.prepare(session, request.query, transaction)
    yield pack(
        m.ActionCreatePreparedStatementResult(
            prepared_statement_handle=prepared.handle,
            # A schema without fields is how clients older than is_update know a statement that writes.
            dataset_schema=_ipc(prepared.dataset_schema),
            parameter_schema=_ipc(prepared.parameter_schema),
            is_update=prepared.is_update,
        )
    )


def _close_prepared(services: Services, session: Session, body: bytes) -> Iterator[bytes]:
    request = _expect(m.ActionClosePreparedStatementRequest, body)
    services.queries.close_prepared(session, request.prepared_statement_handle)
    return iter(())


def _begin(services: Services, session: Session, body: bytes) -> Iterator[bytes]:
    _expect(m.ActionBeginTransactionRequest, body)
    yield pack(m.ActionBeginTransactionResult(services.updates.begin(session).encode()))


def _end(services: Services, session: Session, body: bytes) -> Iterator[bytes]:
    request = _expect(m.ActionEndTransactionRequest, body)
    if request.action is m.EndTransaction.END_TRANSACTION_UNSPECIFIED:
        raise FlightmeshError(ErrorCode.INVALID, "EndTransaction says neither commit nor rollback.")
    if not request.transaction_id:
        return iter(())  # Without a transaction there is nothing to end: drivers send it by habit.
    commits = request.action is m.EndTransaction.END_TRANSACTION_COMMIT
    services.updates.end(session, request.transaction_id.decode(errors="replace"), commits=commits)
    return iter(())


def _cancel_info(services: Services, session: Session, body: bytes) -> Iterator[bytes]:
    stopped = _cancelled(services, session, decode(m.CancelFlightInfoRequest, body).info)
    yield encode(m.CancelFlightInfoResult(m.CancelStatus[f"CANCEL_STATUS_{stopped}"]))


def _cancel_query(services: Services, session: Session, body: bytes) -> Iterator[bytes]:
    stopped = _cancelled(services, session, _expect(m.ActionCancelQueryRequest, body).info)
    yield pack(m.ActionCancelQueryResult(m.CancelResult[f"CANCEL_RESULT_{stopped}"]))


def _cancelled(services: Services, session: Session, data: bytes) -> str:
    """Stops the query of a serialised FlightInfo, and no other; how that went, in the protocol's word."""
    endpoints = _deserialised(fl.FlightInfo, data).endpoints
    if not endpoints:
        raise FlightmeshError(ErrorCode.INVALID, "The FlightInfo has no endpoint.", hint="Send it as it was received.")
    tickets = {endpoint.ticket.ticket for endpoint in endpoints}
    if len(tickets) > ENDPOINTS_MAX:
        raise FlightmeshError(ErrorCode.INVALID, f"The FlightInfo has more than {ENDPOINTS_MAX} endpoints.")
    # The tickets of metadata commands are the commands: there is nothing to cancel.
    stopped = {services.queries.cancel(session, ticket) for ticket in tickets if not _is_command(ticket)}
    if Stopped.CANCELLING in stopped:
        return "CANCELLING"
    return "CANCELLED" if Stopped.CANCELLED in stopped else "NOT_CANCELLABLE"


def _renew(services: Services, session: Session, body: bytes) -> Iterator[bytes]:
    endpoint = _deserialised(fl.FlightEndpoint, decode(m.RenewFlightEndpointRequest, body).endpoint)
    if _is_command(endpoint.ticket.ticket):
        yield bytes(endpoint.serialize())  # It does not expire.
        return
    ticket, expires_at = services.queries.renew(session, endpoint.ticket.ticket)
    renewed = fl.FlightEndpoint(ticket, endpoint.locations, expiry(expires_at), endpoint.app_metadata)
    yield bytes(renewed.serialize())


def _is_command(ticket: bytes) -> bool:
    """Whether the ticket is a command of Flight SQL itself, which nobody has issued."""
    try:
        return not isinstance(unpack(ticket), m.TicketStatementQuery)
    except FlightmeshError:
        return False


def _deserialised(cls: Any, data: bytes) -> Any:  # Any: pyarrow has no types
    try:
        return cls.deserialize(data)
    except (pa.ArrowException, OSError, ValueError, fl.FlightError):
        failure = FlightmeshError(
            ErrorCode.INVALID, f"The request holds no {cls.__name__}.", hint="Send it as it was received."
        )
    raise failure


def expiry(expires_at: float) -> pa.Scalar:
    """A time in seconds since 1970 as Flight writes one."""
    moment = datetime.datetime.fromtimestamp(expires_at, datetime.UTC)
    return pa.scalar(moment, pa.timestamp("ns", "UTC"))


def _set_options(services: Services, session: Session, body: bytes) -> Iterator[bytes]:
    asked = decode(m.SetSessionOptionsRequest, body).session_options
    values = {name: option.value for name, option in asked.items()}
    problems = set_options(services.sessions, session, values, services.updates.exists(session))
    yield encode(m.SetSessionOptionsResult({name: m.SessionOptionError(why) for name, why in problems.items()}))


def _get_options(services: Services, session: Session, body: bytes) -> Iterator[bytes]:
    decode(m.GetSessionOptionsRequest, body)
    shown = {name: m.SessionOptionValue.of(value) for name, value in shown_options(session).items()}
    yield encode(m.GetSessionOptionsResult(shown))


def _close_session(services: Services, session: Session, body: bytes) -> Iterator[bytes]:
    decode(m.CloseSessionRequest, body)
    services.updates.close(session)
    yield encode(m.CloseSessionResult(m.CloseSessionStatus.CLOSED))


def _list_queries(services: Services, session: Session, _body: bytes) -> Iterator[bytes]:
    for query in services.running.visible(session):
        shown = {"id": query.id, "user": query.principal, "sql": query.sql, "started_at": read_at(query.started_at)}
        yield msgspec.json.encode(shown)


def _kill(services: Services, session: Session, body: bytes) -> Iterator[bytes]:
    try:
        request = msgspec.json.decode(body, type=_KillRequest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FlightmeshError(
            ErrorCode.INVALID, 'The body of query.kill is not {"id": "..."}.', hint="query.list shows the ids."
        ) from error
    yield msgspec.json.encode({"id": request.id, "status": services.running.kill(session, request.id).value})


class _KillRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of query.kill."""

    id: str


def _list_products(services: Services, session: Session, _body: bytes) -> Iterator[bytes]:
    for card in services.products.cards(session):
        yield msgspec.json.encode(_card(card))


def _explain(services: Services, session: Session, body: bytes) -> Iterator[bytes]:
    try:
        request = msgspec.json.decode(body, type=_ExplainRequest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FlightmeshError(
            ErrorCode.INVALID, 'The body of query.explain is not {"sql": "..."}.', hint="Send JSON in UTF-8."
        ) from error
    yield msgspec.json.encode(services.explanations.explain(session, request.sql))


class _ExplainRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of query.explain."""

    sql: str


def _card(card: ProductCard) -> dict[str, object]:
    return {
        "product": str(card.name),
        "title": card.title,
        "version": card.version,
        "status": card.status,
        "description": card.description,
        "owner": card.owner,
        "unavailable": card.unavailable,
        "ports": [
            {
                "name": table.name.table,
                "table": str(table.name),
                "description": table.description,
                "grain": table.grain,
                "primary_key": table.primary_key,
                "live": table.live is not None,
                "read_at": read_at(table.shown.built_at),
                "stale": table.shown.stale,
                "upstream": [
                    {"namespace": found.namespace, "name": found.name} for found in card.upstream.get(table.name, ())
                ],
                "columns": [
                    {
                        "name": column.name,
                        "type": column.sql_type,
                        "nullable": column.is_nullable,
                        "description": column.contract.description if column.contract else None,
                        "unit": column.contract.unit if column.contract else None,
                        "classification": column.contract.classification if column.contract else None,
                    }
                    for column in table.columns
                ],
            }
            for table in card.tables
        ],
    }


def _expect(cls: type[M], body: bytes) -> M:
    message = unpack(body)
    if not isinstance(message, cls):
        raise FlightmeshError(
            ErrorCode.INVALID, f"The action's body holds {type(message).__name__}, not {cls.__name__}."
        )
    return message


ACTIONS: Mapping[str, Action] = {
    "CreatePreparedStatement": Action(
        "Prepares a statement; nothing is executed. Body: Any(ActionCreatePreparedStatementRequest).", _create_prepared
    ),
    "ClosePreparedStatement": Action(
        "Closes a prepared statement. Body: Any(ActionClosePreparedStatementRequest).", _close_prepared
    ),
    "BeginTransaction": Action(
        "Begins a transaction over temporary tables. Body: Any(ActionBeginTransactionRequest).", _begin
    ),
    "EndTransaction": Action("Commits or rolls back. Body: Any(ActionEndTransactionRequest).", _end),
    "CancelFlightInfo": Action("Cancels the query of a FlightInfo. Body: CancelFlightInfoRequest.", _cancel_info),
    "CancelQuery": Action(
        "Cancels the query of a FlightInfo (deprecated). Body: Any(ActionCancelQueryRequest).", _cancel_query
    ),
    "RenewFlightEndpoint": Action("Extends the life of a ticket. Body: RenewFlightEndpointRequest.", _renew),
    "SetSessionOptions": Action("Sets options of the session. Body: SetSessionOptionsRequest.", _set_options),
    "GetSessionOptions": Action("Tells the options of the session. Body: GetSessionOptionsRequest.", _get_options),
    "CloseSession": Action(
        "Ends the session, its temporary tables with it. Body: CloseSessionRequest.", _close_session
    ),
    "query.list": Action(
        "Lists the running queries that the caller may stop, one JSON object each. No body.", _list_queries
    ),
    "query.kill": Action('Stops a running query; anybody\'s for an administrator. Body: {"id": "..."}.', _kill),
    "query.explain": Action(
        'Says how a SELECT would be answered, as JSON; nothing is read. Body: {"sql": "..."}.', _explain
    ),
    "catalog.list": Action(
        "Lists the products that the caller may read, one JSON object each. No body.", _list_products
    ),
}


def _ipc(schema: pa.Schema) -> bytes:
    return bytes(schema.serialize())

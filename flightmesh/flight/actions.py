"""DoAction: one table from action type to service call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import pyarrow as pa

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flightsql import messages as m
from flightmesh.flightsql.codec import pack, unpack
from flightmesh.names import did_you_mean
from flightmesh.service.explain import Explanations, read_at
from flightmesh.service.products import ProductCard, Products
from flightmesh.service.queries import Queries
from flightmesh.service.sessions import Session

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Services:
    """What actions may call."""

    queries: Queries
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
    prepared = services.queries.prepare(session, request.query)
    yield pack(
        m.ActionCreatePreparedStatementResult(
            prepared_statement_handle=prepared.handle,
            dataset_schema=_ipc(prepared.dataset_schema),
            parameter_schema=_ipc(prepared.parameter_schema),
            is_update=False,
        )
    )


def _close_prepared(services: Services, session: Session, body: bytes) -> Iterator[bytes]:
    request = _expect(m.ActionClosePreparedStatementRequest, body)
    services.queries.close_prepared(session, request.prepared_statement_handle)
    return iter(())


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
        "Prepares a SELECT; nothing is executed. Body: Any(ActionCreatePreparedStatementRequest).", _create_prepared
    ),
    "ClosePreparedStatement": Action(
        "Closes a prepared statement. Body: Any(ActionClosePreparedStatementRequest).", _close_prepared
    ),
    "query.explain": Action(
        'Says how a SELECT would be answered, as JSON; nothing is read. Body: {"sql": "..."}.', _explain
    ),
    "catalog.list": Action(
        "Lists the products that the caller may read, one JSON object each. No body.", _list_products
    ),
}


def _ipc(schema: pa.Schema) -> bytes:
    return bytes(schema.serialize())

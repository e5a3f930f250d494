"""Actions: one table says what exists, and everything else is refused before anything is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from hypothesis import given, strategies as st

from flightmesh.client.explanations import explanation_of
from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flight import actions
from flightmesh.flightsql import messages as m
from flightmesh.flightsql.codec import decode, encode, pack, unpack
from flightmesh.names import ProductName, TableName
from flightmesh.planner.surface import SurfaceColumn, SurfaceTable
from flightmesh.service.authn import ANONYMOUS_PRINCIPAL
from flightmesh.service.explain import Explanation, RelationNote, SourceNote
from flightmesh.service.products import ProductCard
from flightmesh.service.queries import PreparedStatement
from flightmesh.service.running import Query, Stopped
from flightmesh.service.sessions import Session, Sessions
from flightmesh.sources.naming import Dataset

SESSION = Session("s", ANONYMOUS_PRINCIPAL, 0, 0)
CARD = ProductCard(
    ProductName("lab", "readings"),
    "Readings",
    "1.0.0",
    "active",
    None,
    "lab",
    (
        SurfaceTable(
            TableName("lab", "readings", "points"),
            (SurfaceColumn("n", "BIGINT", False, None),),
            ("n",),
            None,
            "a point",
        ),
    ),
    None,
)


@dataclass
class _Services:
    """The services, which note what they were asked."""

    closed: list[bytes] = field(default_factory=list)
    transactions: list[str | None] = field(default_factory=list)
    ended: list[tuple[str, bool]] = field(default_factory=list)
    cancelled: list[bytes] = field(default_factory=list)
    stopped: dict[bytes, Stopped] = field(default_factory=dict)
    killed: list[str] = field(default_factory=list)
    sessions_closed: int = 0
    store: Sessions = field(default_factory=lambda: Sessions(Limits()))

    def prepare(self, session: Session, sql: str, transaction: str | None) -> PreparedStatement:
        assert session is SESSION
        self.transactions.append(transaction)
        is_update = not sql.startswith("SELECT")
        columns = pa.schema([] if is_update else [("a", pa.int8())])
        return PreparedStatement(sql.encode(), columns, pa.schema([("1", pa.string())]), is_update)

    def explain(self, session: Session, sql: str) -> Explanation:
        assert session is SESSION
        dataset = Dataset("postgres://db:5432", "tms.public.legs")
        note = RelationNote("lab.readings.points", True, "s", None, None, ("All.",), (dataset,))
        source = SourceNote("tms", "postgres", "tms.legs", sql, ("a: why",), "2 of 12 files")
        return Explanation("duckdb", (("n", "int64"),), (note,), False, "it reads kept rows", (source,), True)

    def close_prepared(self, session: Session, handle: bytes) -> None:
        self.closed.append(handle)

    def begin(self, session: Session) -> str:
        return "transaction"

    def end(self, session: Session, transaction: str, *, commits: bool) -> None:
        self.ended.append((transaction, commits))

    def close(self, session: Session) -> None:
        self.sessions_closed += 1

    def exists(self, session: Session) -> Callable[[str | None, str | None], None]:
        def check(catalog: str | None, schema: str | None) -> None:
            if catalog not in (None, "lab"):
                raise FlightmeshError(ErrorCode.NOT_FOUND, f"There is no catalogue {catalog}.")

        return check

    def cancel(self, session: Session, ticket: bytes) -> Stopped:
        self.cancelled.append(ticket)
        return self.stopped.get(ticket, Stopped.CANCELLED)

    def renew(self, session: Session, ticket: bytes) -> tuple[bytes, float]:
        return b"renewed " + ticket, 1_000_000.5

    def visible(self, session: Session) -> list[Query]:
        return [Query("id1", "ann", "SELECT 'ü\n'", 0.0), Query("id2", "bob", "SELECT 2", 1.0)]

    def kill(self, session: Session, id_: str) -> Stopped:
        self.killed.append(id_)
        return Stopped.CANCELLED

    def cards(self, session: Session) -> tuple[ProductCard, ...]:
        return (CARD, CARD)


@pytest.fixture
def services() -> _Services:
    """What the actions call."""
    return _Services()


def _run(services: _Services, name: str, body: bytes = b"") -> list[bytes]:
    both: Any = services
    results: Iterator[bytes] = actions.run(
        actions.Services(both, both, both, services.store, both, both),
        SESSION,
        name,
        body,
        body_bytes_max=Limits().action_body_bytes_max,
    )
    return list(results)


def test_preparing_answers_with_handle_and_schemas(services: _Services) -> None:
    """``is_update`` is always said: drivers execute an update differently, and older ones go by the empty schema."""
    (result,) = _run(services, "CreatePreparedStatement", pack(m.ActionCreatePreparedStatementRequest("SELECT 1")))
    message = unpack(result)
    assert isinstance(message, m.ActionCreatePreparedStatementResult)
    assert message.prepared_statement_handle == b"SELECT 1"
    assert message.is_update is False
    assert pa.ipc.read_schema(pa.py_buffer(message.dataset_schema)).names == ["a"]
    assert pa.ipc.read_schema(pa.py_buffer(message.parameter_schema)).names == ["1"]
    update = m.ActionCreatePreparedStatementRequest("DELETE FROM own", transaction_id=b"t")
    (result,) = _run(services, "CreatePreparedStatement", pack(update))
    message = unpack(result)
    assert isinstance(message, m.ActionCreatePreparedStatementResult)
    assert message.is_update is True
    assert pa.ipc.read_schema(pa.py_buffer(message.dataset_schema)) == pa.schema([])
    _run(services, "CreatePreparedStatement", pack(replace(update, transaction_id=b"")))
    assert services.transactions == [None, "t", None]


def test_closing_answers_nothing(services: _Services) -> None:
    """The standard has no result for it, and some clients choke on one."""
    assert _run(services, "ClosePreparedStatement", pack(m.ActionClosePreparedStatementRequest(b"h"))) == []
    assert services.closed == [b"h"]


def test_listing_products_is_json(services: _Services) -> None:
    """One object per product; missing values are null, not left out."""
    results = [json.loads(each) for each in _run(services, "catalog.list")]
    assert len(results) == 2
    assert results[0]["product"] == "lab.readings"
    assert results[0]["unavailable"] is None
    (port,) = results[0]["ports"]
    assert (port["table"], port["grain"], port["primary_key"]) == ("lab.readings.points", "a point", ["n"])
    assert port["columns"] == [
        {"name": "n", "type": "BIGINT", "nullable": False, "description": None, "unit": None, "classification": None}
    ]


def test_explaining_is_json_that_the_client_reads(services: _Services) -> None:
    """The client's words and the server's are the same: nothing that explains is lost between them."""
    (result,) = _run(services, "query.explain", json.dumps({"sql": "SELECT 'ü\0'"}).encode())
    found = explanation_of(json.loads(result))
    assert (found.engine, found.columns, found.pushed_whole, found.reason, found.is_plan_cached) == (
        "duckdb",
        (("n", "int64"),),
        False,
        "it reads kept rows",
        True,
    )
    (relation,), (source,) = found.relations, found.sources
    assert (relation.table, relation.is_live, relation.read_at, relation.policy) == (
        "lab.readings.points",
        True,
        None,
        ("All.",),
    )
    assert relation.upstream[0].name == "tms.public.legs"
    assert (source.pushed, source.left, source.pruned) == ("SELECT 'ü\0'", ("a: why",), "2 of 12 files")


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"SELECT 1", b"{}", b"[]", b"null", b'{"sql": 1}', b'{"sql": null}', b'{"sql": "SELECT 1", "more": 1}'),
        *(b'{"sql": "\xff"}', b'{"sql": "\\ud800"}', b'{"sql": "SELECT 1"} x', b"[" * 100_000),
    ],
    ids=lambda body: body[:20],
)
def test_wrong_bodies_of_explain_are_invalid(services: _Services, body: bytes) -> None:
    """Whatever a client sends: one plain refusal that says what to send, and nothing of the parser."""
    with pytest.raises(FlightmeshError) as failure:
        _run(services, "query.explain", body)
    assert failure.value.code is ErrorCode.INVALID
    assert "query.explain" in failure.value.message


@pytest.mark.parametrize(
    "name",
    ["", "BeginSavepoint", "CreatePreparedSubstraitPlan", "createpreparedstatement", "catalog.lst", "x" * 10_000],
)
def test_unknown_actions_are_unsupported(services: _Services, name: str) -> None:
    """Drivers probe for actions and take UNIMPLEMENTED as the answer."""
    with pytest.raises(FlightmeshError, match="There is no action") as failure:
        _run(services, name)
    assert failure.value.code is ErrorCode.UNSUPPORTED
    assert len(str(failure.value)) < 300


_ANY = ("CreatePreparedStatement", "ClosePreparedStatement", "BeginTransaction", "EndTransaction", "CancelQuery")
_PLAIN = ("CancelFlightInfo", "RenewFlightEndpoint", "SetSessionOptions", "GetSessionOptions", "CloseSession")


def _is_untouched(services: _Services) -> bool:
    noted = (services.closed, services.ended, services.cancelled, services.killed, services.transactions)
    return not any(noted) and services.sessions_closed == 0


@pytest.mark.parametrize("name", _ANY)
@pytest.mark.parametrize("body", [b"", b"junk", pack(m.CommandGetCatalogs()), b"\xff" * 40], ids=len)
def test_wrong_bodies_are_invalid(services: _Services, name: str, body: bytes) -> None:
    """Empty, broken or of another message: refused, and nothing was called."""
    with pytest.raises(FlightmeshError) as failure:
        _run(services, name, body)
    assert failure.value.code is ErrorCode.INVALID
    assert _is_untouched(services)


@pytest.mark.parametrize("name", _PLAIN)
@pytest.mark.parametrize("body", [b"junk", b"\xff" * 40, b"\x0a\xff\xff\xff\xff\x0f"], ids=len)
def test_broken_bodies_without_an_envelope_are_invalid(services: _Services, name: str, body: bytes) -> None:
    """The same for the actions of Flight itself, whose messages travel bare."""
    with pytest.raises(FlightmeshError) as failure:
        _run(services, name, body)
    assert failure.value.code is ErrorCode.INVALID
    assert failure.value.__context__ is None or failure.value.__suppress_context__
    assert _is_untouched(services)


@pytest.mark.parametrize("name", actions.ACTIONS)
def test_bodies_are_bounded(services: _Services, name: str) -> None:
    """Before anything of them is read."""
    with pytest.raises(FlightmeshError, match="are allowed") as failure:
        _run(services, name, b"x" * (Limits().action_body_bytes_max + 1))
    assert failure.value.code is ErrorCode.INVALID


# --------------------------------------------------------------------------------------------------------- transactions


def test_transactions_are_begun_and_ended(services: _Services) -> None:
    """The id travels as bytes; ending answers nothing, as the standard says; neither commit nor rollback is refused."""
    (result,) = _run(services, "BeginTransaction", pack(m.ActionBeginTransactionRequest()))
    assert unpack(result) == m.ActionBeginTransactionResult(b"transaction")
    for action in (m.EndTransaction.END_TRANSACTION_COMMIT, m.EndTransaction.END_TRANSACTION_ROLLBACK):
        assert _run(services, "EndTransaction", pack(m.ActionEndTransactionRequest(b"t", action))) == []
    with pytest.raises(FlightmeshError, match="neither commit nor rollback") as failure:
        _run(services, "EndTransaction", pack(m.ActionEndTransactionRequest(b"t")))
    assert failure.value.code is ErrorCode.INVALID
    assert services.ended == [("t", True), ("t", False)]


# ------------------------------------------------------------------------------------------------------------- stopping


def _info(*tickets: bytes) -> bytes:
    endpoints = [fl.FlightEndpoint(ticket, []) for ticket in tickets]
    return bytes(fl.FlightInfo(pa.schema([]), fl.FlightDescriptor.for_path("a"), endpoints, -1, -1).serialize())


@pytest.mark.parametrize(
    ("stopped", "word"),
    [
        ([Stopped.CANCELLED], "CANCELLED"),
        ([Stopped.CANCELLING], "CANCELLING"),
        ([Stopped.NOT_RUNNING], "NOT_CANCELLABLE"),
        ([Stopped.CANCELLED, Stopped.CANCELLING], "CANCELLING"),
        ([Stopped.NOT_RUNNING, Stopped.CANCELLED], "CANCELLED"),
    ],
)
def test_cancelling_says_how_it_went(services: _Services, stopped: list[Stopped], word: str) -> None:
    """In both actions, each with its own message: the old one in the envelope, the new one bare."""
    tickets = [f"t{number}".encode() for number in range(len(stopped))]
    services.stopped = dict(zip(tickets, stopped, strict=True))
    (new,) = _run(services, "CancelFlightInfo", encode(m.CancelFlightInfoRequest(_info(*tickets))))
    assert decode(m.CancelFlightInfoResult, new).status is m.CancelStatus[f"CANCEL_STATUS_{word}"]
    (old,) = _run(services, "CancelQuery", pack(m.ActionCancelQueryRequest(_info(*tickets))))
    assert unpack(old) == m.ActionCancelQueryResult(m.CancelResult[f"CANCEL_RESULT_{word}"])
    assert sorted(services.cancelled) == sorted(tickets * 2)


@pytest.mark.parametrize("data", [b"", b"junk", b"\xff" * 40, _info(), _info(b"t")[:-3]], ids=len)
def test_what_is_no_flight_info_is_invalid(services: _Services, data: bytes) -> None:
    """Whatever stands in its place, pyarrow's words stay inside."""
    for name, body in (
        ("CancelFlightInfo", encode(m.CancelFlightInfoRequest(data))),
        ("CancelQuery", pack(m.ActionCancelQueryRequest(data))),
    ):
        with pytest.raises(FlightmeshError) as failure:
            _run(services, name, body)
        assert failure.value.code is ErrorCode.INVALID
        assert failure.value.__context__ is None
    assert services.cancelled == []


@given(place=st.integers(0, 200), value=st.integers(0, 255), cut=st.integers(0, 20))
def test_mutated_messages_are_answered_or_invalid(place: int, value: int, cut: int) -> None:
    """Serialised FlightInfos and endpoints are pyarrow's to read: whatever it makes of broken ones stays inside."""
    for whole, name, message in (
        (_info(b"one", b"two"), "CancelFlightInfo", m.CancelFlightInfoRequest),
        (_ENDPOINT, "RenewFlightEndpoint", m.RenewFlightEndpointRequest),
    ):
        data = bytearray(whole)
        data[place % len(data)] = value
        with suppress(FlightmeshError):
            _run(_Services(), name, encode(message(bytes(data[: len(data) - cut % len(data)]))))


_ENDPOINT = bytes(fl.FlightEndpoint(b"t", ["grpc://h:1"], pa.scalar(0, pa.timestamp("ns", "UTC")), b"meta").serialize())


def test_renewing_an_endpoint(services: _Services) -> None:
    """All of it comes back as it was, with a new ticket and its expiry."""
    (result,) = _run(services, "RenewFlightEndpoint", encode(m.RenewFlightEndpointRequest(_ENDPOINT)))
    renewed = fl.FlightEndpoint.deserialize(result)
    assert renewed.ticket.ticket == b"renewed t"
    assert renewed.expiration_time.value == 1_000_000_500_000_000
    assert [location.uri for location in renewed.locations] == [b"grpc://h:1"]
    assert renewed.app_metadata == b"meta"
    for data in (b"junk", b"\xff" * 40):
        with pytest.raises(FlightmeshError) as failure:
            _run(services, "RenewFlightEndpoint", encode(m.RenewFlightEndpointRequest(data)))
        assert failure.value.code is ErrorCode.INVALID


def test_listing_queries_is_json(services: _Services) -> None:
    """One object per query, with the time as ISO 8601."""
    first, second = (json.loads(each) for each in _run(services, "query.list"))
    assert first == {"id": "id1", "user": "ann", "sql": "SELECT 'ü\n'", "started_at": "1970-01-01T00:00:00+00:00"}
    assert second["id"] == "id2"


def test_killing_a_query(services: _Services) -> None:
    """By its id, in JSON; whatever else stands there is refused and nothing is stopped."""
    (result,) = _run(services, "query.kill", b'{"id": "id1"}')
    assert json.loads(result) == {"id": "id1", "status": "cancelled"}
    for body in (
        b"",
        b"id1",
        b"{}",
        b"[]",
        b'{"id": 1}',
        b'{"id": null}',
        b'{"id": "a", "all": true}',
        b"\xff",
        b"[" * 9_999,
    ):
        with pytest.raises(FlightmeshError, match=r"query\.kill") as failure:
            _run(services, "query.kill", body)
        assert failure.value.code is ErrorCode.INVALID
    assert services.killed == ["id1"]


# ------------------------------------------------------------------------------------------------------------- sessions


def _set(services: _Services, **values: Any) -> dict[str, m.SessionOptionErrorValue]:
    request = m.SetSessionOptionsRequest({name: m.SessionOptionValue.of(value) for name, value in values.items()})
    (result,) = _run(services, "SetSessionOptions", encode(request))
    return {name: error.value for name, error in decode(m.SetSessionOptionsResult, result).errors.items()}


def test_options_are_set_and_told(services: _Services) -> None:
    """What is wrong is told by name and the rest is set; an unset value unsets."""
    wrong = _set(services, catalog="lab", query_timeout_s=-1, nonsense="x", dictionaries="true")
    assert wrong == {
        "query_timeout_s": m.SessionOptionErrorValue.INVALID_VALUE,
        "nonsense": m.SessionOptionErrorValue.INVALID_NAME,
    }
    kept = services.store.resolve(SESSION.id, SESSION.principal)
    assert (kept.catalog, dict(kept.options)) == ("lab", {"dictionaries": True})
    assert _set(services, dictionaries=None) == {}
    assert dict(services.store.resolve(SESSION.id, SESSION.principal).options) == {}
    (result,) = _run(services, "GetSessionOptions", encode(m.GetSessionOptionsRequest()))
    told = {name: option.value for name, option in decode(m.GetSessionOptionsResult, result).session_options.items()}
    assert told == {"catalog": "", "schema": ""}


def test_a_catalogue_that_is_not_there_is_refused(services: _Services) -> None:
    """Then nothing of the request is set: a client must not go on as if."""
    with pytest.raises(FlightmeshError) as failure:
        _set(services, catalog="nowhere", dictionaries=True)
    assert failure.value.code is ErrorCode.NOT_FOUND
    assert services.store.resolve(SESSION.id, SESSION.principal).is_default


def test_closing_a_session(services: _Services) -> None:
    """It is closed at once; an empty body is the whole message."""
    (result,) = _run(services, "CloseSession", b"")
    assert decode(m.CloseSessionResult, result).status is m.CloseSessionStatus.CLOSED
    assert services.sessions_closed == 1


def test_the_actions_are_those_of_the_standards_that_are_offered() -> None:
    """Substrait and savepoints are not; ListActions must not name what is not answered."""
    assert set(actions.ACTIONS) == {
        *_ANY,
        *_PLAIN,
        *("query.list", "query.kill", "query.explain", "catalog.list"),
    }


def test_every_action_is_described() -> None:
    """ListActions shows these to whoever explores the server."""
    assert all(action.description.endswith(".") for action in actions.ACTIONS.values())

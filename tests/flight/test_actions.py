"""Actions: one table says what exists, and everything else is refused before anything is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest

from flightmesh.client.explanations import explanation_of
from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flight import actions
from flightmesh.flightsql import messages as m
from flightmesh.flightsql.codec import pack, unpack
from flightmesh.names import ProductName, TableName
from flightmesh.planner.surface import SurfaceColumn, SurfaceTable
from flightmesh.service.authn import ANONYMOUS_PRINCIPAL
from flightmesh.service.explain import Explanation, RelationNote, SourceNote
from flightmesh.service.products import ProductCard
from flightmesh.service.queries import PreparedStatement
from flightmesh.service.sessions import Session
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
    """Queries and products that note what they were asked."""

    closed: list[bytes] = field(default_factory=list)

    def prepare(self, session: Session, sql: str) -> PreparedStatement:
        assert session is SESSION
        return PreparedStatement(sql.encode(), pa.schema([("a", pa.int8())]), pa.schema([("1", pa.string())]))

    def explain(self, session: Session, sql: str) -> Explanation:
        assert session is SESSION
        dataset = Dataset("postgres://db:5432", "tms.public.legs")
        note = RelationNote("lab.readings.points", True, "s", None, None, ("All.",), (dataset,))
        source = SourceNote("tms", "postgres", "tms.legs", sql, ("a: why",), "2 of 12 files")
        return Explanation("duckdb", (("n", "int64"),), (note,), False, "it reads kept rows", (source,), True)

    def close_prepared(self, session: Session, handle: bytes) -> None:
        self.closed.append(handle)

    def cards(self, session: Session) -> tuple[ProductCard, ...]:
        return (CARD, CARD)


@pytest.fixture
def services() -> _Services:
    """What the actions call."""
    return _Services()


def _run(services: _Services, name: str, body: bytes = b"") -> list[bytes]:
    both: Any = services
    results: Iterator[bytes] = actions.run(
        actions.Services(both, both, both), SESSION, name, body, body_bytes_max=Limits().action_body_bytes_max
    )
    return list(results)


def test_preparing_answers_with_handle_and_schemas(services: _Services) -> None:
    """``is_update`` is said to be false, because drivers would execute an update differently."""
    (result,) = _run(services, "CreatePreparedStatement", pack(m.ActionCreatePreparedStatementRequest("SELECT 1")))
    message = unpack(result)
    assert isinstance(message, m.ActionCreatePreparedStatementResult)
    assert message.prepared_statement_handle == b"SELECT 1"
    assert message.is_update is False
    assert pa.ipc.read_schema(pa.py_buffer(message.dataset_schema)).names == ["a"]
    assert pa.ipc.read_schema(pa.py_buffer(message.parameter_schema)).names == ["1"]


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


@pytest.mark.parametrize("name", ["", "BeginTransaction", "createpreparedstatement", "catalog.lst", "x" * 10_000])
def test_unknown_actions_are_unsupported(services: _Services, name: str) -> None:
    """Drivers probe for actions and take UNIMPLEMENTED as the answer."""
    with pytest.raises(FlightmeshError, match="There is no action") as failure:
        _run(services, name)
    assert failure.value.code is ErrorCode.UNSUPPORTED
    assert len(str(failure.value)) < 300


@pytest.mark.parametrize("name", ["CreatePreparedStatement", "ClosePreparedStatement"])
@pytest.mark.parametrize(
    "body", [b"", b"junk", pack(m.CommandGetCatalogs()), b"x" * (Limits().action_body_bytes_max + 1)], ids=len
)
def test_wrong_bodies_are_invalid(services: _Services, name: str, body: bytes) -> None:
    """Empty, broken, of another message or too large: refused, and nothing was called."""
    with pytest.raises(FlightmeshError) as failure:
        _run(services, name, body)
    assert failure.value.code is ErrorCode.INVALID
    assert services.closed == []


def test_every_action_is_described() -> None:
    """ListActions shows these to whoever explores the server."""
    assert all(action.description.endswith(".") for action in actions.ACTIONS.values())

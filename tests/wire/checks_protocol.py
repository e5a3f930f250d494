"""Checks of what drivers hide: Flight's own calls and every action, by a client that packs the messages itself."""

from __future__ import annotations

import json
import threading
import time

import pytest

from flightmesh.flight.actions import ACTIONS
from flightmesh.flightsql.enums import CancelResult, CloseSessionStatus
from tests.wire.checks import ENDLESS, PUBLIC, Stage, check, refused, value
from tests.wire.checks_writes import ROWS
from tests.wire.client import Client, Refused
from tests.wire.pyarrow_client import PyArrowClient


def _packing(client: Client) -> PyArrowClient:
    assert isinstance(client, PyArrowClient)
    return client


@check("protocol")
def check_paths(client: Client, stage: Stage) -> None:
    """Ports are listed as flights and read by their path, without SQL."""
    packing = _packing(client)
    assert packing.flights() == tuple(names[:3] for names in PUBLIC)
    assert len(packing.by_path("clinical", "trials", "arms").rows) == 4


@check("protocol")
def check_list_of_actions(client: Client, stage: Stage) -> None:
    """Every action that is listed is one that is answered, and none else is."""
    packing = _packing(client)
    assert packing.actions() == tuple(ACTIONS)
    with refused("unsupported", "There is no action BeginSavepoint"):
        packing.act("BeginSavepoint")


@check("protocol")
def check_actions_of_our_own(client: Client, stage: Stage) -> None:
    """Products are listed, and a statement is explained, as JSON."""
    packing = _packing(client)
    assert [json.loads(body)["product"] for body in packing.act("catalog.list")] == [
        "aviation.flights",
        "clinical.trials",
    ]
    (explained,) = packing.act("query.explain", b'{"sql": "SELECT * FROM clinical.trials.arms"}')
    assert json.loads(explained)["engine"] == "duckdb"


@check("protocol")
def check_renewal(client: Client, stage: Stage) -> None:
    """A ticket that was renewed expires no earlier, and is read as before."""
    assert len(_packing(client).renewed("SELECT * FROM clinical.trials.arms").rows) == 4


@check("protocol")
def check_the_older_cancel(client: Client, stage: Stage) -> None:
    """CancelQuery, which newer drivers no longer send, is answered."""
    assert _packing(client).cancel_query("SELECT 1 AS v") in (
        CancelResult.CANCEL_RESULT_CANCELLED,
        CancelResult.CANCEL_RESULT_CANCELLING,
        CancelResult.CANCEL_RESULT_NOT_CANCELLABLE,
    )


@check("protocol", own=True)
def check_closing_a_session(client: Client, stage: Stage) -> None:
    """A closed session is over, and its temporary tables with it."""
    packing = _packing(client)
    assert packing.ingest("mine", ROWS, "create") == 3
    assert packing.close_session() in (CloseSessionStatus.CLOSED, CloseSessionStatus.CLOSING)
    with pytest.raises(Refused):
        packing.query("SELECT * FROM mine")


@check("protocol", own=True)
def check_rows_by_a_path(client: Client, stage: Stage) -> None:
    """Rows are brought by DoPut to a path alone, too: a tool needs no Flight SQL for that."""
    packing = _packing(client)
    packing.put("mine", ROWS)
    assert value(packing, "SELECT count(*) AS n FROM mine") == 3


@check("protocol", own=True)
def check_kill(client: Client, stage: Stage) -> None:
    """Who runs a query finds it on the list and stops it from another session; nobody else does either."""
    beside, stranger = _packing(stage.other()), _packing(stage.other("steward"))
    running = threading.Thread(target=_until_refused, args=(client,), daemon=True)
    running.start()
    body = json.dumps({"id": _listed(beside)["id"]}).encode()
    assert [each for each in map(json.loads, stranger.act("query.list")) if each["sql"] == ENDLESS] == []
    with refused("not_found", "no such running query"):
        stranger.act("query.kill", body)
    (killed,) = beside.act("query.kill", body)
    assert json.loads(killed)["status"] in ("cancelled", "cancelling")
    running.join(10)
    assert not running.is_alive(), "the query goes on"


def _until_refused(client: Client) -> None:
    with pytest.raises(Refused):
        client.count(ENDLESS)


def _listed(client: PyArrowClient) -> dict[str, str]:
    """The endless query on the caller's list, as soon as it is there."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for each in map(json.loads, client.act("query.list")):
            if each["sql"] == ENDLESS:
                return dict(each)
        time.sleep(0.02)
    raise AssertionError("the running query is on no list")


@check("protocol", own=True)
def check_rows_brought_in_a_transaction(client: Client, stage: Stage) -> None:
    """Rows that are brought in a transaction go with it."""
    client.begin()
    client.ingest("brought", ROWS, "create")
    assert value(client, "SELECT count(*) FROM brought") == 3
    client.rollback()
    with refused("not_found"):
        client.query("SELECT * FROM brought")
    client.begin()
    client.ingest("brought", ROWS, "create")
    client.commit()
    assert value(client, "SELECT count(*) FROM brought") == 3

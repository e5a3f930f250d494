"""What is FlightSqlClient's own in the wire suite: the habits of Arrow's Java library that no other client has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from tests.wire.client import Login, Refused
from tests.wire.java_client import JavaFlightSql, missing

if TYPE_CHECKING:
    from tests.conftest import ServedBy

pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(missing() is not None, reason=missing() or ""),
    pytest.mark.timeout(600),  # the first test of a fresh checkout waits for Maven
]


@pytest.fixture
def java(server: ServedBy, tmp_path: Path) -> Iterator[JavaFlightSql]:
    """A connection of a signed-in user's own."""
    client = JavaFlightSql(Login(server.uri, token=server.tokens["analyst"]), tmp_path)
    yield client
    client.close()


def test_the_actions_are_those_the_client_has_calls_for(java: JavaFlightSql) -> None:
    """ListActions is what a client may call; savepoints and Substrait are not offered and not listed."""
    actions = set(java.ask("actions"))
    assert {"CreatePreparedStatement", "ClosePreparedStatement", "BeginTransaction", "EndTransaction"} <= actions
    assert {"CancelFlightInfo", "CancelQuery", "RenewFlightEndpoint"} <= actions
    assert {"SetSessionOptions", "GetSessionOptions", "CloseSession"} <= actions
    assert not {"BeginSavepoint", "EndSavepoint", "CreatePreparedSubstraitPlan"} & actions


def test_a_statement_closed_without_credentials_costs_nothing(java: JavaFlightSql) -> None:
    """PreparedStatement.close(), which try-with-resources calls, sends the cookie and no credentials: it is quiet, and
    the session with its tables is still there.
    """
    java.set_session("clinical", "trials")
    java.update("CREATE TEMP TABLE kept (a INTEGER)")
    assert java.ask("close_unsigned", sql="SELECT 1")["catalog"] == "clinical"
    assert java.query("SELECT count(*) FROM kept").rows == ((0,),)


def test_unsigned_numbers_are_widened_unless_switched_off(server: ServedBy, tmp_path: Path) -> None:
    """The driver of JDBC stands on this library and has its user agent; who reads vectors can have them unsigned."""
    sql = "SELECT 255::UTINYINT AS a, 18446744073709551615::UBIGINT AS b, 1::UHUGEINT AS c"
    shown: dict[str, object] = {}
    for wanted in ("true", "false"):
        client = JavaFlightSql(Login(server.uri, options={"x-flightmesh-java-types": wanted}), tmp_path)
        shown[wanted] = client.query(sql).rows
        client.close()
    assert shown == {"true": ((255, str(2**64 - 1), "1"),), "false": ((255, 2**64 - 1, "1"),)}


def test_a_renewed_ticket_gives_the_rows(java: JavaFlightSql) -> None:
    """The library sends back an expiration time that it has misread (57 years off): the server must not believe it."""
    answer = java.ask("renew", sql="SELECT 1 AS a")
    assert answer["rows"] == [[1]]
    assert len(answer["expirations"]) == 1


def test_a_result_of_many_batches_is_read_whole(java: JavaFlightSql) -> None:
    """Rows over all endpoints and batches."""
    assert java.count("SELECT i, i::VARCHAR AS s FROM range(1000000) r(i)") == 1_000_000


def test_own_rows_are_brought_in_every_type_and_read_back(java: JavaFlightSql) -> None:
    """executeIngest of what Java reads from an Arrow stream; NULL is no empty text, and an instant keeps its zone."""
    data = pa.table(
        {
            "whole": pa.array([1, None], pa.int16()),
            "text": pa.array(["", None]),
            "instant": pa.array([0, None], pa.timestamp("us", "UTC")),
            "list": pa.array([[1, None], None], pa.list_(pa.int64())),
        }
    )
    assert java.ingest("brought", data, "create") == 2
    assert java.ingest("brought", data, "append") == 2
    first = (1, "", "1970-01-01T00:00:00Z", [1, None])
    assert java.query("SELECT * FROM brought WHERE whole = ?", [1]).rows == (first, first)
    assert java.ingest("brought", data.slice(1), "replace") == 1
    assert java.query("SELECT * FROM brought").rows == ((None, None, None, None),)
    with pytest.raises(Refused, match="brought"):
        java.ingest("brought", data, "create")


def test_too_many_parameters_and_wrong_types_are_refused(java: JavaFlightSql) -> None:
    """FlightSqlClient binds whatever vectors it is given: it is the server that has to look."""
    with pytest.raises(Refused, match="Parameters of the statement: 1; bound: 2"):
        java.query("SELECT ?::INTEGER", [1, 2])
    with pytest.raises(Refused, match="INT32"):
        java.query("SELECT ?::INTEGER", ["abc"])

"""Values for the parameters of a statement."""

from __future__ import annotations

import decimal
import uuid
from collections.abc import Callable

import pytest

from flightmesh.client import Client, Parameters
from flightmesh.errors import ErrorCode, FlightmeshError

Refused = Callable[[ErrorCode, Callable[[], object]], FlightmeshError]


def test_parameters_in_order(client: Client) -> None:
    """Positions count, and a value may be used where a number of another width is expected."""
    found = client.sql("SELECT count(*) AS n FROM aviation.flights.flights WHERE carrier = ? AND month = ?", ("EV", 1))
    assert found.arrow().to_pylist() == [{"n": 4171}]


def test_uuids_are_bound_as_text(client: Client) -> None:
    """Arrow's extension type for them is none that the server binds."""
    key = uuid.uuid4()
    assert client.sql("SELECT $k AS k", {"k": key}).arrow().to_pylist() == [{"k": str(key)}]


@pytest.mark.parametrize(
    ("query", "params", "fact"),
    [
        ("SELECT $carrier", {"carier": "EV"}, "no parameter $carier"),
        ("SELECT $a, $b", {"a": 1}, "No value is given for $b."),
        ("SELECT ?", [1, 2], "1 wanted, 2 given"),
        ("SELECT ?", "x", "a text"),
        ("SELECT ?", [object()], "type object"),
        ("SELECT ?", [10**40], "over 38 digits"),
        ("SELECT ?", [decimal.Decimal("NaN")], "cannot be bound"),
        ("SELECT ?", None, "none is bound"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(
    refused: Refused, client: Client, query: str, params: Parameters, fact: str
) -> None:
    """By position, a wrong name would silently bind the wrong value."""
    assert fact in refused(ErrorCode.INVALID, client.sql(query, params).arrow).message


def test_named_parameters_of_several_filters_add_up(client: Client) -> None:
    """Each filter brings its own values."""
    table = (
        client.table("aviation.flights.flights")
        .filter("carrier = $who", {"who": "EV"})
        .filter("month = $month", {"month": 1})
    )
    assert table.count() == 4171

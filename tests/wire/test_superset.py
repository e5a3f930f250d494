"""Superset's path to the server, without its web pages, and the page about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.wire import superset_client
from tests.wire.client import Login, Refused

if TYPE_CHECKING:
    from tests.conftest import ServedBy

# The first test of a fresh checkout installs 150 packages, in a minute or two.
pytestmark = [pytest.mark.clients, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def client(server: ServedBy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[superset_client.SupersetClient]:
    """Signed in, in the product of the flights."""
    reason = superset_client.missing()
    if reason is not None:
        pytest.skip(reason)
    options = {"catalog": "aviation", "schema": "flights"}
    login = Login(server.uri, "analyst", server.password("analyst"), options=options)
    client = superset_client.connect(login, tmp_path_factory.mktemp("superset"))
    yield client
    client.close()


def test_sql_lab_shows_rows(client: superset_client.SupersetClient) -> None:
    """An analyst's statement, with a list and a struct in it, comes back as its rows."""
    shown = client.query(
        "SELECT origin, count(*) AS n, [1, 2] AS l FROM flights.flights GROUP BY origin ORDER BY origin"
    )
    assert shown.columns == ("origin", "n", "l")
    assert [row[:2] for row in shown.rows] == [("EWR", 120835), ("JFK", 111279), ("LGA", 104662)]


def test_sql_lab_shows_the_servers_words(client: superset_client.SupersetClient) -> None:
    """Whoever mistypes a column is told which."""
    with pytest.raises(Refused, match="no_such_column"):
        client.query("SELECT no_such_column FROM flights.flights")


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("'-9223372036854775808'::BIGINT", str(-(2**63))),
        ("1.50::DECIMAL(4,2)", "1.50"),
        ("DATE '2024-02-29'", "2024-02-29"),
        ("[1, NULL, 3]", "[1, null, 3]"),
        ("{'a': 1, 'b': 'x'}", "{'a': 1, 'b': 'x'}"),
        ("MAP {'a': 1}", '[["a", 1]]'),
        ("18446744073709551615::UBIGINT::VARCHAR", str(2**64 - 1)),
    ],
)
def test_sql_lab_shows_what_the_page_says(client: superset_client.SupersetClient, sql: str, shown: str) -> None:
    """The table of types leaves Superset out and refers to its page: what a browser cannot show is text."""
    assert client.query(f"SELECT {sql} AS v").rows == ((shown,),)


def test_sql_lab_cannot_show_the_largest_numbers(client: superset_client.SupersetClient) -> None:
    """An analyst meets an error rather than another number."""
    with pytest.raises((Refused, AssertionError)):
        client.query("SELECT 18446744073709551615::UBIGINT AS v")


def test_an_api_token_signs_in(server: ServedBy, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The address has no place for a token, but one for a user and a password."""
    login = Login(server.uri, "token", server.tokens["steward"], options={"catalog": "clinical", "schema": "trials"})
    client = superset_client.connect(login, tmp_path_factory.mktemp("superset-token"))
    assert client.query("SELECT count(*) AS n FROM trials.patients").rows == ((2139,),)
    client.close()


def test_the_browser_lists_what_is_served(client: superset_client.SupersetClient) -> None:
    """Datasets are made from these lists."""
    assert client.schemas() == (("aviation", "flights"),)
    names = [table for _, _, table, _ in client.tables()]
    assert names == ["daily_delays", "flights", "route_performance"]
    columns = client.columns("aviation", "flights", "daily_delays")
    assert ("flight_date", "DATE") in [(column["name"], column["type_name"]) for column in columns]


def test_a_chart_by_a_column(client: superset_client.SupersetClient) -> None:
    """A bar chart: a measure by a column, the largest first."""
    chart = client.chart("flights", "flights", "origin", "count(*)")
    assert chart.rows == (("EWR", 120835), ("JFK", 111279), ("LGA", 104662))


def test_a_chart_by_month(client: superset_client.SupersetClient) -> None:
    """A line chart needs the grains of the page's configuration."""
    chart = client.chart("flights", "daily_delays", "flight_date", "count(DISTINCT flight_date)", grain="P1M")
    assert len(chart.rows) == 12
    assert sum(row[1] for row in chart.rows) == 365

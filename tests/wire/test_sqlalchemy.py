"""What only SQLAlchemy has, and the page about it; what every client has is in the common suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.test_docs import Block
from tests.wire import sqlalchemy_client
from tests.wire.client import Login, Refused
from tests.wire.dialects.pages import printed, snippets

if TYPE_CHECKING:
    from tests.conftest import ServedBy

# The first test of a fresh checkout installs the environment.
pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]
IN_FLIGHTS = {"catalog": "aviation", "schema": "flights"}


@pytest.fixture(scope="module", autouse=True)
def _environment() -> None:
    reason = sqlalchemy_client.missing()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture
def client(server: ServedBy, tmp_path: Path) -> Iterator[sqlalchemy_client.SqlAlchemyClient]:
    """Anonymous, in the product of the flights."""
    client = sqlalchemy_client.connect(Login(server.uri, options=IN_FLIGHTS), tmp_path)
    yield client
    client.close()


@pytest.mark.parametrize("block", snippets("sqlalchemy.md"), ids=lambda block: f"line {block.line}")
def test_the_page_prints_what_it_says(block: Block, server: ServedBy) -> None:
    """Whoever copies the snippet gets what the page promises."""
    assert printed(block, sqlalchemy_client.ENVIRONMENT, server.uri, server.tokens["steward"]) == block.printed


def test_the_address_names_catalogue_and_schema(client: sqlalchemy_client.SqlAlchemyClient) -> None:
    """Who gives the product in the address need not name it in each statement."""
    assert client.session() == ("aviation", "flights")
    assert client.query("SELECT count(*) FROM flights").rows == ((336776,),)


def test_a_reflected_table_is_queried(client: sqlalchemy_client.SqlAlchemyClient) -> None:
    """The whole of SQLAlchemy's Core stands on reflection."""
    assert client.bridge.ask("has_table", schema="flights", table="flights")
    assert not client.bridge.ask("has_table", schema="flights", table="no_flights")
    counted = client.bridge.result("counted_by", schema="flights", table="flights", column="origin")
    assert counted.columns == ("origin", "rows")
    assert counted.rows == (("EWR", 120835), ("JFK", 111279), ("LGA", 104662))


def test_core_writes_to_a_temporary_table(client: sqlalchemy_client.SqlAlchemyClient) -> None:
    """Insert, update and delete of Core do what they say; only for several rows at once the driver knows the count."""
    rows = [{"a": 1, "b": "x"}, {"a": 2, "b": None}, {"a": 3, "b": "z"}]
    assert client.bridge.ask("own_table", name="of_core", rows=rows) == [3, -1, -1]
    assert client.query("SELECT a, b FROM of_core").rows == ((1, "altered"),)


def test_a_rollback_undoes_and_the_connection_goes_on(client: sqlalchemy_client.SqlAlchemyClient) -> None:
    """The dialect ends transactions by the words COMMIT and ROLLBACK while the driver keeps its own: both must hold."""
    client.update("CREATE TEMPORARY TABLE kept (a BIGINT)")
    client.begin()
    client.update("INSERT INTO kept VALUES (1)")
    client.rollback()
    client.update("INSERT INTO kept VALUES (2)")
    client.begin()
    client.update("INSERT INTO kept VALUES (3)")
    client.commit()
    assert client.query("SELECT a FROM kept ORDER BY a").rows == ((2,), (3,))


def test_a_user_signs_in_by_password_and_by_token(server: ServedBy, tmp_path: Path) -> None:
    """Somebody whom a policy lets in has both ways; a stranger is told no more than that there is no such table."""
    asked = "SELECT count(*) FROM clinical.trials.patients"
    logins = [
        Login(server.uri, "steward", server.password("steward")),
        Login(server.uri, "token", server.tokens["steward"]),
        Login(server.uri, token=server.tokens["steward"], options=IN_FLIGHTS),
    ]
    for login in logins:
        signed_in = sqlalchemy_client.connect(login, tmp_path)
        assert signed_in.query(asked).rows == ((2139,),)
        signed_in.close()
    stranger = sqlalchemy_client.connect(Login(server.uri), tmp_path)
    with pytest.raises(Refused, match="not_found"):
        stranger.query(asked)
    stranger.close()
    with pytest.raises(Refused, match="unauthenticated"):
        sqlalchemy_client.connect(Login(server.uri, "steward", "wrong"), tmp_path)

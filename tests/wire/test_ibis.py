"""What only Ibis has, and the page about it; what every client has is in the common suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from tests.test_docs import Block
from tests.wire import ibis_client
from tests.wire.client import Login, Refused
from tests.wire.dialects.pages import printed, snippets

if TYPE_CHECKING:
    from tests.conftest import ServedBy

# The first test of a fresh checkout installs the environment.
pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]
FLIGHTS = {"catalog": "aviation", "schema": "flights", "table": "flights"}


@pytest.fixture(scope="module", autouse=True)
def _environment() -> None:
    reason = ibis_client.missing()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture
def client(server: ServedBy, tmp_path: Path) -> Iterator[ibis_client.IbisClient]:
    """Anonymous, by ``ibis.gizmosql.connect``."""
    client = ibis_client.connect(Login(server.uri), tmp_path)
    yield client
    client.close()


@pytest.mark.parametrize("block", snippets("ibis.md"), ids=lambda block: f"line {block.line}")
def test_the_page_prints_what_it_says(block: Block, server: ServedBy) -> None:
    """Whoever copies the snippet gets what the page promises."""
    assert printed(block, ibis_client.ENVIRONMENT, server.uri, server.tokens["steward"]) == block.printed


def test_an_expression_becomes_a_query(client: ibis_client.IbisClient) -> None:
    """Users of Ibis write no SQL: what it makes of their expressions has to be understood."""
    counted = client.bridge.result("counted_by", **FLIGHTS, column="origin")
    assert counted.rows == (("EWR", 120835), ("JFK", 111279), ("LGA", 104662))
    assert client.bridge.ask("older_than", **FLIGHTS, column="arr_delay", bound=600) == 39


def test_temporary_tables_from_nothing_and_from_expressions(client: ibis_client.IbisClient) -> None:
    """Intermediate results are kept on the server, replaced and dropped, all by names within temp.main."""
    columns = {"origin": "string", "arr_delay": "float64"}
    source = ("aviation", "flights", "flights")
    assert client.bridge.ask("own_table", name="kept", columns=columns, source=source) == 336776
    with pytest.raises(Refused, match="kept"):
        client.query("SELECT * FROM kept")


def test_own_rows_are_joined(client: ibis_client.IbisClient) -> None:
    """People bring the list of what they are interested in."""
    assert client.ingest("mine", pa.table({"origin": ["LGA", "XXX"]}), "create") == 2
    assert client.bridge.ask("joined_with_own", **FLIGHTS, own="mine", column="origin") == 104662


def test_a_memtable_is_taken_where_the_session_says_so(client: ibis_client.IbisClient) -> None:
    """The backend asks for a table that is not temporary; its user is told so, and sets the option that takes it."""
    with pytest.raises(Refused, match="temporary"):
        client.bridge.ask("joined", **FLIGHTS, rows={"origin": ["LGA"]})
    client.update("SET new_tables = 'temporary'")
    assert client.bridge.ask("joined", **FLIGHTS, rows={"origin": ["LGA"]}) == 104662


def test_a_table_that_is_not_there_and_one_that_is_hidden(client: ibis_client.IbisClient) -> None:
    """Whoever mistypes a name is told so; whoever may not know of a table learns nothing from the words."""
    for path in (("aviation", "flights", "no_flights"), ("clinical", "trials", "patients")):
        with pytest.raises(Refused, match=f"not_found: There is no table {'.'.join(path)}"):
            client.columns(*path)


def test_a_token_is_the_password_of_the_user_token(server: ServedBy, tmp_path: Path) -> None:
    """``connect`` has no place for a token, but one for a user and a password."""
    signed_in = ibis_client.connect(Login(server.uri, "token", server.tokens["steward"]), tmp_path)
    assert signed_in.query("SELECT count(*) FROM clinical.trials.patients").rows == ((2139,),)
    signed_in.close()


def test_header_and_token_by_the_driver(server: ServedBy, tmp_path: Path) -> None:
    """A token, a catalogue and a schema, for which ``connect`` has no place, hold for the whole connection."""
    options = {"catalog": "clinical", "schema": "trials"}
    signed_in = ibis_client.connect(Login(server.uri, token=server.tokens["steward"], options=options), tmp_path)
    assert signed_in.session() == ("clinical", "trials")
    assert signed_in.query("SELECT count(*) FROM patients").rows == ((2139,),)
    signed_in.close()

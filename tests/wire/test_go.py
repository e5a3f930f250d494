"""What Go's ADBC has calls for and no other client of the suite: schemas of tables, depths of objects, contexts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.wire import go_client
from tests.wire.checks import ENDLESS
from tests.wire.client import Login, Refused

if TYPE_CHECKING:
    from tests.conftest import ServedBy
    from tests.wire.go_client import GoClient

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]

Dial = Callable[..., "GoClient"]
ARMS = {"arms": "int64", "arm_name": "utf8", "patients": "int64", "events": "int64", "median_days": "float64"}


@pytest.fixture
def dial(server: ServedBy, tmp_path: Path) -> Iterator[Dial]:
    """Opens connections, of nobody or of a user by token, until the test ends."""
    if (reason := go_client.missing()) is not None:
        pytest.skip(reason)
    with ExitStack() as opened:

        def connect(user: str | None = None, *, cookies: bool = False) -> GoClient:
            login = Login(server.uri, token=None if user is None else server.tokens[user])
            client = go_client.connect(login, tmp_path, cookies=cookies)
            opened.callback(client.close)
            return client

        yield connect


def test_a_tables_schema_is_that_of_the_table_named_and_of_no_pattern(dial: Dial) -> None:
    """The driver sends the name as a pattern and picks the row of that very name: anything less and it shows another
    table's columns.
    """
    client = dial()
    assert client.table_columns("clinical", "trials", "arms") == ARMS
    assert client.table_columns(None, None, "arms") == ARMS
    for name in ("arm_", "%", "none"):
        with pytest.raises(Refused, match=r"(?i)\bnot found\b"):
            client.table_columns("clinical", "trials", name)


def test_the_schema_is_the_same_with_and_without_prepare(dial: Dial) -> None:
    """Prepared or not, what is said of the columns beforehand is what the rows then have."""
    client, sql = dial(), 'SELECT arms AS "a.b", median_days FROM clinical.trials.arms'
    assert client.columns_of(sql) == client.columns_of(sql, prepare=True) == client.query(sql).columns
    assert client.types(sql) == ("int64", "float64")


def test_what_arrow_has_no_type_for_is_text_and_unsigned_numbers_stay_unsigned(dial: Dial) -> None:
    """A Go program switches on these types: text where Arrow has none, and nothing widened, which is Java's need."""
    client = dial()
    as_text = "SELECT '101'::BIT, 1::UHUGEINT, TIMETZ '12:00:00+02', '1'::BIGNUM, 1::VARIANT"
    assert client.types(as_text) == ("utf8",) * 5
    assert client.types("SELECT 1::UTINYINT, 1::UBIGINT") == ("uint8", "uint64")


@pytest.mark.parametrize(
    ("depth", "found"),
    [
        (1, {"aviation": None, "clinical": None}),
        (2, {"aviation": [], "clinical": ["trials"]}),
    ],
)
def test_objects_are_told_to_the_depth_asked_for(dial: Dial, depth: int, found: dict[str, list[str] | None]) -> None:
    """A catalogue without a schema that fits is listed all the same, as the standard of ADBC has it."""
    rows = dial().ask("objects", depth=depth, schema="tri%")["rows"]
    named = {
        catalog: None if schemas is None else [schema["db_schema_name"] for schema in schemas]
        for catalog, schemas in rows
    }
    assert named == found


def test_objects_can_be_narrowed_to_one_column(dial: Dial) -> None:
    """The filter of columns is the driver's own, over the schemas that the server sends."""
    rows = dial().ask("objects", depth=0, catalog="clinical", table="arms", column="%days")["rows"]
    columns = [
        column["column_name"]
        for _, schemas in rows
        for schema in schemas
        for table in schema["db_schema_tables"]
        for column in table["table_columns"]
    ]
    assert columns == ["median_days"]


@pytest.mark.parametrize("cookies", [False, True])
def test_the_session_is_kept_with_and_without_cookies(dial: Dial, cookies: bool) -> None:
    """Nobody's session hangs on the token that the server hands out, or on the cookie; the driver keeps the first by
    itself and the second only when told to.
    """
    client, other = dial(cookies=cookies), dial(cookies=cookies)
    client.set_session("clinical", "trials")
    assert client.session() == ("clinical", "trials")
    assert client.query("SELECT current_catalog() AS c, current_schema() AS s").rows == (("clinical", "trials"),)
    assert other.session() != ("clinical", "trials")


def test_parts_are_read_over_another_connection(dial: Dial) -> None:
    """Parts are made to be read by other workers, which have signed in as the same user."""
    parts = dial("analyst").ask("partitions", sql="SELECT * FROM range(5) AS t(i)")
    assert dial("analyst").ask("read_partitions", partitions=parts)["rows"] == [[0], [1], [2], [3], [4]]
    with pytest.raises(Refused):
        dial("site").ask("read_partitions", partitions=parts)


def test_a_cancelled_context_ends_its_own_query_only(dial: Dial) -> None:
    """Two queries at once on one connection: the one is cancelled, the other is answered in full."""
    client, counted = dial(), list[int]()
    other = threading.Thread(target=lambda: counted.append(client.count("SELECT * FROM range(30000000)")))
    other.start()
    assert client.cancel_running(ENDLESS) < 1
    other.join(60)
    assert counted == [30_000_000]


def test_a_connection_goes_from_transaction_to_transaction(dial: Dial) -> None:
    """With autocommit off the driver begins anew after each end: a row that was rolled back is in no later one."""
    client = dial("analyst")
    client.update("CREATE TEMP TABLE counted AS SELECT 0 AS i")
    client.ask("set", key="adbc.connection.autocommit", value="false")
    for number, end in ((1, "rollback"), (2, "commit"), (3, "rollback")):
        client.update(f"INSERT INTO counted VALUES ({number})")
        client.ask(end)
    client.ask("set", key="adbc.connection.autocommit", value="true")
    assert client.query("SELECT i FROM counted ORDER BY i").rows == ((0,), (2,))
    with pytest.raises(Refused, match="autocommit"):
        client.ask("commit")

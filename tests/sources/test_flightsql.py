"""Flight SQL sources, against this project's own server."""

from __future__ import annotations

import datetime
import signal

import pyarrow as pa
import pytest

from flightmesh.errors import ErrorCode
from flightmesh.sources.base import Narrowing
from flightmesh.sources.predicate import AllOf, Compare
from flightmesh.sources.secrets import Secrets
from tests.conftest import ServedBy
from tests.sources.live import failure, fetched, opened, table

WHERE = AllOf(
    (
        Compare("origin", "=", pa.scalar("JFK")),
        Compare("flight_date", "<", pa.scalar(datetime.date(2013, 2, 1))),
        Compare("dep_late_share", ">", pa.scalar(0.5)),
    )
)


@pytest.fixture
def keys(server: ServedBy) -> dict[str, object]:
    """The keys of a source over the bundled products, as the analyst sees them."""
    options = {"token": "${secret:TOKEN}"}
    return {"type": "flightsql", "uri": server.uri, "schema": "aviation.flights", "options": options}


@pytest.fixture
def secrets(server: ServedBy) -> Secrets:
    return Secrets({"FLIGHTMESH_SECRET_TOKEN": server.tokens["analyst"]})


@pytest.mark.client
def test_rows_are_narrowed_at_the_other_server(keys: dict[str, object], secrets: Secrets) -> None:
    """The whole table would cross the network for a few rows."""
    with opened(keys, secrets) as handle:
        assert ("tms", "daily_delays") in list(handle.tables)
        found = table(handle, "daily_delays")
        schema = found.schema()
        told = found.pushed(Narrowing(("carrier", "flights"), WHERE, 5))
        assert told.left == ()
        assert told.text == (
            'SELECT "carrier", "flights" FROM "aviation"."flights"."daily_delays" WHERE "origin" = \'JFK\''
            " AND \"flight_date\" < DATE '2013-02-01' AND \"dep_late_share\" > CAST('0.5' AS DOUBLE) LIMIT 5"
        )
        rows = fetched(found, "flight_date", "origin", "dep_late_share", where=WHERE, schema=schema)
        assert rows.num_rows > 0
        assert set(rows["origin"].to_pylist()) == {"JFK"}
        assert found.read().read_all().num_rows > rows.num_rows


@pytest.mark.client
def test_whole_queries_are_taken(keys: dict[str, object], secrets: Secrets) -> None:
    """A sum over another product would fetch the product."""
    with opened(keys, secrets) as handle:
        assert handle.database is not None
        assert handle.database.dialect == "duckdb"
        assert handle.database.relation(("tms", "daily_delays")) == ("aviation", "flights", "daily_delays")
        sql = 'SELECT count(*) AS n FROM "aviation"."flights"."flights"'
        assert (
            handle.database.query(sql, pa.schema([("n", pa.int64())])).reader.read_all().to_pylist()[0]["n"] > 300_000
        )


@pytest.mark.client
def test_tables_may_be_named_in_full(keys: dict[str, object], secrets: Secrets) -> None:
    """A source over two products of a server would have to be two sources."""
    full = "clinical.trials.arms"
    with opened({**keys, "schema": None, "tables": (full,)}, secrets) as handle:
        assert list(handle.tables) == [("tms", full)]
        assert fetched(table(handle, full)).num_rows > 0


@pytest.mark.client
def test_a_wrong_token_is_told_without_it(keys: dict[str, object]) -> None:
    """The author would look for the mistake in the table's name, or the token would stand in a log."""
    with opened(keys, Secrets({"FLIGHTMESH_SECRET_TOKEN": "fm_wrong_token"})) as handle:
        error = failure(table(handle, "clinical.trials.patients").schema)
        assert "fm_wrong_token" not in str(error)


@pytest.mark.client
def test_a_server_that_is_down_or_hangs_is_told(server: ServedBy, keys: dict[str, object], secrets: Secrets) -> None:
    """A consumer would wait for another server's answer for ever."""
    with opened({**keys, "timeout": "1s"}, secrets) as handle:
        found = table(handle, "daily_delays")
        schema = found.schema()
        server.process.send_signal(signal.SIGSTOP)
        try:
            assert failure(lambda: fetched(found, schema=schema), within_s=2).code is ErrorCode.DEADLINE
        finally:
            server.process.send_signal(signal.SIGCONT)
    with opened({**keys, "uri": "grpc://127.0.0.1:1", "timeout": "2s"}, secrets) as handle:
        error = failure(table(handle, "daily_delays").schema)
        assert error.code in (ErrorCode.UNAVAILABLE, ErrorCode.DEADLINE)


def test_an_address_is_needed() -> None:
    """The driver's own words speak of URI schemes."""
    assert failure(lambda: opened({"type": "flightsql"}).__enter__()).code is ErrorCode.INVALID

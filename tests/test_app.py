"""The composition root: what is wired together answers, starts quickly once built, and refuses what would be unsafe."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.flight as fl
import pytest

from flightmesh import app
from flightmesh.config import Config
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flightsql import messages as m
from flightmesh.flightsql.codec import pack

PRODUCTS = Path(__file__).parents[1] / "products"
READY_S_MAX = 3.0


@contextmanager
def running(config: Config) -> Iterator[app.Application]:
    """The application until the block ends, stopped as a signal would stop it."""
    with app.running(config, on_progress=lambda _text: None) as application:
        yield application
        assert application.stop()


@pytest.fixture
def config(state: Path) -> Config:
    """The smaller of the bundled products on a free port."""
    return Config(port=0, state=state, products=(PRODUCTS / "clinical_trials",))


def test_a_second_start_reuses_the_snapshots(config: Config) -> None:
    """An operator restarts a server without paying for the build again: ready within 3 s (acceptance line 1)."""
    with running(config) as first:
        assert first.ready.products == ("clinical.trials",)
    told: list[str] = []
    with app.running(config, on_progress=told.append) as second:
        assert second.stop()
    assert second.ready.seconds <= READY_S_MAX
    assert told == ["clinical.trials: snapshot is up to date"]


def test_what_is_ready_answers(config: Config) -> None:
    """The address in the ready line is the one clients connect to; a name in it is a name they can read."""
    with running(config) as application, fl.connect(application.ready.uri) as client:
        assert application.ready.tables == ("clinical.trials.patients", "clinical.trials.arms")
        info = client.get_flight_info(fl.FlightDescriptor.for_path("clinical", "trials", "arms"))
        assert client.do_get(info.endpoints[0].ticket).read_all()["patients"].to_pylist() == [532, 522, 524, 561]


def test_a_plaintext_listener_for_others_is_refused(config: Config) -> None:
    """Passwords and patients' rows must not cross a network in the clear because somebody wrote 0.0.0.0."""
    exposed = dataclasses.replace(config, host="0.0.0.0")
    with pytest.raises(FlightmeshError) as caught, running(exposed):
        pass
    assert caught.value.code is ErrorCode.INVALID
    assert "tls" in (caught.value.hint or "").lower()


def test_one_state_directory_has_one_server(config: Config) -> None:
    """Two servers that publish and delete in one directory would take each other's files away."""
    with running(config), pytest.raises(FlightmeshError) as caught, running(config):
        pass
    assert caught.value.code is ErrorCode.UNAVAILABLE


def test_the_bundled_products_have_no_problem() -> None:
    """What we ship is the example that others copy."""
    results = {result.product: result for result in app.check([PRODUCTS])}
    assert set(results) == {"aviation.flights", "clinical.trials"}
    assert all(result.problems == () for result in results.values())
    assert results["aviation.flights"].ports == ("flights", "daily_delays", "route_performance")


def test_temporary_tables_survive_a_restart(config: Config) -> None:
    """A server is stopped and started again: its sessions' tokens still open their tables."""

    def answered(client: fl.FlightClient, sql: str, headers: list[tuple[bytes, bytes]]) -> list[dict[str, object]]:
        options = fl.FlightCallOptions(headers=headers)
        info = client.get_flight_info(fl.FlightDescriptor.for_command(pack(m.CommandStatementQuery(sql))), options)
        rows: list[dict[str, object]] = client.do_get(info.endpoints[0].ticket, options).read_all().to_pylist()
        return rows

    with running(config) as application, fl.connect(application.ready.uri) as client:
        token = client.authenticate_basic_token(b"", b"")
        assert answered(client, "CREATE TEMP TABLE own AS SELECT 7 AS n", [token]) == [{"Count": 0}]
        assert application.ready.mtls_uri is None
        assert len(application.servers) == 1
    with running(config) as application, fl.connect(application.ready.uri) as client:
        assert answered(client, "SELECT n FROM own", [token]) == [{"n": 7}]
        other = client.authenticate_basic_token(b"", b"")
        with pytest.raises(pa.ArrowKeyError, match="There is no table own"):
            answered(client, "SELECT n FROM own", [other])

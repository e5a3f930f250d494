"""What the tests over sockets share: the independently counted figures, and Flight SQL commands sent by hand."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest

from flightmesh.flightsql.codec import pack

# A failed assertion of a check is told like one of a test; to be said before the checks are imported.
pytest.register_assert_rewrite(*(f"tests.wire.{path.stem}" for path in Path(__file__).parent.glob("checks*.py")))

from tests.wire.bench import VARIABLE, Bench  # noqa: E402

if TYPE_CHECKING:
    from tests.conftest import ServedBy

_EXPECTED = Path(__file__).parents[1] / "products" / "expected.json"


@pytest.fixture(scope="session")
def expected() -> Mapping[str, Any]:
    """The figures of ``tests/products/count_expected.py``: counted from the raw files, by no engine of ours."""
    figures: Mapping[str, Any] = json.loads(_EXPECTED.read_text())
    return figures


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory, expected: Mapping[str, Any]) -> Iterator[Bench]:
    """The bundled products, served by a process that notes every call, and the suite's connections to it."""
    from tests.conftest import serving

    folder = tmp_path_factory.mktemp("wire")
    record = folder / "record"
    record.touch()
    os.environ[VARIABLE] = str(record)
    try:
        with serving(folder / "server", program=(str(Path(__file__).parent / "recording.py"),)) as server:
            bench = Bench(server, expected, record, folder)
            yield bench
            bench.close()
    finally:
        del os.environ[VARIABLE]


@pytest.fixture
def flight(server: ServedBy) -> Callable[[str], pa.Table]:
    """The rows of a statement, read anonymously by pyarrow.flight the way of the protocol: information, then ticket."""
    from flightmesh.flightsql import messages as m

    def read(sql: str) -> pa.Table:
        client, options = server.flight()
        with client:
            info = client.get_flight_info(_command(m.CommandStatementQuery(sql)), options)
            assert len(info.endpoints) == 1, "some stock clients refuse anything but one endpoint"
            return client.do_get(info.endpoints[0].ticket, options).read_all()

    return read


@pytest.fixture
def adbc(server: ServedBy) -> Callable[[str], pa.Table]:
    """The rows of a statement, read anonymously by the stock ADBC driver."""

    def read(sql: str) -> pa.Table:
        with server.adbc() as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetch_arrow_table()

    return read


@pytest.fixture
def ask(server: ServedBy) -> Callable[..., pa.Table]:
    """The answer to a Flight SQL command (for a user, or anonymously): GetFlightInfo, GetSchema and DoGet agree."""

    def answer(command: Any, user: str | None = None) -> pa.Table:
        client, options = server.flight(user)
        with client:
            info = client.get_flight_info(_command(command), options)
            table = client.do_get(info.endpoints[0].ticket, options).read_all()
            schema = client.get_schema(_command(command), options).schema
        assert schema.equals(table.schema, check_metadata=True)
        assert info.schema.equals(table.schema, check_metadata=True)
        return table

    return answer


@pytest.fixture
def start_small(start: Callable[..., Any]) -> Callable[..., Any]:
    """Starts a server of the test's own over the smaller of the bundled products, which takes a second."""
    return functools.partial(start, products=[Path(__file__).parents[2] / "products" / "clinical_trials"])


def _command(message: Any) -> fl.FlightDescriptor:
    return fl.FlightDescriptor.for_command(pack(message))

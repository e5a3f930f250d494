"""R's own functions for Flight, by reticulate with Debian's R and by R's arrow package where that is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from tests.wire import r_arrow_client, r_client
from tests.wire.client import Login, Refused
from tests.wire.clients import left_out

if TYPE_CHECKING:
    from tests.conftest import ServedBy
    from tests.wire.r_client import RClient

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]

Dial = Callable[..., "RClient"]


RUNNING = {"r": r_client, "r-arrow": r_arrow_client}


@pytest.fixture(params=[pytest.param(client, id=name) for name, client in RUNNING.items() if name not in left_out()])
def module(request: pytest.FixtureRequest) -> ModuleType:
    """Each of the two clients."""
    found: ModuleType = request.param
    if (reason := found.missing()) is not None:
        pytest.skip(reason)
    return found


@pytest.fixture
def dial(server: ServedBy, module: ModuleType, tmp_path: Path) -> Iterator[Dial]:
    """Opens connections, of nobody or of a user by token, until the test ends."""
    with ExitStack() as opened:

        def connect(user: str | None = None) -> RClient:
            login = Login(server.uri, token=None if user is None else server.tokens[user])
            client: RClient = module.connect(login, tmp_path)
            opened.callback(client.close)
            return client

        yield connect


def test_flights_are_listed_and_found(dial: Dial) -> None:
    """R shows the first part of a path, and takes a path for missing only if the error is of the kind it knows."""
    client = dial()
    assert client.list_flights() == ("aviation", "aviation", "aviation", "clinical")
    assert client.flight_path_exists("clinical.trials.arms")
    assert not client.flight_path_exists("clinical.trials.none")
    assert not client.flight_path_exists("nothing")


def test_a_flight_is_got_by_its_name(dial: Dial) -> None:
    """R can send a path of one part only, so a table's whole name is one."""
    client = dial()
    got = client.flight_get("clinical.trials.arms")
    assert got == client.query("SELECT * FROM clinical.trials.arms")
    assert got.columns == ("arms", "arm_name", "patients", "events", "median_days")
    assert len(got.rows) == 4
    with pytest.raises(Refused, match=r"There is no table clinical\.trials\.none"):
        client.flight_get("clinical.trials.none")


def test_a_table_is_put_replaced_and_joined(dial: Dial) -> None:
    """What R puts stands in the session's own place, for this user alone."""
    client = dial("analyst")
    client.flight_put("temp.main.mine", pa.table({"arms": [0, 9], "note": ["first", None]}))
    joined = "SELECT note FROM mine JOIN clinical.trials.arms USING (arms)"
    assert client.query(joined).rows == (("first",),)
    client.flight_put("temp.main.mine", pa.table({"arms": [1, 2], "note": ["x", "y"]}))
    assert client.query(f"{joined} ORDER BY note").rows == (("x",), ("y",))
    with pytest.raises(Refused, match="exists"):
        client.flight_put("temp.main.mine", pa.table({"arms": [3]}), overwrite=False)
    assert client.flight_get("temp.main.mine").rows == ((1, "x"), (2, "y"))
    assert not dial("site").flight_path_exists("temp.main.mine")


def test_a_table_is_not_put_elsewhere(dial: Dial) -> None:
    """A product's port stays as it is, whatever R's default of overwriting says."""
    client = dial("analyst")
    with pytest.raises(Refused, match=r"\b(invalid|denied|unsupported): "):
        client.flight_put("clinical.trials.arms", pa.table({"arms": [1]}))
    assert len(client.flight_get("clinical.trials.arms").rows) == 4


@pytest.mark.parametrize(
    ("sql", "reticulate", "arrow"),
    [
        ("true", "logical", "logical"),
        ("1::INTEGER", "integer", "integer"),
        ("9007199254740993::BIGINT", "integer", "integer64"),
        ("0.5::DOUBLE", "numeric", "numeric"),
        ("1.50::DECIMAL(9,2)", "decimal.Decimal/python.builtin.object", "numeric"),
        ("'x'", "character", "character"),
        ("DATE '2024-02-29'", "Date", "Date"),
        ("TIME '12:34:56'", "datetime.time/python.builtin.object", "hms/difftime"),
        ("TIMESTAMPTZ '2024-02-29 12:34:56+00'", "POSIXct/POSIXt", "POSIXct/POSIXt"),
        ("{'a': 1}", "list", "tbl_df/tbl/data.frame"),
    ],
)
def test_columns_have_the_classes_that_the_page_for_r_tells(
    dial: Dial, module: ModuleType, sql: str, reticulate: str, arrow: str
) -> None:
    """Whoever reads the page for R finds their column as it says."""
    (found,) = dial().types(f"SELECT {sql} AS v")
    assert found == (reticulate if module is r_client else arrow)

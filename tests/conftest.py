"""What every test stands on: reproducible properties, no settings from outside, and in CI no skipped test."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import adbc_driver_flightsql.dbapi as adbc
import pyarrow.flight as fl
import pytest
from hypothesis import settings

from tests.postgres import Postgres, find_postgres, running_postgres

# Derandomised: the same commit gives the same verdict. No deadline: two cores may be shared with other runs.
settings.register_profile("flightmesh", derandomize=True, deadline=None, database=None, print_blob=True)
settings.load_profile("flightmesh")


def pytest_configure() -> None:
    """Forgets the caller's own server settings, so that a test means the same in every shell."""
    kept = ("FLIGHTMESH_CI", "FLIGHTMESH_WIRE_CACHE")
    for name in [name for name in os.environ if name.startswith("FLIGHTMESH_") and name not in kept]:
        del os.environ[name]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The report of the test; with FLIGHTMESH_CI set, a skipped test is a failed one: CI has to have everything."""
    report = yield
    if os.environ.get("FLIGHTMESH_CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped in CI: {call.excinfo.value if call.excinfo else 'no reason'}"
    return report


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """An empty state directory of the test's own."""
    directory = tmp_path / "state"
    directory.mkdir()
    return directory


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server shared by the tests that only read and that clean up; skipped where none is installed."""
    binaries = find_postgres()
    if binaries is None:
        pytest.skip("needs a PostgreSQL server (apt-get install postgresql)")
    with running_postgres(binaries) as server:
        yield server


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of one test's own, to be stopped, paused and altered."""
    binaries = find_postgres()
    if binaries is None:
        pytest.skip("needs a PostgreSQL server (apt-get install postgresql)")
    with running_postgres(binaries) as server:
        yield server


# --- Fixtures shared by several rooms ---------------------------------------------------------------------------------

ROOT = Path(__file__).parents[1]
# Everybody's password below is the user's name followed by this.
_PASSWORD_TAIL = "-password"
ROLES: Mapping[str, tuple[str, ...]] = {
    "steward": ("steward",),
    "analyst": ("analyst",),
    "site": ("site",),
    "both": ("analyst", "site"),
    "nobody": ("visitor",),
}


@dataclass(frozen=True)
class ServedBy:
    """A running server process: where it listens, its log, and an API token of each user of ROLES."""

    uri: str
    process: subprocess.Popen[str]
    state: Path
    config: Path
    log: Path
    tokens: Mapping[str, str]
    ready: Mapping[str, Any]

    @staticmethod
    def password(user: str) -> str:
        return user + _PASSWORD_TAIL

    def flight(self, user: str | None = None) -> tuple[fl.FlightClient, fl.FlightCallOptions]:
        """A stock Flight client and the call options that sign the user in (None: anonymous)."""
        headers = [] if user is None else [(b"authorization", b"Bearer " + self.tokens[user].encode())]
        return fl.connect(self.uri), fl.FlightCallOptions(headers=headers)

    def adbc(self, user: str | None = None, **options: str) -> adbc.Connection:
        """A connection of the stock ADBC driver, signed in by API token (None: anonymous)."""
        if user is not None:
            options["adbc.flight.sql.authorization_header"] = f"Bearer {self.tokens[user]}"
        return adbc.connect(self.uri, db_kwargs=options, autocommit=True)


# What no client of any test may be sent, whatever it asked for: the server's own files, names and words of its inside.
CANARIES = re.compile(
    r"Traceback|File \"|(?:data|live|scan)_[0-9a-f]{16}|postgresql://| object at 0x|pytest-of-|"
    r"\b(?:Binder|Catalog|Parser|Conversion|Constraint|Invalid Input|IO|Not implemented) Error: |"
    + re.escape(str(ROOT))
)
_SENT = re.compile(r"\.refused: (?P<text>.*)")


def canaries(told: str) -> list[str]:
    """The texts among log messages that were sent to a client and should not have been."""
    sent = (match["text"] for match in _SENT.finditer(told))
    return [text for text in sent if CANARIES.search(text)]


class _Listening(logging.Handler):
    """Hears what servers in this process send."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard += canaries(record.getMessage())


@pytest.fixture(autouse=True)
def no_canary_escapes() -> Iterator[None]:
    """Fails the test in which a server of this process told a client what none may know."""
    logger, listening = logging.getLogger("flightmesh.flight.status"), _Listening()
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(listening)
    yield
    logger.removeHandler(listening)
    logger.setLevel(before)
    assert listening.heard == []


@contextmanager
def serving(
    folder: Path,
    *,
    products: Sequence[Path] = (ROOT / "products",),
    toml: str = "",
    state: Path | None = None,
    program: Sequence[str] = ("-m", "flightmesh"),
) -> Iterator[ServedBy]:
    """A server process of its own, with the users of ROLES, until the block ends. ``toml`` is put before them."""
    from flightmesh.service import accounts

    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "flightmesh.toml"
    if not config.exists():
        config.write_text(toml)
        for user, roles in ROLES.items():
            accounts.add_user(config, user, roles, user + _PASSWORD_TAIL)
    tokens = {user: accounts.create_token(config, user, None) for user in ROLES}
    log = folder / "server.log"
    state = state or folder / "state"
    command = [sys.executable, *program, "serve", "--json", "--port", "0"]
    command += ["--state", str(state), "--config", str(config)]
    for product in products:
        command += ["--products", str(product)]
    with log.open("a") as errors:
        # Variables of this project's tests are no settings of a server.
        env = {name: value for name, value in os.environ.items() if not name.startswith("FLIGHTMESH_")}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=folder, env=env)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"the server did not start:\n{log.read_text()[-4000:]}"
        ready = json.loads(line)
        yield ServedBy(ready["flight"], process, state, config, log, tokens, ready)
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
    escaped = canaries(
        "\n".join(json.loads(line)["message"] for line in log.read_text().splitlines() if line[:1] + line[-1:] == "{}")
    )
    assert escaped == []


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedBy]:
    """The bundled products, served by a process of their own. Tests only read; who changes a server starts one."""
    with serving(tmp_path_factory.mktemp("server")) as served:
        yield served


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., AbstractContextManager[ServedBy]]:
    """Starts a server of the test's own: ``with start(products=[...], toml="...") as served``."""
    return lambda **options: serving(options.pop("folder", tmp_path / "served"), **options)

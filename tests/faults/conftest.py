"""What the fault tests stand on: a small product, quick to load and to change; servers; clients to be killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest

from flightmesh import app
from flightmesh.config import Config, Limits
from flightmesh.flightsql.codec import pack
from flightmesh.flightsql.messages import CommandStatementQuery

READER = Path(__file__).with_name("reader.py")
POINTS = 2_000

PRODUCT = """\
flightmesh: v1
product: {product}
version: 1.0.0
title: Readings of a laboratory
owner: {{team: lab}}
sources:
  raw: {{type: csv, path: data/raw.csv}}
models:
  points: {{from: raw, keep: [n, version]}}
ports:
  points: {{model: points, contract: contracts/points.odcs.yaml}}
policies:
- {{grant: read, port: points, to: {to}}}
"""
CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: lab-points-1
version: 1.0.0
status: active
schema:
- name: points
  properties:
  - {name: n, logicalType: integer, physicalType: BIGINT}
  - {name: version, logicalType: integer, physicalType: BIGINT}
"""


@dataclass(frozen=True)
class Lab:
    """A product folder: POINTS rows with ``n`` counted from 0, and one ``version`` in all of them."""

    folder: Path

    def write(self, version: int) -> None:
        """Replaces the data."""
        rows = "".join(f"{n},{version}\n" for n in range(POINTS))
        (self.folder / "data" / "raw.csv").write_text(f"n,version\n{rows}")


@dataclass(frozen=True)
class Reader:
    """A client in a process of its own (reader.py), which tells what it does and when."""

    process: subprocess.Popen[str]

    def told(self, event: str) -> dict[str, Any]:
        """The next line of this kind."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            told: dict[str, Any] = json.loads(line)
            if told["event"] == event:
                return told
            assert told["event"] != "failed", told
        raise AssertionError(f"the client ended before it told of {event}")


@pytest.fixture
def make_lab(tmp_path: Path) -> Callable[..., Lab]:
    """Writes a small product: ``make_lab("lab.readings", to='"role:analyst"', version=1)``."""

    def make(product: str = "lab.readings", *, to: str = '["*", anonymous]', version: int = 1) -> Lab:
        lab = Lab(tmp_path / "products" / product)
        for name in ("data", "contracts"):
            (lab.folder / name).mkdir(parents=True)
        (lab.folder / "product.yaml").write_text(PRODUCT.format(product=product, to=to))
        (lab.folder / "contracts" / "points.odcs.yaml").write_text(CONTRACT)
        lab.write(version)
        return lab

    return make


@pytest.fixture
def run_in_process(tmp_path: Path, make_lab: Callable[..., Lab]) -> Iterator[Callable[..., app.Application]]:
    """Starts a server inside the test's own process, where the engine can be looked at; its limits by name."""
    with contextmanager(_servers)(make_lab().folder, tmp_path / "state") as start:
        yield start


def _servers(folder: Path, state: Path) -> Iterator[Callable[..., app.Application]]:
    running = []

    def start(**limits: float) -> app.Application:
        config = Config(port=0, products=(folder,), state=state, limits=Limits(**limits))  # type: ignore[arg-type]
        server = app.running(config, on_progress=lambda _text: None)
        running.append((server, server.__enter__()))
        return running[-1][1]

    yield start
    for server, application in running:
        application.stop()
        server.__exit__(None, None, None)


@pytest.fixture
def reader() -> Iterator[Callable[..., Reader]]:
    """Starts a client in a process of its own; ``reader(uri, sql, "stall", timeout=1.0)``."""
    started: list[Reader] = []

    def start(uri: str, sql: str, way: str, *, timeout: float | None = None) -> Reader:
        command: Sequence[str] = [
            sys.executable,
            str(READER),
            uri,
            sql,
            way,
            *([] if timeout is None else [str(timeout)]),
        ]
        started.append(Reader(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()


@pytest.fixture
def open_stream() -> Callable[..., fl.FlightStreamReader]:
    """The stream of a statement over a client: GetFlightInfo, then DoGet."""
    return _open_stream


@pytest.fixture
def ask() -> Callable[..., pa.Table]:
    """All rows of a statement over a connection of its own: ``ask(uri, sql)``."""

    def ask_for(uri: str, sql: str, options: fl.FlightCallOptions | None = None) -> pa.Table:
        with fl.connect(uri) as client:
            return _open_stream(client, sql, options).read_all()

    return ask_for


@pytest.fixture
def until() -> Callable[..., float]:
    """Waits for a condition, looking every millisecond; the time (monotonic, seconds) at which it held."""

    def wait(holds: Callable[[], bool], timeout_s: float) -> float:
        deadline = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < deadline, f"did not happen within {timeout_s} s"
            time.sleep(0.001)
        return time.monotonic()

    return wait


def _open_stream(
    client: fl.FlightClient, sql: str, options: fl.FlightCallOptions | None = None
) -> fl.FlightStreamReader:
    options = options or fl.FlightCallOptions()
    descriptor = fl.FlightDescriptor.for_command(pack(CommandStatementQuery(sql)))
    return client.do_get(client.get_flight_info(descriptor, options).endpoints[0].ticket, options)

"""``serve`` and ``reload`` as processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flightmesh.client import connect

if TYPE_CHECKING:
    from tests.cli.conftest import Done
    from tests.conftest import ServedBy

PRODUCTS = Path(__file__).parents[2] / "products"
TRIALS = PRODUCTS / "clinical_trials"
FLIGHTS = PRODUCTS / "aviation_flights"
Start = Callable[..., AbstractContextManager["ServedBy"]]


@contextmanager
def served(folder: Path, *arguments: object, env: Mapping[str, str] = {}) -> Iterator[subprocess.Popen[str]]:
    """A server process that was just started; it does not outlive the block. Its state directory is a relative path,
    as the default is.
    """
    command = [sys.executable, "-m", "flightmesh", "serve", "--port", "0", "--state", "state"]
    with subprocess.Popen(
        [*command, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PRODUCTS.parent), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def stopped(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str, str]:
    """Exit code and the rest of the output, after the signal."""
    process.send_signal(number)
    out, errors = process.communicate(timeout=40)
    return process.returncode, out, errors


def banner_of(process: subprocess.Popen[str]) -> str:
    """What a person is shown, up to its last line."""
    assert process.stdout is not None
    lines = []
    while line := process.stdout.readline():
        lines.append(line)
        if line.startswith("Ctrl-C"):
            break
    return "".join(lines)


def test_json_is_one_line_when_ready(tmp_path: Path) -> None:
    """Scripts read this line and nothing else; a progress bar before it would break them."""
    with served(tmp_path, "--json", "--products", TRIALS) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        with connect(ready["flight"]) as client:
            assert client.table("clinical.trials.arms").count() == 4
        code, out, errors = stopped(process)
    assert ready["event"] == "ready"
    assert ready["products"] == ["clinical.trials"]
    assert ready["tables"] == ["clinical.trials.patients", "clinical.trials.arms"]
    assert (ready["unavailable"], ready["anonymous"]) == ({}, True)
    assert ready["seconds"] > 0
    assert (code, out) == (0, "")
    assert all(json.loads(line)["level"] for line in errors.splitlines())


def test_people_are_shown_what_is_served_and_how_to_connect(tmp_path: Path) -> None:
    """Every line is meant to be copied: it must hold the true address and a table that the reader may read."""
    with served(tmp_path, "--products", TRIALS) as process:
        banner = banner_of(process)
        code, _, errors = stopped(process, signal.SIGINT)
    assert code == 0
    address = banner.splitlines()[0].split()[2].removeprefix("grpc://")
    assert "  clinical.trials: patients, arms\n" in banner
    assert "Callers without credentials are let in as anonymous." in banner
    assert f"flightmesh.connect('grpc://{address}').table('clinical.trials.arms').polars()" in banner
    assert f"jdbc:arrow-flight-sql://{address}/?useEncryption=false" in banner
    assert f"dbapi.connect('grpc://{address}', autocommit=True)" in banner
    assert f"flight.connect('grpc://{address}')" in banner
    assert f"flightmesh query 'SELECT count(*) FROM clinical.trials.arms' --uri grpc://{address}" in banner
    assert "clinical.trials: loading actg175\n" in errors


def test_a_listener_for_all_is_shown_with_an_address_that_works(tmp_path: Path) -> None:
    """Nobody can connect to 0.0.0.0 from everywhere; and without anonymous the snippets need a token."""
    environment = {"FLIGHTMESH_ALLOW_PLAINTEXT": "true"}
    with served(tmp_path, "--host", "0.0.0.0", "--products", TRIALS, env=environment) as process:
        banner = banner_of(process)
        stopped(process)
    assert "grpc://0.0.0.0:" in banner.splitlines()[0]
    assert "Callers without credentials are refused." in banner
    assert "flightmesh.connect('grpc://127.0.0.1:" in banner
    assert "token=TOKEN" in banner
    assert "Bearer TOKEN" in banner


def test_several_folders_in_both_spellings(tmp_path: Path) -> None:
    """``--products a b`` and ``--products a --products b`` mean the same."""
    for arguments in (["--products", FLIGHTS, TRIALS], ["--products", FLIGHTS, "--products", TRIALS]):
        with served(tmp_path, "--json", *arguments) as process:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            assert stopped(process)[0] == 0
        assert (ready["products"], ready["unavailable"]) == (["aviation.flights", "clinical.trials"], {})


def test_a_broken_product_is_shown_beside_the_others(tmp_path: Path) -> None:
    """The operator must see at once that one of them is not served, and why."""
    folder = tmp_path / "products"
    shutil.copytree(PRODUCTS, folder)
    (folder / "aviation_flights" / "data" / "flights.parquet").unlink()
    with served(tmp_path, "--products", folder) as process:
        banner = banner_of(process)
        assert stopped(process)[0] == 0
    assert "  clinical.trials: patients, arms\n" in banner
    assert "  aviation.flights: unavailable: " in banner


def test_a_folder_that_is_left_out_is_told_in_json_too(tmp_path: Path) -> None:
    """The container's command prints nothing but this line and the log: a product that vanished would be a riddle."""
    (tmp_path / "nameless").mkdir()
    (tmp_path / "nameless" / "product.yaml").write_text("title: Nameless\n")
    with served(tmp_path, "--json", "--products", TRIALS, "nameless") as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        record = json.loads((tmp_path / "state" / "server.json").read_text())
        _, _, errors = stopped(process)
    assert list(ready["unavailable"]) == ["nameless"]
    assert record["unavailable"] == ready["unavailable"]
    logged = [line["message"] for line in map(json.loads, errors.splitlines()) if line["level"] == "warning"]
    assert any("nameless is left out: product.yaml:1:1: " in message for message in logged)


def test_without_a_public_table_every_line_has_a_place_for_the_token(tmp_path: Path) -> None:
    """A reader who copies a line that is refused takes the server for broken."""
    folder = tmp_path / "trials"
    shutil.copytree(TRIALS, folder)
    manifest = folder / "product.yaml"
    manifest.write_text(manifest.read_text().replace("anonymous", "role:analyst"))
    with served(tmp_path, "--products", folder) as process:
        banner = banner_of(process)
        stopped(process)
    ways = [line for line in banner.splitlines() if "grpc://" in line or "jdbc:" in line][1:]
    assert len(ways) == 5
    assert all("TOKEN" in line for line in ways)
    assert "TOKEN stands for an API token" in banner


def test_without_a_table_none_is_shown(tmp_path: Path) -> None:
    """domain.product.port looks like a table and is none."""
    (tmp_path / "product.yaml").write_text("product: a.b\n")
    with served(tmp_path, "--products", tmp_path) as process:
        banner = banner_of(process)
        stopped(process)
    assert "  a.b: unavailable: " in banner
    assert ".table(" not in banner
    assert "SELECT" not in banner
    assert "jdbc:arrow-flight-sql://" in banner


SLOW_MANIFEST = """\
flightmesh: v1
product: lab.slow
version: 1.0.0
title: A model that may hang
owner: {team: tests}
sources:
  raw: {type: csv, path: raw.csv}
models:
  slow: {python: models/slow.py:build, inputs: [raw]}
ports:
  slow: {model: slow, contract: slow.odcs.yaml}
policies: []
"""
SLOW_CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: slow
version: 1.0.0
status: active
schema:
  - name: slow
    physicalType: table
    properties:
      - {name: n, logicalType: integer, physicalType: BIGINT}
"""
HANGING = "import time\nfrom pathlib import Path\n\ndef build(raw):\n    Path({!r}).touch()\n    time.sleep(300)\n"


def slow_product(folder: Path) -> Path:
    """A product of one Polars model, which does its work at once."""
    (folder / "models").mkdir(parents=True)
    (folder / "product.yaml").write_text(SLOW_MANIFEST)
    (folder / "slow.odcs.yaml").write_text(SLOW_CONTRACT)
    (folder / "raw.csv").write_text("n\n1\n")
    (folder / "models" / "slow.py").write_text("def build(raw):\n    return raw\n")
    return folder


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("is_reload", [False, True])
def test_a_model_that_hangs_does_not_keep_the_server_from_stopping(
    tmp_path: Path, number: int, is_reload: bool
) -> None:
    """Ctrl-C would do nothing for minutes, a supervisor would kill; and half a build must not be published."""
    folder, mark = slow_product(tmp_path / "slow"), tmp_path / "mark"
    model, hanging = folder / "models" / "slow.py", HANGING.format(str(mark))
    if not is_reload:
        model.write_text(hanging)
    with served(tmp_path, "--json", "--products", folder) as process:
        if is_reload:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["unavailable"] == {}
            model.write_text(hanging)
            process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 30
        while not mark.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        began = time.monotonic()
        code, out, errors = stopped(process, number)
    assert time.monotonic() - began < 8
    assert (code, out, "Traceback" in errors) == (0, "", False)
    assert len(list((tmp_path / "state" / "generations").glob("*.json"))) == is_reload


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["--products", "nowhere"], 1, "error: invalid: nowhere is not a folder."),
        (["--config", "nowhere.toml"], 1, "error: invalid: nowhere.toml cannot be read"),
        (["--host", "0.0.0.0", "--products", str(TRIALS)], 1, "error: invalid: A listener on 0.0.0.0 without TLS"),
        (["--port", "70000"], 2, "--port"),
        (["--no-such-option"], 2, "--no-such-option"),
    ],
)
def test_a_start_that_cannot_be_is_explained(tmp_path: Path, arguments: list[str], code: int, error: str) -> None:
    """Whoever starts a server for the first time reads this line."""
    with served(tmp_path, *arguments) as process:
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in errors) == (code, False)
    assert error in errors
    assert not (tmp_path / "state").exists()


def test_a_port_that_is_taken_is_explained(tmp_path: Path) -> None:
    """The most common mistake of all: a second server."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with served(tmp_path, "--port", port, "--products", TRIALS) as process:
            _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    assert process.returncode == 3
    assert f"error: unavailable: The server cannot listen on 127.0.0.1:{port}" in errors


def test_reload_serves_what_changed(start: Start, tmp_path: Path, flightmesh: Callable[..., Done]) -> None:
    """A repaired product must come back without a restart."""
    folder = tmp_path / "trials"
    shutil.copytree(TRIALS, folder)
    manifest = folder / "product.yaml"
    whole = manifest.read_text()
    manifest.write_text("apiVersion: wrong\n")
    with start(products=[folder]) as running:
        assert running.ready["products"] == []
        manifest.write_text(whole)
        done = flightmesh("reload", "--state", running.state)
        assert (done.code, done.err) == (0, "")
        assert "clinical.trials" in done.out
        with connect(running.uri) as client:
            assert client.table("clinical.trials.arms").count() == 4


def test_reload_with_a_broken_product_is_1(start: Start, tmp_path: Path, flightmesh: Callable[..., Done]) -> None:
    """A deployment script would report success while nobody can read the product."""
    folder = tmp_path / "trials"
    shutil.copytree(TRIALS, folder)
    with start(products=[folder]) as running:
        (folder / "product.yaml").write_text("product: clinical.trials\n")
        done = flightmesh("reload", "--state", running.state)
        assert done.code == 1
        assert "; clinical.trials is unavailable: The product has " in done.out


def test_reload_without_a_server_is_3(tmp_path: Path, flightmesh: Callable[..., Done]) -> None:
    """A typing error in --state must not pass for a reload."""
    done = flightmesh("reload", "--state", tmp_path)
    assert done.code == 3
    assert "No server runs on the state directory" in done.err

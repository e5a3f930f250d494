"""``serve`` and ``reload`` as processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
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
    """Every line is meant to be copied: it must hold the true address and a table that is there."""
    with served(tmp_path, "--products", TRIALS) as process:
        banner = banner_of(process)
        code, _, errors = stopped(process, signal.SIGINT)
    assert code == 0
    address = banner.splitlines()[0].split()[2].removeprefix("grpc://")
    assert "  clinical.trials: patients, arms\n" in banner
    assert "Callers without credentials are let in as anonymous." in banner
    assert f"flightmesh.connect('grpc://{address}').table('clinical.trials.patients').polars()" in banner
    assert f"jdbc:arrow-flight-sql://{address}/?useEncryption=false" in banner
    assert f"dbapi.connect('grpc://{address}', autocommit=True)" in banner
    assert f"flight.connect('grpc://{address}')" in banner
    assert f"flightmesh query 'SELECT count(*) FROM clinical.trials.patients' --uri grpc://{address}" in banner
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


def test_reload_without_a_server_is_3(tmp_path: Path, flightmesh: Callable[..., Done]) -> None:
    """A typing error in --state must not pass for a reload."""
    done = flightmesh("reload", "--state", tmp_path)
    assert done.code == 3
    assert "No server runs on the state directory" in done.err

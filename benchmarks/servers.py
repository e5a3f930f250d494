"""The server processes of a run: started on free ports of the loopback, stopped by their own process handle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import tpch
from flightmesh import app

ROOT = Path(__file__).resolve().parents[1]
USER = "benchmark"

_STOP_S = 40.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers, with the seconds from its start to its first readiness."""

    uri: str
    pid: int
    ready_s: float

    def peak_mib(self) -> int | None:
        """Most memory that the process has held at once, mapped files included, in MiB; None where Linux's /proc is
        not there to tell.
        """
        try:
            lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM:")), None)


@contextmanager
def bare_server(parquet: Path, log: Path) -> Iterator[Server]:
    """The bare server over the Parquet files of the folder."""
    with _serving([sys.executable, "-m", "benchmarks.bare_server", str(parquet)], log) as server:
        yield server


@contextmanager
def flightmesh_server(product: Path, work: Path) -> Iterator[Server]:
    """flightmesh with this one product, its state and accounts below ``work``; the first start builds the product."""
    command = [sys.executable, "-m", "flightmesh", "serve", "--json", "--port", "0", "--products", str(product)]
    command += ["--state", str(work / "state"), "--config", str(_config(work))]
    with _serving(command, work / "flightmesh.log") as server:
        yield server


def token(work: Path) -> str:
    """An API token of the one user of the server that has its accounts there."""
    return app.create_token(_config(work), USER, "1d")


def _config(work: Path) -> Path:
    """The config file of the server, made unless it is there already."""
    config = work / "flightmesh.toml"
    if not config.exists():
        config.touch()
        app.add_user(config, USER, [tpch.ROLE], os.urandom(16).hex())
    return config


@contextmanager
def _serving(command: Sequence[str], log: Path) -> Iterator[Server]:
    """The process until the block ends. Its first line of output is JSON that holds its address."""
    start = time.monotonic()
    with log.open("a") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=log.parent, env=_environment()
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"{command[2]} did not start; its log ends:\n{log.read_text()[-2000:]}")
        yield Server(json.loads(line)["flight"], process.pid, time.monotonic() - start)
    finally:
        _stop(process)
        process.stdout.close()


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _environment() -> dict[str, str]:
    """This process's environment without server settings, and with this checkout to import from."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLIGHTMESH_")}
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH")]))}

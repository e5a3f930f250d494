"""``kill -9`` while the products are loaded: acceptance line 6 of the first issue."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PRODUCTS = Path(__file__).parents[2] / "products"
COUNTS = """
    SELECT (SELECT count(*) FROM aviation.flights.flights) AS flights,
           (SELECT sum(patients) FROM clinical.trials.arms) AS patients
"""
LOADING_S = 6.0
# What a server leaves when it ends, and nothing else: no staging folder, no half-written file, no spilled block.
LEFT = re.compile(
    r"""LOCK | CURRENT | signing\.key | leases\.json | server\.json | staging | spill
    | (generations|bundles)(/[0-9a-f]+\.json)?
    | products(/[a-z_.]+(/[0-9a-f]+(/[a-z_.]+)?)?)?""",
    re.VERBOSE,
)


@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_a_kill_while_loading(start: Callable[..., Any], ask: Callable[..., Any], tmp_path: Path, rounds: int) -> None:
    """The machine loses power during a load: the next start serves everything, whole, and leaves no remains."""
    chance = random.Random(20_130_101)
    for number in range(rounds):
        state = tmp_path / f"state{number}"
        process = _loading(state)
        time.sleep(chance.uniform(0.15, 1.0) * LOADING_S)
        process.kill()
        process.wait()
        print("killed with", sorted(path.name for path in state.rglob("*") if path.is_file()))
        with start(state=state, folder=tmp_path / "served") as served:
            assert ask(served.uri, COUNTS).to_pylist() == [{"flights": 336_776, "patients": 2_139}]
            assert served.ready["unavailable"] == {}
        _assert_nothing_is_left(state)


def test_a_kill_while_reloading(start: Callable[..., Any], make_lab: Callable[..., Any], ask: Callable[..., Any]) -> None:
    """The same during a reload, at any moment of it: the next start has the newest data, whole, and no remains."""
    lab, chance = make_lab(), random.Random(20_131_231)
    for version in range(2, 5):
        with start(products=[lab.folder]) as served:
            lab.write(version)
            served.process.send_signal(signal.SIGHUP)
            time.sleep(chance.uniform(0, 0.15))
            served.process.kill()
            served.process.wait()
    with start(products=[lab.folder]) as served:
        answer = ask(served.uri, "SELECT version, count(*) AS rows FROM lab.readings.points GROUP BY version")
        assert answer.to_pylist() == [{"version": version, "rows": 2_000}]
    _assert_nothing_is_left(served.state)


def test_a_half_written_file_is_swept(start: Callable[..., Any], make_lab: Callable[..., Any]) -> None:
    """A kill between the writing of a file and its renaming is rare, so it is made: the next start removes what is left."""
    lab = make_lab()
    with start(products=[lab.folder]) as served:
        pass
    for place in ("", "generations", "bundles"):
        (served.state / place / ".CURRENT.0123456789ab").write_text("part of")
    (served.state / "staging" / "0123456789abcdef").mkdir()
    (served.state / "staging" / "0123456789abcdef" / "data.duckdb").write_text("part of")
    with start(products=[lab.folder]) as served:
        pass
    _assert_nothing_is_left(served.state)


def _loading(state: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "flightmesh", "serve", "--json", "--port", "0"]
    command += ["--state", str(state), "--products", str(PRODUCTS)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _assert_nothing_is_left(state: Path) -> None:
    found = sorted(str(path.relative_to(state)) for path in state.rglob("*"))
    assert [name for name in found if not LEFT.fullmatch(name)] == []

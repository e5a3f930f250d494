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

from flightmesh import app
from flightmesh.config import Config

PRODUCTS = Path(__file__).parents[2] / "products"
SMALL = (PRODUCTS / "clinical_trials", 2.0, {"SELECT sum(patients) FROM clinical.trials.arms": 2_139})
ALL = (PRODUCTS, 6.0, {**SMALL[2], "SELECT count(*) FROM aviation.flights.flights": 336_776})
# What a server leaves when it ends, and nothing else: no staging folder, no half-written file, no spilled block.
LEFT = re.compile(
    r"""LOCK | CURRENT | signing\.key | leases\.json | server\.json | staging | spill | sessions | bindings
    | (generations|bundles)(/[0-9a-f]+\.json)?
    | products(/[a-z_.]+(/[0-9a-f]+(/[a-z_.]+)?)?)?""",
    re.VERBOSE,
)


@pytest.mark.parametrize(
    ("rounds", "loaded"),
    [(3, SMALL), pytest.param(20, ALL, marks=[pytest.mark.slow, pytest.mark.timeout(900)])],
    ids=["small", "all"],
)
def test_a_kill_while_loading(
    start: Callable[..., Any], ask: Callable[..., Any], tmp_path: Path, rounds: int, loaded: tuple[Path, float, Any]
) -> None:
    """The machine loses power during a load: the next start serves everything, whole, and leaves no remains."""
    products, loading_s, counts = loaded
    chance = random.Random(20_130_101)
    for number in range(rounds):
        state = tmp_path / f"state{number}"
        process = _loading(state, products)
        time.sleep(chance.uniform(0.25, 1.0) * loading_s)
        process.kill()
        process.wait()
        print("killed with", sorted(path.name for path in state.rglob("*") if path.is_file()))
        with start(state=state, folder=tmp_path / "served", products=[products]) as served:
            for sql, expected in counts.items():
                assert ask(served.uri, sql).column(0).to_pylist() == [expected]
            assert served.ready["unavailable"] == {}
        _assert_nothing_is_left(state)


def test_a_kill_while_reloading(
    start: Callable[..., Any], make_lab: Callable[..., Any], ask: Callable[..., Any]
) -> None:
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


def test_a_loading_server_is_not_taken_for_the_one_before(
    start: Callable[..., Any], make_lab: Callable[..., Any]
) -> None:
    """``flightmesh reload`` signals the process that the control file names: after a kill that may be anybody's."""
    lab = make_lab()
    with start(products=[lab.folder]) as served:
        served.process.kill()
        served.process.wait()
    record, seen = served.state / "server.json", []
    assert record.exists()
    config = Config(port=0, products=(lab.folder,), state=served.state)
    with app.running(config, on_progress=lambda _text: seen.append(record.exists())) as application:
        assert record.exists()
        assert application.stop()
    assert seen
    assert not any(seen)


def test_a_half_written_file_is_swept(start: Callable[..., Any], make_lab: Callable[..., Any]) -> None:
    """A kill between the writing of a file and its renaming is rare, so it is made: the next start removes the rest."""
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


def _loading(state: Path, products: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "flightmesh", "serve", "--json", "--port", "0"]
    command += ["--state", str(state), "--products", str(products)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _assert_nothing_is_left(state: Path) -> None:
    found = sorted(str(path.relative_to(state)) for path in state.rglob("*"))
    assert [name for name in found if not LEFT.fullmatch(name)] == []

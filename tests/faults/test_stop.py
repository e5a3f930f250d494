"""SIGTERM, readers that read nothing, and second servers."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow.flight as fl
import pytest

DRAIN_S = 3
# What comes on top of the drain: cutting what is left, and the end of the process.
END_S = 7
ENDLESS = "SELECT a.range AS n FROM range(1000000) a, range(1000000) b"
ROWS = 4_000_000


def test_sigterm_drains_what_runs(start: Callable[..., Any], make_lab: Callable[..., Any], open_stream: Any) -> None:
    """A deployment replaces the server: whoever is reading gets the whole result, nobody new gets in, it exits 0."""
    with start(products=[make_lab().folder]) as served, fl.connect(served.uri) as client:
        stream = open_stream(
            client, f"SELECT range AS n, 'some text to fill buffers ' || range AS s FROM range({ROWS})"
        )
        rows = stream.read_chunk().data.num_rows
        served.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert served.process.poll() is None, "the server did not wait for its reader"
        with fl.connect(served.uri) as late, pytest.raises((fl.FlightUnavailableError, fl.FlightCancelledError)):
            open_stream(late, "SELECT 1 AS one").read_all()
        rows += sum(chunk.data.num_rows for chunk in stream)
        assert rows == ROWS
        assert served.process.wait(END_S) == 0
    assert "Traceback" not in served.log.read_text()


def test_sigterm_ends_with_a_stalled_reader(
    start: Callable[..., Any], make_lab: Callable[..., Any], reader: Callable[..., Any]
) -> None:
    """A laptop asleep in the middle of a result must not keep an old server alive beside the new one."""
    with start(products=[make_lab().folder], toml=f"[limits]\ndrain_s = {DRAIN_S}\n") as served:
        for _ in range(3):
            reader(served.uri, ENDLESS, "stall").told("batch")
        began = time.monotonic()
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(DRAIN_S + END_S) == 0
        print("stopped with stalled readers after:", time.monotonic() - began)
    assert "Traceback" not in served.log.read_text()


def test_sigterm_while_loading(tmp_path: Path) -> None:
    """A server that is told to stop before it is ready stops, with code 0, and leaves no half of a snapshot."""
    state = tmp_path / "state"
    command = [sys.executable, "-m", "flightmesh", "serve", "--json", "--port", "0", "--state", str(state)]
    command += ["--products", str(Path(__file__).parents[2] / "products")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 30
        while not (state / "staging").is_dir():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.terminate()
        assert process.wait(10) == 0
        assert process.stdout is not None
        assert process.stdout.read() == b""
    assert not list((state / "staging").iterdir())


def test_a_storm_of_signals(start: Callable[..., Any], make_lab: Callable[..., Any]) -> None:
    """A script that reloads in a loop neither hangs the server nor makes it deaf to the signal that ends it."""
    with start(products=[make_lab().folder]) as served:
        for _ in range(500):
            served.process.send_signal(signal.SIGHUP)
            time.sleep(0.001)
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(END_S) == 0


def test_a_stalled_stream_is_cut(run_in_process: Callable[..., Any], reader: Any, until: Any, ask: Any) -> None:
    """A reader that takes nothing gives its thread and its place back after the time that the settings say."""
    application = run_in_process(stream_stall_s=1.0, queries_max=2, queries_per_principal_max=2, query_queue_wait_s=0.1)
    readers = [reader(application.ready.uri, ENDLESS, "stall") for _ in range(2)]
    for one in readers:
        one.told("batch")
    stalled = time.monotonic()
    with pytest.raises(fl.FlightUnavailableError, match="Too many"):
        ask(application.ready.uri, "SELECT 1 AS one")
    cut_s = until(lambda: application.engine.running == 0, 10) - stalled
    print("stalled streams cut after:", cut_s)
    assert cut_s < 3
    assert ask(application.ready.uri, "SELECT 1 AS one")["one"].to_pylist() == [1]


def test_a_slow_reader_is_not_cut(run_in_process: Callable[..., Any], open_stream: Any) -> None:
    """A reader that takes a batch now and then is at work; only one that takes nothing at all is cut."""
    application = run_in_process(stream_stall_s=1.5)
    rows = 0
    with fl.connect(application.ready.uri) as client:
        for chunk in open_stream(client, "SELECT range AS n, repeat('x', 50) || range AS s FROM range(2000000)"):
            rows += chunk.data.num_rows
            time.sleep(0.15)
    assert rows == 2_000_000


@pytest.mark.parametrize("same", ["state", "port"])
def test_a_second_server(start: Callable[..., Any], make_lab: Callable[..., Any], tmp_path: Path, same: str) -> None:
    """Started twice by mistake: the second says what is taken, in a line and by its exit code; the first serves on."""
    lab = make_lab()
    with start(products=[lab.folder]) as served:
        state = served.state if same == "state" else tmp_path / "other"
        port = 0 if same == "state" else urlsplit(served.uri).port
        command = [sys.executable, "-m", "flightmesh", "serve", "--json", "--products", str(lab.folder)]
        command += ["--state", str(state), "--port", str(port)]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert second.returncode == 3, second.stderr
        assert ("state directory" if same == "state" else f"{port}") in second.stderr
        assert "Traceback" not in second.stderr
        with served.adbc() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM lab.readings.points")
            assert cursor.fetchall() == [(2_000,)]

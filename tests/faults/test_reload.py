"""Reloading under load, and products that break: acceptance line 6 of the first issue, and its list of bad input."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Barrier
from typing import Any

import pyarrow.flight as fl
import pytest

from flightmesh.flightsql.codec import pack
from flightmesh.flightsql.messages import CommandStatementQuery

STREAMS = 50
FACTOR = 400  # POINTS times this many rows: more than all buffers between server and client hold.
VERSION = "SELECT DISTINCT version FROM lab.readings.points"
BIG = f"SELECT p.n, p.version, r.range AS r FROM lab.readings.points p, range({FACTOR}) r"


def reload_by_signal(served: Any) -> None:
    """As an operator's script does; waits until the server says that it has loaded."""
    record, before = served.state / "server.json", (served.state / "server.json").read_bytes()
    served.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 20
    while record.read_bytes() == before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def reload_by_command(served: Any) -> None:
    """As an operator does."""
    command = [sys.executable, "-m", "flightmesh", "reload", "--state", str(served.state)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Serving generation ")


RELOADS = pytest.mark.parametrize("reload", [reload_by_signal, reload_by_command])


@RELOADS
def test_reload_during_fifty_streams(
    start: Callable[..., Any], make_lab: Callable[..., Any], ask: Callable[..., Any], open_stream: Any, reload: Any
) -> None:
    """New data are published at noon: no running read breaks or mixes days, and whoever asks anew gets the new data."""
    lab = make_lab()
    opened, reloaded = Barrier(STREAMS + 1), Barrier(STREAMS + 1)

    def read(client: fl.FlightClient) -> tuple[int, set[int]]:
        stream = open_stream(client, BIG)
        first = stream.read_chunk().data
        opened.wait(60)
        reloaded.wait(60)
        rows, versions = first.num_rows, set(first["version"].unique().to_pylist())
        for chunk in stream:
            rows += chunk.data.num_rows
            versions |= set(chunk.data["version"].unique().to_pylist())
        return rows, versions

    with start(products=[lab.folder]) as served, ExitStack() as clients, ThreadPoolExecutor(STREAMS) as pool:
        readers = [clients.enter_context(fl.connect(served.uri)) for _ in range(STREAMS)]
        ticket = _ticket(readers[0], VERSION)
        answers = [pool.submit(read, client) for client in readers]
        opened.wait(60)
        lab.write(2)
        reload(served)
        assert ask(served.uri, VERSION)["version"].to_pylist() == [2]
        assert readers[0].do_get(ticket).read_all()["version"].to_pylist() == [1]
        reloaded.wait(60)
        assert [answer.result(60) for answer in answers] == [(2_000 * FACTOR, {1})] * STREAMS


@pytest.mark.slow
def test_old_files_go_when_the_last_lease_ends(
    start: Callable[..., Any], make_lab: Callable[..., Any], ask: Callable[..., Any], open_stream: Any
) -> None:
    """A server that reloads every hour must not fill its disk, nor take files from a read that still runs."""
    lab = make_lab()
    toml = "[limits]\nticket_ttl_s = 3\n"
    with start(products=[lab.folder], toml=toml) as served, fl.connect(served.uri) as client:
        (old,) = _snapshots(served.state)
        stream = open_stream(client, BIG)
        rows = stream.read_chunk().data.num_rows
        ticket = _ticket(client, VERSION)
        lab.write(2)
        reload_by_signal(served)
        assert client.do_get(ticket).read_all()["version"].to_pylist() == [1]
        time.sleep(25)  # Well over the ticket's life, the time to settle, and a round of sweeping.
        with pytest.raises(fl.FlightUnauthenticatedError):
            client.do_get(ticket).read_all()
        assert old in _snapshots(served.state), "the running stream's files were taken away"
        rows += sum(chunk.data.num_rows for chunk in stream)
        assert rows == 2_000 * FACTOR
        deadline = time.monotonic() + 15
        while old in _snapshots(served.state):
            assert time.monotonic() < deadline, "the old files are still there"
            time.sleep(0.2)
        assert len(_snapshots(served.state)) == len(list((served.state / "generations").glob("*.json"))) == 1
        assert ask(served.uri, VERSION)["version"].to_pylist() == [2]
        assert not list((served.state / "staging").iterdir())


def test_a_ticket_survives_a_restart(start: Callable[..., Any], make_lab: Callable[..., Any]) -> None:
    """The server restarts on new data between GetFlightInfo and DoGet: the ticket answers what it was given for."""
    lab = make_lab()
    with start(products=[lab.folder]) as served, fl.connect(served.uri) as client:
        ticket = _ticket(client, VERSION)
    lab.write(2)
    with start(products=[lab.folder]) as served, fl.connect(served.uri) as client:
        assert client.do_get(_ticket(client, VERSION)).read_all()["version"].to_pylist() == [2]
        assert client.do_get(ticket).read_all()["version"].to_pylist() == [1]


def _break_yaml(folder: Path) -> Iterator[str]:
    manifest = folder / "product.yaml"
    before = manifest.read_text()
    manifest.write_text(before + "ports: [\n")
    yield "product.yaml"
    manifest.write_text(before)


def _take_file(folder: Path) -> Iterator[str]:
    file = folder / "data" / "raw.csv"
    before = file.read_text()
    file.unlink()
    yield "raw.csv"
    file.write_text(before)


def _break_contract(folder: Path) -> Iterator[str]:
    contract = folder / "contracts" / "points.odcs.yaml"
    before = contract.read_text()
    contract.write_text(before.replace("{name: version,", "{name: verson,"))
    yield "verson"
    contract.write_text(before)


DAMAGES = (_break_yaml, _take_file, _break_contract)


def test_a_product_that_breaks_on_reload(
    start: Callable[..., Any], make_lab: Callable[..., Any], ask: Callable[..., Any]
) -> None:
    """One team's mistake takes away its own product alone; who may read it hears why; a reload brings it back."""
    lab, other = make_lab("lab.readings", to='"role:analyst"'), make_lab("lab.others")
    with start(products=[lab.folder, other.folder]) as served:
        analyst, nobody = served.flight("analyst")[1], served.flight("nobody")[1]
        for version, damage in enumerate(DAMAGES, start=1):
            assert ask(served.uri, VERSION, analyst)["version"].to_pylist() == [version]
            damaged = contextmanager(damage)(lab.folder)
            with damaged as word:
                reload_by_signal(served)
                with pytest.raises(fl.FlightUnavailableError, match=rf"lab\.readings is not available: .*{word}"):
                    ask(served.uri, VERSION, analyst)
                for hidden in (nobody, None):
                    with pytest.raises(KeyError, match=r"not_found: There is no table lab\.readings\.points"):
                        ask(served.uri, VERSION, hidden)
                assert ask(served.uri, VERSION.replace("readings", "others"))["version"].to_pylist() == [1]
            lab.write(version + 1)
            reload_by_signal(served)
        assert ask(served.uri, VERSION, analyst)["version"].to_pylist() == [len(DAMAGES) + 1]


def test_a_product_that_is_broken_at_the_start(
    start: Callable[..., Any], make_lab: Callable[..., Any], ask: Callable[..., Any]
) -> None:
    """A restart with a broken manifest tells no more people of a product than the manifest before let know."""
    lab, other = make_lab("lab.readings", to='"role:analyst"'), make_lab("lab.others")
    with start(products=[lab.folder, other.folder]):
        pass
    next(_break_yaml(lab.folder))
    with start(products=[lab.folder, other.folder]) as served:
        assert served.ready["products"] == ["lab.others"]
        assert list(served.ready["unavailable"]) == ["lab.readings"]
        with pytest.raises(fl.FlightUnavailableError, match=r"lab\.readings is not available"):
            ask(served.uri, VERSION, served.flight("analyst")[1])
        with pytest.raises(KeyError, match="not_found"):
            ask(served.uri, VERSION, served.flight("nobody")[1])


def test_reload_of_nothing_keeps_what_was_served(
    start: Callable[..., Any], make_lab: Callable[..., Any], ask: Callable[..., Any]
) -> None:
    """The products' folder is not mounted for a moment: a reload then says so, and what was served is still served."""
    lab = make_lab()
    with start(products=[lab.folder]) as served:
        lab.folder.rename(lab.folder.with_name("away"))
        command = [sys.executable, "-m", "flightmesh", "reload", "--state", str(served.state)]
        failed = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert failed.returncode == 1
        assert "is not a folder" in failed.stderr
        assert ask(served.uri, VERSION)["version"].to_pylist() == [1]
        lab.folder.with_name("away").rename(lab.folder)
        reload_by_command(served)


def _ticket(client: fl.FlightClient, sql: str) -> fl.Ticket:
    descriptor = fl.FlightDescriptor.for_command(pack(CommandStatementQuery(sql)))
    return client.get_flight_info(descriptor).endpoints[0].ticket


def _snapshots(state: Path) -> list[str]:
    """The ids of the snapshots on disk."""
    return sorted(path.name for path in (state / "products").glob("*/*"))

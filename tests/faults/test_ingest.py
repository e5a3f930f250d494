"""Uploads that break off: by the client's end, by the server's, over a bound. Nothing of them is ever seen, and what
was acknowledged is there: acceptance line 6 of the fourth issue. And how long a session's tables live, and for whom.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest

import flightmesh
from flightmesh.errors import ErrorCode, FlightmeshError
from tests.conftest import ROOT, ServedBy, serving
from tests.faults import sender
from tests.faults.sessions import Session, ingest, open_session, settled, used_bytes

Start = Callable[..., Any]
PRODUCT = ROOT / "products" / "clinical_trials"
OLD = [-3, -2, -1]
STOPS = tuple(range(-1, sender.BATCHES + 1))
MODES = ("create", "append", "replace")
WAYS = ("ingest", "path", "adbc", "own")
# A server notices idle sessions in rounds of this many seconds at most.
_SWEPT_S = 25.0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedBy]:
    """A server for all uploads of this file that leave it alive."""
    with serving(tmp_path_factory.mktemp("ingest"), products=[PRODUCT]) as started:
        yield started


@pytest.fixture
def mine(served: ServedBy) -> Iterator[Session]:
    """A session of an analyst's; closed at the end."""
    with Session.new(served.uri, served.tokens["analyst"]) as session:
        yield session
        session.close_session()


# ------------------------------------------------------------------------------------------------ the end of the client


def test_a_client_killed_at_any_batch_leaves_nothing(served: ServedBy) -> None:
    """A laptop's lid closes in the middle of an upload: the colleague's join must not run over half of the rows."""
    rounds = [("ingest", MODES[number % 3], stop) for number, stop in enumerate(STOPS)]
    rounds += [("path", "append", 3), ("adbc", "create", 2), ("own", "replace", sender.BATCHES)]
    _interrupt(served, rounds, "wait")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_clients_killed_at_every_batch_leave_nothing(served: ServedBy) -> None:
    """The same for every client, in every mode, before every batch, before the schema and before the end."""
    _interrupt(served, list(product(WAYS, MODES, STOPS)), "wait")


def test_a_program_that_fails_leaves_nothing(served: ServedBy) -> None:
    """An exception in the program that makes the rows ends its stream like a whole one; ADBC's and our client tell."""
    _interrupt(served, [("own", "create", 3), ("own", "append", 0), ("adbc", "replace", 3), ("announced", "create", 3)])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_programs_that_fail_leave_nothing(served: ServedBy) -> None:
    """The same in every mode, before every batch."""
    _interrupt(served, list(product(("own", "adbc", "announced"), MODES, STOPS)))


def test_an_upload_that_is_not_killed_is_there(served: ServedBy, mine: Session) -> None:
    """If the senders of the tests above never sent anything, these would prove nothing."""
    ways = (*WAYS, "announced")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda way: _send(served, mine.token, way, f"whole_{way}", "create", stop=99), ways))
    assert [mine.rows(f"whole_{way}") == list(sender.VALUES) for way in ways] == [True] * len(ways)


def test_a_generator_that_fails_in_this_program(served: ServedBy) -> None:
    """Our client's user hears of the own mistake, not of the server's, and can go on with the same client."""

    def rows() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"n": [1, 2]})
        raise LookupError("no more rows")

    with flightmesh.connect(served.uri, served.tokens["analyst"]) as client:
        for _ in range(2):
            with pytest.raises(LookupError, match="no more rows"):
                client.upload("mine", pa.RecordBatchReader.from_batches(pa.schema([("n", pa.int64())]), rows()))
            with pytest.raises(FlightmeshError) as refused:
                client.sql("SELECT * FROM mine").arrow()
            assert refused.value.code is ErrorCode.NOT_FOUND
        assert client.upload("mine", {"n": [1, 2, 3]}) == 3
        assert client.sql("SELECT sum(n) AS s FROM mine").arrow()["s"].to_pylist() == [6]


def test_an_upload_over_its_time_leaves_nothing(served: ServedBy, mine: Session) -> None:
    """The client's deadline passes in the middle of an upload: the rows that had arrived are not kept."""
    before = used_bytes(served.state)
    headers = [(b"authorization", b"Bearer " + mine.token.encode())]
    for number in range(4):
        hurried = fl.FlightCallOptions(timeout=0.25, headers=headers)
        writer, reader = mine.client.do_put(fl.FlightDescriptor.for_command(ingest("late")), sender.SCHEMA, hurried)
        for _ in range(number):
            writer.write_batch(pa.record_batch([pa.array([1, 2], pa.int64())], sender.SCHEMA))
        with pytest.raises(fl.FlightTimedOutError):
            reader.read() or writer.close()
    settled(served.state)
    assert mine.rows("late") is None
    assert used_bytes(served.state) == before


def _interrupt(served: ServedBy, rounds: list[tuple[str, str, int]], end: str = "raise") -> None:
    """Each round in a session of its own, two at a time: the table is as before, the disk too."""
    with ThreadPoolExecutor(2) as pool:
        problems = list(pool.map(lambda one: _interrupted(served, one, end), rounds))
    assert [problem for problem in problems if problem] == []
    settled(served.state)


def _interrupted(served: ServedBy, one: tuple[str, str, int], end: str) -> str | None:
    """What is wrong after an upload that broke off there."""
    way, mode, stop = one
    expected = None if mode == "create" else OLD
    with Session.new(served.uri, served.tokens["analyst"]) as session:
        if expected is not None:
            session.ingest("mine", OLD)
        _send(served, session.token, way, "mine", mode, stop, end)
        seen = [session.rows("mine")]
        settled(served.state)
        seen.append(session.rows("mine"))
        session.close_session()
    told = [None if rows is None else len(rows) for rows in seen]
    return None if seen == [expected] * 2 else f"{way} {mode} stopped before batch {stop} ({end}): {told} rows are seen"


def _send(served: ServedBy, token: str, way: str, table: str, mode: str, stop: int, end: str = "wait") -> None:
    command = [sys.executable, str(sender.__file__), served.uri, token, way, table, mode, str(stop), end]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as process:
        assert process.stdout is not None
        told = process.stdout.readline().strip()
        if told == "reached" and end == "wait":
            process.kill()
        errors = process.communicate()[1]
    assert told == ("sent" if stop > sender.BATCHES else "reached"), errors[-2000:]
    assert process.returncode == (0 if told == "sent" else -9 if end == "wait" else 1), errors[-2000:]


# ------------------------------------------------------------------------------------------------ the end of the server


@pytest.mark.parametrize(
    "rounds", [2, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(600)])], ids=["few", "twenty"]
)
def test_a_server_killed_at_every_batch(
    start: Start, make_lab: Callable[..., Any], tmp_path: Path, rounds: int
) -> None:
    """The machine loses power in the middle of an upload: after the restart the session has all that was acknowledged,
    and of what was not nothing, or all.
    """
    lab, token = make_lab(), None
    kept: dict[str, list[int] | None] = {}
    for number in range(rounds):
        mode, stop = MODES[number % 3], STOPS[number % len(STOPS)]
        with start(products=[lab.folder], state=tmp_path / "state", folder=tmp_path / "served") as served:
            token = token or open_session(served.uri, served.tokens["analyst"])
            with Session.of(served.uri, token) as session:
                _assert_kept(session, kept)
                _fill(session, kept, number)
                writer = _break_off(session, f"broken{number}", mode, stop)
                served.process.kill()
                served.process.wait()
                del writer
        kept[f"broken{number}"] = None if mode == "create" else OLD
    with start(products=[lab.folder], state=tmp_path / "state", folder=tmp_path / "served") as served:
        assert token is not None
        with Session.of(served.uri, token) as session:
            _assert_kept(session, kept)
            session.close_session()
        assert used_bytes(served.state) == 0


@pytest.mark.parametrize(
    "rounds", [2, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(600)])], ids=["few", "twenty"]
)
def test_a_server_killed_at_any_moment(start: Start, make_lab: Callable[..., Any], tmp_path: Path, rounds: int) -> None:
    """The same under four writers at once, killed at moments of no choice: while rows arrive, between the writing of a
    file and that of the manifest, in the middle of a commit.
    """
    lab, chance = make_lab(), random.Random(20_150_404)
    tokens: list[str] = []
    writers: list[_Writer] = []
    for number in range(rounds + 1):
        with start(products=[lab.folder], state=tmp_path / "state", folder=tmp_path / "served") as served:
            if not tokens:
                tokens = [open_session(served.uri, served.tokens["analyst"]) for _ in range(2)]
                places = [(tokens[0], ("a",)), (tokens[0], ("b",)), (tokens[0], ("c", "d")), (tokens[1], ("a",))]
                writers = [_Writer(token, tables, random.Random(f"writer {place}")) for place, (token, tables)
                           in enumerate(places)]  # fmt: skip
            assert [problem for writer in writers for problem in writer.problems(served.uri)] == []
            if number == rounds:
                break
            threads = [threading.Thread(target=writer.write, args=(served.uri,)) for writer in writers]
            for thread in threads:
                thread.start()
            time.sleep(chance.uniform(0.1, 0.9))
            served.process.kill()
            served.process.wait()
            for thread in threads:
                thread.join(20)
                assert not thread.is_alive(), "a writer did not notice the end of its server"
    print("acknowledged:", [writer.acknowledged for writer in writers])
    assert all(writer.acknowledged >= rounds for writer in writers), "the writers got nothing done"


def _fill(session: Session, kept: dict[str, list[int] | None], number: int) -> None:
    """An upload that is acknowledged right before the end, and the old rows of the one that will break off."""
    values = list(range(number, number + 2_500))
    assert session.ingest(f"kept{number}", values, batches=3) == len(values)
    kept[f"kept{number}"] = values
    session.ingest("grown", [number], "create_append")
    kept["grown"] = [*(kept.get("grown") or []), number]
    if MODES[number % 3] != "create":
        session.ingest(f"broken{number}", OLD)
    # There is room for 64 tables.
    if f"kept{number - 10}" in kept:
        session.update(f"DROP TABLE kept{number - 10}")
        del kept[f"kept{number - 10}"]
    if f"broken{number - 10}" in kept:
        session.update(f"DROP TABLE IF EXISTS broken{number - 10}")
        kept[f"broken{number - 10}"] = None


def _assert_kept(session: Session, kept: dict[str, list[int] | None]) -> None:
    for table, values in kept.items():
        found = session.rows(table)
        assert found == values, f"{table}: {found and len(found)} rows instead of {values and len(values)}"


def _break_off(session: Session, table: str, mode: str, stop: int) -> Any:
    """Sends so many batches, and not the end: the writer, which would say so when it is forgotten."""
    if stop < 0:
        return None
    descriptor = fl.FlightDescriptor.for_command(ingest(table, mode))
    writer, _ = session.client.do_put(descriptor, sender.SCHEMA, session.options)
    for number in range(stop):
        values = sender.VALUES[number * sender.ROWS : (number + 1) * sender.ROWS]
        writer.write_batch(pa.record_batch([pa.array(values, pa.int64())], sender.SCHEMA))
    time.sleep(0.05)
    return writer


class _Writer:
    """Changes its tables, all in the same way and one change after the other, until the server is gone.

    Several tables are changed in one transaction, so they must always be equal. What the server has acknowledged holds;
    the change under way at the end may have happened, or not.
    """

    def __init__(self, token: str, tables: tuple[str, ...], chance: random.Random) -> None:
        self._token = token
        self._tables = tables
        self._chance = chance
        self._known: list[int] | None = None
        self._tried: list[int] | None = None
        self.acknowledged = 0

    def problems(self, uri: str) -> list[str]:
        """What is wrong with the tables; takes over what is found, so that the next changes start from there."""
        with Session.of(uri, self._token) as session:
            found = [session.rows(table) for table in self._tables]
        told = [None if rows is None else len(rows) for rows in found]
        sizes = [None if rows is None else len(rows) for rows in (self._known, self._tried)]
        if found[0] not in (self._known, self._tried) or any(rows != found[0] for rows in found):
            return [f"{self._tables}: {told} rows; acknowledged and under way were {sizes}"]
        self._known = self._tried = found[0]
        return []

    def write(self, uri: str) -> None:
        with Session.of(uri, self._token) as session, suppress(pa.ArrowException, OSError):
            while True:
                after, change = self._change()
                self._tried = after
                if len(self._tables) == 1:
                    change(session, self._tables[0], None)
                else:
                    transaction = session.begin()
                    for table in self._tables:
                        change(session, table, transaction)
                    session.end(transaction, commits=True)
                self._known = after
                self.acknowledged += 1

    def _change(self) -> tuple[list[int] | None, Callable[[Session, str, bytes | None], object]]:
        """What the table holds after the change, and the change."""
        known, chance = self._known, self._chance
        if known is None or len(known) > 20_000:
            values = [chance.randrange(10**6) for _ in range(chance.randrange(5_000))]
            return sorted(values), lambda session, table, id: _put(session, table, values, "replace", id)
        how = chance.choice(("append", "append", "append", "insert", "delete", "drop"))
        if how == "append":
            values = [chance.randrange(10**6) for _ in range(chance.randrange(3_000))]
            return sorted(known + values), lambda session, table, id: _put(session, table, values, "append", id)
        if how == "insert":
            start = chance.randrange(10**6)
            sql = f"INSERT INTO {{}} SELECT range FROM range({start}, {start + 700})"
            after: list[int] | None = sorted([*known, *range(start, start + 700)])
        elif how == "delete":
            rest = chance.randrange(5)
            sql, after = f"DELETE FROM {{}} WHERE n % 5 = {rest}", [value for value in known if value % 5 != rest]
        else:
            sql, after = "DROP TABLE {}", None
        return after, lambda session, table, id: session.update(sql.format(table), id)


def _put(session: Session, table: str, values: list[int], mode: str, transaction: bytes | None) -> int:
    descriptor = fl.FlightDescriptor.for_command(ingest(table, mode, transaction=transaction))
    rows = pa.table({"n": pa.array(values, pa.int64())})
    return session.put(descriptor, rows.schema, rows.to_batches(max(1, len(values) // 3)))


# --------------------------------------------------------------------------------------------------------------- bounds


def test_an_upload_over_the_bounds_leaves_nothing(start: Start, make_lab: Callable[..., Any]) -> None:
    """One user fills the disk: refused with what to do, the disk is as before, and the session's tables are whole."""
    limits = "[limits]\ntemporary_bytes_max = 300000\ntemporary_total_bytes_max = 450000\nput_batches_max = 50\n"
    with (
        start(products=[make_lab().folder], toml=limits) as served,
        Session.new(served.uri, served.tokens["analyst"]) as session,
        Session.new(served.uri, served.tokens["analyst"]) as other,
    ):
        session.ingest("small", range(1_000))
        before = used_bytes(served.state)
        for mode, table in (("create", "large"), ("append", "small"), ("replace", "small"), ("create_append", "large")):
            with pytest.raises(fl.FlightUnavailableError, match="exhausted: The temporary tables of a session"):
                session.ingest(table, range(100_000), mode, batches=20)
            assert used_bytes(served.state) == before
        with pytest.raises(pa.ArrowInvalid, match="more than 50 batches"):
            session.ingest("pieces", range(1_000), batches=100)
        with pytest.raises(fl.FlightUnavailableError, match="exhausted: "):
            session.update("CREATE TEMP TABLE large AS SELECT range AS n FROM range(1000000)")
        assert used_bytes(served.state) == before
        other.ingest("large", range(32_000))
        with pytest.raises(fl.FlightUnavailableError, match="exhausted: The temporary tables of all sessions"):
            session.ingest("second", range(30_000))
        assert session.rows("small") == list(range(1_000))
        assert session.rows("large") is session.rows("pieces") is session.rows("second") is None
        other.close_session()
        session.ingest("second", range(30_000))
        session.update("DROP TABLE second")
        session.update("DROP TABLE small")
        assert used_bytes(served.state) < 10_000


def test_the_disk_is_given_back(served: ServedBy, mine: Session) -> None:
    """A session that replaces, appends and drops all day must not grow with what nobody can see any more."""
    before = used_bytes(served.state)
    for number in range(40):
        mine.ingest("turning", range(5_000), "replace" if number % 5 == 0 else "append", batches=3)
        mine.update("DELETE FROM turning WHERE n % 2 = 0")
    assert used_bytes(served.state) - before < 40 * 5_000 * 8
    transaction = mine.begin()
    for number in range(3):
        mine.update(f"CREATE TEMP TABLE other{number} AS SELECT range AS n FROM range(10000)", transaction)
    mine.end(transaction, commits=False)
    mine.update("DROP TABLE turning")
    assert used_bytes(served.state) - before < 2_000
    assert mine.rows("other0") is None


# ------------------------------------------------------------------------------------------------------ whose, how long


def test_tables_belong_to_the_session(served: ServedBy) -> None:
    """A second connection with the session's token sees its tables; all other callers see nothing of them."""
    with (
        Session.new(served.uri, served.tokens["analyst"]) as session,
        Session.of(served.uri, session.token) as second,
        Session.new(served.uri, served.tokens["analyst"]) as same_user,
        Session.new(served.uri, served.tokens["steward"]) as other_user,
        Session.new(served.uri) as nobody,
        Session.new(served.uri) as nobody_else,
    ):
        session.ingest("mine", [1, 2, 3])
        nobody.ingest("theirs", [4])
        assert second.rows("mine") == [1, 2, 3]
        assert nobody.rows("theirs") == [4]
        for stranger in (same_user, other_user, nobody, nobody_else):
            assert stranger.rows("mine") is None
        for stranger in (session, same_user, other_user, nobody_else):
            assert stranger.rows("theirs") is None
        second.update("INSERT INTO mine VALUES (4)")
        assert session.rows("mine") == [1, 2, 3, 4]
        for stranger in (same_user, other_user, nobody_else):
            stranger.close_session()
        assert session.rows("mine") == [1, 2, 3, 4]
        assert nobody.rows("theirs") == [4]
        session.close_session()
        assert second.rows("mine") is session.rows("mine") is None


def test_an_upload_into_a_closed_session_is_not_kept(served: ServedBy) -> None:
    """The session is closed while its rows still arrive: they go nowhere, and no file stays."""
    before = used_bytes(served.state)
    with (
        Session.new(served.uri, served.tokens["analyst"]) as session,
        Session.of(served.uri, session.token) as second,
        _uploading(session, "late") as writer,
    ):
        writer.write_batch(pa.record_batch([pa.array([1], pa.int64())], sender.SCHEMA))
        time.sleep(0.1)
        second.close_session()
        with pytest.raises(pa.ArrowInvalid, match="session was closed"):
            writer.close()
        assert session.rows("late") is None
    assert used_bytes(served.state) == before


@pytest.mark.slow
def test_an_idle_session_ends(start: Start, make_lab: Callable[..., Any]) -> None:
    """Who goes home leaves nothing behind: after the time that the settings say the tables are gone, the disk too."""
    limits = "[limits]\nsession_idle_s = 2\n"
    with (
        start(products=[make_lab().folder], toml=limits) as served,
        Session.new(served.uri, served.tokens["analyst"]) as session,
    ):
        session.ingest("mine", range(10_000))
        assert used_bytes(served.state) > 80_000
        for _ in range(4):  # In use, it stays.
            time.sleep(0.8)
            assert session.column("SELECT count(*) FROM mine") == [10_000]
        time.sleep(2.2)
        assert session.rows("mine") is None
        deadline = time.monotonic() + _SWEPT_S
        while used_bytes(served.state):
            assert time.monotonic() < deadline, "the tables of an idle session are still on disk"
            time.sleep(0.1)


@contextmanager
def _uploading(session: Session, table: str) -> Iterator[Any]:
    """The writer of an upload under way."""
    descriptor = fl.FlightDescriptor.for_command(ingest(table))
    writer, _reader = session.client.do_put(descriptor, sender.SCHEMA, session.options)
    yield writer
    with suppress(pa.ArrowException, OSError):
        writer.close()

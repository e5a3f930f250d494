"""A session's temporary tables and transactions: who sees what, what survives, and what never half happens."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pytest
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from hypothesis.strategies import booleans, integers, lists, none, one_of, sampled_from

from flightmesh.catalog.temporary import SessionFiles
from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.service.authn import ANONYMOUS_PRINCIPAL, Principal
from flightmesh.service.sessions import Session
from flightmesh.service.temporary import Temporaries

START = 1_000_000.0
ANN = Session("one", Principal("ann"), START, START)
BOB = Session("one", Principal("bob"), START, START)
Exists = Literal["fail", "append", "replace"]


@dataclass
class Bench:
    """Temporary tables below a folder, as a server has them; ``restart`` is the next server."""

    root: Path
    limits: Limits = field(default_factory=Limits)
    now: float = START

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.own = Temporaries(SessionFiles(self.root), self.limits, lambda: self.now)

    def put(self, name: str, rows: Any, *, session: Session = ANN, exists: Exists = "replace", **more: Any) -> int:
        """The rows: a list for one column n, or a dict of columns."""
        batch = pa.record_batch(rows if isinstance(rows, dict) else {"n": pa.array(rows, pa.int64())})
        with self.own.writing(session, batch.schema) as upload:
            upload.write(batch)
            return self.own.put(session, name, upload, exists=exists, missing=more.pop("missing", "create"), **more)

    def rows(self, name: str, session: Session = ANN, transaction: str | None = None) -> Any:
        """The column n of a table; None when the session does not see it."""
        table = self.own.visible(session, transaction).get(name)
        return None if table is None else table.open().column("n").to_pylist()

    def files(self) -> list[str]:
        return sorted(path.suffix for path in self.root.rglob("*") if path.is_file())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "sessions")


def code_of(call: Callable[..., object], *arguments: Any, **named: Any) -> tuple[ErrorCode, str]:
    with pytest.raises(FlightmeshError) as failure:
        call(*arguments, **named)
    return failure.value.code, str(failure.value)


def test_a_table_is_seen_by_its_session_alone(bench: Bench) -> None:
    """Not by another session of the same user, nor by another user who names the same session."""
    assert bench.put("Trips", [1, 2]) == 2
    seen = bench.own.visible(ANN)
    assert list(seen) == ["trips"]
    assert seen["trips"].name == "Trips"
    assert seen["trips"].columns == (("n", "BIGINT"),)
    assert seen["trips"].rows == 2
    assert bench.rows("trips") == [1, 2]
    assert bench.own.visible(BOB) == {}
    assert bench.own.visible(replace(ANN, id="two")) == {}


def test_all_survives_a_restart(bench: Bench) -> None:
    """The client's token still opens its tables; their files are found by what it says, and nothing else."""
    bench.put("a", [1])
    bench.put("a", [2], exists="append")
    bench.put("b", [])
    bench.restart()
    assert bench.rows("a") == [1, 2]
    assert bench.rows("b") == []
    assert bench.own.sizes()["tables"] == 2
    bench.own.close(ANN)
    assert bench.own.sizes() == {"sessions": 0, "tables": 0, "transactions": 0, "uploads": 0, "bytes": 0}
    assert list(bench.root.iterdir()) == []


def test_the_modes(bench: Bench) -> None:
    """Drivers ask for create, append, replace and create_append; each does what it says or refuses."""
    assert code_of(bench.put, "t", [1], missing="fail")[0] is ErrorCode.NOT_FOUND
    bench.put("t", [1], exists="fail")
    code, text = code_of(bench.put, "T", [2], exists="fail")
    assert code is ErrorCode.INVALID
    assert "already exists" in text
    bench.put("T", [2], exists="append", missing="fail")
    assert bench.rows("t") == [1, 2]
    bench.put("t", [3])
    assert bench.rows("t") == [3]
    assert bench.files() == [".arrow", ".json"]


def test_a_version_changes_with_the_rows(bench: Bench) -> None:
    """Plans and binders are kept by it: a stale one would read rows that are gone."""
    bench.put("t", [1])
    first = bench.own.visible(ANN)["t"].version
    bench.put("t", [1])
    second = bench.own.visible(ANN)["t"].version
    assert first != second
    code, text = code_of(bench.put, "t", [9], base=first)
    assert code is ErrorCode.INVALID
    assert "changed meanwhile" in text
    bench.put("t", [9], base=second)
    assert bench.rows("t") == [9]


def test_what_is_replaced_can_still_be_read(bench: Bench) -> None:
    """A statement was planned a moment before: it reads what it was planned over."""
    bench.put("t", [1])
    before = bench.own.visible(ANN)["t"]
    bench.put("t", [2], exists="append")
    between = bench.own.visible(ANN)["t"]
    bench.put("t", [3])
    bench.own.close(ANN)
    assert before.open().column("n").to_pylist() == [1]
    assert between.open().column("n").to_pylist() == [1, 2]


def test_appended_columns_are_found_by_name(bench: Bench) -> None:
    """By place, a client's other column order would put prices into quantities."""
    bench.put("t", {"n": [1], "Text": ["a"]})
    bench.put("t", {"text": ["b"], "N": pa.array([2], pa.int8())}, exists="append")
    bench.put("t", {"text": ["c"]}, exists="append")
    assert bench.own.visible(ANN)["t"].open().to_pydict() == {"n": [1, 2, None], "Text": ["a", "b", "c"]}
    code, text = code_of(bench.put, "t", {"n": [1], "txt": ["a"]}, exists="append")
    assert (code, "Did you mean Text?" in text) == (ErrorCode.INVALID, True)
    code, text = code_of(bench.put, "t", {"n": [1.5]}, exists="append")
    assert (code, "'n'" in text) == (ErrorCode.INVALID, True)
    assert bench.own.visible(ANN)["t"].rows == 3


def test_an_upload_that_is_not_put_leaves_nothing(bench: Bench) -> None:
    """A client that dies in mid-upload has loaded nothing."""
    bench.put("t", [1])
    before = bench.own.sizes()
    batch = pa.record_batch({"n": [1, 2, 3]})
    with bench.own.writing(ANN, batch.schema) as upload:
        upload.write(batch)
        assert ".writing" in bench.files()
    assert bench.own.sizes() == before
    assert bench.files() == [".arrow", ".json"]


def test_an_upload_ends_with_its_session(bench: Bench) -> None:
    """Nobody counts the bytes of a closed session: going on would fill the disk beyond every bound."""
    batch = pa.record_batch({"n": [1, 2, 3]})
    for writes_before in (0, 1):
        with bench.own.writing(ANN, batch.schema) as upload:
            for _ in range(writes_before):
                upload.write(batch)
            bench.own.close(ANN)
            assert code_of(upload.write, batch)[0] is ErrorCode.INVALID
        assert (list(bench.root.iterdir()), bench.own.sizes()["bytes"]) == ([], 0)


def test_an_upload_that_failed_cannot_be_put(bench: Bench) -> None:
    """Half a load must never become a table, whatever the caller does after the error."""
    batch = pa.record_batch({"n": pa.array([1, -(2**63)], pa.timestamp("us"))})
    with bench.own.writing(ANN, batch.schema) as upload:
        upload.write(batch.slice(0, 1))
        assert code_of(upload.write, batch)[0] is ErrorCode.INVALID
        assert code_of(bench.own.put, ANN, "t", upload, exists="replace", missing="create")[0] is ErrorCode.INVALID
    assert bench.own.visible(ANN) == {}


def test_an_upload_is_put_once_and_where_it_belongs(bench: Bench) -> None:
    """Its rows are one table's; another session must not get them."""
    batch = pa.record_batch({"n": [1]})
    with bench.own.writing(ANN, batch.schema) as upload:
        upload.write(batch)
        assert code_of(bench.own.put, BOB, "t", upload, exists="replace", missing="create")[0] is ErrorCode.INVALID
        bench.own.put(ANN, "t", upload, exists="replace", missing="create")
        assert code_of(bench.own.put, ANN, "u", upload, exists="replace", missing="create")[0] is ErrorCode.INVALID
        assert code_of(upload.write, batch)[0] is ErrorCode.INVALID
    with bench.own.writing(ANN, batch.schema) as upload:
        bench.own.close(ANN)
        assert code_of(bench.own.put, ANN, "t", upload, exists="replace", missing="create")[0] is ErrorCode.INVALID
    assert list(bench.own.visible(ANN)) == []


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 256, "\ud800"])
def test_what_cannot_be_a_name_is_refused(bench: Bench, name: str) -> None:
    """DuckDB would not find it again."""
    assert code_of(bench.put, name, [1])[0] is ErrorCode.INVALID


def test_any_other_name_is_kept(bench: Bench) -> None:
    """Clients name their frames as they like."""
    for name in ('a"b', "x.y", "../..", "\U0001f600", "é" * 127, "select"):
        bench.put(name, [1])
    bench.restart()
    assert {table.name for table in bench.own.visible(ANN).values()} >= {'a"b', "../..", "\U0001f600"}


def test_the_bounds(tmp_path: Path) -> None:
    """One client must fill neither the disk nor the memory of the server."""
    limits = replace(
        Limits(), temporary_tables_max=2, temporary_bytes_max=20_000, temporary_total_bytes_max=30_000, sessions_max=3
    )
    bench = Bench(tmp_path, limits)
    bench.put("a", list(range(1_500)))
    code, text = code_of(bench.put, "b", list(range(1_500)))
    assert (code, "20000 bytes" in text) == (ErrorCode.EXHAUSTED, True)
    bench.put("b", [1])
    code, text = code_of(bench.put, "c", [1])
    assert (code, "at most 2" in text) == (ErrorCode.EXHAUSTED, True)
    code, text = code_of(bench.put, "a", list(range(2_300)), session=BOB)
    assert (code, "of all sessions" in text) == (ErrorCode.EXHAUSTED, True)
    used = sum(path.stat().st_size for path in bench.root.rglob("*.arrow"))
    assert bench.own.sizes()["bytes"] == used
    bench.own.begin(replace(ANN, id="third"))
    assert code_of(bench.own.begin, replace(ANN, id="fourth"))[0] is ErrorCode.EXHAUSTED


def test_many_small_appends_are_joined(bench: Bench) -> None:
    """A row at a time, as ``executemany`` sends them, must not end in a thousand files."""
    for number in range(100):
        bench.put("t", [number], exists="append")
        assert len(bench.files()) <= 17
    bench.restart()
    assert bench.rows("t") == list(range(100))
    assert bench.own.sizes()["bytes"] == sum(path.stat().st_size for path in bench.root.rglob("*.arrow"))


def test_threads_lose_no_rows(bench: Bench) -> None:
    """Two connections of one session append to the same table at once."""

    def append(start: int) -> None:
        for number in range(start, start + 30):
            bench.put("t", [number], exists="append")

    threads = [threading.Thread(target=append, args=(start,)) for start in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = [number for start in (0, 100, 200) for number in range(start, start + 30)]
    assert sorted(bench.rows("t")) == expected


def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    """The client is told; what is there can still be read."""
    names = iter(f"{number:032x}" for number in range(100))
    own = Temporaries(SessionFiles(tmp_path, lambda: next(names)), Limits())
    bench = Bench(tmp_path)
    bench.own = own
    bench.put("t", [1])
    folder = next(tmp_path.iterdir())
    (folder / f"{1:032x}.writing").symlink_to("/dev/full")
    code, text = code_of(bench.put, "t", [2], exists="append")
    assert (code, "disk is full" in text) == (ErrorCode.EXHAUSTED, True)
    assert bench.rows("t") == [1]
    bench.put("t", [3], exists="append")
    assert bench.rows("t") == [1, 3]


# ------------------------------------------------------------------------------------------------------- transactions


def test_a_transaction_is_seen_from_inside_only_until_it_commits(bench: Bench) -> None:
    """Others see all of it or nothing."""
    bench.put("t", [1])
    transaction = bench.own.begin(ANN)
    bench.put("t", [2], exists="append", transaction=transaction)
    bench.put("u", [5], transaction=transaction)
    assert bench.rows("t") == [1]
    assert bench.rows("u") is None
    assert bench.rows("t", transaction=transaction) == [1, 2]
    bench.own.end(ANN, transaction, commits=True)
    assert bench.rows("t") == [1, 2]
    assert bench.rows("u") == [5]
    assert "not open" in code_of(bench.own.end, ANN, transaction, commits=True)[1]
    bench.restart()
    assert bench.rows("t") == [1, 2]


def test_a_rollback_leaves_nothing(bench: Bench) -> None:
    """Neither in the tables nor on the disk."""
    bench.put("t", [1])
    transaction = bench.own.begin(ANN)
    bench.put("t", [2], exists="append", transaction=transaction)
    assert bench.own.drop(ANN, "t", if_exists=False, transaction=transaction)
    bench.put("u", [2], transaction=transaction)
    bench.own.end(ANN, transaction, commits=False)
    assert bench.rows("t") == [1]
    assert bench.files() == [".arrow", ".json"]
    assert bench.own.sizes()["bytes"] == next(bench.root.rglob("*.arrow")).stat().st_size


def test_a_restart_rolls_back(bench: Bench) -> None:
    """What was never committed is gone; its id is unknown."""
    transaction = bench.own.begin(ANN)
    bench.put("t", [1], transaction=transaction)
    bench.restart()
    assert bench.own.visible(ANN) == {}
    assert bench.files() == []
    assert code_of(bench.own.visible, ANN, transaction)[0] is ErrorCode.INVALID


def test_a_conflict_applies_nothing(bench: Bench) -> None:
    """Somebody else's rows must not be overwritten by what was computed before them."""
    bench.put("t", [1])
    bench.put("u", [1])
    transaction = bench.own.begin(ANN)
    bench.put("u", [2], transaction=transaction)
    bench.put("t", [2], exists="append", transaction=transaction)
    bench.put("T", [3], exists="append")
    code, text = code_of(bench.own.end, ANN, transaction, commits=True)
    assert (code, "'t'" in text) == (ErrorCode.INVALID, True)
    assert (bench.rows("t"), bench.rows("u")) == ([1, 3], [1])
    assert bench.own.sizes()["transactions"] == 0


def test_statements_join_the_default_transaction(bench: Bench) -> None:
    """``BEGIN`` as a statement: what follows on the connection belongs to it until COMMIT or ROLLBACK."""
    bench.own.end(ANN, None, commits=True)
    bench.own.begin(ANN, is_default=True)
    assert "open already" in code_of(bench.own.begin, ANN, is_default=True)[1]
    bench.put("t", [1])
    assert bench.rows("t") == [1]
    bench.own.end(ANN, None, commits=False)
    assert bench.rows("t") is None
    bench.own.end(ANN, None, commits=True)
    bench.own.begin(ANN, is_default=True)
    bench.put("t", [1])
    bench.own.end(ANN, None, commits=True)
    assert bench.rows("t") == [1]


def test_foreign_transactions_are_unknown(bench: Bench) -> None:
    """Whoever learns an id of another session can do nothing with it."""
    transaction = bench.own.begin(ANN)
    bench.put("t", [1], session=BOB)
    for call in (
        lambda: bench.own.visible(BOB, transaction),
        lambda: bench.own.end(BOB, transaction, commits=True),
        lambda: bench.own.drop(BOB, "t", if_exists=True, transaction=transaction),
        lambda: bench.put("t", [2], session=BOB, transaction=transaction),
    ):
        assert code_of(call)[0] is ErrorCode.INVALID
    assert bench.rows("t", BOB) == [1]


def test_transactions_are_bounded_and_expire(tmp_path: Path) -> None:
    """Clients forget them. The next statement of one that expired must not go on by itself."""
    bench = Bench(tmp_path, replace(Limits(), transactions_max=2, transaction_ttl_s=60))
    bench.put("t", [0])
    named = bench.own.begin(ANN)
    bench.put("n", [0], transaction=named)
    bench.own.begin(ANN, is_default=True)
    bench.put("t", [1])
    assert code_of(bench.own.begin, ANN)[0] is ErrorCode.EXHAUSTED
    bench.now += 60
    bench.own.sweep()
    assert code_of(bench.own.visible, ANN, named)[0] is ErrorCode.INVALID
    assert "rolled back" in code_of(bench.put, "t", [2])[1]
    bench.put("t", [2], exists="append")
    assert bench.rows("t") == [0, 2]


def test_a_statement_follows_its_client_to_the_next_transaction(bench: Bench) -> None:
    """Drivers keep what they prepared over a rollback; it must not end up in the transaction of another connection."""
    first = bench.own.begin(ANN)
    assert bench.own.standing(ANN, first) == first
    bench.own.end(ANN, first, commits=False)
    assert bench.own.standing(ANN, first) is None
    second = bench.own.begin(ANN)
    assert bench.own.standing(ANN, first) == second
    bench.own.end(ANN, second, commits=True)
    third = bench.own.begin(ANN)
    assert bench.own.standing(ANN, first) == bench.own.standing(ANN, second) == third
    other = bench.own.begin(ANN)
    bench.own.end(ANN, third, commits=True)
    assert bench.own.standing(ANN, third) is None, "the other transaction is another connection's"
    assert bench.own.standing(ANN, other) == other


def test_words_settle_a_transaction_and_leave_it_open(bench: Bench) -> None:
    """SQLAlchemy begins by id once per connection and ends each piece of work by COMMIT or ROLLBACK in words."""
    opened = bench.own.begin(ANN)
    bench.put("a", [1], transaction=opened)
    bench.own.settle(ANN, opened, commits=True)
    bench.put("b", [2], transaction=opened)
    bench.own.settle(ANN, opened, commits=False)
    assert (bench.rows("a"), bench.rows("b")) == ([1], None)
    bench.own.end(ANN, opened, commits=True)


def test_callers_without_a_name_get_half(tmp_path: Path) -> None:
    """Anybody can open such sessions; they must not shut out those who have signed in."""
    bench = Bench(tmp_path, replace(Limits(), sessions_max=4, temporary_total_bytes_max=40_000))
    nobody = [replace(ANN, id=str(number), principal=ANONYMOUS_PRINCIPAL) for number in range(3)]
    assert all(bench.own.begin(session) for session in nobody[:2])
    assert code_of(bench.own.begin, nobody[2]) == (
        ErrorCode.EXHAUSTED,
        "Too many sessions have temporary tables or transactions. Try again later, or sign in.",
    )
    with pytest.raises(FlightmeshError, match="of all sessions have at most"):
        bench.put("t", list(range(3_000)), session=nobody[0])
    bench.put("t", list(range(3_000)))
    bench.own.close(nobody[0])
    assert bench.own.begin(nobody[2])


def test_names_of_the_system_and_too_many_columns_are_refused(tmp_path: Path) -> None:
    """A table that its name would hide is none; each column costs whoever asks for the catalogue."""
    bench = Bench(tmp_path, replace(Limits(), temporary_columns_max=3))
    for name in ("pg_class", "DUCKDB_TABLES"):
        assert "system catalogue" in code_of(bench.put, name, [1])[1]
    bench.put("a", {"x": pa.array([1]), "y": pa.array([1])})
    assert "3 columns" in code_of(bench.put, "b", {"x": pa.array([1]), "y": pa.array([1])})[1]
    bench.put("b", [1])


# ------------------------------------------------------------------------------------------------------------ the end


def test_unused_sessions_expire(bench: Bench) -> None:
    """Also across a restart: what nobody uses must not fill the disk."""
    bench.put("t", [1])
    bench.now += bench.limits.session_idle_s - 1
    assert bench.rows("t") == [1]
    bench.own.sweep()
    bench.restart()
    bench.now += bench.limits.session_idle_s - 1
    assert bench.rows("t") == [1]
    bench.now += bench.limits.session_idle_s
    assert bench.own.visible(ANN) == {}
    assert list(bench.root.iterdir()) == []
    bench.put("t", [1])
    bench.now += bench.limits.session_idle_s
    bench.own.sweep()
    assert list(bench.root.iterdir()) == []


def test_a_running_read_keeps_its_session(bench: Bench) -> None:
    """A slow client reads for hours: its tables are there when it asks the next question."""
    bench.put("t", [1])
    opened = bench.own.visible(ANN)["t"].open()
    bench.now += 2 * bench.limits.session_idle_s
    bench.own.sweep()
    assert bench.rows("t") == [1]
    del opened


def test_nobody_keeps_a_session_for_ever(bench: Bench) -> None:
    """A session's token ends; nobody could reach its tables after that."""
    bench.put("t", [1])
    for _ in range(30):
        bench.now += bench.limits.session_ttl_s / 25
        bench.own.visible(ANN)
        bench.own.sweep()
    assert list(bench.root.iterdir()) == []


def test_a_damaged_part_is_no_crash(bench: Bench) -> None:
    """A disk loses bytes: the client is told to load again, and can."""
    bench.put("t", {"n": ["aa", "bb"]})
    part = next(bench.root.rglob("*.arrow"))
    content = bytearray(part.read_bytes())
    place = content.index(b"aabb")
    content[place] = 0xFF
    part.write_bytes(content)
    bench.restart()
    assert code_of(bench.own.visible(ANN)["t"].open)[0] is ErrorCode.UNAVAILABLE
    bench.put("t", {"n": ["cc"]})
    assert bench.rows("t") == ["cc"]


def test_no_tables_cost_nothing(bench: Bench) -> None:
    """It is on the path of every query."""
    assert bench.own.visible(ANN) is bench.own.visible(BOB)
    assert list(bench.root.iterdir()) == []


# ------------------------------------------------------------------------------------------------------------- kill -9

_KILLED = """
import sys
from pathlib import Path
import pyarrow as pa
from flightmesh.catalog.temporary import SessionFiles
from flightmesh.config import Limits
from flightmesh.service.authn import Principal
from flightmesh.service.sessions import Session
from flightmesh.service.temporary import Temporaries
def told(event, arguments):
    # Every step that changes the disk is told before it happens, and waits to be let on.
    if event in ("os.rename", "os.remove", "os.mkdir") or (event == "open" and arguments[2] & 3):
        if sys.argv[1] in str(arguments[0]):
            print("step", flush=True)
            sys.stdin.readline()
own = Temporaries(SessionFiles(Path(sys.argv[1])), Limits(), lambda: 1_000_000.0)
session = Session("one", Principal("ann"), 1_000_000.0, 1_000_000.0)
sys.addaudithook(told)
for number in range(1, 20):
    batch = pa.record_batch({"n": pa.array([number], pa.int64())})
    with own.writing(session, batch.schema) as upload:
        upload.write(batch)
        own.put(session, "t", upload, exists="append", missing="create")
    print("done", number, flush=True)
"""


def test_a_kill_at_every_step(tmp_path: Path) -> None:
    """What was acknowledged is there afterwards, and never a part of what was not."""
    # The first steps, and those at which parts are joined.
    for steps in (1, 2, 3, 4, 5, 6, 52, 55, 60):
        root = tmp_path / str(steps)
        acknowledged = _killed_after(root, steps)
        bench = Bench(root)
        rows = bench.rows("t") or []
        assert acknowledged <= len(rows) <= acknowledged + 1
        assert rows == list(range(1, len(rows) + 1))
        assert ".writing" not in bench.files()
        assert bench.own.sizes()["bytes"] == sum(path.stat().st_size for path in root.rglob("*.arrow"))


def _killed_after(root: Path, steps: int) -> int:
    """Kills a process that appends row after row, before its n-th step on the disk; the number it acknowledged."""
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    done = 0
    for line in process.stdout:
        if line.startswith("done"):
            done = int(line.split()[1])
            continue
        steps -= 1
        if steps == 0:
            process.send_signal(signal.SIGKILL)
            break
        process.stdin.write("\n")
        process.stdin.flush()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    return done


# --------------------------------------------------------------------------------------------------------- the model

_NAMES = sampled_from(["a", "A", "b"])


class Model(RuleBasedStateMachine):
    """Everything at once against dictionaries."""

    transactions: Bundle[str] = Bundle("transactions")

    @initialize()
    def begin_all(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.bench = Bench(Path(self.folder.name))
        self.tables: dict[str, list[int]] = {}
        self.versions: dict[str, int] = {}
        self.open: dict[str, dict[str, list[int] | None]] = {}
        self.bases: dict[str, dict[str, int]] = {}
        self.clock = 0

    def teardown(self) -> None:
        self.folder.cleanup()

    def _seen(self, transaction: str | None) -> dict[str, list[int]]:
        merged: dict[str, list[int] | None] = {**self.tables, **(self.open[transaction] if transaction else {})}
        return {name: rows for name, rows in merged.items() if rows is not None}

    def _set(self, transaction: str | None, name: str, rows: list[int] | None) -> None:
        if transaction:
            self.bases[transaction].setdefault(name, self.versions.get(name, 0))
            self.open[transaction][name] = rows
        else:
            self._publish(name, rows)

    def _publish(self, name: str, rows: list[int] | None) -> None:
        self.clock += 1
        self.versions[name] = 0 if rows is None else self.clock
        self.tables.pop(name, None)
        if rows is not None:
            self.tables[name] = rows

    @rule(target=transactions)
    def begin(self) -> str:
        if len(self.open) >= 4:
            return ""
        transaction = self.bench.own.begin(ANN)
        self.open[transaction], self.bases[transaction] = {}, {}
        return transaction

    @rule(
        name=_NAMES,
        rows=lists(integers(0, 9), max_size=3),
        exists=sampled_from(["fail", "append", "replace"]),
        transaction=one_of(none(), transactions),
    )
    def put(self, name: str, rows: list[int], exists: Exists, transaction: str | None) -> None:
        transaction = transaction if transaction in self.open else None
        old = self._seen(transaction).get(name.lower())
        if old is not None and exists == "fail":
            with pytest.raises(FlightmeshError):
                self.bench.put(name, rows, exists=exists, transaction=transaction)
            return
        self.bench.put(name, rows, exists=exists, transaction=transaction)
        self._set(transaction, name.lower(), [*(old or []), *rows] if exists == "append" else rows)

    @rule(name=_NAMES, transaction=one_of(none(), transactions))
    def drop(self, name: str, transaction: str | None) -> None:
        transaction = transaction if transaction in self.open else None
        was_there = name.lower() in self._seen(transaction)
        assert self.bench.own.drop(ANN, name, if_exists=True, transaction=transaction) is was_there
        if was_there:
            self._set(transaction, name.lower(), None)

    @rule(transaction=consumes(transactions), commits=booleans())
    def end(self, transaction: str, commits: bool) -> None:
        if transaction not in self.open:
            return
        changes, bases = self.open.pop(transaction), self.bases.pop(transaction)
        changes = {name: rows for name, rows in changes.items() if rows is not None or bases[name]}
        is_fit = all(self.versions.get(name, 0) == bases[name] for name in changes)
        if commits and not is_fit:
            with pytest.raises(FlightmeshError, match="meanwhile"):
                self.bench.own.end(ANN, transaction, commits=True)
            return
        self.bench.own.end(ANN, transaction, commits=commits)
        if commits:
            for name, rows in changes.items():
                self._publish(name, rows)

    @rule()
    def restart(self) -> None:
        self.bench.restart()
        self.open.clear()

    @rule()
    def sweep(self) -> None:
        self.bench.own.sweep()

    @invariant()
    def all_see_what_they_should(self) -> None:
        for transaction in (None, *self.open):
            found = self.bench.own.visible(ANN, transaction)
            seen = {name: table.open().column("n").to_pylist() for name, table in found.items()}
            assert seen == self._seen(transaction)

    @invariant()
    def the_bytes_are_right(self) -> None:
        used = sum(path.stat().st_size for path in Path(self.folder.name).rglob("*.arrow"))
        assert self.bench.own.sizes()["bytes"] == used


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)

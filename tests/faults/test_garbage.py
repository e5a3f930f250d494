"""What no honest client sends: damaged Arrow, damaged messages, streams that lie, stop or never end. The server lives,
every answer is its own one line, and nothing of the call stays.

Thousands of seeded mutations; a sample of them runs every day, all of them with the slow tests.
"""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest

from flightmesh.flightsql import messages as m
from flightmesh.flightsql.codec import decode, encode, pack
from tests.conftest import ROOT, ServedBy, serving
from tests.faults import raw
from tests.faults.mutations import Messages, columns, damaged, damaged_message, streams
from tests.faults.raw import Answer, RawFlight, Silence, command_of, frame, frames_of, messages_of, path_of
from tests.faults.sessions import Session, ingest, settled, used_bytes

PRODUCT = ROOT / "products" / "clinical_trials"
ANY_MAX = 2_000_000_000
STALL_S = 1.0
# What stays of the threads that served a burst of calls, and the memory that allocators keep.
THREADS_MORE_MAX = 32
MEMORY_MORE_MAX = 512 << 20
_WORKERS = 3


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedBy]:
    """A server in a process of its own, which cuts silent clients soon."""
    raw.has_grpc()
    limits = f"[limits]\nstream_stall_s = {STALL_S}\ntemporary_bytes_max = 30000000\n"
    with serving(tmp_path_factory.mktemp("garbage"), products=[PRODUCT], toml=limits) as started:
        yield started
        assert started.process.poll() is None, "the server has died"


@pytest.fixture
def mine(served: ServedBy) -> Iterator[Session]:
    """A session of an analyst's; closed at the end."""
    with Session.new(served.uri, served.tokens["analyst"]) as session:
        yield session
        session.close_session()


@pytest.fixture
def door(served: ServedBy, mine: Session) -> Iterator[RawFlight]:
    """The raw connection of the same session."""
    with RawFlight(served.uri, mine.token) as opened:
        yield opened


@pytest.fixture(autouse=True)
def nothing_stays(request: pytest.FixtureRequest, served: ServedBy) -> Iterator[None]:
    """Fails the test after which the server holds threads or memory, or does not answer."""
    pid = served.process.pid
    with Session.new(served.uri, served.tokens["analyst"]) as session:
        assert session.column("SELECT 1 AS one") == [1]
    threads, memory = raw.threads_of(pid), raw.resident_bytes(pid)
    yield
    assert served.process.poll() is None, "the server has died"
    with Session.new(served.uri, served.tokens["analyst"]) as session:
        assert session.column("SELECT 1 AS one") == [1]
    deadline = time.monotonic() + 10
    while raw.threads_of(pid) > threads + THREADS_MORE_MAX:
        assert time.monotonic() < deadline, f"{raw.threads_of(pid)} threads, {threads} before"
        time.sleep(0.1)
    assert raw.resident_bytes(pid) < memory + MEMORY_MORE_MAX
    settled(served.state)


# ------------------------------------------------------------------------------------------------------------ mutations


@pytest.mark.parametrize(
    "number", [400, pytest.param(5_000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])], ids=["some", "all"]
)
def test_damaged_arrow(served: ServedBy, number: int) -> None:
    """One byte wrong in one user's upload, and a server that trusts it crashes for everybody (Arrow checks nothing by
    itself). What is taken is also read, by the engine that would crash.
    """
    kept = streams()
    rounds = [(place, random.Random(f"arrow {place}")) for place in range(number)]
    told = _in_parallel(served, rounds, lambda caller, one: caller.damaged_upload(one[0], one[1], kept))
    refused = sum(not is_ok for is_ok, _ in told)
    print(f"{number} damaged streams: {refused} refused, {number - refused} taken")
    assert number * 0.3 < refused < number * 0.99
    assert [problem for _, problem in told if problem] == []


@pytest.mark.parametrize(
    "number", [150, pytest.param(1_000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])], ids=["some", "all"]
)
def test_damaged_messages(served: ServedBy, number: int) -> None:
    """A driver of another version, or an attacker, sends commands, actions, tickets and handles that are not quite."""
    rounds = [(place, random.Random(f"message {place}")) for place in range(number)]
    told = _in_parallel(served, rounds, lambda caller, one: caller.damaged_call(one[1]))
    refused = sum(not is_ok for is_ok, _ in told)
    print(f"{number} damaged messages: {refused} refused, {number - refused} answered")
    assert number * 0.3 < refused < number * 0.97
    assert [problem for _, problem in told if problem] == []


def _in_parallel(
    served: ServedBy,
    rounds: list[tuple[int, random.Random]],
    work: Callable[[_Caller, tuple[int, random.Random]], tuple[bool, str | None]],
) -> list[tuple[bool, str | None]]:
    """Whether each was answered, and what was wrong with the answer; several callers at a time."""

    def run(worker: int) -> list[tuple[bool, str | None]]:
        with Session.new(served.uri, served.tokens["analyst"]) as session, RawFlight(served.uri, session.token) as door:
            caller = _Caller(served, session, door)
            return [work(caller, one) for one in rounds[worker::_WORKERS]]

    with ThreadPoolExecutor(_WORKERS) as pool:
        return [one for part in pool.map(run, range(_WORKERS)) for one in part]


class _Caller:
    """One hostile session."""

    def __init__(self, served: ServedBy, session: Session, door: RawFlight) -> None:
        self._served = served
        self._session = session
        self._door = door
        session.update("CREATE TEMP TABLE own (a VARCHAR, b BIGINT)")
        self._handles = {
            "query": session.prepare("SELECT ? AS a"),
            "update": session.prepare("INSERT INTO own VALUES (?, ?)"),
        }
        messages = self._calls()
        self._inner = [one for one in messages if one[0].islower()]
        self._outer = [one for one in messages if not one[0].islower()]

    def damaged_upload(self, number: int, chance: random.Random, kept: list[Messages]) -> tuple[bool, str | None]:
        """An upload or a binding of a damaged stream; when it is taken, its rows are read."""
        stream = damaged(chance, kept[number % len(kept)])
        handle = None if number % 4 else self._handles[chance.choice(("query", "update"))]
        if handle is None:
            command = ingest("target", chance.choice(("replace", "replace", "create_append")))
        elif handle is self._handles["query"]:
            command = pack(m.CommandPreparedStatementQuery(handle))
        else:
            command = pack(m.CommandPreparedStatementUpdate(handle))
        answers = [self._door.put(frames_of(command_of(command), stream) or [frame(descriptor=command_of(command))])]
        if answers[0].is_ok and handle is None:
            answers += self._read_back(pack(m.CommandStatementQuery("SELECT * FROM target")))
            answers += self._read_back(pack(m.CommandStatementQuery("SELECT count(DISTINCT t) FROM target AS t")))
        elif answers[0].is_ok and handle is self._handles["query"] and answers[0].messages:
            bound = _result_of(answers[0], m.DoPutPreparedStatementResult).prepared_statement_handle or handle
            answers += self._read_back(pack(m.CommandPreparedStatementQuery(bound)))
        return answers[0].is_ok, _problem(f"arrow {number}", answers)

    def damaged_call(self, chance: random.Random) -> tuple[bool, str | None]:
        """One call of one RPC with a damaged message."""
        # What is damaged around a command, gRPC and pyarrow refuse before the server is asked.
        kept = self._inner if chance.random() < 0.8 else self._outer
        name, call, message = chance.choice(kept)
        sent = damaged_message(chance, message, [other for _, _, other in kept])
        answer = call(sent)
        return answer.is_ok, _problem(f"{name} with {sent.hex()}", [answer])

    def _read_back(self, command: bytes) -> list[Answer]:
        info = self._door.info(command_of(command))
        if not info.is_ok:
            return [info]
        ticket = fl.FlightInfo.deserialize(info.messages[0]).endpoints[0].ticket
        return [info, self._door.get(bytes(ticket.serialize()))]

    def _calls(self) -> list[tuple[str, Callable[[bytes], Answer], bytes]]:
        """Each RPC with a right message of every kind."""
        door, session = self._door, self._session
        ticket = session.ticket(m.CommandStatementQuery("SELECT arms FROM clinical.trials.arms"))
        handle, transaction = self._handles["query"], session.begin()
        info = session.client.get_flight_info(
            fl.FlightDescriptor.for_path("clinical", "trials", "arms"), session.options
        )
        commands = [
            *(pack(command) for command in _COMMANDS),
            pack(m.CommandStatementQuery("SELECT 1 AS a", transaction)),
            pack(m.CommandPreparedStatementQuery(handle)),
            pack(m.CommandPreparedStatementUpdate(self._handles["update"])),
            ingest("other", "replace"),
        ]
        descriptors = [
            *map(command_of, commands),
            path_of("clinical", "trials", "arms"),
            path_of("temp", "main", "own"),
        ]
        tickets = [bytes(fl.Ticket(data).serialize()) for data in (ticket, *commands)]
        end = m.ActionEndTransactionRequest(transaction, m.EndTransaction.END_TRANSACTION_ROLLBACK)
        bodies = {
            "CreatePreparedStatement": pack(m.ActionCreatePreparedStatementRequest("SELECT ? AS a", transaction)),
            "ClosePreparedStatement": pack(m.ActionClosePreparedStatementRequest(handle)),
            "BeginTransaction": pack(m.ActionBeginTransactionRequest()),
            "EndTransaction": pack(end),
            "CancelFlightInfo": encode(m.CancelFlightInfoRequest(bytes(info.serialize()))),
            "CancelQuery": pack(m.ActionCancelQueryRequest(bytes(info.serialize()))),
            "RenewFlightEndpoint": encode(m.RenewFlightEndpointRequest(bytes(info.endpoints[0].serialize()))),
            "SetSessionOptions": encode(m.SetSessionOptionsRequest({"schema": m.SessionOptionValue.of("trials")})),
            "GetSessionOptions": encode(m.GetSessionOptionsRequest()),
            "query.explain": b'{"sql": "SELECT 1"}',
            "query.kill": b'{"id": "x"}',
        }
        actions = [raw.field(1, name.encode()) + raw.field(2, body) for name, body in bodies.items()]
        rows = messages_of(_ROWS.schema, [_ROWS])
        frames = [frames_of(descriptor, rows) for descriptor in descriptors[-6:]]
        return [
            *(("GetFlightInfo", door.info, data) for data in descriptors),
            *(("GetSchema", door.schema, data) for data in descriptors),
            *(("DoGet", door.get, data) for data in tickets),
            *(("DoAction", door.act, data) for data in actions),
            # The body of an action and the command of a descriptor, whatever is around them being right.
            *(("body", _acting(door, name), body) for name, body in bodies.items()),
            *(("command", lambda data: door.info(command_of(data)), data) for data in commands),
            *(("schema of a command", lambda data: door.schema(command_of(data)), data) for data in commands),
            *(("command for a ticket", lambda data: door.get(raw.field(1, data)), data) for data in commands),
            *(("ticket", lambda data: door.get(bytes(fl.Ticket(data).serialize())), data) for data in (ticket, handle)),
            *(("DoPut", _putting(door, frames_), frames_[0]) for frames_ in frames),
            *(("put command", _putting_command(door, rows), data) for data in commands),
        ]


_ROWS = pa.record_batch({"a": ["x", None], "b": pa.array([1, 2], pa.int64())})
_COMMANDS = (
    m.CommandStatementQuery("SELECT arms FROM clinical.trials.arms"),
    m.CommandStatementUpdate("INSERT INTO own VALUES ('a', 1)"),
    m.CommandGetCatalogs(),
    m.CommandGetDbSchemas("clinical", "%"),
    m.CommandGetTables("clinical", "trials", "arms", ("TABLE",), include_schema=True),
    m.CommandGetTableTypes(),
    m.CommandGetSqlInfo((0, 1, 2, 500)),
    m.CommandGetXdbcTypeInfo(4),
    m.CommandGetPrimaryKeys("clinical", "trials", "arms"),
)


def _acting(door: RawFlight, name: str) -> Callable[[bytes], Answer]:
    return lambda body: door.act(raw.field(1, name.encode()) + raw.field(2, body))


def _putting(door: RawFlight, frames: list[bytes]) -> Callable[[bytes], Answer]:
    return lambda first: door.put([first, *frames[1:]])


def _putting_command(door: RawFlight, rows: Messages) -> Callable[[bytes], Answer]:
    return lambda command: door.put(frames_of(command_of(command), rows))


def _result_of(answer: Answer, kind: type[Any]) -> Any:
    """The message in the metadata of the one PutResult."""
    result = answer.messages[0]
    return decode(kind, result[2:] if len(result) < 130 else result[3:]) if result else kind()


def _problem(what: str, answers: list[Answer]) -> str | None:
    found = [problem for answer in answers for problem in answer.problems()]
    return f"{what}: {found}" if found else None


# ------------------------------------------------------------------------------------------------------------ by design


def _patched(name: str, old: bytes, new: bytes, *, in_header: bool = False) -> Messages:
    """A stream of that column, in whose last message these bytes are others."""
    column = columns()[name]
    batch = pa.record_batch([column], names=["a"])
    stream = messages_of(batch.schema, [batch])
    header, body = stream[-1]
    changed = header if in_header else body
    assert changed.count(old) >= 1, f"{name}: the bytes to change are not there"
    changed = changed.replace(old, new, 1)
    stream[-1] = (changed, body) if in_header else (header, changed)
    return stream


def _int32(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}i", *values)


def _int64(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}q", *values)


# The words are of 0, 1, 2, 4, 4 and 0 bytes.
_OFFSETS = (0, 0, 1, 3, 7, 11, 11)
REFUSED = {
    "offset beyond the data": _patched("string", _int32(*_OFFSETS), _int32(0, 0, 1, 3, 7, 11, ANY_MAX)),
    "negative offset": _patched("string", _int32(*_OFFSETS), _int32(-5, 0, 1, 3, 7, 11, 11)),
    "offsets that fall": _patched("string", _int32(*_OFFSETS), _int32(0, 7, 1, 3, 2, 11, 11)),
    "large offset beyond": _patched("large_string", _int64(*_OFFSETS), _int64(0, 0, 1, 3, 7, 11, 1 << 60)),
    "large offsets that fall": _patched("large_string", _int64(*_OFFSETS), _int64(0, 9, 1, 3, 7, 11, 11)),
    "binary offset beyond": _patched("binary", _int32(*_OFFSETS), _int32(0, 0, 1, 3, 7, 11, 1 << 20)),
    "text that is not UTF-8": _patched("string", "d\u00e9f".encode(), b"d\xff\xfef"),
    "text cut within a character": _patched("large_string", "\U0001f512".encode(), b"\xf0\x9f\x94a"),
    "list offset beyond": _patched("list", _int32(0, 2, 2, 2, 3, 6, 7), _int32(0, 2, 2, 2, 3, 6, 700)),
    "list offsets that fall": _patched("list", _int32(0, 2, 2, 2, 3, 6, 7), _int32(0, 2, 1, 2, 3, 6, 7)),
    "negative list offset": _patched("list", _int32(0, 2, 2, 2, 3, 6, 7), _int32(-9, 2, 2, 2, 3, 6, 7)),
    "large list offset beyond": _patched("large_list", _int64(0, 2, 2), _int64(0, 1 << 50, 2)),
    "map offset beyond": _patched("map", _int32(0, 1, 1, 1, 3, 3, 3), _int32(0, 1, 1, 1, 3, 3, 999)),
    "dictionary index beyond": _patched("dictionary", _int32(0, 1, 2, 3, 4), _int32(0, 1, 2, 3, 4_000)),
    "negative dictionary index": _patched("dictionary", _int32(0, 1, 2, 3, 4), _int32(-7, 1, 2, 3, 4)),
    "unknown type of a union": _patched("dense_union", bytes((0, 1, 0, 1, 0, 1)), bytes((0, 9, 0, 1, 0, 1))),
    "negative type of a union": _patched("sparse_union", bytes((0, 1, 0, 1, 0, 1)), bytes((0, 255, 0, 1, 0, 1))),
    "union offset beyond": _patched("dense_union", _int32(0, 0, 1, 1, 2, 2), _int32(0, 0, 1, 1, 2, 2_000)),
    "run ends that fall": _patched("run_end", _int32(2, 5, 6), _int32(5, 2, 6)),
    "run ends that end early": _patched("run_end", _int32(2, 5, 6), _int32(2, 3, 4)),
    "negative run end": _patched("run_end", _int32(2, 5, 6), _int32(-2, 5, 6)),
    "decimal over its precision": _patched("decimal", _int64(125, 0), _int64(-1, (1 << 62))),
    "view into no buffer": _patched("long_view", _int32(0, 20), _int32(77, 20)),
    "more rows than bytes": _patched("int64", _int64(6, 1), _int64(1 << 40, 1), in_header=True),
    "negative rows": _patched("int64", _int64(6, 1), _int64(-6, 1), in_header=True),
    "more nulls than rows": _patched("string", _int64(6, 1), _int64(6, 99), in_header=True),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_a_lie_in_a_batch_is_refused(served: ServedBy, mine: Session, door: RawFlight, name: str) -> None:
    """Each is a read beyond a buffer waiting to happen: refused before anything reads it, and nothing kept."""
    handle = mine.prepare("SELECT ? AS a")
    for command in (ingest("target"), pack(m.CommandPreparedStatementQuery(handle))):
        answer = door.put(frames_of(command_of(command), REFUSED[name]))
        assert answer.problems() == []
        assert answer.code == "invalid", answer
    assert mine.rows("target") is None


@pytest.mark.parametrize("where", ["column", "inside", "zone"])
def test_a_name_that_is_no_text(served: ServedBy, mine: Session, door: RawFlight, where: str) -> None:
    """Names in a schema are bytes, which Arrow does not check and Python cannot read: refused like any other damage."""
    kind = {
        "column": pa.int64(),
        "inside": pa.struct([("nameXY", pa.int64())]),
        "zone": pa.timestamp("us", "nameXY"),
    }[where]
    batch = pa.record_batch([pa.nulls(2, kind)], names=["nameXY" if where == "column" else "a"])
    stream = messages_of(batch.schema, [batch])
    assert b"nameXY" in stream[0][0]
    stream[0] = (stream[0][0].replace(b"nameXY", b"name\xff\x80"), stream[0][1])
    handle = mine.prepare("SELECT ? AS a")
    for command in (ingest("target"), pack(m.CommandPreparedStatementQuery(handle))):
        answer = door.put(frames_of(command_of(command), stream))
        assert answer.problems() == []
        assert not answer.is_ok
    assert mine.rows("target") is None


@pytest.mark.parametrize("name", ["time", "timestamp_s", "timestamp", "duration", "date", "interval", "double"])
def test_values_beyond_what_the_engine_knows(mine: Session, door: RawFlight, name: str) -> None:
    """Valid Arrow, but no time of any day: told in our words wherever it is noticed, or shown."""
    column = columns()[name]
    batch = pa.record_batch([column], names=["a"])
    stream = messages_of(batch.schema, [batch])
    for extreme in (b"\xff" * 7 + b"\x7f", b"\0" * 7 + b"\x80", b"\xff" * 8, b"\x01" * 8):
        header, body = stream[-1]
        changed = body[: len(body) - 64] + extreme * 8
        caller = _Reading(mine, door)
        assert caller.problems(frames_of(command_of(ingest("target", "replace")), [stream[0], (header, changed)])) == []


class _Reading:
    """Puts a table and reads it in several ways."""

    _SQL = (
        "SELECT * FROM target",
        "SELECT min(a), max(a), count(DISTINCT a) FROM target",
        "SELECT CAST(a AS VARCHAR) FROM target",
        "SUMMARIZE target",
    )

    def __init__(self, session: Session, door: RawFlight) -> None:
        self._session = session
        self._door = door

    def problems(self, frames: list[bytes]) -> list[str]:
        answer = self._door.put(frames)
        found = answer.problems()
        if answer.is_ok:
            for sql in self._SQL:
                info = self._door.info(command_of(pack(m.CommandStatementQuery(sql))))
                found += info.problems()
                if info.is_ok:
                    ticket = fl.FlightInfo.deserialize(info.messages[0]).endpoints[0].ticket
                    found += self._door.get(bytes(ticket.serialize())).problems()
        return found


# --------------------------------------------------------------------------------------------------- streams that break


def test_streams_that_are_not(mine: Session, door: RawFlight) -> None:
    """No schema, garbage for one, rows before it, two of them, half of a batch: each is told in one line."""
    rows = messages_of(_ROWS.schema, [_ROWS])
    put = command_of(ingest("target"))
    head, batch = frames_of(put, rows)
    bodiless, header = frame(rows[1][0]), rows[1][0]
    cases = {
        "nothing": [],
        "a descriptor alone": [frame(descriptor=put)],
        "a descriptor twice": [frame(descriptor=put), frame(descriptor=put)],
        "no descriptor": [frame(rows[0][0])],
        "garbage for a schema": [frame(b"garbage", descriptor=put)],
        "garbage for a frame": [b"\xff\xff\xff\xff"],
        "an empty frame": [b""],
        "rows before the schema": [frame(*rows[1], descriptor=put), head],
        "two schemas": [head, frame(rows[0][0]), batch],
        "another schema": [head, frame(messages_of(pa.schema([("z", pa.int8())]), [])[0][0]), batch],
        "a batch without its body": [head, bodiless],
        "half of a body": [head, frame(header, rows[1][1][: len(rows[1][1]) // 2])],
        "no flatbuffer": [head, frame(b"\xff" * 64, rows[1][1])],
        "an empty header": [head, frame(b"\0" * 8, rows[1][1])],
    }
    for name, frames in cases.items():
        answer = door.put(frames)
        assert not answer.is_ok, name
        assert answer.problems() == [], name
    assert mine.rows("target") is None


def test_a_frame_that_says_two_gigabytes(mine: Session, door: RawFlight) -> None:
    """A length is believed before the bytes are there: memory for it is not taken."""
    rows = messages_of(_ROWS.schema, [_ROWS])
    put = command_of(ingest("target", "replace"))
    head = frames_of(put, rows)[0]
    header, body = rows[1]
    declared = {"the whole": _int64(len(body)), "a buffer": _int64(16)}
    for what, length in product(declared, (1 << 31, (1 << 31) - 1, 1 << 40, (1 << 63) - 1)):
        assert declared[what] in header, what
        answer = door.put([head, frame(header.replace(declared[what], _int64(length)), body)])
        assert answer.problems() == []
        # Arrow does not look at the first; the bytes that came are what counts.
        if answer.is_ok:
            assert mine.sql("SELECT * FROM target").to_pylist() == _ROWS.to_pylist()
        assert answer.is_ok == (what == "the whole"), f"{what}: {answer}"


def test_a_frame_that_cannot_be_read_ends_no_upload(served: ServedBy, mine: Session, door: RawFlight) -> None:
    """A frame that is no FlightData must not be taken for the end: with a count announced, half a load is refused."""
    schema = _ROWS.schema.with_metadata({"flightmesh:commit": "explicit"})
    head, batch = frames_of(command_of(ingest("target")), messages_of(schema, [_ROWS]))
    for garbage in (b"\xff\xff\xff", frame(b"", b"x", says=1 << 31)):
        answer = door.put([head, batch, garbage])
        assert answer.problems() == []
        assert answer.code == "invalid"
        assert mine.rows("target") is None


@pytest.mark.parametrize("how", ["descriptor", "schema", "batch", "parameters"])
def test_a_client_that_goes_silent(served: ServedBy, how: str) -> None:
    """A laptop falls asleep in an upload: its thread, its place and its half of a file are given back."""
    pid, number = served.process.pid, 8
    with Session.new(served.uri, served.tokens["analyst"]) as session:
        rows = messages_of(_ROWS.schema, [_ROWS])
        command = ingest("target")
        if how == "parameters":
            command = pack(m.CommandPreparedStatementQuery(session.prepare("SELECT ? AS a, ? AS b")))
        frames = frames_of(command_of(command), rows)
        sent = {"descriptor": [frame(descriptor=command_of(command))], "batch": frames}.get(how, frames[:1])
        before = raw.threads_of(pid)
        silences = [Silence(sent) for _ in range(number)]
        doors = [RawFlight(served.uri, session.token) for _ in range(number)]
        with ThreadPoolExecutor(number) as pool:
            try:
                calls = [pool.submit(door.put, one, 10) for door, one in zip(doors, silences, strict=True)]
                began = time.monotonic()
                answers = [call.result(15) for call in calls]
                taken = time.monotonic() - began
            finally:
                for one in silences:
                    one.end()
                for door in doors:
                    door.channel.close()
        assert [answer.status for answer in answers] != ["DEADLINE_EXCEEDED"] * number, "nobody was cut"
        assert not any(answer.is_ok for answer in answers)
        assert taken < STALL_S + 5, f"cut after {taken:.1f} s"
        assert raw.threads_of(pid) <= before + THREADS_MORE_MAX
        assert session.rows("target") is None
        settled(served.state)
        session.close_session()


def test_a_client_that_never_begins(served: ServedBy) -> None:
    """A call without a first message waits inside of gRPC, where no handler can end it: others are served meanwhile,
    and its thread is free as soon as the client is gone.
    """
    pid, number = served.process.pid, 8
    before = raw.threads_of(pid)
    silence = Silence([])
    with Session.new(served.uri, served.tokens["analyst"]) as session:
        doors = [RawFlight(served.uri, session.token) for _ in range(number)]
        method = "/arrow.flight.protocol.FlightService/DoPut"
        calls = [door.channel.stream_stream(method)(iter(silence), metadata=door.metadata) for door in doors]
        time.sleep(0.3)
        assert session.ingest("mine", [1, 2, 3]) == 3
        assert session.rows("mine") == [1, 2, 3]
        silence.end()
        for call, door in zip(calls, doors, strict=True):
            call.cancel()
            door.channel.close()
        session.close_session()
    deadline = time.monotonic() + 10
    while raw.threads_of(pid) > before + THREADS_MORE_MAX:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_uploads_that_are_cancelled_at_once(served: ServedBy, door: RawFlight, mine: Session) -> None:
    """A client that cancels call after call leaves no thread and no file behind."""
    rows = messages_of(_ROWS.schema, [_ROWS])
    frames = frames_of(command_of(ingest("target", "replace")), rows)
    before = used_bytes(served.state)
    method = door.channel.stream_stream("/arrow.flight.protocol.FlightService/DoPut")
    for number in range(60):
        silence = Silence(frames[: number % 3])
        call = method(iter(silence), metadata=door.metadata, timeout=20)
        time.sleep(0.002 * (number % 4))
        call.cancel()
        silence.end()
    settled(served.state)
    assert mine.rows("target") is None
    assert used_bytes(served.state) == before


# ----------------------------------------------------------------------------------------------------------------- size


def test_batches_of_nothing(mine: Session, door: RawFlight) -> None:
    """Batches without rows, without columns, without both: taken or refused in a line, and a table without rows is
    one.
    """
    without_rows = _ROWS.slice(0, 0)
    assert door.put(frames_of(command_of(ingest("none")), messages_of(_ROWS.schema, [without_rows] * 500))).is_ok
    assert mine.sql("SELECT * FROM none").num_rows == 0
    assert door.put(frames_of(command_of(ingest("schema")), messages_of(_ROWS.schema, []))).is_ok
    assert mine.sql('SELECT * FROM "schema"').schema.names == ["a", "b"]
    handle = mine.prepare("SELECT ? AS a")
    without_columns = messages_of(pa.schema([]), [pa.RecordBatch.from_struct_array(pa.array([{}] * 5, pa.struct([])))])
    for command in (ingest("empty"), pack(m.CommandPreparedStatementQuery(handle))):
        for stream in (without_columns[:1], without_columns, [*without_columns, *without_columns[1:] * 300]):
            answer = door.put(frames_of(command_of(command), stream))
            assert answer.problems() == []
    assert door.put(frames_of(command_of(pack(m.CommandPreparedStatementQuery(handle))), without_columns)).code


def test_more_columns_than_anybody_has(mine: Session, door: RawFlight) -> None:
    """20,000 columns, side by side and inside of one another, in an upload and in a binding."""
    wide = pa.record_batch([pa.array([1])] * 20_000, names=[f"c{number}" for number in range(20_000)])
    kind = pa.struct([(f"c{number}", pa.int8()) for number in range(20_000)])
    inside = pa.record_batch([pa.array([None], kind)], names=["a"])
    deep_kind: pa.DataType = pa.int8()
    for _ in range(60):
        deep_kind = pa.list_(deep_kind)
    deep = pa.record_batch([pa.array([None], deep_kind)], names=["a"])
    handle = mine.prepare("SELECT ? AS a")
    for batch in (wide, inside, deep):
        for command in (ingest("wide"), pack(m.CommandPreparedStatementQuery(handle))):
            answer = door.put(frames_of(command_of(command), messages_of(batch.schema, [batch])))
            assert answer.problems() == []
            # A list in a list, sixty times, is strange and still one column.
            assert answer.code in ("invalid", "unsupported") or batch is deep, answer
    assert mine.sql("SELECT * FROM wide").schema.names == ["a"]


def test_a_small_message_that_grows(served: ServedBy, mine: Session, door: RawFlight) -> None:
    """200 MB of zeros travel in a few kilobytes: refused over the bound, and the memory does not add up."""
    zeros = pa.record_batch({"n": pa.array([0], pa.int64()).take(pa.repeat(0, 25_000_000))})
    stream = messages_of(zeros.schema, [zeros], compression="zstd")
    assert len(stream[1][1]) < 1 << 20
    before = used_bytes(served.state)
    binding = pack(m.CommandPreparedStatementQuery(mine.prepare("SELECT ? AS a")))
    for command, code in ((ingest("zeros"), "exhausted"), (binding, "invalid")) * 3:
        answer = door.put(frames_of(command_of(command), stream))
        assert answer.problems() == []
        assert answer.code == code, answer
    assert used_bytes(served.state) == before


def test_lists_of_nothing_that_pretend_to_be_long(mine: Session, door: RawFlight) -> None:
    """Rows that take no bytes can be claimed by the billion: counting them must not take the memory of rows."""
    schema = pa.schema([("a", pa.null())])
    stream = messages_of(schema, [pa.record_batch([pa.nulls(7)], schema=schema)])
    header = stream[1][0].replace(_int64(7), _int64(1 << 40))
    assert header != stream[1][0]
    handle = mine.prepare("SELECT ? AS a")
    for command in (ingest("nulls"), pack(m.CommandPreparedStatementQuery(handle))):
        answer = door.put(frames_of(command_of(command), [stream[0], (header, stream[1][1])]))
        assert answer.problems() == []
        assert not answer.is_ok

"""Hundreds of wrong calls to every RPC, and a scan of all that comes back: one line, 1 kB, nothing of the inside.

The scan itself is ``said`` and ``leaks`` in ``conftest.py``; every refusal that the tests of this room meet goes
through the first of them.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest

from flightmesh.flightsql import messages as m
from flightmesh.flightsql.codec import TYPE_URL_PREFIX, decode, pack

# Of the bundled products: what an analyst may not meet, and what a site may not.
HIDDEN = {
    None: ("patients", "pidnum", "symptom = 1", "actg175"),
    "nobody": ("patients", "pidnum", "symptom = 1", "actg175"),
    "analyst": ("pidnum", "symptom = 1", "actg175"),
    "site": ("symptom = 1", "actg175"),
}
CALLERS = tuple(HIDDEN)
# Words that everybody may read, with an inner word in them: a column of clinical.trials.arms is called patients.
SEEDS = (
    "SELECT count(*) FROM clinical.trials.arms WHERE patients > 3 GROUP BY arms ORDER BY 1",
    "WITH a AS (SELECT arms, events FROM arms) SELECT a.*, row_number() OVER (PARTITION BY arms) FROM a JOIN arms b "
    "USING (arms)",
    "SELECT CAST(arm_name AS INTEGER), median_days::DATE, [events], {'a': 1} FROM arms WHERE arms IN (1, 2) LIMIT 3",
    "SELECT * FROM aviation.flights.daily_delays LIMIT 1",
    "COPY arms TO 'x.csv' (FORMAT csv)",
    "SELECT read_csv('/etc/passwd'), getenv('HOME'), current_setting('x')",
    "PIVOT arms ON arms USING sum(patients)",
)
BROKEN = (
    *("", "(", ")", "'", '"', ";", "--", "/*", "$1", "?", ".", ",", "::", "\n", "\u00e9", "\U0001f512", "$$", "\u00a0"),
    *("SELECT ", " FROM ", " duckdb_views() ", " AT ", " \0 ", "#1", "*", "[", "{"),
)
FAILING = (
    "SELECT CAST(arm_name AS INTEGER) FROM arms",
    "SELECT CAST(arm_name AS DATE) FROM arms",
    "SELECT CAST('x' || arm_name AS DECIMAL(3, 1)) FROM arms",
    "SELECT CAST(patients * 1000 AS TINYINT) FROM arms",
    "SELECT error(arm_name) FROM arms",
    "SELECT sqrt(-patients) FROM arms",
    "SELECT ln(-patients) FROM arms",
    "SELECT strptime(arm_name, '%Y') FROM arms",
    "SELECT strftime(now(), arm_name || '%') FROM arms",
    "SELECT regexp_matches(arm_name, '(' || arm_name) FROM arms",
    "SELECT printf('%d %s', arm_name) FROM arms",
    "SELECT format('{} {}', arm_name) FROM arms",
    "SELECT json_extract(arm_name, '$.a') FROM arms",
    "SELECT CAST(arm_name AS JSON) FROM arms",
    "SELECT (SELECT patients FROM arms) FROM arms",
    "SELECT from_base64(arm_name) FROM arms",
    "SELECT unhex(arm_name) FROM arms",
    "SELECT make_date(patients, 99, 99) FROM arms",
    "SELECT chr(CAST(-patients AS INTEGER)) FROM arms",
    "SELECT list_extract([1], patients), CAST([arm_name] AS INTEGER[]) FROM arms",
    "SELECT CAST(patients AS UTINYINT) * CAST(255 AS UTINYINT) FROM arms",
    "SELECT 9223372036854775807 + patients FROM arms",
    "SELECT factorial(CAST(patients AS INTEGER)) FROM arms",
    "SELECT list_resize([1], -patients) FROM arms",
    "SELECT array_slice([1, 2], 1, 2, CAST(patients - patients AS INTEGER)) FROM arms",
    "SELECT map([arm_name, arm_name], [1, 2]) FROM arms",
    "SELECT map([NULL], [patients]) FROM arms",
    "SELECT CAST(arm_name AS UUID) FROM arms",
    "SELECT CAST(arm_name AS ENUM('a')) FROM arms",
    "SELECT CAST(arm_name AS INTERVAL) FROM arms",
    "SELECT CAST(arm_name AS BIT) FROM arms",
    "SELECT CAST(arm_name AS BLOB) FROM arms WHERE arm_name = chr(233)",
    "SELECT CAST('\\xZZ' || arm_name AS BLOB) FROM arms",
    "SELECT date '9999-12-31' + CAST(patients * 100000 AS INTEGER) FROM arms",
    "SELECT to_timestamp(1e300 * patients) FROM arms",
    "SELECT timezone(arm_name, now()) FROM arms",
    "SELECT date_trunc(arm_name, now()) FROM arms",
    "SELECT st_astext(CAST(arm_name AS GEOMETRY)) FROM arms",
    "SELECT quantile_cont(patients, 7) FROM arms",
    "SELECT sum(patients) OVER (ROWS BETWEEN patients PRECEDING AND -1 FOLLOWING) FROM arms",
    "SELECT arms FROM arms LIMIT (SELECT -patients FROM arms LIMIT 1)",
    "SELECT array_distance(CAST([patients] AS DOUBLE[1]), CAST([1, 2] AS DOUBLE[2])) FROM arms",
    "SELECT bitstring(arm_name, 2) FROM arms",
    "SELECT set_bit(CAST('1' AS BIT), CAST(patients AS INTEGER), 1) FROM arms",
    "SELECT rowid FROM arms",
    "SELECT range(CAST(patients AS BIGINT), 10, 0) FROM arms",
    "SELECT list_aggregate([patients], arm_name) FROM arms",
    "SELECT struct_extract({'a': 1}, arm_name) FROM arms",
    "SELECT time_bucket(INTERVAL 0 DAY, now()) FROM arms",
    "SELECT union_extract(union_value(a := 1), 'b')",
    "SELECT json_value('{}', '$['), json_extract('{}', '/a/-')",
)


@pytest.mark.parametrize("user", CALLERS)
def test_bad_sql_is_told_in_our_words(
    server: Any, calling: Any, leaking: Any, refusal: type[Exception], user: str | None
) -> None:
    """An engine's own error text would show values, inner names and paths."""
    chance = random.Random(f"sql {user}")
    with calling(server, user) as caller:
        for sql in [*FAILING, *(_mutated(chance) for _ in range(100))]:
            for way in (caller.sql, caller.schema):
                text = _refused(partial(way, sql), refusal)
                # The port is called arms; what it counts is called patients, for everybody.
                told = [word for word in leaking(text, sql, HIDDEN[user]) if word != "patients"]
                assert not told, f"{sql}\n{text}"
                assert not text.startswith("internal"), f"{sql}\n{text}"


@pytest.mark.parametrize("user", CALLERS)
def test_garbage_to_every_rpc_is_refused_in_one_line(
    server: Any, calling: Any, leaking: Any, refusal: type[Exception], user: str | None
) -> None:
    """A traceback would show the server's files; a crash would take everybody's server away."""
    with calling(server, user) as caller:
        refusals = 0
        for sent, action in _garbage(caller, random.Random(f"garbage {user}")):
            text = _refused(action, refusal)
            told = leaking(text, sent, HIDDEN[user])
            assert not told, f"{sent}\n{text}"
            assert not text.startswith("internal"), f"{sent}\n{text}"
            refusals += bool(text)
        assert refusals > 200
        assert caller.sql("SELECT 1 AS a")["a"].to_pylist() == [1]


@pytest.mark.parametrize("user", CALLERS)
def test_parameters_of_every_kind_are_bound_or_refused(
    server: Any, calling: Any, leaking: Any, refusal: type[Exception], user: str | None
) -> None:
    """A parameter of a strange type would reach the engine and bring its words back."""
    with calling(server, user) as caller:
        handle = caller.prepare("SELECT arms FROM arms WHERE arms = ? OR CAST(arms AS VARCHAR) = CAST(? AS VARCHAR)")
        for values in _values():
            for batch in (
                pa.record_batch([values, values], names=["a", "b"]),
                pa.record_batch([values], names=["a"]),
                pa.record_batch([values] * 3, names=["a", "a", "a"]),
            ):
                text = _refused(partial(_bound, caller, handle, batch), refusal)
                assert not leaking(text, str(batch.schema), HIDDEN[user]), text
                assert not text.startswith("internal"), f"{batch.schema}\n{text}"


def _mutated(chance: random.Random) -> str:
    """A statement with a few characters or words lost, doubled, swapped or made up."""
    sql = chance.choice(SEEDS)
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(sql) + 1)
        end = min(len(sql), start + chance.randint(0, 6))
        made_up = "".join(chance.choices(string.ascii_letters, k=5))
        new = chance.choice((*BROKEN, made_up, sql[start:end] * 2))
        sql = sql[:start] + new + sql[end:]
    return sql


def _garbage(caller: Any, chance: random.Random) -> Iterator[tuple[str, Callable[[], object]]]:
    """What is sent, as text, and the call."""
    client, options, call = caller.client, caller.options, caller.call
    ticket = caller.info(fl.FlightDescriptor.for_path("clinical", "trials", "arms")).endpoints[0].ticket.ticket
    commands = [_bytes(chance) for _ in range(25)] + [_cut(chance, ticket) for _ in range(10)] + list(_envelopes())
    batch = pa.record_batch([pa.array([1])], names=["a"])
    for data in commands:
        descriptor, shown = fl.FlightDescriptor.for_command(data), data.decode("latin-1")
        yield shown, partial(caller.info, descriptor)
        yield shown, partial(call, partial(client.get_schema, descriptor, options))
        yield shown, partial(caller.fetch, data)
        yield shown, partial(call, partial(_put, caller, descriptor, batch))
        yield shown, partial(call, partial(_exchange, caller, descriptor, batch))
        for name in ("CreatePreparedStatement", "ClosePreparedStatement", "catalog.list"):
            yield shown, partial(caller.act, name, data)
    for path in _paths(chance):
        descriptor, shown = fl.FlightDescriptor.for_path(*path), ".".join(part.decode("latin-1") for part in path)
        yield shown, partial(caller.info, descriptor)
        yield shown, partial(call, partial(client.get_schema, descriptor, options))
        yield shown, partial(call, partial(_put, caller, descriptor, batch))
    for name in ("", "x" * 5_000, "../../etc/passwd", "BeginTransaction", "catalog.lists", "\u00e9\n\u202e", "%s%n"):
        yield name, partial(caller.act, name, b"x" * 100)
    for name in ("CreatePreparedStatement", "catalog.list"):
        yield "", partial(caller.act, name, b"\xff" * 1_100_000)
    for criteria in (b"\xff\xfe", b"clinical.trials.patients", b"x" * 100_000, b"%"):
        yield criteria.decode("latin-1"), partial(call, partial(_listed, caller, criteria))


def _bytes(chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice((0, 1, 2, 7, 60, 900)))


def _cut(chance: random.Random, data: bytes) -> bytes:
    return data[: chance.randrange(len(data))] + chance.randbytes(chance.randrange(3))


def _envelopes() -> Iterator[bytes]:
    """Commands that are well-formed and wrong, and envelopes that are not."""
    yield from (
        pack(message)
        for message in (
            m.CommandStatementQuery(""),
            m.CommandStatementQuery("SELECT * FROM clinical.trials.nowhere"),
            m.CommandStatementUpdate("DELETE FROM arms"),
            m.CommandPreparedStatementQuery(b""),
            m.CommandPreparedStatementQuery(b"/etc/passwd"),
            m.CommandGetTables(include_schema=True, catalog="x" * 10_000),
            m.CommandGetDbSchemas(catalog="'", db_schema_filter_pattern="%_\\"),
            m.CommandGetPrimaryKeys(table="nowhere"),
            m.TicketStatementQuery(b"x"),
            m.ActionCreatePreparedStatementRequest("DROP TABLE arms"),
            m.ActionClosePreparedStatementRequest(b"x"),
        )
    )
    for name in ("", "x", "arrow.flight.protocol.sql.Nothing", "google.protobuf.Any", "/etc/passwd", "y" * 300):
        url = (TYPE_URL_PREFIX + name).encode()
        yield b"\x0a" + bytes((len(url) & 0x7F | 0x80, len(url) >> 7)) + url + b"\x12\x02\xff\xff"


def _paths(chance: random.Random) -> Iterator[tuple[bytes, ...]]:
    yield from (
        (b"",),
        (b"x",),
        (b"clinical",),
        (b"clinical", b"trials"),
        (b"clinical", b"trials", b"nowhere"),
        (b"clinical", b"trials", b"arms", b"more"),
        (b"..", b"..", b"etc", b"passwd"),
        (b"/etc/passwd",),
        (b"a",) * 9,
        (b"a",) * 500,
        (b"x" * 100_000,),
        (b"\xc3\xa9", b"\0", b"'"),
        (b'clinical"."trials', b"arms"),
        (b"system", b"main", b"duckdb_tables"),
        (b"memory", b"main", b"arms"),
        (b"clinical.trials.arms; SELECT 1",),
        (b"clinical", b"trials", b"arms@9"),
    )
    for _ in range(15):
        # gRPC refuses paths that are not UTF-8 before anybody reads them.
        yield tuple(_bytes(chance).decode("latin-1").encode() for _ in range(chance.randint(1, 4)))


def _values() -> Iterator[pa.Array]:
    one = pa.array([1, None])
    yield from (
        pa.array([None, None]),
        one,
        one.cast(pa.float16()),
        pa.array([Decimal("1.5")], pa.decimal128(38, 37)),
        pa.array([Decimal(10) ** 60], pa.decimal256(76, 0)),
        pa.array(["x' OR 1=1 --", "\0", "x" * 70_000]),
        pa.array([b"\xff", None]),
        pa.array([b"\xff" * 4], pa.binary(4)),
        pa.array([[1], None]),
        pa.array([{"a": 1}]),
        pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int8())),
        pa.array(["a", "b"]).dictionary_encode(),
        one.cast(pa.timestamp("ns", "Mars/Olympus")),
        one.cast(pa.timestamp("s")),
        one.cast(pa.time64("ns")),
        one.cast(pa.duration("us")),
        pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
        pa.array([2**63 - 1], pa.timestamp("s")),
        pa.array([-(2**63)], pa.timestamp("us", "UTC")),
        pa.array([2**31 - 1], pa.date32()),
        pa.array([], pa.int64()),
        pa.array(range(10_001)),
        pa.array([1, 2]).cast(pa.uint64()),
        pa.array([float("nan"), float("inf")]),
    )


def _bound(caller: Any, handle: bytes, batch: pa.RecordBatch) -> pa.Table:
    command = m.CommandPreparedStatementQuery(handle)
    answer = caller.call(lambda: _put(caller, fl.FlightDescriptor.for_command(pack(command)), batch))
    result = decode(m.DoPutPreparedStatementResult, answer)
    return caller.command(m.CommandPreparedStatementQuery(result.prepared_statement_handle or handle))


def _listed(caller: Any, criteria: bytes) -> list[fl.FlightInfo]:
    return list(caller.client.list_flights(criteria, caller.options))


def _put(caller: Any, descriptor: fl.FlightDescriptor, batch: pa.RecordBatch) -> bytes:
    writer, metadata = caller.client.do_put(descriptor, batch.schema, caller.options)
    with writer:
        writer.write_batch(batch)
        writer.done_writing()
        answer = metadata.read()
    return b"" if answer is None else answer.to_pybytes()


def _exchange(caller: Any, descriptor: fl.FlightDescriptor, batch: pa.RecordBatch) -> None:
    writer, reader = caller.client.do_exchange(descriptor, caller.options)
    with writer:
        writer.begin(batch.schema)
        writer.write_batch(batch)
        writer.done_writing()
        reader.read_all()


def _refused(action: Callable[[], object], refusal: type[Exception]) -> str:
    """The server's line; empty when it answered."""
    try:
        action()
    except refusal as refused:
        return str(refused)
    return ""

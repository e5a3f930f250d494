"""Statements from text to rows: who holds a ticket or a handle, on which state of the catalogue, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flightsql.handles import Signer, open_ticket
from flightmesh.service.running import Stopped
from tests.service.conftest import Call

if TYPE_CHECKING:
    from tests.service.conftest import Bench

SUM = "SELECT sum(v) AS s FROM lab.readings.points"


def _values(**columns: object) -> pa.RecordBatch:
    return pa.record_batch({name: [value] for name, value in columns.items()})


def test_a_ticket_gives_the_rows_once_and_again(bench: Bench) -> None:
    """Nothing is remembered between the calls, so a client that retries its ticket gets the same."""
    session = bench.session()
    described = bench.queries.statement(session, SUM, Call())
    for _ in range(2):
        assert bench.read(bench.queries.run(session, described.tickets[0])).to_pylist() == [{"s": 60}]
    assert described.schema.names == ["s"]
    assert described.expires_at == bench.clock.now + bench.limits.ticket_ttl_s


def test_a_ticket_expires(bench: Bench) -> None:
    """A ticket found in a log next week opens nothing."""
    session = bench.session()
    described = bench.queries.statement(session, SUM, Call())
    bench.clock.now = described.expires_at - 0.1
    bench.queries.run(session, described.tickets[0])
    bench.clock.now = described.expires_at
    with pytest.raises(FlightmeshError, match="expired") as failure:
        bench.queries.run(session, described.tickets[0])
    assert failure.value.code is ErrorCode.UNAUTHENTICATED


def test_a_ticket_belongs_to_who_got_it(bench: Bench) -> None:
    """Handed on, or stolen, it is worth nothing, also among users of the same role."""
    ticket = bench.queries.statement(bench.session("analyst"), "SELECT * FROM lab.readings.secrets", Call()).tickets[0]
    for other in (bench.session(), bench.session("analyst", name="bob"), bench.session("visitor", name="eve")):
        with pytest.raises(FlightmeshError, match="issued to somebody else") as failure:
            bench.queries.run(other, ticket)
        assert failure.value.code is ErrorCode.UNAUTHENTICATED


def test_a_ticket_ends_with_the_role_that_it_rested_on(bench: Bench) -> None:
    """The same user with another role sees something else: the old ticket must not show it still."""
    ticket = bench.queries.statement(bench.session("analyst"), "SELECT * FROM lab.readings.secrets", Call()).tickets[0]
    with pytest.raises(FlightmeshError, match="under another policy"):
        bench.queries.run(bench.session("visitor"), ticket)


def test_an_altered_ticket_is_refused(bench: Bench) -> None:
    """Every byte is signed, and a handle is no ticket."""
    session = bench.session()
    ticket = bytearray(bench.queries.statement(session, SUM, Call()).tickets[0])
    for place in range(0, len(ticket), 7):
        altered = bytes([*ticket[:place], ticket[place] ^ 1, *ticket[place + 1 :]])
        with pytest.raises(FlightmeshError) as failure:
            bench.queries.run(session, altered)
        assert failure.value.code is ErrorCode.UNAUTHENTICATED, place
    with pytest.raises(FlightmeshError):
        bench.queries.run(session, bench.queries.prepare(session, SUM).handle)


def test_a_ticket_reads_the_generation_that_it_was_issued_on(bench: Bench) -> None:
    """A reload between the two calls of a client does not change what it was promised; new tickets see the new."""
    session = bench.session()
    old = bench.queries.statement(session, SUM, Call()).tickets[0]
    bench.write(1, 2)
    bench.reload()
    assert bench.read(bench.queries.run(session, old)).to_pylist() == [{"s": 60}]
    assert bench.read(
        bench.queries.run(session, bench.queries.statement(session, SUM, Call()).tickets[0])
    ).to_pylist() == [{"s": 3}]
    assert bench.read(bench.queries.run_sql(session, SUM)).to_pylist() == [{"s": 3}]


def test_a_handle_reads_the_current_generation(bench: Bench) -> None:
    """A dashboard prepares once and lives for days: it sees each reload, with the values bound before."""
    session = bench.session()
    handle = bench.queries.prepare(session, "SELECT sum(v) AS s FROM lab.readings.points WHERE n >= ?").handle
    bound = bench.queries.bind(session, handle, _values(a=1))
    assert bench.read(bench.queries.run_prepared(session, bound)).to_pylist() == [{"s": 50}]
    bench.write(1, 2)
    bench.reload()
    assert bench.read(bench.queries.run_prepared(session, bound)).to_pylist() == [{"s": 2}]
    ticket = bench.queries.prepared(session, bound, Call()).tickets[0]
    assert bench.read(bench.queries.run(session, ticket)).to_pylist() == [{"s": 2}]


def test_handles_expire_and_belong_to_one_user(bench: Bench) -> None:
    """As tickets do, only later."""
    session = bench.session("analyst")
    handle = bench.queries.prepare(session, "SELECT ? AS v").handle
    for call in (
        lambda other: bench.queries.bind(other, handle, _values(a=1)),
        lambda other: bench.queries.prepared(other, handle, Call()),
        lambda other: bench.queries.describe_prepared(other, handle),
        lambda other: bench.queries.run_prepared(other, handle),
    ):
        with pytest.raises(FlightmeshError, match="somebody else"):
            call(bench.session("analyst", name="bob"))
    # Java's client closes without credentials.
    bench.queries.close_prepared(bench.session(), handle)
    with pytest.raises(FlightmeshError, match="was not issued"):
        bench.queries.close_prepared(session, handle + b"x")
    bench.clock.now += bench.limits.prepared_ttl_s
    with pytest.raises(FlightmeshError, match="expired"):
        bench.queries.describe_prepared(session, handle)


def test_preparing_runs_nothing(bench: Bench) -> None:
    """Not even an instance is opened: a statement without end is prepared, described and given a ticket for."""
    session = bench.session()
    endless = "SELECT count(*) AS n FROM range(1000000000000) a, range(1000000000000) b"
    bench.queries.prepare(session, endless)
    bench.queries.describe(session, endless)
    bench.queries.statement(session, endless, Call())
    bench.queries.table(session, ("lab", "readings", "points"))
    assert not bench.engine._instances
    assert bench.admission.running == 0


def test_nothing_is_taken_before_the_stream_is_opened(bench: Bench) -> None:
    """A client that asks and never reads holds neither place nor instance; one that leaves gives both back."""
    session = bench.session()
    running = bench.queries.run_sql(session, SUM)
    assert (bench.admission.running, bench.engine.running) == (0, 0)
    with running.open(Call()) as executions:
        next(executions)
        assert (bench.admission.running, bench.engine.running) == (1, 1)
        executions.close()  # type: ignore[attr-defined]
        assert bench.engine.running == 0
    assert bench.admission.running == 0


def test_large_parameters_stay_at_the_node(make_bench: Callable[..., Bench]) -> None:
    """Tickets stay small; a node that has lost the values says so and asks for a new bind."""
    bench = make_bench(parameters_inline_bytes_max=1_000, put_bytes_max=5_000, parameters_kept_bytes_max=5_000)
    session = bench.session()
    handle = bench.queries.prepare(session, "SELECT length(?) AS n").handle
    bound = bench.queries.bind(session, handle, _values(a="x" * 3_000))
    described = bench.queries.prepared(session, bound, Call())
    assert len(described.tickets[0]) < 1_500
    assert open_ticket(Signer(b"k" * 32), described.tickets[0], now=0).parameters_ref
    assert bench.read(bench.queries.run(session, described.tickets[0])).to_pylist() == [{"n": 3_000}]
    bench.queries.bind(session, handle, _values(a="y" * 3_000))
    with pytest.raises(FlightmeshError, match="kept at the node") as failure:
        bench.queries.run(session, described.tickets[0])
    assert failure.value.code is ErrorCode.UNAVAILABLE


def test_the_session_decides_what_short_names_mean(bench: Bench) -> None:
    """A default catalog and schema hold for the statement and travel in its ticket, not in the next caller's."""
    session = bench.session(catalog="lab", schema="readings")
    short = "SELECT sum(v) AS s FROM points"
    ticket = bench.queries.statement(session, short, Call()).tickets[0]
    assert bench.read(bench.queries.run(bench.session(), ticket)).to_pylist() == [{"s": 60}]
    handle = bench.queries.prepare(session, short).handle
    assert bench.read(bench.queries.run_prepared(bench.session(), handle)).to_pylist() == [{"s": 60}]


def test_statements_with_parameters_want_values(bench: Bench) -> None:
    """A ticket for nothing would fail late and far from its cause."""
    session = bench.session()
    handle = bench.queries.prepare(session, "SELECT ? AS v").handle
    for call in (
        lambda: bench.queries.statement(session, "SELECT ? AS v", Call()),
        lambda: bench.queries.run_sql(session, "SELECT ? AS v"),
        lambda: bench.queries.prepared(session, handle, Call()),
        lambda: bench.queries.run_prepared(session, handle),
    ):
        with pytest.raises(FlightmeshError, match="none is bound"):
            call()
    assert bench.queries.bind(session, bench.queries.prepare(session, SUM).handle, pa.record_batch({})) is not None


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (("lab", "readings", "points"), None),
        (("lab.readings.points",), None),
        (("lab", "readings", "secrets"), ErrorCode.NOT_FOUND),
        (("lab", "readings"), ErrorCode.NOT_FOUND),
        (("LAB", "readings", "points"), ErrorCode.NOT_FOUND),
        (('lab"; DROP', "readings", "points"), ErrorCode.NOT_FOUND),
        ((), ErrorCode.INVALID),
        (("",), ErrorCode.INVALID),
        (tuple("abcdefghi"), ErrorCode.INVALID),
    ],
)
def test_paths(bench: Bench, path: tuple[str, ...], code: ErrorCode | None) -> None:
    """A path names one visible port; what is hidden is told in the words of what does not exist."""
    session = bench.session()
    if code is None:
        ticket = bench.queries.table(session, path).tickets[0]
        assert bench.read(bench.queries.run(session, ticket)).num_rows == 3
        return
    with pytest.raises(FlightmeshError) as failure:
        bench.queries.table(session, path)
    assert failure.value.code is code


def test_preparing_a_statement_that_writes_writes_nothing(bench: Bench) -> None:
    """Drivers prepare to look: the table must not be there afterwards, nor be gone, nor have a row more."""
    session = bench.session("visitor")
    prepared = bench.queries.prepare(session, "CREATE TEMP TABLE x AS SELECT n FROM lab.readings.points WHERE v > ?")
    assert (prepared.is_update, prepared.dataset_schema, prepared.parameter_schema.types) == (
        True,
        pa.schema([]),
        [pa.int64()],
    )
    assert bench.temporaries.visible(session) == {}
    bench.run("CREATE TEMP TABLE own AS SELECT 1 AS n")
    for sql in (
        *("DELETE FROM own", "INSERT INTO own VALUES (?)", "UPDATE own SET n = 5", "DROP TABLE own", "BEGIN"),
        *("CREATE OR REPLACE TEMP TABLE own AS SELECT 9 AS n", "USE lab.readings", "SET query_timeout_s = 1"),
    ):
        assert bench.queries.prepare(session, sql).is_update, sql
        assert bench.queries.describe(session, sql).names == ["Count"], "what executing it as a query would give"
    assert bench.rows("SELECT n FROM own") == [(1,)]
    kept = bench.sessions.resolve(session.id, session.principal)
    assert kept.is_default
    assert bench.temporaries.sizes()["transactions"] == 0


def test_is_update_tells_reading_from_writing(bench: Bench) -> None:
    """Drivers execute the two by different calls; EXPLAIN has rows, so it is read."""
    session = bench.session("visitor")
    for sql in (SUM, "SHOW TABLES", "DESCRIBE lab.readings.points", "EXPLAIN SELECT 1", "(SELECT 1)", "VALUES (1)"):
        prepared = bench.queries.prepare(session, sql)
        assert not prepared.is_update, sql
        assert len(prepared.dataset_schema), sql
        assert prepared.dataset_schema == bench.queries.describe(session, sql), sql


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("INSERT INTO nothing VALUES (1)", ErrorCode.NOT_FOUND),
        ("CREATE TEMP TABLE x AS SELECT * FROM lab.readings.secrets", ErrorCode.NOT_FOUND),
        ("DELETE FROM lab.readings.points", ErrorCode.INVALID),
        ("ATTACH 'x'", ErrorCode.INVALID),
        ("DELETE FROM", ErrorCode.INVALID),
    ],
)
def test_preparing_refuses_what_running_would(bench: Bench, sql: str, code: ErrorCode) -> None:
    """A mistake shows where the statement is written, not at its first execution."""
    with pytest.raises(FlightmeshError) as failure:
        bench.queries.prepare(bench.session("visitor"), sql)
    assert failure.value.code is code


def test_a_bound_handle_survives_a_restart(make_bench: Callable[..., Bench]) -> None:
    """The next server has the same key and state: a driver's open statement goes on, with large values too."""
    bench = make_bench(parameters_inline_bytes_max=1_000)
    session = bench.session("visitor")
    bench.run("CREATE TEMP TABLE own AS SELECT 2 AS n")
    for sql, values, rows in (
        ("SELECT sum(v) AS s FROM lab.readings.points JOIN own USING (n) WHERE v > ?", _values(a=1), [{"s": 30}]),
        ("SELECT length(?) AS s", _values(a="x" * 3_000), [{"s": 3_000}]),
    ):
        handle = bench.queries.bind(session, bench.queries.prepare(session, sql).handle, values)
        ticket = bench.queries.prepared(session, handle, Call()).tickets[0]
        after = bench.new_queries()
        assert bench.read(after.run_prepared(session, handle)).to_pylist() == rows
        assert bench.read(after.run(session, after.prepared(session, handle, Call()).tickets[0])).to_pylist() == rows
        assert bench.read(after.run(session, ticket)).to_pylist() == rows


def test_a_prepared_update_is_executed_with_its_values(bench: Bench) -> None:
    """Bound before, given with the execution, or sent as a query by drivers that know no updates."""
    session = bench.session("visitor")
    bench.run("CREATE TEMP TABLE own (n BIGINT)")
    handle = bench.queries.prepare(session, "INSERT INTO own VALUES (?)").handle
    several = pa.record_batch({"1": pa.array([1, 2], pa.int64())})
    assert bench.queries.update_prepared(session, handle, several, Call()) == 2
    bound = bench.queries.bind(session, handle, _values(a=3))
    assert bench.queries.update_prepared(session, bound, None, Call()) == 1
    assert bench.queries.update_prepared(session, bound, pa.record_batch({}), Call()) == 1
    described = bench.queries.prepared(session, bound, Call())
    assert described.schema.names == ["Count"]
    for _ in range(2):
        assert bench.read(bench.queries.run(session, described.tickets[0])).to_pylist() == [{"Count": 1}]
    assert bench.rows("SELECT n FROM own") == [(1,), (2,), (3,), (3,), (3,)]
    with pytest.raises(FlightmeshError, match="none is bound"):
        bench.queries.update_prepared(session, handle, None, Call())


def test_an_update_sent_as_a_statement_runs_once(bench: Bench) -> None:
    """The ticket is for the count, so that reading it, and reading it again, does not write again."""
    session = bench.session("visitor")
    bench.run("CREATE TEMP TABLE own AS SELECT 0 AS n")
    described = bench.queries.statement(session, "INSERT INTO own VALUES (1), (2)", Call())
    for _ in range(2):
        assert bench.read(bench.queries.run(session, described.tickets[0])).to_pylist() == [{"Count": 2}]
    assert bench.queries.update(session, "DELETE FROM own WHERE n > 0", Call()) == 2
    assert bench.rows("SELECT n FROM own") == [(0,)]
    with pytest.raises(FlightmeshError, match="has no rows"):
        bench.queries.run_sql(session, "DELETE FROM own")


def test_a_ticket_reads_its_own_sessions_tables(bench: Bench) -> None:
    """A ticket says whose tables it means: a pool may redeem it on a connection with another session of the user, and
    nobody else may.
    """
    session, other = bench.session("visitor"), bench.session("visitor", id="t")
    bench.run("CREATE TEMP TABLE own AS SELECT 1 AS n")
    bench.run("CREATE TEMP TABLE own AS SELECT 2 AS n", session=other)
    ticket = bench.queries.statement(session, "SELECT n FROM own", Call()).tickets[0]
    handle = bench.queries.prepare(session, "SELECT n FROM own").handle
    assert bench.read(bench.queries.run(other, ticket)).to_pylist() == [{"n": 1}]
    assert bench.read(bench.queries.run_prepared(other, handle)).to_pylist() == [{"n": 1}]
    with pytest.raises(FlightmeshError, match="somebody else"):
        bench.queries.run(bench.session("visitor", name="bob"), ticket)


def test_a_transaction_travels_in_handles_and_tickets(bench: Bench) -> None:
    """A statement prepared in a transaction sees its tables whenever it is executed, while it is open."""
    session = bench.session("visitor")
    bench.put("kept", n=pa.array([1]))
    transaction = bench.updates.begin(session)
    bench.run("CREATE TEMP TABLE own AS SELECT 1 AS n", transaction=transaction)
    sql = "SELECT n FROM own WHERE n = ?"
    with pytest.raises(FlightmeshError):
        bench.queries.prepare(session, sql)
    handle = bench.queries.prepare(session, sql, transaction).handle
    bound = bench.queries.bind(session, handle, _values(a=1))
    ticket = bench.queries.statement(session, "SELECT n FROM own", Call(), transaction).tickets[0]
    assert bench.queries.describe(session, "SELECT n FROM own", transaction).names == ["n"]
    assert bench.read(bench.queries.run_prepared(session, bound)).to_pylist() == [{"n": 1}]
    assert bench.read(bench.queries.run(session, ticket)).to_pylist() == [{"n": 1}]
    insert = bench.queries.prepare(session, "INSERT INTO own VALUES (?)", transaction).handle
    assert bench.queries.update_prepared(session, insert, _values(a=5), Call()) == 1
    bench.updates.end(session, transaction, commits=False)
    with pytest.raises(FlightmeshError, match="transaction is not open"):
        bench.queries.run(session, ticket)
    # A handle outlives its transaction, as it outlives a restart: it then works outside of any.
    for call in (
        lambda: bench.queries.run_prepared(session, bound),
        lambda: bench.queries.update_prepared(session, insert, _values(a=5), Call()),
    ):
        with pytest.raises(FlightmeshError) as failure:
            call()
        assert failure.value.code is ErrorCode.NOT_FOUND
    assert list(bench.temporaries.visible(session)) == ["kept"]


def test_a_forgotten_transaction_of_who_only_reads_is_no_matter(bench: Bench) -> None:
    """Drivers begin one for everybody: whoever has no table of his own reads on after a restart."""
    session = bench.session("visitor")
    transaction = bench.updates.begin(session)
    ticket = bench.queries.statement(session, SUM, Call(), transaction).tickets[0]
    bench.updates.close(session)
    assert bench.read(bench.queries.run(session, ticket)).to_pylist() == [{"s": 60}]
    assert bench.rows(SUM, session, transaction) == [(60,)]
    with pytest.raises(FlightmeshError, match="transaction is not open"):
        bench.run("CREATE TEMP TABLE own AS SELECT 1 AS n", transaction=transaction)


def test_several_endpoints_are_one_result(make_bench: Callable[..., Bench]) -> None:
    """A client that reads several at once gets every row once, in order when it reads them one after the other; a
    cancel is for all of them, also for those that are not started yet.
    """
    bench = make_bench(endpoint_rows_min=1)
    bench.write(*range(5_000))
    bench.reload()
    session, sql = bench.session("visitor", endpoints_max=4), "SELECT n, v FROM lab.readings.points"
    described = bench.queries.statement(session, sql, Call())
    whole = bench.queries.statement(bench.session("visitor"), sql, Call())
    assert len(whole.tickets) == 1
    assert 1 < len(described.tickets) <= 4
    read = [bench.read(bench.queries.run(session, ticket)) for ticket in described.tickets]
    assert pa.concat_tables(read).equals(bench.read(bench.queries.run(session, whole.tickets[0])))
    for several in (
        "SELECT sum(v) AS s FROM lab.readings.points",
        "SELECT n FROM lab.readings.points LIMIT 3",
        "SELECT 1",
    ):
        assert len(bench.queries.statement(session, several, Call()).tickets) == 1, several
    first, *others = described.tickets
    with bench.queries.run(session, first).enter(Call()):
        pass
    assert bench.queries.cancel(session, first) is Stopped.NOT_RUNNING
    for other in others:
        assert bench.queries.cancel(session, other) is Stopped.CANCELLED
        with pytest.raises(FlightmeshError, match="cancelled"), bench.queries.run(session, other).enter(Call()):
            pass


def test_cancelling_by_ticket(bench: Bench) -> None:
    """Before it starts, while it runs and after it: one query, and only for who holds the ticket."""
    session = bench.session("visitor")
    early, running, late = (bench.queries.statement(session, SUM, Call()) for _ in range(3))
    assert len({early.id, running.id, late.id}) == 3
    with pytest.raises(FlightmeshError, match="somebody else"):
        bench.queries.cancel(bench.session("visitor", name="bob"), early.tickets[0])
    assert bench.queries.cancel(session, early.tickets[0]) is Stopped.CANCELLED
    with pytest.raises(FlightmeshError, match="cancelled"), bench.queries.run(session, early.tickets[0]).enter(Call()):
        pass
    call, other = Call(), Call()
    with (
        bench.queries.run(session, running.tickets[0]).enter(call),
        bench.queries.run(session, late.tickets[0]).enter(other),
    ):
        assert [query.id for query in bench.running.visible(session)] == [running.id, late.id]
        assert bench.queries.cancel(session, running.tickets[0]) is Stopped.CANCELLING
    assert call.failure is not None
    assert other.failure is None
    assert bench.queries.cancel(session, late.tickets[0]) is Stopped.NOT_RUNNING


def test_renewing_a_ticket(bench: Bench) -> None:
    """The same query, later; the rows stay until then; an expired ticket or another's is not renewed."""
    session = bench.session("visitor")
    described = bench.queries.statement(session, SUM, Call())
    bench.write(1, 2)
    bench.reload()
    bench.clock.now = described.expires_at - 1
    renewed, expires_at = bench.queries.renew(session, described.tickets[0])
    assert expires_at == bench.clock.now + bench.limits.ticket_ttl_s
    assert open_ticket(Signer(b"k" * 32), renewed, now=0).nonce == described.id
    with pytest.raises(FlightmeshError, match="somebody else"):
        bench.queries.renew(bench.session("visitor", name="bob"), described.tickets[0])
    bench.clock.now = described.expires_at + 1
    assert bench.read(bench.queries.run(session, renewed)).to_pylist() == [{"s": 60}]
    with pytest.raises(FlightmeshError, match="expired"):
        bench.queries.renew(session, described.tickets[0])


def test_the_sessions_options_hold_for_its_queries(bench: Bench) -> None:
    """Time and message size as the session asks, within the server's; dictionaries to those who decode them."""
    plain = bench.queries.run_sql(bench.session(), SUM)
    assert (plain.timeout_s, plain.batch_bytes_max) == (bench.limits.query_timeout_s, bench.limits.batch_bytes_max)
    asked = bench.session("visitor", query_timeout_s=5.0, batch_bytes_max=70_000, dictionaries=True)
    found = bench.queries.run_sql(asked, "SELECT 'a'::ENUM ('a', 'b') AS e")
    assert (found.timeout_s, found.batch_bytes_max) == (5.0, 70_000)
    assert pa.types.is_dictionary(found.schema.field("e").type)
    sql = "SELECT 'a'::ENUM ('a', 'b') AS e"
    described = bench.queries.statement(asked, sql, Call())
    assert pa.types.is_dictionary(described.schema.field("e").type)
    # The ticket promised them: who redeems it, by whatever headers, gets them.
    assert bench.queries.run(bench.session("visitor"), described.tickets[0]).schema == described.schema
    assert bench.queries.describe(bench.session(), sql).field("e").type == pa.string()
    assert bench.queries.prepare(asked, sql).dataset_schema == described.schema


def test_too_many_rows_of_parameters_are_refused(make_bench: Callable[..., Bench]) -> None:
    """One call would keep a place for as long as it likes."""
    bench = make_bench(parameters_rows_max=2)
    session = bench.session("visitor")
    handle = bench.queries.prepare(session, "SELECT ? AS v").handle
    three = pa.record_batch({"1": pa.array([1, 2, 3])})
    bench.queries.bind(session, handle, three.slice(1))
    with pytest.raises(FlightmeshError, match="3 rows of parameters were bound; 2 are allowed"):
        bench.queries.bind(session, handle, three)
    bench.run("CREATE TEMP TABLE own (n BIGINT)")
    update = bench.queries.prepare(session, "INSERT INTO own VALUES (?)").handle
    with pytest.raises(FlightmeshError, match="2 are allowed"):
        bench.queries.update_prepared(session, update, three, Call())
    assert bench.rows("SELECT * FROM own") == []


def test_a_path_names_a_table_of_ones_own_too(bench: Bench) -> None:
    """Plain Flight clients read back what they uploaded, by the path that they uploaded it to."""
    session = bench.session("visitor")
    bench.put("trips", n=pa.array([7]))
    bench.put("a.b", n=pa.array([8]))
    for path, value in (
        *(((*before, "trips"), 7) for before in ((), ("temp",), ("temp", "main"))),
        *((("temp.main.trips",), 7), (("temp", "main", "a.b"), 8), (("a.b",), 8)),
    ):
        ticket = bench.queries.table(session, path).tickets[0]
        assert bench.read(bench.queries.run(session, ticket))["n"].to_pylist() == [value], path
    with pytest.raises(FlightmeshError) as failure:
        bench.queries.table(bench.session("visitor", id="t"), ("temp", "main", "trips"))
    assert failure.value.code is ErrorCode.NOT_FOUND


def test_questions_to_the_catalogue_are_answered_from_ones_own(bench: Bench) -> None:
    """Tools list what they may query: ports that the caller sees and tables of this session, and nothing beside."""
    bench.put("own", n=pa.array([1]))
    names = "SELECT table_catalog, table_schema, table_name FROM information_schema.tables ORDER BY ALL"
    assert bench.rows(names) == [("lab", "readings", "points"), ("temp", "main", "own")]
    assert bench.rows(names, bench.session("analyst", name="bob")) == [
        ("lab", "readings", "points"),
        ("lab", "readings", "secrets"),
    ]
    assert ("n",) in {row[:1] for row in bench.rows("DESCRIBE own")}
    assert {row[0] for row in bench.rows("DESCRIBE lab.readings.points")} == {"n", "v"}
    assert "secrets" not in str(bench.rows("SHOW ALL TABLES"))


def test_too_many_queries_are_told_to_wait(make_bench: Callable[..., Bench]) -> None:
    """Beyond the bound a query waits its time, then is told to come again; the place is free after the stream."""
    bench = make_bench(queries_max=1, queries_per_principal_max=1, query_queue_max=1, query_queue_wait_s=0.05)
    running = bench.queries.run_sql(bench.session(), SUM)
    full = pytest.raises(FlightmeshError, match="Too many queries")
    with running.open(Call()), full as failure, running.open(Call()):
        pass
    assert failure.value.code is ErrorCode.EXHAUSTED
    assert bench.read(running).to_pylist() == [{"s": 60}]

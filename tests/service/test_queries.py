"""Statements from text to rows: who holds a ticket or a handle, on which state of the catalogue, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flightsql.handles import Signer, open_ticket

if TYPE_CHECKING:
    from tests.service.conftest import Bench

SUM = "SELECT sum(v) AS s FROM lab.readings.points"


def _values(**columns: object) -> pa.RecordBatch:
    return pa.record_batch({name: [value] for name, value in columns.items()})


def test_a_ticket_gives_the_rows_once_and_again(bench: Bench) -> None:
    """Nothing is remembered between the calls, so a client that retries its ticket gets the same."""
    session = bench.session()
    described = bench.queries.statement(session, SUM)
    for _ in range(2):
        assert bench.read(bench.queries.run(session, described.ticket)).to_pylist() == [{"s": 60}]
    assert described.schema.names == ["s"]
    assert described.expires_at == bench.clock.now + bench.limits.ticket_ttl_s


def test_a_ticket_expires(bench: Bench) -> None:
    """A ticket found in a log next week opens nothing."""
    session = bench.session()
    described = bench.queries.statement(session, SUM)
    bench.clock.now = described.expires_at - 0.1
    bench.queries.run(session, described.ticket)
    bench.clock.now = described.expires_at
    with pytest.raises(FlightmeshError, match="expired") as failure:
        bench.queries.run(session, described.ticket)
    assert failure.value.code is ErrorCode.UNAUTHENTICATED


def test_a_ticket_belongs_to_who_got_it(bench: Bench) -> None:
    """Handed on, or stolen, it is worth nothing, also among users of the same role."""
    ticket = bench.queries.statement(bench.session("analyst"), "SELECT * FROM lab.readings.secrets").ticket
    for other in (bench.session(), bench.session("analyst", name="bob"), bench.session("visitor", name="eve")):
        with pytest.raises(FlightmeshError, match="issued to somebody else") as failure:
            bench.queries.run(other, ticket)
        assert failure.value.code is ErrorCode.UNAUTHENTICATED


def test_a_ticket_ends_with_the_role_that_it_rested_on(bench: Bench) -> None:
    """The same user with another role sees something else: the old ticket must not show it still."""
    ticket = bench.queries.statement(bench.session("analyst"), "SELECT * FROM lab.readings.secrets").ticket
    with pytest.raises(FlightmeshError, match="under another policy"):
        bench.queries.run(bench.session("visitor"), ticket)


def test_an_altered_ticket_is_refused(bench: Bench) -> None:
    """Every byte is signed, and a handle is no ticket."""
    session = bench.session()
    ticket = bytearray(bench.queries.statement(session, SUM).ticket)
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
    old = bench.queries.statement(session, SUM).ticket
    bench.write(1, 2)
    bench.reload()
    assert bench.read(bench.queries.run(session, old)).to_pylist() == [{"s": 60}]
    assert bench.read(bench.queries.run(session, bench.queries.statement(session, SUM).ticket)).to_pylist() == [
        {"s": 3}
    ]
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
    ticket = bench.queries.prepared(session, bound).ticket
    assert bench.read(bench.queries.run(session, ticket)).to_pylist() == [{"s": 2}]


def test_handles_expire_and_belong_to_one_user(bench: Bench) -> None:
    """As tickets do, only later."""
    session = bench.session("analyst")
    handle = bench.queries.prepare(session, "SELECT ? AS v").handle
    for call in (
        lambda other: bench.queries.bind(other, handle, _values(a=1)),
        lambda other: bench.queries.prepared(other, handle),
        lambda other: bench.queries.describe_prepared(other, handle),
        lambda other: bench.queries.run_prepared(other, handle),
        lambda other: bench.queries.close_prepared(other, handle),
    ):
        with pytest.raises(FlightmeshError, match="somebody else"):
            call(bench.session("analyst", name="bob"))
    bench.queries.close_prepared(session, handle)
    bench.clock.now += bench.limits.prepared_ttl_s
    with pytest.raises(FlightmeshError, match="expired"):
        bench.queries.describe_prepared(session, handle)


def test_preparing_runs_nothing(bench: Bench) -> None:
    """Not even an instance is opened: a statement without end is prepared, described and given a ticket for."""
    session = bench.session()
    endless = "SELECT count(*) AS n FROM range(1000000000000) a, range(1000000000000) b"
    bench.queries.prepare(session, endless)
    bench.queries.describe(session, endless)
    bench.queries.statement(session, endless)
    bench.queries.table(session, ("lab", "readings", "points"))
    assert not bench.engine._instances
    assert bench.admission.running == 0


def test_nothing_is_taken_before_the_stream_is_opened(bench: Bench) -> None:
    """A client that asks and never reads holds neither place nor instance; one that leaves gives both back."""
    session = bench.session()
    running = bench.queries.run_sql(session, SUM)
    assert (bench.admission.running, bench.engine.running) == (0, 0)
    with running.open() as executions:
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
    described = bench.queries.prepared(session, bound)
    assert len(described.ticket) < 1_500
    assert open_ticket(Signer(b"k" * 32), described.ticket, now=0).parameters_ref
    assert bench.read(bench.queries.run(session, described.ticket)).to_pylist() == [{"n": 3_000}]
    bench.queries.bind(session, handle, _values(a="y" * 3_000))
    with pytest.raises(FlightmeshError, match="kept at the node") as failure:
        bench.queries.run(session, described.ticket)
    assert failure.value.code is ErrorCode.UNAVAILABLE


def test_the_session_decides_what_short_names_mean(bench: Bench) -> None:
    """A default catalog and schema hold for the statement and travel in its ticket, not in the next caller's."""
    session = bench.session(catalog="lab", schema="readings")
    short = "SELECT sum(v) AS s FROM points"
    ticket = bench.queries.statement(session, short).ticket
    assert bench.read(bench.queries.run(bench.session(), ticket)).to_pylist() == [{"s": 60}]
    handle = bench.queries.prepare(session, short).handle
    assert bench.read(bench.queries.run_prepared(bench.session(), handle)).to_pylist() == [{"s": 60}]


def test_statements_with_parameters_want_values(bench: Bench) -> None:
    """A ticket for nothing would fail late and far from its cause."""
    session = bench.session()
    handle = bench.queries.prepare(session, "SELECT ? AS v").handle
    for call in (
        lambda: bench.queries.statement(session, "SELECT ? AS v"),
        lambda: bench.queries.run_sql(session, "SELECT ? AS v"),
        lambda: bench.queries.prepared(session, handle),
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
        ticket = bench.queries.table(session, path).ticket
        assert bench.read(bench.queries.run(session, ticket)).num_rows == 3
        return
    with pytest.raises(FlightmeshError) as failure:
        bench.queries.table(session, path)
    assert failure.value.code is code


def test_too_many_queries_are_told_to_wait(make_bench: Callable[..., Bench]) -> None:
    """Beyond the bound a query waits its time, then is told to come again; the place is free after the stream."""
    bench = make_bench(queries_max=1, queries_per_principal_max=1, query_queue_max=1, query_queue_wait_s=0.05)
    running = bench.queries.run_sql(bench.session(), SUM)
    with running.open(), pytest.raises(FlightmeshError, match="Too many queries") as failure, running.open():
        pass
    assert failure.value.code is ErrorCode.EXHAUSTED
    assert bench.read(running).to_pylist() == [{"s": 60}]

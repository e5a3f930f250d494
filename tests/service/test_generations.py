"""Generations: the new one is read at once, the old one as long as somebody may still read it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from flightmesh.errors import ErrorCode, FlightmeshError
from tests.service.conftest import Call

if TYPE_CHECKING:
    from tests.service.conftest import Bench

FAR = 100_000.0


def test_new_statements_see_the_new_generation(bench: Bench) -> None:
    """Publishing is one step: before it all is old, after it all is new."""
    session, old = bench.session(), bench.generations.current.generation
    shown = bench.generations.surface(session.principal)
    bench.write(1)
    new = bench.reload().generation
    assert bench.generations.current.generation == new != old
    assert bench.generations.surface(session.principal).id != shown.id
    assert bench.generations.surface(session.principal, old) is shown


def test_equal_content_is_the_same_generation(bench: Bench) -> None:
    """A reload of nothing new costs nobody a cache."""
    before = bench.generations.current.generation
    assert bench.reload().generation == before
    assert bench.generations.readable == {before}


def test_a_leased_generation_stays_until_the_lease_ends(bench: Bench) -> None:
    """An unexpired ticket pins what it needs; then Surfaces, twins and files may go."""
    session, old = bench.session(), bench.generations.current.generation
    shown = bench.generations.surface(session.principal)
    bench.generations.lease(old, bench.clock.now + FAR)
    bench.write(1)
    bench.reload()
    assert bench.generations.sweep() == []
    bench.clock.now += FAR - 1
    assert bench.generations.sweep() == []
    bench.clock.now += 1
    assert bench.generations.sweep() == [{shown.id}]
    assert bench.generations.readable == {bench.generations.current.generation}


def test_a_held_generation_stays_while_it_is_read(bench: Bench) -> None:
    """A stream of hours outlives its ticket and several reloads."""
    old = bench.generations.current.generation
    with bench.generations.hold(old):
        bench.write(1)
        bench.reload()
        bench.clock.now += FAR
        assert bench.generations.sweep() == []
    assert len(bench.generations.sweep()) == 1


def test_leases_only_grow(bench: Bench) -> None:
    """A short ticket issued after a long one must not end the long one's."""
    old = bench.generations.current.generation
    bench.generations.lease(old, bench.clock.now + FAR)
    bench.generations.lease(old, bench.clock.now + 1)
    bench.write(1)
    bench.reload()
    bench.clock.now += FAR - 1
    assert bench.generations.sweep() == []


def test_the_current_generation_is_never_swept(bench: Bench) -> None:
    """Whatever the clock says."""
    bench.clock.now += FAR * 1_000
    assert bench.generations.sweep() == []
    assert bench.generations.readable == {bench.generations.current.generation}


def test_a_generation_that_is_gone_is_told_as_such(bench: Bench) -> None:
    """A ticket from before is asked to be replaced; nothing else is told."""
    with pytest.raises(FlightmeshError, match="no longer kept") as failure:
        bench.generations.surface(bench.session().principal, "0" * 64)
    assert failure.value.code is ErrorCode.UNAUTHENTICATED


def test_a_generation_from_before_a_restart_is_found_on_disk(bench: Bench) -> None:
    """A restart between the two calls of a client is not noticed while the lease has kept the files."""
    session, old = bench.session(), bench.generations.current.generation
    bench.store.lease(old, bench.clock.now + FAR)
    bench.write(1)
    bench.reload()
    # As after a restart: memory is empty, the files are there.
    bench.generations._readable.pop(old)
    assert bench.generations.surface(session.principal, old).generation == old
    assert old in bench.generations.readable


def test_surfaces_are_shared_between_users_of_equal_rights(bench: Bench) -> None:
    """A thousand users of three roles are three Surfaces; different rights are different ones."""
    one = bench.generations.surface(bench.session("analyst", name="ann").principal)
    two = bench.generations.surface(bench.session("analyst", name="bob").principal)
    other = bench.generations.surface(bench.session("visitor", name="eve").principal)
    assert one.id == two.id
    assert one.id != other.id
    assert bench.generations.twin(one) is bench.generations.twin(two)
    assert bench.generations.twin(one) is not bench.generations.twin(other)


def test_reloads_under_readers(bench: Bench) -> None:
    """Statements go on while generations come and go: each is whole, none is of a mixture."""
    session, wrong, stop = bench.session(), [], threading.Event()
    sql = "SELECT count(*) AS n, min(v) AS a, max(v) AS b FROM lab.readings.points"
    bench.write(0, 0, 0)
    bench.reload()

    def read() -> None:
        while not stop.is_set():
            ticket = bench.queries.statement(session, sql, Call()).tickets[0]
            (row,) = bench.read(bench.queries.run(session, ticket)).to_pylist()
            if row["n"] != 3 or row["a"] != row["b"]:
                wrong.append(row)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for value in range(1, 6):
        bench.write(value, value, value)
        bench.reload()
        bench.generations.sweep()
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []

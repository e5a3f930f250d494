"""Admission: a bounded number of queries at once, fair between principals, and never a place lost."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.service.admission import Admission


def _admission(**limits: float) -> Admission:
    defaults: dict[str, float] = {
        "queries_max": 2,
        "queries_per_principal_max": 2,
        "query_queue_max": 2,
        "query_queue_wait_s": 0.05,
    }
    return Admission(replace(Limits(), **{**defaults, **limits}))  # type: ignore[arg-type]


def test_places_are_given_back() -> None:
    """Also after an error in the block: a lost place would be lost until the server restarts."""
    admission = _admission()
    for _ in range(10):
        with pytest.raises(ZeroDivisionError), admission.place("ann"):
            _ = 1 / (admission.running - 1)
    assert admission.running == 0


def test_who_finds_no_place_in_time_is_told_to_come_again() -> None:
    """EXHAUSTED after the wait, not before and not never."""
    admission = _admission()
    with admission.place("ann"), admission.place("bob"):
        began = time.monotonic()
        with pytest.raises(FlightmeshError, match="Try again") as failure, admission.place("eve"):
            pass
        assert 0.04 < time.monotonic() - began < 2
        assert failure.value.code is ErrorCode.EXHAUSTED
    assert admission.running == 0


def test_one_principal_cannot_take_all_places() -> None:
    """A script with a thousand threads leaves room for everybody else."""
    admission = _admission(queries_max=10, queries_per_principal_max=1)
    with admission.place("greedy"):
        with pytest.raises(FlightmeshError), admission.place("greedy"):
            pass
        with admission.place("modest"):
            assert admission.running == 2


def test_who_waits_gets_the_place_that_comes_free() -> None:
    """Waiting ends with the first free place, not with the end of the wait."""
    admission = _admission(queries_max=1, query_queue_wait_s=10)
    entered = threading.Event()

    def wait() -> None:
        with admission.place("bob"):
            entered.set()

    with admission.place("ann"):
        thread = threading.Thread(target=wait)
        thread.start()
        assert not entered.wait(0.1)
    assert entered.wait(5)
    thread.join()
    assert admission.running == 0


def test_the_queue_is_bounded() -> None:
    """Beyond it nobody waits: threads that only wait would be the next thing to run out."""
    admission = _admission(queries_max=1, query_queue_max=0, query_queue_wait_s=10)
    with admission.place("ann"):
        began = time.monotonic()
        with pytest.raises(FlightmeshError), admission.place("bob"):
            pass
        assert time.monotonic() - began < 1


def test_many_threads_never_exceed_the_bound() -> None:
    """The bound holds under contention, and everybody gets through in the end."""
    admission = _admission(queries_max=3, queries_per_principal_max=3, query_queue_max=50, query_queue_wait_s=20)
    most: list[int] = []

    def work(number: int) -> None:
        with admission.place(f"user{number % 5}"):
            most.append(admission.running)
            time.sleep(0.002)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 40
    assert max(most) <= 3
    assert admission.running == 0
    assert not admission._running

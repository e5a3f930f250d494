"""The breaker, with a clock that is set by hand."""

from __future__ import annotations

from flightmesh.sources.breaker import FAILURES_MAX, PAUSE_MAX_S, Breaker


class Clock:
    """Seconds, as told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(clock)
    for _ in range(FAILURES_MAX):
        assert breaker.refusal() is None
        breaker.failed()
    return breaker


def test_it_opens_after_failures_in_a_row_and_says_for_how_long() -> None:
    """Every consumer of a source that is down would wait for the timeout."""
    clock = Clock()
    breaker = opened(clock)
    clock.now += 0.25
    refusal = breaker.refusal()
    assert refusal is not None
    assert (refusal.since_s, refusal.again_s) == (0.25, 1.0)


def test_an_answer_in_between_starts_the_count_anew() -> None:
    """A source that fails now and then would be closed to all."""
    breaker = Breaker(Clock())
    for _ in range(4):
        breaker.failed()
        breaker.failed()
        breaker.answered()
    assert breaker.refusal() is None


def test_one_is_let_through_after_the_pause_and_its_answer_closes_it() -> None:
    """A source that comes back would be met by everybody at once, or by nobody."""
    clock = Clock()
    breaker = opened(clock)
    clock.now += 1.0
    assert breaker.refusal() is None
    assert breaker.refusal() is not None
    breaker.answered()
    assert breaker.refusal() is None


def test_the_pause_grows_to_its_bound() -> None:
    """A source that is down for a day would be asked every second."""
    clock = Clock()
    breaker = opened(clock)
    pauses = []
    for _ in range(7):
        refusal = breaker.refusal()
        assert refusal is not None
        pauses.append(refusal.again_s)
        clock.now += refusal.again_s
        assert breaker.refusal() is None
        breaker.failed()
    assert pauses == [1, 2, 4, 8, 16, PAUSE_MAX_S, PAUSE_MAX_S]


def test_reads_that_began_before_it_opened_do_not_lengthen_the_pause() -> None:
    """Ten consumers at once would close the source for half a minute."""
    clock = Clock()
    breaker = opened(clock)
    for _ in range(10):
        breaker.failed()
    refusal = breaker.refusal()
    assert refusal is not None
    assert refusal.again_s == 1.0


def test_a_probe_without_outcome_lets_the_next_one_try() -> None:
    """A consumer who leaves while he probes would close the source for ever."""
    clock = Clock()
    breaker = opened(clock)
    clock.now += 1.0
    assert breaker.refusal() is None
    breaker.undecided()
    assert breaker.refusal() is None

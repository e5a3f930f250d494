"""The arithmetic of the benchmarks: a wrong median or an unfair order would be published as a fact."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.harness import Case, DisagreementError, Outcome, Result, find, parameter, quantile, ratio, run


def case(contestant: str, execute: Callable[[], Outcome], *, rounds: int = 3, executions: int = 1) -> Case:
    return Case("scan", "scan", contestant, rounds, executions, execute, lambda: "same")


def result(contestant: str, *seconds: float) -> Result:
    return Result("scan", "scan", contestant, tuple(Outcome(s, 10, 80) for s in seconds), None)


def test_a_parameter_has_a_value_for_each_size() -> None:
    """Smoke values in a full run would be published as if they were the real ones."""
    scale = parameter("scale", smoke=0.01, full=1.0)
    assert (scale.at("smoke"), scale.at("full")) == (0.01, 1.0)


def test_quantiles_are_times_that_were_measured() -> None:
    """A p99 between two measurements, or the wrong one of them, would promise what nobody saw."""
    times = [float(n) for n in range(1, 101)]
    assert (quantile(times, 0.0), quantile(times, 0.5), quantile(times, 0.99), quantile(times, 1.0)) == (1, 50, 99, 100)
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([7.0], 0.99) == 7.0


def test_ratios_and_rates_come_from_medians() -> None:
    """One outlier must not decide who is faster."""
    fast, slow = result("fast", 1.0, 9.0, 1.0), result("slow", 2.0, 2.0, 0.1)
    assert ratio(slow, fast) == 2.0
    assert fast.rows_per_s == 10.0
    assert find([fast, slow], "scan", "slow") is slow
    assert find([fast, slow], "scan", "absent") is None


def test_contestants_take_turns_and_nobody_is_always_first() -> None:
    """Whoever always ran first would always find the machine as the others left it, and the others its leavings."""
    ran: list[str] = []

    def executing(name: str) -> Callable[[], Outcome]:
        def execute() -> Outcome:
            ran.append(name)
            return Outcome(1.0, 10, 80)

        return execute

    cases = [case(name, executing(name)) for name in "abc"]
    results = run([*cases, case("d", executing("d"), rounds=1, executions=2)], lambda text: None)
    assert "".join(ran) == "abcd" + "abcdd" + "bca" + "cab"
    assert [len(entry.outcomes) for entry in results] == [3, 3, 3, 2]


def test_different_answers_are_refused() -> None:
    """The time of a wrong answer would be compared with the time of a right one."""
    right = case("right", lambda: Outcome(1.0, 10, 80))
    wrong = Case("scan", "scan", "wrong", 3, 1, lambda: Outcome(1.0, 10, 80), lambda: "other")
    with pytest.raises(DisagreementError, match="the results of wrong differ from those of right"):
        run([right, wrong], lambda text: None)


def test_different_row_counts_are_refused() -> None:
    """A stream that ended early in a timed round would count as a fast one."""
    counts = iter([10, 10, 10, 9])
    short = case("short", lambda: Outcome(1.0, next(counts), 80))
    with pytest.raises(DisagreementError, match="the row counts of short"):
        run([case("whole", lambda: Outcome(1.0, 10, 80)), short], lambda text: None)

"""The arithmetic of fair comparison: parameters, interleaved rounds, medians, ratios, results checked equal.

Knows nothing of servers or SQL: a case is something that can be timed. Contestants take turns within every round, in
an order that shifts from round to round, so that whatever disturbs the machine for a while disturbs them all.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

Size = Literal["smoke", "full"]
# What counts. scan: rows; query: the answer; first: the first rows; short: every one of many executions.
Kind = Literal["scan", "query", "first", "short"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parameter(Generic[T]):
    """A size of the benchmark: small enough for the test suite, and as measured."""

    name: str
    smoke: T
    full: T

    def at(self, size: Size) -> T:
        """The value at this size."""
        return self.smoke if size == "smoke" else self.full


def parameter(name: str, smoke: T, full: T) -> Parameter[T]:
    """A parameter with its value in the test suite and in a full run."""
    return Parameter(name, smoke, full)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one execution took and brought. ``nbytes`` is Arrow memory, not bytes on the wire."""

    seconds: float
    rows: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Case:
    """One contestant at one workload.

    ``execute`` is timed by whoever made the case: what leads to the result is, what throws it away is not.
    ``result_hash`` tells what the contestant answers, None where an execution has no whole result.
    """

    workload: str
    kind: Kind
    contestant: str
    rounds: int
    executions: int
    execute: Callable[[], Outcome]
    result_hash: Callable[[], str] | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """All timed executions of a case, in order."""

    workload: str
    kind: Kind
    contestant: str
    outcomes: tuple[Outcome, ...]
    result_hash: str | None

    @property
    def rows(self) -> int:
        """Rows of one execution."""
        return self.outcomes[0].rows

    @property
    def nbytes(self) -> int:
        """Arrow bytes of one execution: the largest, as slices carry different amounts of padding."""
        return max(outcome.nbytes for outcome in self.outcomes)

    @property
    def median_s(self) -> float:
        return self.quantile_s(0.5)

    @property
    def rows_per_s(self) -> float:
        return self.rows / self.median_s

    def quantile_s(self, share: float) -> float:
        """The time within which this share of the executions ended, as one of the times measured."""
        return quantile([outcome.seconds for outcome in self.outcomes], share)


class DisagreementError(Exception):
    """Two contestants gave different answers to one question: their times cannot be compared."""


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least this share of them does not exceed; for n values and one half, an odd
    n, the median.
    """
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def timed(run: Callable[[], T], weigh: Callable[[T], tuple[int, int]]) -> Outcome:
    """The outcome of one execution; ``weigh`` gives rows and bytes of what it brought, outside the time."""
    start = time.perf_counter()
    brought = run()
    seconds = time.perf_counter() - start
    return Outcome(seconds, *weigh(brought))


def run(cases: Sequence[Case], tell: Callable[[str], None]) -> list[Result]:
    """Every case warmed up, its answer compared, and then timed in interleaved rounds.

    Errors: DisagreementError.
    """
    hashes = _checked(cases, tell)
    outcomes: dict[int, list[Outcome]] = {index: [] for index in range(len(cases))}
    last = max(case.rounds for case in cases)
    with _old_objects_left_alone():
        for round_ in range(last):
            tell(f"round {round_ + 1} of {last}")
            for index in _order(cases, round_):
                outcomes[index] += _executed(cases[index])
    results = [
        Result(case.workload, case.kind, case.contestant, tuple(outcomes[index]), hashes[index])
        for index, case in enumerate(cases)
    ]
    _agree("row counts", ((r.workload, r.contestant, {o.rows for o in r.outcomes}) for r in results))
    return results


def ratio(result: Result, baseline: Result) -> float:
    """How many times the baseline's median the result's is: below one is faster."""
    return result.median_s / baseline.median_s


def find(results: Iterable[Result], workload: str, contestant: str) -> Result | None:
    """The result of the contestant at the workload, None when it did not take part."""
    return next((r for r in results if (r.workload, r.contestant) == (workload, contestant)), None)


@contextmanager
def _old_objects_left_alone() -> Iterator[None]:
    """Spares the garbage collector what exists already, so that collecting before each measurement takes no time."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _executed(case: Case) -> list[Outcome]:
    """One round of the case. Python's garbage collector runs before it and not in it."""
    gc.collect()
    gc.disable()
    try:
        return [case.execute() for _ in range(case.executions)]
    finally:
        gc.enable()


def _checked(cases: Sequence[Case], tell: Callable[[str], None]) -> Mapping[int, str | None]:
    hashes: dict[int, str | None] = {}
    for index, case in enumerate(cases):
        tell(f"warming up: {case.workload}, {case.contestant}")
        case.execute()
        hashes[index] = None if case.result_hash is None else case.result_hash()
    _agree("results", ((case.workload, case.contestant, hashes[index]) for index, case in enumerate(cases)))
    return hashes


def _order(cases: Sequence[Case], round_: int) -> Iterator[int]:
    """The cases that take part in the round, workload by workload, its contestants shifted by one each round."""
    by_workload: dict[str, list[int]] = {}
    for index, case in enumerate(cases):
        if round_ < case.rounds:
            by_workload.setdefault(case.workload, []).append(index)
    for indexes in by_workload.values():
        shift = round_ % len(indexes)
        yield from indexes[shift:] + indexes[:shift]


def _agree(what: str, answers: Iterable[tuple[str, str, object]]) -> None:
    """Errors: DisagreementError between two answers ``(workload, contestant, answer)`` to one workload."""
    first: dict[str, tuple[str, object]] = {}
    for workload, contestant, answer in answers:
        other, expected = first.setdefault(workload, (contestant, answer))
        if answer != expected:
            raise DisagreementError(f"{workload}: the {what} of {contestant} differ from those of {other}.")

"""What is asked: statements over TPC-H, and the four ways to time one.

Every statement is written once, with ``{t}`` before each table's name. Answers are compared without regard to the
order of rows, which the statements do not ask for.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from benchmarks.contestants import Contestant, Flight
from benchmarks.harness import Case, Kind, Outcome, Size, parameter, timed

SCALE = parameter("scale", smoke=0.01, full=1.0)
ROWS_SMALL = parameter("rows_small", smoke=1_000, full=100_000)
ROWS_LARGE = parameter("rows_large", smoke=10_000, full=1_000_000)
ROUNDS = parameter("rounds", smoke=1, full=9)
ROUNDS_WHOLE = parameter("rounds_whole", smoke=1, full=5)
# The executions of a short workload: over all rounds, so many times each.
EXECUTIONS_SHORT = parameter("executions_short", smoke=3, full=300)

# What a result that was given up still costs its server must not fall into the next measurement.
_SETTLE_S = 0.1

_Q1 = """
SELECT l_returnflag, l_linestatus, sum(l_quantity) AS sum_qty, sum(l_extendedprice) AS sum_base_price,
    sum(l_extendedprice * (1 - l_discount)) AS sum_disc_price,
    sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)) AS sum_charge,
    avg(l_quantity) AS avg_qty, avg(l_extendedprice) AS avg_price, avg(l_discount) AS avg_disc, count(*) AS count_order
FROM {t}lineitem WHERE l_shipdate <= DATE '1998-09-02'
GROUP BY l_returnflag, l_linestatus ORDER BY l_returnflag, l_linestatus
"""
_Q6 = """
SELECT sum(l_extendedprice * l_discount) AS revenue FROM {t}lineitem
WHERE l_shipdate >= DATE '1994-01-01' AND l_shipdate < DATE '1995-01-01'
    AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24
"""
_PROJECTION = "SELECT l_orderkey, l_partkey, l_extendedprice, l_shipdate FROM {t}lineitem"
_FILTER = "SELECT * FROM {t}lineitem WHERE l_quantity < 5"
_POINT = "SELECT n_name FROM {t}nation WHERE n_nationkey = 7"
_WHOLE = "SELECT * FROM {t}lineitem"


@dataclass(frozen=True, slots=True)
class _Workload:
    """``make`` gives the action to time, None for a contestant that cannot take part."""

    name: str
    kind: Kind
    sql: str
    make: Callable[[Contestant, str], Callable[[], Outcome] | None]
    rounds: int
    executions: int = 1
    is_compared: bool = True


def parameters(size: Size, rounds: int | None = None) -> Mapping[str, float]:
    """Name to value of what a run of this size works with; ``rounds`` as for ``cases``."""
    usual, whole = _rounds(size, rounds)
    sizes = {entry.name: entry.at(size) for entry in (SCALE, ROWS_SMALL, ROWS_LARGE, EXECUTIONS_SHORT)}
    return {**sizes, ROUNDS.name: usual, ROUNDS_WHOLE.name: whole}


def cases(contestants: Sequence[Contestant], size: Size, rounds: int | None = None) -> list[Case]:
    """Every contestant at every workload; ``rounds`` replaces the number of rounds that the size has."""
    made = []
    judge = duckdb.connect(":memory:")
    for workload in _workloads(size, rounds):
        for contestant in contestants:
            sql = workload.sql.format(t=contestant.prefix)
            execute = workload.make(contestant, sql)
            if execute is not None:
                hashed = _hashed(contestant, sql, judge) if workload.is_compared else None
                made.append(_case(workload, contestant, execute, hashed))
    return made


def result_hash(table: pa.Table, judge: duckdb.DuckDBPyConnection) -> str:
    """A digest of names, types and rows, whatever the order of the rows; doubles count to ten digits."""
    head = [f"{field.name} {field.type}" for field in table.schema]
    columns = ", ".join(_comparable(field) for field in table.schema)
    judge.register("answer", table)
    rows = judge.execute(f"SELECT count(*), sum(hash({columns})::HUGEINT) FROM answer").fetchall()
    judge.unregister("answer")
    return hashlib.sha256("\n".join([*head, str(rows)]).encode()).hexdigest()[:16]


def _workloads(size: Size, rounds: int | None) -> Iterator[_Workload]:
    usual, whole = _rounds(size, rounds)
    for rows in (ROWS_SMALL.at(size), ROWS_LARGE.at(size)):
        yield _Workload(f"lineitem, {rows:,} rows", "scan", f"{_WHOLE} LIMIT {rows}", _fetch, usual)
    yield _Workload("lineitem, all rows", "scan", _WHOLE, _fetch, whole)
    yield _Workload("4 columns, all rows", "scan", _PROJECTION, _fetch, usual)
    yield _Workload("filter, 8 % of the rows", "scan", _FILTER, _fetch, usual)
    yield _Workload("TPC-H Q1", "query", _Q1, _fetch, usual)
    yield _Workload("TPC-H Q6", "query", _Q6, _fetch, usual)
    yield _Workload("first batch of all rows", "first", _WHOLE, _first_batch, usual, is_compared=False)
    executions = math.ceil(EXECUTIONS_SHORT.at(size) / usual)
    yield _Workload("constant", "short", "SELECT 1 AS one", _fetch, usual, executions)
    yield _Workload("point query", "short", _POINT, _fetch, usual, executions)
    yield _Workload("GetFlightInfo of it", "short", _POINT, _plan, usual, executions, is_compared=False)


def _rounds(size: Size, rounds: int | None) -> tuple[int, int]:
    """Rounds of a workload, and of the one that is too large for as many."""
    usual = rounds or ROUNDS.at(size)
    return usual, min(usual, ROUNDS_WHOLE.at(size))


def _case(
    workload: _Workload,
    contestant: Contestant,
    execute: Callable[[], Outcome],
    hashed: Callable[[], str] | None,
) -> Case:
    return Case(workload.name, workload.kind, contestant.name, workload.rounds, workload.executions, execute, hashed)


def _fetch(contestant: Contestant, sql: str) -> Callable[[], Outcome]:
    return lambda: timed(lambda: contestant.fetch(sql), lambda table: (table.num_rows, table.nbytes))


def _first_batch(contestant: Contestant, sql: str) -> Callable[[], Outcome]:
    """Until the first batch is here. How many rows it has is each server's own choice, so they do not count."""

    def weigh(brought: tuple[pa.RecordBatch, Callable[[], None]]) -> tuple[int, int]:
        batch, give_up = brought
        give_up()
        time.sleep(_SETTLE_S)
        return min(batch.num_rows, 1), batch.nbytes

    return lambda: timed(lambda: contestant.first_batch(sql), weigh)


def _plan(contestant: Contestant, sql: str) -> Callable[[], Outcome] | None:
    if not isinstance(contestant, Flight):
        return None
    return lambda: timed(lambda: contestant.plan(sql), lambda info: (len(info.endpoints), 0))


def _hashed(contestant: Contestant, sql: str, judge: duckdb.DuckDBPyConnection) -> Callable[[], str]:
    return lambda: result_hash(contestant.fetch(sql), judge)


def _comparable(field: pa.Field) -> str:
    name = '"' + field.name.replace('"', '""') + '"'
    return f"printf('%.9e', {name})" if pa.types.is_floating(field.type) else name

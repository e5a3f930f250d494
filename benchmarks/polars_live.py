"""``python -m benchmarks.polars_live --smoke | --full``: one consumer's questions to a live Polars port, and the same
questions to the same model in SQL, which DuckDB runs, side by side.

Both ports compute over one live Parquet source (lineitem of TPC-H) when they are read, in one server; their answers
are compared before anything is timed. Beside that, what the first read of a Polars port costs, when its worker has yet
to start.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from benchmarks import harness, servers, tpch
from benchmarks.contestants import Flight
from benchmarks.live import append, contract, fetching, write_yaml
from benchmarks.machine import machine, versions
from benchmarks.workloads import SCALE
from flightmesh.names import literal

HISTORY = Path(__file__).parent / "history" / "polars_live.jsonl"
ROUNDS = harness.parameter("rounds", smoke=1, full=9)
PRODUCT = "benchmark.live"
IN_SQL, IN_POLARS = "SQL model (DuckDB)", "Polars model"

# Name, kind, and the statement with {t} before the name of the model.
_QUESTIONS: Sequence[tuple[str, harness.Kind, str]] = (
    ("one month, 2 columns", "scan",
     "SELECT l_orderkey, revenue FROM {t}lines WHERE l_shipdate BETWEEN DATE '1994-01-01' AND DATE '1994-01-31'"),
    ("sum by flag of one year", "query",
     "SELECT l_returnflag, sum(revenue) AS revenue, count(*) AS lines FROM {t}lines "
     "WHERE l_shipdate >= DATE '1995-01-01' AND l_shipdate < DATE '1996-01-01' GROUP BY l_returnflag"),
    ("one order", "short", "SELECT l_partkey, revenue FROM {t}lines WHERE l_orderkey = 39"),
    ("all rows", "scan", "SELECT * FROM {t}lines"),
)  # fmt: skip
_SQL = """\
SELECT l_orderkey, l_partkey, l_shipdate, l_returnflag,
    CAST(l_extendedprice AS DOUBLE) * (1 - CAST(l_discount AS DOUBLE)) AS revenue
FROM lineitem WHERE l_quantity > 1
"""
_POLARS = """\
import polars as pl


def build(lineitem):
    price, discount = pl.col("l_extendedprice").cast(pl.Float64), pl.col("l_discount").cast(pl.Float64)
    return lineitem.filter(pl.col("l_quantity") > 1).select(
        "l_orderkey", "l_partkey", "l_shipdate", "l_returnflag", revenue=price * (1 - discount)
    )
"""
_COLUMNS = {
    "l_orderkey": ("integer", "BIGINT"),
    "l_partkey": ("integer", "BIGINT"),
    "l_shipdate": ("date", "DATE"),
    "l_returnflag": ("string", "VARCHAR"),
    "revenue": ("number", "DOUBLE"),
}


@dataclass(frozen=True, slots=True)
class Run:
    """The results, and the seconds of the first read of the Polars port and of the same read again."""

    size: harness.Size
    results: Sequence[harness.Result]
    cold_s: float
    warm_s: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs and prints the table; a full run is appended to the history. The exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.polars_live", description=__doc__)
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--smoke", action="store_true", help="small sizes: proves that everything runs")
    size.add_argument("--full", action="store_true", help="scale factor 1; appends to the history")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep the generated data there, and use it again")
    parser.add_argument("--history", type=Path, metavar="FILE", help="append the figures to this file")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="flightmesh-benchmarks-") as folder:
        run = measure("full" if options.full else "smoke", options.work or Path(folder))
    print("\n".join(table(run)))
    history = options.history or (HISTORY if run.size == "full" else None)
    if history is not None:
        append(history, run.size, run.results, cold_s=run.cold_s, warm_s=run.warm_s)
    return 0


def measure(size: harness.Size, work: Path) -> Run:
    """One run at this size; data, state and logs stay below ``work``. Errors: harness.DisagreementError."""
    product = make_product(work, SCALE.at(size))
    with (
        tempfile.TemporaryDirectory(prefix="serve-", dir=work) as served,
        servers.flightmesh_server(product, Path(served)) as server,
    ):
        token = servers.token(Path(served))
        contestants = [
            Flight(name, server.uri, prefix=f"{PRODUCT}.{prefix}_", token=token)
            for name, prefix in ((IN_SQL, "sql"), (IN_POLARS, "polars"))
        ]
        cold, warm = (_seconds(contestants[1]) for _ in range(2))
        judge = duckdb.connect(":memory:")
        cases = [
            fetching(name, kind, sql.format(t=contestant.prefix), contestant, judge, ROUNDS.at(size))
            for name, kind, sql in _QUESTIONS
            for contestant in contestants
        ]
        results = harness.run(cases, lambda text: print(f"-- {text}", file=sys.stderr, flush=True))
        for contestant in contestants:
            contestant.close()
    return Run(size, results, cold, warm)


def make_product(work: Path, scale: float) -> Path:
    """The product with both ports at this scale factor; its folder."""
    data = tpch.make_product(work, scale) / "data" / "lineitem.parquet"
    product = work / f"live-sf{scale:g}"
    for folder in ("data", "models", "contracts"):
        (product / folder).mkdir(parents=True, exist_ok=True)
    if not (copy := product / "data" / data.name).exists():
        # Written by DuckDB: the generator's own files ask for string views.
        duckdb.execute(f"COPY (FROM {literal(str(data))}) TO {literal(str(copy))} (FORMAT parquet)")
    (product / "models" / "lines.py").write_text(_POLARS)
    for port in ("sql_lines", "polars_lines"):
        write_yaml(product / "contracts" / f"{port}.odcs.yaml", contract(PRODUCT, port, _COLUMNS))
    write_yaml(product / "product.yaml", _manifest())
    return product


def table(run: Run) -> list[str]:
    """Lines of Markdown."""
    facts = ", ".join(f"{name} {version}" for name, version in versions().items())
    lines = [f"{run.size} size, {facts}, {machine()['cores']} cores.", ""]
    lines += [f"| | rows | {IN_SQL} | {IN_POLARS} | *Polars / SQL* |", "|---|---:|---:|---:|---:|"]
    for name, _, _ in _QUESTIONS:
        in_sql, in_polars = (harness.find(run.results, name, who) for who in (IN_SQL, IN_POLARS))
        assert in_sql is not None
        assert in_polars is not None
        times = f"{in_sql.median_s * 1000:.1f} ms | {in_polars.median_s * 1000:.1f} ms"
        lines.append(f"| {name} | {in_sql.rows:,} | {times} | **{harness.ratio(in_polars, in_sql):.2f}** |")
    first = f"The first read of the Polars port took {run.cold_s * 1000:.0f} ms (its worker had to start)"
    return [*lines, "", f"{first}, the second {run.warm_s * 1000:.0f} ms."]


def _seconds(contestant: Flight) -> float:
    start = time.perf_counter()
    contestant.fetch(_QUESTIONS[2][2].format(t=contestant.prefix))
    return time.perf_counter() - start


def _manifest() -> dict[str, object]:
    ports = ("sql_lines", "polars_lines")
    return {
        "flightmesh": "v1",
        "product": PRODUCT,
        "version": "1.0.0",
        "title": "One model in SQL and in Polars, over a live source",
        "owner": {"team": "benchmarks"},
        "sources": {"lineitem": {"type": "parquet", "path": "data/lineitem.parquet", "mode": "live"}},
        "models": {
            "sql_lines": {"sql": _SQL},
            "polars_lines": {"python": "models/lines.py:build", "inputs": ["lineitem"]},
        },
        "ports": {port: {"model": port, "contract": f"contracts/{port}.odcs.yaml"} for port in ports},
        "policies": [{"grant": "read", "port": "*", "to": f"role:{tpch.ROLE}"}],
    }


if __name__ == "__main__":
    raise SystemExit(main())

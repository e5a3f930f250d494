"""``python -m benchmarks.postgres_live --smoke | --full``: a live PostgreSQL port beside PostgreSQL read directly.

A fresh server, one table; both read with the stock ADBC driver of their kind, in one run, round by round. Answers are
compared before anything is timed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import adbc_driver_postgresql.dbapi
import duckdb
import pyarrow as pa

from benchmarks import harness, servers, tpch
from benchmarks.contestants import OURS_CLIENT, Adbc, Client
from benchmarks.live import append, contract, fetching, write_yaml
from benchmarks.machine import machine, versions
from tests.postgres import Postgres, find_postgres, running_postgres

HISTORY = Path(__file__).parent / "history" / "postgres_live.jsonl"
ROUNDS = harness.parameter("rounds", smoke=1, full=9)
ROWS = harness.parameter("rows", smoke=5_000, full=1_000_000)
PRODUCT = "benchmark.postgres"
DIRECT, OURS = "PostgreSQL, ADBC", "flightmesh, ADBC"

# Name, kind, and the statement with {t} for the table.
_QUESTIONS: Sequence[tuple[str, harness.Kind, str]] = (
    ("all rows, 7 columns", "scan", "SELECT * FROM {t}"),
    ("all rows, 4 narrow columns", "scan", "SELECT id, mass, day, ok FROM {t}"),
    ("filter, a tenth of the rows", "scan", "SELECT id, site, mass FROM {t} WHERE site = 'site3'"),
    ("10 groups", "query", "SELECT site, count(*) AS n, min(day) AS first FROM {t} GROUP BY site ORDER BY site"),
    ("one row", "short", "SELECT id, site, mass FROM {t} WHERE id = 4711"),
)
_COLUMNS = {
    "id": ("integer", "BIGINT"),
    "site": ("string", "VARCHAR"),
    "mass": ("number", "DOUBLE"),
    "day": ("date", "DATE"),
    "seen": ("timestamp", "TIMESTAMP"),
    "ok": ("boolean", "BOOLEAN"),
    "pieces": ("integer", "INTEGER"),
}


class Direct:
    """The table, read by the driver alone."""

    name = DIRECT

    def __init__(self, uri: str) -> None:
        self._connection = adbc_driver_postgresql.dbapi.connect(uri, autocommit=True)

    def fetch(self, sql: str) -> pa.Table:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetch_arrow_table()

    def close(self) -> None:
        self._connection.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs and prints the table; a full run is appended to the history. The exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.postgres_live", description=__doc__)
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--smoke", action="store_true", help="small sizes: proves that everything runs")
    size.add_argument("--full", action="store_true", help="a million rows; appends to the history")
    parser.add_argument("--history", type=Path, metavar="FILE", help="append the figures to this file")
    options = parser.parse_args(arguments)
    binaries = find_postgres()
    if binaries is None:
        print("This benchmark needs a PostgreSQL server (apt-get install postgresql).", file=sys.stderr)
        return 2
    chosen: harness.Size = "full" if options.full else "smoke"
    with running_postgres(binaries) as postgres, tempfile.TemporaryDirectory(prefix="flightmesh-benchmarks-") as work:
        results = measure(chosen, postgres, Path(work))
    print("\n".join(table(chosen, results)))
    history = options.history or (HISTORY if options.full else None)
    if history is not None:
        append(history, chosen, results)
    return 0


def measure(size: harness.Size, postgres: Postgres, work: Path) -> list[harness.Result]:
    """One run at this size. Errors: harness.DisagreementError."""
    _load(postgres, ROWS.at(size))
    product = _product(work / "product", postgres.uri)
    served = work / "served"
    served.mkdir()
    with servers.flightmesh_server(product, served) as server, duckdb.connect(":memory:") as judge:
        token, prefix = servers.token(served), f"{PRODUCT}."
        ours, client = Adbc(OURS, server.uri, prefix=prefix, token=token), Client(OURS_CLIENT, server.uri, token)
        direct = Direct(postgres.uri)
        cases = [
            fetching(name, kind, sql.format(t=before + "readings"), contestant, judge, ROUNDS.at(size))
            for name, kind, sql in _QUESTIONS
            for contestant, before in ((direct, ""), (ours, prefix), (client, prefix))
        ]
        results = harness.run(cases, lambda text: print(f"-- {text}", file=sys.stderr, flush=True))
        direct.close()
        ours.close()
        client.close()
    return results


def table(size: harness.Size, results: Sequence[harness.Result]) -> list[str]:
    """Lines of Markdown."""
    facts = ", ".join(f"{name} {version}" for name, version in versions().items())
    lines = [f"{size} size, {ROUNDS.at(size)} rounds, {facts}, {machine()['cores']} cores.", ""]
    lines += [f"| | rows | {DIRECT} | {OURS} | {OURS_CLIENT} | *ours, ADBC / direct* | *our client / direct* |"]
    lines += ["|---|---:|---:|---:|---:|---:|---:|"]
    for name, _, _ in _QUESTIONS:
        direct, ours, client = (harness.find(results, name, who) for who in (DIRECT, OURS, OURS_CLIENT))
        assert direct is not None
        assert ours is not None
        assert client is not None
        times = " | ".join(f"{result.median_s * 1000:.1f} ms" for result in (direct, ours, client))
        ratios = " | ".join(f"**{harness.ratio(result, direct):.2f}**" for result in (ours, client))
        lines.append(f"| {name} | {direct.rows:,} | {times} | {ratios} |")
    return lines


def _load(postgres: Postgres, rows: int) -> None:
    postgres.run(
        "CREATE TABLE readings (id bigint PRIMARY KEY, site text, mass double precision, day date, seen timestamp, "
        "ok boolean, pieces integer)",
        "INSERT INTO readings SELECT i, 'site' || i % 10, (i % 1000) / 7.0, date '2020-01-01' + i % 365, "
        "timestamp '2020-01-01' + i * interval '1 minute', CASE WHEN i % 7 > 0 THEN i % 3 = 0 END, i % 50 "
        f"FROM generate_series(1, {rows}) AS made(i)",
        "ANALYZE readings",
    )


def _product(folder: Path, uri: str) -> Path:
    manifest = {
        "flightmesh": "v1",
        "product": PRODUCT,
        "version": "1.0.0",
        "title": "A live table of PostgreSQL",
        "owner": {"team": "benchmarks"},
        "sources": {"pg": {"type": "postgres", "uri": uri, "mode": "live", "tables": ["readings"], "timeout": "60s"}},
        "models": {"readings": {"from": "pg.readings"}},
        "ports": {"readings": {"model": "readings", "contract": "contracts/readings.odcs.yaml"}},
        "policies": [{"grant": "read", "port": "*", "to": f"role:{tpch.ROLE}"}],
    }
    write_yaml(folder / "product.yaml", manifest)
    write_yaml(folder / "contracts" / "readings.odcs.yaml", contract(PRODUCT, "readings", _COLUMNS))
    return folder


if __name__ == "__main__":
    raise SystemExit(main())

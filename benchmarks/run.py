"""``python -m benchmarks.run --smoke | --full``: one interleaved run of all contestants, and what it leaves behind."""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import harness, report, servers, tpch
from benchmarks.bare_server import load
from benchmarks.contestants import all_contestants
from benchmarks.machine import machine, versions
from benchmarks.workloads import SCALE, cases, parameters

HISTORY = Path(__file__).parent / "history" / "tpch.jsonl"
DOCUMENT = servers.ROOT / "docs" / "benchmarks.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs, prints the tables, and for a full run appends to the history and writes the document. The exit code."""
    options = _options(arguments)
    size: harness.Size = "full" if options.full else "smoke"
    with _work(options.work) as work:
        done = measure(size, work, rounds=options.rounds)
    text = report.markdown(done)
    print(text)
    history = options.history or (HISTORY if size == "full" else None)
    document = options.document or (DOCUMENT if size == "full" else None)
    if history is not None:
        report.append(history, done)
    if document is not None:
        report.write_between(document, text)
    return 0


def measure(size: harness.Size, work: Path, *, rounds: int | None = None) -> report.Run:
    """One run at this size; data, state and logs stay below ``work``. Errors: harness.DisagreementError."""
    started_at = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    _tell("making the data")
    product = tpch.make_product(work, SCALE.at(size))
    with tempfile.TemporaryDirectory(prefix="serve-", dir=work) as scratch:
        served = Path(scratch)
        _tell("building the product")
        with servers.flightmesh_server(product, served) as ours:
            build_s, build_peak = ours.ready_s, ours.peak_mib()
        results, restart_s, serve_peak = _compete(size, product, served, rounds)
        service = report.Service(build_s, build_peak, restart_s, serve_peak, _snapshot_mib(served))
    return report.Run(started_at, size, parameters(size, rounds), versions(), machine(), service, results)


def _compete(
    size: harness.Size, product: Path, served: Path, rounds: int | None
) -> tuple[list[harness.Result], float, int | None]:
    """The results of all contestants, the seconds in which our server started on its snapshot, and its peak memory."""
    data = product / "data"
    with ExitStack() as running:
        _tell("starting the servers")
        bare = running.enter_context(servers.bare_server(data, served / "bare.log"))
        ours = running.enter_context(servers.flightmesh_server(product, served))
        everybody = all_contestants(load(data), bare_uri=bare.uri, our_uri=ours.uri, token=servers.token(served))
        for contestant in everybody:
            running.callback(contestant.close)
        return harness.run(cases(everybody, size, rounds), _tell), ours.ready_s, ours.peak_mib()


def _snapshot_mib(served: Path) -> int:
    return sum(file.stat().st_size for file in (served / "state").rglob("*") if file.is_file()) >> 20


@contextmanager
def _work(given: Path | None) -> Iterator[Path]:
    """The folder for data and state: the given one, which stays, or one that goes."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="flightmesh-benchmarks-") as folder:
        yield Path(folder)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--smoke", action="store_true", help="small sizes: proves that everything runs, measures nothing")
    size.add_argument("--full", action="store_true", help="scale factor 1; appends to the history, writes the document")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds instead of the size's own number")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep the generated data there, and use it again")
    parser.add_argument("--history", type=Path, metavar="FILE", help="append the figures to this file")
    parser.add_argument("--document", type=Path, metavar="FILE", help="write the tables between this file's markers")
    options = parser.parse_args(arguments)
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def _tell(text: str) -> None:
    print(f"-- {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())

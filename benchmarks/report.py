"""What a run leaves behind: lines in the history, and the tables of ``docs/benchmarks.md``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import contestants as who
from benchmarks.harness import Kind, Result, Size, find, ratio

BEGIN = "<!-- benchmarks: begin; written by `python -m benchmarks.run --full` -->"
END = "<!-- benchmarks: end -->"

_COLUMNS = (who.IN_PROCESS, who.BARE_ADBC, who.BARE_FLIGHT, who.OURS_ADBC, who.OURS_FLIGHT, who.OURS_CLIENT)
# Heading, ours, and the yardstick read in the same way.
_RATIOS = (
    ("ours / bare, ADBC", who.OURS_ADBC, who.BARE_ADBC),
    ("ours / bare, pyarrow.flight", who.OURS_FLIGHT, who.BARE_FLIGHT),
    ("ours, ADBC / in-process", who.OURS_ADBC, who.IN_PROCESS),
)
_HEADINGS: Mapping[Kind, str] = {
    "scan": "Rows to Arrow (median, million rows per second)",
    "query": "Aggregates (median)",
    "first": "Time to the first batch (median)",
    "short": "Short statements (p50 / p99)",
}


@dataclass(frozen=True, slots=True)
class Service:
    """What the product costs its server: seconds to ``ready`` with and without a build, peak memory in MiB."""

    build_s: float
    build_peak_mib: int | None
    restart_s: float
    serve_peak_mib: int | None
    snapshot_mib: int


@dataclass(frozen=True, slots=True)
class Run:
    """One run with all that is needed to read its figures. ``started_at`` is in UTC."""

    started_at: str
    size: Size
    parameters: Mapping[str, object]
    versions: Mapping[str, str]
    machine: Mapping[str, object]
    service: Service
    results: Sequence[Result]


def append(history: Path, run: Run) -> None:
    """One JSON line for the service and one for each result, all with the facts of the run."""
    facts = {
        "started_at": run.started_at,
        "size": run.size,
        "parameters": run.parameters,
        "versions": run.versions,
        "machine": run.machine,
    }
    lines = [{"kind": "service", **asdict(run.service), **facts}, *({**_figures(r), **facts} for r in run.results)]
    history.parent.mkdir(parents=True, exist_ok=True)
    with history.open("a", encoding="utf-8") as stream:
        stream.writelines(json.dumps(line) + "\n" for line in lines)


def markdown(run: Run) -> str:
    """The tables of a run, with the facts that they hold for."""
    return "\n".join([*_facts(run), *(line for kind in _HEADINGS for line in _table(kind, run.results))])


def write_between(path: Path, text: str) -> None:
    """Puts the text between the markers of the document. Errors: ValueError where it lacks them."""
    head, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path.name} lacks the markers between which the tables stand.")
    path.write_text(f"{head}{begin}\n{text}\n{end}{tail}", encoding="utf-8")


def _figures(result: Result) -> Mapping[str, object]:
    return {
        "kind": result.kind,
        "workload": result.workload,
        "contestant": result.contestant,
        "executions": len(result.outcomes),
        "rows": result.rows,
        "nbytes": result.nbytes,
        "median_s": round(result.median_s, 6),
        "p99_s": round(result.quantile_s(0.99), 6),
        "low_s": round(result.quantile_s(0.0), 6),
        "high_s": round(result.quantile_s(1.0), 6),
        "result_hash": result.result_hash,
    }


def _facts(run: Run) -> Iterator[str]:
    machine, service = run.machine, run.service
    names = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    yield ""
    yield (
        f"{run.started_at}, {run.size} size: TPC-H scale factor {run.parameters['scale']:g}, "
        f"{run.parameters['rounds']} rounds. Machine: {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['architecture']}, {machine['system']}, shared by client and servers. {names}."
    )
    yield ""
    yield (
        f"Building the product took {service.build_s:.1f} s and {_mib(service.build_peak_mib)} at most; its snapshot "
        f"has {_mib(service.snapshot_mib)}. Starting on that snapshot took {service.restart_s:.1f} s; the server that "
        f"answered all of this held {_mib(service.serve_peak_mib)} at most, mapped files included."
    )


def _table(kind: Kind, results: Iterable[Result]) -> Iterator[str]:
    chosen = [result for result in results if result.kind == kind]
    columns = [name for name in _COLUMNS if any(result.contestant == name for result in chosen)]
    ratios = [entry for entry in _RATIOS if {entry[1], entry[2]} <= set(columns)]
    counted = ["rows"] if kind in ("scan", "query") else []
    yield ""
    yield f"### {_HEADINGS[kind]}"
    yield ""
    yield _line(["", *counted, *columns, *(f"*{heading}*" for heading, _, _ in ratios)])
    yield _line(["---", *["---:"] * (len(counted) + len(columns) + len(ratios))])
    for workload in dict.fromkeys(result.workload for result in chosen):
        row = {name: found for name in columns if (found := find(chosen, workload, name)) is not None}
        rows = [f"{max(result.rows for result in row.values()):,}"] if counted else []
        times = [_cell(row[name]) if name in row else "" for name in columns]
        compared = [f"**{ratio(row[a], row[b]):.2f}**" if a in row and b in row else "" for _, a, b in ratios]
        yield _line([workload, *rows, *times, *compared])


def _cell(result: Result) -> str:
    median = _time(result.median_s)
    if result.kind == "scan":
        return f"{median} · {result.rows_per_s / 1e6:.2f} M/s"
    return median if result.kind != "short" else f"{median} / {_time(result.quantile_s(0.99))}"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def _mib(amount: int | None) -> str:
    return "an unknown amount of memory" if amount is None else f"{amount:,} MiB"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"

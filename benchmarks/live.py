"""What the benchmarks of live ports share: cases that fetch whole results, contracts, and the history."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import duckdb
import pyarrow as pa
from ruamel.yaml import YAML

from benchmarks import harness
from benchmarks.machine import machine, versions
from benchmarks.workloads import result_hash


class Fetches(Protocol):
    """Whoever answers a statement with a whole result."""

    name: str

    def fetch(self, sql: str) -> pa.Table: ...


def fetching(
    name: str, kind: harness.Kind, sql: str, contestant: Fetches, judge: duckdb.DuckDBPyConnection, rounds: int
) -> harness.Case:
    """A case that fetches the statement's whole result, once in every round."""

    def execute() -> harness.Outcome:
        return harness.timed(lambda: contestant.fetch(sql), lambda found: (found.num_rows, found.nbytes))

    return harness.Case(
        name, kind, contestant.name, rounds, 1, execute, lambda: result_hash(contestant.fetch(sql), judge)
    )


def contract(product: str, port: str, columns: Mapping[str, tuple[str, str]]) -> dict[str, object]:
    """A contract; ``columns`` are logical and physical types by name."""
    listed = [
        {"name": name, "logicalType": logical, "physicalType": physical}
        for name, (logical, physical) in columns.items()
    ]
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": f"{product}-{port}",
        "name": port,
        "version": "1.0.0",
        "status": "active",
        "dataProduct": product,
        "schema": [{"name": port, "physicalType": "table", "properties": listed}],
    }


def write_yaml(path: Path, content: object) -> None:
    """The content as the file's own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as stream:
        YAML().dump(content, stream)


def append(history: Path, size: harness.Size, results: Sequence[harness.Result], **facts: float) -> None:
    """One JSON line for the run."""
    figures = [
        {
            "workload": result.workload,
            "contestant": result.contestant,
            "rows": result.rows,
            "median_s": round(result.median_s, 6),
            "result_hash": result.result_hash,
        }
        for result in results
    ]
    line = {"size": size, "versions": versions(), "machine": machine(), **facts, "results": figures}
    history.parent.mkdir(parents=True, exist_ok=True)
    with history.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")

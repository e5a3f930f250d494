"""The whole benchmark at its smallest size, as the command runs it, so that it cannot rot between full runs."""

from __future__ import annotations

import json
import socket
from collections import defaultdict
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from benchmarks import contestants as who
from benchmarks.report import BEGIN, END, write_between
from benchmarks.run import main
from benchmarks.workloads import result_hash

EVERYBODY = {who.IN_PROCESS, who.BARE_ADBC, who.BARE_FLIGHT, who.OURS_ADBC, who.OURS_FLIGHT, who.OURS_CLIENT}
LINEITEM_ROWS = 60_175  # TPC-H at scale factor 0.01


@pytest.mark.client
def test_a_smoke_run_measures_everybody_and_all_agree(tmp_path: Path) -> None:
    """A benchmark that broke unseen would be found out on the day its figures are needed."""
    history, document = tmp_path / "history.jsonl", tmp_path / "benchmarks.md"
    document.write_text(f"Before.\n{BEGIN}\nold\n{END}\nAfter.\n")
    kept = tmp_path / "kept"
    options = ["--smoke", "--work", str(kept), "--history", str(history), "--document", str(document)]
    assert main(options) == 0
    service, *results = [json.loads(line) for line in history.read_text().splitlines()]

    assert service["kind"] == "service"
    assert 0 < service["restart_s"] < 60
    entries: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in results:
        entries[entry["workload"]].append(entry)
    plans = entries.pop("GetFlightInfo of it")
    assert {entry["contestant"] for entry in plans} == {who.BARE_FLIGHT, who.OURS_FLIGHT}
    for found in entries.values():
        assert {entry["contestant"] for entry in found} == EVERYBODY
        assert len({entry["result_hash"] for entry in found}) == 1
        assert len({entry["rows"] for entry in found}) == 1
        assert all(0 < entry["low_s"] <= entry["median_s"] <= entry["high_s"] for entry in found)
    assert entries["lineitem, all rows"][0]["rows"] == LINEITEM_ROWS
    assert entries["TPC-H Q1"][0]["rows"] == 4

    text = document.read_text()
    assert text.startswith("Before.\n")
    assert text.endswith("After.\n")
    assert "old" not in text
    assert f"| lineitem, all rows | {LINEITEM_ROWS:,} |" in text
    for published in (text, history.read_text()):
        assert str(tmp_path) not in published
        assert socket.gethostname() not in published
    assert not list(kept.glob("serve-*")), "state and logs of the servers go with the run"


def test_a_document_without_markers_is_left_alone(tmp_path: Path) -> None:
    """Tables written just anywhere would destroy the text around them."""
    document = tmp_path / "benchmarks.md"
    document.write_text("No markers.\n")
    with pytest.raises(ValueError, match=r"benchmarks\.md lacks the markers"):
        write_between(document, "tables")
    assert document.read_text() == "No markers.\n"


def test_the_result_hash_tells_answers_apart_and_orders_not() -> None:
    """A hash blind to a value, a name or a lost row would let a wrong answer compete; rows may come in any order."""
    table = pa.table({"a": [1, 2, 2], "b": ["x", None, "y"], "c": [0.1, 0.2, 0.3]})
    same = [table.take([2, 0, 1]), table.set_column(2, "c", pa.array([0.1 + 1e-15, 0.2, 0.3]))]
    other = [
        table.slice(0, 2),
        table.rename_columns(["a", "b", "d"]),
        table.set_column(0, "a", pa.array([1, 2, 3])),
        table.set_column(1, "b", pa.array(["x", "", "y"])),
        table.set_column(0, "a", table.column("a").cast("int32")),
        pa.concat_tables([table, table.slice(0, 1)]),
    ]
    with duckdb.connect(":memory:") as judge:
        expected = result_hash(table, judge)
        assert [result_hash(entry, judge) for entry in same] == [expected] * len(same)
        assert expected not in {result_hash(entry, judge) for entry in other}

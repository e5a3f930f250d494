"""The benchmark of live Polars ports at its smallest size, so that it cannot rot between full runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.polars_live import IN_POLARS, IN_SQL, main


@pytest.mark.client
def test_both_models_give_the_same_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Times of different answers would be compared; and the benchmark would be found broken when it is needed."""
    history = tmp_path / "history.jsonl"
    assert main(["--smoke", "--work", str(tmp_path / "work"), "--history", str(history)]) == 0
    (run,) = [json.loads(line) for line in history.read_text().splitlines()]
    answers: dict[str, dict[str, tuple[int, str]]] = {}
    for result in run["results"]:
        answers.setdefault(result["workload"], {})[result["contestant"]] = (result["rows"], result["result_hash"])
        assert result["median_s"] > 0
    assert len(answers) == 4
    for found in answers.values():
        assert found[IN_SQL] == found[IN_POLARS]
        assert found[IN_SQL][0] > 0
    assert run["cold_s"] > 0
    assert str(tmp_path) not in history.read_text() + capsys.readouterr().out

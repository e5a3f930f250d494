"""The benchmark of live PostgreSQL ports at its smallest size, so that it cannot rot between full runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.contestants import OURS_CLIENT
from benchmarks.postgres_live import DIRECT, OURS, main
from tests.postgres import find_postgres


@pytest.mark.client
@pytest.mark.postgres
def test_both_sides_give_the_same_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Times of different answers would be compared; and the benchmark would be found broken when it is needed."""
    if find_postgres() is None:
        pytest.skip("needs a PostgreSQL server (apt-get install postgresql)")
    history = tmp_path / "history.jsonl"
    assert main(["--smoke", "--history", str(history)]) == 0
    (run,) = [json.loads(line) for line in history.read_text().splitlines()]
    answers: dict[str, dict[str, tuple[int, str]]] = {}
    for result in run["results"]:
        answers.setdefault(result["workload"], {})[result["contestant"]] = (result["rows"], result["result_hash"])
    assert len(answers) == 5
    for found in answers.values():
        assert found[DIRECT] == found[OURS] == found[OURS_CLIENT]
    assert "all rows" in capsys.readouterr().out

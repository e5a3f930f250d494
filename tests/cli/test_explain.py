"""``explain``: what people and scripts see of how a statement would be answered."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from .conftest import Done

if TYPE_CHECKING:
    from tests.conftest import ServedBy

CommandLine = Callable[..., Done]
SQL = "SELECT arm_name, patients FROM clinical.trials.arms"


def test_people_see_engine_relations_policy_and_lineage(flightmesh: CommandLine, server: ServedBy) -> None:
    """Whoever wonders why a statement is slow, or what is missing from it, would have to guess."""
    done = flightmesh("explain", SQL, "--uri", server.uri)
    assert done.code == 0
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert lines[0] == "engine duckdb"
    assert any(line.startswith("reads clinical.trials.arms: rows read at 20") for line in lines)
    assert "policy: All rows and columns that are offered, as they are." in lines
    assert "from flightmesh:clinical.trials actg175:data/actg175.csv.gz" in lines


def test_a_policy_is_told_in_words(flightmesh: CommandLine, server: ServedBy) -> None:
    """A reader would take banded ages for exact ones."""
    sql = "SELECT age FROM clinical.trials.patients"
    done = flightmesh("explain", sql, "--uri", server.uri, "--token", server.tokens["analyst"])
    assert "Masked columns: age." in done.out
    assert "pidnum" not in done.out


def test_scripts_get_one_document(flightmesh: CommandLine, server: ServedBy) -> None:
    """A script would have to read text meant for people."""
    done = flightmesh("explain", "--json", "-", "--uri", server.uri, stdin=SQL)
    found = json.loads(done.out)
    assert found["engine"] == "duckdb"
    assert found["relations"][0]["table"] == "clinical.trials.arms"
    assert (found["pushed_whole"], found["sources"]) == (False, [])


def test_what_cannot_run_cannot_be_explained(flightmesh: CommandLine, server: ServedBy) -> None:
    """An explanation of a statement that will be refused would send people the wrong way."""
    done = flightmesh("explain", "SELECT * FROM clinical.trials.arm", "--uri", server.uri)
    assert done.code != 0
    assert "Did you mean clinical.trials.arms?" in done.err
    assert done.out == ""

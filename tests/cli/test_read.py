"""``query`` and ``catalog`` against the served bundled products."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from pyarrow import csv, parquet

if TYPE_CHECKING:
    from tests.cli.conftest import Done
    from tests.conftest import ServedBy

ARMS = "SELECT arms, patients FROM clinical.trials.arms ORDER BY arms"
NOBODY = "grpc://127.0.0.1:1"


@pytest.fixture
def query(server: ServedBy, flightmesh: Callable[..., Done]) -> Callable[..., Done]:
    """``flightmesh query`` on the served products."""
    return lambda *arguments, **options: flightmesh("query", *arguments, "--uri", server.uri, **options)


def test_a_table_is_what_people_get(query: Callable[..., Done]) -> None:
    """The first thing a stranger runs."""
    done = query("SELECT count(*) AS flights FROM aviation.flights.flights")
    assert (done.code, done.err) == (0, "")
    assert [line.strip() for line in done.out.splitlines()] == ["flights", "───────", "336776", "(1 row)"]


def test_every_format_holds_the_same_rows(query: Callable[..., Done]) -> None:
    """Scripts choose the format, not the data."""
    expected = json.loads(query(ARMS, "--format", "json").out)
    assert sum(row["patients"] for row in expected) == 2139
    assert csv.read_csv(io.BytesIO(query(ARMS, "--format", "csv").raw)).to_pylist() == expected
    assert pa.ipc.open_stream(query(ARMS, "--format", "arrow").raw).read_all().to_pylist() == expected
    assert parquet.read_table(io.BytesIO(query(ARMS, "--format", "parquet").raw)).to_pylist() == expected


@pytest.mark.parametrize("ending", ["csv", "json", "arrow", "parquet"])
def test_a_file_gets_the_format_of_its_ending(query: Callable[..., Done], tmp_path: Path, ending: str) -> None:
    """A Parquet file with a table for people inside would be found out much later."""
    file = tmp_path / f"arms.{ending}"
    assert query(ARMS, "-o", file).out == ""
    assert file.read_bytes() == query(ARMS, "--format", ending).raw
    assert list(tmp_path.iterdir()) == [file]


def test_a_table_can_be_a_file(query: Callable[..., Done], tmp_path: Path) -> None:
    """Whoever redirects and whoever names the file get the same."""
    assert query(ARMS, "-o", tmp_path / "arms.txt").code == 0
    assert (tmp_path / "arms.txt").read_text() == query(ARMS).out


def test_a_failed_query_leaves_the_old_file(query: Callable[..., Done], tmp_path: Path) -> None:
    """Half a file, or none, in place of yesterday's is worse than yesterday's."""
    file = tmp_path / "old.csv"
    file.write_text("old")
    done = query("SELECT CAST(carrier AS INTEGER) AS n FROM aviation.flights.flights", "-o", file)
    assert done.code == 1
    assert done.err.startswith("error: invalid: ")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_sql_may_come_from_standard_input(query: Callable[..., Done]) -> None:
    """Long statements live in files."""
    assert query("-", "--format", "csv", stdin=ARMS).out == query(ARMS, "--format", "csv").out
    assert query("-", "--user", "ada", stdin=ARMS).code == 2


def test_a_long_result_is_cut_for_people_only(query: Callable[..., Done]) -> None:
    """The cut must be told, and must not happen to programs."""
    wide = "SELECT month FROM aviation.flights.flights"
    done = query(wide)
    assert done.code == 0
    assert "(1000 or more rows)" in done.out
    assert "Only the first 1000 rows are shown" in done.err
    assert query(wide, "--format", "csv").out.count("\n") == 336_777


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["SELEC 1"], 1, "error: invalid: The statement does not parse"),
        (["SELECT * FROM aviation.flights.flihts"], 1, "error: not_found: There is no table"),
        (["SELECT 1", "--token", "wrong"], 4, "error: unauthenticated: "),
        (["SELECT INTERVAL 1 DAY", "--format", "parquet"], 1, "error: unsupported: parquet cannot hold"),
        (["SELECT 1", "-o", "no/such/folder/x.csv"], 1, "error: invalid: no/such/folder/x.csv cannot be written"),
        (["SELECT 1", "--format", "xml"], 2, "xml"),
        (["SELECT 1", "--timeout", "0"], 2, "--timeout"),
    ],
)
def test_failures_are_one_line_and_a_number(
    query: Callable[..., Done], arguments: list[str], code: int, error: str
) -> None:
    """Scripts read the number, people the line; a traceback helps neither."""
    done = query(*arguments)
    assert done.code == code
    assert error in done.err
    assert "Traceback" not in done.err


def test_no_server_is_3_and_names_the_address(flightmesh: Callable[..., Done]) -> None:
    """A script that waits for its server has to tell this from a wrong query."""
    for command in (["query", "SELECT 1"], ["catalog"]):
        done = flightmesh(*command, "--uri", NOBODY)
        assert done.code == 3
        assert f"error: unavailable: No server answers at {NOBODY}." in done.err


def test_catalog_lists_what_the_caller_may_read(server: ServedBy, flightmesh: Callable[..., Done]) -> None:
    """A table that only stewards see must not be told to others."""
    anonymous = flightmesh("catalog", "--uri", server.uri)
    assert "aviation.flights 1.0.0  Flights from New York City in 2013" in anonymous.out
    assert "patients " not in anonymous.out.replace("patients whoever", "")
    steward = flightmesh("catalog", "--uri", server.uri, "--token", server.tokens["steward"], "--json")
    (trials,) = [p for p in json.loads(steward.out)["products"] if p["name"] == "clinical.trials"]
    assert [port["name"] for port in trials["ports"]] == ["arms", "patients"]
    assert {"name", "type", "nullable", "description", "unit", "classification"} == set(
        trials["ports"][0]["columns"][0]
    )


def test_a_reader_that_goes_away_ends_the_query_silently(server: ServedBy) -> None:
    """``| head`` is how people look at the first rows."""
    command = [sys.executable, "-m", "flightmesh", "query", "FROM aviation.flights.flights", "--format", "csv"]
    with subprocess.Popen(
        [*command, "--uri", server.uri], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b'"year","month"')
        process.stdout.close()
        errors = process.stderr.read()
    assert (process.returncode, errors) == (141, b"")

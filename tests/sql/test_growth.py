"""Constants are evaluated while a statement is bound, where nothing can stop it: what could grow is refused before."""

from __future__ import annotations

import pytest

from flightmesh.config import Limits
from flightmesh.errors import FlightmeshError
from flightmesh.sql.ast import parse
from flightmesh.sql.gate import survey

LIMITS = Limits()


def refusals(sql: str) -> list[str]:
    """What the gate refuses of the statement."""
    tree = parse(sql, bytes_max=LIMITS.sql_bytes_max, depth_max=LIMITS.bracket_depth_max)
    return [str(refusal) for refusal in survey(tree).refusals]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT len(repeat('x', 2000000000))",
        "SELECT len(repeat('x', 20000 * 100000))",
        "SELECT repeat(repeat('x', 100000), 100000)",
        "SELECT lpad('x', 1000000001, 'y')",
        "SELECT len(range(3000000))",
        "SELECT list_resize([1], 1000000000)",
        "SELECT format('{:>1000000000}', 'x')",
        "SELECT printf('%1000000000d', 1)",
        "SELECT repeat('x', CAST('2000000000' AS BIGINT))",
    ],
)
def test_constants_that_could_grow_are_refused(sql: str) -> None:
    """One such statement of anybody made everybody of the role set wait, and took gigabytes."""
    (refusal, *_) = refusals(sql)
    assert "grow too large" in refusal
    assert "bind them as parameters" in refusal


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT repeat('ab', 3), lpad('7', 3, '0'), list_resize([1, 2], 5), range(10)",
        "SELECT repeat('x', n * 1000) FROM t",
        "SELECT repeat('x', ?)",
        "SELECT * FROM range(10000000000) LIMIT 5",
        "SELECT format('{:>10.2f} {}', x, 'a') FROM t",
        "SELECT repeat([1, 2], 3)",
    ],
)
def test_ordinary_calls_pass(sql: str) -> None:
    """Padding and repeating are everyday work; sizes that come from data are stopped while they run."""
    assert refusals(sql) == []


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT " + ".".join(["x"] * 100), "64 parts"),
        (" UNION ALL ".join(["SELECT 1"] * 300), "256 operands"),
        ("SELECT 1 FROM " + ", ".join(f"t t{i}" for i in range(300)), "256 relations"),
    ],
)
def test_what_the_binder_takes_the_square_of_is_bounded(sql: str, said: str) -> None:
    """A name of 20,000 parts took the binder more than 100 s, during which nobody else was served."""
    assert any(said in refusal for refusal in refusals(sql))


@pytest.mark.parametrize("chain", ["@ ", "! ", "- ", "@/**/"])
def test_a_chain_of_signs_does_not_reach_the_parser(chain: str) -> None:
    """36,000 of them end the process inside DuckDB's parser: anybody could stop the server with one statement."""
    with pytest.raises(FlightmeshError, match="200 brackets or signs"):
        refusals("SELECT " + chain * 36_000 + "1")

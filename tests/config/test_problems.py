"""Tests of flightmesh.config.problems."""

from __future__ import annotations

import pytest

from flightmesh.config.problems import Problems
from flightmesh.errors import FlightmeshError


def test_nothing_wrong_raises_nothing() -> None:
    """A good configuration passes."""
    Problems().raise_if_any()


def test_one_problem_is_one_sentence() -> None:
    """One mistake does not need a heading."""
    problems = Problems()
    problems.unknown("f.toml", "server.hst", ["server.host", "server.port"])
    with pytest.raises(FlightmeshError) as caught:
        problems.raise_if_any()
    assert caught.value.message == "f.toml: server.hst is not known. Did you mean server.host?"


def test_long_values_are_cut() -> None:
    """A megabyte written where a number belongs does not come back as an error text."""
    problems = Problems()
    problems.wrong("f", "k", expected="a number", value="x" * 1_000_000)
    with pytest.raises(FlightmeshError) as caught:
        problems.raise_if_any()
    assert len(caught.value.message) < 200

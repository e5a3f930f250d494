"""Lengths of time as authors write them."""

from __future__ import annotations

import pytest

from flightmesh.product.durations import EXAMPLES, seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [("500ms", 0.5), ("4s", 4.0), ("15m", 900.0), ("2h", 7_200.0), ("30d", 2_592_000.0), ("1w", 604_800.0)],
)
def test_lengths(text: str, expected: float) -> None:
    """A timeout or a renewal that is read wrongly is wrong by a factor of sixty."""
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "text", ["", "4", "s", "4 s", "4S", "-4s", "1.5h", "0s", "0ms", "4s\n", "4sm", "1h30m", "9999999999s"]
)
def test_what_is_no_length(text: str) -> None:
    """What cannot be meant is told of by the checks, and never read as something near it."""
    assert seconds(text) is None


def test_the_examples_are_lengths() -> None:
    """The help would show what is refused."""
    words = EXAMPLES.removeprefix("Write for example ").rstrip(".").split(", ")
    assert all(seconds(word) for word in words)

"""The words in which every source fails."""

from __future__ import annotations

from flightmesh.errors import ErrorCode
from flightmesh.sources.base import invalid, unavailable


def test_failures_name_the_source_and_carry_their_code() -> None:
    """An operator with ten sources would not know which one to look at."""
    assert (invalid("weather", "is odd.").code, str(invalid("weather", "is odd.", "Look."))) == (
        ErrorCode.INVALID,
        "Source weather: is odd. Look.",
    )
    assert unavailable("weather", "is gone.").code is ErrorCode.UNAVAILABLE

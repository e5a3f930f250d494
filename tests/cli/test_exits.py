"""The table of exit codes."""

from __future__ import annotations

import pytest

from flightmesh.cli import exits
from flightmesh.errors import ErrorCode


def test_the_numbers_are_those_that_scripts_know() -> None:
    """A changed number breaks scripts that nobody here has seen."""
    assert (exits.OK, exits.FAILED, exits.USAGE, exits.UNAVAILABLE, exits.DENIED) == (0, 1, 2, 3, 4)
    assert (exits.INTERRUPTED, exits.BROKEN_PIPE) == (130, 141)


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_ends_with_a_documented_number(code: ErrorCode) -> None:
    """An error that ended with 0 would pass for success, one with an unknown number could not be looked up."""
    number = exits.exit_code(code)
    assert number not in (exits.OK, exits.USAGE)
    assert exits.MEANINGS[number]


def test_what_can_be_tried_again_is_told_from_what_cannot() -> None:
    """Scripts retry on 3, ask for credentials on 4, and give up on 1."""
    assert exits.exit_code(ErrorCode.UNAVAILABLE) == exits.exit_code(ErrorCode.DEADLINE) == 3
    assert exits.exit_code(ErrorCode.UNAUTHENTICATED) == exits.exit_code(ErrorCode.PERMISSION_DENIED) == 4
    assert exits.exit_code(ErrorCode.INVALID) == exits.exit_code(ErrorCode.NOT_FOUND) == 1

"""Statements that a database refuses for what they say, and not because the database or its tables are amiss."""

from __future__ import annotations

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.sources.drivers import DriverFailure

# SQLSTATE classes: feature not supported, data exception, syntax error or access rule violation.
_CLASSES = ("0A", "22", "42")


class StatementRefused(FlightmeshError):  # noqa: N818 - an outcome that its caller acts upon
    """A whole statement that has brought no row yet, and would bring one to whoever reads the tables themselves."""


def refusal(source: str, failure: DriverFailure) -> StatementRefused | None:
    """The refusal that the database's answer is; None where the answer speaks of something else."""
    is_refused = failure.is_refusal if failure.sqlstate is None else failure.sqlstate.startswith(_CLASSES)
    if failure.is_lost or not is_refused:
        return None
    code = f" (SQLSTATE {failure.sqlstate})" if failure.sqlstate else ""
    message = f"Source {source}: does not take the statement as a whole{code}."
    return StatementRefused(ErrorCode.INVALID, message, hint="Ask for less of it at a time.")

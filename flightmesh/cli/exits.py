"""The exit codes of ``flightmesh``, in one table. Scripts rely on them: a number never changes its meaning."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from flightmesh.errors import ErrorCode

OK = 0
FAILED = 1
USAGE = 2
UNAVAILABLE = 3
DENIED = 4
INTERRUPTED = 130
BROKEN_PIPE = 141

MEANINGS: Mapping[int, str] = MappingProxyType(
    {
        OK: "done",
        FAILED: "what was asked for failed: a query, a product with problems, an account that is not there",
        USAGE: "wrong usage of the command line",
        UNAVAILABLE: "no server answers, or it cannot answer now",
        DENIED: "the credentials are wrong or missing, or do not permit this",
        INTERRUPTED: "interrupted (Ctrl-C)",
        BROKEN_PIPE: "whoever read the output went away",
    }
)

# Every other code of the closed list is FAILED.
_OTHERS: Mapping[ErrorCode, int] = MappingProxyType(
    {
        ErrorCode.UNAVAILABLE: UNAVAILABLE,
        ErrorCode.EXHAUSTED: UNAVAILABLE,
        ErrorCode.DEADLINE: UNAVAILABLE,
        ErrorCode.UNAUTHENTICATED: DENIED,
        ErrorCode.PERMISSION_DENIED: DENIED,
    }
)


def exit_code(code: ErrorCode) -> int:
    """The exit code of a command that ended with this error."""
    return _OTHERS.get(code, FAILED)

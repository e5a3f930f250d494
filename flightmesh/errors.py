"""The closed list of error codes and the one exception that expected failures raise.

This room knows no transport: doors convert codes to their own status words (``flight/status.py``).
"""

from __future__ import annotations

from enum import StrEnum


class ErrorCode(StrEnum):
    """What went wrong, in the words a client sees. The list is closed: doors map every member."""

    INVALID = "invalid"
    NOT_FOUND = "not_found"
    UNAUTHENTICATED = "unauthenticated"
    PERMISSION_DENIED = "permission_denied"
    UNSUPPORTED = "unsupported"
    UNAVAILABLE = "unavailable"
    EXHAUSTED = "exhausted"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    INTERNAL = "internal"


class FlightmeshError(Exception):
    """An expected failure: a code, one sentence of fact, one sentence of help.

    Neither sentence may hold a path of the server, a secret, or a name that the caller may not see.
    """

    def __init__(self, code: ErrorCode, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling of exceptions.
        return (_rebuild, (self.code, self.message, self.hint))


def _rebuild(code: ErrorCode, message: str, hint: str | None) -> FlightmeshError:
    return FlightmeshError(code, message, hint=hint)

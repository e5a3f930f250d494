"""What a failed call means: pyarrow's exceptions, with whatever text a server or the network put into them, become
FlightmeshError again.
"""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.flight as fl

from flightmesh.errors import ErrorCode, FlightmeshError

_TEXT_CHARACTERS_MAX = 1_024

# What our own servers send (flight/status.py), wherever it stands in what pyarrow makes of it.
_TOLD = re.compile(r"\b(" + "|".join(code.value for code in ErrorCode) + r"): (.*?) \[id ([0-9a-f]{1,64})\]", re.DOTALL)
# What pyarrow adds around and behind a text.
_DECORATION = re.compile(r"\A(?:Flight [\w ]+ error, with message: )?(.*?)(?:\. Detail: .*)?\Z", re.DOTALL)

# The first class that fits decides. FlightError and ArrowException stand for everything else.
_CODES: tuple[tuple[type[BaseException], ErrorCode], ...] = (
    (fl.FlightUnauthenticatedError, ErrorCode.UNAUTHENTICATED),
    (fl.FlightUnauthorizedError, ErrorCode.PERMISSION_DENIED),
    (fl.FlightUnavailableError, ErrorCode.UNAVAILABLE),
    (fl.FlightTimedOutError, ErrorCode.DEADLINE),
    (fl.FlightCancelledError, ErrorCode.CANCELLED),
    (pa.ArrowCancelled, ErrorCode.CANCELLED),
    (pa.ArrowInvalid, ErrorCode.INVALID),
    (pa.ArrowKeyError, ErrorCode.NOT_FOUND),
    (pa.ArrowNotImplementedError, ErrorCode.UNSUPPORTED),
)


def failure(error: Exception, uri: str) -> FlightmeshError:
    """The error that the server sent, or what the failed call means when it sent none."""
    if told := _TOLD.search(str(error)):
        code = ErrorCode(told[1])
        hint = f"The server's log has it under {told[3]}." if code is ErrorCode.INTERNAL else None
        return FlightmeshError(code, told[2], hint=hint)
    code = next((code for kind, code in _CODES if isinstance(error, kind)), ErrorCode.INTERNAL)
    if code is ErrorCode.UNAVAILABLE:
        return _unreachable(uri, str(error))
    if code is ErrorCode.DEADLINE:
        return FlightmeshError(code, f"{uri} did not answer in time.", hint="Ask for less, or allow more seconds.")
    found = _DECORATION.match(str(error))
    text = " ".join((found[1] if found else str(error)).split())[:_TEXT_CHARACTERS_MAX]
    return FlightmeshError(code, text or "The call failed.")


def _unreachable(uri: str, text: str) -> FlightmeshError:
    hint = "Start one with `flightmesh serve`, or give its address."
    if "handshake failed" in text.lower() or "certificate" in text.lower():
        hint = "TLS failed: compare grpc:// with grpc+tls://, and the certificate with the roots that are trusted."
    elif "resolving" in text:
        hint = "The host name is not known."
    return FlightmeshError(ErrorCode.UNAVAILABLE, f"No server answers at {uri}.", hint=hint)

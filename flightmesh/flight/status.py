"""The one door by which errors leave.

pyarrow sends the server's traceback to the client for every exception that is not a Flight error, and gives true gRPC
codes for INVALID, NOT_FOUND and UNSUPPORTED only to Arrow's own classes. So every RPC and every stream runs under
this guard: it logs the whole with a correlation id, and raises, outside the ``except``, one exception with one line.
``no_tracebacks`` keeps the Arrow classes to that line.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import pyarrow as pa
import pyarrow.flight as fl

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.telemetry import count, facts, new_correlation_id

log = logging.getLogger(__name__)

TEXT_BYTES_MAX = 1_024

# gRPC's ALREADY_EXISTS and RESOURCE_EXHAUSTED cannot be reached from pyarrow: EXHAUSTED goes out as UNAVAILABLE with
# a hint to retry.
EXCEPTIONS: dict[ErrorCode, type[Exception]] = {
    ErrorCode.INVALID: pa.ArrowInvalid,
    ErrorCode.NOT_FOUND: pa.ArrowKeyError,
    ErrorCode.UNSUPPORTED: pa.ArrowNotImplementedError,
    ErrorCode.UNAUTHENTICATED: fl.FlightUnauthenticatedError,
    ErrorCode.PERMISSION_DENIED: fl.FlightUnauthorizedError,
    ErrorCode.UNAVAILABLE: fl.FlightUnavailableError,
    ErrorCode.EXHAUSTED: fl.FlightUnavailableError,
    ErrorCode.DEADLINE: fl.FlightTimedOutError,
    ErrorCode.CANCELLED: fl.FlightCancelledError,
    ErrorCode.INTERNAL: fl.FlightInternalError,
}
_ARROW_CLASSES = (pa.ArrowInvalid, pa.ArrowKeyError, pa.ArrowNotImplementedError)
# What our own client reads back out of a text.
CODES = {code.value: code for code in ErrorCode}

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


@contextmanager
def no_tracebacks() -> Iterator[None]:
    """What pyarrow sends of an exception to a client is its traceback; this leaves one line."""
    before = getattr(sys, "tracebacklimit", None)
    sys.tracebacklimit = 0
    try:
        yield
    finally:
        if before is None:
            del sys.tracebacklimit
        else:
            sys.tracebacklimit = before


def guarded(handler: Callable[P, R]) -> Callable[P, R]:
    """The handler of an RPC with every error converted."""

    @functools.wraps(handler)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return handler(*args, **kwargs)
        except Exception as error:  # The door: nothing that is raised below may leave as it is.
            failure = outward(error, handler.__name__)
        raise failure

    return call


def guarded_stream(stream: Iterator[T], name: str) -> Iterator[T]:
    """The stream with every error converted; closing it closes the inner stream."""
    failure: Exception | None = None
    try:
        yield from stream
    except Exception as error:  # The door, as above.
        failure = outward(error, name)
    if failure is not None:
        raise failure


def outward(error: Exception, where: str) -> Exception:
    """The exception that a client gets for this one. What is not expected becomes INTERNAL and is logged whole."""
    identity = new_correlation_id()
    expected = error if isinstance(error, FlightmeshError) else None
    code = expected.code if expected else ErrorCode.INTERNAL
    count(f"errors.{code.value}")
    text = str(expected) if expected else "The server failed. Its log has the details."
    sent = _line(f"{code.value}: {text}", identity)
    if expected is None or code is ErrorCode.INTERNAL:
        log.error("%s.failed", where, exc_info=error, extra=facts(id=identity, code=code.value))
    else:
        # As it is sent, so that the log shows what clients were told.
        log.info("%s.refused: %s", where, sent, extra=facts(id=identity, code=code.value))
    return EXCEPTIONS[code](sent)


def for_get_schema(failure: Exception) -> Exception:
    """The exception for GetSchema, whose handler pyarrow lets answer with Arrow's own classes only."""
    if type(failure) in _ARROW_CLASSES:
        return failure
    plain: Exception = pa.ArrowInvalid(str(failure))
    return plain


def _line(text: str, identity: str) -> str:
    """One line within the cap, closed by the id under which the log has the whole."""
    tail = f" [id {identity}]"
    flat = " ".join(text.split())
    kept = flat.encode()[: TEXT_BYTES_MAX - len(tail.encode())].decode(errors="ignore")
    return kept + tail

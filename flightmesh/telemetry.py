"""Spans, counters, correlation ids and log formats: what the server tells its operator about itself.

Standard library only. It exports nothing: whoever wants metrics elsewhere reads ``counters()``. Facts must not hold
secrets.
"""

from __future__ import annotations

import json as json_lines
import logging
import secrets
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import TextIO

COUNTER_NAMES_MAX = 1_000
OVERFLOW_COUNTER = "telemetry.names_over_limit"

# Negative: the innermost frames. Explicit, because the server sets sys.tracebacklimit = 0 to keep tracebacks from
# clients, and that setting would otherwise empty the log as well.
_TRACEBACK_LIMIT = -1_000

_log = logging.getLogger("flightmesh.span")
_counters: dict[str, int] = {}
_counters_lock = threading.Lock()

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def new_correlation_id() -> str:
    """Sixteen hexadecimal digits that tie what a client was told to what the log holds."""
    return secrets.token_hex(8)


def facts(**values: object) -> dict[str, dict[str, object]]:
    """The ``extra=`` argument of a log call: these values appear as fields of the line."""
    return {"facts": values}


def count(name: str, n: int = 1) -> None:
    """Add ``n`` to a counter; names beyond COUNTER_NAMES_MAX are added up under OVERFLOW_COUNTER."""
    with _counters_lock:
        if name not in _counters and len(_counters) >= COUNTER_NAMES_MAX:
            name = OVERFLOW_COUNTER
        _counters[name] = _counters.get(name, 0) + n


def counters() -> Mapping[str, int]:
    """A copy of all counters of this process."""
    with _counters_lock:
        return dict(_counters)


class Span:
    """A timed piece of work. ``add`` puts facts that are known only later on the closing line."""

    __slots__ = ("_began", "_event", "_facts")

    def __init__(self, event: str, values: dict[str, object]) -> None:
        self._event = event
        self._facts = values
        self._began = 0.0

    def add(self, **values: object) -> None:
        self._facts.update(values)

    def __enter__(self) -> Span:
        self._began = time.perf_counter()
        self._tell("started")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.add(duration_s=round(time.perf_counter() - self._began, 6))
        if kind is None:
            self._tell("complete")
        else:
            # The type alone: whoever answers the error logs it, once.
            self.add(error=kind.__name__)
            self._tell("failed")

    def _tell(self, ending: str) -> None:
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug("%s.%s", self._event, ending, extra=facts(**self._facts))


def span(event: str, /, **values: object) -> Span:
    """A context manager that logs ``event.started``, then ``event.complete`` or ``event.failed``, at DEBUG.

    The closing line holds ``duration_s``, in seconds.
    """
    return Span(event, values)


class PlainFormatter(logging.Formatter):
    """One line per record for people; a traceback follows whole, whatever ``sys.tracebacklimit`` says."""

    def format(self, record: logging.LogRecord) -> str:
        moment = _moment(record).strftime("%H:%M:%S.%f")[:-3]
        fields = "".join(f" {name}={_plain(value)}" for name, value in _facts_of(record).items())
        # Line ends in a message would let a client's text pass for a log line of ours.
        line = f"{moment} {record.levelname:<7} {record.name}: {_one_line(record.getMessage())}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if _has_error(record) and record.exc_info else line

    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802 - the name is the base class's
        return _whole_traceback(ei)


class JsonFormatter(logging.Formatter):
    """One JSON object per record: time (UTC), level, logger, message, facts, and the whole traceback of an error."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            **_facts_of(record),
            "time": _moment(record).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if _has_error(record) and record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json_lines.dumps(line, default=str, ensure_ascii=True)

    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802 - the name is the base class's
        return _whole_traceback(ei)


def configure_logging(*, json: bool, level: int | str, stream: TextIO | None = None) -> None:
    """Send the log to ``stream`` (None: standard error): ours from ``level`` up, other libraries' from WARNING up."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if json else PlainFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("flightmesh").setLevel(level)


def _whole_traceback(ei: _ExcInfo) -> str:
    return "".join(traceback.format_exception(ei[0], ei[1], ei[2], limit=_TRACEBACK_LIMIT)).rstrip("\n")


def _has_error(record: logging.LogRecord) -> bool:
    return record.exc_info is not None and record.exc_info[0] is not None


def _facts_of(record: logging.LogRecord) -> Mapping[str, object]:
    values = getattr(record, "facts", None)
    return values if isinstance(values, Mapping) else {}


def _moment(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _plain(value: object) -> str:
    text = str(value)
    return text if text and text.isprintable() and " " not in text else json_lines.dumps(text)


def _one_line(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)

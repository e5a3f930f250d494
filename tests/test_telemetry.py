"""Tests of flightmesh.telemetry."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from flightmesh import telemetry


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """A text stream that gets JSON lines at DEBUG; logging is put back afterwards."""
    root, ours = logging.getLogger(), logging.getLogger("flightmesh")
    before = (list(root.handlers), root.level, ours.level)
    # basicConfig(force=True) closes the handlers it removes, and those are pytest's.
    root.handlers.clear()
    stream = io.StringIO()
    telemetry.configure_logging(json=True, level="DEBUG", stream=stream)
    yield stream
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


@pytest.fixture
def no_tracebacks() -> Iterator[None]:
    """The server's own setting, which keeps tracebacks from clients."""
    sys.tracebacklimit = 0
    yield
    del sys.tracebacklimit


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail_inside() -> None:
    try:
        int("x")
    except ValueError as error:
        raise KeyError("outer") from error


def record_of_failure() -> logging.LogRecord:
    try:
        fail_inside()
    except KeyError:
        return logging.LogRecord("flightmesh", logging.ERROR, __file__, 1, "failed\nFAKE LINE", None, sys.exc_info())
    raise AssertionError


@pytest.mark.usefixtures("no_tracebacks")
@pytest.mark.parametrize("formatter", [telemetry.JsonFormatter(), telemetry.PlainFormatter()])
def test_the_log_holds_the_whole_traceback(formatter: logging.Formatter) -> None:
    """With sys.tracebacklimit = 0 an operator would otherwise see no line of code at all."""
    text = formatter.format(record_of_failure())
    assert 'int("x")' in text.replace('\\"', '"')
    assert "in record_of_failure" in text
    assert "in fail_inside" in text
    assert "direct cause" in text


def test_a_message_cannot_forge_a_line() -> None:
    """A client's text with a line end must not look like a log line of the server."""
    record = logging.LogRecord("flightmesh", logging.INFO, __file__, 1, "a\nFAKE %s", ("\x1b[2J",), None)
    for formatter in (telemetry.JsonFormatter(), telemetry.PlainFormatter()):
        text = formatter.format(record)
        assert "\n" not in text
        assert "\x1b" not in text


def test_a_span_tells_start_and_end(log: io.StringIO) -> None:
    """An operator finds what took how long, with the facts known at the start and later."""
    with telemetry.span("engine.execute", rows=3) as span:
        span.add(batches=1)
    started, complete = lines(log)
    assert (started["message"], started["rows"]) == ("engine.execute.started", 3)
    assert (complete["message"], complete["rows"], complete["batches"]) == ("engine.execute.complete", 3, 1)
    duration = complete["duration_s"]
    assert isinstance(duration, float)
    assert 0 <= duration < 60


def test_a_failed_span_names_the_error_and_lets_it_pass(log: io.StringIO) -> None:
    """A span that swallowed an error would turn a failure into an empty result."""
    with pytest.raises(ValueError, match="no"), telemetry.span("x"):
        raise ValueError("no")
    assert [line["message"] for line in lines(log)] == ["x.started", "x.failed"]
    assert lines(log)[1]["error"] == "ValueError"


def test_facts_cannot_replace_the_fields_of_a_line(log: io.StringIO) -> None:
    """A fact called ``level`` must not change what a log collector filters by."""
    logging.getLogger("flightmesh.x").error("m", extra=telemetry.facts(level="debug", why=ValueError("v")))
    assert lines(log)[0]["level"] == "error"
    assert lines(log)[0]["why"] == "v"


def test_other_libraries_are_quiet(log: io.StringIO) -> None:
    """DEBUG is about this server; what libraries say at DEBUG may hold anything."""
    logging.getLogger("other").info("chatter")
    logging.getLogger("other").warning("trouble")
    assert [line["message"] for line in lines(log)] == ["trouble"]


def test_plain_lines_carry_facts() -> None:
    """Somebody at a terminal sees the facts beside the message, quoted where they hold blanks."""
    record = logging.LogRecord("flightmesh", logging.INFO, __file__, 1, "ready", None, None)
    record.facts = {"port": 8815, "who": "a b"}
    assert telemetry.PlainFormatter().format(record).endswith('flightmesh: ready port=8815 who="a b"')


def test_counters_add_up_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A counter named after something a client chose must not grow without end."""
    monkeypatch.setattr(telemetry, "_counters", {})
    telemetry.count("a")
    telemetry.count("a", 2)
    for number in range(telemetry.COUNTER_NAMES_MAX + 50):
        telemetry.count(f"n{number}")
    found = telemetry.counters()
    assert found["a"] == 3
    assert len(found) == telemetry.COUNTER_NAMES_MAX + 1
    assert found[telemetry.OVERFLOW_COUNTER] == 51


def test_correlation_ids_differ() -> None:
    """Two failures with one id could not be told apart in the log."""
    ids = {telemetry.new_correlation_id() for _ in range(100)}
    assert len(ids) == 100
    assert {len(id_) for id_ in ids} == {16}

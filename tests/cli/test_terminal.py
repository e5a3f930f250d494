"""Errors and progress as people see them."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys

import pytest

from flightmesh.cli.terminal import print_error, printable, progress
from flightmesh.errors import ErrorCode, FlightmeshError

# What a terminal is told to change a colour.
COLOUR = b"\x1b["


def test_control_characters_are_shown_and_not_obeyed() -> None:
    """A value of a stranger's table must not redraw the reader's terminal."""
    assert printable("a\x1b[31mb\rc\nd") == r"a\x1b[31mb\rc\nd"
    assert printable("naïve 日本") == "naïve 日本"


def test_an_error_is_code_fact_and_hint(capsys: pytest.CaptureFixture[str]) -> None:
    """People look for the fact first; square brackets in it are no markup of ours."""
    print_error(FlightmeshError(ErrorCode.INVALID, "Two [bold] things:\n  a\n  b\x1b", hint="Try\nagain."))
    captured = capsys.readouterr()
    assert captured.err == "error: invalid: Two [bold] things:\n  a\n  b\\x1b\nhint: Try\\nagain.\n"
    assert captured.out == ""


def test_progress_beside_a_terminal_is_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """A log file must not fill up with a turning wheel."""
    with progress(shown=True) as tell:
        tell("loading [a]")
        tell("writing")
    assert capsys.readouterr() == ("", "loading [a]\nwriting\n")


def test_progress_may_be_silent(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json nothing else is printed."""
    with progress(shown=False) as tell:
        tell("loading")
    assert capsys.readouterr() == ("", "")


def on_a_terminal(code: str, **env: str) -> bytes:
    """What the code writes to a terminal."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"} | env
    process = subprocess.Popen([sys.executable, "-c", code], stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    written = b""
    while select.select([ours], [], [], 30)[0]:
        try:
            part = os.read(ours, 65_536)
        except OSError:  # How Linux says that the other end is closed.
            break
        if not part:
            break
        written += part
    process.wait()
    os.close(ours)
    return written


LOG = """
import logging
from flightmesh.cli.terminal import progress
from flightmesh.telemetry import configure_logging
configure_logging(json=False, level="INFO")
with progress(shown=True) as tell:
    tell("loading")
    logging.getLogger("flightmesh").warning("broken [a]")
    tell("loading more")
logging.getLogger("flightmesh").warning("later")
"""


def test_what_is_logged_beside_progress_stays() -> None:
    """The moving line would be drawn over the reason why a product is not served."""
    written = on_a_terminal(LOG)
    assert b"flightmesh: broken [a]\r\n" in written
    assert b"flightmesh: later\r\n" in written


ERROR = """
from flightmesh.cli.terminal import print_error, progress
from flightmesh.errors import ErrorCode, FlightmeshError
with progress(shown=True) as tell:
    tell("loading")
print_error(FlightmeshError(ErrorCode.INVALID, "Fact."))
"""


def test_colour_is_for_terminals_and_can_be_turned_off() -> None:
    """NO_COLOR is a promise that readers with other needs rely on."""
    coloured, plain = on_a_terminal(ERROR), on_a_terminal(ERROR, NO_COLOR="1")
    assert b"\x1b[1;31merror: " in coloured
    assert b"\x1b[1;31m" not in plain
    assert b"\x1b[31m" not in plain
    assert b"error: " in plain
    assert COLOUR in coloured

"""The command line as a whole: help, version, speed, interruption."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest
import typer

from flightmesh.cli import application, exits

if TYPE_CHECKING:
    from tests.cli.conftest import Done

# What one of these costs to import is more than --help may take.
HEAVY = ("duckdb", "msgspec", "polars", "pyarrow", "rich", "ruamel", "sqlglot", "tomlkit")


def commands(command: Any = None, *path: str) -> Iterator[tuple[str, ...]]:
    """The words of every command."""
    command = command or typer.main.get_command(application)
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, *path, name)


def test_the_commands_are_those_that_scripts_rely_on() -> None:
    """These spellings are fixed."""
    assert {" ".join(path) for path in commands()} == {
        "",
        "check",
        "serve",
        "query",
        "queries",
        "explain",
        "init",
        "catalog",
        "user",
        "user add",
        "user remove",
        "token",
        "token create",
        "token revoke",
        "reload",
    }


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_every_help_shows_examples(path: tuple[str, ...], flightmesh: Callable[..., Done]) -> None:
    """People copy the example and read the options later."""
    done = flightmesh(*path, "--help")
    assert done.code == 0
    examples = done.out.split("\n  Examples:\n")[1]
    assert examples.startswith("    flightmesh ")
    assert " ".join(path) in examples


def test_help_tells_every_exit_code(flightmesh: Callable[..., Done]) -> None:
    """A number that is not explained sends people to the source."""
    text = flightmesh("--help").out
    for code, meaning in exits.MEANINGS.items():
        assert f"    {code:<4} {meaning}\n" in text


def test_version(flightmesh: Callable[..., Done]) -> None:
    """Bug reports begin with it."""
    assert flightmesh("--version").out == f"flightmesh {version('flightmesh')}\n"


def test_wrong_usage_is_2_and_names_the_nearest_word(flightmesh: Callable[..., Done]) -> None:
    """A typing error should cost one look."""
    done = flightmesh("qery", "SELECT 1")
    assert done.code == 2
    assert "query" in done.err
    assert flightmesh().code == 2


def test_help_loads_nothing_heavy() -> None:
    """--help has to answer at once, also on a slow machine."""
    code = (
        "import sys\nfrom flightmesh.cli import run\nrun(['serve', '--help'])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_answers_at_once() -> None:
    """A quarter of a second feels like at once. Of processor time, the best of five: the machine may be shared."""

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "flightmesh", "--help"], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    assert min(seconds() for _ in range(5)) < 0.25


def test_ctrl_c_is_130_without_a_traceback() -> None:
    """It is how people stop what they did not mean."""
    code = (
        "from flightmesh.cli import main\nimport flightmesh.cli.read as read\n"
        "import sys\nprint('ready', flush=True)\nmain(['query', '-'])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == exits.INTERRUPTED
    assert b"Traceback" not in errors


def test_help_into_a_closed_pipe_is_silent() -> None:
    """``flightmesh --help | head -1`` must not end in Python's complaint."""
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [sys.executable, "-m", "flightmesh", "--help"], stdout=theirs, stderr=subprocess.PIPE, check=False
    )
    os.close(theirs)
    assert (done.returncode, done.stderr) == (exits.BROKEN_PIPE, b"")

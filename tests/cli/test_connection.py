"""The options that find the server and say who is calling."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flightmesh.cli import connection
from flightmesh.cli.connection import read_password
from flightmesh.client import address
from flightmesh.errors import FlightmeshError

if TYPE_CHECKING:
    from tests.cli.conftest import Done
    from tests.conftest import ServedBy


class Terminal(io.StringIO):
    """Standard input that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_the_default_address_is_the_clients() -> None:
    """It stands in two places so that --help need not load Arrow."""
    assert connection.DEFAULT_URI == address.DEFAULT_URI


@pytest.mark.parametrize("text", ["se cret", "se cret\n", "se cret\r\n"])
def test_a_piped_password_is_its_line(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``echo`` adds a line end that is no part of the password; spaces are."""
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert read_password(twice=True) == "se cret"


def test_a_new_password_is_asked_twice_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slip of the finger must not lock the new user out."""
    monkeypatch.setattr("sys.stdin", Terminal())
    answers = iter(["right", "right", "once", "other"])
    monkeypatch.setattr("getpass.getpass", lambda _prompt: next(answers))
    assert read_password(twice=True) == "right"
    with pytest.raises(FlightmeshError, match="differ"):
        read_password(twice=True)


def test_address_and_token_come_from_the_environment(
    server: ServedBy, flightmesh: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token on the command line stands in the list of processes."""
    monkeypatch.setenv("FLIGHTMESH_URI", server.uri)
    count = "SELECT count(*) AS n FROM clinical.trials.patients"
    assert flightmesh("query", count, "--format", "csv").code == 1
    monkeypatch.setenv("FLIGHTMESH_TOKEN", server.tokens["steward"])
    assert flightmesh("query", count, "--format", "csv").out == '"n"\n2139\n'
    monkeypatch.delenv("FLIGHTMESH_TOKEN")
    signed_in = flightmesh("query", count, "--format", "csv", "--user", "steward", stdin=server.password("steward"))
    assert signed_in.out == '"n"\n2139\n'


def test_roots_that_cannot_be_read_are_told(flightmesh: Callable[..., Done], tmp_path: Path) -> None:
    """Going on with the system's roots would trust what the caller did not mean to."""
    done = flightmesh("catalog", "--tls-roots", tmp_path / "none.pem")
    assert done.code == 1
    assert "none.pem cannot be read" in done.err

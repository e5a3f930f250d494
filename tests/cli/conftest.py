"""Runs the command line within the test's own process, as a shell would: arguments and standard input in, bytes out."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from flightmesh.cli import run


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()


@pytest.fixture
def flightmesh(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., Done]:
    """``flightmesh("query", "SELECT 1", stdin="...")``: exit code and output of the command."""

    def call(*arguments: object, stdin: str = "") -> Done:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        code = run([str(argument) for argument in arguments])
        captured = capfdbinary.readouterr()
        return Done(code, captured.out, captured.err.decode())

    return call

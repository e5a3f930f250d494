"""The generated reference page."""

from __future__ import annotations

import os

import pytest

from flightmesh.cli import exits
from flightmesh.cli.reference import reference


def test_the_page_holds_every_command_and_exit_code() -> None:
    """A command that the page lacks is found by nobody."""
    page = reference()
    for command in ("flightmesh serve", "flightmesh query", "flightmesh user add", "flightmesh token revoke"):
        assert f"\n## {command}\n\n```text\nUsage: {command} [OPTIONS]" in page
    for code, meaning in exits.MEANINGS.items():
        assert f"\n| {code} | {meaning} |\n" in page


def test_the_page_does_not_depend_on_who_writes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page is compared with the text; another terminal or environment must not make it stale."""
    page = reference()
    monkeypatch.setenv("COLUMNS", "33")
    monkeypatch.setenv("FLIGHTMESH_URI", "grpc://elsewhere:1")
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((33, 10)))
    assert reference() == page
    assert all(line == line.rstrip() for line in page.splitlines())

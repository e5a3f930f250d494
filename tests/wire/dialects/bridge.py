"""The suite's end of a bridge of this folder: a process of the dialect's own environment that serves one connection."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from tests.wire.bridge import Bridge
from tests.wire.client import Login, Result
from tests.wire.dialects import lines
from tests.wire.dialects.environments import ROOT, python_of


class DialectBridge:
    """A running bridge. ``module`` is the file's name in this folder; its log is kept in ``folder``."""

    def __init__(self, environment: str, module: str, folder: Path, **variables: str) -> None:
        command: list[str | Path] = [python_of(environment), "-m", f"tests.wire.dialects.{module}"]
        self._bridge = Bridge(command, folder / f"{module}.log", surroundings() | variables)

    def ask(self, call: str, **arguments: Any) -> Any:  # Any: what the method returns, in the form of client.py
        """The method's value. Errors: ``Refused`` for the client's own, AssertionError for mistakes of the bridge."""
        return lines.untagged(self._bridge.ask(call, arguments=lines.tagged(arguments)))

    def result(self, call: str, **arguments: Any) -> Result:
        """The rows that a method returns."""
        value = self.ask(call, **arguments)
        return Result(tuple(value["columns"]), tuple(map(tuple, value["rows"])))

    def connect(self, login: Login) -> None:
        """Signs in; the bridge ends when it is refused."""
        told = {"uri": login.uri, "user": login.user, "password": login.password, "token": login.token}
        try:
            self.ask("connect", **told, options=dict(login.options))
        except BaseException:
            self._bridge.stop()
            raise

    def close(self) -> None:
        """Closes the connection, then ends the process."""
        try:
            self.ask("close")
        finally:
            self._bridge.stop()


def surroundings() -> dict[str, str]:
    """The environment variables of a process that reads this checkout with another interpreter."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def like(pattern: str | None, name: str) -> bool:
    """Whether the name fits a pattern of SQL's LIKE: for listings of APIs that filter nothing themselves."""
    if pattern is None:
        return True
    signs = {"%": ".*", "_": "."}
    expression = "".join(signs.get(sign) or re.escape(sign[-1]) for sign in re.findall(r"\\.|.", pattern, re.DOTALL))
    return re.fullmatch(expression, name, re.DOTALL) is not None


def used(*names: str | None) -> str:
    """The USE statement for the names that are given, quoted."""
    return "USE " + ".".join('"' + name.replace('"', '""') + '"' for name in names if name is not None)

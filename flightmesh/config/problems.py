"""Collects what is wrong with a configuration, so that all of it is told at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from flightmesh.errors import ErrorCode, FlightmeshError

_SHOWN_CHARACTERS_MAX = 60


class Problems:
    """A list of sentences, each naming its source (file, variable or option) and key."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, source: str, key: str, fact: str) -> None:
        self._found.append(f"{source}: {key} {fact}")

    def unknown(self, source: str, key: str, known: Iterable[str]) -> None:
        """Report a key that does not exist, with the nearest one that does."""
        # Not from flightmesh.names: the rooms of one floor do not import each other.
        near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.6)
        self.add(source, key, f"is not known. Did you mean {near[0]}?" if near else "is not known.")

    def wrong(self, source: str, key: str, *, expected: str, value: object) -> None:
        """Report a value of the wrong type or out of its range. Not for secrets: the value is shown."""
        shown = repr(value)
        if len(shown) > _SHOWN_CHARACTERS_MAX:
            shown = shown[:_SHOWN_CHARACTERS_MAX] + "..."
        self.add(source, key, f"must be {expected}, not {shown}.")

    def raise_if_any(self) -> None:
        """Raise INVALID when something was reported: one line for each problem."""
        if len(self._found) == 1:
            raise FlightmeshError(ErrorCode.INVALID, self._found[0])
        if self._found:
            lines = "\n".join(f"  {problem}" for problem in self._found)
            raise FlightmeshError(ErrorCode.INVALID, f"The configuration has {len(self._found)} problems:\n{lines}")

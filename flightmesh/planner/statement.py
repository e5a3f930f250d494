"""First stage: the caller's text to a Statement."""

from __future__ import annotations

from dataclasses import dataclass

from flightmesh.config import Limits
from flightmesh.sql import ast, gate


@dataclass(frozen=True, slots=True)
class Statement:
    """One SELECT as written, with what it consists of."""

    text: str
    survey: gate.Survey


def parse(text: str, *, limits: Limits) -> Statement:
    """The statement; INVALID when the text is not exactly one SELECT within the caps."""
    tree = ast.parse(text, bytes_max=limits.sql_bytes_max, depth_max=limits.bracket_depth_max)
    return Statement(text, gate.survey(tree))

"""First stage: the caller's text to a Statement."""

from __future__ import annotations

from dataclasses import dataclass

from flightmesh.config import Limits
from flightmesh.sql import ast, gate


@dataclass(frozen=True, slots=True)
class Statement:
    """One SELECT, with what it consists of. ``text`` is as written, but for spaces of Unicode (``sql/ast.py``)."""

    text: str
    survey: gate.Survey

    @property
    def is_catalogue(self) -> bool:
        """Whether it asks what there is, and reads no rows of ports."""
        return bool(self.survey.catalogue or self.survey.system or self.survey.described)


def parse(text: str, *, limits: Limits) -> Statement:
    """The statement; INVALID when the text is not exactly one SELECT within the caps."""
    tree = ast.parse(text, bytes_max=limits.sql_bytes_max, depth_max=limits.bracket_depth_max)
    return Statement(tree.text, gate.survey(tree))

"""Lengths of time as authors write them: ``4s``, ``15m``, ``2h``, ``30d``."""

from __future__ import annotations

import re

_DURATION = re.compile(r"(\d{1,9})(ms|s|m|h|d|w)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}

EXAMPLES = "Write for example 500ms, 4s, 15m, 2h, 30d."


def seconds(text: str) -> float | None:
    """The length in seconds; None when the text is no duration, or none above zero."""
    found = _DURATION.fullmatch(text)
    length = int(found[1]) * _UNIT_S[found[2]] if found else 0.0
    return length or None

"""How a value or a place of a file is called in a sentence for its author."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def found(value: object, text: str | None = None) -> str:
    """What a value of a document is, in plain words; ``text`` is how the file spells it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return text or str(value).lower()
    if isinstance(value, int | float):
        return f"the number {text or value}"
    if isinstance(value, str):
        return f"the text {_short(value)!r}"
    return "a mapping" if isinstance(value, dict) else "a list"


def place(path: Sequence[str | int]) -> str:
    """The dotted name of a place, such as ``policies[0].to``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{_short(step)}"
    return text.lstrip(".")


def one_of(words: Iterable[str]) -> str:
    """``a, b or c``."""
    *others, last = list(words) or [""]
    return f"{', '.join(others)} or {last}" if others else last


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."

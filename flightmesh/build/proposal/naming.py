"""Plain names for sources and ports, from names of files and tables as people write them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container

from flightmesh.names import is_plain

_NAME_CHARS_MAX = 63


def plain_name(text: str, fallback: str) -> str:
    """The text as a plain name: accents taken off, letters lowered, everything else an underscore; the fallback when
    nothing is left.
    """
    bare = unicodedata.normalize("NFKD", text.casefold())
    kept = "".join(char for char in bare if not unicodedata.combining(char))
    name = re.sub(r"[^a-z0-9]+", "_", kept).strip("_")
    if not name:
        return fallback
    return (name if name[0].isalpha() else f"{fallback}_{name}")[:_NAME_CHARS_MAX].rstrip("_")


def free_name(wanted: str, taken: Container[str]) -> str:
    """The name, numbered from 2 where it is taken."""
    name, number = wanted, 2
    while name in taken:
        tail = f"_{number}"
        name, number = wanted[: _NAME_CHARS_MAX - len(tail)] + tail, number + 1
    assert is_plain(name)
    return name

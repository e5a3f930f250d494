"""YAML as people write it: blocks, two spaces, comments where they help. Equal values give equal text.

The standard emitters keep no comments of their own making; what is read back is the same by either.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

LINE_CHARS_MAX = 120

# Names, short phrases and versions.
_PLAIN = re.compile(r"[^\W\d_][\w./ -]*(?:, ?[\w./ -]+)*|[0-9]+\.[0-9]+\.[0-9]+")
# Words that a reader of YAML 1.1 or 1.2 takes for something else than text.
_TELLING = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"})


@dataclass(frozen=True, slots=True)
class Commented:
    """A value with lines of comment above it; ``is_out`` makes the value itself a comment."""

    value: object
    comment: Sequence[str] = ()
    is_out: bool = False


def _key(name: str) -> str:
    """The key; ``on`` is a key of the format, and YAML 1.2 reads it as text."""
    return name if name == "on" else scalar(name, flow=True)


def scalar(value: object, *, flow: bool = False) -> str:
    """The value on one line. Text is quoted unless everybody reads it as text; ``flow`` stands within brackets."""
    if isinstance(value, str):
        is_plain = _PLAIN.fullmatch(value) and value.strip() == value and value.lower() not in _TELLING
        if is_plain and not (flow and "," in value):
            return value
        return '"' + "".join(map(_escaped, value)) + '"'
    return json.dumps(value)


def flow(value: object) -> str:
    """The value in brackets: ``{from: a, take: [b, c]}``."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)}: {flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value, flow=True)


def block(value: Mapping[str, object], indent: int = 0) -> Iterator[str]:
    """The lines of a mapping. Short values that hold no mapping of mappings stand on one line in brackets."""
    for key, each in value.items():
        plain = each.value if isinstance(each, Commented) else each
        lines = list(_entry(key, plain, indent))
        if isinstance(each, Commented):
            yield from (f"{' ' * indent}{remark(line)}" for line in each.comment)
            if each.is_out:
                lines = [f"{' ' * indent}# {line[indent:]}" for line in lines]
        yield from lines


def remark(text: str) -> str:
    """The text as a comment that ends with its line, whatever is in it: names of files may hold line breaks."""
    return "# " + "".join(char if char.isprintable() else _escaped(char) for char in text)


def _entry(key: str, value: object, indent: int) -> Iterator[str]:
    before = f"{' ' * indent}{_key(key)}:"
    is_collection = isinstance(value, Mapping | Sequence) and not isinstance(value, str)
    if not is_collection:
        yield f"{before} {scalar(value)}"
    elif not value or (_is_short(value) and len(before) + len(flow(value)) < LINE_CHARS_MAX):
        yield f"{before} {flow(value)}"
    elif isinstance(value, Mapping):
        yield before
        yield from block(value, indent + 2)
    elif isinstance(value, Sequence):
        yield before
        yield from _items(value, indent)


def _items(value: Sequence[object], indent: int) -> Iterator[str]:
    for item in value:
        plain = item.value if isinstance(item, Commented) else item
        if isinstance(item, Commented):
            yield from (f"{' ' * indent}{remark(line)}" for line in item.comment)
        if isinstance(plain, Mapping) and plain and not (_is_short(plain) and len(flow(plain)) < LINE_CHARS_MAX // 2):
            lines = list(block(plain, indent + 2))
            # Comments of the first entry stand above the dash.
            first = next(index for index, line in enumerate(lines) if not line.lstrip().startswith("#"))
            lines[first] = f"{' ' * indent}- {lines[first][indent + 2 :]}"
        else:
            lines = [f"{' ' * indent}- {flow(plain)}"]
        is_out = isinstance(item, Commented) and item.is_out
        yield from (f"{' ' * indent}# {line[indent:]}" for line in lines) if is_out else lines


def _escaped(char: str) -> str:
    """The character within double quotes."""
    if char in '"\\':
        return f"\\{char}"
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 1 << 16 else f"\\U{ord(char):08x}"


def _is_short(value: object) -> bool:
    """Whether the value reads well in brackets: no comments and no mapping inside of another collection."""
    if isinstance(value, Mapping):
        return all(map(_is_flat, value.values()))
    return _is_flat(value)


def _is_flat(value: object) -> bool:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return not any(isinstance(each, Mapping | Commented | list | tuple) for each in value)
    return not isinstance(value, Mapping | Commented)

"""Constants that would grow while a statement is bound.

DuckDB evaluates constant expressions when it binds, where nothing can stop it: ``repeat('x', 2000000000)`` takes
gigabytes before anything runs. Arguments that depend on a column or a parameter are evaluated when the statement
runs, which can be stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flightmesh.names import fold

CONSTANT_MAX = 1_000_000
_GROWING = frozenset(
    {
        "array_resize",
        "bitstring",
        "format",
        "generate_series",
        "list_resize",
        "lpad",
        "printf",
        "range",
        "repeat",
        "rpad",
    }
)
_DEPENDENT = frozenset({"COLUMN_REF", "LAMBDA_REF", "PARAMETER", "SUBQUERY"})


def grows(call: Mapping[str, Any]) -> bool:  # Any: the parser's own JSON
    """Whether a call of a growing function has constant arguments that are not plain values of bounded size."""
    if _name(call) not in _GROWING:
        return False
    arguments = [argument.get("expression", {}) for argument in call.get("arguments", ())]
    return any(_is_large(argument, is_first=index == 0) for index, argument in enumerate(arguments))


def _is_large(expression: Mapping[str, Any], *, is_first: bool) -> bool:
    literal = expression.get("literal")
    if isinstance(literal, Mapping):
        # The text of a literal cannot be larger than the statement; a format's width is written inside it.
        text = str(literal.get("text", ""))
        return _number(text) > CONSTANT_MAX or any(_number(part) > CONSTANT_MAX for part in _digits(text))
    nodes = list(_nodes(expression))
    if any(node.get("class") in _DEPENDENT for node in nodes):
        return False
    # The first argument may be a list; the others say how much, and must be numbers that can be read here.
    return not is_first or any(_name(node) in _GROWING for node in nodes)


def _nodes(value: Any) -> Iterator[Mapping[str, Any]]:  # Any: as above
    if isinstance(value, list):
        for item in value:
            yield from _nodes(item)
    elif isinstance(value, Mapping):
        yield value
        for child in value.values():
            yield from _nodes(child)


def _name(node: Mapping[str, Any]) -> str:
    return fold(str(node.get("function_name", ""))) if node.get("class") == "FUNCTION" else ""


def _number(text: str) -> float:
    try:
        return abs(float(text))
    except ValueError:
        return 0.0


def _digits(text: str) -> Iterator[str]:
    run = ""
    for character in text:
        if character.isascii() and character.isdigit():
            run += character
        elif run:
            yield run
            run = ""
    if run:
        yield run

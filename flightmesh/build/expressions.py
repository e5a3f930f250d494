"""Authors' fragments of SQL: is this text one complete expression, or one type? Then brackets around it cannot be
broken out of.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.sql import ast

_PLACE = re.compile(r" \(line \d+, column \d+\)")
_PLACES = frozenset({"query_location", "query_location_length"})


def checked_expression(text: str, limits: Limits) -> str:
    """The text, stripped; INVALID unless it is exactly one expression, by itself and between brackets alike."""
    bare = _only_item(text, f"SELECT {text}", limits)
    bracketed = _only_item(text, f"SELECT (\n{text}\n)", limits)
    if bare is None or _without_places(bare) != _without_places(bracketed) or bare.get("class") == "STAR":
        raise FlightmeshError(ErrorCode.INVALID, f"{_short(text)} is not one SQL expression.")
    return text.strip()


def checked_type(text: str, limits: Limits) -> str:
    """The text, stripped; INVALID unless it is exactly one SQL type."""
    item = _only_item(text, f"SELECT CAST(NULL AS {text})", limits)
    if item is None or item.get("class") != "CAST" or item["child"].get("class") != "CONSTANT":
        raise FlightmeshError(ErrorCode.INVALID, f"{_short(text)} is not a SQL type.")
    return text.strip()


def _only_item(text: str, statement: str, limits: Limits) -> Mapping[str, Any] | None:  # Any: the parser's own JSON
    """The one result column of a statement that is nothing but a list of one; None when there is more to it."""
    try:
        tree = ast.parse(statement, bytes_max=limits.sql_bytes_max, depth_max=limits.bracket_depth_max)
    except FlightmeshError as error:
        # The place is one in our statement around the text, which would mislead.
        fact = _PLACE.sub("", error.message).removeprefix("The statement does not parse: ")
        raise FlightmeshError(error.code, f"{_short(text)} is not SQL: {fact}") from error
    node = tree.root["node"]
    plain = {"type", "cte_map", "select_list", "from_table", "aggregate_handling"}
    items = node.get("select_list", ())
    if len(items) != 1 or set(node) - plain or node["from_table"]["type"] != "EMPTY" or "alias" in items[0]:
        return None
    found: Mapping[str, Any] = items[0]
    return found


def _without_places(value: Any) -> Any:  # Any: the parser's own JSON
    if isinstance(value, dict):
        return {key: _without_places(child) for key, child in value.items() if key not in _PLACES}
    return [_without_places(child) for child in value] if isinstance(value, list) else value


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:57] + "..."

"""Authors' fragments of SQL: is this text one complete expression, or one type? Then brackets around it cannot be
broken out of. And what is in it: the columns it names, the calls that take a window or a filter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import fold
from flightmesh.sql import ast
from flightmesh.sql.functions import AGGREGATES

_PLACE = re.compile(r" \(line \d+, column \d+\)")
_PLACES = frozenset({"query_location", "query_location_length"})
_SELECT = "SELECT "
# What these answer hangs on the order of rows.
_ORDERED_CALLS = frozenset(
    {
        "any_value",
        "arbitrary",
        "array_agg",
        "cume_dist",
        "dense_rank",
        "fill",
        "first",
        "first_value",
        "group_concat",
        "lag",
        "last",
        "last_value",
        "lead",
        "list",
        "listagg",
        "nth_value",
        "ntile",
        "percent_rank",
        "rank",
        "rank_dense",
        "row_number",
        "string_agg",
    }
)


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


def names_in(text: str, limits: Limits) -> frozenset[str]:
    """The folded parts of all column names in an expression that was checked before."""
    found = _walk(_parsed(f"{_SELECT}{text}", limits).root["node"]["select_list"])
    return frozenset(
        fold(part) for value in found if value.get("class") == "COLUMN_REF" for part in value.get("column_names", ())
    )


def with_clause_after_calls(text: str, clause: str, limits: Limits, *, is_ordered: bool) -> str:
    """The expression with the clause (``OVER x``, ``FILTER (...)``) behind each call of an aggregate or window
    function.

    Calls inside another such call or a subquery stay as they are. INVALID unless the text is one expression with a
    call, without such clauses of its own, and where rows have no order without calls that need one.
    """
    checked = checked_expression(text, limits)
    tree = _parsed(f"{_SELECT}{checked}", limits)
    ends = []
    for call in _calls(tree.root["node"]["select_list"]):
        name = call["function_name"]
        if call["class"] == "WINDOW":
            raise FlightmeshError(ErrorCode.INVALID, f"{_short(text)} has an OVER of its own.", hint="Write the call.")
        if "filter" in call and clause.startswith("FILTER"):
            raise FlightmeshError(
                ErrorCode.INVALID, f"{_short(text)} has a FILTER of its own.", hint="Use CASE inside of the call."
            )
        if fold(name) in _ORDERED_CALLS and not is_ordered:
            raise FlightmeshError(ErrorCode.INVALID, f"{name} needs rows in an order.", hint="Write order.")
        ends.append(call["query_location"] + call["query_location_length"])
    if not ends:
        raise FlightmeshError(ErrorCode.INVALID, f"{_short(text)} calls no aggregate or window function.")
    data = tree.text.encode()
    for end in sorted(ends, reverse=True):
        data = data[:end] + b" " + clause.encode() + data[end:]
    return data.decode().removeprefix(_SELECT)


def _calls(value: Any) -> Iterator[Mapping[str, Any]]:  # Any: the parser's own JSON
    """The outermost calls of aggregate and window functions, those in subqueries left out."""
    if isinstance(value, list):
        for item in value:
            yield from _calls(item)
    elif isinstance(value, dict) and value.get("class") != "SUBQUERY":
        name = value.get("function_name")
        if value.get("class") == "WINDOW" or (value.get("class") == "FUNCTION" and fold(str(name)) in AGGREGATES):
            yield value
        else:
            yield from _calls(list(value.values()))


def _walk(value: Any) -> Iterator[Mapping[str, Any]]:  # Any: the parser's own JSON
    if isinstance(value, list):
        for item in value:
            yield from _walk(item)
    elif isinstance(value, dict):
        yield value
        yield from _walk(list(value.values()))


def _parsed(statement: str, limits: Limits) -> ast.Tree:
    return ast.parse(statement, bytes_max=limits.sql_bytes_max, depth_max=limits.bracket_depth_max)


def _only_item(text: str, statement: str, limits: Limits) -> Mapping[str, Any] | None:  # Any: the parser's own JSON
    """The one result column of a statement that is nothing but a list of one; None when there is more to it."""
    try:
        tree = _parsed(statement, limits)
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

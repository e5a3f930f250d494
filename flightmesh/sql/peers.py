"""Statements for a database that is DuckDB itself, another flightmesh for one: the same text with its own names.

The gate's list of functions applies, without those whose answer depends on when, where or by whom they are called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flightmesh.errors import FlightmeshError
from flightmesh.names import fold
from flightmesh.sql.ast import Tree
from flightmesh.sql.compose import compose
from flightmesh.sql.gate import survey
from flightmesh.sql.pushable import NotPushed, RemoteTable

# The clock, chance, the session and its time zone.
_NOT_HERE = frozenset(
    """
    age ago alias current_catalog current_database current_date current_localtime current_localtimestamp
    current_schema error format_type gen_random_uuid get_current_time get_current_timestamp localtime localtimestamp
    now random reservoir_quantile today transaction_timestamp current_time current_timestamp uuid uuidv4 uuidv7 version
    """.split()  # noqa: SIM905 - read as words
)
# Functions without brackets: what DuckDB takes such a name for, quoted or not, where the FROM beside it has no column
# of that name. Columns of outer queries come later.
_WORDS = frozenset(
    """
    current_catalog current_date current_role current_schema current_time current_timestamp current_user localtime
    localtimestamp session_user user
    """.split()  # noqa: SIM905 - read as words
)
# Each reads or shows an instant in the time zone of the session.
_INSTANTS = frozenset({"timestamptz", "timestamp with time zone", "timetz", "time with time zone"})
_PLAIN_STAR = frozenset({"class", "type", "query_location", "query_location_length"})
_Names = frozenset[str]
_Known = Mapping[tuple[str, ...], _Names]


def render(tree: Tree, tables: Sequence[RemoteTable], result: Sequence[tuple[str, str]]) -> str:
    """The statement with the database's names, its columns as c0, c1 and so on; NotPushed with the reason."""
    found = survey(tree)
    if found.refusals:
        raise NotPushed(found.refusals[0].message.removesuffix(".").lower())
    columns = {tuple(map(fold, table.path)): frozenset(map(fold, table.columns)) for table in tables}
    for reference in found.relations:
        if tuple(map(fold, reference.path)) not in columns:
            raise NotPushed("it reads more than tables of this database")
    if found.parameters:
        raise NotPushed("it has parameters")
    if found.catalogue or found.described or found.is_summary:
        raise NotPushed("it asks about tables, not for their rows")
    _check(tree.root["node"], frozenset(), columns)
    try:
        text = compose(tree.text, {table.path: table.remote for table in tables})
    except FlightmeshError as error:
        raise NotPushed(error.message.removesuffix(".")) from error
    names = ", ".join(f"c{index}" for index in range(len(result)))
    cast = ", ".join(f"CAST(c{index} AS {type_}) AS c{index}" for index, (_, type_) in enumerate(result))
    return f"SELECT {cast} FROM ({text}) AS q({names})"


def _check(value: Any, own: _Names, known: _Known) -> None:  # Any: the parser's own JSON
    """NotPushed where the answer is the session's; ``own`` are the columns of the FROM beside."""
    if isinstance(value, list):
        for item in value:
            _check(item, own, known)
    elif isinstance(value, dict):
        _check_node(value, own)
        for body, seen, after in _ctes(value, known):
            _check(body, own, seen)
            known = after
        if "from_table" in value:
            own = _columns(value["from_table"], known)
        elif value.get("type") == "JOIN":
            own = _columns(value, known)
        for key, child in value.items():
            if key != "cte_map":
                _check(child, own, known)


def _check_node(node: Mapping[str, Any], own: _Names) -> None:  # Any: as above
    name = fold(str(node.get("function_name", "")))
    if name in _NOT_HERE:
        raise NotPushed(f"{name} answers for the session that calls it")
    names = node.get("column_names", ())
    if len(names) == 1 and fold(names[0]) in _WORDS and fold(names[0]) not in own:
        raise NotPushed(f"{names[0]} answers for the session that calls it")
    if "sample" in node:
        raise NotPushed("a sample is another one each time")
    if fold(str(node.get("type_name", ""))) in _INSTANTS:
        raise NotPushed("an instant is read in the session's time zone")


def _ctes(node: Mapping[str, Any], known: _Known) -> Iterator[tuple[Any, _Known, _Known]]:  # Any: as above
    """Each CTE of a query node, the relations known in it, and those known after it."""
    for entry in node.get("cte_map", {}).get("map", ()):
        body, name = entry["value"], (fold(entry["key"]),)
        # In its own body the name may be the CTE or a table: nothing is certain of it.
        seen = {**known, name: frozenset[str]()}
        aliases = body.get("aliases", ())
        known = {**known, name: frozenset(map(fold, aliases)) if aliases else _outputs(body["query_node"], seen)}
        yield body, seen, known


def _columns(node: Mapping[str, Any], known: _Known) -> _Names:  # Any: as above
    """Columns that a FROM clause has without doubt."""
    if node.get("type") == "JOIN":
        return _columns(node["left"], known) | _columns(node["right"], known)
    if node.get("column_name_alias"):
        return frozenset(map(fold, node["column_name_alias"]))
    if node.get("type") == "SUBQUERY":
        return _outputs(node["subquery"]["node"], known)
    path = node.get("qualified_name", {}).get("path", ()) if node.get("type") == "BASE_TABLE" else ()
    return known.get(tuple(map(fold, path)), frozenset())


def _outputs(node: Mapping[str, Any], known: _Known) -> _Names:  # Any: as above
    """Columns that a query has without doubt."""
    for _, _, after in _ctes(node, known):
        known = after
    if node["type"] == "SET_OPERATION_NODE":
        return _outputs(node["children"][0], known)
    found = set[str]()
    for item in node.get("select_list", ()):
        if item.get("class") != "STAR":
            found.add(fold(item.get("alias") or (item.get("column_names") or [""])[-1]))
        elif set(item) <= _PLAIN_STAR:
            found |= _columns(node["from_table"], known)
    return frozenset(found)

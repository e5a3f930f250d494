"""The gate: what a statement of an untrusted author may consist of.

Everything is allow-listed: query nodes, relations, modifiers, expression classes, functions, types. What the lists do
not name is refused, so a construct that a new parser version invents is refused until somebody has read about it. The
gate says what a statement reads; whether the reader may read it is the planner's question.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import did_you_mean, fold, folded
from flightmesh.sql import catalogue
from flightmesh.sql.ast import Tree, place
from flightmesh.sql.functions import FUNCTIONS, TABLE_FUNCTIONS
from flightmesh.sql.growth import CONSTANT_MAX, grows

# The binder takes time in the square of these, and cannot be stopped.
NAME_PARTS_MAX = 64
RELATIONS_MAX = 256
SET_OPERANDS_MAX = 256

_QUERY_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE"})
_RELATIONS = frozenset(
    {"BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY", "PIVOT", "SHOW_REF"}
)
_MODIFIERS = frozenset({"ORDER_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "DISTINCT_MODIFIER"})
_ORDERS = frozenset({"ORDER_DEFAULT", "ASCENDING", "DESCENDING"})
_EXPRESSIONS = frozenset(
    {
        "BETWEEN",
        "CASE",
        "CAST",
        "COLLATE",
        "COLUMN_REF",
        "COMPARISON",
        "CONJUNCTION",
        "CONSTANT",
        "DEFAULT",
        "FUNCTION",
        "LAMBDA",
        "LAMBDA_REF",
        "OPERATOR",
        "PARAMETER",
        "POSITIONAL_REFERENCE",
        "STAR",
        "SUBQUERY",
        "TYPE",
        "WINDOW",
    }
)
_PG_PREFIXES = ((), ("pg_catalog",), ("system", "pg_catalog"))
_SCAN_KEYS = frozenset({"type", "cte_map", "select_list", "from_table", "aggregate_handling"})
_ITEM_KEYS = frozenset({"class", "type", "alias", "query_location", "query_location_length"})
_SCAN_ITEMS: Mapping[Any, frozenset[str]] = {
    "COLUMN_REF": _ITEM_KEYS | {"column_names"},
    "STAR": _ITEM_KEYS | {"exclude_list", "relation_name"},
}
_NO_POSITION = 2**64 - 1  # What the parser writes for "nowhere".
READ_PORTS = "Read ports with SELECT; the metadata commands of Flight SQL list ports and columns."
# Relations of DuckDB's catalogue that answer to a bare name: a CTE of that name could hide a slip in scoping.
_CATALOGUE_PREFIXES = ("duckdb_", "pragma_", "sqlite_", "pg_", "information_schema")


@dataclass(frozen=True, slots=True)
class RelationRef:
    """A table named in the statement: the path as written and its byte offset."""

    path: tuple[str, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class ParameterRef:
    """A parameter: its name without ``$`` (numbers for ``?`` and ``$1``), where it stands, and whether it is a bare
    result column.
    """

    identifier: str
    offset: int
    length: int
    is_bare_column: bool


@dataclass(frozen=True, slots=True)
class Survey:
    """What a statement consists of: relations and parameters in the order of the text, and what is refused.

    ``cast_parameters`` are those that the author casts: what is bound to them is not cast before that. ``conditions``
    is the number of comparisons.
    ``is_summary``: it holds a SUMMARIZE. ``scanned`` are the columns that it names if it is nothing but one relation's
    columns, row by row; None for everything else.

    ``catalogue`` is what makes the statement a question to the catalogue, in words (SHOW, DESCRIBE, system relations
    and functions); it then reads no rows of ``relations``. ``described`` are relations that stand inside a DESCRIBE or
    SHOW alone, which are not read; ``system`` are the system relations.
    """

    relations: tuple[RelationRef, ...]
    parameters: tuple[ParameterRef, ...]
    refusals: tuple[FlightmeshError, ...]
    cast_parameters: frozenset[str] = frozenset()
    conditions: int = 0
    catalogue: tuple[str, ...] = ()
    described: tuple[RelationRef, ...] = ()
    system: tuple[RelationRef, ...] = ()
    is_summary: bool = False
    scanned: tuple[str, ...] | None = None


def survey(tree: Tree) -> Survey:
    """What the statement reads, its parameters, and every construct that is not on the lists.

    INVALID when there is too much of it to look at.
    """
    found = _Walk(tree.text)
    try:
        found.node(tree.root.get("node"), frozenset())
    except RecursionError:
        raise FlightmeshError(ErrorCode.INVALID, "The statement nests too deeply.", hint="Flatten it.") from None
    found.check_not_mixed()
    return Survey(
        _in_order(found.relations),
        tuple(found.parameters[offset] for offset in sorted(found.parameters)),
        tuple(found.refusals),
        frozenset(found.cast_parameters),
        found.conditions,
        tuple(found.catalogue),
        _in_order(found.described),
        _in_order(found.system),
        found.is_summary,
        _scanned(tree.root.get("node", {})),
    )


def _scanned(node: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The columns that a query reads by name, if it is nothing but one relation's columns, row by row."""
    base = node.get("from_table", {})
    is_plain = (
        node.keys() <= _SCAN_KEYS
        and not node.get("cte_map")
        and node.get("aggregate_handling") == "STANDARD_HANDLING"
        and base.get("type") == "BASE_TABLE"
        and "sample" not in base
    )
    items = node.get("select_list", ())
    if not is_plain or not all(item.keys() <= _SCAN_ITEMS.get(item.get("class"), frozenset()) for item in items):
        return None
    return tuple(item["column_names"][-1] for item in items if item["class"] == "COLUMN_REF")


def _in_order(relations: list[RelationRef]) -> tuple[RelationRef, ...]:
    return tuple(sorted(relations, key=lambda reference: reference.offset))


class _Walk:
    """One pass over the tree.

    CTE names are in scope exactly where DuckDB puts them: the body, later CTEs, a recursion's own body.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.relations: list[RelationRef] = []
        self.described: list[RelationRef] = []
        self.system: list[RelationRef] = []
        self.catalogue: dict[str, None] = {}
        # How many DESCRIBEs the walk is in.
        self.describing = 0
        self.parameters: dict[int, ParameterRef] = {}
        self.refusals: list[FlightmeshError] = []
        self.cast_parameters: set[str] = set()
        # Calls that stand in FROM: they stream their rows when the statement runs.
        self.streams: set[int] = set()
        self.conditions = 0
        self.is_summary = False

    def node(self, value: Any, scope: frozenset[str]) -> None:  # Any: the parser's own JSON
        if isinstance(value, list):
            for item in value:
                self.node(item, scope)
        elif isinstance(value, dict):
            self.check(value, scope)
            inner = self.with_ctes(value, scope)
            self.mark_bare_parameters(value)
            is_described = value.get("type") == "SHOW_REF" and value.get("show_type") != "SUMMARY"
            self.describing += is_described
            for key, child in value.items():
                if key != "cte_map":
                    self.node(child, inner)
            self.describing -= is_described

    def with_ctes(self, value: Mapping[str, Any], scope: frozenset[str]) -> frozenset[str]:
        for entry in value.get("cte_map", {}).get("map", ()):
            name, body = fold(entry["key"]), entry["value"]
            if name.startswith(_CATALOGUE_PREFIXES):
                self.refuse(value, f"A CTE may not be named {entry['key']}")
            is_recursive = body.get("query_node", {}).get("type") == "RECURSIVE_CTE_NODE"
            self.node(body, scope | {name} if is_recursive else scope)
            scope |= {name}
        return scope

    def check(self, value: Mapping[str, Any], scope: frozenset[str]) -> None:
        kind, group = value.get("type"), value.get("class")
        if group is not None:
            self.expression(value, group)
        elif kind == "BASE_TABLE":
            self.table(value, scope)
        elif kind == "TABLE_FUNCTION":
            self.table_function(value)
        elif kind == "SHOW_REF":
            self.show(value)
        elif kind == "SET_OPERATION_NODE" and len(value.get("children", ())) > SET_OPERANDS_MAX:
            self.refuse(value, f"One set operation may have {SET_OPERANDS_MAX} operands", "Use VALUES, or several.")
        elif isinstance(kind, str) and kind not in _QUERY_NODES | _RELATIONS | _MODIFIERS | _ORDERS:
            statement = kind.removesuffix("_QUERY_NODE").removesuffix("_NODE").removesuffix("_REF").replace("_", " ")
            self.refuse(value, f"{statement} is not allowed in a query")

    def expression(self, value: Mapping[str, Any], group: str) -> None:
        self.conditions += group == "COMPARISON"
        if group not in _EXPRESSIONS:
            self.refuse(value, f"The expression {group} is not allowed")
        elif group in ("FUNCTION", "WINDOW"):
            self.function(value)
        elif group == "COLUMN_REF" and len(value.get("column_names", ())) > NAME_PARTS_MAX:
            self.refuse(value, f"A column's name may have {NAME_PARTS_MAX} parts")
        elif group == "TYPE" and len(value.get("qualified_name", {}).get("path", ())) > 1:
            self.refuse(value, "A type may not be named with a catalogue or schema")
        elif group == "CAST" and value["child"].get("class") == "PARAMETER":
            self.cast_parameters.add(value["child"]["identifier"])
        elif group == "PARAMETER":
            # A bare column was noted by its query node, which is walked before its expressions.
            self.parameters.setdefault(value["query_location"], _parameter(value, is_bare_column=False))

    def mark_bare_parameters(self, value: Mapping[str, Any]) -> None:
        for item in value.get("select_list", ()):
            if item.get("class") == "PARAMETER" and "alias" not in item:
                self.parameters[item["query_location"]] = _parameter(item, is_bare_column=True)

    def table(self, value: Mapping[str, Any], scope: frozenset[str]) -> None:
        path = tuple(value.get("qualified_name", {}).get("path") or (value.get("table_name", ""),))
        if "at_clause" in value:
            self.refuse(value, "Time travel (AT) is not offered by this version")
        # Where a keyword stands for the whole statement (TABLE t) the parser gives no position.
        reference = RelationRef(path, value.get("query_location", _NO_POSITION))
        if len(path) == 1 and fold(path[0]) in scope:
            return
        system = catalogue.system_name(path)
        if system is None:
            (self.described if self.describing else self.relations).append(reference)
        elif catalogue.is_allowed(*system):
            self.system.append(reference)
            self.catalogue[".".join(path)] = None
        else:
            self.refuse(value, *catalogue.refusal(*system))
        if len(self.relations) + len(self.described) + len(self.system) == RELATIONS_MAX + 1:
            self.refuse(value, f"A statement may read {RELATIONS_MAX} relations", "Split it.")

    def show(self, value: Mapping[str, Any]) -> None:
        """SHOW, DESCRIBE and SUMMARIZE; the query in them is walked as any other."""
        kind, name = value.get("show_type"), value.get("table_name", "")
        if kind == "SHOW_SPECIAL" and name in catalogue.LISTS:
            self.catalogue[catalogue.LISTS[name]] = None
        elif kind == "SHOW_FROM":
            self.catalogue["SHOW TABLES FROM"] = None
        elif kind == "DESCRIBE" or (kind == "SHOW" and "query" in value):
            self.catalogue[kind] = None
        elif kind == "SHOW":
            self.catalogue[f"SHOW {name}"] = None
            if fold(name) not in catalogue.SETTINGS:
                # A CTE of the name is no way past: DuckDB would show the setting.
                self.describing += 1
                self.table(value, frozenset())
                self.describing -= 1
        elif kind == "SUMMARY" and "query" in value:
            self.is_summary = True
        else:
            self.refuse(value, f"SHOW {name.strip(chr(34)).upper()} is not allowed".replace("  ", " "))

    def check_not_mixed(self) -> None:
        """Rows and the catalogue are answered by different instances of the engine."""
        if self.catalogue and self.relations:
            first = min(reference.offset for reference in self.relations)
            fact = f"A statement reads ports or the catalogue ({next(iter(self.catalogue))}), not both"
            self.refuse({"query_location": first}, fact, "Ask in two statements.")

    def table_function(self, value: Mapping[str, Any]) -> None:
        self.streams.add(id(value.get("function")))
        path = value.get("function", {}).get("qualified_name", {}).get("path", [])
        name = ".".join(path)
        if len(path) == 1 and fold(name) in catalogue.TABLE_FUNCTIONS:
            self.catalogue[f"{name}()"] = None
        elif fold(name) in catalogue.REFUSED:
            self.refuse(value, *catalogue.refusal("main", fold(name)))
        elif len(path) != 1 or fold(name) not in TABLE_FUNCTIONS:
            self.refuse(value, f"The table function {name} is not allowed", did_you_mean(name, TABLE_FUNCTIONS))

    def function(self, value: Mapping[str, Any]) -> None:
        if id(value) in self.streams and self.is_catalogue_call(value):
            return  # As a table function it has been looked at.
        path = value.get("qualified_name", {}).get("path") or [value.get("function_name", "")]
        name, before = ".".join(path), folded(path[:-1])
        if before in _PG_PREFIXES and fold(path[-1]) in catalogue.FUNCTIONS:
            self.catalogue[f"{name}()"] = None
        elif before in _PG_PREFIXES[1:] and fold(path[-1]) in catalogue.PG_FUNCTIONS:
            return
        elif len(path) != 1 or fold(name) not in FUNCTIONS | TABLE_FUNCTIONS:
            self.refuse(value, f"The function {name} is not allowed", did_you_mean(name, FUNCTIONS))
        elif id(value) not in self.streams and grows(value):
            fact = f"The constants given to {name} may make it grow too large"
            self.refuse(value, fact, f"Write plain numbers up to {CONSTANT_MAX:,}, or bind them as parameters.")

    def is_catalogue_call(self, value: Mapping[str, Any]) -> bool:
        path = value.get("qualified_name", {}).get("path", [])
        return len(path) == 1 and fold(path[0]) in catalogue.TABLE_FUNCTIONS | catalogue.REFUSED.keys()

    def refuse(self, value: Mapping[str, Any], fact: str, hint: str | None = None) -> None:
        self.refusals.append(FlightmeshError(ErrorCode.INVALID, f"{fact}{self.where(value)}.", hint=hint or READ_PORTS))

    def where(self, value: Mapping[str, Any]) -> str:
        return position(self.text, value.get("query_location", _NO_POSITION))


def position(text: str, offset: int) -> str:
    """`` (line l, column c)`` of a byte offset, or nothing where the parser has no position."""
    if offset >= _NO_POSITION:
        return ""
    line, column = place(text, offset)
    return f" (line {line}, column {column})"


def _parameter(value: Mapping[str, Any], *, is_bare_column: bool) -> ParameterRef:
    return ParameterRef(value["identifier"], value["query_location"], value["query_location_length"], is_bare_column)

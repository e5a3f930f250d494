"""Expressions of DuckDB's tree in PostgreSQL's words, with names resolved as DuckDB resolves them.

Every kind of node, and every key of it, is on a list. A name that could mean two things is not pushed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from flightmesh.names import fold
from flightmesh.sql.postgres_functions import INTERVALS, aggregate, call, coalesce, interval, neighbour, ranking
from flightmesh.sql.postgres_values import Value, by_bytes, cast, compared, integer, literal, order_key, united
from flightmesh.sql.pushable import BOOLEAN, INTEGERS, NULL, VARCHAR, NotPushed, Type, common_type, read_type

Node = dict[str, Any]  # Any: the parser's own JSON, walked by type tags

AGGREGATES = frozenset(
    "count_star count count_if countif sum avg mean min max bool_and bool_or".split()  # noqa: SIM905 - read as words
)
_ALWAYS = frozenset({"class", "type", "query_location", "query_location_length", "alias", "qualified_name"})
_COMPARISONS = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
    "COMPARE_DISTINCT_FROM": "IS DISTINCT FROM",
    "COMPARE_NOT_DISTINCT_FROM": "IS NOT DISTINCT FROM",
}
_EQUALITIES = ("=", "<>", "IS DISTINCT FROM", "IS NOT DISTINCT FROM")
_FRAMES = {
    "UNBOUNDED_PRECEDING": "UNBOUNDED PRECEDING",
    "UNBOUNDED_FOLLOWING": "UNBOUNDED FOLLOWING",
    "CURRENT_ROW_ROWS": "CURRENT ROW",
    "EXPR_PRECEDING_ROWS": "PRECEDING",
    "EXPR_FOLLOWING_ROWS": "FOLLOWING",
}


class Rendered(Protocol):
    """A query that can be written down."""

    @property
    def types(self) -> tuple[Type, ...]:
        """The type of each column."""
        ...

    def sql(self, targets: Sequence[Type] | None = None, read: Collection[int] | None = None) -> str:
        """Its text, with the columns in these types where given; with those of these places alone where given."""
        ...


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a relation in FROM. ``shown`` is what ``*`` and the bare name give, None for one merged by USING."""

    name: str
    value: Value
    shown: Value | None


@dataclass(slots=True)
class Source:
    """A relation in FROM: the names that qualify its columns (folded), and its columns."""

    qualifiers: frozenset[tuple[str, ...]]
    columns: list[Column]


@dataclass(slots=True)
class Scope:
    """What an expression can name, and how a subquery in it is rendered.

    ``aliases`` are the named results of the same SELECT. ``is_sideways`` marks relations that stand beside a subquery
    of FROM. ``depths`` collects how far out each name was found, 0 for the innermost relations.
    """

    sources: Sequence[Source]
    outer: Scope | None
    query: Callable[[Node, Scope], Rendered]
    aliases: Mapping[str, Sequence[Node]] = field(default_factory=dict)
    is_sideways: bool = False
    depths: list[int] = field(default_factory=list)
    expanding: set[str] = field(default_factory=set)


def only(node: Mapping[str, Any], *keys: str) -> None:
    """NotPushed when the node says something that is not known here."""
    unknown = sorted(set(node) - _ALWAYS - set(keys))
    if unknown:
        raise NotPushed(f"{str(node.get('type', 'a part of the statement')).lower()} with {unknown[0]} is not pushed")


def expression(node: Node, scope: Scope) -> Value:
    """The operand that the node stands for."""
    render = _CLASSES.get(str(node.get("class")))
    if render is None:
        raise NotPushed(f"{str(node.get('type')).lower().replace('_', ' ')} is not pushed")
    return render(node, scope)


def condition(node: Node, scope: Scope) -> str:
    """The node as a condition; NotPushed for one that is no boolean."""
    value = expression(node, scope)
    if value.type not in (BOOLEAN, NULL):
        raise NotPushed(f"{value.type} is used as a condition")
    return value.text if value.type == BOOLEAN else "CAST(NULL AS boolean)"


def has_aggregate(node: Any) -> bool:  # Any: the parser's own JSON
    """Whether an aggregate of this query level stands in the expression."""
    if isinstance(node, list):
        return any(map(has_aggregate, node))
    if not isinstance(node, dict) or node.get("class") == "SUBQUERY":
        return False
    if node.get("class") == "FUNCTION" and fold(node["function_name"]) in AGGREGATES:
        return True
    return any(map(has_aggregate, node.values()))


def has_column(node: Any) -> bool:  # Any: as above
    """Whether the expression depends on a column."""
    if isinstance(node, list):
        return any(map(has_column, node))
    return isinstance(node, dict) and (node.get("class") == "COLUMN_REF" or any(map(has_column, node.values())))


def constant_integer(node: Node) -> int | None:
    """The value of an integer literal, also under the casts that the parser or a parameter puts around it."""
    kind = node.get("class")
    if kind == "CONSTANT":
        text = str(node["literal"].get("text", ""))
        is_number = node["literal"].get("kind") in ("INTEGER", "STRING") and text.lstrip("-").isdecimal()
        return int(text) if is_number and text.isascii() else None
    if kind == "CAST" and not node.get("try_cast") and _cast_type(node) in (*INTEGERS, Type("DOUBLE")):
        return constant_integer(node["child"])
    if kind == "FUNCTION" and node.get("function_name") == "trunc" and len(node.get("arguments", ())) == 1:
        return constant_integer(node["arguments"][0]["expression"])
    return None


def sort_text(order: Node, value: Value) -> str:
    """One sort key with its direction, NULLs where DuckDB puts them."""
    only(order, "null_order", "expression")
    direction = {"ORDER_DEFAULT": "ASC", "ASCENDING": "ASC", "DESCENDING": "DESC"}[order["type"]]
    nulls = "FIRST" if order.get("null_order") == "NULLS FIRST" else "LAST"
    return f"{order_key(value)} {direction} NULLS {nulls}"


# --- Names ------------------------------------------------------------------------------------------------------------


def _column(node: Node, scope: Scope) -> Value:
    only(node, "column_names")
    parts = node["column_names"]
    depth, level = 0, scope
    while True:
        found = list(_found(parts, level))
        if not found and len(parts) == 1:
            found = list(_aliased(parts[0], level))
            if found and _is_column_outside(parts, level):
                raise NotPushed(f"the name {parts[0]} is a result and a column of an outer query")
        if len(found) > 1:
            raise NotPushed(f"the name {'.'.join(parts)} could mean several columns")
        if found:
            if level.is_sideways:
                raise NotPushed("a subquery in FROM reads the tables beside it")
            scope.depths.append(depth)
            return found[0]
        if level.outer is None:
            raise NotPushed(f"{'.'.join(parts)} is no column of the tables read")
        depth, level = depth + 1, level.outer


def _found(parts: Sequence[str], scope: Scope) -> Iterator[Value]:
    name, qualifier = fold(parts[-1]), tuple(map(fold, parts[:-1]))
    for source in scope.sources:
        if qualifier and qualifier not in source.qualifiers:
            continue
        for column in source.columns:
            value = column.value if qualifier else column.shown
            if fold(column.name) == name and value is not None:
                yield value


def _is_column_outside(parts: Sequence[str], scope: Scope) -> bool:
    while scope.outer is not None:
        scope = scope.outer
        if any(_found(parts, scope)):
            return True
    return False


def _aliased(name: str, scope: Scope) -> Iterator[Value]:
    """A named result of the same SELECT, which DuckDB takes when no column has the name."""
    folded = fold(name)
    if folded in scope.expanding:
        return
    for node in scope.aliases.get(folded, ()):
        scope.expanding.add(folded)
        yield expression(node, scope)
        scope.expanding.discard(folded)


# --- Plain expressions ------------------------------------------------------------------------------------------------


def _constant(node: Node, scope: Scope) -> Value:
    only(node, "literal")
    return literal(node["literal"])


def _conjunction(node: Node, scope: Scope) -> Value:
    only(node, "children")
    sign = {"CONJUNCTION_AND": " AND ", "CONJUNCTION_OR": " OR "}[node["type"]]
    return Value(f"({sign.join(condition(child, scope) for child in node['children'])})", BOOLEAN)


def _comparison(node: Node, scope: Scope) -> Value:
    only(node, "left", "right")
    sign = _COMPARISONS.get(node["type"])
    if sign is None:
        raise NotPushed(f"{node['type']} is not pushed")
    pair = [expression(node["left"], scope), expression(node["right"], scope)]
    left, right = compared(pair, is_order=sign not in _EQUALITIES)
    return Value(f"({left} {sign} {right})", BOOLEAN)


def _between(node: Node, scope: Scope) -> Value:
    only(node, "input", "lower", "upper")
    values = [expression(node[key], scope) for key in ("input", "lower", "upper")]
    value, lower, upper = compared(values, is_order=True)
    return Value(f"({value} BETWEEN {lower} AND {upper})", BOOLEAN)


def _operator(node: Node, scope: Scope) -> Value:
    only(node, "children")
    kind, children = node["type"], node["children"]
    if kind == "OPERATOR_NOT":
        return Value(f"(NOT {condition(children[0], scope)})", BOOLEAN)
    values = [expression(child, scope) for child in children]
    if kind in ("OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL"):
        return Value(f"({values[0].text} IS {'NOT ' if 'NOT' in kind else ''}NULL)", BOOLEAN)
    if kind == "OPERATOR_COALESCE":
        return coalesce(values)
    if kind in ("COMPARE_IN", "COMPARE_NOT_IN"):
        first, *rest = compared(values, is_order=False)
        return Value(f"({first} {'NOT ' if 'NOT' in kind else ''}IN ({', '.join(rest)}))", BOOLEAN)
    raise NotPushed(f"{kind.lower()} is not pushed")


def _case(node: Node, scope: Scope) -> Value:
    only(node, "case_checks", "else_expr")
    conditions = [condition(check["when_expr"], scope) for check in node["case_checks"]]
    results = [expression(check["then_expr"], scope) for check in node["case_checks"]]
    texts, type_ = united([*results, expression(node["else_expr"], scope)])
    checks = " ".join(f"WHEN {when} THEN {then}" for when, then in zip(conditions, texts, strict=False))
    # A lone literal takes the others' type; alone among literals it stays one of its own type.
    return Value(f"(CASE {checks} ELSE {texts[-1]} END)", type_)


def _cast(node: Node, scope: Scope) -> Value:
    only(node, "child", "type_expr", "try_cast")
    if node.get("try_cast"):
        raise NotPushed("TRY_CAST has no proven equal in postgres")
    return cast(expression(node["child"], scope), _cast_type(node))


def _cast_type(node: Node) -> Type:
    spelled = node["type_expr"]
    only(spelled, "type_name", "children")
    if len(spelled.get("qualified_name", {}).get("path", ())) > 1 or spelled.get("class") != "TYPE":
        raise NotPushed("a type is named with a schema")
    name = spelled["type_name"]
    modifiers = [constant_integer(child) for child in spelled.get("children", ())]
    if modifiers and fold(name) in ("decimal", "numeric", "dec"):
        name += f"({','.join(map(str, modifiers))})"
    return read_type(name)


# --- Functions --------------------------------------------------------------------------------------------------------


def _function(node: Node, scope: Scope) -> Value:
    only(node, "function_name", "order_bys", "is_operator", "arguments", "distinct", "filter")
    name = fold(node["function_name"])
    if len(node.get("qualified_name", {}).get("path", ())) > 1:
        raise NotPushed(f"{name} is named with a schema")
    if name in INTERVALS:
        return _interval(name, node)
    if name not in AGGREGATES:
        if node.get("distinct") or "filter" in node:
            raise NotPushed(f"{name} has no proven equal in postgres")
        return call(name, _arguments(node, scope))
    if node.get("order_bys", {}).get("orders"):
        raise NotPushed(f"{name} with ORDER BY is not pushed")
    tail, seen = "", len(scope.depths)
    arguments = _arguments(node, scope)
    if "filter" in node:
        tail = f" FILTER (WHERE {condition(node['filter'], scope)})"
    if len(scope.depths) > seen and 0 not in scope.depths[seen:]:
        raise NotPushed("an aggregate in a subquery is over columns of the outer query alone")
    return aggregate(name, arguments, is_distinct=bool(node.get("distinct")), tail=tail)


def _arguments(node: Node, scope: Scope) -> list[Value]:
    for argument in node.get("arguments", ()):
        if set(argument) != {"expression"}:
            raise NotPushed("an argument is given by name")
    return [expression(argument["expression"], scope) for argument in node.get("arguments", ())]


def _interval(name: str, node: Node) -> Value:
    (argument,) = node["arguments"]
    count = constant_integer(argument["expression"])
    if count is None or abs(count) > 1_000_000:
        raise NotPushed("an interval is not constant")
    return interval(name, count)


def _window(node: Node, scope: Scope) -> Value:
    only(
        node,
        "function_name",
        "partitions",
        "orders",
        "start",
        "end",
        "start_expr",
        "end_expr",
        "arguments",
        "filter_expr",
    )
    name = fold(node["function_name"])
    arguments = _arguments(node, scope)
    over = f" OVER ({_over(node, scope)})"
    if "filter_expr" in node:
        over = f" FILTER (WHERE {condition(node['filter_expr'], scope)}){over}"
    ranked = ranking(name, over) if not arguments else None
    if ranked is not None:
        return ranked
    if name in ("lag", "lead"):
        return neighbour(name, arguments, over)
    return aggregate(name, arguments, is_distinct=False, tail=over)


def _over(node: Node, scope: Scope) -> str:
    parts = []
    if node.get("partitions"):
        keys = [order_key(expression(part, scope)) for part in node["partitions"]]
        parts.append(f"PARTITION BY {', '.join(keys)}")
    if node.get("orders"):
        keys = [sort_text(order, expression(order["expression"], scope)) for order in node["orders"]]
        parts.append(f"ORDER BY {', '.join(keys)}")
    start, end = node.get("start", "UNBOUNDED_PRECEDING"), node.get("end", "CURRENT_ROW_RANGE")
    if (start, end) != ("UNBOUNDED_PRECEDING", "CURRENT_ROW_RANGE"):
        parts.append(f"ROWS BETWEEN {_edge(node, start, 'start_expr')} AND {_edge(node, end, 'end_expr')}")
    return " ".join(parts)


def _edge(node: Node, kind: str, key: str) -> str:
    if kind not in _FRAMES:
        raise NotPushed("a window frame is not of rows")
    if not kind.startswith("EXPR"):
        return _FRAMES[kind]
    count = constant_integer(node[key])
    if count is None or count < 0:
        raise NotPushed("a window frame is not constant")
    return f"{integer(count).text} {_FRAMES[kind]}"


# --- Subqueries -------------------------------------------------------------------------------------------------------


def _subquery(node: Node, scope: Scope) -> Value:
    only(node, "subquery_type", "subquery", "comparison_type", "child")
    query = scope.query(node["subquery"]["node"], scope)
    kind = node["subquery_type"]
    if kind == "EXISTS":
        return Value(f"(EXISTS ({query.sql(read=())}))", BOOLEAN)
    if len(query.types) != 1:
        raise NotPushed("a subquery in an expression has several columns")
    if kind == "SCALAR":
        return Value(f"({query.sql()})", query.types[0])
    if kind != "ANY" or node.get("comparison_type") != "COMPARE_EQUAL":
        raise NotPushed("a comparison with ANY or ALL is pushed for = alone")
    value = expression(node["child"], scope)
    type_, holds_all = common_type([value.type, query.types[0]], [None, None])
    if not holds_all:
        raise NotPushed("decimals need more than 38 digits together")
    (left, _), target = united([value, Value("NULL", type_)])
    left = by_bytes(left) if target == VARCHAR else left
    return Value(f"({left} IN ({query.sql([target])}))", BOOLEAN)


def _positional(node: Node, scope: Scope) -> Value:
    raise NotPushed("#n is not pushed")


_CLASSES: Mapping[str, Callable[[Node, Scope], Value]] = {
    "BETWEEN": _between,
    "CASE": _case,
    "CAST": _cast,
    "COLUMN_REF": _column,
    "COMPARISON": _comparison,
    "CONJUNCTION": _conjunction,
    "CONSTANT": _constant,
    "FUNCTION": _function,
    "OPERATOR": _operator,
    "POSITIONAL_REFERENCE": _positional,
    "SUBQUERY": _subquery,
    "WINDOW": _window,
}

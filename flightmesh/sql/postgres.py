"""SELECT statements of DuckDB's dialect in PostgreSQL's, for statements whose answers are proven equal.

Equal means: whenever both answer, rows and values are the same; sums and averages of doubles may differ in their last
digits, as they do between two runs of DuckDB on several threads. Where DuckDB raises, PostgreSQL may answer, and the
other way round. Rows that DuckDB may choose freely (LIMIT without a full order) may be others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from flightmesh.names import fold, quote
from flightmesh.sql.postgres_expressions import (
    Node,
    Scope,
    condition,
    constant_integer,
    expression,
    has_aggregate,
    has_column,
    only,
    sort_text,
)
from flightmesh.sql.postgres_relations import From, Output, Relation, Surroundings, read_in, relations
from flightmesh.sql.postgres_values import Value, by_bytes, convert, type_name
from flightmesh.sql.pushable import HUGEINT, NULL, OTHER, VARCHAR, NotPushed, RemoteTable, Type, common_type, read_type

_SET_OPERATIONS = {"UNION": "UNION", "EXCEPT": "EXCEPT", "INTERSECT": "INTERSECT"}
# The types of the result's columns, None for those that they have by themselves.
_Targets = Sequence[Type] | None
# The places of the columns that are read, None for all.
_Read = Collection[int] | None
_NOTHING = "1 AS c0"
_HUGEINT_IN_ARROW = Type("DECIMAL", 38, 0)


@dataclass(frozen=True, slots=True)
class _Item:
    """A result column: its name, its operand, and the node that it was written as (None for one of a star)."""

    name: str
    value: Value
    node: Node | None


@dataclass(frozen=True, slots=True)
class _Query:
    """A rendered query. ``write`` makes its text, with each column cast to a type where types are given, and with
    those columns alone that are read; where none is, one that means nothing.

    ``passed`` is the relation of which it is nothing but columns.
    """

    columns: tuple[Output, ...]
    write: Callable[[_Targets, _Read], str]
    passed: Relation | None = None

    @property
    def types(self) -> tuple[Type, ...]:
        return tuple(column.type for column in self.columns)

    def sql(self, targets: _Targets = None, read: _Read = None) -> str:
        return self.write(targets, read)

    def relation(self) -> Relation:
        """The query as a relation in FROM."""
        return self.passed or Relation(lambda read: f"({self.sql(read=read)})", self.columns, is_name=False)


@dataclass(frozen=True, slots=True)
class _Modifiers:
    is_distinct: bool
    orders: Sequence[Node]
    tail: str


def render(root: Mapping[str, Any], tables: Sequence[RemoteTable], result: Sequence[str]) -> str:
    """The statement with its columns as c0, c1 and so on, in the types of ``result``; NotPushed with the reason."""
    paths = {tuple(map(fold, table.path)): table for table in tables}
    query = _Renderer(paths).query(root["node"], {}, None)
    if len(query.types) != len(result):
        raise NotPushed("the number of its columns could not be followed")
    targets = [read_type(text) for text in result]
    for found, expected in zip(query.types, targets, strict=True):
        is_same = (found.kind, found.scale) == (expected.kind, expected.scale)
        # Arrow has no wider integers: DuckDB hands out a HUGEINT as the decimal.
        if not is_same and found != NULL and (found, expected) != (HUGEINT, _HUGEINT_IN_ARROW):
            raise NotPushed(f"a column was followed as {found} and is {expected}")
    return query.sql(targets)


class _Renderer:
    """One statement's rendering: the tables that it may read, and the names given out so far."""

    def __init__(self, tables: Mapping[tuple[str, ...], RemoteTable]) -> None:
        self.tables = tables
        self.numbers: Iterator[int] = count(1)

    def query(self, node: Node, ctes: Mapping[str, Relation], outer: Scope | None) -> _Query:
        """A query node with its CTEs."""
        withs: list[tuple[str, _Query]] = []
        for entry in node.get("cte_map", {}).get("map", ()):
            only(entry["value"], "aliases", "materialized", "query_node")
            body = self.query(entry["value"]["query_node"], ctes, outer)
            aliases = entry["value"].get("aliases", [])
            columns = [
                replace(column, name=aliases[index] if index < len(aliases) else column.name)
                for index, column in enumerate(body.columns)
            ]
            withs.append((f"w{next(self.numbers)}", body))
            ctes = {**ctes, fold(entry["key"]): _cte(withs[-1][0], body, columns)}
        if node["type"] == "SELECT_NODE":
            rendered = self.select(node, ctes, outer)
        elif node["type"] == "SET_OPERATION_NODE":
            rendered = self.set_operation(node, ctes, outer)
        else:
            raise NotPushed(f"{node['type'].removesuffix('_NODE').lower().replace('_', ' ')} is not pushed")
        if not withs:
            return rendered
        return replace(rendered, write=lambda targets, read: _with(withs, rendered.write(targets, read)), passed=None)

    def select(self, node: Node, ctes: Mapping[str, Relation], outer: Scope | None) -> _Query:
        only(
            node,
            *("modifiers", "cte_map", "select_list", "from_table", "where_clause", "group_expressions", "group_sets"),
            *("aggregate_handling", "having", "qualify"),
        )

        def subquery(inner: Node, scope: Scope | None) -> _Query:
            return self.query(inner, ctes, scope)

        beside = Scope((), outer, subquery)
        around = Surroundings(self.tables, ctes, self.numbers, lambda n, s: subquery(n, s).relation(), beside)
        found = relations(node["from_table"], around)
        scope = Scope(found.sources, outer, subquery, aliases=_aliases(node["select_list"]))
        items = [item for written in node["select_list"] for item in _items(written, scope)]
        return replace(_Select(node, scope, items, found).query(), passed=_passed(node, items, found))

    def set_operation(self, node: Node, ctes: Mapping[str, Relation], outer: Scope | None) -> _Query:
        only(node, "modifiers", "cte_map", "setop_type", "setop_all", "children")
        word = _SET_OPERATIONS.get(node["setop_type"])
        if word is None:
            raise NotPushed(f"{node['setop_type'].replace('_', ' ')} is not pushed")
        parts = [self.query(child, ctes, outer) for child in node["children"]]
        if len({len(part.types) for part in parts}) != 1:
            raise NotPushed("the parts of a set operation have different numbers of columns")
        types = [_common([part.types[index] for part in parts]) for index in range(len(parts[0].types))]
        glue = f" {word}{' ALL' if node.get('setop_all', True) else ''} "
        if glue != " UNION ALL " and OTHER in types:
            raise NotPushed("a set operation compares columns of a type that is not known here")

        def body(read: _Read) -> str:
            # Each part names its texts' collation, so that columns of different ones can be compared.
            return glue.join(f"({_with_collation(part, types, read)})" for part in parts)

        columns = enumerate(zip(parts[0].columns, types, strict=True))
        items = [_Item(column.name, Value(f"c{i}", type_, is_typed=True), None) for i, (column, type_) in columns]
        modifiers = _modifiers(node)
        # Other columns decide which rows are the same, unless all rows stay.
        return _wrapped(body, items, modifiers, is_whole=glue != " UNION ALL " or modifiers.is_distinct)


def _cte(name: str, body: _Query, columns: Sequence[Output]) -> Relation:
    """A CTE as a relation: the one that it passes on where that has a name, else its own name."""
    if body.passed is not None and body.passed.is_name:
        return replace(body.passed, columns=_renamed(body.passed.columns, columns))
    numbered = [replace(column, remote=f"c{index}") for index, column in enumerate(columns)]
    return Relation(lambda _: quote(name), numbered)


def _renamed(passed: Sequence[Output], named: Sequence[Output]) -> list[Output]:
    return [replace(one, name=other.name) for one, other in zip(passed, named, strict=True)]


def _with(withs: Sequence[tuple[str, _Query]], text: str) -> str:
    """The text behind those of the CTEs that it reads, each with the columns that are read."""
    head: list[str] = []
    for name, body in reversed(withs):
        users = " ".join([*head, text])
        ours = re.findall(rf'"{name}" AS (r\d+)\b', users)
        if ours:
            read = set().union(*(read_in(users, relation) for relation in ours))
            head.insert(0, f"{name} AS ({body.sql(read=read)})")
    return f"WITH {', '.join(head)} {text}" if head else text


def _passed(node: Node, items: Sequence[_Item], found: From) -> Relation | None:
    """The relation that the SELECT passes on as it is, columns apart; None where it does more."""
    steps = {key for key, value in node.items() if value} - {"type", "select_list", "from_table", "aggregate_handling"}
    if found.only is None or steps or node.get("aggregate_handling") != "STANDARD_HANDLING":
        return None
    relation, outputs = found.only
    columns = [outputs.get(item.value.text) for item in items]
    if None in columns:
        return None
    named = [replace(column, name=item.name) for column, item in zip(columns, items, strict=True) if column is not None]
    return replace(relation, columns=named)


def _common(types: Sequence[Type]) -> Type:
    type_, holds_all = common_type(types, [None] * len(types))
    if not holds_all:
        raise NotPushed("decimals need more than 38 digits together")
    return type_


def _with_collation(part: _Query, types: Sequence[Type], read: _Read) -> str:
    text = part.sql(types, read)
    kept = {i: type_ for i, type_ in enumerate(types) if read is None or i in read}
    if VARCHAR not in kept.values():
        return text
    columns = [f"{by_bytes(f'c{i}') if type_ == VARCHAR else f'c{i}'} AS c{i}" for i, type_ in kept.items()]
    return f"SELECT {', '.join(columns)} FROM ({text}) AS q"


def _aliases(select_list: Sequence[Node]) -> dict[str, list[Node]]:
    found: dict[str, list[Node]] = {}
    for node in select_list:
        if node.get("alias"):
            found.setdefault(fold(node["alias"]), []).append({**node, "alias": ""})
    return found


def _items(node: Node, scope: Scope) -> Iterator[_Item]:
    """The result columns of one entry of the SELECT list."""
    if node.get("class") != "STAR":
        name = node.get("alias") or (node["column_names"][-1] if node.get("class") == "COLUMN_REF" else "")
        yield _Item(name, expression(node, scope), node)
        return
    only(node, "relation_name", "exclude_list")
    wanted, excluded = node.get("relation_name"), set(map(fold, node.get("exclude_list", ())))
    sources = [source for source in scope.sources if wanted is None or (fold(wanted),) in source.qualifiers]
    if wanted is not None and len(sources) != 1:
        raise NotPushed(f"{wanted}.* could mean several tables")
    for source in sources:
        for column in source.columns:
            value = column.shown if wanted is None else column.value
            if value is not None and fold(column.name) not in excluded:
                yield _Item(column.name, value, None)


def _modifiers(node: Node) -> _Modifiers:
    is_distinct, orders, tail = False, list[Node](), ""
    for modifier in node.get("modifiers", ()):
        if modifier["type"] == "DISTINCT_MODIFIER":
            only(modifier)
            is_distinct = True
        elif modifier["type"] == "ORDER_MODIFIER":
            only(modifier, "orders")
            orders = modifier["orders"]
        elif modifier["type"] == "LIMIT_MODIFIER":
            only(modifier, "limit", "offset")
            tail = _limit(modifier, "limit") + _limit(modifier, "offset")
        else:
            raise NotPushed(f"{modifier['type'].removesuffix('_MODIFIER').lower()} is not pushed")
    return _Modifiers(is_distinct, orders, tail)


def _limit(modifier: Node, key: str) -> str:
    if key not in modifier:
        return ""
    number = constant_integer(modifier[key])
    if number is None or not 0 <= number < 2**63:
        raise NotPushed(f"{key.upper()} is not a constant number")
    return f" {key.upper()} {number}"


class _Select:
    """A SELECT whose relations and results are known: its groups, conditions and order."""

    def __init__(self, node: Node, scope: Scope, items: list[_Item], source: From) -> None:
        self.node, self.scope, self.items, self.source = node, scope, items, source
        self.modifiers = _modifiers(node)

    def query(self) -> _Query:
        node, scope = self.node, self.scope
        core = ""
        if "where_clause" in node:
            core += f" WHERE {condition(node['where_clause'], scope)}"
        groups = self.groups()
        if groups:
            core += f" GROUP BY {', '.join(groups)}"
        if "having" in node:
            _refuse_hidden_alias(node["having"], scope)
            core += f" HAVING {condition(node['having'], scope)}"
        if self.modifiers.is_distinct and any(item.value.type == OTHER for item in self.items):
            raise NotPushed("DISTINCT is over a column of a type that is not known here")
        # Without its aggregates a SELECT that has no groups would have a row for each that it reads.
        is_one_row = not groups and ("having" in node or any(has_aggregate(item.node) for item in self.items))
        if "qualify" in node:
            return self.qualified(core, is_whole=is_one_row)
        if self.modifiers.is_distinct:
            body = self.text(f"DISTINCT {self.listed()}", core)
            return _wrapped(lambda _: body, self.items, self.modifiers, is_whole=True)
        tail = f"{core}{self.order()}{self.modifiers.tail}"
        if is_one_row:
            return _query(self.items, lambda targets, read: _chosen(self.text(self.listed(targets), tail), read))
        return _query(self.items, lambda targets, read: self.text(self.listed(targets, read), tail))

    def listed(self, targets: _Targets = None, read: _Read = None) -> str:
        return _listed(self.items, targets, read)

    def text(self, listed: str, tail: str) -> str:
        """The SELECT of the list, over what is read of its relations."""
        source = self.source.text(f"{listed} {tail}")
        return f"SELECT {listed}{' FROM ' if source else ''}{source}{tail}"

    def qualified(self, core: str, *, is_whole: bool) -> _Query:
        """QUALIFY: a condition over the rows of the SELECT as it stands without."""
        _refuse_hidden_alias(self.node["qualify"], self.scope)
        if self.modifiers.is_distinct:
            raise NotPushed("QUALIFY with DISTINCT is not pushed")
        kept = f"{condition(self.node['qualify'], self.scope)} AS kept"

        def body(read: _Read) -> str:
            return self.text(f"{self.listed(read=read)}, {kept}", core)

        return _wrapped(body, self.items, self.modifiers, is_whole=is_whole, where=" WHERE q.kept")

    def groups(self) -> list[str]:
        node = self.node
        if node.get("aggregate_handling") == "FORCE_AGGREGATES":
            if any(item.node is not None and _has_window(item.node) for item in self.items):
                raise NotPushed("GROUP BY ALL with a window is not pushed")
            found = [item for item in self.items if item.node is None or not has_aggregate(item.node)]
        else:
            expressions = node.get("group_expressions", [])
            if node.get("group_sets", []) not in ([], [list(range(len(expressions)))]):
                raise NotPushed("GROUPING SETS, ROLLUP and CUBE are not pushed")
            found = [self.group(written) for written in expressions]
        if found and not any(item.node is None or has_column(item.node) for item in found):
            # DuckDB may take them for no groups at all, and then answers a row where there is none.
            raise NotPushed("rows are grouped by constants")
        values = [item.value for item in found]
        if any(value.type in (OTHER, NULL) for value in values):
            raise NotPushed("rows are grouped by a column of a type that is not known here")
        return list(dict.fromkeys(value.text for value in values))

    def group(self, written: Node) -> _Item:
        position = _position(written)
        return _Item("", expression(written, self.scope), written) if position is None else self.item(position)

    def order(self) -> str:
        keys = []
        for order in self.modifiers.orders:
            found = _matched(order["expression"], self.items)
            values = [item.value for item in found] or [expression(order["expression"], self.scope)]
            keys += [sort_text(order, value) for value in values]
        return f" ORDER BY {', '.join(keys)}" if keys else ""

    def item(self, position: int) -> _Item:
        if not 1 <= position <= len(self.items):
            raise NotPushed("a position is outside the SELECT list")
        return self.items[position - 1]


def _query(items: Sequence[_Item], write: Callable[[_Targets, _Read], str]) -> _Query:
    columns = enumerate((item.name, item.value) for item in items)
    return _Query(tuple(Output(name, f"c{i}", value.type, value.is_typed) for i, (name, value) in columns), write)


def _listed(items: Sequence[_Item], targets: _Targets = None, read: _Read = None) -> str:
    """The SELECT list under names of ours, each column in its target type."""
    parts = []
    for index, item in enumerate(items):
        if read is not None and index not in read:
            continue
        text, type_ = item.value.text, item.value.type
        if targets is not None and targets[index] != OTHER and not (item.value.is_typed and type_ == targets[index]):
            converted = convert(replace(item.value, string=None), _like(type_, targets[index]))
            text = f"CAST({converted} AS {type_name(targets[index])})"
        parts.append(f"{text} AS c{index}")
    return ", ".join(parts) or _NOTHING


def _chosen(text: str, read: _Read) -> str:
    """Of the query those columns that are read."""
    if read is None:
        return text
    return f"SELECT {', '.join(f'q.c{index} AS c{index}' for index in sorted(read)) or _NOTHING} FROM ({text}) AS q"


def _like(found: Type, target: Type) -> Type:
    """The target, or the type itself where only a decimal's width tells them apart."""
    return found if (found.kind, found.scale) == (target.kind, target.scale) else target


def _wrapped(
    body: Callable[[_Read], str], items: Sequence[_Item], modifiers: _Modifiers, *, is_whole: bool, where: str = ""
) -> _Query:
    """A query around another, for an order that can only name its results. ``is_whole``: the other's rows depend on
    all its columns.
    """
    outside = [
        replace(item, value=Value(f"q.c{index}", item.value.type, is_typed=item.value.is_typed))
        for index, item in enumerate(items)
    ]
    keys, ordered = list[str](), set[int]()
    for order in modifiers.orders:
        found = _matched(order["expression"], items)
        if not found:
            raise NotPushed("the rows of a set operation, DISTINCT or QUALIFY are ordered by more than a result column")
        places = list(map(items.index, found))
        keys += [sort_text(order, outside[place].value) for place in places]
        ordered.update(places)
    tail = f"{where}{' ORDER BY ' + ', '.join(keys) if keys else ''}{modifiers.tail}"

    def write(targets: _Targets, read: _Read) -> str:
        inside = body(None if is_whole or read is None else {*read, *ordered})
        return f"SELECT {_listed(outside, targets, read)} FROM ({inside}) AS q{tail}"

    return _query(outside, write)


def _matched(node: Node, items: Sequence[_Item]) -> list[_Item]:
    """The results that a sort key means: by position, by name, by being written alike, or all of them."""
    position = _position(node)
    if position is not None:
        if not 1 <= position <= len(items):
            raise NotPushed("a position is outside the SELECT list")
        return [items[position - 1]]
    if node.get("class") == "STAR":
        only(node, "columns")
        return list(items)
    if node.get("class") == "COLUMN_REF" and len(node["column_names"]) == 1:
        named = [item for item in items if item.name and fold(item.name) == fold(node["column_names"][0])]
        if len({item.value.text for item in named}) > 1:
            raise NotPushed("a sort key could mean several result columns")
        if named:
            return named[:1]
    alike = [item for item in items if item.node is not None and _bare(item.node) == _bare(node)]
    return alike[:1]


def _position(node: Node) -> int | None:
    """The position that a bare integer means in GROUP BY and ORDER BY."""
    is_number = node.get("class") == "CONSTANT" and node["literal"].get("kind") == "INTEGER"
    return constant_integer(node) if is_number else None


def _bare(value: Any) -> Any:  # Any: the parser's own JSON
    """The tree without positions in the text and without the name given to it."""
    if isinstance(value, list):
        return [_bare(item) for item in value]
    if isinstance(value, dict):
        left_out = ("query_location", "query_location_length", "alias")
        return {key: _bare(child) for key, child in value.items() if key not in left_out}
    return value


def _has_window(node: Any) -> bool:  # Any: the parser's own JSON
    if isinstance(node, list):
        return any(map(_has_window, node))
    return isinstance(node, dict) and (node.get("class") == "WINDOW" or any(map(_has_window, node.values())))


def _refuse_hidden_alias(node: Any, scope: Scope) -> None:  # Any: the parser's own JSON
    """NotPushed where HAVING or QUALIFY names what is both a column and a result."""
    if isinstance(node, list):
        for item in node:
            _refuse_hidden_alias(item, scope)
    elif isinstance(node, dict):
        names = node.get("column_names", ())
        if len(names) == 1 and fold(names[0]) in scope.aliases:
            columns = {fold(column.name) for source in scope.sources for column in source.columns}
            same = [_bare(alias) == _bare(node) for alias in scope.aliases[fold(names[0])]]
            if fold(names[0]) in columns and not all(same):
                raise NotPushed(f"the name {names[0]} is a column and a result")
        for child in node.values():
            _refuse_hidden_alias(child, scope)

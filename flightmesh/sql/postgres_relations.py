"""FROM clauses in PostgreSQL's words: tables of the database, subqueries, CTEs and joins, each under a name of ours.

Names of the statement's author do not reach the database: relations are r1, r2 and so on, columns c0, c1 and so on.
A column is read where ``r1."c0"`` stands in the text: what a subquery has besides is left out when the text around it
is known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from flightmesh.names import fold, quote
from flightmesh.sql.postgres_expressions import Column, Node, Scope, Source, condition, expression, only
from flightmesh.sql.postgres_functions import coalesce
from flightmesh.sql.postgres_values import Value, compared, convert
from flightmesh.sql.pushable import OTHER, NotPushed, RemoteTable, Type, common_type, read_type

_JOINS = {"INNER": "INNER JOIN", "LEFT": "LEFT JOIN", "RIGHT": "RIGHT JOIN", "OUTER": "FULL JOIN", "FULL": "FULL JOIN"}
_IDENTIFIER_BYTES_MAX = 63  # PostgreSQL cuts longer ones.


@dataclass(frozen=True, slots=True)
class Output:
    """A column of a relation: its author's name, the database's, its type, and whether the database has it in that."""

    name: str
    remote: str
    type: Type
    is_typed: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """What FROM can read: its text for the places of the columns that are read, and its columns.

    ``is_name``: the text is a name, and may stand in a statement more than once.
    """

    text: Callable[[Collection[int]], str]
    columns: Sequence[Output]
    is_name: bool = True


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a FROM clause can read, and how a query in it is rendered: its result's names come with it."""

    tables: Mapping[tuple[str, ...], RemoteTable]
    ctes: Mapping[str, Relation]
    numbers: Iterator[int]
    query: Callable[[Node, Scope | None], Relation]
    scope: Scope


@dataclass(frozen=True, slots=True)
class From:
    """A FROM clause: its text for the text around it, and the relations that it brings into scope.

    ``only`` is the one relation that it consists of, with its columns by the texts that read them.
    """

    text: Callable[[str], str]
    sources: list[Source]
    only: tuple[Relation, Mapping[str, Output]] | None = None


def read_in(text: str, name: str) -> set[int]:
    """The places of the relation's columns that the text reads."""
    return {int(place) for place in re.findall(rf'\b{name}\."c(\d+)"', text)}


def relations(node: Node, around: Surroundings) -> From:
    """The FROM clause of the node."""
    render = _KINDS.get(node["type"])
    if render is None:
        kind = "unpivot" if "unpivot_names" in node else node["type"].lower().replace("_", " ")
        raise NotPushed(f"{kind} in FROM is not pushed")
    return render(node, around)


def _base_table(node: Node, around: Surroundings) -> From:
    only(node, "catalog_name", "schema_name", "table_name", "column_name_alias")
    path = tuple(map(fold, node["qualified_name"]["path"]))
    alias = node.get("alias")
    if len(path) == 1 and path[0] in around.ctes:
        return _named(around.ctes[path[0]], node, alias or path[0], (), around)
    table = around.tables.get(path)
    if table is None:
        raise NotPushed("it reads more than tables of this database")
    columns = [Output(name, name, _column_type(text), is_typed=True) for name, text in table.columns.items()]
    remote = ".".join(map(_identifier, table.remote))
    return _named(Relation(lambda _: remote, columns), node, alias or path[-1], () if alias else path, around)


def _identifier(name: str) -> str:
    if len(name.encode()) > _IDENTIFIER_BYTES_MAX or "\0" in name:
        raise NotPushed("a name has more than 63 bytes")
    return quote(name)


def _column_type(text: str) -> Type:
    try:
        return read_type(text)
    except NotPushed:
        return OTHER


def _named(relation: Relation, node: Node, name: str, path: tuple[str, ...], around: Surroundings) -> From:
    """A relation under a name of ours, with the columns as the author calls them."""
    ours = f"r{next(around.numbers)}"
    aliases = node.get("column_name_alias", [])
    found, outputs = [], {}
    for index, output in enumerate(relation.columns):
        value = Value(f"{ours}.{_identifier(output.remote)}", output.type, is_typed=output.is_typed)
        found.append(Column(aliases[index] if index < len(aliases) else output.name, value, value))
        outputs[value.text] = output
    # A table's columns may be qualified by every end of its path, and by catalogue and name.
    qualifiers = {path[start:] for start in range(len(path))} | {path[:1] + path[-1:]} if path else set()
    sources = [Source(frozenset({(fold(name),), *qualifiers}), found)]
    return From(lambda rest: f"{relation.text(read_in(rest, ours))} AS {ours}", sources, (relation, outputs))


def _subquery(node: Node, around: Surroundings) -> From:
    only(node, "subquery", "column_name_alias")
    return _named(around.query(node["subquery"]["node"], around.scope), node, node.get("alias", ""), (), around)


def _values(node: Node, around: Surroundings) -> From:
    """VALUES: rows of expressions, each column in the type that its rows have in common."""
    only(node, "values", "expected_names")
    rows = [[expression(item, around.scope) for item in row] for row in node["values"]]
    types = []
    for column in zip(*rows, strict=True):
        type_, holds_all = common_type([value.type for value in column], [value.integer for value in column])
        if not holds_all:
            raise NotPushed("decimals need more than 38 digits together")
        types.append(type_)
    lines = [", ".join(convert(value, type_) for value, type_ in zip(row, types, strict=True)) for row in rows]
    selects = " UNION ALL ".join(f"SELECT {line}" for line in lines)
    names = ", ".join(f"c{index}" for index in range(len(types)))
    ours = f"v{next(around.numbers)}"
    columns = [Output(f"col{index}", f"c{index}", type_, is_typed=False) for index, type_ in enumerate(types)]
    text = f"(SELECT * FROM ({selects}) AS {ours}({names}))"
    return _named(Relation(lambda _: text, columns, is_name=False), node, node.get("alias", ""), (), around)


def _empty(node: Node, around: Surroundings) -> From:
    return From(lambda _: "", [])


def _join(node: Node, around: Surroundings) -> From:
    only(node, "left", "right", "condition", "join_type", "ref_type", "using_columns", "is_implicit")
    left = relations(node["left"], around)
    beside = Scope(left.sources, around.scope, around.scope.query, is_sideways=True)
    right = relations(node["right"], replace(around, scope=beside))
    sources = [*left.sources, *right.sources]
    if node["ref_type"] == "CROSS":
        return From(lambda rest: f"({left.text(rest)} CROSS JOIN {right.text(rest)})", sources)
    words = _JOINS.get(node["join_type"])
    if words is None or node["ref_type"] != "REGULAR":
        raise NotPushed(f"a {node['ref_type'].lower()} {node['join_type'].lower()} join is not pushed")
    if "using_columns" in node:
        matches = [_merge(name, words, left.sources, right.sources) for name in node["using_columns"]]
        on = " AND ".join(matches)
    else:
        if words == "FULL JOIN" and not _is_equality(node["condition"]):
            raise NotPushed("a full join by more than equal columns is not pushed")
        on = condition(node["condition"], Scope(sources, around.scope, around.scope.query))

    def text(rest: str) -> str:
        read = f"{rest} {on}"
        return f"({left.text(read)} {words} {right.text(read)} ON {on})"

    return From(text, sources)


def _is_equality(node: Node) -> bool:
    if node["type"] == "CONJUNCTION_AND":
        return all(map(_is_equality, node["children"]))
    if node["type"] != "COMPARE_EQUAL":
        return False
    return all(node[side].get("class") == "COLUMN_REF" for side in ("left", "right"))


def _merge(name: str, words: str, left: Sequence[Source], right: Sequence[Source]) -> str:
    """The condition that a USING column stands for; the right side's column is seen no more by its bare name."""
    (one, first), (other, second) = _shown(name, left), _shown(name, right)
    values = [_value(one, first), _value(other, second)]
    shown = coalesce(values) if words == "FULL JOIN" else values[words == "RIGHT JOIN"]
    if shown.type != values[0].type:
        raise NotPushed(f"the joined columns {name} have two types")
    one.columns[first] = replace(one.columns[first], shown=shown)
    other.columns[second] = replace(other.columns[second], shown=None)
    equal = compared(values, is_order=False)
    return f"{equal[0]} = {equal[1]}"


def _shown(name: str, sources: Sequence[Source]) -> tuple[Source, int]:
    found = [
        (source, index)
        for source in sources
        for index, column in enumerate(source.columns)
        if fold(column.name) == fold(name) and column.shown is not None
    ]
    if len(found) != 1:
        raise NotPushed(f"the joined column {name} could mean several")
    return found[0]


def _value(source: Source, index: int) -> Value:
    shown = source.columns[index].shown
    assert shown is not None
    return shown


_KINDS: Mapping[str, Callable[[Node, Surroundings], From]] = {
    "BASE_TABLE": _base_table,
    "EMPTY": _empty,
    "EXPRESSION_LIST": _values,
    "JOIN": _join,
    "SUBQUERY": _subquery,
}

"""A statement with some of its relations replaced: by subqueries, or by relations of another name.

The tree is the parser's, and so is the text that comes out: nothing is replaced in text. Names resolve afterwards as
they did before; a statement for which that cannot be had is refused. What replaces what is the caller's decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, NoReturn

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import fold
from flightmesh.sql.ast import parse, write

Path = tuple[str, ...]
Node = dict[str, Any]  # Any: the parser's own JSON, walked by type tags

_QUERY_NODES = ("SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE")
_ALIAS_HINT = "Give each table in FROM an alias, and name columns by it."


def compose(
    sql: str, replacements: Mapping[Path, str | Path], *, bytes_max: int = 1_000_000, depth_max: int = 1_000
) -> str:
    """DuckDB's text of the SELECT in which relations written as a key (folded) are replaced.

    A text replaces by a subquery, a path by that name; in both cases the relation keeps the name by which columns are
    qualified. Names of CTEs are not replaced where they are in scope. The caps are those of ``sql.ast.parse``.
    Errors: INVALID for what does not parse, for a column or relation whose meaning would change; UNSUPPORTED for time
    travel of a replaced relation.
    """

    def parsed(text: str) -> Node:
        return dict(parse(text, bytes_max=bytes_max, depth_max=depth_max).root)

    statement = parsed(sql)
    made = {new: _replacement(new, parsed) for new in replacements.values()}
    walk = _Walk({_folded(path): made[new] for path, new in replacements.items()})
    try:
        walk.query(statement["node"], frozenset(), ())
        return write(statement)
    except RecursionError:
        raise FlightmeshError(ErrorCode.INVALID, "The statement nests too deeply.", hint="Flatten it.") from None


@dataclass(frozen=True, slots=True)
class _Replacement:
    """What is put in a relation's place: a query with the bare names that it reads, or a path."""

    node: Node | None
    path: Path
    bare: frozenset[str]

    def relation(self) -> Node:
        """The relation's node, without an alias."""
        if self.node is not None:
            return {"type": "SUBQUERY", "subquery": {"node": self.node}}
        return {"type": "BASE_TABLE", "table_name": self.path[-1], "qualified_name": {"path": list(self.path)}}


def _replacement(new: str | Path, parsed: Callable[[str], Node]) -> _Replacement:
    if isinstance(new, tuple):
        return _Replacement(None, new, frozenset({fold(new[0])} if len(new) == 1 else ()))
    node = parsed(new)["node"]
    return _Replacement(node, (), frozenset(_bare_names(node, frozenset())))


def _bare_names(value: Any, scope: frozenset[str]) -> Iterator[str]:  # Any: the parser's own JSON
    """The relations that the query names by one word, folded, without its own CTEs."""
    if isinstance(value, list):
        for item in value:
            yield from _bare_names(item, scope)
    elif isinstance(value, dict):
        if value.get("type") == "BASE_TABLE":
            path = _path(value)
            if len(path) == 1 and fold(path[0]) not in scope:
                yield fold(path[0])
        for name, body, inner in _ctes(value, scope):
            yield from _bare_names(body, inner)
            scope |= {name}
        for key, child in value.items():
            if key != "cte_map":
                yield from _bare_names(child, scope)


def _ctes(value: Mapping[str, Any], scope: frozenset[str]) -> Iterator[tuple[str, Node, frozenset[str]]]:
    """Each CTE of a query node: its folded name, its body, and the CTE names that its body sees."""
    for entry in value.get("cte_map", {}).get("map", ()):
        name, body = fold(entry["key"]), entry["value"]
        is_recursive = body.get("query_node", {}).get("type") == "RECURSIVE_CTE_NODE"
        yield name, body, scope | {name} if is_recursive else scope
        scope |= {name}


def _path(table: Mapping[str, Any]) -> Path:
    return tuple(table.get("qualified_name", {}).get("path") or (table.get("table_name", ""),))


@dataclass(slots=True)
class _Relation:
    """A relation of one FROM: the name that qualifies its columns, and how it was written.

    ``path`` is empty for what is no table. ``shared`` is the name that it had in common with another of the same FROM,
    where it was given a name of its own for that.
    """

    node: Node
    name: str
    path: Path
    is_aliased: bool
    is_replaced: bool = False
    shared: str = ""


_Scopes = tuple[Sequence[_Relation], ...]  # From the innermost FROM outwards.


class _Walk:
    """One pass over the tree, which it changes in place."""

    def __init__(self, replacements: Mapping[Path, _Replacement]) -> None:
        self.replacements = replacements

    def query(self, node: Node, ctes: frozenset[str], scopes: _Scopes) -> Sequence[_Relation]:
        """A query node, of which the relations are returned.

        Its CTEs see the scopes around it; all else in it sees its own FROM first.
        """
        for name, body, inner in _ctes(node, ctes):
            self.value(body, inner, scopes)
            ctes |= {name}
        if node["type"] == "SET_OPERATION_NODE":
            relations = [relation for child in node["children"] for relation in self.query(child, ctes, scopes)]
            self.value(node.get("modifiers"), ctes, (relations, *scopes))
            return relations
        relations = list(_relations(node.get("from_table"), ctes))
        for relation in relations:
            relation.is_replaced = bool(relation.path) and _folded(relation.path) in self.replacements
        _part_equal_names(relations)
        items = node.get("select_list", ())
        shown = [_shown_name(item) if _may_change(item) else "" for item in items]
        for key, child in node.items():
            if key != "cte_map":
                self.value(child, ctes, (relations, *scopes))
        for item, name in zip(items, shown, strict=True):
            if name:
                item["alias"] = name
        for relation in relations:
            if relation.is_replaced:
                self.replace(relation, ctes)
        return relations

    def value(self, value: Any, ctes: frozenset[str], scopes: _Scopes) -> None:  # Any: the parser's own JSON
        if isinstance(value, list):
            for item in value:
                self.value(item, ctes, scopes)
        elif isinstance(value, dict):
            if value.get("class") == "COLUMN_REF":
                value["column_names"] = self.column(value["column_names"], scopes)
            elif "relation_name" in value:
                _refuse_shared(value["relation_name"], scopes)
            elif "table" in value and "column" in value:
                self.excluded(value, scopes)
            if value.get("type") in _QUERY_NODES:
                self.query(value, ctes, scopes)
                return
            for child in value.values():
                self.value(child, ctes, scopes)

    def excluded(self, value: Node, scopes: _Scopes) -> None:
        """A column of EXCLUDE or RENAME, whose name is kept in pieces."""
        parts = [value[key] for key in ("catalog", "schema", "table", "column") if value.get(key)]
        new = self.column(parts, scopes)
        if new != parts:
            value.pop("catalog", None)
            value.pop("schema", None)
            value["table"] = new[0]

    def column(self, parts: list[str], scopes: _Scopes) -> list[str]:
        """The column's name, qualified by the relation's name where a schema qualifies it now."""
        for depth, relations in enumerate(scopes):
            # The longest first: DuckDB takes catalogue and schema before a table, and that before a struct.
            for size in range(min(3, len(parts)), 1, -1):
                found = [relation for relation in relations if self.is_named(relation, parts[:size])]
                if found and found[0].is_replaced and len({fold(relation.name) for relation in found}) == 1:
                    if size == len(parts) and _is_bound(parts[0], relations):
                        return parts
                    _check_reachable(found[0], parts[size:], scopes[:depth])
                    return [found[0].name, *parts[size:]]
                if found:
                    return parts
            if _is_bound(parts[0], relations):
                return parts
            _refuse_shared(parts[0], scopes[depth : depth + 1])
        return parts

    def is_named(self, relation: _Relation, prefix: Sequence[str]) -> bool:
        """Whether the qualifier of a column, with a schema in it, means the relation."""
        short, full = _folded(prefix), _folded(relation.path)
        if not full or relation.is_aliased:
            return False
        if len(short) <= len(full):
            return full[-len(short) :] == short or full[:1] + full[-1:] == short
        if short[-len(full) :] != full:
            return False
        # The search path decides whether the longer name is this relation's, and only the caller knows that.
        if relation.is_replaced and self.replacements.get(short) is not self.replacements[full]:
            _refuse(f"The name {'.'.join(prefix)} before a column says more than FROM does")
        return True

    def replace(self, relation: _Relation, ctes: frozenset[str]) -> None:
        node, new = relation.node, self.replacements[_folded(relation.path)]
        hidden = sorted(new.bare & ctes)
        if hidden:
            _refuse(f"The name {hidden[0]} of a WITH clause hides a table that is read here", "Name it otherwise.")
        if "at_clause" in node:
            raise FlightmeshError(ErrorCode.UNSUPPORTED, f"The table {'.'.join(relation.path)} keeps no past (AT).")
        kept = {key: node[key] for key in ("sample", "column_name_alias") if key in node}
        node.clear()
        node.update(new.relation(), alias=relation.name, **kept)


def _relations(value: Any, ctes: frozenset[str]) -> Iterator[_Relation]:  # Any: the parser's own JSON
    """The relations of a FROM clause, without those inside its subqueries."""
    if not isinstance(value, dict):
        return
    kind, alias = value.get("type"), value.get("alias", "")
    if kind == "JOIN":
        yield from _relations(value["left"], ctes)
        yield from _relations(value["right"], ctes)
    elif kind == "PIVOT":
        yield _Relation(value, alias, (), True)
        yield from _relations(value["source"], ctes)
    elif kind == "BASE_TABLE":
        path = _path(value)
        is_cte = len(path) == 1 and fold(path[0]) in ctes
        yield _Relation(value, alias or path[-1], () if is_cte else path, bool(alias))
    else:
        yield _Relation(value, alias or value.get("function", {}).get("function_name", ""), (), True)


def _part_equal_names(relations: Sequence[_Relation]) -> None:
    """Gives replaced relations names of their own where the schema alone told them apart."""
    taken = {fold(relation.name) for relation in relations}
    for index, relation in enumerate(relations):
        others = (*relations[:index], *relations[index + 1 :])
        is_shared = any(_folded((other.shared or other.name,)) == _folded((relation.name,)) for other in others)
        if relation.is_replaced and not relation.is_aliased and is_shared:
            relation.shared = relation.name
            relation.name = next(name for n in count(1) if fold(name := f"{relation.shared} {n}") not in taken)
            taken.add(fold(relation.name))


def _is_bound(name: str, relations: Sequence[_Relation]) -> bool:
    return any(fold(relation.name) == fold(name) for relation in relations)


def _refuse_shared(name: str, scopes: _Scopes) -> None:
    for relations in scopes:
        if any(relation.shared and fold(relation.shared) == fold(name) for relation in relations):
            _refuse(f"Several tables in FROM are called {name}")
        if _is_bound(name, relations):
            return


def _check_reachable(relation: _Relation, rest: Sequence[str], inner: _Scopes) -> None:
    if not rest:
        _refuse(f"The table {'.'.join(relation.path)} is used as a value under its full name")
    if any(_is_bound(relation.name, relations) for relations in inner):
        _refuse(f"Tables of a query and of its subquery are both called {relation.name}")


def _may_change(item: Node) -> bool:
    """Whether a result column is named by its own text, and that text may change."""
    return "alias" not in item and item.get("class") not in ("COLUMN_REF", "STAR") and _is_changeable(item)


def _is_changeable(value: Any) -> bool:  # Any: the parser's own JSON
    if isinstance(value, list):
        return any(map(_is_changeable, value))
    if not isinstance(value, dict):
        return False
    if value.get("class") == "SUBQUERY" or len(value.get("column_names", ())) > 2:
        return True
    return any(map(_is_changeable, value.values()))


def _shown_name(item: Node) -> str:
    """What DuckDB calls a result column that has no alias: its expression's text."""
    node = {"type": "SELECT_NODE", "cte_map": {}, "select_list": [item], "from_table": {"type": "EMPTY"}}
    return write({"node": node | {"aggregate_handling": "STANDARD_HANDLING"}}).removeprefix("SELECT ")


def _folded(path: Sequence[str]) -> Path:
    return tuple(map(fold, path))


def _refuse(fact: str, hint: str = _ALIAS_HINT) -> NoReturn:
    raise FlightmeshError(ErrorCode.INVALID, f"{fact}.", hint=hint)

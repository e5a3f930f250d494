"""Keys of tables and links between them: what the database declares, else what names suggest and the rows bear out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from flightmesh.build.proposal.facts import Column, Link, Table
from flightmesh.build.proposal.personal import singular
from flightmesh.build.proposal.reading import Bench, is_identifying, may_be_key, sql_path
from flightmesh.build.proposal.units import name_parts
from flightmesh.catalog.snapshot import Relation
from flightmesh.names import quote
from flightmesh.sources.base import ForeignKey

# Pairs of columns are counted for tables up to this size, and for so many pairs.
_PAIR_ROWS_MAX = 1_000_000
_PAIRS_MAX = 10
# The share of values that must be found before two columns are told to be near a link.
_NEAR_SHARE = 0.5
# Names that say that a column is a key, and not of what.
_BARE = frozenset({"id", "key", "code", "no", "nr", "num", "number", "name", "uuid", "guid"})


def with_key(bench: Bench, table: Table) -> Table:
    """The table with its key: the declared one; else one found in the rows, promised only where they are a snapshot."""
    if table.key:
        return table
    found = _single(table) or _pair(bench, table)
    if table.is_live:
        return replace(table, likely_key=found if table.is_whole else ())
    keyed = tuple(replace(c, required=True) if c.name in found else c for c in table.columns)
    return replace(table, key=found, columns=keyed)


def with_links(
    bench: Bench, tables: Sequence[Table], declared: Mapping[Relation, Sequence[ForeignKey]]
) -> tuple[Table, ...]:
    """The tables with their links to one another. Where a table declares any, nothing is added by guess."""
    ports = {table.source: table for table in tables}
    names = {table.port: _named(table) for table in tables}
    linked: list[Table] = []
    for table in tables:
        known = [_declared(bench, table, key, ports) for key in declared.get(table.source, ())]
        links = [link for link in known if link is not None]
        if not known and table.is_whole:
            taken = {(each.port, link.port) for each in linked for link in each.links}
            guesses = [g for g in _guesses(table, tables, names) if (g.target.port, table.port) not in taken]
            links = [_measured(bench, guess) for guess in guesses]
        near = tuple(link for link in links if _NEAR_SHARE <= link.found < 1.0)
        linked.append(replace(table, links=tuple(link for link in links if link.found == 1.0), near=near))
    return tuple(linked)


def _single(table: Table) -> tuple[str, ...]:
    """The column that is the key by itself: of those without equal values, the one whose name says so, or the first."""
    own = set(map(singular, name_parts(table.title)))

    def rank(item: tuple[int, Column]) -> tuple[int, int]:
        index, column = item
        parts = name_parts(column.name)
        is_own = parts in (["id"], ["key"], ["uuid"]) or (is_identifying(column.name) and own & set(parts))
        return (0 if is_own else 1 if index == 0 else 2, index)

    unique = [(i, c) for i, c in enumerate(table.columns) if c.is_unique and (i == 0 or is_identifying(c.name))]
    return (min(unique, key=rank)[1].name,) if unique else ()


def _pair(bench: Bench, table: Table) -> tuple[str, ...]:
    """Two columns that are the key together: the first, identifying ones and those of time are tried."""
    if not 0 < table.rows <= _PAIR_ROWS_MAX or not table.is_whole:
        return ()
    candidates = [
        column
        for index, column in enumerate(table.columns)
        if may_be_key(column) and not column.nulls and column.distinct > 1 and _is_part(index, column)
    ]
    pairs = [(a, b) for a, b in combinations(candidates, 2) if a.distinct * b.distinct >= table.rows]
    for pair in pairs[:_PAIRS_MAX]:
        names = tuple(column.name for column in pair)
        listed = ", ".join(map(quote, names))
        if bench.number(f"SELECT count(*) FROM (SELECT DISTINCT {listed} FROM {sql_path(table.source)})") == table.rows:
            return names
    return ()


def _is_part(index: int, column: Column) -> bool:
    return index == 0 or is_identifying(column.name) or column.sql_type.startswith(("DATE", "TIMESTAMP"))


def _declared(bench: Bench, table: Table, key: ForeignKey, ports: Mapping[Relation, Table]) -> Link | None:
    """The link of a foreign key; None when it leads to a table that is no port, or, where the source enforces no keys,
    to more than one row.
    """
    target = ports.get((*table.source[:-1], key.table))
    if target is None or not set(key.referenced) <= set(target.names) or not set(key.columns) <= set(table.names):
        return None
    listed = ", ".join(map(quote, key.referenced))
    twice = f"SELECT {listed} FROM {sql_path(target.source)} GROUP BY {listed} HAVING count(*) > 1"
    if not target.is_live and bench.number(f"SELECT count(*) FROM ({twice})"):
        return None
    return Link(key.columns, target.port, key.referenced, is_declared=True)


@dataclass(frozen=True, slots=True)
class _Guess:
    table: Table
    columns: tuple[str, ...]
    target: Table
    referenced: tuple[str, ...]


def _guesses(table: Table, tables: Sequence[Table], names: Mapping[str, _Named]) -> Iterator[_Guess]:
    """Columns whose names suggest the key of another table, one target for each set of columns."""
    seen: set[tuple[str, ...]] = set()
    for target in tables:
        key = target.key or target.likely_key
        if target.port == table.port or not key or not target.is_whole:
            continue
        if len(key) == 1:
            here, there = names[table.port], names[target.port]
            suggesting = [name for name in table.names if _suggests(name, here, there, key[0])]
            matches: list[tuple[str, ...]] = [(name,) for name in suggesting]
        else:
            matches = [key] if set(key) <= set(table.names) else []
        for columns in matches:
            if columns not in seen and columns != table.key and _same_types(table, columns, target, key):
                seen.add(columns)
                yield _Guess(table, columns, target, key)


def _suggests(column: str, table: _Named, target: _Named, key: str) -> bool:
    """Whether the column's name means the key of the target: the same name, or the target's name before a bare one."""
    parts, wanted = table.columns[column], target.columns[key]
    if parts == wanted and wanted and not set(wanted) <= _BARE:
        return True
    ending = [*target.owner, *(wanted if set(wanted) <= _BARE else wanted[-1:])]
    named = [singular(part) for part in parts]
    return bool(ending) and named[-len(ending) :] == ending


@dataclass(frozen=True, slots=True)
class _Named:
    """The names of a table in words: its own, in the singular, and its columns' without a prefix that all share (``o_``
    of ``o_orderkey``).
    """

    owner: tuple[str, ...]
    columns: Mapping[str, list[str]]


def _named(table: Table) -> _Named:
    parts = {name: name_parts(name) for name in table.names}
    first = next(iter(parts.values()))[:1]
    is_shared = len(parts) > 1 and all(len(each) > 1 and each[:1] == first for each in parts.values())
    columns = {name: each[1:] for name, each in parts.items()} if is_shared else parts
    return _Named(tuple(map(singular, name_parts(table.title))), columns)


def _same_types(table: Table, columns: Sequence[str], target: Table, key: Sequence[str]) -> bool:
    pairs = zip(columns, key, strict=True)
    return all(_family(table.column(a).sql_type) == _family(target.column(b).sql_type) for a, b in pairs)


def _family(sql_type: str) -> str:
    head = sql_type.partition("(")[0]
    return "INTEGER" if head.removeprefix("U").endswith("INT") or head.endswith("INTEGER") else head


def _measured(bench: Bench, guess: _Guess) -> Link:
    """The link, with the share of its distinct values that the target has."""
    columns, referenced = guess.columns, guess.referenced
    names = [f"k{index}" for index in range(len(columns))]
    listed = ", ".join(f"{quote(column)} AS {name}" for column, name in zip(columns, names, strict=True))
    present = " AND ".join(f"{quote(column)} IS NOT NULL" for column in columns)
    equal = " AND ".join(f"a.{name} = b.{quote(key)}" for name, key in zip(names, referenced, strict=True))
    row = bench.rows(
        f"SELECT count(*) AS n, count(b.{quote(referenced[0])}) AS found FROM "
        f"(SELECT DISTINCT {listed} FROM {sql_path(guess.table.source)} WHERE {present}) AS a "
        f"LEFT JOIN {sql_path(guess.target.source)} AS b ON {equal}"
    )[0]
    share = row["found"] / row["n"] if row["n"] else 0.0
    return Link(columns, guess.target.port, referenced, is_declared=False, found=share)

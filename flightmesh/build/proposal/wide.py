"""The wide model: the table from which most can be reached, with the rows that its foreign keys lead to beside it.

Left joins along links to keys: the fact's rows stay as many as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from flightmesh.build.proposal.facts import Join, Link, Table, Wide
from flightmesh.build.proposal.naming import free_name
from flightmesh.build.proposal.units import name_parts
from flightmesh.names import fold

DEPTH_MAX = 3
COLUMNS_MAX = 500
# Each join is a scan and a hash table while a query runs.
JOINS_MAX = 60

# What ends the name of a column that points somewhere.
_POINTING = ("id", "key", "code", "no", "nr", "uuid", "ref")
# A column of a joined table, and what it equals: itself, or the column of the table before that it is joined by.
Origin = tuple[int, str]


@dataclass(slots=True)
class _Step:
    """A link that is followed: from the step ``parent`` (-1: the fact) to the table of ``link``."""

    number: int
    parent: int
    link: Link
    ports: tuple[str, ...]
    label: str
    needed: set[str] = field(default_factory=set)


def wide_of(tables: Sequence[Table], ports: Collection[str]) -> Wide | None:
    """The wide model of the tables; None when no table has a link. ``ports`` are the names that are taken."""
    known = {table.port: table for table in tables}
    steps = {table.port: _steps(table, known) for table in tables}
    facts = [table for table in tables if steps[table.port]]
    if not facts:
        return None
    fact = max(facts, key=lambda table: (len(steps[table.port]), table.rows))
    joins, left_out = _joins(fact, steps[fact.port], known)
    left_out += _beyond(steps[fact.port], known)
    if not joins:
        return None
    return Wide(free_name(f"{fact.port[:50]}_wide", ports), fact.port, tuple(joins), tuple(left_out))


def _steps(fact: Table, tables: Mapping[str, Table]) -> list[_Step]:
    """The links that can be followed from the fact, nearest first; none meets a table of its own path again, and none
    leads to a row that another one has led to.
    """
    found: list[_Step] = []
    origins: dict[Origin, Origin] = {}
    reached: set[tuple[str, frozenset[tuple[str, Origin]]]] = set()
    level: list[tuple[int, Table, tuple[str, ...]]] = [(-1, fact, (fact.port,))]
    for _ in range(DEPTH_MAX):
        following: list[tuple[int, Table, tuple[str, ...]]] = []
        for parent, table, path in level:
            for link in table.links:
                keyed = [(key, origins.get((parent, c), (parent, c))) for c, key in _pairs(link)]
                row = (link.port, frozenset(keyed))
                if link.port in path or row in reached:
                    continue
                reached.add(row)
                step = _Step(len(found), parent, link, (*path, link.port), _label(table, link))
                origins |= {(step.number, key): origin for key, origin in keyed}
                found.append(step)
                following.append((step.number, tables[link.port], step.ports))
        level = following
    return found


def _beyond(steps: Sequence[_Step], tables: Mapping[str, Table]) -> list[str]:
    """The links that the bound on depth leaves out."""
    last = [step for step in steps if len(step.ports) == DEPTH_MAX + 1]
    paths = [(*s.ports, n.port) for s in last for n in tables[s.link.port].links if n.port not in s.ports]
    return [f"{' -> '.join(path)}: more than {DEPTH_MAX} links away" for path in dict.fromkeys(paths)]


def _pairs(link: Link) -> list[tuple[str, str]]:
    return list(zip(link.columns, link.referenced, strict=True))


def _label(table: Table, link: Link) -> str:
    """What the link is called: the port it leads to, or the columns it goes by where several lead there."""
    rivals = [other for other in table.links if other.port == link.port]
    if len(rivals) == 1:
        return link.port
    shared = set.intersection(*(set(other.columns) for other in rivals))
    own = [column for column in link.columns if column not in shared] or list(link.columns)
    parts = [part for column in own for part in name_parts(column)]
    while len(parts) > 1 and parts[-1] in _POINTING:
        parts.pop()
    return "_".join(parts) or link.port


def _joins(fact: Table, steps: Sequence[_Step], tables: Mapping[str, Table]) -> tuple[list[Join], list[str]]:
    prefixes = _prefixes(steps)
    for step in steps:
        if step.parent >= 0:
            steps[step.parent].needed |= set(step.link.columns)
    taken = {fold(name) for name in fact.names}
    names: dict[Origin, str] = {(-1, name): name for name in fact.names}
    joins: list[Join] = []
    left_out: list[str] = []
    for step in steps:
        target, path = tables[step.link.port], " -> ".join(step.ports)
        # A key's columns say again what the columns before the join say.
        wanted = [c for c in target.names if c not in step.link.referenced or c in step.needed]
        if not all((step.parent, column) in names for column in step.link.columns):
            left_out.append(f"{path}: reached through one that was left out")
        elif len(taken) + len(wanted) > COLUMNS_MAX or len(joins) == JOINS_MAX:
            left_out.append(f"{path}: more than {COLUMNS_MAX} columns or {JOINS_MAX} joins")
        elif wanted:
            take: dict[str, str] = {}
            for column in wanted:
                name = _free(f"{prefixes[step.number]}_{column}", taken)
                taken.add(fold(name))
                take[name] = column
                names[step.number, column] = name
            on = {names[step.parent, column]: key for column, key in _pairs(step.link)}
            joins.append(Join(step.ports, step.link.port, on, take))
    return joins, left_out


def _prefixes(steps: Sequence[_Step]) -> list[str]:
    """The start of the names of each step's columns: its label, with those of the steps before where it is not the
    only one.
    """
    labels = [step.label for step in steps]
    prefixes: list[str] = []
    for step in steps:
        is_only = labels.count(step.label) == 1
        before = "" if is_only or step.parent < 0 else prefixes[step.parent] + "_"
        prefixes.append(before + step.label)
    return prefixes


def _free(wanted: str, taken: Collection[str]) -> str:
    name, number = wanted, 2
    while fold(name) in taken:
        name, number = f"{wanted}_{number}", number + 1
    return name

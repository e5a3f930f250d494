"""What is known of the tables that a new product starts from: values that the other modules of this room fill in and
write down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flightmesh.catalog.snapshot import Relation
from flightmesh.product.contract import DataContract


@dataclass(frozen=True, slots=True)
class Personal:
    """Why a column probably tells of a person: ``kind`` in words (``e-mail addresses``), ``reason`` for its author."""

    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a port. ``values`` are all of its values when they are few and none is personal, else empty.

    ``distinct`` is an estimate within a few percent; ``is_unique`` is exact for the rows that were
    read, and False for columns that no name or place makes a key.
    """

    name: str
    sql_type: str
    nulls: int = 0
    distinct: int = 0
    is_unique: bool = False
    values: tuple[object, ...] = ()
    required: bool = False
    comment: str | None = None
    unit: str | None = None
    quantity: str | None = None
    personal: Personal | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """Columns that point to a key of another port. ``found`` is the share of their values that are there; a declared
    link is the database's own word.
    """

    columns: tuple[str, ...]
    port: str
    referenced: tuple[str, ...]
    is_declared: bool
    found: float = 1.0


@dataclass(frozen=True, slots=True)
class Table:
    """A table that becomes a port. ``rows`` counts those that were read: all of them when ``is_whole``.

    ``key`` is promised to consumers; ``likely_key`` only looks like one. ``source`` is the path under which models read
    the table; ``model`` the low-code model that shows it.
    """

    port: str
    source: Relation
    title: str
    is_live: bool
    rows: int
    is_whole: bool
    columns: tuple[Column, ...]
    model: Mapping[str, Any]
    key: tuple[str, ...] = ()
    likely_key: tuple[str, ...] = ()
    comment: str | None = None
    links: tuple[Link, ...] = ()
    near: tuple[Link, ...] = ()
    given: DataContract | None = field(default=None, repr=False)

    def column(self, name: str) -> Column:
        """The column of that name, which it has."""
        return next(column for column in self.columns if column.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


@dataclass(frozen=True, slots=True)
class Join:
    """One join of the wide model: which columns it equates and which it takes, as new name to the other's name."""

    path: tuple[str, ...]
    port: str
    on: Mapping[str, str]
    take: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Wide:
    """The wide model: a table with what its foreign keys lead to. ``left_out`` says which joins did not fit and why."""

    port: str
    fact: str
    joins: tuple[Join, ...]
    left_out: tuple[str, ...] = ()


def words(items: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    listed = list(items)
    return " and ".join([", ".join(listed[:-1]), listed[-1]] if len(listed) > 1 else listed)

"""SELECT statements made by chance from a seed: typed expressions, joins, subqueries, groups, windows, unions."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from decimal import Decimal
from random import Random

import pyarrow as pa

# A column as text, and the letter of its type.
Column = tuple[str, str]

COLUMNS: tuple[Column, ...] = (
    ("id", "i"),
    ("k", "k"),
    ("g", "g"),
    ("i", "i"),
    ("d", "d"),
    ("f", "f"),
    ("dt", "t"),
    ("ts", "s"),
    ("b", "b"),
)
_LITERALS: Mapping[str, tuple[str, ...]] = {
    "i": ("0", "1", "2", "-3", "7", "100000"),
    "k": ("CAST(1 AS BIGINT)", "CAST(9 AS BIGINT)"),
    "d": ("1.5", "0.05", "-2.50", "CAST(3 AS DECIMAL(12,2))"),
    "f": ("5e-1", "2e0"),
    "g": ("'a'", "'B'", "''", "'ä'", "'a%'"),
    "t": ("DATE '2020-02-29'",),
    "s": ("TIMESTAMP '2020-01-31 00:00:00'",),
    "b": ("true", "false"),
}
_ROWS = 50


def random_tables() -> dict[str, pa.Table]:
    """Two small tables of the same columns, with NULLs, repeated values and unmatched keys."""
    return {name: _table(Random(name)) for name in ("t1", "t2")}


def _table(chance: Random) -> pa.Table:
    def some(kind: pa.DataType, *values: object) -> pa.Array:
        return pa.array([chance.choice([*values, None]) for _ in range(_ROWS)], kind)

    decimals = [Decimal(text) for text in ("0.00", "1.25", "-2.50", "99.99", "3.10")]
    days = [datetime.date(2020, 1, 31), datetime.date(2020, 2, 29), datetime.date(2021, 12, 31)]
    moments = [datetime.datetime(2020, 1, 31, 1, 2, 3), datetime.datetime(2021, 6, 1)]
    return pa.table(
        {
            "id": pa.array(range(_ROWS), pa.int32()),
            "k": some(pa.int64(), 1, 2, 3, 4, 5),
            "g": some(pa.string(), "a", "B", "ä", "", "z"),
            "i": some(pa.int32(), -3, 0, 1, 2, 7, 100),
            "d": some(pa.decimal128(12, 2), *decimals),
            "f": some(pa.float64(), 0.5, -1.25, 2.0, 8.0),
            "dt": some(pa.date32(), *days),
            "ts": some(pa.timestamp("us"), *moments),
            "b": some(pa.bool_(), True, False),
        }
    )


class RandomQueries:
    """Statements from a seed, one after the other."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.aliases = 0

    def statement(self) -> str:
        choice = self.chance.random()
        if choice < 0.15:
            query = self.set_operation()
        elif choice < 0.3:
            query = self.with_clause()
        else:
            query, _ = self.select(1)
        if self.chance.random() < 0.3:
            query = f"SELECT * FROM ({query}) ORDER BY ALL LIMIT {self.chance.randint(1, 30)}"
        return query

    # --- Expressions ---

    def expression(self, scope: list[Column], kind: str, depth: int = 2) -> str:
        if depth <= 0 or self.chance.random() < 0.35:
            return self.leaf(scope, kind)

        def part(*kinds: str) -> str:
            return self.expression(scope, self.chance.choice(kinds), depth - 1)

        return self.chance.choice(_forms(kind, part, self))()

    def leaf(self, scope: list[Column], kind: str) -> str:
        column = self.column(scope, kind)
        return column if column and self.chance.random() < 0.8 else self.chance.choice(_LITERALS[kind])

    def column(self, scope: list[Column], kind: str) -> str:
        found = [text for text, letter in scope if letter == kind]
        return self.chance.choice(found) if found else ""

    def membership(self, part: Callable[..., str]) -> str:
        kind, negation = self.any_kind(), self.chance.choice(["", "NOT "])
        found = f"SELECT {self.expression(_of('z'), kind, 1)} FROM t2 z WHERE z.k = {part('k')}"
        return f"({part(kind)} {negation}IN ({found}))"

    def any_kind(self) -> str:
        return self.chance.choice("ikdfgts")

    # --- Queries ---

    def relation(self, depth: int) -> tuple[str, list[Column]]:
        self.aliases += 1
        alias = f"a{self.aliases}"
        if depth > 0 and self.chance.random() < 0.35:
            query, columns = self.select(depth - 1)
            return f"({query}) {alias}", [(f"{alias}.{name}", kind) for name, kind in columns]
        return f"{self.chance.choice(['t1', 't2'])} {alias}", _of(alias)

    def source(self, depth: int) -> tuple[str, list[Column]]:
        left, scope = self.relation(depth)
        if self.chance.random() < 0.5:
            return left, scope
        right, others = self.relation(depth)
        word = self.chance.choice(["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", ","])
        one, other = self.column(scope, "k"), self.column(others, "k")
        if word == "," or not one or not other:
            return f"{left} CROSS JOIN {right}", scope + others
        more = "" if word == "FULL JOIN" else f" AND {self.expression(scope + others, 'b', 1)}"
        return f"{left} {word} {right} ON {one} = {other}{more}", scope + others

    def select(self, depth: int) -> tuple[str, list[Column]]:
        source, scope = self.source(depth)
        where = f" WHERE {self.expression(scope, 'b')}" if self.chance.random() < 0.6 else ""
        if self.chance.random() < 0.4:
            return self.grouped(source + where, scope)
        kinds = self.chance.sample("ikdfgtsb", self.chance.randint(1, 4))
        items = [(self.expression(scope, kind), kind) for kind in kinds]
        if self.chance.random() < 0.25:
            items.append((self.window(scope), ""))
        distinct = "DISTINCT " if self.chance.random() < 0.25 else ""
        return _selected(f"SELECT {distinct}", items, source + where)

    def grouped(self, source: str, scope: list[Column]) -> tuple[str, list[Column]]:
        keys = [
            (self.expression(scope, kind, 1), kind) for kind in self.chance.sample("ikgtd", self.chance.randint(0, 2))
        ]
        items = keys + [self.aggregate(scope) for _ in range(self.chance.randint(1, 3))]
        groups = ""
        if keys:
            positions = ", ".join(str(index + 1) for index in range(len(keys)))
            groups = f" GROUP BY {self.chance.choice(['ALL', positions])}"
        having = f" HAVING count(*) > {self.chance.choice([1, 2])}" if self.chance.random() < 0.3 else ""
        return _selected("SELECT ", items, source + groups + having)

    def aggregate(self, scope: list[Column]) -> Column:
        kind = self.chance.choice("ikdf")
        value, text = self.expression(scope, kind, 1), self.expression(scope, "g", 1)
        called, answer = self.chance.choice(
            [
                (f"sum({value})", ""),
                (f"avg({value})", "f"),
                (f"min({value})", kind),
                (f"max({text})", "g"),
                (f"count({value})", "k"),
                (f"count(DISTINCT {value})", "k"),
                ("count(*)", "k"),
                (f"bool_or({self.expression(scope, 'b', 1)})", "b"),
            ]
        )
        condition = f" FILTER (WHERE {self.expression(scope, 'b', 1)})" if self.chance.random() < 0.25 else ""
        return called + condition, answer

    def window(self, scope: list[Column]) -> str:
        key, number = self.column(scope, "k") or "1", self.column(scope, "i") or "1"
        return self.chance.choice(
            [
                f"rank() OVER (PARTITION BY {key} ORDER BY {number} DESC)",
                f"sum({number}) OVER (PARTITION BY {key})",
                f"count(*) OVER (ORDER BY {number})",
                f"dense_rank() OVER (ORDER BY {self.column(scope, 'g') or number} NULLS FIRST)",
            ]
        )

    def set_operation(self) -> str:
        kinds, parts = self.chance.sample("ikgd", 2), []
        for _ in range(self.chance.choice([2, 3])):
            source, scope = self.source(0)
            items = [(self.expression(scope, kind, 1), kind) for kind in kinds]
            parts.append(_selected("SELECT ", items, f"{source} WHERE {self.expression(scope, 'b', 1)}")[0])
        query = parts[0]
        for part in parts[1:]:
            word = self.chance.choice(["UNION", "UNION ALL", "EXCEPT", "INTERSECT", "EXCEPT ALL", "INTERSECT ALL"])
            query += f" {word} {part}"
        return query

    def with_clause(self) -> str:
        body, columns = self.select(0)
        scope = [(f"w.{name}", kind) for name, kind in columns] + _of("t1")
        items = [(self.expression(scope, kind), kind) for kind in "bid"] + [("(SELECT count(*) FROM w)", "k")]
        query, _ = _selected("SELECT ", items, f"w, t1 WHERE {self.expression(scope, 'b')}")
        return f"WITH w AS ({body}) {query}"


def _of(alias: str) -> list[Column]:
    return [(f"{alias}.{name}", kind) for name, kind in COLUMNS]


def _selected(head: str, items: list[Column], tail: str) -> tuple[str, list[Column]]:
    listed = ", ".join(f"{text} AS o{index}" for index, (text, _) in enumerate(items))
    return f"{head}{listed} FROM {tail}", [(f"o{index}", kind) for index, (_, kind) in enumerate(items) if kind]


def _forms(kind: str, part: Callable[..., str], queries: RandomQueries) -> list[Callable[[], str]]:
    """The ways to make an expression of the kind from parts."""
    pick, any_kind = queries.chance.choice, queries.any_kind
    whole = [
        lambda: f"({part(kind)} {pick('+-*')} {part(kind)})",
        lambda: f"coalesce({part(kind)}, {part(kind)})",
        lambda: f"CASE WHEN {part('b')} THEN {part(kind)} ELSE {part(kind)} END",
        lambda: f"abs({part(kind)})",
        lambda: f"nullif({part(kind)}, {part(kind)})",
        lambda: f"greatest({part(kind)}, {part(kind)})",
    ]

    def compared() -> str:
        same = any_kind()
        return f"({part(same)} {pick(['=', '<>', '<', '>', '<=', '>=', 'IS DISTINCT FROM'])} {part(same)})"

    def listed() -> str:
        same = any_kind()
        return f"({part(same)} {pick(['', 'NOT '])}IN ({part(same)}, {part(same)}))"

    forms: dict[str, list[Callable[[], str]]] = {
        "i": whole,
        "k": [
            *whole,
            lambda: f"length({part('g')})",
            lambda: f"extract({pick(['year', 'month', 'dow'])} FROM {part('t')})",
            lambda: f"({part('t')} - {part('t')})",
        ],
        "d": [
            lambda: f"({part('d')} {pick('+-*')} {part('d', 'i', 'k')})",
            lambda: f"round({part('d')}, 1)",
            lambda: f"coalesce({part('d')}, {part('i')})",
            lambda: f"CAST({part('d', 'i', 'k')} AS DECIMAL(15,1))",
        ],
        "f": [
            lambda: f"({part('i', 'k', 'd', 'f')} / {part('i', 'k', 'd', 'f')})",
            lambda: f"({part('f')} {pick('+-*')} {part('i', 'k', 'd', 'f')})",
            lambda: f"CAST({part('i', 'k', 'd', 'f')} AS DOUBLE)",
        ],
        "g": [
            lambda: f"({part('g')} || {part('g')})",
            lambda: f"substring({part('g')}, 1, 1)",
            lambda: f"coalesce({part('g')}, {part('g')})",
            lambda: f"CAST({part('i', 'd', 'k')} AS VARCHAR)",
            lambda: f"CASE {part('g')} WHEN {part('g')} THEN {part('g')} END",
            lambda: f"least({part('g')}, {part('g')})",
        ],
        "t": [lambda: f"({part('t')} + {pick([1, 30])})", lambda: f"CAST({part('s')} AS DATE)"],
        "s": [
            lambda: f"({part('t', 's')} - INTERVAL {pick(['1 MONTH', '1 DAY', '1 YEAR'])})",
            lambda: f"date_trunc('{pick(['month', 'year', 'day'])}', {part('s')})",
        ],
        "b": [
            compared,
            listed,
            lambda: f"({part('i', 'k', 'd', 'f')} {pick(['=', '<', '>='])} {part('i', 'k', 'd', 'f')})",
            lambda: f"({part('b')} {pick(['AND', 'OR'])} {part('b')})",
            lambda: f"(NOT {part('b')})",
            lambda: f"({part(any_kind())} IS {pick(['', 'NOT '])}NULL)",
            lambda: f"({part('g')} {pick(['', 'NOT '])}LIKE {part('g')})",
            lambda: f"({part('d')} BETWEEN {part('i')} AND {part('d')})",
            lambda: queries.membership(part),
        ],
    }
    return forms[kind]

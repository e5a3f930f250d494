"""Commands that write a table, as values: CREATE TABLE, INSERT, UPDATE, DELETE and TRUNCATE. Nothing is executed here.

What is to be written is given as the text of a SELECT made of the author's own pieces. It goes through the gate as any
other, under the caller's rights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import fold, quote
from flightmesh.sql import ast
from flightmesh.sql.words import Words, is_name, name

ALLOWED = (
    "Allowed are SELECT; temporary tables (CREATE TEMP TABLE, INSERT, UPDATE, DELETE, DROP TABLE); USE, SET, RESET; "
    "BEGIN, COMMIT, ROLLBACK; EXPLAIN."
)
# The words that a query begins with.
QUERIES = frozenset(
    {
        "desc",
        "describe",
        "from",
        "pivot",
        "select",
        "show",
        "summarize",
        "table",
        "unpivot",
        "values",
        "with",
    }
)
WRITES = frozenset({"delete", "insert", "update"})
# In a column's definition they end the type; each is a promise that a temporary table does not keep.
_CONSTRAINTS = {
    "as": "A generated column",
    "check": "CHECK",
    "collate": "COLLATE",
    "constraint": "A named constraint",
    "default": "DEFAULT",
    "foreign": "FOREIGN KEY",
    "generated": "A generated column",
    "primary": "PRIMARY KEY",
    "references": "REFERENCES",
    "unique": "UNIQUE",
    "using": "USING COMPRESSION",
}
# They make several rows of one; some are macros over unnest.
_UNNESTING = frozenset({"generate_subscripts", "regexp_split_to_table", "unlist", "unnest"})
# A piece was read under the caller's caps as a part of the whole.
_BYTES_ADDED, _DEPTH_MAX = 16, 100_000


@dataclass(frozen=True, slots=True)
class CreateTable:
    """A table made of a query's result; a list of columns is a query of no row. ``required`` are the columns that were
    given NOT NULL.
    """

    table: tuple[str, ...]
    select: str
    or_replace: bool
    if_not_exists: bool
    is_temporary: bool
    required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Insert:
    """Rows for a table. ``columns`` are those that were named (None: all, in order); ``is_by_name`` says that the
    columns of the result are matched by their names.

    ``rows`` are the texts of the values where the query is VALUES and nothing else; otherwise it is empty.
    """

    table: tuple[str, ...]
    columns: tuple[str, ...] | None
    select: str
    is_by_name: bool = False
    rows: tuple[tuple[str, ...], ...] = ()

    def select_as(self, types: Sequence[str]) -> str:
        """The query with each value cast to the type of its column, as INSERT does it: rows of VALUES need not agree
        on a type, and a parameter takes the column's. Any other query is given as it is.

        INVALID when a row has another number of values.
        """
        if not self.rows:
            return self.select
        if any(len(row) != len(types) for row in self.rows):
            raise refusal(f"A row of VALUES has not as many values as there are columns ({len(types)})")
        rows = (
            ", ".join(f"CAST(({value}\n) AS {kind})" for value, kind in zip(row, types, strict=True))
            for row in self.rows
        )
        return f"VALUES {', '.join(f'({row})' for row in rows)}"


@dataclass(frozen=True, slots=True)
class Delete:
    """DELETE and TRUNCATE: ``select`` gives the rows that stay."""

    table: tuple[str, ...]
    select: str


@dataclass(frozen=True, slots=True)
class Update:
    """UPDATE: ``select`` gives all rows as they are afterwards, and last the column ``marker``: whether the row was
    one of those to change. ``changes`` are the columns to change with the texts of their values; ``rows`` is the FROM
    of the rows with their marker, ``before`` a WITH or empty.
    """

    table: tuple[str, ...]
    marker: str
    changes: tuple[tuple[str, str], ...]
    rows: str
    before: str = ""

    @property
    def select(self) -> str:
        """The query, where nobody says the columns' types: the type of a parameter that is a value is then open."""
        return self._select({column: f"cast_to_type(({value}\n), {quote(column)})" for column, value in self.changes})

    def select_as(self, types: Mapping[str, str]) -> str:
        """The query with each value cast to the type of its column, given by the table's names: a parameter takes it.

        INVALID for a column that the table does not have.
        """
        known = {fold(column): kind for column, kind in types.items()}
        missing = [column for column, _ in self.changes if fold(column) not in known]
        if missing:
            raise refusal(f"The table {self.table[-1]} has no column {missing[0]}")
        return self._select({column: f"CAST(({value}\n) AS {known[fold(column)]})" for column, value in self.changes})

    def _select(self, values: Mapping[str, str]) -> str:
        mark = quote(self.marker)
        # Only a row that matches is computed; parameters stay in the order of the author's text.
        changed = ", ".join(
            f"CASE WHEN {mark} THEN {value} ELSE {quote(column)} END AS {quote(column)}"
            for column, value in values.items()
        )
        return f"{self.before}SELECT * EXCLUDE ({mark}) REPLACE ({changed}), {mark} FROM {self.rows}"


def refusal(fact: str) -> FlightmeshError:
    return FlightmeshError(ErrorCode.INVALID, f"{fact}.", hint=ALLOWED)


def none_left(words: Words) -> None:
    if words.at < words.end:
        raise refusal(f"{words.sign()[:60]} is not allowed here")


def expressions(texts: Sequence[str]) -> Sequence[Mapping[str, Any]]:  # Any: the parser's own JSON
    """The parsed expressions that the texts are; INVALID unless each is exactly one."""
    text = f"SELECT {', '.join(f'{piece}{chr(10)}' for piece in texts)}"
    try:
        tree = ast.parse(text, bytes_max=len(text.encode()), depth_max=_DEPTH_MAX)
    except FlightmeshError:
        raise refusal("A value in the statement is not one expression") from None
    node = tree.root["node"]
    found: Sequence[Mapping[str, Any]] = node.get("select_list", ())
    if len(found) != len(texts) or node.get("from_table", {}).get("type") != "EMPTY" or "where_clause" in node:
        raise refusal("A value in the statement is not one expression")
    return found


def create(words: Words) -> CreateTable:
    """CREATE TABLE AS, or of columns; INVALID for what a temporary table is not given."""
    words.take("create")
    or_replace = words.take("or", "replace")
    is_temporary = words.take("temp") or words.take("temporary")
    if not words.take("table"):
        raise refusal(f"CREATE {words.word().upper()} is not allowed")
    if_not_exists = words.take("if", "not", "exists")
    table = words.path()
    required: tuple[str, ...] = ()
    behind = words.closing(words.at) + 1 if words.sign() == "(" else words.at
    if words.sign(behind - words.at) and words.word(behind - words.at) == "as":
        select = _created_as(words, behind)
    else:
        select, required = _defined(words, words.at + 1, behind - 1)
        words.at = behind
        if not words.take("on", "commit", "preserve", "rows"):
            none_left(words)
    return CreateTable(table, select, or_replace, if_not_exists, is_temporary, required)


def _created_as(words: Words, place: int) -> str:
    """The query of CREATE TABLE AS, whose AS stands at ``place``, with the columns' new names before it."""
    names = _names(words, words.at + 1, place - 1) if place > words.at else ()
    words.at = place + 1
    has_data = True
    if [token.word for token in words.tokens[-3:]] == ["with", "no", "data"]:
        words.end, has_data = words.end - 3, False
    elif [token.word for token in words.tokens[-2:]] == ["with", "data"]:
        words.end -= 2
    select = words.rest()
    if not names and has_data:
        return select
    columns = f"({', '.join(map(quote, names))})" if names else ""
    return f'SELECT * FROM ({select}\n) AS "made"{columns}{"" if has_data else " WHERE FALSE"}'


def _defined(words: Words, first: int, until: int) -> tuple[str, tuple[str, ...]]:
    """The SELECT of no row that has the defined columns, and those of them that are NOT NULL."""
    columns: dict[str, str] = {}
    required = []
    for start, stop in words.parts(first, until):
        words.at = start
        if words.word() in _CONSTRAINTS and words.word() != "generated":
            raise refusal(f"{_CONSTRAINTS[words.word()]} is not offered for temporary tables")
        column = words.name()
        begun = words.at
        ends = (i for i in words.outside(begun, stop) if words.tokens[i].word in {*_CONSTRAINTS, "not", "null"})
        end = next(ends, stop)
        words.at = end
        columns[column] = words.piece(begun, end)
        while words.at < stop:
            if words.take("not", "null"):
                required.append(column)
            elif not words.take("null"):
                fact = _CONSTRAINTS.get(words.word(), words.sign()[:60])
                raise refusal(f"{fact} is not offered for temporary tables")
    listed = ", ".join(f"CAST(NULL AS {kind}) AS {quote(column)}" for column, kind in columns.items())
    return f"SELECT {listed} WHERE FALSE", tuple(dict.fromkeys(required))


def _names(words: Words, first: int, until: int) -> tuple[str, ...]:
    """The names of a list in brackets; empty when it is not names and commas alone."""
    parts = words.parts(first, until)
    if any(stop - start != 1 or not is_name(words.tokens[start]) for start, stop in parts):
        return ()
    return tuple(name(words.tokens[start]) for start, _ in parts)


def _with(words: Words) -> str:
    """The WITH that stands before a command's verb, with a space behind it; steps over it."""
    if words.word() != "with":
        return ""
    first = words.at
    after = (
        index + 1
        for index in words.outside(first, words.end)
        if words.tokens[index].text == ")" and words.tokens[index + 1].word in WRITES
    )
    words.at = next(after)
    return words.piece(first, words.at) + "\n"


def insert(words: Words) -> Insert:
    """INSERT of a query or of values; INVALID for clauses that need keys, defaults or an answer."""
    before = _with(words)
    if not words.take("insert", "into"):
        raise refusal("INSERT OR REPLACE and INSERT OR IGNORE are not offered")
    table = words.path()
    if words.take("as"):
        words.name()
    is_by_name = _by_name(words)
    columns = _columns(words)
    is_by_name = _by_name(words) or is_by_name
    if words.take("default", "values"):
        raise refusal("INSERT DEFAULT VALUES is not offered: temporary tables have no defaults")
    if words.find({"returning"}) < words.end:
        raise refusal("RETURNING is not offered")
    if _has_conflict_clause(words):
        raise refusal("ON CONFLICT is not offered: temporary tables have no keys")
    rows = _rows(words)
    if any(fold(value) == "default" for row in rows for value in row):
        raise refusal("DEFAULT is not offered: temporary tables have no defaults")
    select = words.rest()
    if before:
        # A second WITH may stand in the query itself.
        select, rows = f"{before}SELECT * FROM ({select}\n)", ()
    return Insert(table, columns, select, is_by_name, rows)


def _by_name(words: Words) -> bool:
    is_by_name = words.take("by", "name")
    if not is_by_name:
        words.take("by", "position")
    return is_by_name


def _columns(words: Words) -> tuple[str, ...] | None:
    """The list of columns that stands here; None when what stands here is the query, in brackets or not."""
    if words.sign() != "(":
        return None
    behind = words.closing(words.at) + 1
    columns = _names(words, words.at + 1, behind - 1)
    if not columns or behind == words.end:
        return None
    words.at = behind
    if len(set(map(fold, columns))) < len(columns):
        raise refusal("A column is named twice")
    return columns


def _has_conflict_clause(words: Words) -> bool:
    """Whether the query is followed by ON CONFLICT; a join may be ON a column of that name."""
    place = words.find({"on"})
    while place < words.end:
        if words.tokens[place + 1].word == "conflict" and place > words.at:
            try:
                ast.parse(words.piece(words.at, place), bytes_max=len(words.rest().encode()) + 1, depth_max=_DEPTH_MAX)
            except FlightmeshError:
                return False
            return words.sign(place + 2 - words.at) == "(" or words.tokens[place + 2].word in ("do", "on")
        place = words.find({"on"}, place + 1)
    return False


def _check_not_hidden(before: str, table: Sequence[str]) -> None:
    """Refuses a WITH that has the name of the table to write: the SELECT would read it in the table's place."""
    if before:
        tree = ast.parse(f"{before}SELECT 1", bytes_max=len(before.encode()) + _BYTES_ADDED, depth_max=_DEPTH_MAX)
        if fold(table[-1]) in {fold(entry["key"]) for entry in tree.root["node"].get("cte_map", {}).get("map", ())}:
            raise refusal(f"WITH may not have the name of the table, {table[-1]}")


def _rows(words: Words) -> tuple[tuple[str, ...], ...]:
    """The texts of the rows of a plain VALUES; empty when the query is anything else."""
    if words.word() != "values":
        return ()
    rows = words.parts(words.at + 1, words.end)
    if any(words.tokens[start].text != "(" or words.closing(start) != stop - 1 for start, stop in rows):
        return ()
    return tuple(
        tuple(words.piece(first, until) for first, until in words.parts(start + 1, stop - 1)) for start, stop in rows
    )


def delete(words: Words) -> Delete:
    """DELETE and TRUNCATE of one table; INVALID with USING or RETURNING."""
    before = _with(words)
    if words.take("truncate"):
        words.take("table")
        table = words.path()
        none_left(words)
        return Delete(table, f"SELECT * FROM {_sql(table)} WHERE FALSE")
    words.take("delete", "from")
    table = words.path()
    _check_not_hidden(before, table)
    alias = _alias(words, "where", "using", "returning")
    where = _condition(words, "USING is not offered in DELETE")
    kept = "FALSE" if where is None else f"CAST(({where}\n) AS BOOLEAN) IS NOT TRUE"
    return Delete(table, f"{before}SELECT * FROM {_sql(table)} AS {quote(alias or table[-1])} WHERE {kept}")


def update(words: Words) -> Update:
    """UPDATE of one table; INVALID with FROM or RETURNING, and for values that are not one per row."""
    before = _with(words)
    words.take("update")
    table = words.path()
    _check_not_hidden(before, table)
    is_aliased = words.word() != "set" or (words.word(1) == "set" and words.sign(2) != "=")
    alias = quote((_alias(words) if is_aliased else None) or table[-1])
    words.take("set")
    # Deterministic: equal texts share a plan. A digest: no column has such a name by chance.
    marker = "matched_" + hashlib.sha256(words.piece(0, words.end).encode()).hexdigest()[:16]
    end = next(
        index
        for index in (*words.outside(words.at, words.end), words.end)
        if index == words.end
        or words.tokens[index].word in ("where", "returning")
        or (words.tokens[index].word == "from" and words.tokens[index - 1].word != "distinct")
    )
    changes = dict(_assignments(words, end))
    words.at = end
    where = _condition(words, "FROM is not offered in UPDATE")
    _check_scalar([*changes.values(), *(() if where is None else (where,))])
    matched = "TRUE" if where is None else f"CAST(({where}\n) AS BOOLEAN) IS TRUE"
    rows = f"(SELECT *, {matched} AS {quote(marker)} FROM {_sql(table)} AS {alias}) AS {alias}"
    return Update(table, marker, tuple(changes.items()), rows, before)


def _assignments(words: Words, until: int) -> Iterator[tuple[str, str]]:
    """Columns with the texts of their new values; INVALID for a column that is given two."""
    given = set()
    for start, stop in words.parts(words.at, until):
        for column, value in _assignment(words, start, stop):
            if fold(column) in given:
                raise refusal(f"The column {column} is given two values")
            if fold(value) == "default":
                raise refusal("DEFAULT is not offered: temporary tables have no defaults")
            given.add(fold(column))
            yield column, value


def _assignment(words: Words, start: int, stop: int) -> list[tuple[str, str]]:
    words.at = start
    if words.sign() != "(":
        column = words.name()
        return [(column, words.piece(words.at + 1, stop))]
    behind = words.closing(start) + 1
    columns = _names(words, start + 1, behind - 1)
    words.at = behind + 1
    words.take("row")
    values: list[tuple[int, int]] = []
    if words.sign() == "(" and words.word(1) not in QUERIES and words.closing(words.at) == stop - 1:
        values = words.parts(words.at + 1, stop - 1)
    if len(values) != len(columns):
        raise refusal("A list of columns takes a list of as many values")
    return [(column, words.piece(*value)) for column, value in zip(columns, values, strict=True)]


def _alias(words: Words, *ends: str) -> str | None:
    """The alias that stands here; steps over it. None at the end or before one of these words."""
    if words.take("as") or (words.at < words.end and words.word() not in ends):
        return words.name() or None
    return None


def _condition(words: Words, other: str) -> str | None:
    """The text after WHERE, which stands here unless the statement ends; None without one."""
    if words.find({"returning"}) < words.end:
        raise refusal("RETURNING is not offered")
    if words.at == words.end:
        return None
    if not words.take("where"):
        raise refusal(other)
    return words.rest()


def _check_scalar(pieces: Sequence[str]) -> None:
    """Refuses what would change the number of rows or look at other rows, which UPDATE does not do."""
    pending: list[Any] = [*expressions([f"({piece}\n)" for piece in pieces])]
    while pending:
        node = pending.pop()
        if isinstance(node, Mapping):
            if node.get("class") == "WINDOW" or fold(str(node.get("function_name", ""))) in _UNNESTING:
                raise refusal("Window functions and unnest are not allowed in UPDATE")
            # A query of its own gives one value.
            pending.extend(() if node.get("class") == "SUBQUERY" else node.values())
        elif isinstance(node, list):
            pending.extend(node)


def _sql(path: Sequence[str]) -> str:
    return ".".join(map(quote, path))

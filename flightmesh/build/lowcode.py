"""Low-code models as SQL: a pure function from a model and the columns of what it reads to readable, stable text.

Steps apply in this order, whatever their order in the file: from, keep, cast, filter, derive, dedupe, join, lookup,
aggregate. Each step is one CTE. What each does exactly:

* keep: these columns alone, in this order; cast: to SQL types; filter: rows for which every predicate is true stay.
* derive: new columns, each of which may use those before it.
* dedupe: of the rows with equal keys (NULL equals NULL) the first in the input's order stays; the rest keep theirs.
* join: ``left`` keeps rows without a match, ``inner`` drops them; several matches make several rows; NULL matches
  nothing.
* lookup: a left join for which ``LowCode.lookups`` holds the statements that find keys without exactly one match.
* aggregate: one row per group, ordered by the group's columns.

Authors' expressions stand between brackets, after a check that each is one complete expression.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from flightmesh.build.expressions import checked_expression, checked_type
from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import did_you_mean, fold, quote
from flightmesh.product.model import Aggregate, Join, Lookup, Model

# Where in the model's part of the manifest something stands: ("join", 0, "take").
Steps = tuple[str | int, ...]
Path = tuple[str, ...]

FAILING_KEYS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a low-code model, and where below ``models.<name>``."""

    steps: Steps
    message: str
    hint: str | None = None


class LowCodeFaults(FlightmeshError):  # noqa: N818 -- it is a list of faults; the family name is on its base
    """All faults of one low-code model. INVALID."""

    def __init__(self, name: str, faults: Sequence[Fault]) -> None:
        self.name, self.faults = name, tuple(faults)
        super().__init__(ErrorCode.INVALID, f"Model {name}: {faults[0].message}", hint=faults[0].hint)

    def __reduce__(self) -> tuple[object, ...]:
        return (LowCodeFaults, (self.name, self.faults))


@dataclass(frozen=True, slots=True)
class LookupCheck:
    """A statement that lists keys without exactly one match: text of each key column, matches, number of all such
    keys.
    """

    relation: str
    keys: tuple[str, ...]
    sql: str


@dataclass(frozen=True, slots=True)
class LowCode:
    """A low-code model as SQL. ``columns`` are its names in order; ``places`` is the part of the model behind each
    line.
    """

    sql: str
    columns: tuple[str, ...]
    places: tuple[Steps, ...]
    lookups: tuple[LookupCheck, ...]


def lowcode_sql(name: str, model: Model, relations: Mapping[Path, Sequence[str]], *, limits: Limits) -> LowCode:
    """The model's SQL. ``relations`` holds the columns of everything that the model may read; LowCodeFaults lists all
    faults.
    """
    writer = _Writer(relations, limits)
    result = writer.write(model)
    if writer.faults:
        raise LowCodeFaults(name, writer.faults)
    return result


def relation_path(text: str) -> Path:
    """``reference.airlines`` as the path of a relation."""
    return tuple(text.split("."))


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    steps: Steps


class _Writer:
    """Writes one model. ``columns`` are those after the steps so far; ``last`` is what the next step reads."""

    def __init__(self, relations: Mapping[Path, Sequence[str]], limits: Limits) -> None:
        self.relations = relations
        self.limits = limits
        self.faults: list[Fault] = []
        self.columns: list[str] = []
        self.last = ""
        self.ctes: list[tuple[str, list[_Line]]] = []
        self.lookups: list[LookupCheck] = []

    def write(self, model: Model) -> LowCode:
        assert model.from_ is not None
        self.columns = list(self.known(model.from_, ("from",)))
        self.last = _relation(model.from_)
        if not self.faults:
            self.steps(model)
        body = self.aggregate(model.aggregate) if model.aggregate else [_Line(f"SELECT * FROM {self.last}", ("from",))]
        lines = [*self.with_clause(), *body]
        return LowCode(
            "\n".join(line.text for line in lines) + "\n",
            tuple(self.columns),
            tuple(line.steps for line in lines),
            tuple(self.lookups),
        )

    def steps(self, model: Model) -> None:
        if model.keep is not None:
            self.keep(model.keep)
        if model.cast:
            self.cast(model.cast)
        if model.filter:
            self.filter((model.filter,) if isinstance(model.filter, str) else model.filter)
        if model.derive:
            self.derive(model.derive)
        if model.dedupe:
            self.dedupe(model.dedupe)
        for index, join in enumerate(model.join):
            self.join("join", index, join, join.how)
        for index, lookup in enumerate(model.lookup):
            self.lookup(index, lookup)

    # Each step: check, add a CTE, say which columns there are now.

    def keep(self, keep: Sequence[str] | Mapping[str, str]) -> None:
        taken = self.taken(keep, self.columns, ("keep",), "The input")
        listed = [_Line(f"    {_as(quote(old), old, new)}", at) for new, old, at in taken]
        self.add("keep", [_Line("  SELECT", ("keep",)), *_commas(listed), _Line(f"  FROM {self.last}", ("keep",))])
        self.columns = [new for new, _, _ in taken]

    def cast(self, casts: Mapping[str, str]) -> None:
        types = {}
        for column, text in casts.items():
            found = self.column(column, self.columns, ("cast", column), "The model")
            if found is not None:
                with_type = self.checked(checked_type, text, ("cast", column))
                types[found] = (with_type, ("cast", column))
        listed = []
        for column in self.columns:
            kind, steps = types.get(column, ("", ("cast",)))
            text = f"CAST({quote(column)} AS {kind}) AS {quote(column)}" if kind else quote(column)
            listed.append(_Line(f"    {text}", steps))
        self.add("cast", [_Line("  SELECT", ("cast",)), *_commas(listed), _Line(f"  FROM {self.last}", ("cast",))])

    def filter(self, predicates: Sequence[str]) -> None:
        lines = [_Line(f"  SELECT * FROM {self.last}", ("filter",))]
        for index, predicate in enumerate(predicates):
            text = self.checked(checked_expression, predicate, ("filter", index))
            word = "AND" if index else "WHERE"
            lines += _bracketed(f"  {word} ", text, "", ("filter", index))
        self.add("filter", lines)

    def derive(self, derived: Mapping[str, str]) -> None:
        lines = [_Line("  SELECT", ("derive",)), _Line("    *,", ("derive",))]
        for index, (name, expression) in enumerate(derived.items(), start=1):
            text = self.checked(checked_expression, expression, ("derive", name))
            comma = "," if index < len(derived) else ""
            lines += _bracketed("    ", text, f" AS {quote(name)}{comma}", ("derive", name))
            self.new(name, ("derive", name), "Choose another name; cast changes a column in place.")
        self.add("derive", [*lines, _Line(f"  FROM {self.last}", ("derive",))])

    def dedupe(self, keys: Sequence[str]) -> None:
        found = [self.column(key, self.columns, ("dedupe", i), "The model") for i, key in enumerate(keys)]
        row = "_row"
        while fold(row) in map(fold, self.columns):
            row += "_"
        numbered = f"  SELECT *, row_number() OVER () AS {row} FROM {self.last}"
        self.add("numbered", [_Line(numbered, ("dedupe",))])
        partition = ", ".join(quote(key) for key in found if key is not None)
        texts = (
            f"  SELECT * EXCLUDE ({row}) FROM _numbered",
            f"  QUALIFY row_number() OVER (PARTITION BY {partition} ORDER BY {row}) = 1",
            f"  ORDER BY {row}",
        )
        self.add("dedupe", [_Line(text, ("dedupe",)) for text in texts])

    def join(self, word: str, index: int, join: Join | Lookup, how: str) -> list[tuple[str, str]]:
        """Add the join; returns the pairs of equal columns, (this side's, the other's)."""
        at: Steps = (word, index)
        others = self.known(join.from_, (*at, "from"))
        pairs = self.pairs(join, others, (*at, "on"))
        taken = self.taken(join.take, others, (*at, "take"), join.from_)
        listed = [_Line("    _left.*", at)]
        listed += [_Line(f"    {_as(f'_right.{quote(old)}', old, new)}", steps) for new, old, steps in taken]
        lines = [
            _Line("  SELECT", at),
            *_commas(listed),
            _Line(f"  FROM {self.last} AS _left", at),
            _Line(f"  {how.upper()} JOIN {_relation(join.from_)} AS _right", at),
            *(_Line(f"    {'AND' if i else 'ON'} {text}", (*at, "on")) for i, text in enumerate(map(_equal, pairs))),
        ]
        for new, _, steps in taken:
            self.new(new, steps, f"Rename it in take, for example {{{_other_name(join.from_, new)}: {new}}}.")
        self.add(f"{word}_{index + 1}", lines)
        return pairs

    def lookup(self, index: int, lookup: Lookup) -> None:
        before, last = list(self.ctes), self.last
        pairs = self.join("lookup", index, lookup, "left")
        if pairs:
            self.lookups.append(_lookup_check(before, last, lookup, pairs))

    def aggregate(self, aggregate: Aggregate) -> list[_Line]:
        at: Steps = ("aggregate",)
        found = [self.column(c, self.columns, (*at, "by", i), "The model") for i, c in enumerate(aggregate.by)]
        groups = [column for column in found if column is not None]
        lines = [_Line("SELECT", at)]
        lines += [_Line(f"  _rows.{quote(column)},", (*at, "by")) for column in groups]
        self.columns = list(groups)
        for index, (name, measure) in enumerate(aggregate.measures.items(), start=1):
            steps = (*at, "measures", name)
            text = self.checked(checked_expression, measure, steps)
            comma = "," if index < len(aggregate.measures) else ""
            lines += _bracketed("  ", text, f" AS {quote(name)}{comma}", steps)
            self.new(name, steps, "Choose another name for the measure.")
        lines.append(_Line(f"FROM {self.last} AS _rows", at))
        if groups:
            # Qualified: a measure's name must not hide a column that rows are grouped by.
            listed = ", ".join(f"_rows.{quote(column)}" for column in groups)
            lines += [_Line(f"GROUP BY {listed}", (*at, "by")), _Line(f"ORDER BY {listed}", (*at, "by"))]
        return lines

    # What the steps are made of.

    def add(self, name: str, lines: list[_Line]) -> None:
        self.ctes.append((f"_{name}", lines))
        self.last = f"_{name}"

    def with_clause(self) -> list[_Line]:
        return _with_clause(self.ctes)

    def known(self, relation: str, steps: Steps) -> Sequence[str]:
        """The columns of a relation; a fault, and none, when there is no such relation."""
        found = self.relations.get(relation_path(relation))
        if found is None:
            names = [".".join(path) for path in self.relations]
            self.faults.append(Fault(steps, f"There is no source or model {relation}.", did_you_mean(relation, names)))
            return ()
        return found

    def column(self, name: str, columns: Sequence[str], steps: Steps, owner: str) -> str | None:
        """The column as its relation spells it; a fault when it has none of that name."""
        for column in columns:
            if fold(column) == fold(name):
                return column
        if columns:
            self.faults.append(Fault(steps, f"{owner} has no column {name}.", did_you_mean(name, columns)))
        return None

    def new(self, name: str, steps: Steps, hint: str) -> None:
        if fold(name) in map(fold, self.columns):
            self.faults.append(Fault(steps, f"The model already has a column {name}.", hint))
        else:
            self.columns.append(name)

    def checked(self, check: Callable[[str, Limits], str], text: str, steps: Steps) -> str:
        try:
            return check(text, self.limits)
        except FlightmeshError as error:
            self.faults.append(Fault(steps, error.message, error.hint))
            return "NULL"

    def taken(
        self, take: Sequence[str] | Mapping[str, str], columns: Sequence[str], steps: Steps, owner: str
    ) -> list[tuple[str, str, Steps]]:
        """New name, old name and place of each column that is taken from the columns."""
        pairs: list[tuple[str, str, Steps]]
        if isinstance(take, Mapping):
            pairs = [(new, old, (*steps, new)) for new, old in take.items()]
        else:
            pairs = [(name, name, (*steps, index)) for index, name in enumerate(take)]
        names = [fold(new) for new, _, _ in pairs]
        for index, (new, _, at) in enumerate(pairs):
            if fold(new) in names[:index]:
                self.faults.append(Fault(at, f"The column {new} is named twice."))
        found = [(new, self.column(old, columns, at, owner) or old, old, at) for new, old, at in pairs]
        # A name without a mapping keeps the relation's own spelling.
        return [(column if new == old else new, column, at) for new, column, old, at in found]

    def pairs(self, join: Join | Lookup, others: Sequence[str], steps: Steps) -> list[tuple[str, str]]:
        on: list[tuple[str, str, Steps]]
        if isinstance(join.on, str):
            on = [(join.on, join.on, steps)]
        elif isinstance(join.on, Mapping):
            on = [(this, other, (*steps, this)) for this, other in join.on.items()]
        else:
            on = [(name, name, (*steps, index)) for index, name in enumerate(join.on)]
        found = [
            (self.column(this, self.columns, at, "The model"), self.column(other, others, at, join.from_))
            for this, other, at in on
        ]
        return [(this, other) for this, other in found if this is not None and other is not None]


def _lookup_check(
    ctes: list[tuple[str, list[_Line]]], last: str, lookup: Lookup, pairs: list[tuple[str, str]]
) -> LookupCheck:
    this, other = [quote(pair[0]) for pair in pairs], [quote(pair[1]) for pair in pairs]
    names = [f"key_{index}" for index in range(1, len(pairs) + 1)]
    listed = ", ".join(f"{column} AS {name}" for column, name in zip(this, names, strict=True))
    present = " AND ".join(f"{column} IS NOT NULL" for column in this)
    keys = [f"  SELECT DISTINCT {listed} FROM {last} WHERE {present}"]
    failing = [
        f"  SELECT {', '.join(f'_left.{name}' for name in names)}, count(_right.{other[0]}) AS matches",
        "  FROM _keys AS _left",
        f"  LEFT JOIN {_relation(lookup.from_)} AS _right",
        *(
            f"    {'AND' if index else 'ON'} _left.{name} = _right.{column}"
            for index, (name, column) in enumerate(zip(names, other, strict=True))
        ),
        f"  GROUP BY {', '.join(f'_left.{name}' for name in names)}",
        f"  HAVING count(_right.{other[0]}) <> 1",
    ]
    extra = [("_keys", [_Line(text, ()) for text in keys]), ("_failing", [_Line(text, ()) for text in failing])]
    shown = ", ".join(f"CAST({name} AS VARCHAR) AS {name}" for name in names)
    final = [
        f"SELECT {shown}, matches, count(*) OVER () AS failing",
        "FROM _failing",
        f"ORDER BY {', '.join(f'_failing.{name}' for name in names)}",
        f"LIMIT {FAILING_KEYS_SHOWN}",
    ]
    lines = [line.text for line in _with_clause([*ctes, *extra])]
    return LookupCheck(lookup.from_, tuple(pair[0] for pair in pairs), "\n".join([*lines, *final]) + "\n")


def _with_clause(ctes: Sequence[tuple[str, list[_Line]]]) -> list[_Line]:
    lines: list[_Line] = []
    for index, (name, body) in enumerate(ctes):
        steps = body[0].steps
        comma = "," if index < len(ctes) - 1 else ""
        lines += [_Line(f"{'' if index else 'WITH '}{name} AS (", steps), *body, _Line(f"){comma}", steps)]
    return lines


def _bracketed(before: str, expression: str, after: str, steps: Steps) -> list[_Line]:
    """The expression between brackets. One that could end in a comment has its closing bracket on the next line."""
    if "\n" not in expression and "--" not in expression:
        return [_Line(f"{before}({expression}){after}", steps)]
    indent = " " * (len(before) - len(before.lstrip()))
    inner = [_Line(f"{indent}  {line}", steps) for line in expression.split("\n")]
    return [_Line(f"{before}(", steps), *inner, _Line(f"{indent}){after}", steps)]


def _commas(lines: list[_Line]) -> Iterator[_Line]:
    for index, line in enumerate(lines):
        yield line if index == len(lines) - 1 else _Line(line.text + ",", line.steps)


def _as(expression: str, old: str, new: str) -> str:
    return expression if old == new else f"{expression} AS {quote(new)}"


def _equal(pair: tuple[str, str]) -> str:
    return f"_left.{quote(pair[0])} = _right.{quote(pair[1])}"


def _relation(text: str) -> str:
    return ".".join(map(quote, relation_path(text)))


def _other_name(relation: str, column: str) -> str:
    return f"{relation_path(relation)[-1]}_{column}"

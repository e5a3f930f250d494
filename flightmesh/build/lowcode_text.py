"""The text of a low-code model while it is written: blocks of lines, the columns so far, and the faults found.

What every step is made of stands here; what a step means stands in ``lowcode_steps.py``. Nothing is bound or run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from flightmesh.config import Limits
from flightmesh.errors import FlightmeshError
from flightmesh.names import did_you_mean, fold, quote
from flightmesh.product.model import Model

# Where in the model's part of the manifest something stands: ("join", 0, "take").
Steps = tuple[str | int, ...]
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a low-code model, and where below ``models.<name>``."""

    steps: Steps
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class LookupCheck:
    """A statement that lists keys without exactly one match: text of each key column, matches, number of all such
    keys.
    """

    relation: str
    keys: tuple[str, ...]
    sql: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line and the part of the model behind it. ``is_fixed``: it lies in a string, where spaces count."""

    text: str
    steps: Steps
    is_fixed: bool = False

    def indented(self, by: int) -> Line:
        """The line moved to the right, unless that would change what it says."""
        return self if self.is_fixed else Line(" " * by + self.text, self.steps)


@dataclass(frozen=True, slots=True)
class Block:
    """One SELECT: a common table expression, or the statement's own."""

    name: str
    lines: tuple[Line, ...]


class Text:
    """The model so far: ``columns`` are those of its rows, ``last`` is the relation that the next step reads.

    ``row`` names the column that numbers the rows while ``is_numbered``; ``ties`` are the columns that tell rows apart
    then.
    """

    def __init__(
        self,
        model: Model,
        relations: Mapping[Path, Sequence[str]],
        limits: Limits,
        offered: Collection[Path] = (),
        *,
        is_live: bool,
        keeps_order: bool,
    ) -> None:
        self.relations = relations
        self.offered = offered
        self.limits = limits
        self.is_live = is_live
        self.keeps_order = keeps_order
        self.faults: list[Fault] = []
        self.columns: list[str] = []
        self.last = ""
        self.blocks: list[Block] = []
        self._times: Counter[str] = Counter()
        self.lookups: list[LookupCheck] = []
        words = {*_words(model.model_dump()), *(fold(c) for columns in relations.values() for c in columns)}
        self.row, self.place = _free("_row", words), _free("_place", words)
        self.is_numbered = False
        self.ties: list[str] = []

    # Blocks.

    def add(self, name: str, lines: Iterable[Line]) -> None:
        """One more block, which the next step reads."""
        self._times[name] += 1
        self.last = f"_{name}" if self._times[name] == 1 else f"_{name}_{self._times[name]}"
        self.blocks.append(Block(self.last, tuple(lines)))

    def statement(self) -> tuple[Line, ...]:
        """The whole: all blocks but the last in a WITH clause, then the last."""
        return (*with_clause(self.blocks[:-1]), *self.blocks[-1].lines)

    # The order of rows.

    def number(self, at: Steps) -> None:
        """Number the rows, so that what follows may lose their order. Live rows have none."""
        if self.is_live or self.is_numbered:
            return
        self.add("numbered", [Line(f"SELECT *, row_number() OVER () AS {self.row} FROM {self.last}", at)])
        self.is_numbered, self.ties = True, [self.row]

    def restore(self, at: Steps) -> None:
        """Bring numbered rows back into their order, and drop the numbers."""
        if not self.is_numbered:
            return
        listed = ", ".join(map(quote, self.columns))
        lines = (f"SELECT {listed}", f"FROM {self.last}", f"ORDER BY {', '.join(self.ties)}")
        self.add("ordered", [Line(line, at) for line in lines])
        self.is_numbered, self.ties = False, []

    def carried(self) -> list[str]:
        """The columns of the rows as SQL, with the number where there is one."""
        return [*map(quote, self.columns), *([self.row] if self.is_numbered else [])]

    def tie_breakers(self, used: Sequence[str], *, is_descending: bool) -> list[str]:
        """What tells rows apart that are equal in the used columns: the numbers, else all other columns."""
        way = " DESC" if is_descending else " ASC"
        if self.is_numbered:
            # The number itself is never NULL.
            return [f"{self.row}{way if is_descending else ''}", *(f"{tie}{way} NULLS LAST" for tie in self.ties[1:])]
        taken = set(map(fold, used))
        return [f"{quote(column)}{way} NULLS LAST" for column in self.columns if fold(column) not in taken]

    # Names and expressions.

    def fault(self, steps: Steps, message: str, hint: str | None = None) -> None:
        self.faults.append(Fault(steps, message, hint))

    def needs(self, value: Sequence[object] | Mapping[str, object], steps: Steps, what: str) -> None:
        """A fault where the author left a list or mapping empty that must not be."""
        if not value:
            self.fault(steps, f"{steps[-1]} is empty.", f"Name {what}.")

    def known(self, relation: str, steps: Steps) -> Sequence[str]:
        """The columns of a relation; a fault, and none, when there is no such relation."""
        found = self.relations.get(relation_path(relation))
        if found is None:
            self.fault(steps, f"There is no source or model {relation}.", self._help(relation))
            return ()
        return found

    def _help(self, relation: str) -> str | None:
        """What may have been meant by the name of a relation that there is not."""
        names = sorted({".".join(path) for path in (*self.relations, *self.offered)})
        beneath = [name for name in names if fold(name).startswith(f"{fold(relation)}.")]
        return f"Write {relation}.TABLE, for example {beneath[0]}." if beneath else did_you_mean(relation, names)

    def column(self, name: str, columns: Sequence[str], steps: Steps, owner: str) -> str | None:
        """The column as its relation spells it; a fault when it has none of that name."""
        for column in columns:
            if fold(column) == fold(name):
                return column
        if columns:
            self.fault(steps, f"{owner} has no column {name}.", did_you_mean(name, columns))
        return None

    def own(self, names: Sequence[str], steps: Steps) -> list[str]:
        """The model's columns of these names, as they are spelled; a fault for each that is missing or named twice."""
        found = [self.column(name, self.columns, (*steps, index), "The model") for index, name in enumerate(names)]
        for index, column in enumerate(found):
            if column is not None and column in found[:index]:
                self.fault((*steps, index), f"The column {column} is named twice.")
        return list(dict.fromkeys(column for column in found if column is not None))

    def new(self, name: str, steps: Steps, hint: str) -> None:
        """The model gets a column of this name; a fault when it has one."""
        if fold(name) in map(fold, self.columns):
            self.fault(steps, f"The model already has a column {name}.", hint)
        else:
            self.columns.append(name)

    def checked(self, check: Callable[[str, Limits], str], text: str, steps: Steps) -> str:
        """The author's text after a check; a fault, and NULL, when it is refused."""
        try:
            return check(text, self.limits)
        except FlightmeshError as error:
            self.fault(steps, error.message, error.hint)
            return "NULL"

    def named(
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
                self.fault(at, f"The column {new} is named twice.")
        found = [(new, self.column(old, columns, at, owner) or old, old, at) for new, old, at in pairs]
        # A name without a mapping keeps the relation's own spelling.
        return [(column if new == old else new, column, at) for new, column, old, at in found]


def relation_path(text: str) -> Path:
    """``reference.airlines`` as the path of a relation."""
    return tuple(text.split("."))


def relation_sql(text: str) -> str:
    """The relation's quoted name."""
    return ".".join(map(quote, relation_path(text)))


def with_clause(blocks: Sequence[Block]) -> list[Line]:
    """The blocks as common table expressions."""
    lines: list[Line] = []
    for index, block in enumerate(blocks):
        steps = block.lines[0].steps
        opening = Line(f"{'' if index else 'WITH '}{block.name} AS (", steps)
        closing = Line(")" if index == len(blocks) - 1 else "),", steps)
        lines += [opening, *(line.indented(2) for line in block.lines), closing]
    return lines


def bracketed(before: str, expression: str, after: str, steps: Steps) -> list[Line]:
    """The expression between brackets. One that could end in a comment has its closing bracket on the next line."""
    if "\n" not in expression and "--" not in expression:
        return [Line(f"{before}({expression}){after}", steps)]
    indent = len(before) - len(before.lstrip())
    # A string may go on over lines, and then every space in it counts.
    is_fixed = "$" in expression or any(line.count(sign) % 2 for line in expression.split("\n") for sign in "'\"")
    inner = [Line(line, steps, is_fixed).indented(indent + 2) for line in expression.split("\n")]
    return [Line(f"{before}(", steps), *inner, Line(f"{' ' * indent}){after}", steps)]


def commas(cells: Sequence[Sequence[Line]]) -> Iterator[Line]:
    """The lines of the cells as a list: a comma behind each cell but the last."""
    for index, cell in enumerate(cells):
        yield from cell[:-1]
        end = cell[-1]
        yield end if index == len(cells) - 1 else Line(end.text + ",", end.steps, end.is_fixed)


def as_new(expression: str, old: str, new: str) -> str:
    """The expression under the new name."""
    return expression if old == new else f"{expression} AS {quote(new)}"


def _words(value: object) -> Iterator[str]:
    """Every text in a part of a manifest, folded."""
    if isinstance(value, str):
        yield fold(value)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from (*_words(key), *_words(inner))
    elif isinstance(value, tuple | list):
        for inner in value:
            yield from _words(inner)


def _free(name: str, words: Iterable[str]) -> str:
    """The name, longer until nothing of the author's contains it."""
    taken = set(words)
    while any(name in word for word in taken):
        name += "_"
    return name

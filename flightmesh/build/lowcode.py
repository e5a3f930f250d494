"""Low-code models as SQL: a pure function from a model and the columns of what it reads to readable, stable text.

Steps apply in the order of ``STEPS``, whatever their order in the file. It goes from collecting rows to cleaning, to
shaping, to widening, to measuring, to condensing them, so that each step may use the columns of those before it: a
filter sees columns under their new names and types, keys are unique before anything is joined to them, and measures
see the joined columns. What needs another order is two models, the second ``from`` the first.

* from: all rows and columns. union: the rows of other relations behind them, columns by name.
* keep: these columns alone, in this order; cast: to SQL types; filter: rows for which every predicate is true stay.
* derive: new columns, each of which may use those before it.
* dedupe: of the rows with equal keys (NULL equals NULL) one stays; latest: the one with the greatest order.
* unpivot: one row for each of some columns.
* join: ``left`` keeps rows without a match, ``inner`` drops them; several matches make several rows; NULL matches
  nothing. lookup: a left join for which ``LowCode.lookups`` holds the statements that find keys without exactly one
  match.
* window: new columns over the rows around each row; rank: new columns that number rows.
* aggregate: one row per group; pivot: one row per group, and a column for each of the values listed.

The order of rows. What is built has one, the same in every build from equal input: that of the relation in ``from``,
then those of the union; columns of unpivot follow one another, matches of a join follow their row in the order of the
columns taken; groups come in the order of their columns. Plain steps keep it by themselves; where a step loses it
(the engine joins and groups in parallel) rows are numbered before and sorted once at the end, which costs little
beside the step. It is also the last resort of every tie: dedupe keeps the first row, latest the last. With ``is_live``
rows have no order, a remote table having none: nothing is numbered or sorted, plain steps are plain SELECTs that a
database can take over whole, and ties fall to the other columns from left to right (dedupe keeps the least row,
latest the greatest), so that answers are still determined.

Authors' expressions stand between brackets, after a check that each is one complete expression.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flightmesh.build import lowcode_steps as steps
from flightmesh.build.lowcode_text import Fault, Line, LookupCheck, Path, Steps, Text, relation_path
from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.model import Model

__all__ = ["STEPS", "Fault", "LookupCheck", "LowCode", "LowCodeFaults", "lowcode_sql", "relation_path"]

# Key in the manifest and what it does. ``from`` comes before all, ``union`` needs it once more.
STEPS: Mapping[str, Callable[[Text, Any], None]] = {  # Any: each function takes the values of its own key
    "keep": steps.keep,
    "cast": steps.cast,
    "filter": steps.filter_rows,
    "derive": steps.derive,
    "dedupe": steps.dedupe,
    "latest": steps.latest,
    "unpivot": steps.unpivot,
    "join": steps.join,
    "lookup": steps.lookup,
    "window": steps.window,
    "rank": steps.rank,
    "aggregate": steps.aggregate,
    "pivot": steps.pivot,
}


class LowCodeFaults(FlightmeshError):  # noqa: N818 -- it is a list of faults; the family name is on its base
    """All faults of one low-code model. INVALID."""

    def __init__(self, name: str, faults: Sequence[Fault]) -> None:
        self.name, self.faults = name, tuple(faults)
        super().__init__(ErrorCode.INVALID, f"Model {name}: {faults[0].message}", hint=faults[0].hint)

    def __reduce__(self) -> tuple[object, ...]:
        return (LowCodeFaults, (self.name, self.faults))


@dataclass(frozen=True, slots=True)
class LowCode:
    """A low-code model as SQL. ``columns`` are its names in order; ``places`` is the part of the model behind each
    line.
    """

    sql: str
    columns: tuple[str, ...]
    places: tuple[Steps, ...]
    lookups: tuple[LookupCheck, ...]


def lowcode_sql(
    name: str,
    model: Model,
    relations: Mapping[Path, Sequence[str]],
    *,
    limits: Limits,
    is_live: bool = False,
    offered: Collection[Path] = (),
) -> LowCode:
    """The model's SQL. ``relations`` holds the columns of everything that the model reads; ``offered`` is what it could
    read beside that, for help with names; ``is_live`` leaves out the order of rows. LowCodeFaults lists all faults.
    """
    assert model.from_ is not None
    is_grouped = model.aggregate is not None or model.pivot is not None
    text = Text(model, relations, limits, offered, is_live=is_live, keeps_order=not (is_live or is_grouped))
    steps.start(text, model.from_)
    if not text.faults:
        _write(text, model, model.from_)
    if text.faults:
        raise LowCodeFaults(name, text.faults)
    lines = text.statement()
    return LowCode(
        "\n".join(line.text for line in lines) + "\n",
        tuple(text.columns),
        tuple(line.steps for line in lines),
        tuple(text.lookups),
    )


def _write(text: Text, model: Model, first: str) -> None:
    if model.union:
        steps.union(text, first, model.union)
    for key, step in STEPS.items():
        value = getattr(model, key)
        if value is not None and (value not in ((), {}) or key == "keep"):
            step(text, value)
    text.restore(("from",))
    if not text.blocks:
        text.add("from", [Line(f"SELECT * FROM {text.last}", ("from",))])

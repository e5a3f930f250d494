"""What each step of a low-code model means, as SQL: one function per step, which adds blocks to the model's text.

A step checks what its author wrote, adds one or more blocks, and says which columns there are now. The order of the
steps, and what they promise, stands in ``lowcode.py``. Nothing is bound or run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flightmesh.build.expressions import checked_expression, checked_type, names_in, with_clause_after_calls
from flightmesh.build.lowcode_text import (
    Block,
    Line,
    LookupCheck,
    Steps,
    Text,
    as_new,
    bracketed,
    commas,
    relation_path,
    relation_sql,
    with_clause,
)
from flightmesh.names import did_you_mean, fold, literal, quote
from flightmesh.product.model import (
    Aggregate,
    Constant,
    Frame,
    Join,
    Latest,
    Lookup,
    Order,
    Pivot,
    Rank,
    Union,
    Unpivot,
    Window,
)

FAILING_KEYS_SHOWN = 5
_THE_MODEL = "The model"


def start(text: Text, relation: str) -> None:
    """``from``: all rows and columns of the relation."""
    text.columns = list(text.known(relation, ("from",)))
    text.last = relation_sql(relation)


def union(text: Text, first: str, union: Sequence[str] | Union) -> None:
    """The rows of other relations after those of the first, columns by name."""
    given = union if isinstance(union, Union) else Union(from_=tuple(union))
    at: Steps = ("union", "from") if isinstance(union, Union) else ("union",)
    text.needs(given.from_, at, "one relation or more")
    relations = [(first, list(text.columns), ("from",)), *_others(text, given, at)]
    columns = _all_columns(text, relations, is_filled=given.fill is not None)
    text.columns = list(columns)
    if given.label is not None:
        text.new(given.label, ("union", "label"), "Choose another name for the label.")
    lines: list[Line] = []
    for name, own, steps in relations:
        spelled = {fold(column): column for column in own}
        listed = [Line(f"  {_by_name(column, spelled)}", steps) for column in columns]
        if given.label is not None:
            listed.append(Line(f"  {literal(name)} AS {quote(given.label)}", ("union", "label")))
        lines += [Line("UNION ALL", steps)] if lines else []
        lines += [Line("SELECT", steps), *_list(listed), Line(f"FROM {relation_sql(name)}", steps)]
    text.add("union", lines)
    if given.distinct:
        _distinct(text, ("union", "distinct"))


def keep(text: Text, keep: Sequence[str] | Mapping[str, str]) -> None:
    """These columns alone, in this order, under these names."""
    at: Steps = ("keep",)
    text.needs(keep, at, "one column or more")
    taken = text.named(keep, text.columns, at, "The input")
    listed = [Line(f"  {as_new(quote(old), old, new)}", steps) for new, old, steps in taken]
    text.add("keep", [Line("SELECT", at), *_list(listed), Line(f"FROM {text.last}", at)])
    text.columns = [new for new, _, _ in taken]


def cast(text: Text, casts: Mapping[str, str]) -> None:
    """Columns to SQL types, in their places."""
    at: Steps = ("cast",)
    types = {}
    for column, kind in casts.items():
        found = text.column(column, text.columns, (*at, column), _THE_MODEL)
        if found is not None:
            types[found] = (text.checked(checked_type, kind, (*at, column)), (*at, column))
    listed = []
    for column in text.columns:
        name, (kind, steps) = quote(column), types.get(column, ("", at))
        listed.append(Line(f"  CAST({name} AS {kind}) AS {name}" if kind else f"  {name}", steps))
    text.add("cast", [Line("SELECT", at), *_list(listed), Line(f"FROM {text.last}", at)])


def filter_rows(text: Text, predicates: str | Sequence[str]) -> None:
    """The rows for which every predicate is true."""
    at: Steps = ("filter",)
    listed = (predicates,) if isinstance(predicates, str) else predicates
    text.needs(listed, at, "one predicate or more")
    lines = [Line(f"SELECT * FROM {text.last}", at)]
    for index, predicate in enumerate(listed):
        steps = (*at, index)
        checked = text.checked(checked_expression, predicate, steps)
        lines += bracketed(f"{'AND' if index else 'WHERE'} ", checked, "", steps)
    text.add("filter", lines)


def derive(text: Text, derived: Mapping[str, str]) -> None:
    """New columns. One that reads another new one has a block of its own: not every database knows both in one."""
    at: Steps = ("derive",)
    groups: list[dict[str, str]] = [{}]
    for name, expression in derived.items():
        checked = text.checked(checked_expression, expression, (*at, name))
        text.new(name, (*at, name), "Choose another name; cast changes a column in place.")
        if names_in(checked, text.limits) & set(map(fold, groups[-1])):
            groups.append({})
        groups[-1][name] = checked
    for number, group in enumerate(groups, start=1):
        cells = [bracketed("  ", checked, f" AS {quote(name)}", (*at, name)) for name, checked in group.items()]
        lines = [Line("SELECT", at), Line("  *,", at), *commas(cells), Line(f"FROM {text.last}", at)]
        text.add("derive" if len(groups) == 1 else f"derive_{number}", lines)


def dedupe(text: Text, keys: Sequence[str]) -> None:
    """Of the rows with equal keys the first."""
    at: Steps = ("dedupe",)
    found = text.own(keys, at)
    if text.is_live and len(found) == len(text.columns):
        _distinct(text, at)
        return
    text.number(at)
    _one_of_each(text, "dedupe", found, text.tie_breakers(found, is_descending=False), at)


def latest(text: Text, latest: Latest) -> None:
    """Of the rows with equal keys the one with the greatest order."""
    at: Steps = ("latest",)
    order = (latest.order,) if isinstance(latest.order, str) else latest.order
    text.needs(order, (*at, "order"), "the column that tells which row is the latest")
    keys = text.own(latest.by, (*at, "by"))
    ordered = text.own(order, (*at, "order"))
    text.number(at)
    listed = [f"{quote(column)} DESC NULLS LAST" for column in ordered]
    _one_of_each(text, "latest", keys, [*listed, *text.tie_breakers([*keys, *ordered], is_descending=True)], at)


def unpivot(text: Text, unpivot: Unpivot) -> None:
    """One row for each of the columns: its name and its value, beside all other columns."""
    at: Steps = ("unpivot",)
    text.needs(unpivot.columns, (*at, "columns"), "the columns to turn into rows")
    text.restore(at)
    taken = text.named(unpivot.columns, text.columns, (*at, "columns"), _THE_MODEL)
    gone = {fold(old) for _, old, _ in taken}
    text.columns = [column for column in text.columns if fold(column) not in gone]
    for key, name in (("name", unpivot.name), ("value", unpivot.value)):
        text.new(name, (*at, key), "Choose another name.")
    nulls = "INCLUDE" if unpivot.keep_nulls else "EXCLUDE"
    listed = [Line(f"  {quote(old)} AS {literal(new)}", steps) for new, old, steps in taken]
    text.add(
        "unpivot",
        [
            Line(f"SELECT {', '.join(map(quote, text.columns))}", at),
            Line(f"FROM {text.last} UNPIVOT {nulls} NULLS (", at),
            Line(f"  {quote(unpivot.value)} FOR {quote(unpivot.name)} IN (", at),
            *(line.indented(2) for line in _list(listed)),
            Line("  )", at),
            Line(")", at),
        ],
    )


def join(text: Text, joins: Sequence[Join]) -> None:
    """Rows of other relations beside these."""
    for index, step in enumerate(joins):
        _join(text, "join", index, step, step.how)


def lookup(text: Text, lookups: Sequence[Lookup]) -> None:
    """Left joins, each with a statement that finds the keys without exactly one match."""
    for index, step in enumerate(lookups):
        before, last = list(text.blocks), text.last
        pairs = _join(text, "lookup", index, step, "left")
        if pairs:
            text.lookups.append(_lookup_check(before, last, step, pairs))


def window(text: Text, windows: Sequence[Window]) -> None:
    """New columns computed over the rows around each row."""
    for index, step in enumerate(windows):
        at: Steps = ("window", index)
        text.needs(step.measures, (*at, "measures"), "one measure or more")
        groups = text.own(step.by, (*at, "by"))
        order = _order(text, step.order, (*at, "order"))
        if step.frame is not None and not step.order:
            text.fault((*at, "frame"), "A frame counts rows in an order, and there is none.", "Write order.")
        text.number(at)
        if order:
            order += text.tie_breakers([*groups, *_names_of(step.order)], is_descending=False)
        over = _over(groups, order, step.frame, at)
        cells = []
        for name, measure in step.measures.items():
            steps = (*at, "measures", name)
            written = _after_calls(text, "OVER _window", measure, steps, is_ordered=bool(step.order))
            cells.append(bracketed("  ", written, f" AS {quote(name)}", steps))
            text.new(name, steps, "Choose another name for the measure.")
        text.add(
            f"window_{index + 1}",
            [Line("SELECT", at), Line("  *,", at), *commas(cells), Line(f"FROM {text.last}", at), *over],
        )


def rank(text: Text, ranks: Sequence[Rank]) -> None:
    """New columns that number the rows of each group in an order."""
    for index, step in enumerate(ranks):
        at: Steps = ("rank", index)
        names = _names_of(step.order)
        text.needs(names, (*at, "order"), "the columns to rank by")
        groups = text.own(step.by, (*at, "by"))
        order = _order(text, step.order, (*at, "order"))
        text.number(at)
        if step.method == "row_number":
            order += text.tie_breakers([*groups, *names], is_descending=False)
        cell = Line(f"  {step.method}() OVER ({_group_and_order(groups, order)}) AS {quote(step.name)}", at)
        text.new(step.name, (*at, "name"), "Choose another name for the rank.")
        text.add(f"rank_{index + 1}", [Line("SELECT", at), Line("  *,", at), cell, Line(f"FROM {text.last}", at)])
        if step.top is not None:
            highest = Line(f"SELECT * FROM {text.last} WHERE {quote(step.name)} <= {step.top}", (*at, "top"))
            text.add(f"top_{index + 1}", [highest])


def aggregate(text: Text, aggregate: Aggregate) -> None:
    """One row per group."""
    at: Steps = ("aggregate",)
    text.needs([*aggregate.by, *aggregate.measures], (*at, "measures"), "one measure or more")
    groups = text.own(aggregate.by, (*at, "by"))
    text.columns = list(groups)
    cells = []
    for name, measure in aggregate.measures.items():
        steps = (*at, "measures", name)
        checked = text.checked(checked_expression, measure, steps)
        cells.append(bracketed("  ", checked, f" AS {quote(name)}", steps))
        text.new(name, steps, "Choose another name for the measure.")
    _grouped(text, at, groups, cells)


def pivot(text: Text, pivot: Pivot) -> None:
    """One row per group, and a column for each value of a column and each measure."""
    at: Steps = ("pivot",)
    text.needs(pivot.values, (*at, "values"), "the values that become columns")
    text.needs(pivot.using, (*at, "using"), "one measure or more")
    on = text.column(pivot.on, text.columns, (*at, "on"), _THE_MODEL) or pivot.on
    groups = text.own(pivot.by, (*at, "by"))
    text.columns = list(groups)
    cells = []
    for value_name, value, steps in _values(pivot.values, (*at, "values")):
        clause = f"FILTER (WHERE _rows.{quote(on)} = {_constant(value)})"
        for measure_name, measure in pivot.using.items():
            where: Steps = (*at, "using", measure_name)
            name = value_name if len(pivot.using) == 1 else f"{value_name}_{measure_name}"
            written = _after_calls(text, clause, measure, where, is_ordered=True)
            cells.append(bracketed("  ", written, f" AS {quote(name)}", where))
            text.new(name, steps, "Name the columns: values also takes a mapping of column name to value.")
    text.faults[:] = dict.fromkeys(text.faults)  # A measure is read once for each value.
    _grouped(text, at, groups, cells)


def _list(lines: Sequence[Line]) -> list[Line]:
    return list(commas([[line] for line in lines]))


def _others(text: Text, union: Union, at: Steps) -> list[tuple[str, list[str], Steps]]:
    """Name, columns and place of each relation that is added; those that are unknown are left out."""
    places = [(name, (*at, index)) for index, name in enumerate(union.from_)]
    found = [(name, list(text.known(name, steps)), steps) for name, steps in places]
    return [each for each in found if each[1]]


def _all_columns(text: Text, relations: Sequence[tuple[str, list[str], Steps]], *, is_filled: bool) -> list[str]:
    """The columns of the union, as first spelled; a fault for each that one relation lacks, unless it is filled."""
    first, columns, _ = relations[0]
    everything = {fold(column): column for column in columns}
    for name, own, steps in relations[1:]:
        spelled = {fold(column) for column in own}
        if not is_filled:
            hint = "fill: null makes it NULL where it is missing."
            for column in columns:
                if fold(column) not in spelled:
                    near = did_you_mean(column, own)
                    text.fault(steps, f"{name} has no column {column}, which {first} has.", near or hint)
            for column in own:
                if fold(column) not in everything:
                    text.fault(steps, f"{name} has a column {column}, which {first} has not.", hint)
        else:
            everything = {**{fold(column): column for column in own}, **everything}
    ordered = dict.fromkeys(fold(column) for _, own, _ in relations for column in own)
    return [everything[key] for key in ordered if key in everything]


def _by_name(column: str, spelled: Mapping[str, str]) -> str:
    """The relation's column under the union's spelling; NULL where it has none."""
    own = spelled.get(fold(column))
    return f"NULL AS {quote(column)}" if own is None else as_new(quote(own), own, column)


def _distinct(text: Text, at: Steps) -> None:
    if text.is_live:
        text.add("distinct", [Line(f"SELECT DISTINCT * FROM {text.last}", at)])
        return
    text.number(at)
    _one_of_each(text, "distinct", text.columns, text.tie_breakers(text.columns, is_descending=False), at)
    text.restore(at)


def _one_of_each(text: Text, name: str, keys: Sequence[str], order: Sequence[str], at: Steps) -> None:
    """Of the rows with equal keys (NULL equals NULL) the first in the order."""
    over = _group_and_order(keys, order)
    carried = ", ".join(text.carried())
    placed = f"SELECT *, row_number() OVER ({over}) AS {text.place} FROM {text.last}"
    text.add(f"{name}_places", [Line(placed, at)])
    text.add(name, [Line(f"SELECT {carried} FROM {text.last} WHERE {text.place} = 1", at)])


def _join(text: Text, word: str, index: int, join: Join | Lookup, how: str) -> list[tuple[str, str]]:
    """Add the join; returns the pairs of equal columns, (this side's, the other's)."""
    at: Steps = (word, index)
    others = text.known(join.from_, (*at, "from"))
    pairs = _pairs(text, join, others, (*at, "on"))
    taken = text.named(join.take, others, (*at, "take"), join.from_)
    if text.keeps_order:
        text.number(at)
    listed = [Line("  _left.*", at)]
    listed += [Line(f"  {as_new(f'_right.{quote(old)}', old, new)}", steps) for new, old, steps in taken]
    lines = [
        Line("SELECT", at),
        *_list(listed),
        Line(f"FROM {text.last} AS _left", at),
        Line(f"{how.upper()} JOIN {relation_sql(join.from_)} AS _right", at),
        *(Line(f"  {'AND' if i else 'ON'} {equal}", (*at, "on")) for i, equal in enumerate(map(_equal, pairs))),
    ]
    for new, _, steps in taken:
        text.new(new, steps, f"Rename it in take, for example {{{_other_name(join.from_, new)}: {new}}}.")
    if text.is_numbered and word == "join":
        # One row may have several matches, which its number does not tell apart.
        text.ties += [quote(new) for new, _, _ in taken]
    text.add(f"{word}_{index + 1}", lines)
    return pairs


def _pairs(text: Text, join: Join | Lookup, others: Sequence[str], steps: Steps) -> list[tuple[str, str]]:
    on: list[tuple[str, str, Steps]]
    if isinstance(join.on, str):
        on = [(join.on, join.on, steps)]
    elif isinstance(join.on, Mapping):
        on = [(this, other, (*steps, this)) for this, other in join.on.items()]
    else:
        on = [(name, name, (*steps, index)) for index, name in enumerate(join.on)]
    text.needs(on, steps, "the columns that are equal")
    found = [
        (text.column(this, text.columns, at, _THE_MODEL), text.column(other, others, at, join.from_))
        for this, other, at in on
    ]
    return [(this, other) for this, other in found if this is not None and other is not None]


def _lookup_check(blocks: list[Block], last: str, lookup: Lookup, pairs: list[tuple[str, str]]) -> LookupCheck:
    this, other = [quote(pair[0]) for pair in pairs], [quote(pair[1]) for pair in pairs]
    names = [f"key_{index}" for index in range(1, len(pairs) + 1)]
    listed = ", ".join(f"{column} AS {name}" for column, name in zip(this, names, strict=True))
    present = " AND ".join(f"{column} IS NOT NULL" for column in this)
    keys = [f"SELECT DISTINCT {listed} FROM {last} WHERE {present}"]
    failing = [
        f"SELECT {', '.join(f'_left.{name}' for name in names)}, count(_right.{other[0]}) AS matches",
        "FROM _keys AS _left",
        f"LEFT JOIN {relation_sql(lookup.from_)} AS _right",
        *(
            f"  {'AND' if index else 'ON'} _left.{name} = _right.{column}"
            for index, (name, column) in enumerate(zip(names, other, strict=True))
        ),
        f"GROUP BY {', '.join(f'_left.{name}' for name in names)}",
        f"HAVING count(_right.{other[0]}) <> 1",
    ]
    shown = ", ".join(f"CAST({name} AS VARCHAR) AS {name}" for name in names)
    final = [
        f"SELECT {shown}, matches, count(*) OVER () AS failing",
        "FROM _failing",
        f"ORDER BY {', '.join(f'_failing.{name}' for name in names)}",
        f"LIMIT {FAILING_KEYS_SHOWN}",
    ]
    extra = [Block("_keys", _plain(keys)), Block("_failing", _plain(failing))]
    lines = [line.text for line in with_clause([*blocks, *extra])]
    return LookupCheck(lookup.from_, tuple(pair[0] for pair in pairs), "\n".join([*lines, *final]) + "\n")


def _plain(lines: Sequence[str]) -> tuple[Line, ...]:
    return tuple(Line(text, ()) for text in lines)


def _names_of(order: Order) -> list[str]:
    return [order] if isinstance(order, str) else list(order)


def _order(text: Text, order: Order, at: Steps) -> list[str]:
    """The order as SQL: NULL comes last in both directions, unless the author says otherwise."""
    listed: list[str] = []
    for index, name in enumerate(_names_of(order)):
        steps = at if isinstance(order, str) else (*at, name if isinstance(order, Mapping) else index)
        way = order[name] if isinstance(order, Mapping) else "asc"
        column = text.column(name, text.columns, steps, _THE_MODEL)
        nulls = "" if way.endswith("nulls first") else " NULLS LAST"
        if column is not None:
            listed.append(f"{quote(column)} {way.upper()}{nulls}")
    return listed


def _group_and_order(groups: Sequence[str], order: Sequence[str]) -> str:
    partition = f"PARTITION BY {', '.join(map(quote, groups))} " if groups else ""
    return f"{partition}ORDER BY {', '.join(order)}"


def _over(groups: Sequence[str], order: Sequence[str], frame: Frame | None, at: Steps) -> list[Line]:
    """The window that the measures name. Without an order it is the whole group, else all rows up to this one."""
    lines = [f"  PARTITION BY {', '.join(map(quote, groups))}"] if groups else []
    if order:
        asked = frame or Frame()
        start = _bound(asked.preceding, "PRECEDING")
        lines += [
            f"  ORDER BY {', '.join(order)}",
            f"  ROWS BETWEEN {start} AND {_bound(asked.following, 'FOLLOWING')}",
        ]
    return [Line(line, at) for line in ("WINDOW _window AS (", *lines, ")")]


def _bound(rows: int | str, way: str) -> str:
    if rows == "all":
        return f"UNBOUNDED {way}"
    return f"{rows} {way}" if rows else "CURRENT ROW"


def _after_calls(text: Text, clause: str, measure: str, steps: Steps, *, is_ordered: bool) -> str:
    return text.checked(
        lambda given, limits: with_clause_after_calls(given, clause, limits, is_ordered=is_ordered), measure, steps
    )


def _grouped(text: Text, at: Steps, groups: Sequence[str], cells: Sequence[Sequence[Line]]) -> None:
    """The groups and what is told of each, in the order of the groups where rows have one."""
    # Qualified: a measure's name must not hide a column that rows are grouped by.
    names = [f"_rows.{quote(column)}" for column in groups]
    by = (*at, "by")
    listed = commas([*([Line(f"  {name}", by)] for name in names), *cells])
    lines = [Line("SELECT", at), *listed, Line(f"FROM {text.last} AS _rows", at)]
    if groups:
        lines.append(Line(f"GROUP BY {', '.join(names)}", by))
        if not text.is_live:
            lines.append(Line(f"ORDER BY {', '.join(names)}", by))
    text.is_numbered, text.ties = False, []
    text.add(str(at[0]), lines)


def _values(values: Sequence[Constant] | Mapping[str, Constant], at: Steps) -> list[tuple[str, Constant, Steps]]:
    """Name of the column, value and place of each value of a pivot."""
    if isinstance(values, Mapping):
        return [(name, value, (*at, name)) for name, value in values.items()]
    return [(_shown(value), value, (*at, index)) for index, value in enumerate(values)]


def _shown(value: Constant) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _constant(value: Constant) -> str:
    return literal(value) if isinstance(value, str) else _shown(value)


def _equal(pair: tuple[str, str]) -> str:
    return f"_left.{quote(pair[0])} = _right.{quote(pair[1])}"


def _other_name(relation: str, column: str) -> str:
    return f"{relation_path(relation)[-1]}_{column}"

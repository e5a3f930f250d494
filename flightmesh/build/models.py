"""The models of a product: in which order they are built, and how one is made in the workshop.

Every model's SQL, that of low-code models included, goes through ``planner.pipeline.plan_model``; Python models run
in a process of their own. A model becomes a view, or a table when it is read more than once or feeds Python.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from flightmesh.build.lowcode import LookupCheck, LowCode, lowcode_sql, relation_path
from flightmesh.catalog.snapshot import LiveModel, Relation as Relation
from flightmesh.config import Limits
from flightmesh.engine.base import PolarsModel
from flightmesh.engine.polars import PolarsBounds, polars_rows, polars_schema
from flightmesh.engine.workshop import Workshop
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import fold, folded
from flightmesh.planner.pipeline import model_references, plan_model
from flightmesh.product.graph import model_inputs, order
from flightmesh.product.model import DataProduct, Model
from flightmesh.sql.gate import READ_PORTS

# Where in its SQL a message sees its cause: line and column.
PLACE = re.compile(r" \(line (\d+), column (\d+)\)")
_REFUSED = "A model is one SELECT that depends on its inputs alone; a model in Python can do more."


@dataclass(frozen=True, slots=True)
class Recipe:
    """The models that the ports need, each after all it reads; what each reads; and which are kept as tables.

    ``live`` are those that read a live source, themselves or through others: they are computed when they are read.
    """

    order: tuple[str, ...]
    reads: Mapping[str, tuple[Relation, ...]]
    tables: frozenset[str]
    live: frozenset[str] = frozenset()

    @property
    def relations(self) -> frozenset[Relation]:
        """Everything that some model reads."""
        return frozenset(relation for reads in self.reads.values() for relation in reads)

    def kept(self, live_tables: Collection[Relation]) -> tuple[Relation, ...]:
        """What live models read and is not live itself: its rows are kept for them."""
        read = {relation for name in self.live for relation in self.reads[name]}
        return tuple(sorted(r for r in read if r not in live_tables and (len(r) > 1 or r[0] not in self.live)))


@dataclass(frozen=True, slots=True)
class Making:
    """What making a model needs beside the model. ``is_dry`` makes models without rows: Python code runs on empty
    frames.
    """

    workshop: Workshop
    folder: Path
    product: DataProduct
    relations: Collection[Relation]
    scratch: Path
    limits: Limits
    polars: PolarsBounds
    is_dry: bool


def recipe(
    product: DataProduct,
    relations: Collection[Relation],
    *,
    limits: Limits,
    live_tables: Collection[Relation] = frozenset(),
) -> Recipe:
    """The recipe for the product's ports. ``relations`` are the tables of its sources, ``live_tables`` those of live
    ones. INVALID naming the models of a cycle.
    """
    reads: dict[str, tuple[Relation, ...]] = {}
    waiting = [port.model for port in product.ports.values()]
    while waiting:
        name = waiting.pop()
        if name not in reads:
            try:
                reads[name] = reads_of(product, name, relations, limits=limits)
            except FlightmeshError as error:
                raise _of_model(name, error) from error
            waiting += [path[0] for path in reads[name] if path not in relations]
    edges = {name: [path[0] for path in paths if path not in relations] for name, paths in reads.items()}
    in_manifest_order = [name for name in product.models if name in reads]
    ordered = tuple(order(in_manifest_order, edges))
    live: set[str] = set()
    for name in ordered:
        if any(path in live_tables or (path not in relations and path[0] in live) for path in reads[name]):
            live.add(name)
    return Recipe(ordered, reads, _tables(product, reads) - live, frozenset(live))


def reads_of(
    product: DataProduct, name: str, relations: Collection[Relation], *, limits: Limits
) -> tuple[Relation, ...]:
    """What the model reads, spelled as the sources and models are. Names that mean neither are left to planning,
    which refuses them.
    """
    written = written_in(product, name, limits=limits)
    known = {folded(path): path for path in (*relations, *((other,) for other in product.models))}
    return tuple(dict.fromkeys(known[folded(path)] for path in written if folded(path) in known))


def written_in(product: DataProduct, name: str, *, limits: Limits) -> tuple[Relation, ...]:
    """What the model names as its inputs, as it is written, whether or not it exists."""
    model = product.models[name]
    if model.sql is not None:
        return tuple(model_references(model.sql, limits=limits))
    return tuple(map(relation_path, model_inputs(model)))


def make_model(making: Making, name: str, *, is_table: bool) -> None:
    """Make the model in the workshop, where all it reads exists. FlightmeshError naming the model."""
    model = making.product.models[name]
    if model.python is not None:
        _make_python(making, name, model)
    elif model.sql is not None:
        _make_sql(making, name, model.sql, making.relations, is_table=is_table)
    else:
        _make_lowcode(making, name, model, is_table=is_table)


def load(workshop: Workshop, path: Relation, reader: pa.RecordBatchReader) -> None:
    """A table with the reader's rows. INVALID when columns have equal names: the engine would rename all but one."""
    _check_names(path, reader.schema)
    workshop.load(path, reader)


def shape(workshop: Workshop, path: Relation, schema: pa.Schema) -> None:
    """A live table's columns, without rows; errors as ``load``."""
    _check_names(path, schema)
    workshop.shape(path, schema)


def _check_names(path: Relation, schema: pa.Schema) -> None:
    times = Counter(map(fold, schema.names))
    equal = [name for name in schema.names if times[fold(name)] > 1]
    if equal:
        raise FlightmeshError(
            ErrorCode.INVALID,
            f"{'.'.join(path)} has columns with equal names: {', '.join(equal)}.",
            hint="Upper and lower case count as equal. Rename them.",
        )


def live_model(making: Making, name: str, reads: tuple[Relation, ...]) -> LiveModel:
    """A model, made without rows before, as it is computed when it is read."""
    model = making.product.models[name]
    if model.python is not None:
        return LiveModel(name, None, reads, model.python, making.workshop.read((name,)).schema)
    return LiveModel(name, model.sql if model.sql is not None else as_sql(making, name, is_live=True).sql, reads)


def as_sql(making: Making, name: str, *, is_live: bool = False) -> LowCode:
    """A low-code model's SQL over the relations in the workshop; ``is_live`` for one that is computed when read."""
    model = making.product.models[name]
    known = {path: [column for column, _ in making.workshop.columns(path)] for path in _inputs(making, model)}
    return lowcode_sql(name, model, known, limits=making.limits, is_live=is_live, offered=making.relations)


def polars_model(making: Making, name: str, model: Model) -> PolarsModel:
    """The function behind ``python: models/daily.py:build``."""
    assert model.python is not None
    file, _, function = model.python.rpartition(":")
    return PolarsModel(name, making.folder, file, function)


def _make_sql(making: Making, name: str, sql: str, relations: Collection[Relation], *, is_table: bool) -> None:
    try:
        plan = plan_model(sql, relations=relations, limits=making.limits)
        if is_table:
            making.workshop.table(name, plan)
        else:
            making.workshop.view(name, plan)
    except FlightmeshError as error:
        raise _of_model(name, error) from error


def _make_lowcode(making: Making, name: str, model: Model, *, is_table: bool) -> None:
    text = as_sql(making, name)
    inputs = _inputs(making, model)
    try:
        _make_sql(making, name, text.sql, inputs, is_table=is_table)
    except FlightmeshError as error:
        fact = PLACE.sub("", error.message)
        if making.is_dry or fact == error.message:
            raise
        # Its author never saw this SQL.
        raise FlightmeshError(error.code, f"{fact} `flightmesh check` says where.", hint=error.hint) from error
    for lookup in text.lookups:
        _verify(making, name, lookup, inputs)


def _make_python(making: Making, name: str, model: Model) -> None:
    function, inputs = polars_model(making, name, model), _inputs(making, model)
    workshop = making.workshop
    if making.is_dry:
        schemas = [workshop.read(path).schema for path in inputs]
        schema = polars_schema(function, schemas, scratch=making.scratch, bounds=making.polars)
        load(workshop, (name,), pa.RecordBatchReader.from_batches(schema, []))
        return
    readers = (workshop.read(path) for path in inputs)
    with polars_rows(function, readers, scratch=making.scratch, bounds=making.polars) as rows:
        load(workshop, (name,), rows)


def _verify(making: Making, name: str, lookup: LookupCheck, relations: Collection[Relation]) -> None:
    """INVALID when a key has not exactly one match. The keys are data: they are in the hint alone."""
    plan = plan_model(lookup.sql, relations=relations, limits=making.limits)
    rows = making.workshop.run(plan).read_all().to_pylist()
    if not rows:
        return
    count = rows[0]["failing"]
    shown = [_key_text(row, len(lookup.keys)) for row in rows]
    more = "" if count <= len(shown) else f" and {count - len(shown)} more"
    raise FlightmeshError(
        ErrorCode.INVALID,
        f"Model {name}: the lookup in {lookup.relation} by {', '.join(lookup.keys)} "
        f"does not find exactly one match for {count} key{'' if count == 1 else 's'}.",
        hint=f"{'; '.join(shown)}{more}.",
    )


def _key_text(row: Mapping[str, object], width: int) -> str:
    key = ", ".join(repr(row[f"key_{index + 1}"]) for index in range(width))
    matches = row["matches"]
    return f"{key} has {'no match' if matches == 0 else f'{matches} matches'}"


def _inputs(making: Making, model: Model) -> list[Relation]:
    """What a low-code or Python model reads, spelled as it exists; unknown names are left out and missed later."""
    known = {folded(path): path for path in making.relations}
    return [known[folded(path)] for path in map(relation_path, model_inputs(model)) if folded(path) in known]


def _tables(product: DataProduct, reads: Mapping[str, tuple[Relation, ...]]) -> frozenset[str]:
    times: Counter[str] = Counter(port.model for port in product.ports.values())
    for name, paths in reads.items():
        # Each lookup of a model reads the model's inputs once more, to verify.
        times.update({path[0]: 1 + len(product.models[name].lookup) for path in paths if len(path) == 1})
    feeding = {path[0] for name, paths in reads.items() if product.models[name].python for path in paths}
    return frozenset(name for name in reads if times[name] > 1 or name in feeding)


def _of_model(name: str, error: FlightmeshError) -> FlightmeshError:
    # Authors have no ports to read.
    hint = _REFUSED if error.hint == READ_PORTS else error.hint
    return FlightmeshError(error.code, f"Model {name}: {error.message}", hint=hint)

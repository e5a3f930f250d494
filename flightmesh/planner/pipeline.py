"""The chain parse -> resolve -> guard -> route, with the plan cache around it.

Nothing is executed here. Binding goes to a binder (the schema-only twin of the Surface), handed in by the composition
root.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Protocol

import pyarrow as pa

from flightmesh.config import Limits
from flightmesh.engine.base import InstanceSpec, Plan
from flightmesh.engine.twin import Bound
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import did_you_mean, quote
from flightmesh.planner.cache import Cache
from flightmesh.planner.guard import Guarded, guard
from flightmesh.planner.parameters import bound_types, check_numbers, declared_types, guesses, order, typed_text
from flightmesh.planner.pushdown import Pushdown, live_views, push, scans_of
from flightmesh.planner.resolve import Namespace, Path, not_found, resolve
from flightmesh.planner.route import route
from flightmesh.planner.statement import Statement, parse
from flightmesh.planner.surface import Surface
from flightmesh.sql.types import python_value

# The engine hands each of them to the source on its own; the time grows with their square.
LIVE_CONDITIONS_MAX = 1_000

# What (CAST($1 AS DECIMAL(5,2))) nests.
_CAST_BRACKETS = 3

_UNKNOWN_COLUMN = re.compile(r'Values list "[^"]*" does not have a column named "([^"]+)"')

STAGES = (parse, resolve, guard, route)


class Binder(Protocol):
    """Binds statements against the public names of one Surface."""

    def bind(self, sql: str, *, search_path: tuple[str, ...] = ()) -> Bound: ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """An approved and bound statement, before anybody binds values.

    ``schema`` is what the statement returns when every parameter has the type that the plan expects.
    """

    guarded: Guarded
    schema: pa.Schema
    parameters: pa.Schema
    is_open: tuple[bool, ...]
    search_path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Typed:
    """A prepared statement whose parameters have types: the text to run, its result schema, the column of each
    parameter.
    """

    prepared: Prepared
    sql: str
    schema: pa.Schema
    columns: tuple[int, ...]


class Planner:
    """Plans statements against Surfaces. Safe to call from many threads; what it caches are hints."""

    def __init__(self, limits: Limits, binder_of: Callable[[Surface], Binder]) -> None:
        self._limits = limits
        self._binder_of = binder_of
        self._prepared: Cache[tuple[str, str, str | None, str | None], Prepared] = Cache(limits.plan_cache_entries_max)
        self._typed: Cache[tuple[str, str, tuple[str, ...], tuple[int, ...], str], Typed] = Cache(
            limits.plan_cache_entries_max
        )
        self._pushed: Cache[tuple[str, str, tuple[str, ...], str, str], Pushdown] = Cache(limits.plan_cache_entries_max)

    def prepare(
        self, surface: Surface, text: str, *, catalog: str | None = None, schema: str | None = None
    ) -> Prepared:
        """The statement approved and bound; no row is read. Errors: those of the stages and of the binder."""
        if not self._is_kept(text):
            return self._prepare(surface, text, catalog, schema)
        key = (surface.id, text, catalog, schema)
        return self._prepared.get_or_make(key, lambda: self._prepare(surface, text, catalog, schema))

    def typed(self, prepared: Prepared, bound: pa.Schema | None) -> Typed:
        """The statement with its parameters typed as bound (None: as the plan expects them)."""
        statement = prepared.guarded.resolved.statement
        if not statement.survey.parameters and not bound:
            return Typed(prepared, statement.text, prepared.schema, ())
        declared = prepared.parameters
        if bound is None:
            columns, types = list(range(len(declared))), declared_types(declared)
        else:
            columns = order(bound, declared)
            types = bound_types(pa.schema([bound.field(i) for i in columns]), declared, prepared.is_open)
        return self._bind_typed(prepared, tuple(columns), types)

    def plan(self, typed: Typed, values: pa.RecordBatch | None, row: int = 0) -> Plan:
        """The plan of one row of bound values."""
        bound = () if values is None else tuple(python_value(values.column(i)[row]) for i in typed.columns)
        guarded = typed.prepared.guarded
        views = live_views(guarded)
        return route(
            guarded,
            sql=typed.sql,
            values=bound,
            batch_rows=self._limits.batch_rows_max,
            scans=scans_of(views),
            remote=self.pushdown(typed, bound).remote if any(views) else None,
        )

    def plan_unbound(self, typed: Typed) -> Plan:
        """The plan as it is before anybody binds values: every parameter is NULL."""
        nulls = [pa.nulls(1, field.type) for field in typed.prepared.parameters]
        return self.plan(typed, pa.RecordBatch.from_arrays(nulls, typed.prepared.parameters.names) if nulls else None)

    def is_prepared(self, surface: Surface, text: str, *, catalog: str | None, schema: str | None) -> bool:
        """Whether the statement's plan is kept."""
        return (surface.id, text, catalog, schema) in self._prepared

    def pushdown(self, typed: Typed, values: tuple[object, ...]) -> Pushdown:
        """The statement for the one database that it reads, or why it is not pushed whole."""
        guarded = typed.prepared.guarded

        def make() -> Pushdown:
            return push(guarded, typed.sql, values, typed.schema, limits=self._limits)

        shown = repr(values)
        if not (self._is_kept(typed.sql) and self._is_kept(shown)):
            return make()
        key = (guarded.surface.id, guarded.resolved.statement.text, typed.prepared.search_path, typed.sql, shown)
        return self._pushed.get_or_make(key, make)

    def forget(self, surfaces: Collection[str]) -> None:
        """Drops the plans of Surfaces that are gone."""
        self._prepared.discard(lambda key: key[0] in surfaces)
        self._typed.discard(lambda key: key[0] in surfaces)
        self._pushed.discard(lambda key: key[0] in surfaces)

    def _prepare(self, surface: Surface, text: str, catalog: str | None, schema: str | None) -> Prepared:
        statement = parse(text, limits=self._limits)
        guarded = guard(resolve(statement, surface.namespace, catalog=catalog, schema=schema), surface)
        _check_conditions(guarded)
        search_path = guarded.resolved.search_path
        bound = _bind(self._binder_of(surface), guarded)
        check_numbers(statement, bound.parameters.names)
        named = zip(bound.parameters.names, bound.is_open, strict=True)
        is_open = tuple(left_open or name in statement.survey.cast_parameters for name, left_open in named)
        if bound.schema is not None:
            return Prepared(guarded, bound.schema, bound.parameters, is_open, search_path)
        parameters, schema = self._guessed(self._binder_of(surface), statement, bound, search_path)
        return Prepared(guarded, schema, parameters, is_open, search_path)

    def _guessed(
        self, binder: Binder, statement: Statement, bound: Bound, search_path: tuple[str, ...]
    ) -> tuple[pa.Schema, pa.Schema]:
        """Parameters and result of a statement whose result hangs on a parameter's type: with types that bind."""
        refusals = []
        for parameters in guesses(bound.parameters, bound.is_open):
            text = typed_text(statement, parameters.names, declared_types(parameters))
            self._check_same(statement, text)
            try:
                schema = binder.bind(text, search_path=search_path).schema
            except FlightmeshError as refusal:
                refusals.append(refusal)
                continue
            return parameters, _known(schema)
        raise refusals[0]

    def _bind_typed(self, prepared: Prepared, columns: tuple[int, ...], types: Sequence[str]) -> Typed:
        statement, surface = prepared.guarded.resolved.statement, prepared.guarded.surface
        sql = typed_text(statement, prepared.parameters.names, types)

        def make() -> Typed:
            self._check_same(statement, sql)
            schema = self._binder_of(surface).bind(sql, search_path=prepared.search_path).schema
            return Typed(prepared, sql, _known(schema), columns)

        if not self._is_kept(sql):
            return make()
        return self._typed.get_or_make((surface.id, statement.text, prepared.search_path, columns, sql), make)

    def _is_kept(self, text: str) -> bool:
        """Whether a plan of this text is cached: long texts are rarely sent twice, and a few would fill the memory."""
        return len(text) <= self._limits.plan_cache_characters_max

    def _check_same(self, statement: Statement, typed: str) -> None:
        """Reads the typed text as the approved one was read: it must consist of the same relations, all allowed.

        What runs is then never a text that the gate has not seen, whatever a parser's offsets are worth.
        """
        longer = replace(
            self._limits,
            sql_bytes_max=max(self._limits.sql_bytes_max, len(typed.encode())),
            bracket_depth_max=self._limits.bracket_depth_max + _CAST_BRACKETS,
        )
        before, after = statement.survey, parse(typed, limits=longer).survey
        paths = [reference.path for reference in before.relations]
        if after.refusals or [reference.path for reference in after.relations] != paths:
            raise FlightmeshError(ErrorCode.INTERNAL, "Giving parameters their types changed the statement.")


def _check_conditions(guarded: Guarded) -> None:
    """Nothing; INVALID for more comparisons over live ports than can be handed to a source in time."""
    if guarded.resolved.statement.survey.conditions > LIVE_CONDITIONS_MAX and any(live_views(guarded)):
        raise FlightmeshError(
            ErrorCode.INVALID,
            f"A statement over live ports may have {LIVE_CONDITIONS_MAX} comparisons.",
            hint="Write column IN (...), or join with the values.",
        )


def _bind(binder: Binder, guarded: Guarded) -> Bound:
    """What binding tells. The binder holds views, in whose words a port is a "values list" without candidates."""
    resolved = guarded.resolved
    try:
        return binder.bind(resolved.statement.text, search_path=resolved.search_path)
    except FlightmeshError as error:
        found = _UNKNOWN_COLUMN.match(error.message)
        if found is None:
            raise
        tables = guarded.surface.tables.values()
        read = (table for table in tables if astuple(table.name) in resolved.relations)
        hint = did_you_mean(found[1], [column.name for table in read for column in table.columns])
        refusal = FlightmeshError(error.code, error.message.replace("Values list", "Table", 1), hint=hint)
    raise refusal


def _known(schema: pa.Schema | None) -> pa.Schema:
    """The result schema of a statement whose parameters all have types; without one it hangs on a value."""
    if schema is None:
        raise FlightmeshError(
            ErrorCode.INVALID,
            "The columns of the result hang on the value of a parameter.",
            hint="Write this value into the statement.",
        )
    return schema


def select_all(surface: Surface, path: Path) -> str:
    """The statement that reads the whole table of a path descriptor; NOT_FOUND when the Surface does not show it."""
    for name in surface.tables:
        if (name.catalog, name.schema, name.table) == path:
            return f"SELECT * FROM {name.sql}"
    for product in surface.namespace.unavailable:
        if path[: len(product)] == product:
            return f"SELECT * FROM {'.'.join(map(quote, path))}"  # Resolving it says why the product is unavailable.
    raise not_found(".".join(path), surface.namespace)


def model_references(sql: str, *, limits: Limits) -> tuple[Path, ...]:
    """The relations that a model's SQL reads, as written, CTEs left out, each once."""
    return tuple(dict.fromkeys(reference.path for reference in parse(sql, limits=limits).survey.relations))


def plan_model(sql: str, *, relations: Collection[Path], limits: Limits) -> Plan:
    """The plan of a model's SQL in the workshop of its product, where exactly these relations exist."""
    surface = Surface(
        id="workshop",
        generation="",
        tables={},
        namespace=Namespace(paths=tuple(relations), is_strict=True),
        instance=InstanceSpec(key="workshop", attachments=(), ddl=()),
        twin_ddl=(),
    )
    guarded = guard(resolve(parse(sql, limits=limits), surface.namespace, catalog=None, schema=None), surface)
    return route(guarded, sql=sql, values=(), batch_rows=limits.batch_rows_max)

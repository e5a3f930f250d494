"""The chain parse -> resolve -> guard -> route, with the plan cache around it.

Nothing is executed here. Binding goes to a binder (the schema-only twin of the Surface), handed in by the composition
root.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Protocol

import pyarrow as pa

from flightmesh.config import Limits
from flightmesh.engine.base import InstanceSpec, Plan, Temporary
from flightmesh.engine.twin import Bound
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import TableName, did_you_mean, fold, quote
from flightmesh.planner.cache import Cache
from flightmesh.planner.guard import Guarded, guard
from flightmesh.planner.parameters import bound_types, check_numbers, declared_types, guesses, order, typed_text
from flightmesh.planner.pushdown import Pushdown, live_views, push, scans_of
from flightmesh.planner.resolve import Namespace, Path, not_found, resolve
from flightmesh.planner.route import route
from flightmesh.planner.scope import PUBLIC, Scope
from flightmesh.planner.statement import Statement, parse
from flightmesh.planner.surface import Surface, SurfaceTable
from flightmesh.sql.gate import Survey
from flightmesh.sql.types import python_value
from flightmesh.sql.words import Words

# The engine hands each of them to the source on its own; the time grows with their square.
LIVE_CONDITIONS_MAX = 1_000

# What (CAST($1 AS DECIMAL(5,2))) nests.
_CAST_BRACKETS = 3

# What is written around the pieces of an INSERT, UPDATE or DELETE. Beyond the bytes the parser needs seconds.
_MADE_FACTOR, _MADE_BYTES_MAX, _MADE_BRACKETS = 4, 1_000_000, 10

_ScopeKey = tuple[str | None, ...]

_UNKNOWN_COLUMN = re.compile(r'Values list "[^"]*" does not have a column named "([^"]+)"')

STAGES = (parse, resolve, guard, route)


class Binder(Protocol):
    """Binds statements against the public names of one Surface."""

    def bind(self, sql: str, *, search_path: tuple[str, ...] = (), temporaries: Sequence[Temporary] = ()) -> Bound: ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """An approved and bound statement, before anybody binds values.

    ``schema`` is what the statement returns when every parameter has the type that the plan expects; ``encoded`` is
    the same with its dictionaries, for clients that decode them. ``key`` is that of its scope.
    """

    guarded: Guarded
    schema: pa.Schema
    encoded: pa.Schema
    parameters: pa.Schema
    is_open: tuple[bool, ...]
    key: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Typed:
    """A prepared statement whose parameters have types: the text to run, its result schema (plain and with its
    dictionaries), the column of each parameter.
    """

    prepared: Prepared
    sql: str
    schema: pa.Schema
    encoded: pa.Schema
    columns: tuple[int, ...]


class Planner:
    """Plans statements against Surfaces. Safe to call from many threads; what it caches are hints."""

    def __init__(self, limits: Limits, binder_of: Callable[[Surface], Binder]) -> None:
        self._limits = limits
        self._binder_of = binder_of
        kept = limits.plan_cache_entries_max
        self._prepared: Cache[tuple[str, str, _ScopeKey], Prepared] = Cache(kept)
        self._typed: Cache[tuple[str, str, _ScopeKey, tuple[int, ...], str], Typed] = Cache(kept)
        self._pushed: Cache[tuple[str, str, _ScopeKey, str, str], Pushdown] = Cache(kept)

    def prepare(self, surface: Surface, text: str, scope: Scope = PUBLIC, *, is_written_here: bool = False) -> Prepared:
        """The statement approved and bound; no row is read. Errors: those of the stages and of the binder.

        ``is_written_here``: the text was made of a shorter one, which was within the caps; so it may be longer.
        """
        limits = _longer(self._limits) if is_written_here else self._limits

        def make() -> Prepared:
            return self._prepare(surface, text, scope, limits)

        if not self._is_kept(text):
            return make()
        # Kept without the rows of temporary tables: a plan would keep their files long after they are dropped.
        kept = self._prepared.get_or_make((surface.id, text, scope.key), lambda: _over(make(), {}))
        return _over(kept, scope.temporaries)

    def typed(self, prepared: Prepared, bound: pa.Schema | None) -> Typed:
        """The statement with its parameters typed as bound (None: as the plan expects them)."""
        statement = prepared.guarded.resolved.statement
        if not statement.survey.parameters and not bound:
            return Typed(prepared, statement.text, prepared.schema, prepared.encoded, ())
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

    def is_prepared(self, surface: Surface, text: str, scope: Scope = PUBLIC) -> bool:
        """Whether the statement's plan is kept."""
        return (surface.id, text, scope.key) in self._prepared

    def pushdown(self, typed: Typed, values: tuple[object, ...]) -> Pushdown:
        """The statement for the one database that it reads, or why it is not pushed whole."""
        guarded = typed.prepared.guarded

        def make() -> Pushdown:
            return push(guarded, typed.sql, values, typed.schema, limits=self._limits)

        shown = repr(values)
        if not (self._is_kept(typed.sql) and self._is_kept(shown)):
            return make()
        key = (guarded.surface.id, guarded.resolved.statement.text, typed.prepared.key, typed.sql, shown)
        return self._pushed.get_or_make(key, make)

    def forget(self, surfaces: Collection[str]) -> None:
        """Drops the plans of Surfaces that are gone."""
        self._prepared.discard(lambda key: key[0] in surfaces)
        self._typed.discard(lambda key: key[0] in surfaces)
        self._pushed.discard(lambda key: key[0] in surfaces)

    def _prepare(self, surface: Surface, text: str, scope: Scope, limits: Limits) -> Prepared:
        statement = parse(text, limits=limits)
        guarded = guard(resolve(statement, surface.namespace, scope), surface)
        _check_conditions(guarded)
        bound = _bind(self._binder_of(surface), guarded)
        if bound.as_text and bound.schema is not None:
            return self._prepare(surface, _with_text(_inner(statement.text), bound), scope, _longer(limits))
        check_numbers(statement, bound.parameters.names)
        named = zip(bound.parameters.names, bound.is_open, strict=True)
        is_open = tuple(left_open or name in statement.survey.cast_parameters for name, left_open in named)
        if bound.schema is not None and bound.encoded is not None:
            return Prepared(guarded, bound.schema, bound.encoded, bound.parameters, is_open, scope.key)
        parameters, bound = self._guessed(self._binder_of(surface), guarded, bound)
        schema, encoded = _known(bound)
        if bound.as_text:
            return self._prepare(surface, _with_text(_inner(statement.text), bound), scope, _longer(limits))
        return Prepared(guarded, schema, encoded, parameters, is_open, scope.key)

    def _guessed(self, binder: Binder, guarded: Guarded, bound: Bound) -> tuple[pa.Schema, Bound]:
        """Parameters of a statement whose result hangs on a parameter's type, and how it binds: with types that do."""
        statement, refusals = guarded.resolved.statement, []
        for parameters in guesses(bound.parameters, bound.is_open):
            text = typed_text(statement, parameters.names, declared_types(parameters))
            self._check_same(statement, text)
            try:
                known = _bind_text(binder, guarded, text)
            except FlightmeshError as refusal:
                # Without the frames, which would keep each other.
                refusals.append(refusal.with_traceback(None))
                continue
            return parameters, known
        raise refusals[0]

    def _bind_typed(self, prepared: Prepared, columns: tuple[int, ...], types: Sequence[str]) -> Typed:
        statement, surface = prepared.guarded.resolved.statement, prepared.guarded.surface
        sql = typed_text(statement, prepared.parameters.names, types)

        def make() -> Typed:
            self._check_same(statement, sql)
            bound = _bind_text(self._binder_of(surface), prepared.guarded, sql)
            if bound.as_text:
                raise FlightmeshError(
                    ErrorCode.INVALID,
                    "With values of these types a column of the result has a type that Arrow shows as another.",
                    hint="Cast it to VARCHAR.",
                )
            return Typed(_over(prepared, {}), sql, *_known(bound), columns)

        if not self._is_kept(sql):
            return replace(make(), prepared=prepared)
        kept = self._typed.get_or_make((surface.id, statement.text, prepared.key, columns, sql), make)
        return replace(kept, prepared=prepared)

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
        if after.refusals or _paths(after) != _paths(before):
            raise FlightmeshError(ErrorCode.INTERNAL, "Giving parameters their types changed the statement.")


def _over(prepared: Prepared, tables: Mapping[str, Temporary]) -> Prepared:
    """The same over these temporary tables (by folded name); of those that are not given only the columns are left."""
    guarded = prepared.guarded
    if not guarded.resolved.temporaries:
        return prepared
    own = (tables.get(fold(table.name)) or replace(table, open=_no_rows) for table in guarded.resolved.temporaries)
    return replace(prepared, guarded=replace(guarded, resolved=replace(guarded.resolved, temporaries=tuple(own))))


def _no_rows() -> pa.Table:
    raise FlightmeshError(ErrorCode.INTERNAL, "A plan that is kept holds no rows.")


def _inner(sql: str) -> str:
    """The statement as it may stand in brackets: without the semicolons and comments behind it."""
    return Words(sql).rest()


def _with_text(sql: str, bound: Bound) -> str:
    """The statement with the columns as text whose values Arrow would show as others."""
    assert bound.schema is not None
    columns = ", ".join(
        f"{f'CAST(c{place} AS VARCHAR)' if place in bound.as_text else f'c{place}'} AS {quote(name)}"
        for place, name in enumerate(bound.schema.names)
    )
    return f"SELECT {columns} FROM (\n{sql}\n) AS shown({', '.join(f'c{i}' for i in range(len(bound.schema)))})"


def _longer(limits: Limits) -> Limits:
    """The caps for a text made of one that was within them."""
    return replace(
        limits,
        sql_bytes_max=min(_MADE_BYTES_MAX, limits.sql_bytes_max * _MADE_FACTOR),
        bracket_depth_max=limits.bracket_depth_max + _MADE_BRACKETS,
    )


def _paths(survey: Survey) -> list[list[Path]]:
    """What a statement reads, describes and asks of the catalogue."""
    return [[reference.path for reference in kind] for kind in (survey.relations, survey.described, survey.system)]


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
        return _bind_text(binder, guarded, resolved.statement.text)
    except FlightmeshError as error:
        found = _UNKNOWN_COLUMN.match(error.message)
        if found is None:
            raise
        tables = guarded.surface.tables.values()
        read = (table for table in tables if astuple(table.name) in resolved.relations)
        hint = did_you_mean(found[1], [column.name for table in read for column in table.columns])
        refusal = FlightmeshError(error.code, error.message.replace("Values list", "Table", 1), hint=hint)
    raise refusal


def _bind_text(binder: Binder, guarded: Guarded, text: str) -> Bound:
    """What binding tells of the approved statement, as written or with its parameters typed."""
    resolved = guarded.resolved
    return binder.bind(text, search_path=resolved.search_path, temporaries=resolved.temporaries)


def _known(bound: Bound) -> tuple[pa.Schema, pa.Schema]:
    """The result schema of a statement whose parameters all have types (plain, and with its dictionaries); without
    one it hangs on a value.
    """
    if bound.schema is None or bound.encoded is None:
        raise FlightmeshError(
            ErrorCode.INVALID,
            "The columns of the result hang on the value of a parameter.",
            hint="Write this value into the statement.",
        )
    return bound.schema, bound.encoded


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


def parts(prepared: Prepared, sql: str, parts_max: int, rows_min: int) -> tuple[str, ...]:
    """The statement in parts that together, in their order, are all of it: its own text alone, or, for nothing but
    the columns of a port with known rows, ranges of at least ``rows_min`` rows.
    """
    survey, surface = prepared.guarded.resolved.statement.survey, prepared.guarded.surface
    # A question to the catalogue reads no relation.
    path = next(iter(prepared.guarded.resolved.relations), ()) if survey.scanned is not None else ()
    table = surface.tables.get(TableName(*path)) if len(path) == 3 else None
    rows = None if table is None else table.shown.rows
    if table is None or rows is None or not _is_plain_scan(prepared, table):
        return (sql,)
    count = max(1, min(parts_max, rows // rows_min))
    size = -(-rows // count)
    if count == 1:
        return (sql,)
    # A snapshot's rows have an order, which the engine keeps.
    inner = _inner(sql)
    return tuple(f"SELECT * FROM (\n{inner}\n) LIMIT {size} OFFSET {place * size}" for place in range(count))


def _is_plain_scan(prepared: Prepared, table: SurfaceTable) -> bool:
    """Whether every named column is the table's own (a word like current_date is none), and no name comes twice,
    which a query around it would rename.
    """
    known = {fold(column.name) for column in table.columns}
    scanned = prepared.guarded.resolved.statement.survey.scanned or ()
    names = [fold(name) for name in prepared.schema.names]
    return all(fold(name) in known for name in scanned) and len(set(names)) == len(names)


def plan_model(sql: str, *, relations: Collection[Path], limits: Limits) -> Plan:
    """The plan of a model's SQL in the workshop of its product, where exactly these relations exist."""
    surface = Surface(
        id="workshop",
        generation="",
        tables={},
        namespace=Namespace(paths=tuple(relations), is_strict=True),
        instance=InstanceSpec(key="workshop", attachments=(), ddl=()),
        catalogue=InstanceSpec(key="workshop:catalogue", attachments=(), ddl=()),
        twin_ddl=(),
    )
    statement = parse(sql, limits=limits)
    if statement.is_catalogue:
        raise FlightmeshError(
            ErrorCode.INVALID, "A model reads relations of its product, not the catalogue.", hint="Read a source."
        )
    guarded = guard(resolve(statement, surface.namespace), surface)
    return route(guarded, sql=sql, values=(), batch_rows=limits.batch_rows_max)

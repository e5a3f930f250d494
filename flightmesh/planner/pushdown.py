"""A whole statement for the one database that it reads, instead of its tables for the engine: where that gives the
same answer.

The statement, the policies and the models behind its ports become one SELECT over the database's own tables, which is
written in the database's dialect if everything in it has a proven equal there (``sql/dialects.py``). Otherwise the
engine reads narrowed tables, and the reason is kept for ``explain``.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa

from flightmesh.config import Limits
from flightmesh.engine.base import RemoteQuery
from flightmesh.errors import FlightmeshError
from flightmesh.names import TableName, fold, folded, literal, quote
from flightmesh.planner.guard import Guarded
from flightmesh.planner.live import inlined, remote_path
from flightmesh.planner.statement import parse
from flightmesh.planner.surface import BASE, LiveView
from flightmesh.sources.registry import SourceRef
from flightmesh.sql.compose import compose
from flightmesh.sql.dialects import NotPushed, RemoteTable, transpile
from flightmesh.sql.types import sql_type


@dataclass(frozen=True, slots=True)
class Pushdown:
    """The statement for its database, or why it is not pushed whole; both None where nothing is live."""

    remote: RemoteQuery | None
    reason: str | None


NOTHING_LIVE = Pushdown(None, None)


def live_views(guarded: Guarded) -> tuple[LiveView | None, ...]:
    """How each relation of the statement is made; None for one that was made before."""
    tables = guarded.surface.tables
    found = (tables.get(TableName(*path)) if len(path) == 3 else None for path in guarded.resolved.relations)
    return tuple(None if table is None else table.live for table in found)


def push(guarded: Guarded, sql: str, values: Sequence[object], result: pa.Schema, *, limits: Limits) -> Pushdown:
    """The pushdown of the approved statement; ``sql`` is its text with typed parameters, ``values`` their values."""
    views = live_views(guarded)
    if not any(views):
        return NOTHING_LIVE
    try:
        return Pushdown(_remote(guarded, views, sql, values, result, limits), None)
    except NotPushed as reason:
        return Pushdown(None, reason.reason)
    except FlightmeshError as error:
        return Pushdown(None, error.message.rstrip("."))


def _remote(
    guarded: Guarded,
    views: Iterable[LiveView | None],
    sql: str,
    values: Sequence[object],
    result: pa.Schema,
    limits: Limits,
) -> RemoteQuery:
    live = [view for view in views if view is not None]
    if len(live) < len(guarded.resolved.relations):
        raise NotPushed("it also reads ports whose rows are kept here")
    if len({view.product.product for view in live}) > 1:
        raise NotPushed("it reads several products")
    source, tables = _tables(live)
    texts = {
        folded(reference.path): compose(view.select, {(BASE,): inlined(view.part, view.model)})
        for reference, view in zip(guarded.resolved.statement.survey.relations, live, strict=True)
    }
    text = compose(with_values(sql, values, limits=limits), texts)
    dialect = next(live[0].part.tables[path].dialect for path in live[0].part.tables if path[0] == source)
    if dialect is None:
        raise NotPushed(f"the source {source} takes no statements")
    columns = [(field.name, _named(field)) for field in result]
    remote = transpile(text, tables, dialect=dialect, result=columns)
    product = live[0].product
    spec = product.sources[source]
    part = live[0].part
    read = {path: part.tables[path].schema for view in live for path in _behind(view)}
    return RemoteQuery(SourceRef(product.product, source, part.folder, spec), remote, result, read)


def _tables(live: Sequence[LiveView]) -> tuple[str, list[RemoteTable]]:
    """The one source that all the views read, and its tables."""
    part = live[0].part
    read = {path for view in live for path in _behind(view)}
    sources = sorted({path[0] for path in read})
    if len(sources) != 1:
        raise NotPushed(f"it reads several sources: {', '.join(sources)}" if sources else "it reads no table")
    tables = []
    for path, table in part.tables.items():
        if path[0] == sources[0]:
            # Without a type a column may be passed on; no expression over it is pushed.
            types = {f.name: (sql_type(f.type) if f.name in table.plain else None) or "" for f in table.schema}
            tables.append(RemoteTable(remote_path(path), table.remote, types))
    return sources[0], tables


def _behind(view: LiveView) -> set[tuple[str, ...]]:
    """The tables of live sources that the view's model comes to read."""
    tables = {folded(path): path for path in view.part.tables}
    models = {fold(model.name): model for model in view.part.models}
    found: set[tuple[str, ...]] = set()
    waiting: list[tuple[str, ...]] = [(view.model,)]
    while waiting:
        path = folded(waiting.pop())
        if path in tables:
            found.add(tables[path])
        elif len(path) == 1 and path[0] in models:
            waiting += models[path[0]].reads
    return found


def with_values(sql: str, values: Sequence[object], *, limits: Limits) -> str:
    """The text with a literal in place of every parameter; NotPushed where a value has none."""
    if not values:
        return sql
    survey = parse(sql, limits=limits).survey
    data = sql.encode()
    for reference in reversed(survey.parameters):
        text = _literal(values[int(reference.identifier) - 1]).encode()
        data = data[: reference.offset] + text + data[reference.offset + reference.length :]
    return data.decode()


def _literal(value: object) -> str:
    """The value as DuckDB reads it back, exactly."""
    match value:
        case None:
            return "NULL"
        case bool():
            return "TRUE" if value else "FALSE"
        case int():
            return f"({value})"
        case Decimal() if value.is_finite():
            return f"({value:f})"
        case float() if math.isfinite(value):
            text = repr(value)
            return f"({text})" if "e" in text else f"({text}e0)"
        case str() if "\0" not in value:
            return literal(value)
        case datetime.datetime():
            return literal(value.isoformat(sep=" "))
        case datetime.date() | datetime.time():
            return literal(value.isoformat())
    raise NotPushed("a parameter has no literal")


def _named(field: pa.Field) -> str:
    kind = sql_type(field.type)
    if kind is None:
        raise NotPushed(f"the column {quote(field.name)} has the type {field.type}")
    return kind


def scans_of(views: Iterable[LiveView | None]) -> tuple[str, ...]:
    """The scans that the views may need, each once."""
    return tuple(dict.fromkeys(scan for view in views if view is not None for scan in view.scans))


def sources_of(views: Iterable[LiveView | None]) -> Mapping[tuple[str, str], set[tuple[str, ...]]]:
    """The tables behind the views by product and source."""
    found: dict[tuple[str, str], set[tuple[str, ...]]] = {}
    for view in views:
        for path in () if view is None else _behind(view):
            assert view is not None
            found.setdefault((view.product.product, path[0]), set()).add(path)
    return found

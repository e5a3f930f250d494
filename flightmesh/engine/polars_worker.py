"""The worker of a live Polars model: kept between reads, it hands the author's function lazy frames whose scans ask the
server, and streams what the function makes of them.

Run with ``python -m`` and a socket; it reads nothing but that socket and the product's code. What the consumer wants
(columns, a predicate) is applied to the function's result lazily, so that Polars carries it on into the scans. Rows
are filtered again by whoever asked: a predicate that cannot be said exactly is left out, on the way here and back.
"""

from __future__ import annotations

import functools
import io
import json
import operator
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import polars as pl
import pyarrow as pa
from polars.io.plugins import register_io_source

from flightmesh.engine.polars_code import (
    BATCH_ROWS,
    Fault,
    arrow_rows,
    author_function,
    authors_code,
    called,
    end_with_server,
    plain,
)
from flightmesh.engine.polars_wire import Frame, Line, predicate_of, predicate_parts, rows_of, rows_part
from flightmesh.sources.predicate import (
    AllOf,
    AnyOf,
    Compare,
    Comparison,
    IsNull,
    IsPresent,
    OneOf,
    Predicate,
    all_of,
    conjuncts,
)

_OPERATIONS: dict[str, Comparison] = {"Eq": "=", "NotEq": "<>", "Lt": "<", "LtEq": "<=", "Gt": ">", "GtEq": ">="}
_MIRRORED: dict[Comparison, Comparison] = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_BETWEEN: dict[str, tuple[Comparison, Comparison]] = {
    "Both": (">=", "<="),
    "Left": (">=", "<"),
    "Right": (">", "<="),
    "None": (">", "<"),
}
# Types that Polars compares as DuckDB does, and whose Python values say them exactly.
_COMPARED = (pl.Boolean, pl.String, pl.Date, pl.Decimal)
_PART_BYTES = 64 << 20


class _Stopped(Exception):  # noqa: N818 - an outcome, not an error
    """The server gave the read up."""


class _Unknown(Exception):  # noqa: N818 - an outcome, not an error
    """A part of an expression without a form as a predicate."""


class Talk:
    """One read from the worker's side. Scans ask from threads of Polars, also when the read is over."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._lock = threading.Lock()
        self.is_over = False

    def ask(self, does: str, *parts: Any, **header: object) -> Frame:
        """The server's answer; _Stopped when the read is over."""
        with self._lock:
            if self.is_over:
                raise _Stopped
            self._line.say(does, *parts, **header)
            answer = self._line.hear()
            self.is_over = answer.does == "stop"
        if self.is_over:
            raise _Stopped
        return answer

    def end(self, does: str, **header: object) -> None:
        """The last word."""
        with self._lock:
            self.is_over = True
            self._line.say(does, **header)


def main(descriptor: int) -> None:
    """Serves reads until the server hangs up."""
    threading.Thread(target=end_with_server, daemon=True).start()
    os.set_inheritable(descriptor, False)
    line = Line(socket.socket(fileno=descriptor))
    line.end.settimeout(None)
    function: Callable[..., Any] | None = None
    while True:
        try:
            request = line.hear()
        except (EOFError, OSError):
            return
        talk = Talk(line)
        try:
            function = function or author_function(dict(request.header))
            _read(request, function, talk)
        except _Stopped:
            talk.end("done")
        except Fault as fault:
            # What was given up fails in the author's code too.
            if talk.is_over:
                talk.end("done")
            else:
                talk.end("fault", message=fault.answer["message"], hint=fault.answer["hint"])
        else:
            talk.end("done")


def _read(request: Frame, function: Callable[..., Any], talk: Talk) -> None:
    job = dict(request.header)
    published, *rest = request.parts
    wanted = pa.ipc.read_schema(pa.py_buffer(published))
    n_inputs = job["inputs"]
    schemas = [pa.ipc.read_schema(pa.py_buffer(part)) for part in rest[:n_inputs]]
    result = called(job, function, [scan(talk, index, schema) for index, schema in enumerate(schemas)])
    with authors_code(job):
        found = result.collect_schema()
    _verify(found, wanted)
    keeps = expression(predicate_of(job["predicate"], rest[n_inputs:], wanted), found)
    if keeps is not None:
        result = result.filter(keeps)
    with authors_code(job):
        frames = iter(result.select(job["columns"]).collect_batches(chunk_size=BATCH_ROWS, lazy=True))
    schema = pa.schema([wanted.field(name) for name in job["columns"]])
    while True:
        with authors_code(job):
            frame = next(frames, None)
        if frame is None:
            return
        for batch in arrow_rows(frame):
            _hand_over(_cast(batch, schema), talk)


def _verify(found: Mapping[str, pl.DataType], wanted: pa.Schema) -> None:
    missing = [name for name in wanted.names if name not in found]
    if missing:
        raise Fault(f"it no longer returns column {missing[0]}.")


def _cast(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch in the published types."""
    return pa.record_batch([_column(batch.column(i), schema.field(i)) for i in range(len(schema))], schema=schema)


def _column(values: pa.Array, field: pa.Field) -> pa.Array:
    try:
        # Text that happens to read as a number is still another column than the one that was published.
        if values.type != field.type and pa.types.is_string(values.type) != pa.types.is_string(field.type):
            raise pa.ArrowInvalid
        return values.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        text = f"its column {field.name} is now {values.type} and does not fit the published {field.type}."
        raise Fault(text, str(error)[:300]) from error


def _hand_over(batch: pa.RecordBatch, talk: Talk) -> None:
    rows = max(1, _PART_BYTES * batch.num_rows // max(1, batch.nbytes))
    for start in range(0, batch.num_rows, rows):
        talk.ask("batch", rows_part(batch.slice(start, rows)))


# ------------------------------------------------------------------------------------------------------- the scans


def scan(talk: Talk, index: int, schema: pa.Schema) -> pl.LazyFrame:
    """The input as a lazy frame: nothing is read before Polars knows which columns and rows it needs."""
    try:
        known = pl.DataFrame(pl.from_arrow(schema.empty_table())).schema
    except (pl.exceptions.PolarsError, pa.ArrowException) as error:
        raise Fault(f"input {index + 1} has a column of a type that Polars does not know.") from error

    def frames(
        columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _size: int | None
    ) -> Iterator[pl.DataFrame]:
        names = schema.names if columns is None else columns
        read = list(dict.fromkeys([*names, *(() if predicate is None else predicate.meta.root_names())]))
        # Rows are counted before they are filtered.
        pushed = None if predicate is None or n_rows is not None else predicate_from(predicate, schema)
        tree, literals = predicate_parts(pushed)
        asked = read or schema.names[:1]
        number = talk.ask("scan", *literals, input=index, columns=asked, predicate=tree, limit=n_rows).header["number"]
        while (answer := talk.ask("next", number=number)).does == "batch":
            frame = pl.DataFrame(pl.from_arrow(rows_of(answer.parts[0])))
            yield (frame if predicate is None else frame.filter(predicate)).select(names)

    return register_io_source(frames, schema=known, is_pure=True)


def predicate_from(predicate: pl.Expr, schema: pa.Schema) -> Predicate | None:
    """The predicate that holds wherever the expression does."""
    try:
        tree = json.loads(predicate.meta.serialize(format="json"))
    except (pl.exceptions.PolarsError, ValueError, RecursionError):
        return None
    return _necessary(tree, schema)


def _necessary(node: Any, schema: pa.Schema) -> Predicate | None:
    """The node's predicate, or of an AND the parts that have one."""
    match node:
        case {"BinaryExpr": {"left": left, "op": "And" | "LogicalAnd", "right": right}}:
            found = (_necessary(left, schema), _necessary(right, schema))
            return all_of(tuple(part for part in found if part is not None))
    try:
        return _exact(node, schema)
    except _Unknown:
        return None


def _exact(node: Any, schema: pa.Schema) -> Predicate:
    match node:
        case {"BinaryExpr": {"left": left, "op": "And" | "LogicalAnd", "right": right}}:
            return AllOf((*conjuncts(_exact(left, schema)), *conjuncts(_exact(right, schema))))
        case {"BinaryExpr": {"left": left, "op": "Or" | "LogicalOr", "right": right}}:
            return AnyOf((*_alternatives(_exact(left, schema)), *_alternatives(_exact(right, schema))))
        case {"BinaryExpr": {"left": left, "op": str(op), "right": right}} if op in _OPERATIONS:
            return _compare(_OPERATIONS[op], left, right, schema)
        case {"Function": {"input": [column], "function": {"Boolean": "IsNull"}}}:
            return IsNull(_name(column, schema))
        case {"Function": {"input": [column], "function": {"Boolean": "IsNotNull"}}}:
            return IsPresent(_name(column, schema))
        case {"Function": {"input": [column, values], "function": {"Boolean": {"IsIn": {"nulls_equal": False}}}}}:
            name = _name(column, schema)
            return OneOf(name, _values(values, schema.field(name).type))
        case {"Function": {"input": [column, low, high], "function": {"Boolean": {"IsBetween": {"closed": closed}}}}}:
            above, below = _BETWEEN[closed]
            return AllOf((_compare(above, column, low, schema), _compare(below, column, high, schema)))
        case {"Column": str(name)} if pa.types.is_boolean(schema.field(name).type):
            return Compare(name, "=", pa.scalar(True))
        case {"Function": {"input": [{"Column": str(name)}], "function": {"Boolean": "Not"}}}:
            return Compare(_name({"Column": name}, schema), "=", pa.scalar(False))
    raise _Unknown


def _alternatives(predicate: Predicate) -> tuple[Predicate, ...]:
    return predicate.parts if isinstance(predicate, AnyOf) else (predicate,)


def _compare(op: Comparison, left: Any, right: Any, schema: pa.Schema) -> Compare:
    if "Literal" in left:
        op, left, right = _MIRRORED[op], right, left
    name = _name(left, schema)
    values = _values(right, schema.field(name).type)
    if len(values) != 1:
        raise _Unknown
    return Compare(name, op, values[0])


def _name(node: Any, schema: pa.Schema) -> str:
    match node:
        case {"Column": str(name)} if name in schema.names:
            return name
    raise _Unknown


def _values(node: Any, kind: pa.DataType) -> pa.Array:
    """The values of a literal, or of a list of them, in the column's type."""
    if "Literal" not in node:
        raise _Unknown
    try:
        literal = pl.Expr.deserialize(io.StringIO(json.dumps(node)), format="json")
        series = pl.select(literal).to_series()
        if isinstance(series.dtype, pl.List):
            series = series.explode()
        values = series.to_arrow(compat_level=pl.CompatLevel.oldest())
        values = values.cast(plain(values.type))
        if values.type != kind and not (pa.types.is_decimal(values.type) and pa.types.is_decimal(kind)):
            raise _Unknown
        values = values.cast(kind)
    except (pl.exceptions.PolarsError, pa.ArrowException, ValueError) as error:
        raise _Unknown from error
    if values.null_count or not len(values):
        raise _Unknown
    return values


# ------------------------------------------------------------------------------------------- the consumer's predicate


def expression(predicate: Predicate | None, types: Mapping[str, pl.DataType]) -> pl.Expr | None:
    """The parts of the predicate that mean in Polars what they mean to the consumer; None when none does."""
    found = []
    for part in conjuncts(predicate):
        try:
            found.append(_expression(part, types))
        except _Unknown:
            continue
    return functools.reduce(operator.and_, found) if found else None


def _expression(predicate: Predicate, types: Mapping[str, pl.DataType]) -> pl.Expr:
    match predicate:
        case AllOf(parts) | AnyOf(parts):
            joined = operator.and_ if isinstance(predicate, AllOf) else operator.or_
            return functools.reduce(joined, [_expression(part, types) for part in parts])
        case Compare(column, op, value):
            (literal,) = _literals(pa.array([value], value.type), types[column])
            return _APPLIED[op](pl.col(column), literal)
        case OneOf(column, values):
            return pl.col(column).is_in(pl.Series(_python(values, types[column]), dtype=types[column]).implode())
        case IsNull(column):
            return pl.col(column).is_null()
        case IsPresent(column):
            return pl.col(column).is_not_null()


def _literals(values: pa.Array, kind: pl.DataType) -> list[pl.Expr]:
    return [pl.lit(value, dtype=kind) for value in _python(values, kind)]


def _python(values: pa.Array, kind: pl.DataType) -> list[Any]:
    """The literals, of exactly the column's type."""
    series = pl.Series(pl.from_arrow(values))
    is_moment = isinstance(kind, pl.Datetime) and kind.time_unit != "ns"
    if series.dtype != kind or not (kind.is_integer() or kind.is_float() or is_moment or isinstance(kind, _COMPARED)):
        raise _Unknown
    return series.to_list()


_APPLIED: Mapping[Comparison, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "=": pl.Expr.eq,
    "<>": pl.Expr.ne,
    "<": pl.Expr.lt,
    "<=": pl.Expr.le,
    ">": pl.Expr.gt,
    ">=": pl.Expr.ge,
}

if __name__ == "__main__":
    main(int(sys.argv[1]))

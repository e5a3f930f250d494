"""Arrow in: what a client sends becomes what DuckDB scans, without loss, or is refused with a reason.

The batches that come here have been validated. Of each Arrow type one form is kept, the one in which DuckDB gives it
back, so that rows of one table look alike whoever sent them. Refused is what DuckDB would read as another value or
could not read at all; some values (a timestamp before its first year) would even spoil the instance for everybody.
Nothing here grows beyond bounds: a run, a dictionary or a view may stand for far more bytes than were sent.
"""

from __future__ import annotations

import logging
import threading
from array import array as machine_array
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from uuid import UUID

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from flightmesh.engine.expansion import as_list, halved, holds, is_expanding
from flightmesh.engine.fitting import required
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import fold

log = logging.getLogger(__name__)

COLUMN_NAME_BYTES_MAX = 255
# DuckDB's scan cuts larger batches, and cannot read a struct that was cut.
PIECE_ROWS_MAX = 65_536
_DEPTH_MAX = 64
_ENDLESS = 2**63 - 1  # DuckDB's infinity; minus infinity is its negative.
# The first and last moment of a TIMESTAMP, by unit; nanoseconds all fit.
_MOMENTS = {
    "s": (-9_223_372_022_400, 9_223_372_036_854),
    "ms": (-9_223_372_022_400_000, 9_223_372_036_854_775),
    "us": (-9_223_372_022_400_000_000, _ENDLESS),
}
_NANOSECONDS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_CANONICAL: dict[pa.DataType, pa.DataType] = {
    pa.null(): pa.int32(),  # As DuckDB itself creates a column of NULLs.
    pa.float16(): pa.float32(),
    pa.large_string(): pa.string(),
    pa.string_view(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.binary_view(): pa.binary(),
    pa.date64(): pa.date32(),
    pa.time32("s"): pa.time64("us"),
    pa.time32("ms"): pa.time64("us"),
}
_KEPT = frozenset(
    {
        *(pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        *(pa.float32(), pa.float64(), pa.string(), pa.binary(), pa.date32(), pa.time64("us"), pa.time64("ns")),
        pa.month_day_nano_interval(),
    }
)


class Intake:
    """How batches of one schema come in. ``schema`` is the Arrow schema that is kept, ``columns`` has DuckDB's types
    for it.

    INVALID for a schema that no table can have: no columns, more than ``columns_max`` (nested ones counted), names
    that are missing or equal for DuckDB; UNSUPPORTED for a type that DuckDB has no room for.
    """

    def __init__(self, schema: pa.Schema, *, columns_max: int, never_null: Collection[str] = ()) -> None:
        """``never_null`` are the folded names of columns in which a NULL is INVALID; what the schema itself says of
        that is no promise to anybody.
        """
        _check_names(schema.names)
        budget = _Budget(columns_max)
        self._sent = schema
        self.schema = pa.schema(
            [
                pa.field(f.name, kept_type(f.type, f.name, budget), nullable=fold(f.name) not in never_null)
                for f in schema
            ]
        )
        self._is_expanding = any(holds(f.type, is_expanding) for f in schema)
        self._has_maps = any(holds(f.type, pa.types.is_map) for f in schema)
        self.columns = _PROBE.columns(self.schema)

    def batches(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """The batch in the schema that is kept, in pieces that DuckDB scans without cutting them.

        INVALID for a batch of another schema and for a value that DuckDB cannot hold, by the name of its column.
        """
        if not batch.schema.equals(self._sent):
            raise _invalid("The batch has other columns than the schema that came before it.")
        for piece in self._pieces(batch):
            kept = self._kept(piece)
            if self._has_maps:
                _PROBE.read(kept)
            yield kept

    def _pieces(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        for start in range(0, batch.num_rows, PIECE_ROWS_MAX):
            piece = batch.slice(start, PIECE_ROWS_MAX)
            yield from halved(piece) if self._is_expanding else (piece,)

    def _kept(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = []
        for field, column in zip(self.schema, batch.columns, strict=True):
            try:
                columns.append(_keep(column, field.type))
            except pa.ArrowInvalid as error:
                raise _invalid(f"A value of the column {field.name!r} {_reason(error)}.") from None
        return required(pa.RecordBatch.from_arrays(columns, schema=self.schema))


class _Unfit(pa.ArrowInvalid):  # type: ignore[misc]
    """A value that DuckDB cannot hold; the text ends the sentence "A value of the column ..."."""


class _Budget:
    """How many fields a schema may still have."""

    def __init__(self, columns_max: int) -> None:
        self._columns_max = columns_max
        self._left = columns_max

    def take(self, path: str) -> None:
        self._left -= 1
        if self._left < 0:
            raise _invalid(f"The table has more than {self._columns_max} columns.", "Send fewer.")
        if path.count("\0") > _DEPTH_MAX:
            raise _invalid(f"The column {_shown(path)!r} is nested more than {_DEPTH_MAX} deep.")


# ------------------------------------------------------------------------------------------------------------ schemas


def kept_type(sent: pa.DataType, path: str, budget: _Budget) -> pa.DataType:
    """The one type in which such values are kept. ``path`` is the column's name, for errors."""
    budget.take(path)
    if isinstance(sent, pa.BaseExtensionType):
        return _kept_extension(sent, path, budget)
    if pa.types.is_dictionary(sent) or pa.types.is_run_end_encoded(sent):
        return kept_type(sent.value_type, path + "\0", budget)
    if pa.types.is_nested(sent):
        return _kept_nested(sent, path, budget)
    return _kept_plain(sent, path)


def _kept_extension(sent: pa.DataType, path: str, budget: _Budget) -> pa.DataType:
    """UUID and JSON are DuckDB's too. Of all others the values are kept and the meaning is not: what DuckDB would make
    of a type that it knows has not been validated. Inside other types DuckDB scans no extension: there they are text.
    """
    if sent.extension_name in ("arrow.uuid", "arrow.json"):
        is_inside = "\0" in path
        return pa.string() if is_inside else pa.uuid() if sent.extension_name == "arrow.uuid" else pa.json_()
    return pa.bool_() if sent.extension_name == "arrow.bool8" else kept_type(sent.storage_type, path, budget)


def _kept_nested(sent: pa.DataType, path: str, budget: _Budget) -> pa.DataType:
    inner = path + "\0"
    if pa.types.is_struct(sent) or pa.types.is_union(sent):
        fields = [sent.field(index) for index in range(sent.num_fields)]
        if not fields:
            raise _unsupported(path, "is a struct without members")
        _check_names([field.name for field in fields], of=f"members of {_shown(path)!r}")
        return pa.struct([pa.field(f.name, kept_type(f.type, inner + f.name, budget)) for f in fields])
    if pa.types.is_map(sent):
        key = pa.field("key", kept_type(sent.key_type, inner, budget), nullable=False)
        return pa.map_(key, pa.field("value", kept_type(sent.item_type, inner, budget)))
    item = pa.field("item", kept_type(sent.value_type, inner, budget))
    is_array = pa.types.is_fixed_size_list(sent) and sent.list_size > 0
    return pa.list_(item, sent.list_size) if is_array else pa.list_(item)


def _kept_plain(sent: pa.DataType, path: str) -> pa.DataType:
    if sent in _KEPT:
        return sent
    if sent in _CANONICAL:
        return _CANONICAL[sent]
    if pa.types.is_fixed_size_binary(sent):
        return pa.binary()
    if pa.types.is_decimal(sent):
        return _kept_decimal(sent, path)
    if pa.types.is_timestamp(sent):
        return sent if sent.tz is None else pa.timestamp("ns" if sent.unit == "ns" else "us", "UTC")
    if pa.types.is_duration(sent):
        return pa.month_day_nano_interval()
    raise _unsupported(path, f"has the type {sent}")


def _kept_decimal(sent: pa.DataType, path: str) -> pa.DataType:
    """DuckDB's scales run from 0 to the precision."""
    scale = max(0, sent.scale)
    precision = max(sent.precision - min(0, sent.scale), scale)
    if precision > 38:
        raise _unsupported(path, f"has the type {sent}, and decimals have at most 38 digits here")
    return pa.decimal128(precision, scale)


def _check_names(names: Sequence[str], of: str = "columns") -> None:
    if not names:
        raise _invalid("A table needs at least one column.")
    for place, name in enumerate(names, 1):
        if not name:
            raise _invalid(f"Number {place} of the {of} has no name.", "Name it.")
        if "\0" in name or len(name.encode()) > COLUMN_NAME_BYTES_MAX:
            raise _invalid(
                f"Number {place} of the {of} has a name that is too long or holds a NUL.",
                f"A name has at most {COLUMN_NAME_BYTES_MAX} bytes.",
            )
    most, times = Counter(map(fold, names)).most_common(1)[0]
    if times > 1:
        first, second, *_ = [(place, name) for place, name in enumerate(names, 1) if fold(name) == most]
        raise _invalid(
            f"Numbers {first[0]} and {second[0]} of the {of} have the same name: {first[1]!r} and {second[1]!r}.",
            "Rename one; upper and lower case make no difference.",
        )


class _Probe:
    """DuckDB, asked for its types and for values that only it can judge: one locked database without tables."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: duckdb.DuckDBPyConnection | None = None

    def columns(self, schema: pa.Schema) -> tuple[tuple[str, str], ...]:
        """Names and types as DuckDB tells them of the schema; UNSUPPORTED when it does not take it."""
        with self._lock:
            try:
                relation = self._relation(schema.empty_table())
                return tuple(zip(relation.columns, map(str, relation.types), strict=True))
            except duckdb.Error as error:
                self._give_up(error)
        raise FlightmeshError(ErrorCode.UNSUPPORTED, "The engine does not take a table of these columns.")

    def read(self, batch: pa.RecordBatch) -> None:
        """Has DuckDB read the batch; INVALID when it cannot."""
        with self._lock:
            try:
                self._relation(pa.Table.from_batches([batch])).aggregate("count(COLUMNS(*))").fetchall()
                return
            except duckdb.Error as error:
                self._give_up(error)
        raise _invalid("A map has a key twice.", "Send lists of structs instead, or each key once.")

    def _relation(self, table: pa.Table) -> duckdb.DuckDBPyRelation:
        if self._connection is None:
            self._connection = duckdb.connect(":memory:", config={"threads": "1"})
            for setting in ("python_enable_replacements = false", "enable_external_access = false"):
                self._connection.execute(f"SET {setting}")
            self._connection.execute("SET lock_configuration = true")
        return self._connection.from_arrow(table)

    def _give_up(self, error: duckdb.Error) -> None:
        """The database may be spoilt: the next question goes to a new one."""
        log.debug("intake.refused", exc_info=error)
        if self._connection is not None:
            self._connection.close()
        self._connection = None


_PROBE = _Probe()

# ------------------------------------------------------------------------------------------------------------- values


def _keep(sent: pa.Array, to: pa.DataType) -> pa.Array:
    """The values in the type that is kept, without a slice's offset in anything nested."""
    kind = sent.type
    if isinstance(kind, pa.BaseExtensionType):
        if isinstance(to, pa.BaseExtensionType):
            return pa.ExtensionArray.from_storage(to, _keep(sent.storage, to.storage_type))
        if kind.extension_name == "arrow.uuid":
            texts = [None if value is None else str(UUID(bytes=value)) for value in sent.storage.to_pylist()]
            return pa.array(texts, to)
        return sent.storage.cast(pa.bool_()) if kind.extension_name == "arrow.bool8" else _keep(sent.storage, to)
    if pa.types.is_dictionary(kind):
        return _keep(sent.dictionary, to).take(sent.indices)
    if pa.types.is_run_end_encoded(kind):
        return _keep(sent.values, to).take(_runs(sent))
    if pa.types.is_nested(kind):
        return _keep_nested(sent, to)
    if pa.types.is_duration(kind):
        return _interval(sent)
    if pa.types.is_fixed_size_binary(kind) and pa.types.is_fixed_size_binary(to):
        return sent  # The bytes of a UUID.
    kept = sent if kind == to else sent.cast(to)
    _check_values(kept)
    return kept


def _keep_nested(sent: pa.Array, to: pa.DataType) -> pa.Array:
    kind, length = sent.type, len(sent)
    if pa.types.is_union(kind):
        return _members(sent, to)
    if pa.types.is_struct(kind):
        children = [_keep(child, field.type) for child, field in zip(sent.flatten(), to, strict=True)]
        return pa.Array.from_buffers(to, length, [_validity(sent)], children=children)
    if pa.types.is_fixed_size_list(kind):
        # Not flatten(): that leaves out what stands below a NULL.
        size = kind.list_size
        values = _keep(sent.values.slice(sent.offset * size, length * size), to.value_type)
        if size:
            return pa.Array.from_buffers(to, length, [_validity(sent)], children=[values])
        return _list(sent, pa.repeat(pa.scalar(0, pa.int32()), length), values, to)
    if pa.types.is_map(kind):
        entries = pa.struct([("key", to.key_type), ("value", to.item_type)])
        plain = as_list(sent)
        return _list(sent, pc.list_value_length(plain), _keep(plain.flatten(), entries), to)
    return _list(sent, pc.list_value_length(sent), _keep(sent.flatten(), to.value_type), to)


def _list(sent: pa.Array, lengths: pa.Array, values: pa.Array, to: pa.DataType) -> pa.Array:
    """A list or map over values that lie one after the other, none for a NULL."""
    ends = pc.cumulative_sum_checked(pc.fill_null(lengths, 0).cast(pa.int32()))
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends]).buffers()[1]
    return pa.Array.from_buffers(to, len(sent), [_validity(sent), offsets], children=[values])


def _members(sent: pa.Array, to: pa.DataType) -> pa.Array:
    """A union as a struct with a member for each of its types: a value in its own, NULL in the others.

    DuckDB's scan takes no Arrow union. Which of several types a NULL had is lost with it.
    """
    # From the buffers: pyarrow's own properties do not know of a slice.
    buffers, length = sent.buffers(), len(sent)
    codes = pa.Array.from_buffers(pa.int8(), length, [None, buffers[1]], offset=sent.offset)
    if sent.type.mode == "dense":
        rows = pa.Array.from_buffers(pa.int32(), length, [None, buffers[2]], offset=sent.offset)
    else:
        rows = pa.array(range(length), pa.int32())
    children = []
    for place, field in enumerate(to):
        is_own = pc.equal(codes, sent.type.type_codes[place])
        children.append(_keep(sent.field(place), field.type).take(pc.if_else(is_own, rows, None)))
    return pa.Array.from_buffers(to, length, [None], children=children)


def _runs(sent: pa.Array) -> pa.Array:
    """For each row the place of its value among the values of the runs."""
    places = pa.array(range(len(sent.run_ends)), pa.int32())
    runs = pa.RunEndEncodedArray.from_arrays(sent.run_ends, places)
    return pc.run_end_decode(runs.slice(sent.offset, len(sent)))


def _validity(sent: pa.Array) -> pa.Buffer | None:
    return pc.is_valid(sent).buffers()[1] if sent.null_count else None


def _check_values(kept: pa.Array) -> None:
    """Refuses moments and intervals that DuckDB would read as others."""
    kind = kept.type
    if pa.types.is_timestamp(kind) and kind.unit in _MOMENTS:
        first, last = _MOMENTS[kind.unit]
        ticks = kept.view(pa.int64())
        # abs() of the smallest integer is itself: it stays out.
        is_endless = pc.equal(pc.abs(ticks), _ENDLESS)
        is_fit = pc.or_(pc.and_(pc.greater_equal(ticks, first), pc.less_equal(ticks, last)), is_endless)
    elif pa.types.is_date32(kind):
        is_fit = pc.greater(kept.view(pa.int32()), -(2**31))
    elif pa.types.is_interval(kind):
        is_fit = pc.equal(_remainder(_nanoseconds(kept), 1_000), 0)
    else:
        return
    if pc.all(is_fit).as_py() is False:
        raise _Unfit("is finer than microseconds" if pa.types.is_interval(kind) else "lies before or after all times")


def _interval(sent: pa.Array) -> pa.Array:
    """A duration as DuckDB's INTERVAL, of whole microseconds and at most 292 years."""
    ticks = sent.view(pa.int64())
    nanoseconds = pc.fill_null(pc.multiply_checked(ticks, _NANOSECONDS[sent.type.unit]), 0)
    if pc.any(pc.not_equal(_remainder(nanoseconds, 1_000), 0)).as_py():
        raise _Unfit("is finer than microseconds")
    pairs = machine_array("q", bytes(16 * len(sent)))  # No months, no days; nanoseconds.
    pairs[1::2] = machine_array("q", nanoseconds.to_pylist())
    return pa.Array.from_buffers(
        pa.month_day_nano_interval(), len(sent), [_validity(sent), pa.py_buffer(pairs.tobytes())]
    )


def _nanoseconds(kept: pa.Array) -> pa.Array:
    """The third part of intervals; 0 for NULL."""
    pairs = machine_array("q", bytes(kept.buffers()[1].slice(16 * kept.offset, 16 * len(kept))))
    values = pa.Array.from_buffers(pa.int64(), len(kept), [None, pa.py_buffer(pairs[1::2].tobytes())])
    return pc.if_else(pc.is_valid(kept), values, 0)


def _remainder(values: pa.Array, by: int) -> pa.Array:
    return pc.subtract(values, pc.multiply(pc.divide(values, by), by))


# -------------------------------------------------------------------------------------------------------------- errors


def _reason(error: pa.ArrowInvalid) -> str:
    """Never Arrow's own text, which quotes the value."""
    return str(error) if isinstance(error, _Unfit) else "does not fit the type in which it is kept"


def _shown(path: str) -> str:
    return ".".join(part for part in path.split("\0") if part)


def _invalid(fact: str, hint: str | None = None) -> FlightmeshError:
    return FlightmeshError(ErrorCode.INVALID, fact, hint=hint)


def _unsupported(path: str, fact: str) -> FlightmeshError:
    return FlightmeshError(
        ErrorCode.UNSUPPORTED, f"The column {_shown(path)!r} {fact}.", hint="Convert it before it is sent."
    )

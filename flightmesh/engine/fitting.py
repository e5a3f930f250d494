"""Rows of one table put into another that has its columns already: by name, and only where no value changes.

Both sides are as ``engine/intake.py`` keeps them.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import did_you_mean, fold

_FAMILIES: tuple[tuple[str, tuple[Callable[[pa.DataType], bool], ...]], ...] = (
    ("number", (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)),
    ("bytes", (pa.types.is_binary,)),
    ("truth", (pa.types.is_boolean,)),
    ("time", (pa.types.is_time,)),
    ("interval", (pa.types.is_interval,)),
)


class Fitting:
    """How rows of one schema become rows of another.

    INVALID for a column that the other does not have. Columns that are missing become NULL.
    """

    def __init__(self, sent: pa.Schema, kept: pa.Schema) -> None:
        places = {fold(name): place for place, name in enumerate(sent.names)}
        known = {fold(name) for name in kept.names}
        for name in sent.names:
            if fold(name) not in known:
                raise FlightmeshError(
                    ErrorCode.INVALID, f"The table has no column {name!r}.", hint=did_you_mean(name, kept.names)
                )
        self._kept = kept
        self._places = [places.get(fold(name)) for name in kept.names]

    def batch(self, sent: pa.RecordBatch) -> pa.RecordBatch:
        """The rows in the other schema; INVALID, with the column's name, when one of its values does not fit."""
        columns = []
        for field, place in zip(self._kept, self._places, strict=True):
            column = None if place is None else sent.column(place)
            if column is None or column.null_count == len(column):
                columns.append(pa.nulls(sent.num_rows, field.type))
                continue
            fitted = _fitted(column, field.type)
            if fitted is None:
                raise FlightmeshError(
                    ErrorCode.INVALID,
                    f"The column {field.name!r} has the type {field.type}; what was sent has {column.type}, and not "
                    "all of its values fit.",
                    hint="Convert them first, or replace the table.",
                )
            columns.append(fitted)
        return required(pa.RecordBatch.from_arrays(columns, schema=self._kept))


def required(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch; INVALID when a column that its schema says is never NULL holds one."""
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if not field.nullable and column.null_count:
            raise FlightmeshError(
                ErrorCode.INVALID,
                f"The column {field.name!r} is NOT NULL, and a row has none.",
                hint="Give it a value.",
            )
    return batch


def _fitted(column: pa.Array, to: pa.DataType) -> pa.Array | None:
    """The same values in the other type; None when one would not be the same."""
    if column.type == to:
        return column
    if not _is_alike(column.type, to):
        return None
    try:
        return _cast(column, to)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError):
        return None


def _cast(column: pa.Array, to: pa.DataType) -> pa.Array | None:
    if to == pa.uuid():
        return pa.array([None if text is None else UUID(text).bytes for text in column.to_pylist()], to)
    if isinstance(to, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(to, column.cast(to.storage_type))
    if isinstance(column.type, pa.BaseExtensionType):
        return column.storage.cast(to)
    if _family(to) != "number":
        return column.cast(to)
    fitted = _number(column, to)
    back = _number(fitted, column.type)
    is_same = pc.or_(pc.equal(back, column), pc.and_(_is_nan(back), _is_nan(column)))
    return fitted if pc.all(is_same).as_py() is not False else None


def _number(column: pa.Array, to: pa.DataType) -> pa.Array:
    if pa.types.is_decimal(to) and pa.types.is_integer(column.type):
        # Arrow wants room for every integer of the type, not only for those that are there.
        column = column.cast(pa.decimal256(76, to.scale))
    return column.cast(to)


def _is_nan(column: pa.Array) -> pa.Array:
    return pc.is_nan(column) if pa.types.is_floating(column.type) else pa.repeat(pa.scalar(False), len(column))


def _is_alike(sent: pa.DataType, to: pa.DataType) -> bool:
    """Whether values of one type can be values of the other without being read as something else."""
    if pa.types.is_list(sent) and (pa.types.is_list(to) or pa.types.is_fixed_size_list(to)):
        return sent.value_type == to.value_type or _is_alike(sent.value_type, to.value_type)
    if pa.types.is_date(sent) and pa.types.is_timestamp(to):
        return to.tz is None
    return _family(sent) == _family(to) != ""


def _family(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "moment" if kind.tz is None else "moment with zone"
    if pa.types.is_string(kind) or kind == pa.json_() or kind == pa.uuid():
        return "text"  # The engine gives a UUID and JSON back as text.
    return next((name for name, tests in _FAMILIES if any(test(kind) for test in tests)), "")

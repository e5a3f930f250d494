"""Values for the parameters of a statement: from Python to one row of Arrow."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import TypeAlias

import pyarrow as pa

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import did_you_mean

# The values of one set of parameters: in order for ?, by name for $name.
Parameters: TypeAlias = Sequence[object] | Mapping[str, object]

_DECIMAL_DIGITS_MAX = 38


def joined(first: Parameters | None, second: Parameters | None) -> Parameters | None:
    """The parameters of two predicates together."""
    if first is None or second is None:
        return second if first is None else first
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        if twice := first.keys() & second.keys():
            raise FlightmeshError(ErrorCode.INVALID, f"The parameter {min(twice)} is given by two filters.")
        return MappingProxyType({**first, **second})
    if isinstance(first, Mapping) or isinstance(second, Mapping):
        raise FlightmeshError(ErrorCode.INVALID, "The filters mix ? and $name parameters.", hint="Use one kind.")
    return (*first, *second)


def parameter_batch(params: Parameters, declared: pa.Schema) -> pa.RecordBatch:
    """One row with a column for each parameter of the statement.

    Errors: INVALID for a name that the statement lacks or misses, a wrong number of values, or a value of a type that
    has no place in Arrow.
    """
    if isinstance(params, str | bytes):
        raise FlightmeshError(ErrorCode.INVALID, "The parameters are a text.", hint="Put it into a list.")
    if isinstance(params, Mapping):
        _check_names(params, declared.names)
        named = {name: params[name] for name in declared.names}
    else:
        if len(params) != len(declared):
            raise FlightmeshError(
                ErrorCode.INVALID, f"The number of parameters is wrong: {len(declared)} wanted, {len(params)} given."
            )
        named = dict(zip(declared.names, params, strict=True))
    return pa.RecordBatch.from_arrays([_one_value(name, value) for name, value in named.items()], names=list(named))


def _check_names(given: Iterable[str], declared: Sequence[str]) -> None:
    for name in given:
        if name not in declared:
            raise FlightmeshError(
                ErrorCode.INVALID, f"The statement has no parameter ${name}.", hint=did_you_mean(name, declared)
            )
    if missing := [f"${name}" for name in declared if name not in set(given)]:
        raise FlightmeshError(ErrorCode.INVALID, f"No value is given for {', '.join(missing)}.")


def _one_value(name: str, value: object) -> pa.Array:
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        value = Decimal(value)
    elif isinstance(value, uuid.UUID):
        value = str(value)
    try:
        array = pa.array([value])
    except (pa.ArrowException, OverflowError) as error:
        raise FlightmeshError(
            ErrorCode.INVALID, f"The value of parameter {name}, of type {type(value).__name__}, cannot be bound."
        ) from error
    if pa.types.is_decimal(array.type) and array.type.precision > _DECIMAL_DIGITS_MAX:
        raise FlightmeshError(
            ErrorCode.INVALID, f"The value of parameter {name} has over {_DECIMAL_DIGITS_MAX} digits."
        )
    return array

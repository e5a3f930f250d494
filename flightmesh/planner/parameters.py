"""Parameters of a statement: their types, and the text in which each is written with its type.

``?``, ``$1`` and ``$name`` become ``(CAST($n AS <type>))``: the bound type decides the plan, on every driver alike,
and the engine streams the answer as it streams one without parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import quote
from flightmesh.planner.statement import Statement
from flightmesh.sql.types import sql_type

# What an open parameter is taken for, to describe a statement nobody has bound yet: the first that binds.
_GUESSES: tuple[pa.DataType, ...] = (
    pa.string(),
    # Before whole numbers: a driver that binds by this type would cut 2.5 to 2.
    pa.float64(),
    pa.int64(),
    pa.bool_(),
    pa.date32(),
    pa.timestamp("us"),
    pa.binary(),
)


def typed_text(statement: Statement, names: Sequence[str], types: Sequence[str]) -> str:
    """The statement's text with every parameter cast to its type and numbered in the order of ``names``."""
    numbers = {name: number for number, name in enumerate(names, start=1)}
    data = statement.text.encode()
    for reference in reversed(statement.survey.parameters):
        number = numbers[reference.identifier]
        written = data[reference.offset : reference.offset + reference.length]
        if written not in (b"?", b"$" + reference.identifier.encode()):
            raise FlightmeshError(ErrorCode.INTERNAL, "A parameter is not where the parser says it is.")
        # The column of a bare parameter keeps the name that DuckDB gives it without the cast.
        alias = f" AS {quote('$' + reference.identifier)}" if reference.is_bare_column else ""
        cast = f"(CAST(${number} AS {types[number - 1]})){alias}".encode()
        data = data[: reference.offset] + cast + data[reference.offset + reference.length :]
    return data.decode()


def bound_types(bound: pa.Schema, declared: pa.Schema, is_open: Sequence[bool]) -> tuple[str, ...]:
    """The SQL type of each parameter as bound.

    Text bound where the plan expects another type is read as that type ("2013-01-01" for a date); an untyped NULL
    takes the type that the plan expects. Errors: INVALID for a wrong number of parameters or a type that cannot be
    bound.
    """
    if len(bound) != len(declared):
        raise FlightmeshError(
            ErrorCode.INVALID,
            f"Parameters of the statement: {len(declared)}; bound: {len(bound)}.",
            hint="Bind one column per parameter.",
        )
    return tuple(
        _bound_type(have, want, is_open=left_open)
        for have, want, left_open in zip(bound, declared, is_open, strict=True)
    )


def declared_types(declared: pa.Schema) -> tuple[str, ...]:
    """The SQL types that the plan expects, for describing a statement nobody has bound yet."""
    return tuple(_named(field) for field in declared)


def check_numbers(statement: Statement, names: Sequence[str]) -> None:
    """Nothing; INVALID when the numbers of the parameters leave one out, which the binder then does not name."""
    unknown = {reference.identifier for reference in statement.survey.parameters} - set(names)
    if unknown:
        raise FlightmeshError(
            ErrorCode.INVALID,
            f"The statement has a parameter ${min(unknown)} and leaves a number before it out.",
            hint="Number parameters from $1 without a gap, or name them.",
        )


def guesses(declared: pa.Schema, is_open: Sequence[bool]) -> Iterator[pa.Schema]:
    """The parameters with each common type in turn for those whose type is open."""
    for guess in _GUESSES:
        types = [guess if left_open else field.type for field, left_open in zip(declared, is_open, strict=True)]
        yield pa.schema(list(zip(declared.names, types, strict=True)))


def order(bound: pa.Schema, declared: pa.Schema) -> list[int]:
    """For each declared parameter the index of its column: by name when the names agree, else by position."""
    names = bound.names
    if len(set(names)) == len(names) and set(names) == set(declared.names):
        return [names.index(name) for name in declared.names]
    return list(range(len(names)))


def _bound_type(have: pa.Field, want: pa.Field, *, is_open: bool) -> str:
    expected = sql_type(want.type)
    if pa.types.is_null(have.type):
        return expected or "VARCHAR"
    written = _named(have)
    return expected if written == "VARCHAR" and expected is not None and not is_open else written


def _named(field: pa.Field) -> str:
    name = sql_type(field.type)
    if name is None:
        raise FlightmeshError(
            ErrorCode.UNSUPPORTED,
            f"A parameter of type {field.type} cannot be bound.",
            hint="Bind numbers, text, binary, booleans, dates, times or timestamps.",
        )
    return name

"""The schema-only twin of a Surface: public names over empty tables, bound through DuckDB's C API.

A statement is *prepared* here as the user wrote it: no row is read, but DuckDB evaluates what is constant in it,
which is why the gate bounds constants (``sql/growth.py``). The answer is its result schema, its parameters' types,
and its errors in public names, from a database in which nothing hidden exists. DuckDB's Python API tells no parameter
types; the C API, exported by the same shared library, does (``docs/decisions/0004``). All calls of one twin run under
its lock.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import _duckdb
import pyarrow as pa

from flightmesh.engine.base import Temporary
from flightmesh.engine.diagnosis import binding_error
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import literal, quote

_LIBRARY = ctypes.CDLL(_duckdb.__file__)
_UNRESOLVED = frozenset({0, 27, 34, 35, 36})  # INVALID, UNKNOWN/ANY and literals: types the binder has not settled.
_VARCHAR, _SQLNULL = 17, 36
# BIT, BIGNUM and VARIANT, of which Arrow would get DuckDB's inner bytes; TIME WITH TIME ZONE, which would lose its
# zone; UHUGEINT, whose large numbers would be negative.
_AS_TEXT = frozenset({29, 35, 41, 30, 32})
# LIST, MAP and ARRAY; then STRUCT and UNION: how the types inside them are asked for.
_NESTED = {
    24: ("duckdb_list_type_child_type",),
    26: ("duckdb_map_type_key_type", "duckdb_map_type_value_type"),
    33: ("duckdb_array_type_child_type",),
}
_MEMBERS = {
    25: ("duckdb_struct_type_child_count", "duckdb_struct_type_child_type"),
    28: ("duckdb_union_type_member_count", "duckdb_union_type_member_type"),
}
_ARROW_SCHEMA_BYTES = 72  # sizeof(struct ArrowSchema) of the Arrow C data interface on 64-bit platforms.
_RESULT_BYTES = 256  # More than sizeof(duckdb_result); the struct is opaque to us.


def _declare() -> None:
    """Tell ctypes the return types that are not int, and that handles are pointers."""
    counts = [count for count, _ in _MEMBERS.values()]
    for name in ("duckdb_nparams", "duckdb_prepared_statement_column_count", *counts):
        getattr(_LIBRARY, name).restype = ctypes.c_uint64
    for name in (
        *(name for names in _NESTED.values() for name in names),
        *(member for _, member in _MEMBERS.values()),
        "duckdb_parameter_name",
        "duckdb_prepared_statement_column_name",
        "duckdb_param_logical_type",
        "duckdb_prepared_statement_column_logical_type",
        "duckdb_create_logical_type",
        "duckdb_to_arrow_schema",
    ):
        getattr(_LIBRARY, name).restype = ctypes.c_void_p
    for name in ("duckdb_prepare_error", "duckdb_result_error", "duckdb_error_data_message"):
        getattr(_LIBRARY, name).restype = ctypes.c_char_p
    _LIBRARY.duckdb_error_data_has_error.restype = ctypes.c_bool


_declare()


@dataclass(frozen=True, slots=True)
class Bound:
    """What binding tells: the result schema (None while it hangs on a parameter's type) and one field per parameter,
    in order.

    ``parameters`` are fields named as the statement names them; a type the plan leaves open is reported as utf8,
    never as null. ``is_open`` says for each parameter whether its type was left open. ``encoded`` is the schema with
    its dictionaries, which ``schema`` shows as their values. ``as_text`` are the places of columns whose values Arrow
    would show as others.
    """

    schema: pa.Schema | None
    encoded: pa.Schema | None
    parameters: pa.Schema
    is_open: tuple[bool, ...]
    as_text: tuple[int, ...] = ()


class Twin:
    """One twin. Closed by ``close``; an unclosed twin frees its database when it is collected."""

    def __init__(self, ddl: Sequence[str], *, wait_s: float = 10.0) -> None:
        """``wait_s`` bounds how long a statement waits for another that is being bound."""
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._database, self._connection, self._options = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
        self._search_path: tuple[str, ...] = ()
        if _LIBRARY.duckdb_open(None, ctypes.byref(self._database)):
            raise FlightmeshError(ErrorCode.UNAVAILABLE, "The binder cannot start.")
        _LIBRARY.duckdb_connect(self._database, ctypes.byref(self._connection))
        for statement in (
            "SET TimeZone = 'UTC'",
            "SET threads = 1",
            *ddl,
            "SET enable_external_access = false",
            "SET lock_configuration = true",
        ):
            self._run(statement)
        _LIBRARY.duckdb_connection_get_arrow_options(self._connection, ctypes.byref(self._options))

    def bind(
        self,
        sql: str,
        *,
        search_path: tuple[str, ...] = (),
        temporaries: Sequence[Temporary] = (),
    ) -> Bound:
        """The statement's schemas; INVALID with position and nearest name when it does not bind. ``temporaries`` exist
        for this statement alone.
        """
        with self._turn():
            if not self._connection:
                raise FlightmeshError(ErrorCode.UNAVAILABLE, "The binder is closed.")
            if search_path != self._search_path:
                self._run(f"SET search_path = {literal(','.join(search_path))}")
                self._search_path = search_path
            with self._holding(temporaries), self._prepared(sql) as statement:
                return self._describe(statement)

    @contextmanager
    def _holding(self, temporaries: Sequence[Temporary]) -> Iterator[None]:
        """The temporary tables, as views without rows; called under the lock."""
        made: list[str] = []
        try:
            for table in temporaries:
                columns = ", ".join(f"CAST(NULL AS {kind}) AS {quote(name)}" for name, kind in table.columns)
                self._run(f"CREATE TEMP VIEW {quote(table.name)} AS SELECT {columns} WHERE FALSE")
                made.append(table.name)
            yield
        finally:
            for name in made:
                self._run(f"DROP VIEW temp.main.{quote(name)}")

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=self._wait_s):
            raise FlightmeshError(
                ErrorCode.EXHAUSTED, "Another statement is being prepared for too long.", hint="Try again."
            )
        try:
            yield
        finally:
            self._lock.release()

    def close(self) -> None:
        """Frees the database; later calls of ``bind`` are refused."""
        with self._lock:
            if self._connection:
                _LIBRARY.duckdb_destroy_arrow_options(ctypes.byref(self._options))
                _LIBRARY.duckdb_disconnect(ctypes.byref(self._connection))
                _LIBRARY.duckdb_close(ctypes.byref(self._database))

    def __del__(self) -> None:
        self.close()

    def _run(self, sql: str) -> None:
        result = (ctypes.c_char * _RESULT_BYTES)()
        failed = _LIBRARY.duckdb_query(self._connection, sql.encode(), ctypes.byref(result))
        message = (_LIBRARY.duckdb_result_error(ctypes.byref(result)) or b"").decode() if failed else ""
        _LIBRARY.duckdb_destroy_result(ctypes.byref(result))
        if failed:
            raise AssertionError(f"The twin's own statement failed: {message}")

    @contextmanager
    def _prepared(self, sql: str) -> Iterator[ctypes.c_void_p]:
        statement = ctypes.c_void_p()
        failed = _LIBRARY.duckdb_prepare(self._connection, sql.encode(), ctypes.byref(statement))
        try:
            if failed:
                message = (_LIBRARY.duckdb_prepare_error(statement) or b"").decode(errors="replace")
                raise binding_error(sql, message)
            yield statement
        finally:
            _LIBRARY.duckdb_destroy_prepare(ctypes.byref(statement))

    def _describe(self, statement: ctypes.c_void_p) -> Bound:
        columns = range(_LIBRARY.duckdb_prepared_statement_column_count(statement))
        parameters = range(1, _LIBRARY.duckdb_nparams(statement) + 1)
        kinds = [_LIBRARY.duckdb_prepared_statement_column_type(statement, _index(i)) for i in columns]
        # What comes back as text is bound as text.
        left_open = _UNRESOLVED | _AS_TEXT
        open_parameters = [_LIBRARY.duckdb_param_type(statement, _index(i)) in left_open for i in parameters]
        schema = None
        if 0 not in kinds:
            try:
                schema = self._arrow(
                    [_text(_LIBRARY.duckdb_prepared_statement_column_name(statement, _index(i))) for i in columns],
                    [_LIBRARY.duckdb_prepared_statement_column_logical_type(statement, _index(i)) for i in columns],
                )
            except FlightmeshError:
                if not any(open_parameters):  # Otherwise a field inside a column's type hangs on a parameter.
                    raise
        declared = self._arrow(
            [_text(_LIBRARY.duckdb_parameter_name(statement, _index(i))) for i in parameters],
            [
                _LIBRARY.duckdb_create_logical_type(_VARCHAR)
                if is_open
                else _LIBRARY.duckdb_param_logical_type(statement, _index(i))
                for i, is_open in zip(parameters, open_parameters, strict=True)
            ],
        )
        return Bound(
            None if schema is None else _plain_schema(schema),
            schema,
            _plain_schema(declared),
            tuple(open_parameters),
            tuple(place for place in columns if _holds_text(_column_type(statement, place))),
        )

    def _arrow(self, names: list[str], types: list[int]) -> pa.Schema:
        """The Arrow schema that the engine's stream of these columns has; frees the logical types."""
        handles = (ctypes.c_void_p * len(types))(*types)
        texts = (ctypes.c_char_p * len(names))(*[name.encode() for name in names])
        out = (ctypes.c_char * _ARROW_SCHEMA_BYTES)()
        try:
            error = ctypes.c_void_p(
                _LIBRARY.duckdb_to_arrow_schema(self._options, handles, texts, _index(len(names)), ctypes.byref(out))
            )
            failed = bool(error) and _LIBRARY.duckdb_error_data_has_error(error)
            _LIBRARY.duckdb_destroy_error_data(ctypes.byref(error))
        finally:
            for handle in types:
                _LIBRARY.duckdb_destroy_logical_type(ctypes.byref(ctypes.c_void_p(handle)))
        if failed:
            raise FlightmeshError(
                ErrorCode.UNSUPPORTED, "A column's type has no Arrow form.", hint="Cast it to VARCHAR."
            )
        return pa.Schema._import_from_c(ctypes.addressof(out))


def _column_type(statement: ctypes.c_void_p, place: int) -> ctypes.c_void_p:
    return ctypes.c_void_p(_LIBRARY.duckdb_prepared_statement_column_logical_type(statement, _index(place)))


def _holds_text(kind: ctypes.c_void_p) -> bool:
    """Whether the logical type is, or has anywhere inside, one that Arrow would show as another; frees it."""
    id_ = _LIBRARY.duckdb_get_type_id(kind)
    try:
        return id_ in _AS_TEXT or any(_holds_text(ctypes.c_void_p(inner)) for inner in _inner_types(kind, id_))
    finally:
        _LIBRARY.duckdb_destroy_logical_type(ctypes.byref(kind))


def _inner_types(kind: ctypes.c_void_p, id_: int) -> list[int]:
    """The types inside a nested type, to be freed by who asks."""
    if id_ in _NESTED:
        return [getattr(_LIBRARY, name)(kind) for name in _NESTED[id_]]
    if id_ in _MEMBERS:
        count, member = _MEMBERS[id_]
        return [getattr(_LIBRARY, member)(kind, _index(i)) for i in range(getattr(_LIBRARY, count)(kind))]
    return []


def _plain_schema(schema: pa.Schema) -> pa.Schema:
    """ENUMs leave the server as text: several stock drivers show a dictionary's index instead of its value."""
    return pa.schema([_plain(field) for field in schema])


def _plain(field: pa.Field) -> pa.Field:
    """The field with the values of its dictionaries, at any depth outside a union, in their place."""
    return field.with_type(_plain_type(field.type))


def _plain_type(arrow: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(arrow):
        return arrow.value_type
    if pa.types.is_list(arrow):
        return pa.list_(_plain(arrow.value_field))
    if pa.types.is_fixed_size_list(arrow):
        return pa.list_(_plain(arrow.value_field), arrow.list_size)
    if pa.types.is_struct(arrow):
        return pa.struct([_plain(field) for field in arrow.fields])
    if pa.types.is_map(arrow):
        return pa.map_(_plain(arrow.key_field), _plain(arrow.item_field))
    return arrow


def _index(value: int) -> ctypes.c_uint64:
    return ctypes.c_uint64(value)


def _text(pointer: int | None) -> str:
    """A C string of DuckDB's as text; frees it."""
    if not pointer:
        return ""
    text = (ctypes.cast(pointer, ctypes.c_char_p).value or b"").decode(errors="replace")
    _LIBRARY.duckdb_free(ctypes.c_void_p(pointer))
    return text

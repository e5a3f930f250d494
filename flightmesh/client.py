"""``connect(uri)``: for people who want the data frame. Builds one SELECT, reads it over Flight SQL, hands it on.

Columns, filters and limits narrow on the server; frame libraries are imported when their method is called. Whatever
the server or the network answers, callers get a ``FlightmeshError``. Nothing here decides who may read what.
"""

from __future__ import annotations

import base64
import functools
import importlib
import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.flight as fl

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flightsql import messages as m
from flightmesh.flightsql.codec import decode, pack, unpack
from flightmesh.names import TableName, did_you_mean, quote

if TYPE_CHECKING:
    import duckdb
    import pandas
    import polars

DEFAULT_URI = "grpc://127.0.0.1:8815"
DEFAULT_PORT = 8815
SCHEMES = ("grpc", "grpc+tcp", "grpc+tls")

# The values of one set of parameters: in order for ?, by name for $name.
Parameters: TypeAlias = Sequence[object] | Mapping[str, object]

_HEADER = "authorization"
_DECIMAL_DIGITS_MAX = 38
_TEXT_CHARACTERS_MAX = 1_024
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a port, as its contract describes it. ``type`` is the name of the SQL type."""

    name: str
    type: str
    nullable: bool
    description: str | None
    unit: str | None
    classification: str | None


@dataclass(frozen=True, slots=True)
class Port:
    """A table to read. ``table`` is its whole name, which ``Client.table`` takes."""

    name: str
    table: str
    description: str | None
    grain: str | None
    primary_key: tuple[str, ...]
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Product:
    """A product that the caller may read. ``unavailable`` says why it cannot be read now, None when it can."""

    name: str
    title: str
    version: str
    status: str
    description: str | None
    owner: str | None
    unavailable: str | None
    ports: tuple[Port, ...]


def connect(
    uri: str = DEFAULT_URI,
    token: str | None = None,
    *,
    user: str | None = None,
    password: str | None = None,
    tls_root_certs: bytes | None = None,
    timeout_s: float | None = None,
) -> Client:
    """A client of the server at ``grpc://host:port``, or ``grpc+tls://``; nothing is sent before the first call.

    Give an API token, or user and password, or neither. ``tls_root_certs`` (PEM) replaces the system's. ``timeout_s``
    bounds every call, the reading of a result included. Errors: INVALID for an address or credentials that cannot be.
    """
    return Client(uri, _authorization(token, user, password), tls_root_certs=tls_root_certs, timeout_s=timeout_s)


class Client:
    """One server, as one caller. May be shared by threads; close it, or use it as a context manager."""

    def __init__(
        self, uri: str, authorization: str | None, *, tls_root_certs: bytes | None, timeout_s: float | None
    ) -> None:
        self.uri = _checked_uri(uri)
        self._session = _Session(authorization)
        self._options = fl.FlightCallOptions(timeout=timeout_s)
        middleware = [_SessionFactory(self._session)]
        self._flight = self._call(lambda: fl.connect(self.uri, tls_root_certs=tls_root_certs, middleware=middleware))

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<flightmesh client of {self.uri}>"

    def close(self) -> None:
        """Closes the connection; results not read to their end are lost."""
        self._flight.close()

    def table(
        self, name: str, columns: Sequence[str] | None = None, where: str | None = None, limit: int | None = None
    ) -> Table:
        """The table ``domain.product.port``; nothing is read before a method of the table asks for it."""
        table = Table(self, _table_name(name))
        table = table if columns is None else table.select(*columns)
        table = table if where is None else table.filter(where)
        return table if limit is None else table.limit(limit)

    def sql(self, query: str, params: Parameters | None = None) -> Query:
        """The result of a SELECT. ``params`` are the values of ``?`` in order, or of ``$name`` by name."""
        return Query(self, query, params)

    def products(self) -> list[Product]:
        """The products that the caller may read, by name."""
        return [_product(json.loads(body)) for body in self._act("catalog.list", b"")]

    def _act(self, name: str, body: bytes) -> list[bytes]:
        action = fl.Action(name, body)
        return self._call(lambda: [bytes(r.body) for r in self._flight.do_action(action, self._options)])

    def _info(self, query: str, params: Parameters | None) -> fl.FlightInfo:
        command = m.CommandStatementQuery(query) if params is None else self._bound(query, params)
        descriptor = fl.FlightDescriptor.for_command(pack(command))
        return self._call(lambda: self._flight.get_flight_info(descriptor, self._options))

    def _bound(self, query: str, params: Parameters) -> m.CommandPreparedStatementQuery:
        """A prepared statement with these values, under the handle that the server gave for them."""
        answer = self._act("CreatePreparedStatement", pack(m.ActionCreatePreparedStatementRequest(query)))
        prepared = unpack(answer[0]) if answer else None
        assert isinstance(prepared, m.ActionCreatePreparedStatementResult), "the standard asks for exactly this"
        batch = _parameter_batch(params, _declared(prepared.parameter_schema))
        command = m.CommandPreparedStatementQuery(prepared.prepared_statement_handle)
        if batch.num_columns == 0:
            return command
        answered = self._call(lambda: self._put(fl.FlightDescriptor.for_command(pack(command)), batch))
        handle = decode(m.DoPutPreparedStatementResult, answered).prepared_statement_handle if answered else None
        return command if handle is None else m.CommandPreparedStatementQuery(handle)

    def _put(self, descriptor: fl.FlightDescriptor, batch: pa.RecordBatch) -> bytes | None:
        writer, metadata = self._flight.do_put(descriptor, batch.schema, self._options)
        with writer:
            writer.write_batch(batch)
            writer.done_writing()
            answer = metadata.read()
        return None if answer is None else bytes(answer)

    def _batches(self, info: fl.FlightInfo) -> Iterator[pa.RecordBatch]:
        """The batches of all endpoints in order; a reader that stops early stops the query."""
        for endpoint in info.endpoints:
            stream = self._call(functools.partial(self._flight.do_get, endpoint.ticket, self._options))
            is_read = False
            try:
                while (batch := self._call(functools.partial(_next_batch, stream), retries=False)) is not None:
                    yield batch
                is_read = True
            finally:
                if not is_read:
                    stream.cancel()

    def _call(self, call: Callable[[], _T], *, retries: bool = True) -> _T:
        """What the call gives, its errors as FlightmeshError. A session that has ended is opened anew, once."""
        session = self._session.given
        try:
            return call()
        except (pa.ArrowException, OSError) as error:
            failure = _failure(error, self.uri)
        if retries and session is not None and failure.code is ErrorCode.UNAUTHENTICATED:
            self._session.forget(session)
            return self._call(call, retries=False)
        raise failure


@dataclass(frozen=True, slots=True)
class Query:
    """A SELECT and its parameters. Every method that gives data sends it anew."""

    client: Client = field(repr=False)
    text: str
    params: Parameters | None = None

    @property
    def schema(self) -> pa.Schema:
        """The columns of the result; nothing is executed."""
        return self.client._info(self.text, self.params).schema

    def reader(self) -> pa.RecordBatchReader:
        """The result as a stream of record batches, for more rows than fit in memory. To be read once."""
        info = self.client._info(self.text, self.params)
        return pa.RecordBatchReader.from_batches(info.schema, self.client._batches(info))

    def arrow(self) -> pa.Table:
        """The result as a ``pyarrow.Table``."""
        info = self.client._info(self.text, self.params)
        return pa.Table.from_batches(self.client._batches(info), info.schema)

    def polars(self) -> polars.DataFrame:
        """The result as a ``polars.DataFrame``."""
        frame: polars.DataFrame = _library("polars").from_arrow(self.arrow())
        return frame

    def pandas(self) -> pandas.DataFrame:
        """The result as a ``pandas.DataFrame`` of Arrow-backed columns: integers with missing values stay integers,
        decimals stay decimals.

        Errors: UNSUPPORTED when pandas is not installed.
        """
        library = _library("pandas")
        return self.arrow().to_pandas(types_mapper=library.ArrowDtype)

    def duckdb(self, connection: duckdb.DuckDBPyConnection | None = None) -> duckdb.DuckDBPyRelation:
        """The result, held in memory, as a DuckDB relation of the connection; None: DuckDB's default connection."""
        relation: duckdb.DuckDBPyRelation = (connection or _library("duckdb")).from_arrow(self.arrow())
        return relation


@dataclass(frozen=True, slots=True)
class Table:
    """A table, narrowed step by step on the server. Each step gives a new value; reading methods are those of Query."""

    client: Client = field(repr=False)
    name: TableName
    columns: tuple[str, ...] = ()
    predicates: tuple[str, ...] = ()
    params: Parameters | None = None
    rows_max: int | None = None

    def select(self, *columns: str) -> Table:
        """Only these columns, in this order. Errors: INVALID for none."""
        if not columns:
            raise FlightmeshError(ErrorCode.INVALID, "select() names no column.", hint="Leave it out for all columns.")
        return replace(self, columns=columns)

    def filter(self, predicate: str, params: Parameters | None = None) -> Table:
        """Only rows for which the SQL predicate holds, and those before it.

        ``params`` are the values of its ``?`` or ``$name``. Errors: INVALID after ``limit``, which would have to come
        first, and for a mixture of both kinds of parameters.
        """
        if self.rows_max is not None:
            raise FlightmeshError(ErrorCode.INVALID, "filter() comes after limit().", hint="Filter first, then limit.")
        return replace(self, predicates=(*self.predicates, predicate), params=_joined(self.params, params))

    def limit(self, n: int) -> Table:
        """At most ``n`` rows."""
        if n < 0:
            raise FlightmeshError(ErrorCode.INVALID, f"limit({n}) is below zero.")
        return replace(self, rows_max=n if self.rows_max is None else min(n, self.rows_max))

    @property
    def query(self) -> Query:
        """The SELECT that reads the table as narrowed."""
        columns = ", ".join(map(quote, self.columns)) or "*"
        return Query(self.client, f"SELECT {columns} FROM {self.name.sql}{self._where()}{self._limit()}", self.params)

    def count(self) -> int:
        """The number of rows, counted on the server."""
        rows = f"SELECT 1 FROM {self.name.sql}{self._where()}{self._limit()}"
        counted = Query(self.client, f"SELECT count(*) FROM ({rows}) AS counted", self.params).arrow()
        return int(counted.column(0)[0].as_py())

    @property
    def schema(self) -> pa.Schema:
        """The columns; nothing is executed."""
        return self.query.schema

    def reader(self) -> pa.RecordBatchReader:
        """See ``Query.reader``."""
        return self.query.reader()

    def arrow(self) -> pa.Table:
        """See ``Query.arrow``."""
        return self.query.arrow()

    def polars(self) -> polars.DataFrame:
        """See ``Query.polars``."""
        return self.query.polars()

    def pandas(self) -> pandas.DataFrame:
        """See ``Query.pandas``."""
        return self.query.pandas()

    def duckdb(self, connection: duckdb.DuckDBPyConnection | None = None) -> duckdb.DuckDBPyRelation:
        """See ``Query.duckdb``."""
        return self.query.duckdb(connection)

    def _where(self) -> str:
        # A line of its own for each: a predicate may end in a comment.
        return " WHERE " + " AND ".join(f"({predicate}\n)" for predicate in self.predicates) if self.predicates else ""

    def _limit(self) -> str:
        return "" if self.rows_max is None else f" LIMIT {self.rows_max}"


# ---------------------------------------------------------------------------------------------------------- addresses


def _checked_uri(uri: str) -> str:
    """The address with its port. Errors: INVALID."""
    hint = f"Write {DEFAULT_URI}, or grpc+tls://host:port for a server with TLS."
    try:
        parts = urlsplit(uri)
        port = parts.port or DEFAULT_PORT
    except ValueError:
        raise FlightmeshError(ErrorCode.INVALID, f"{uri[:200]!r} is no address of a server.", hint=hint) from None
    if parts.username is not None:
        raise FlightmeshError(
            ErrorCode.INVALID, "The address holds credentials.", hint="Give a token, or user and password, beside it."
        )
    if parts.scheme not in SCHEMES or not parts.hostname or parts.path.strip("/") or parts.query:
        raise FlightmeshError(ErrorCode.INVALID, f"{uri[:200]!r} is no address of a server.", hint=hint)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}"


def _table_name(name: str) -> TableName:
    parts = name.split(".")
    if len(parts) != 3 or not all(parts):
        raise FlightmeshError(
            ErrorCode.INVALID,
            f"{name[:200]!r} names no table.",
            hint="Write domain.product.port; products() lists them.",
        )
    return TableName(*parts)


# -------------------------------------------------------------------------------------------------------- credentials


def _authorization(token: str | None, user: str | None, password: str | None) -> str | None:
    """The authorization header, None for an anonymous caller."""
    if token is not None and user is not None:
        raise FlightmeshError(ErrorCode.INVALID, "Both a token and a user are given.", hint="Give one of them.")
    if (user is None) != (password is None):
        raise FlightmeshError(ErrorCode.INVALID, "A user and a password go together.")
    if token is not None:
        if not token.isascii() or not token.isprintable() or " " in token or not token:
            raise FlightmeshError(ErrorCode.INVALID, "The token holds characters that no token has.")
        return f"Bearer {token}"
    if user is None or password is None:
        return None
    if ":" in user:
        raise FlightmeshError(ErrorCode.INVALID, "The name of a user holds no colon.")
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class _Session:
    """The header that calls carry: the server's session token once it has given one, the caller's own before."""

    def __init__(self, own: str | None) -> None:
        self._own = own
        self._given: str | None = None

    @property
    def header(self) -> str | None:
        return self._given or self._own

    def adopt(self, header: str) -> None:
        """Use the session that the server has opened."""
        self._given = header

    @property
    def given(self) -> str | None:
        """The session's header, None while there is no session."""
        return self._given

    def forget(self, given: str) -> None:
        """Go back to the caller's own credentials, unless another session has begun by now."""
        if self._given == given:
            self._given = None


class _SessionFactory(fl.ClientMiddlewareFactory):  # type: ignore[misc] # pyarrow has no types
    """Puts the session's header on each call, and keeps the one that comes back."""

    def __init__(self, session: _Session) -> None:
        super().__init__()
        self._session = session

    def start_call(self, info: fl.CallInfo) -> _SessionMiddleware:
        return _SessionMiddleware(self._session)


class _SessionMiddleware(fl.ClientMiddleware):  # type: ignore[misc] # pyarrow has no types
    """One call of the session."""

    def __init__(self, session: _Session) -> None:
        super().__init__()
        self._session = session

    def sending_headers(self) -> dict[str, str]:
        header = self._session.header
        return {} if header is None else {_HEADER: header}

    def received_headers(self, headers: Mapping[str, Sequence[str | bytes]]) -> None:
        for name, values in headers.items():
            if name.lower() == _HEADER and values:
                value = values[-1]
                self._session.adopt(value if isinstance(value, str) else value.decode("latin-1"))


# --------------------------------------------------------------------------------------------------------- parameters


def _joined(first: Parameters | None, second: Parameters | None) -> Parameters | None:
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


def _declared(schema: bytes) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(schema)) if schema else pa.schema([])


def _parameter_batch(params: Parameters, declared: pa.Schema) -> pa.RecordBatch:
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


# ------------------------------------------------------------------------------------------------------------ answers


def _next_batch(stream: fl.FlightStreamReader) -> pa.RecordBatch | None:
    try:
        return stream.read_chunk().data
    except StopIteration:
        return None


def _product(card: Mapping[str, Any]) -> Product:  # Any: JSON of a server, which may be newer than this client
    return Product(
        name=card["product"],
        title=card["title"],
        version=card["version"],
        status=card["status"],
        description=card.get("description"),
        owner=card.get("owner"),
        unavailable=card.get("unavailable"),
        ports=tuple(map(_port, card["ports"])),
    )


def _port(card: Mapping[str, Any]) -> Port:  # Any: as above
    return Port(
        name=card["name"],
        table=card["table"],
        description=card.get("description"),
        grain=card.get("grain"),
        primary_key=tuple(card.get("primary_key") or ()),
        columns=tuple(
            Column(
                name=column["name"],
                type=column["type"],
                nullable=column["nullable"],
                description=column.get("description"),
                unit=column.get("unit"),
                classification=column.get("classification"),
            )
            for column in card["columns"]
        ),
    )


# ------------------------------------------------------------------------------------------------------------- errors

# What our own servers send (flight/status.py), wherever it stands in what pyarrow makes of it.
_TOLD = re.compile(r"\b(" + "|".join(code.value for code in ErrorCode) + r"): (.*?) \[id ([0-9a-f]{1,64})\]", re.DOTALL)
# What pyarrow adds around and behind a text.
_DECORATION = re.compile(r"\A(?:Flight [\w ]+ error, with message: )?(.*?)(?:\. Detail: .*)?\Z", re.DOTALL)

# The first class that fits decides. FlightError and ArrowException stand for everything else.
_CODES: tuple[tuple[type[BaseException], ErrorCode], ...] = (
    (fl.FlightUnauthenticatedError, ErrorCode.UNAUTHENTICATED),
    (fl.FlightUnauthorizedError, ErrorCode.PERMISSION_DENIED),
    (fl.FlightUnavailableError, ErrorCode.UNAVAILABLE),
    (fl.FlightTimedOutError, ErrorCode.DEADLINE),
    (fl.FlightCancelledError, ErrorCode.CANCELLED),
    (pa.ArrowCancelled, ErrorCode.CANCELLED),
    (pa.ArrowInvalid, ErrorCode.INVALID),
    (pa.ArrowKeyError, ErrorCode.NOT_FOUND),
    (pa.ArrowNotImplementedError, ErrorCode.UNSUPPORTED),
)


def _failure(error: Exception, uri: str) -> FlightmeshError:
    """The error that the server sent, or what the failed call means when it sent none."""
    if told := _TOLD.search(str(error)):
        code = ErrorCode(told[1])
        hint = f"The server's log has it under {told[3]}." if code is ErrorCode.INTERNAL else None
        return FlightmeshError(code, told[2], hint=hint)
    code = next((code for kind, code in _CODES if isinstance(error, kind)), ErrorCode.INTERNAL)
    if code is ErrorCode.UNAVAILABLE:
        return _unreachable(uri, str(error))
    if code is ErrorCode.DEADLINE:
        return FlightmeshError(code, f"{uri} did not answer in time.", hint="Ask for less, or allow more seconds.")
    found = _DECORATION.match(str(error))
    text = " ".join((found[1] if found else str(error)).split())[:_TEXT_CHARACTERS_MAX]
    return FlightmeshError(code, text or "The call failed.")


def _unreachable(uri: str, text: str) -> FlightmeshError:
    hint = "Start one with `flightmesh serve`, or give its address."
    if "handshake failed" in text.lower() or "certificate" in text.lower():
        hint = "TLS failed: compare grpc:// with grpc+tls://, and the certificate with the roots that are trusted."
    elif "resolving" in text:
        hint = "The host name is not known."
    return FlightmeshError(ErrorCode.UNAVAILABLE, f"No server answers at {uri}.", hint=hint)


def _library(name: str) -> Any:  # Any: a module of the caller's choice
    """The frame library. Errors: UNSUPPORTED when it is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
    hint = "pip install 'flightmesh[pandas]'" if name == "pandas" else f"pip install {name}"
    raise FlightmeshError(ErrorCode.UNSUPPORTED, f"{name} is not installed.", hint=hint)

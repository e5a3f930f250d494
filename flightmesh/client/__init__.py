"""``connect(uri)``: for people who want the data frame. Builds one SELECT, reads it over Flight SQL, hands it on.

Columns, filters and limits narrow on the server; frame libraries are imported when their method is called. Whatever
the server or the network answers, callers get a ``FlightmeshError``. Nothing here decides who may read what.
"""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.flight as fl

from flightmesh.client import uploads
from flightmesh.client.address import DEFAULT_URI, checked_uri
from flightmesh.client.explanations import Dataset, Explanation, Relation, SourceRead, explanation_of
from flightmesh.client.failures import failure
from flightmesh.client.parameters import Parameters, joined, parameter_batch
from flightmesh.client.products import Column, Port, Product, product_of
from flightmesh.client.session import Session, SessionFactory, authorization
from flightmesh.client.uploads import Mode
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flightsql import messages as m
from flightmesh.flightsql.codec import decode, pack, unpack
from flightmesh.names import TableName, fold, quote

if TYPE_CHECKING:
    import duckdb
    import pandas
    import polars

__all__ = [
    "Client",
    "Column",
    "Dataset",
    "Explanation",
    "Mode",
    "Parameters",
    "Port",
    "Product",
    "Query",
    "Relation",
    "RunningQuery",
    "SourceRead",
    "Table",
    "connect",
]

_T = TypeVar("_T")

# What this client can read, and stock clients cannot: large messages, and dictionaries instead of their values.
_ASKED = {"x-flightmesh-batch-bytes-max": "16000000", "x-flightmesh-dictionaries": "true"}


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
    return Client(uri, authorization(token, user, password), tls_root_certs=tls_root_certs, timeout_s=timeout_s)


class Client:
    """One server, as one caller. May be shared by threads; close it, or use it as a context manager."""

    def __init__(
        self, uri: str, authorization: str | None, *, tls_root_certs: bytes | None, timeout_s: float | None
    ) -> None:
        self.uri = checked_uri(uri)
        self._session = Session(authorization)
        self._has_state = False
        headers = [(name.encode(), value.encode()) for name, value in _ASKED.items()]
        self._options = fl.FlightCallOptions(timeout=timeout_s, headers=headers)
        middleware = [SessionFactory(self._session)]
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
        """Closes the connection, and the session with its temporary tables; results not read to their end are lost."""
        if self._has_state:
            with suppress(FlightmeshError):  # Nobody is told more by it: the session ends by itself.
                self._act("CloseSession", b"")
        self._flight.close()

    def table(
        self, name: str, columns: Sequence[str] | None = None, where: str | None = None, limit: int | None = None
    ) -> Table:
        """The table ``domain.product.port``; nothing is read before a method of the table asks for it."""
        table = Table(self, _table_name(name))
        if isinstance(columns, str):
            raise _wrong("columns is a text.", f"Write columns=[{columns[:200]!r}].")
        table = table if columns is None else table.select(*columns)
        table = table if where is None else table.filter(where)
        return table if limit is None else table.limit(limit)

    def sql(self, query: str, params: Parameters | None = None) -> Query:
        """The result of a SELECT. ``params`` are the values of ``?`` in order, or of ``$name`` by name."""
        return Query(self, query, params)

    def upload(self, name: str, data: Any, mode: Mode = "create") -> int:
        """Brings the caller's own rows as a temporary table, to be joined with the products; how many they were.

        ``data`` is a pyarrow table or reader, a polars or pandas frame, a DuckDB relation, or a dict of columns. The
        table is seen by this client alone, is gone when the client closes or after an hour without use, and is whole
        or not there. ``mode`` is ``create`` (INVALID when the table is there), ``append``, ``replace`` or
        ``create_append``.
        """
        target = fl.FlightDescriptor.for_command(pack(uploads.command(name, mode)))
        rows = uploads.stream_of(data)
        self._has_state = True
        # Not retried: the rows may be read only once.
        answered = self._call(lambda: self._upload(target, rows), retries=False)
        return decode(m.DoPutUpdateResult, answered).record_count if answered else 0

    def execute(self, statement: str, params: Parameters | None = None) -> int:
        """Runs a statement that writes to temporary tables (CREATE TEMP TABLE, INSERT, UPDATE, DELETE, DROP) or sets
        something for this client (USE, SET, BEGIN, COMMIT, ROLLBACK); how many rows it wrote.
        """
        self._has_state = True
        if params is None:
            message: m.CommandStatementUpdate | m.CommandPreparedStatementUpdate = m.CommandStatementUpdate(statement)
        else:
            message = m.CommandPreparedStatementUpdate(self._bound(statement, params).prepared_statement_handle)
        target = fl.FlightDescriptor.for_command(pack(message))
        answered = self._call(lambda: self._put(target, pa.RecordBatch.from_pylist([], pa.schema([]))))
        return decode(m.DoPutUpdateResult, answered).record_count if answered else 0

    def queries(self) -> list[RunningQuery]:
        """The running queries that the caller may stop, the oldest first."""
        return [RunningQuery(**json.loads(body)) for body in self._act("query.list", b"")]

    def kill(self, id: str) -> None:
        """Stops a running query. Errors: NOT_FOUND for one that is not running, or not the caller's to stop."""
        self._act("query.kill", json.dumps({"id": id}).encode())

    def products(self) -> list[Product]:
        """The products that the caller may read, by name."""
        return [product_of(json.loads(body)) for body in self._act("catalog.list", b"")]

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
        batch = parameter_batch(params, _declared(prepared.parameter_schema))
        command = m.CommandPreparedStatementQuery(prepared.prepared_statement_handle)
        if batch.num_columns == 0:
            return command
        answered = self._call(lambda: self._put(fl.FlightDescriptor.for_command(pack(command)), batch))
        handle = decode(m.DoPutPreparedStatementResult, answered).prepared_statement_handle if answered else None
        return command if handle is None else m.CommandPreparedStatementQuery(handle)

    def _upload(self, descriptor: fl.FlightDescriptor, rows: pa.RecordBatchReader) -> bytes | None:
        writer, metadata = self._flight.do_put(descriptor, rows.schema, self._options)
        sent = 0
        try:
            for batch in rows:
                writer.write_batch(batch)
                sent += batch.num_rows
            writer.write_metadata(pa.py_buffer(uploads.trailer(sent)))
            writer.done_writing()
            answer = metadata.read()
        except BaseException:
            # What went wrong here is what the caller is to hear of, not that the server misses the end.
            with suppress(pa.ArrowException, OSError):
                writer.close()
            raise
        writer.close()
        return None if answer is None else bytes(answer)

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
            failed = failure(error, self.uri)
        if retries and session is not None and failed.code is ErrorCode.UNAUTHENTICATED:
            self._session.forget(session)
            return self._call(call, retries=False)
        raise failed


@dataclass(frozen=True, slots=True)
class RunningQuery:
    """A query that runs at the server; ``started_at`` in ISO 8601."""

    id: str
    user: str
    sql: str
    started_at: str


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

    def explain(self) -> Explanation:
        """How the server would answer it, as the caller may know; nothing is read. Parameters count as NULL."""
        body = json.dumps({"sql": self.text}).encode()
        return explanation_of(json.loads(self.client._act("query.explain", body)[0]))

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
        """Only these columns, in this order. Errors: INVALID for none, one given twice, or what is no text."""
        if not columns:
            raise _wrong("select() names no column.", "Leave it out for all columns.")
        if not all(isinstance(column, str) for column in columns):
            raise _wrong("select() takes names of columns.", 'Write select("a", "b"); of a list, select(*names).')
        names = [fold(column) for column in columns]
        if twice := [column for column, name in zip(columns, names, strict=True) if names.count(name) > 1]:
            raise _wrong(f"select() names the column {twice[0][:200]} twice.", "Name it once.")
        return replace(self, columns=columns)

    def filter(self, predicate: str, params: Parameters | None = None) -> Table:
        """Only rows for which the SQL predicate holds, and those before it.

        ``params`` are the values of its ``?`` or ``$name``. Errors: INVALID after ``limit``, which would have to come
        first, for a mixture of both kinds of parameters, and for a predicate that is no text.
        """
        if not isinstance(predicate, str) or not predicate.strip():
            raise _wrong("filter() takes a SQL predicate.", 'Write filter("year = ?", [2013]).')
        if self.rows_max is not None:
            raise _wrong("filter() comes after limit().", "Filter first, then limit.")
        return replace(self, predicates=(*self.predicates, predicate), params=joined(self.params, params))

    def limit(self, n: int) -> Table:
        """At most ``n`` rows. Errors: INVALID for what is no whole number from zero up."""
        if not isinstance(n, int) or isinstance(n, bool):
            raise _wrong("limit() takes a whole number.", "Write limit(10).")
        if n < 0:
            raise _wrong(f"limit({n}) is below zero.", "Write limit(10).")
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


def _wrong(message: str, hint: str) -> FlightmeshError:
    return FlightmeshError(ErrorCode.INVALID, message, hint=hint)


def _table_name(name: str) -> TableName:
    parts = name.split(".")
    if len(parts) != 3 or not all(parts):
        raise _wrong(f"{name[:200]!r} names no table.", "Write domain.product.port; products() lists them.")
    return TableName(*parts)


def _declared(schema: bytes) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(schema)) if schema else pa.schema([])


def _next_batch(stream: fl.FlightStreamReader) -> pa.RecordBatch | None:
    try:
        return stream.read_chunk().data
    except StopIteration:
        return None


def _library(name: str) -> Any:  # Any: a module of the caller's choice
    """The frame library. Errors: UNSUPPORTED when it is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
    raise FlightmeshError(ErrorCode.UNSUPPORTED, f"{name} is not installed.", hint=f"pip install {name}")

"""``pyarrow.flight`` alone: every command and action of Flight SQL packed by hand, the way a new client would."""

from __future__ import annotations

import base64
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl

from flightmesh.flightsql import messages as m
from flightmesh.flightsql.codec import decode, encode, pack, unpack
from tests.wire import values
from tests.wire.checks import MORE
from tests.wire.client import FEATURES, Login, Refused, Result

NAME = "pyarrow.flight"
VERSION = pa.__version__
CAN = frozenset(FEATURES) | MORE.keys()

_MODES = {"create": (1, 1), "append": (2, 2), "replace": (1, 3), "create_append": (1, 2)}


def missing() -> str | None:
    """Nothing: pyarrow is what the server itself stands on."""
    return None


def connect(login: Login, folder: Path) -> PyArrowClient:
    """A connection; the first call signs in."""
    return PyArrowClient(login)


@contextmanager
def _told() -> Iterator[None]:
    """The server's refusals as ``Refused``."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise Refused(str(error)) from error


class _Kept(fl.ClientMiddlewareFactory):  # type: ignore[misc]  # pyarrow has no types
    """The headers of every call: credentials, then the session token and the cookies that the server gave."""

    def __init__(self, login: Login) -> None:
        super().__init__()
        self.headers: dict[str, str] = dict(login.options)
        if login.token is not None:
            self.headers["authorization"] = f"Bearer {login.token}"
        elif login.user is not None:
            pair = f"{login.user}:{login.password}".encode()
            self.headers["authorization"] = "Basic " + base64.b64encode(pair).decode()

    def start_call(self, info: fl.CallInfo) -> _OneCall:
        return _OneCall(self.headers)


class _OneCall(fl.ClientMiddleware):  # type: ignore[misc]  # pyarrow has no types
    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__()
        self._headers = headers

    def sending_headers(self) -> dict[str, str]:
        return dict(self._headers)

    def received_headers(self, headers: Mapping[str, Sequence[str]]) -> None:
        for name, given in headers.items():
            if name.lower() == "authorization":
                self._headers["authorization"] = given[-1]
            elif name.lower() == "set-cookie":
                self._headers["cookie"] = given[-1].partition(";")[0]


class PyArrowClient:
    """See ``client.Client``."""

    name = NAME
    can = CAN

    def __init__(self, login: Login) -> None:
        self._flight = fl.connect(login.uri, middleware=[_Kept(login)])
        self._transaction: bytes | None = None

    def close(self) -> None:
        with suppress(pa.ArrowException, OSError):  # A session that never was needs no closing.
            self._act("CloseSession", encode(m.CloseSessionRequest()))
        self._flight.close()

    # Statements -------------------------------------------------------------------------------------------------------

    def query(self, sql: str, parameters: Sequence[Any] = (), named: Mapping[str, Any] | None = None) -> Result:
        return values.of_table(self.table(sql, parameters, named))

    def table(self, sql: str, parameters: Sequence[Any] = (), named: Mapping[str, Any] | None = None) -> pa.Table:
        """The Arrow table of a statement."""
        with _told():
            if not parameters and not named:
                return self._read(m.CommandStatementQuery(sql, self._transaction))
            given = named or {str(number): value for number, value in enumerate(parameters, start=1)}
            with self._prepared(sql) as prepared:
                handle = self._bound(prepared.prepared_statement_handle, given)
                return self._read(m.CommandPreparedStatementQuery(handle))

    def count(self, sql: str) -> int:
        with _told():
            info = self._info(m.CommandStatementQuery(sql))
            return sum(
                chunk.data.num_rows for endpoint in info.endpoints for chunk in self._flight.do_get(endpoint.ticket)
            )

    def update(self, sql: str, rows: Sequence[Sequence[Any]] = ()) -> int:
        with _told():
            if not rows:
                return self._put(m.CommandStatementUpdate(sql, self._transaction), pa.schema([]).empty_table())
            with self._prepared(sql) as prepared:
                columns = [pa.array(list(column)) for column in zip(*rows, strict=True)]
                batch = pa.table(columns, names=[str(number) for number in range(1, len(columns) + 1)])
                return self._put(m.CommandPreparedStatementUpdate(prepared.prepared_statement_handle), batch)

    def columns_of(self, sql: str) -> tuple[str, ...]:
        with _told():
            return tuple(self._flight.get_schema(_descriptor(m.CommandStatementQuery(sql))).schema.names)

    def parameter_types(self, sql: str) -> tuple[str, ...]:
        with _told(), self._prepared(sql) as prepared:
            schema = pa.ipc.read_schema(pa.py_buffer(prepared.parameter_schema))
            return tuple(map(str, schema.types))

    def cancel_running(self, sql: str) -> float:
        with _told():
            info = self._info(m.CommandStatementQuery(sql))
        running = threading.Thread(target=self._swallowing, args=(info,), daemon=True)
        running.start()
        time.sleep(0.5)
        began = time.monotonic()
        with _told():
            body = encode(m.CancelFlightInfoRequest(info.serialize()))
            (answer,) = self._flight.do_action(fl.Action("CancelFlightInfo", body))
        status = decode(m.CancelFlightInfoResult, answer.body.to_pybytes()).status
        assert status in (m.CancelStatus.CANCEL_STATUS_CANCELLED, m.CancelStatus.CANCEL_STATUS_CANCELLING)
        running.join(30)
        assert not running.is_alive(), "the cancelled query goes on"
        return time.monotonic() - began

    def partitions(self, sql: str) -> Result:
        with _told():
            info = self._info(m.CommandStatementQuery(sql))
            parts = [self._flight.do_get(endpoint.ticket).read_all() for endpoint in info.endpoints]
        return values.of_table(pa.concat_tables(parts))

    # Metadata ---------------------------------------------------------------------------------------------------------

    def catalogs(self) -> tuple[str, ...]:
        return tuple(self._ask(m.CommandGetCatalogs())["catalog_name"].to_pylist())

    def schemas(self, catalog: str | None = None, pattern: str | None = None) -> tuple[tuple[str, str], ...]:
        rows = self._ask(m.CommandGetDbSchemas(catalog, pattern)).to_pylist()
        return tuple((row["catalog_name"], row["db_schema_name"]) for row in rows)

    def tables(
        self,
        catalog: str | None = None,
        schema: str | None = None,
        table: str | None = None,
        types: Sequence[str] = (),
    ) -> tuple[tuple[str, str, str, str], ...]:
        rows = self._ask(m.CommandGetTables(catalog, schema, table, tuple(types))).to_pylist()
        names = ("catalog_name", "db_schema_name", "table_name", "table_type")
        return tuple((row[names[0]], row[names[1]], row[names[2]], row[names[3]]) for row in rows)

    def columns(self, catalog: str, schema: str, table: str) -> tuple[Mapping[str, Any], ...]:
        command = m.CommandGetTables(catalog, schema, table, include_schema=True)
        (row,) = self._ask(command).to_pylist()
        return tuple(_column(field) for field in pa.ipc.read_schema(pa.py_buffer(row["table_schema"])))

    def table_types(self) -> tuple[str, ...]:
        return tuple(self._ask(m.CommandGetTableTypes())["table_type"].to_pylist())

    def primary_keys(self, catalog: str, schema: str, table: str) -> tuple[str, ...]:
        return tuple(self._ask(m.CommandGetPrimaryKeys(catalog, schema, table))["column_name"].to_pylist())

    def foreign_keys(self, catalog: str, schema: str, table: str) -> int:
        name = (catalog, schema, table)
        commands = (m.CommandGetExportedKeys(*name), m.CommandGetImportedKeys(*name))
        cross = m.CommandGetCrossReference(*name, *name)
        return sum(self._ask(command).num_rows for command in (*commands, cross))

    def type_info(self) -> tuple[str, ...]:
        return tuple(self._ask(m.CommandGetXdbcTypeInfo())["type_name"].to_pylist())

    def info(self) -> Mapping[str, Any]:
        table = self._ask(m.CommandGetSqlInfo())
        known = dict(zip(table["info_name"].to_pylist(), table["value"].to_pylist(), strict=True))
        return {"name": known[0], "version": known[1], **{str(number): value for number, value in known.items()}}

    # Sessions, transactions, own rows ---------------------------------------------------------------------------------

    def ingest(self, table: str, data: pa.Table, mode: str, *, temporary: bool = True) -> int:
        missing_, exists = _MODES[mode]
        options = m.TableDefinitionOptions(m.TableNotExistOption(missing_), m.TableExistsOption(exists))
        command = m.CommandStatementIngest(
            table_definition_options=options, table=table, temporary=temporary, transaction_id=self._transaction
        )
        with _told():
            return self._put(command, data)

    def begin(self) -> None:
        with _told():
            (answer,) = self._act("BeginTransaction", pack(m.ActionBeginTransactionRequest()))
        begun = unpack(answer)
        assert isinstance(begun, m.ActionBeginTransactionResult)
        self._transaction = begun.transaction_id

    def commit(self) -> None:
        self._end(m.EndTransaction.END_TRANSACTION_COMMIT)

    def rollback(self) -> None:
        self._end(m.EndTransaction.END_TRANSACTION_ROLLBACK)

    def _end(self, how: m.EndTransaction) -> None:
        transaction, self._transaction = self._transaction, None
        with _told():
            self._act("EndTransaction", pack(m.ActionEndTransactionRequest(transaction or b"", how)))

    def set_session(self, catalog: str | None = None, schema: str | None = None) -> None:
        given = {"catalog": catalog, "schema": schema}
        options = {name: m.SessionOptionValue.of(value) for name, value in given.items() if value is not None}
        with _told():
            (answer,) = self._act("SetSessionOptions", encode(m.SetSessionOptionsRequest(options)))
        errors = decode(m.SetSessionOptionsResult, answer).errors
        if errors:
            raise Refused(f"not set: {dict(errors)}")

    def session(self) -> tuple[str | None, str | None]:
        with _told():
            (answer,) = self._act("GetSessionOptions", encode(m.GetSessionOptionsRequest()))
        options = decode(m.GetSessionOptionsResult, answer).session_options
        found = {name: str(option.value) for name, option in options.items() if option.value is not None}
        return found.get("catalog"), found.get("schema")

    def renewed(self, sql: str) -> Result:
        """The rows of a statement, read with a ticket that was renewed first."""
        with _told():
            info = self._info(m.CommandStatementQuery(sql))
            body = encode(m.RenewFlightEndpointRequest(info.endpoints[0].serialize()))
            (answer,) = self._act("RenewFlightEndpoint", body)
            endpoint = fl.FlightEndpoint.deserialize(answer)
            assert endpoint.expiration_time is not None
            assert endpoint.expiration_time.value >= info.endpoints[0].expiration_time.value
            return values.of_table(self._flight.do_get(endpoint.ticket).read_all())

    def cancel_query(self, sql: str) -> m.CancelResult:
        """How the older of the two cancel actions ends for a query that nobody has begun to read."""
        with _told():
            info = self._info(m.CommandStatementQuery(sql))
            (answer,) = self._act("CancelQuery", pack(m.ActionCancelQueryRequest(info.serialize())))
        result = unpack(answer)
        assert isinstance(result, m.ActionCancelQueryResult)
        return result.result

    def by_path(self, *path: str) -> Result:
        """The rows of a table that is named by a path, without a word of SQL."""
        with _told():
            info = self._flight.get_flight_info(fl.FlightDescriptor.for_path(*path))
            return values.of_table(self._flight.do_get(info.endpoints[0].ticket).read_all())

    def put(self, table: str, data: pa.Table) -> None:
        """Brings rows by a path, with nothing of Flight SQL."""
        with _told():
            writer, metadata = self._flight.do_put(fl.FlightDescriptor.for_path(table), data.schema)
            with writer:
                writer.write_table(data)
                writer.done_writing()
                metadata.read()

    def flights(self) -> tuple[tuple[str, ...], ...]:
        """The paths of ListFlights."""
        with _told():
            infos = list(self._flight.list_flights())
        return tuple(tuple(part.decode() for part in info.descriptor.path) for info in infos)

    def actions(self) -> tuple[str, ...]:
        """The names of ListActions."""
        with _told():
            return tuple(action.type for action in self._flight.list_actions())

    def act(self, name: str, body: bytes = b"") -> list[bytes]:
        """The results of any action."""
        with _told():
            return self._act(name, body)

    def close_session(self) -> m.CloseSessionStatus:
        """The server's word on closing the session."""
        with _told():
            (answer,) = self._act("CloseSession", encode(m.CloseSessionRequest()))
        return decode(m.CloseSessionResult, answer).status

    # The calls beneath ------------------------------------------------------------------------------------------------

    def _ask(self, command: m.Wrapped) -> pa.Table:
        with _told():
            return self._read(command)

    def _info(self, command: m.Wrapped) -> fl.FlightInfo:
        return self._flight.get_flight_info(_descriptor(command))

    def _read(self, command: m.Wrapped) -> pa.Table:
        info = self._info(command)
        return pa.concat_tables(self._flight.do_get(endpoint.ticket).read_all() for endpoint in info.endpoints)

    def _act(self, name: str, body: bytes) -> list[bytes]:
        return [result.body.to_pybytes() for result in self._flight.do_action(fl.Action(name, body))]

    @contextmanager
    def _prepared(self, sql: str) -> Iterator[m.ActionCreatePreparedStatementResult]:
        request = m.ActionCreatePreparedStatementRequest(sql, self._transaction)
        (answer,) = self._act("CreatePreparedStatement", pack(request))
        prepared = unpack(answer)
        assert isinstance(prepared, m.ActionCreatePreparedStatementResult)
        yield prepared
        self._act(
            "ClosePreparedStatement", pack(m.ActionClosePreparedStatementRequest(prepared.prepared_statement_handle))
        )

    def _bound(self, handle: bytes, given: Mapping[str, Any]) -> bytes:
        batch = pa.table({name: pa.array([value]) for name, value in given.items()})
        answer = self._sent(m.CommandPreparedStatementQuery(handle), batch)
        bound = decode(m.DoPutPreparedStatementResult, answer).prepared_statement_handle if answer else None
        return bound or handle

    def _put(self, command: m.Wrapped, rows: pa.Table) -> int:
        answer = self._sent(command, rows)
        assert answer is not None, "the standard asks for a DoPutUpdateResult"
        return decode(m.DoPutUpdateResult, answer).record_count

    def _sent(self, command: m.Wrapped, rows: pa.Table) -> bytes | None:
        writer, metadata = self._flight.do_put(_descriptor(command), rows.schema)
        with writer:
            if rows.num_columns:
                writer.write_table(rows)
            writer.done_writing()
            answer = metadata.read()
        return None if answer is None else bytes(answer)

    def _swallowing(self, info: fl.FlightInfo) -> None:
        # Chunk by chunk: read_all() takes a cancelled stream for a signal, and interrupts the main thread.
        with suppress(pa.ArrowException, OSError):
            deque(self._flight.do_get(info.endpoints[0].ticket), maxlen=0)


def _descriptor(command: m.Wrapped) -> fl.FlightDescriptor:
    return fl.FlightDescriptor.for_command(pack(command))


_KEYS: Mapping[str, tuple[bytes, Callable[[str], Any]]] = {
    "type_name": (b"ARROW:FLIGHT:SQL:TYPE_NAME", str),
    "size": (b"XDBC_COLUMN_SIZE", int),
    "remarks": (b"ARROW:FLIGHT:SQL:REMARKS", str),
}


def _column(field: pa.Field) -> Mapping[str, Any]:
    told = field.metadata or {}
    known = {name: read(told[key].decode()) for name, (key, read) in _KEYS.items() if key in told}
    return {"name": field.name, "nullable": field.nullable, **known}

"""One session as a stock client has it: a bearer token that the server gave, and calls that carry it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl

from flightmesh.flightsql import messages as m
from flightmesh.flightsql.codec import decode, encode, pack, unpack

# What to do when the table is missing, and when it is there: the numbers of the protocol.
MODES = {"create": (1, 1), "append": (2, 2), "replace": (1, 3), "create_append": (1, 2)}


def open_session(uri: str, token: str | None = None) -> str:
    """A new session's token, for the user of an API token or for nobody."""
    given: list[str] = []

    class Taking(fl.ClientMiddleware):  # type: ignore[misc] # pyarrow is untyped
        def received_headers(self, headers: dict[str, list[str]]) -> None:
            given.extend(headers.get("authorization", []))

    class Factory(fl.ClientMiddlewareFactory):  # type: ignore[misc] # as above
        def start_call(self, info: Any) -> Taking:
            return Taking()

    headers = [] if token is None else [(b"authorization", b"Bearer " + token.encode())]
    with fl.connect(uri, middleware=[Factory()]) as client:
        list(client.list_actions(fl.FlightCallOptions(headers=headers)))
    assert given, "the server gave no session"
    return given[0].removeprefix("Bearer ")


def ingest(table: str, mode: str = "create", *, transaction: bytes | None = None) -> bytes:
    """The command that brings rows into a temporary table."""
    missing, exists = MODES[mode]
    options = m.TableDefinitionOptions(m.TableNotExistOption(missing), m.TableExistsOption(exists))
    return pack(m.CommandStatementIngest(options, table, temporary=True, transaction_id=transaction))


@dataclass(frozen=True)
class Session:
    """One session over a connection of its own. Errors are the driver's."""

    client: fl.FlightClient
    options: fl.FlightCallOptions
    token: str

    @classmethod
    def of(cls, uri: str, token: str) -> Session:
        """The session of this bearer token, over a new connection."""
        headers = [(b"authorization", b"Bearer " + token.encode())]
        return cls(fl.connect(uri), fl.FlightCallOptions(headers=headers), token)

    @classmethod
    def new(cls, uri: str, token: str | None = None) -> Session:
        """A new session, for the user of an API token or for nobody."""
        return cls.of(uri, open_session(uri, token))

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def ticket(self, command: Any) -> bytes:
        descriptor = fl.FlightDescriptor.for_command(pack(command))
        info = self.client.get_flight_info(descriptor, self.options)
        ticket: bytes = info.endpoints[0].ticket.ticket
        return ticket

    def fetch(self, ticket: bytes) -> pa.Table:
        return self.client.do_get(fl.Ticket(ticket), self.options).read_all()

    def sql(self, text: str, transaction: bytes | None = None) -> pa.Table:
        return self.fetch(self.ticket(m.CommandStatementQuery(text, transaction)))

    def column(self, text: str) -> list[Any]:
        """The first column of the answer."""
        values: list[Any] = self.sql(text).column(0).to_pylist()
        return values

    def rows(self, table: str) -> list[int] | None:
        """The sorted first column of a temporary table; None when there is none of this name."""
        try:
            return sorted(self.column(f'SELECT * FROM "{table}"'))
        except KeyError as error:
            if "not_found: " not in str(error):
                raise
            return None

    def prepare(self, text: str, transaction: bytes | None = None) -> bytes:
        body = pack(m.ActionCreatePreparedStatementRequest(text, transaction))
        answer = unpack(self.act("CreatePreparedStatement", body)[0])
        assert isinstance(answer, m.ActionCreatePreparedStatementResult)
        return answer.prepared_statement_handle

    def act(self, name: str, body: bytes = b"") -> list[bytes]:
        return [bytes(result.body) for result in self.client.do_action(fl.Action(name, body), self.options)]

    def update(self, text: str, transaction: bytes | None = None) -> int:
        command = pack(m.CommandStatementUpdate(text, transaction))
        return self.put(fl.FlightDescriptor.for_command(command), pa.schema([]), [])

    def begin(self) -> bytes:
        answer = unpack(self.act("BeginTransaction", pack(m.ActionBeginTransactionRequest()))[0])
        assert isinstance(answer, m.ActionBeginTransactionResult)
        return answer.transaction_id

    def end(self, transaction: bytes, *, commits: bool) -> None:
        how = m.EndTransaction.END_TRANSACTION_COMMIT if commits else m.EndTransaction.END_TRANSACTION_ROLLBACK
        self.act("EndTransaction", pack(m.ActionEndTransactionRequest(transaction, how)))

    def close_session(self) -> None:
        self.act("CloseSession", encode(m.CloseSessionRequest()))

    def put(self, descriptor: fl.FlightDescriptor, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
        """The count that the server answered."""
        writer, reader = self.client.do_put(descriptor, schema, self.options)
        with writer:
            for batch in batches:
                writer.write_batch(batch)
            writer.done_writing()
            answer = reader.read()
        assert answer is not None
        return decode(m.DoPutUpdateResult, bytes(answer)).record_count

    def ingest(self, table: str, values: Sequence[int], mode: str = "create", *, batches: int = 1) -> int:
        """Brings these values as the column ``n``."""
        descriptor = fl.FlightDescriptor.for_command(ingest(table, mode))
        rows = pa.table({"n": pa.array(values, pa.int64())})
        return self.put(descriptor, rows.schema, rows.to_batches(max(1, -(-len(values) // batches))))


def sessions_folder(state: Path) -> Path:
    """Where a server keeps the temporary tables of sessions."""
    return state / "sessions"


def used_bytes(state: Path) -> int:
    """The disk that temporary tables and uploads under way take."""
    found = [path for path in sessions_folder(state).rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in found if path.exists())


def settled(state: Path, timeout_s: float = 10.0) -> None:
    """Waits until no upload is under way any more."""
    deadline = time.monotonic() + timeout_s
    while list(sessions_folder(state).rglob("*.writing")):
        assert time.monotonic() < deadline, "an upload is still under way"
        time.sleep(0.01)

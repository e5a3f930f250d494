"""What the tests of this room share: one caller's ways to read, and the scan of what a server has said."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import pyarrow as pa
import pyarrow.flight as fl
import pytest

from flightmesh.flightsql import messages as m
from flightmesh.flightsql.codec import pack, unpack

TEXT_BYTES_MAX = 1_024
# What no client may read unless it wrote it itself: the server's files, names and words of its inside.
INNER = (
    r"Traceback",
    r"File \"",
    r"/(?:tmp|home|root|usr|etc|var|work|proc)/\w",
    r"\.py\b",
    r"\.duckdb\b",
    r"\.parquet\b(?!\.variant)",
    r"data_[0-9a-f]{8,}",
    r"\bduckdb\.\w",  # Not duckdb_: the names of what may be asked of the catalogue are public.
    r"\b(?:Binder|Catalog|Parser|Conversion|Constraint|Permission|INTERNAL|Invalid Input|IO|Not implemented) Error",
    r" object at 0x",
)
_SAID = re.compile(r"(?P<said>[a-z_]+: .*?) \[id [0-9a-f]{16}\]", re.DOTALL)
T = TypeVar("T")


class Server(Protocol):
    """What these tests need of the fixtures ``server`` and ``start``."""

    def flight(self, user: str | None = None) -> tuple[fl.FlightClient, fl.FlightCallOptions]: ...


class Refused(Exception):  # noqa: N818 - an answer, not a failure
    """What the server said instead of an answer: one line, its id taken off."""


@dataclass(frozen=True)
class Caller:
    """One user's client. Errors of the server are raised as ``Refused``, after their form was checked."""

    client: fl.FlightClient
    options: fl.FlightCallOptions

    def call(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except (pa.ArrowException, OSError) as error:  # OSError: what GetSchema makes of some of them.
            raise Refused(said(error)) from None

    def info(self, descriptor: fl.FlightDescriptor) -> fl.FlightInfo:
        return self.call(lambda: self.client.get_flight_info(descriptor, self.options))

    def schema(self, sql: str) -> pa.Schema:
        return self.call(lambda: self.client.get_schema(_command(m.CommandStatementQuery(sql)), self.options).schema)

    def fetch(self, ticket: bytes) -> pa.Table:
        return self.call(lambda: self.client.do_get(fl.Ticket(ticket), self.options).read_all())

    def read(self, descriptor: fl.FlightDescriptor) -> pa.Table:
        info = self.info(descriptor)
        table = self.fetch(info.endpoints[0].ticket.ticket)
        assert table.schema.equals(info.schema), "the stream has another schema than the FlightInfo"
        return table

    def sql(self, text: str) -> pa.Table:
        return self.read(_command(m.CommandStatementQuery(text)))

    def path(self, *parts: str) -> pa.Table:
        return self.read(fl.FlightDescriptor.for_path(*parts))

    def command(self, message: Any) -> pa.Table:
        return self.read(_command(message))

    def direct(self, text: str) -> pa.Table:
        """In one call: the command itself as the ticket."""
        return self.fetch(pack(m.CommandStatementQuery(text)))

    def prepare(self, text: str) -> bytes:
        body = pack(m.ActionCreatePreparedStatementRequest(text))
        answer = unpack(self.act("CreatePreparedStatement", body)[0])
        assert isinstance(answer, m.ActionCreatePreparedStatementResult)
        return answer.prepared_statement_handle

    def prepared(self, text: str) -> pa.Table:
        return self.command(m.CommandPreparedStatementQuery(self.prepare(text)))

    def act(self, name: str, body: bytes = b"") -> list[bytes]:
        return self.call(lambda: [bytes(r.body) for r in self.client.do_action(fl.Action(name, body), self.options)])

    def flights(self) -> list[fl.FlightInfo]:
        return self.call(lambda: list(self.client.list_flights(b"", self.options)))


def said(error: BaseException) -> str:
    """The server's line in an error of a client; the test fails unless the whole error keeps to the door's form."""
    text = str(error)
    found = _SAID.search(text)
    assert found is not None, f"an error that the door did not make: {text}"
    line = found[0]
    assert len(line.encode()) <= TEXT_BYTES_MAX, f"{len(line.encode())} bytes of error text"
    assert "\n" not in line, line
    # pyarrow says the same line again behind its own words; anything else would be ours.
    rest = text.replace(line, "")
    assert not re.search(r"Traceback|File \"|\.py\b", rest), text
    return found["said"]


def _command(message: Any) -> fl.FlightDescriptor:
    return fl.FlightDescriptor.for_command(pack(message))


def leaks(text: str, sent: str, hidden: Sequence[str] = ()) -> list[str]:
    """What ``text`` tells of the inside or of ``hidden`` that ``sent``, the caller's own words, did not hold."""
    own = sent.lower()
    found = [match[0] for pattern in INNER for match in re.finditer(pattern, text)]
    found += [word for word in hidden if word.lower() in text.lower()]
    return [word for word in found if word.lower() not in own]


@pytest.fixture(scope="session")
def calling() -> Callable[[Server, str | None], AbstractContextManager[Caller]]:
    """``with calling(server, user) as caller``: a client of the user (None: anonymous), closed at the end."""

    @contextmanager
    def opened(server: Server, user: str | None) -> Iterator[Caller]:
        client, options = server.flight(user)
        with client:
            yield Caller(client, options)

    return opened


@pytest.fixture(scope="session")
def leaking() -> Callable[[str, str, Sequence[str]], list[str]]:
    """The scan: see ``leaks``."""
    return leaks


@pytest.fixture(scope="session")
def refusal() -> type[Refused]:
    """The exception in which a caller meets what the server refuses."""
    return Refused

"""A Flight client of the protocol's bare calls, in one session, whose long calls run in threads of their own."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.flight as fl

from flightmesh.flightsql import messages as m
from flightmesh.flightsql.codec import decode, encode, pack, unpack

if TYPE_CHECKING:
    from tests.conftest import ServedBy

_PRODUCT = Path(__file__).parents[2] / "products" / "clinical_trials"


class _Kept(fl.ClientMiddlewareFactory):  # type: ignore[misc]  # pyarrow has no types
    """The headers of every call of a connection: its own, and the session token that the server gave."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__()
        self.headers = headers

    def start_call(self, info: fl.CallInfo) -> _OneCall:
        return _OneCall(self.headers)


class _OneCall(fl.ClientMiddleware):  # type: ignore[misc]  # pyarrow has no types
    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__()
        self._headers = headers

    def sending_headers(self) -> dict[str, str]:
        return dict(self._headers)

    def received_headers(self, headers: dict[str, list[str]]) -> None:
        if "authorization" in headers:
            self._headers["authorization"] = headers["authorization"][-1]


class Caller:
    """One Flight connection of a user's, in one session, whose calls run in threads of their own where they last."""

    def __init__(self, server: ServedBy, user: str | None, **headers: str) -> None:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if user is not None:
            given["authorization"] = f"Bearer {server.tokens[user]}"
        self.client = fl.connect(server.uri, middleware=[_Kept(given)])
        self._threads = ThreadPoolExecutor(8)

    def close(self) -> None:
        self.client.close()
        self._threads.shutdown(wait=False)

    def info(self, sql: str) -> fl.FlightInfo:
        return self.client.get_flight_info(_descriptor(m.CommandStatementQuery(sql)))

    def stream(self, info: fl.FlightInfo, options: fl.FlightCallOptions | None = None) -> fl.FlightStreamReader:
        return self.client.do_get(info.endpoints[0].ticket, options or fl.FlightCallOptions())

    def reading(self, info: fl.FlightInfo, options: fl.FlightCallOptions | None = None) -> Future[int]:
        """The count of rows of a result that is read in a thread, or the error."""
        return self._threads.submit(self.count, info, options)

    def count(self, info: fl.FlightInfo, options: fl.FlightCallOptions | None = None) -> int:
        """The count of rows, chunk by chunk: read_all() takes a cancelled stream for a signal to the main thread."""
        return sum(chunk.data.num_rows for chunk in self.stream(info, options))

    def updating(self, sql: str, options: fl.FlightCallOptions | None = None) -> Future[int]:
        """The count of rows of a statement that writes, run by DoPut in a thread."""
        return self._threads.submit(self._update, sql, options or fl.FlightCallOptions())

    def answering(self, sql: str, options: fl.FlightCallOptions) -> Future[fl.FlightInfo]:
        """A statement that GetFlightInfo executes, in a thread."""
        descriptor = _descriptor(m.CommandStatementQuery(sql))
        return self._threads.submit(self.client.get_flight_info, descriptor, options)

    def act(self, name: str, body: bytes) -> bytes:
        (answer,) = self.client.do_action(fl.Action(name, body))
        return bytes(answer.body.to_pybytes())

    def cancel(self, info: fl.FlightInfo) -> str:
        """The word of CancelFlightInfo."""
        answer = self.act("CancelFlightInfo", encode(m.CancelFlightInfoRequest(info.serialize())))
        return decode(m.CancelFlightInfoResult, answer).status.name.removeprefix("CANCEL_STATUS_")

    def cancel_query(self, info: fl.FlightInfo) -> str:
        """The word of CancelQuery, the older of the two actions."""
        answer = unpack(self.act("CancelQuery", pack(m.ActionCancelQueryRequest(info.serialize()))))
        assert isinstance(answer, m.ActionCancelQueryResult)
        return answer.result.name.removeprefix("CANCEL_RESULT_")

    def renew(self, endpoint: fl.FlightEndpoint) -> fl.FlightEndpoint:
        answer = self.act("RenewFlightEndpoint", encode(m.RenewFlightEndpointRequest(endpoint.serialize())))
        return fl.FlightEndpoint.deserialize(answer)

    def update(self, sql: str) -> int:
        return self._update(sql, fl.FlightCallOptions())

    def rows(self, sql: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.stream(self.info(sql)).read_all().to_pylist()
        return found

    def _update(self, sql: str, options: fl.FlightCallOptions) -> int:
        writer, metadata = self.client.do_put(_descriptor(m.CommandStatementUpdate(sql)), pa.schema([]), options)
        with writer:
            writer.done_writing()
            answer = metadata.read()
        return decode(m.DoPutUpdateResult, bytes(answer)).record_count


@contextmanager
def calling(server: ServedBy, user: str | None = "analyst", **headers: str) -> Iterator[Caller]:
    with closing(Caller(server, user, **headers)) as caller:
        yield caller


def serving_small(folder: Path, toml: str) -> AbstractContextManager[ServedBy]:
    """A server of the smaller of the bundled products, with these settings."""
    from tests.conftest import serving

    return serving(folder, products=[_PRODUCT], toml=toml)


def _descriptor(command: Any) -> fl.FlightDescriptor:
    return fl.FlightDescriptor.for_command(pack(command))

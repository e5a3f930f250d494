"""Credentials, and the session that the server opens for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow.flight as fl
import pytest

from flightmesh.client import connect
from flightmesh.errors import ErrorCode, FlightmeshError

if TYPE_CHECKING:
    from tests.client.conftest import Small
    from tests.conftest import ServedBy

Refused = Callable[[ErrorCode, Callable[[], object]], FlightmeshError]


def test_a_token_decides_what_is_seen(refused: Refused, server: ServedBy) -> None:
    """The client must pass on who is asking, on every path."""
    patients = "clinical.trials.patients"
    seen = {}
    for user in ("steward", "analyst", "site"):
        with connect(server.uri, server.tokens[user]) as client:
            seen[user] = (client.table(patients).count(), "pidnum" in client.table(patients).schema.names)
    assert seen["steward"] == (2139, True)
    assert seen["analyst"] == (2139, False)
    assert seen["site"][0] < 2139
    with connect(server.uri) as client:
        refused(ErrorCode.NOT_FOUND, client.table(patients).arrow)


def test_user_and_password(refused: Refused, server: ServedBy) -> None:
    """People without a token sign in by name."""
    with connect(server.uri, user="analyst", password=server.password("analyst")) as client:
        assert client.table("clinical.trials.patients").count() == 2139
    wrong = connect(server.uri, user="analyst", password="wrong")
    assert refused(ErrorCode.UNAUTHENTICATED, wrong.products).message == "The user or the password is wrong."


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        ({"token": "a", "user": "b"}, "Both"),
        ({"user": "b"}, "go together"),
        ({"password": "b"}, "go together"),
        ({"token": "a b"}, "characters"),
        ({"token": ""}, "characters"),
        ({"user": "a:b", "password": "c"}, "colon"),
    ],
)
def test_credentials_that_cannot_be_are_refused(refused: Refused, arguments: dict[str, str], fact: str) -> None:
    """Half of a pair, sent on, would sign in somebody else: the anonymous reader."""
    error = refused(ErrorCode.INVALID, lambda: connect("grpc://127.0.0.1:1", **arguments))  # type: ignore[arg-type]
    assert fact in error.message


class Doorkeeper(fl.ServerMiddlewareFactory):  # type: ignore[misc] # pyarrow has no types
    """Opens a session for every call without one, refuses those that it has ended, and notes what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[str] = []
        self.ended: set[str] = set()
        self._opened = 0
        self._lock = threading.Lock()

    def start_call(self, info: fl.CallInfo, headers: Mapping[str, Sequence[str]]) -> Any:  # Any: untyped base
        with self._lock:
            (header,) = headers.get("authorization", ["nobody"])
            self.shown.append(header)
            if header in self.ended:
                raise fl.FlightUnauthenticatedError("unauthenticated: The session has ended. [id 0123456789abcdef]")
            if header.startswith("Bearer session"):
                return None
            self._opened += 1
            return Greeting(f"Bearer session{self._opened}")


class Greeting(fl.ServerMiddleware):  # type: ignore[misc] # pyarrow has no types
    """Sends the header of the new session."""

    def __init__(self, header: str) -> None:
        super().__init__()
        self._header = header

    def sending_headers(self) -> dict[str, str]:
        return {"authorization": self._header}


def test_the_servers_session_is_kept_and_renewed(refused: Refused, small: type[Small]) -> None:
    """A password is checked slowly on purpose: it must be shown once, and again only when the session has ended."""
    door = Doorkeeper()
    with small(middleware={"door": door}) as there, connect(f"grpc://127.0.0.1:{there.port}", "own") as client:
        for _ in range(3):
            assert client.products() == []
        assert door.shown == ["Bearer own", "Bearer session1", "Bearer session1"]
        door.ended.add("Bearer session1")
        assert client.products() == []
        assert door.shown[3:] == ["Bearer session1", "Bearer own"]
        door.ended.add("Bearer own")
        door.ended.add("Bearer session2")
        assert refused(ErrorCode.UNAUTHENTICATED, client.products).message == "The session has ended."

"""Tests of flightmesh.service.sessions."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import pytest

from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.service.authn import Principal
from flightmesh.service.sessions import OptionValue, Session, Sessions

BOB, EVE = Principal("bob", frozenset({"a"})), Principal("eve")
LIMITS = replace(Limits(), sessions_max=3)


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_sessions_of_defaults_cost_nothing() -> None:
    """Thousands of clients that ask once and go must not push out those who have set something."""
    sessions = Sessions(LIMITS, Clock())
    ids = {sessions.resolve(sessions.open(BOB).id, BOB).id for _ in range(1_000)}
    assert len(ids) == 1_000
    assert len(sessions) == 0


def test_settings_are_remembered_until_unset() -> None:
    """A client's default catalog and schema hold for its next calls; all unset again, nothing is kept."""
    clock = Clock()
    sessions = Sessions(LIMITS, clock)
    id_ = sessions.open(BOB).id
    sessions.change(id_, BOB, {"catalog": "aviation", "schema": "flights", "x": ("a", "b")})
    clock.now += 10
    expected = Session(id_, BOB, 1_000.0, 1_010.0, "aviation", "flights", {"x": ("a", "b")})
    assert sessions.resolve(id_, BOB) == expected
    sessions.change(id_, BOB, {"catalog": None, "schema": "", "x": None, "never": None})
    assert sessions.resolve(id_, BOB).is_default
    assert len(sessions) == 0


def test_another_principal_does_not_reach_a_session() -> None:
    """Who names another's session id sees defaults, and closes or changes only a session of their own."""
    sessions = Sessions(LIMITS, Clock())
    sessions.change("s", BOB, {"catalog": "c"})
    assert sessions.resolve("s", EVE).is_default
    assert not sessions.close("s", EVE)
    sessions.change("s", EVE, {"catalog": "d"})
    assert sessions.resolve("s", BOB).catalog == "c"


def test_a_session_has_the_roles_of_now() -> None:
    """Settings outlive a change of roles; roles do not."""
    sessions = Sessions(LIMITS, Clock())
    sessions.change("s", BOB, {"catalog": "c"})
    demoted = Principal("bob")
    assert sessions.resolve("s", demoted).principal == demoted
    assert sessions.resolve("s", demoted).catalog == "c"


def test_unused_and_old_sessions_are_forgotten() -> None:
    """Idle for long, or older than any session token, even when used all the time."""
    clock = Clock()
    sessions = Sessions(LIMITS, clock)
    sessions.change("s", BOB, {"catalog": "c"})
    clock.now += LIMITS.session_idle_s - 1
    assert sessions.resolve("s", BOB).catalog == "c"
    clock.now += LIMITS.session_idle_s
    assert sessions.resolve("s", BOB).catalog is None
    sessions.change("s", BOB, {"catalog": "c"})
    for _ in range(LIMITS.session_ttl_s // 3_000):
        clock.now += 3_000
        last = sessions.resolve("s", BOB).catalog
    assert last == "c"
    clock.now += 3_000
    assert sessions.resolve("s", BOB).catalog is None
    assert len(sessions) == 0


def test_the_longest_unused_gives_way() -> None:
    """The number of sessions is bounded; what is in use stays."""
    clock = Clock()
    sessions = Sessions(LIMITS, clock)
    for name in "abc":
        sessions.change(name, BOB, {"catalog": name})
    sessions.resolve("a", BOB)
    sessions.change("d", BOB, {"catalog": "d"})
    assert [sessions.resolve(name, BOB).catalog for name in "abcd"] == ["a", None, "c", "d"]
    clock.now += LIMITS.session_idle_s
    sessions.change("e", BOB, {"catalog": "e"})
    assert len(sessions) == 1


def test_closing_forgets() -> None:
    """CloseSession frees at once and may be sent twice."""
    sessions = Sessions(LIMITS, Clock())
    sessions.change("s", BOB, {"catalog": "c"})
    assert sessions.close("s", BOB)
    assert not sessions.close("s", BOB)
    assert sessions.resolve("s", BOB).is_default


@pytest.mark.parametrize(
    "changes",
    [
        {"": "x"},
        {"catalog": 3},
        {"schema": ("a",)},
        {"x": "y" * 5_000},
        {"x" * 5_000: 1},
        {"x": ("y" * 3_000, "z" * 3_000)},
        {f"o{number}": number for number in range(65)},
    ],
)
def test_what_cannot_be_set(changes: dict[str, OptionValue | None]) -> None:
    """Refused as a whole: an earlier setting stays as it was."""
    sessions = Sessions(LIMITS, Clock())
    sessions.change("s", BOB, {"catalog": "c"})
    with pytest.raises(FlightmeshError) as caught:
        sessions.change("s", BOB, {"schema": "new", **changes})
    assert caught.value.code is ErrorCode.INVALID
    assert sessions.resolve("s", BOB) == Session("s", BOB, 1_000.0, 1_000.0, "c")


def test_many_threads() -> None:
    """Flight calls come from many threads; no setting is lost."""
    sessions = Sessions(Limits(), Clock())

    def work(number: int) -> None:
        for turn in range(50):
            sessions.change("s", BOB, {f"o{number}": turn})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dict(sessions.resolve("s", BOB).options) == {f"o{number}": 49 for number in range(8)}

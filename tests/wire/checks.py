"""The assertions of the wire suite, written once: what a check is, and what all of them use.

A check is a function ``check_...(client, stage)`` with the features that it needs of a client. It speaks to the
client's own API only, so that whatever language and driver stand behind it, the same must hold. Which commands and
actions of Flight SQL a check proves nobody states: the server that it runs against notes what reaches it
(``recording.py``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from flightmesh.errors import ErrorCode
from tests.wire.client import FEATURES, Client, Login, Refused

if TYPE_CHECKING:
    from tests.conftest import ServedBy

# What a client only can when it says so itself.
MORE: Mapping[str, str] = {
    "arrow": "Brings rows of any type of Arrow.",
    "protocol": "Sends any message of Flight: paths, renewals, every action.",
}
# The ports that everybody may read.
PUBLIC = (
    ("aviation", "flights", "daily_delays", "TABLE"),
    ("aviation", "flights", "flights", "TABLE"),
    ("aviation", "flights", "route_performance", "TABLE"),
    ("clinical", "trials", "arms", "TABLE"),
)
# Runs for hours, and answers to an interrupt at any moment of them.
ENDLESS = "SELECT max(a.range * b.range) AS m FROM range(100000000) AS a CROSS JOIN range(1000000) AS b"

# What the server says when it refuses, wherever a driver puts it. One line, or the pattern does not fit. Our own client
# takes the id away, and finds some mistakes before the server does.
_TOLD = re.compile(
    r"\b(" + "|".join(code.value for code in ErrorCode) + r"): (.{1,1100}?)(?: \[id [0-9a-f]{1,64}\]|\Z)"
)
_PATH = re.compile(r"(?<![\w.])/(?:home|root|tmp|usr|var|work|opt)/")


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a check runs: the client's name in ``clients.py``, the server, the figures counted beforehand, and further
    connections of the same client.
    """

    name: str
    server: ServedBy
    expected: Mapping[str, Any]
    dial: Callable[[Login], Client]

    def login(self, user: str | None = None, **options: str) -> Login:
        """The login of a user of the tests by password; None: nobody."""
        password = None if user is None else self.server.password(user)
        return Login(self.server.uri, user, password, options=options)

    def other(self, user: str | None = "analyst") -> Client:
        """One connection more of the same client, closed when the check ends."""
        return self.dial(self.login(user))


Run = Callable[[Client, Stage], None]


@dataclass(frozen=True, slots=True)
class Check:
    """One assertion. ``own``: it changes its session, so it gets a connection of its own, signed in as ``analyst``;
    the others share one of nobody's.
    """

    name: str
    needs: frozenset[str]
    own: bool
    run: Run

    @property
    def says(self) -> str:
        """What holds for the client, in a sentence."""
        return " ".join((self.run.__doc__ or "").split())


CHECKS: dict[str, Check] = {}


def check(*needs: str, own: bool = False) -> Callable[[Run], Run]:
    """Registers a check under its function's name."""
    unknown = set(needs) - FEATURES.keys() - MORE.keys()
    assert not unknown, f"no such features: {unknown}"

    def register(run: Run) -> Run:
        name = run.__name__.removeprefix("check_")
        assert name not in CHECKS, f"two checks are called {name}"
        CHECKS[name] = Check(name, frozenset(needs), own, run)
        return run

    return register


# Where a client itself does otherwise, so that the check says nothing of the server: by client and check, and why.
OTHERWISE: Mapping[tuple[str, str], str] = {
    ("flightmesh", "bringing_rows_for_good"): "its `upload` brings temporary tables and nothing else",
    ("flightmesh", "several_rows_in_a_transaction"): "its `execute` takes one row of values",
    ("sqlalchemy", "too_few_values"): "SQLAlchemy misses the value itself, before any call",
}


def runs(client: str, can: frozenset[str], check: Check) -> bool:
    """Whether the check says something of the server through this client."""
    return check.needs <= can and (client, check.name) not in OTHERWISE


@contextmanager
def refused(code: str, *told: str, or_by_driver: bool = False) -> Iterator[None]:
    """Asserts that the server refuses with this code, in one line without a path that holds each of the texts.

    ``or_by_driver``: a driver that sees the mistake before the server does may say so in its own words.
    """
    with pytest.raises(Refused) as caught:
        yield
    found = _TOLD.search(str(caught.value))
    if found is None and or_by_driver:
        return
    assert found is not None, f"the server's sentence did not arrive in one line: {caught.value}"
    assert found[1] == code, f"{found[1]} in place of {code}: {found[2]}"
    assert not _PATH.search(found[0]), found[0]
    assert [text for text in told if text.lower() not in found[0].lower()] == [], found[0]


def value(client: Client, sql: str, *parameters: Any) -> Any:  # Any: a value in the form of client.py
    """The one value of a statement."""
    rows = client.query(sql, parameters).rows
    assert len(rows) == 1, rows
    assert len(rows[0]) == 1, rows
    return rows[0][0]

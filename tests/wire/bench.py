"""What one run of the wire suite keeps: the server, open connections, and the results that tables are made of."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.wire import checks_types
from tests.wire.bridge import cache
from tests.wire.checks import Check, Stage
from tests.wire.client import Client, Login
from tests.wire.clients import CLIENTS

if TYPE_CHECKING:
    from tests.conftest import ServedBy

# Names the file in which the server notes the calls that reach it.
VARIABLE = "WIRE_RECORD"
# Where results are kept between the runs of one checkout, a line each: the newest of a client and check counts.
RESULTS, RESULTS_FILE = "results", "results.jsonl"
_OWN_USER = "analyst"
_SETTLED_S_MAX = 2.0


class Bench:
    """One server, and at most one shared connection at a time: that of the client whose checks are running."""

    def __init__(self, server: ServedBy, expected: Mapping[str, Any], record: Path, folder: Path) -> None:
        self._server, self._expected, self._record, self._folder = server, expected, record, folder
        self._shared: tuple[str, Client] | None = None
        self._numbers = itertools.count()

    def close(self) -> None:
        """Closes the shared connection."""
        shared, self._shared = self._shared, None
        if shared is not None:
            shared[1].close()

    def run(self, name: str, check: Check) -> None:
        """Runs a check through a client, and keeps how it went and what the server saw of it."""
        if not check.needs <= CLIENTS[name].can:
            self._keep(name, check, "no call", ())
            return
        if self._shared is not None and self._shared[0] != name:
            self.close()  # Before the record is read from: a closing connection's calls are not this client's.
        began, outcome = self._record.stat().st_size, "failed"
        try:
            with self._stage(name) as stage, self._connection(name, check, stage) as client:
                if check.needs <= client.can:
                    check.run(client, stage)
                    outcome = "passed"
                else:
                    outcome = "no call"
        finally:
            self._keep(name, check, outcome, self._seen(began))

    @contextmanager
    def _stage(self, name: str) -> Iterator[Stage]:
        with ExitStack() as opened:

            def dial(login: Login) -> Client:
                return opened.enter_context(closing(self._dial(name, login)))

            yield Stage(name, self._server, self._expected, dial)

    @contextmanager
    def _connection(self, name: str, check: Check, stage: Stage) -> Iterator[Client]:
        if check.own:
            yield stage.other(_OWN_USER)
            return
        if self._shared is None:
            self._shared = (name, self._dial(name, stage.login()))
        yield self._shared[1]

    def _dial(self, name: str, login: Login) -> Client:
        # Each connection's own: some clients keep files there.
        folder = self._folder / f"{name}-{next(self._numbers)}"
        folder.mkdir()
        connected: Client = CLIENTS[name].made.connect(login, folder)
        return connected

    def _seen(self, began: int) -> Sequence[str]:
        """What reached the server since and was answered; waits a moment for calls that are about to be."""
        deadline = time.monotonic() + _SETTLED_S_MAX
        while True:
            begun, ended = self._lines(began)
            if begun.keys() <= ended.keys() or time.monotonic() > deadline:
                return sorted({what for number, what in begun.items() if ended.get(number) == "ok"})
            time.sleep(0.01)

    def _lines(self, began: int) -> tuple[dict[str, str], dict[str, str]]:
        with self._record.open() as record:
            record.seek(began)
            parts = [line.rstrip("\n").split(" ", 2) for line in record if line.endswith("\n")]
        begun = {number: what for kind, number, what in parts if kind == "begin"}
        return begun, {number: how for kind, number, how in parts if kind == "end" and number in begun}

    def _keep(self, name: str, check: Check, outcome: str, calls: Sequence[str]) -> None:
        line = {
            "client": name,
            "version": CLIENTS[name].version,
            "check": check.name,
            "outcome": outcome,
            "calls": list(calls),
            "shown": checks_types.SEEN.get(name) if check.name == "types_out" else None,
            "brought": checks_types.BROUGHT.get(name) if check.name == "types_in" else None,
        }
        with cache(RESULTS) as folder, (folder / RESULTS_FILE).open("a") as results:
            results.write(json.dumps(line) + "\n")

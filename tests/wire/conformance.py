"""Writes ``docs/conformance.md`` and ``docs/types.md`` from what the wire suite saw.

    python -m tests.wire.conformance [--check]

A command or action counts for a client when it reached the server and was answered in a check that passed. Nothing is
stated by hand but what is refused by design, and a test holds the server to that, too. Exit codes: 0 both pages are as
they should be; 1 with ``--check`` when one is not, or when a check of the newest results has failed.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flightmesh.flight.actions import ACTIONS
from flightmesh.flightsql import messages as m

# The checks register themselves.
from tests.wire import checks_metadata, checks_protocol, checks_queries, checks_types, checks_writes
from tests.wire.bench import RESULTS, RESULTS_FILE
from tests.wire.bridge import cache
from tests.wire.checks import CHECKS, OTHERWISE, runs
from tests.wire.clients import CLIENTS, left_out, running

MODULES = (checks_queries, checks_metadata, checks_writes, checks_types, checks_protocol)
DOCS = Path(__file__).parents[2] / "docs"
COMMAND = "python -m tests.wire.conformance"
YES, NONE, NOT_RUN = "yes", "-", "?"

# What the protocol has and this server does not offer, and why.
REFUSED: Mapping[str, str] = {
    "CommandStatementSubstraitPlan": "No Substrait: plans are not read by the gate that holds every statement to its "
    "policies. SqlInfo says so.",
    "CreatePreparedSubstraitPlan": "As above; the action is not on the list of actions.",
    "BeginSavepoint": "No savepoints: transactions hold temporary tables only. SqlInfo says so; the action is not on "
    "the list of actions.",
    "EndSavepoint": "As above.",
    "PollFlightInfo": "pyarrow's server cannot answer it (`UNIMPLEMENTED`); GetFlightInfo returns at once, so there is "
    "nothing to poll for.",
    "DoExchange": "Part of Flight, not of Flight SQL; no driver sends it.",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one check went through one client, and what the server answered meanwhile."""

    client: str
    version: str
    check: str
    outcome: str
    calls: tuple[str, ...]
    shown: Mapping[str, Any] | None
    brought: Mapping[str, Any] | None


class Results:
    """The newest outcome of every client and check that there still is."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._outcomes: dict[tuple[str, str], Outcome] = {}
        for line in lines:
            read = json.loads(line)
            outcome = Outcome(**(read | {"calls": tuple(read["calls"])}))
            is_known = outcome.client in CLIENTS and outcome.check in CHECKS
            if is_known and (outcome.client, outcome.check) not in OTHERWISE:
                self._outcomes[outcome.client, outcome.check] = outcome

    @classmethod
    def kept(cls) -> Results:
        """Those of this checkout."""
        with cache(RESULTS) as folder:
            file = folder / RESULTS_FILE
            return cls(file.read_text(encoding="utf-8").splitlines() if file.exists() else [])

    @property
    def failed(self) -> list[str]:
        """The checks that failed, as pytest names them."""
        return sorted(f"{one.client}-{one.check}" for one in self._outcomes.values() if one.outcome == "failed")

    def ran(self, client: str) -> bool:
        """Whether there is any result of the client."""
        return any(one.client == client for one in self._outcomes.values())

    def version(self, client: str) -> str:
        """The client's version as it ran; empty when it did not say or did not run."""
        return next((one.version for one in self._outcomes.values() if one.client == client and one.version), "")

    def outcome(self, client: str, check: str) -> str:
        """How the check ended; "not run" without a result."""
        found = self._outcomes.get((client, check))
        if found is None:
            return "not run" if runs(client, CLIENTS[client].can, CHECKS[check]) else "no call"
        return found.outcome

    def calls(self, client: str) -> frozenset[str]:
        """Every call that was answered in a check that passed."""
        passed = [one for one in self._outcomes.values() if one.client == client and one.outcome == "passed"]
        return frozenset(call for one in passed for call in one.calls)

    def seen(self, client: str) -> Mapping[str, Any]:
        """What the client showed of each type."""
        found = self._outcomes.get((client, "types_out"))
        return {} if found is None else found.shown or {}


# The rows of the tables ---------------------------------------------------------------------------------------------


def _calls() -> Mapping[str, Callable[[str], bool]]:
    """A row for each call of the protocol: its title, and whether a noted call is one."""
    commands = [kind.__name__ for kind in m.Wrapped.__args__ if kind.__name__.startswith("Command")]
    rows: dict[str, Callable[[str], bool]] = {"Handshake": lambda call: call == "Handshake"}
    for name in commands:
        if name in REFUSED:
            continue
        if name == "CommandPreparedStatementQuery":
            rows[f"`{name}`, bound"] = _is("DoPut", name)
            rows[f"`{name}`, run"] = _is("GetFlightInfo", name)
        else:
            rows[f"`{name}`"] = lambda call, name=name: call.endswith(f" {name}")  # type: ignore[misc]
    rows |= {
        "`TicketStatementQuery`": _is("DoGet", "TicketStatementQuery"),
        "GetSchema": lambda call: call.startswith("GetSchema "),
        "a path in place of a command": lambda call: call.endswith(" Path"),
        "ListFlights": lambda call: call == "ListFlights",
        "ListActions": lambda call: call == "ListActions",
    }
    return rows | {f"action `{name}`": _is("DoAction", name) for name in ACTIONS}


def _is(method: str, name: str) -> Callable[[str], bool]:
    return lambda call: call == f"{method} {name}"


def proven(results: Results, client: str) -> frozenset[str]:
    """The titles of the rows that the client proves."""
    calls = results.calls(client)
    return frozenset(title for title, fits in _calls().items() if any(map(fits, calls)))


# The pages ----------------------------------------------------------------------------------------------------------


def conformance(results: Results) -> str:
    """The page of commands, checks and what is refused."""
    titles = [f"{entry.title} {results.version(name)}".strip() for name, entry in CLIENTS.items()]
    by_client = {name: proven(results, name) for name in CLIENTS}
    calls = [(title, *(_called(results, name, title in by_client[name]) for name in CLIENTS)) for title in _calls()]
    checks = [(check.says, *(_checked(results, name, check.name) for name in CLIENTS)) for check in CHECKS.values()]
    otherwise = [(CLIENTS[client].title, CHECKS[check].says, why) for (client, check), why in OTHERWISE.items()]
    refused = [(f"`{name}`", why) for name, why in REFUSED.items()]
    return (
        _CONFORMANCE
        + _table(("call", *titles), calls)
        + _CHECKS
        + _table(("it holds that", *titles), checks)
        + _OTHERWISE
        + _table(("client", "does not show that", "because"), otherwise)
        + _REFUSED
        + _table(("not offered", "why"), refused)
    )


def _called(results: Results, client: str, is_proven: bool) -> str:
    return YES if is_proven else NONE if results.ran(client) else NOT_RUN


def _checked(results: Results, client: str, check: str) -> str:
    told = {"passed": YES, "failed": "**no**", "no call": NONE, "not run": NOT_RUN}
    return told[results.outcome(client, check)]


def types(_: Results) -> str:
    """The page of types, out and in: of the tables that every client's check has to fit."""
    out = [
        (f"`{kind}`", f"`{made.arrow}`", _example(made), "; ".join(_exceptions(kind)))
        for kind, made in checks_types.OUT.items()
    ]
    within = [(f"`{kind}`", f"`{arrow}`", f"`{_value(shown)}`") for kind, _, arrow, shown in checks_types.WITHIN]
    brought = [(f"`{kind}`", f"`{sql}`", f"`{text}`") for kind, _, sql, text in checks_types.IN]
    rare = [(f"`{values.type}`", f"`{sql}`", f"`{texts[0] or 'NULL'}`") for values, sql, texts in checks_types.RARE]
    head = ("DuckDB", "Arrow on the wire", "an example", "shown so by all clients, except")
    return (
        _TYPES
        + _table(head, out)
        + _TYPES_WITHIN
        + _table(("DuckDB", "Arrow on the wire", "an example"), within)
        + _TYPES_IN
        + _table(("Arrow", "DuckDB", "an example"), brought)
        + _TYPES_RARE
        + _table(("Arrow", "DuckDB", "an example"), rare)
    )


def _example(made: checks_types.Out) -> str:
    return f"refused: {made.refused}" if made.refused else f"`{_value(made.faithful)}`"


def _exceptions(kind: str) -> Iterator[str]:
    for (client, of_kind), deviation in checks_types.DEVIATIONS.items():
        if of_kind != kind:
            continue
        shows = "nothing" if deviation.refuses else f"`{_value(deviation.shows)}`"
        yield f"{CLIENTS[client].title}: {shows} ({deviation.why})"


def _value(value: Any) -> str:  # Any: see client.py
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


PAGES: Mapping[str, Callable[[Results], str]] = {"conformance.md": conformance, "types.md": types}


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or check them; the exit code."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Writes docs/conformance.md and docs/types.md.")
    parser.add_argument("--check", action="store_true", help="only say which pages are stale and which checks failed")
    is_check = parser.parse_args(arguments).check
    results = Results.kept()
    problems = [f"{name} failed" for name in results.failed]
    problems += [f"{name} did not run" for name in running() if is_check and not results.ran(name)]
    for name, make in PAGES.items():
        page = make(results).rstrip("\n") + "\n"
        published = (DOCS / name).read_text(encoding="utf-8") if (DOCS / name).is_file() else ""
        if published == page:
            continue
        if is_check:
            if compared(published) == compared(page):
                continue
            problems.append(f"docs/{name} is stale: run `{COMMAND}`")
        else:
            (DOCS / name).write_text(page, encoding="utf-8")
            print(f"docs/{name} written")
    print("\n".join(problems), end="\n" if problems else "")
    return 1 if is_check and problems else 0


_CELLS = re.compile(r"(?<!\\)\|")
_VERSION = re.compile(r" \d+\.\d+(?= $)")


def compared(page: str) -> str:
    """What ``--check`` compares of a page: without the columns of clients that this run leaves out, and without
    versions, which move on by themselves where a client comes from a distribution.
    """
    lines, dropped, is_within = [], frozenset[str](), False
    absent = {CLIENTS[name].title for name in left_out()}
    columns: list[str] = []
    for line in page.splitlines():
        cells = _CELLS.split(line) if line.startswith("| ") else [line]
        if len(cells) > 1 and not is_within:
            cells = columns = [_VERSION.sub("", cell) for cell in cells]
            dropped = frozenset(cell for cell in columns if cell.strip() in absent)
        is_within = len(cells) > 1
        if is_within:
            cells = [cell for cell, column in zip(cells, columns, strict=True) if column not in dropped]
        lines.append("|".join(cells))
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


_GENERATED = f"Generated by `{COMMAND}` from the results of `tests/wire`; do not edit.\n"
_CONFORMANCE = f"""# Conformance

{_GENERATED}
One set of assertions runs through every [client](clients/index.md), against a server that notes what reaches it.
"{YES}": the server noted the call from this client and answered it, in a check that passed. "{NONE}": in none of the
checks that passed was such a call of this client's noted and answered; mostly its API has none. "{NOT_RUN}": the client
did not run. Versions are those that ran. What a client shows of each type: [types](types.md).

## Calls

"""
_CHECKS = f"""
## Checks

"{YES}": the check ran through this client and passed. "**no**": it failed. "{NONE}": it was not run, since it needs
what the client's API has no call for, or since the client does otherwise ([below](#what-clients-do-otherwise)).

"""
_OTHERWISE = """
## What clients do otherwise

"""
_REFUSED = """
## Refused by design

"""
_TYPES = f"""# Types

{_GENERATED}
Every value below is read through every [client](clients/index.md) of the suite. They show it as the example says, in
whatever way their language writes it, except where the last column says otherwise: a client that comes to show anything
else fails its check. Superset shows [texts](clients/superset.md).

## Out

What Arrow has no type for travels as text. Clients in Java get unsigned integers as the next wider signed type
(`uint64` as `decimal128(20, 0)`), by the option [`java_types`](reference/options.md); with `dictionaries`, ENUM travels
as a dictionary.

"""
_TYPES_WITHIN = """
### Within lists, structs and maps

A list, struct or map that holds one of the types that travel as text is text as a whole. To keep the structure, cast
what is inside: `list_transform(l, lambda x: x::VARCHAR)`.

"""
_TYPES_IN = """
## In

What rows of Arrow's types become in a temporary table, brought by pyarrow.flight, ADBC in Python and our own client.
NULL stays NULL.

"""
_TYPES_RARE = """
What few libraries make was brought by `pyarrow.flight` alone. A union becomes a struct of its members; decimals of more
than 38 digits are refused.

"""

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

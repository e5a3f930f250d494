"""``queries``: what runs at a server, and how one of them is stopped, for people and for scripts."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from flightmesh.client import RunningQuery, connect
from flightmesh.errors import FlightmeshError

from .conftest import Done

if TYPE_CHECKING:
    from tests.conftest import ServedBy

CommandLine = Callable[..., Done]
ENDLESS = "SELECT sum(a.range * b.range) AS s\n  FROM range(10000000000) a, range(10000000000) b"


@contextmanager
def endless(server: ServedBy, user: str | None = "analyst") -> Iterator[tuple[RunningQuery, list[FlightmeshError]]]:
    """A query of the user's that runs until it is stopped, and why it ended."""
    ended: list[FlightmeshError] = []

    def run() -> None:
        with connect(server.uri, None if user is None else server.tokens[user]) as client:
            try:
                client.sql(ENDLESS).arrow()
            except FlightmeshError as error:
                ended.append(error)

    with connect(server.uri, server.tokens[user or "steward"]) as asking:
        before = {query.id for query in asking.queries()}
        thread = threading.Thread(target=run)
        thread.start()
        until = time.monotonic() + 30
        while not (found := [query for query in asking.queries() if query.id not in before]):
            assert time.monotonic() < until
            time.sleep(0.02)
        try:
            yield found[0], ended
        finally:
            for query in asking.queries():
                asking.kill(query.id)
            thread.join(30)


def test_people_see_what_runs(flightmesh: CommandLine, server: ServedBy) -> None:
    """One line per query, whatever line breaks its text has; whose it is, since when, and its id to copy."""
    with endless(server) as (query, _):
        done = flightmesh("queries", "--uri", server.uri, "--token", server.tokens["analyst"])
        assert done.code == 0
        (line,) = done.out.splitlines()
        assert line.split()[:3] == [query.id, query.started_at, "analyst"]
        assert "SELECT sum(a.range * b.range) AS s FROM range" in line


def test_nothing_runs(flightmesh: CommandLine, server: ServedBy) -> None:
    """People are told so; scripts get no line."""
    arguments = ("--uri", server.uri, "--token", server.tokens["nobody"])
    assert flightmesh("queries", *arguments).out == "No query is running that this caller may stop.\n"
    assert flightmesh("queries", "--json", *arguments).out == ""


def test_scripts_get_a_document_to_a_line(flightmesh: CommandLine, server: ServedBy) -> None:
    """The text whole, with its line breaks."""
    with endless(server) as (query, _):
        done = flightmesh("queries", "--json", "--uri", server.uri, "--token", server.tokens["analyst"])
        found = json.loads(done.out)
        assert found == {"id": query.id, "user": "analyst", "sql": ENDLESS, "started_at": query.started_at}


def test_a_query_is_stopped(flightmesh: CommandLine, server: ServedBy) -> None:
    """Its reader is told why; a second try finds nothing."""
    with endless(server) as (query, ended):
        arguments = ("--kill", query.id, "--uri", server.uri, "--token", server.tokens["analyst"])
        done = flightmesh("queries", *arguments)
        assert (done.code, done.out) == (0, f"Stopped {query.id}.\n")
        until = time.monotonic() + 10
        while not ended and time.monotonic() < until:
            time.sleep(0.02)
        assert "stopped by an administrator or by its own user" in str(ended[0])
        again = flightmesh("queries", *arguments)
        assert again.code != 0
        assert "There is no such running query" in again.err


@pytest.mark.parametrize("user", ["site", None])
def test_others_queries_cannot_be_stopped(flightmesh: CommandLine, server: ServedBy, user: str | None) -> None:
    """Neither seen nor stopped by another user, or by nobody."""
    token = () if user is None else ("--token", server.tokens[user])
    with endless(server) as (query, ended):
        assert query.id not in flightmesh("queries", "--json", "--uri", server.uri, *token).out
        done = flightmesh("queries", "--kill", query.id, "--uri", server.uri, *token)
        assert done.code != 0
        assert "There is no such running query" in done.err
        assert ended == []

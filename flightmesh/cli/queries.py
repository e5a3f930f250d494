"""``queries``: what runs at a server now, and how one of them is stopped."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from flightmesh.cli.connection import DEFAULT_URI, Timeout, TlsRoots, Token, Uri, User, open_client
from flightmesh.cli.terminal import printable

EXAMPLES = """\b
Examples:
  flightmesh queries --token "$TOKEN"
  flightmesh queries --json --token "$TOKEN"
  flightmesh queries --kill 3vKq0aXn41Zd --token "$TOKEN"
"""
_SHOWN_CHARACTERS_MAX = 100


def queries(
    uri: Uri = DEFAULT_URI,
    token: Token = None,
    user: User = None,
    tls_roots: TlsRoots = None,
    kill: Annotated[str | None, typer.Option(metavar="ID", help="Stop this query.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document to a line.")] = False,
    timeout: Timeout = None,
) -> None:
    """List the running queries that the caller may stop, or stop one: one's own, or anybody's with an admin role."""
    with open_client(uri, token, user=user, tls_roots=tls_roots, timeout_s=timeout) as client:
        if kill is not None:
            client.kill(kill)
            print(json.dumps({"id": kill, "status": "stopped"}) if as_json else printable(f"Stopped {kill}."))
            return
        found = client.queries()
    for query in found:
        if as_json:
            print(json.dumps(asdict(query), ensure_ascii=False))
        else:
            text = " ".join(query.sql.split())
            shown = text if len(text) <= _SHOWN_CHARACTERS_MAX else text[: _SHOWN_CHARACTERS_MAX - 3] + "..."
            print(printable(f"{query.id}  {query.started_at}  {query.user}  {shown}"))
    if not found and not as_json:
        print("No query is running that this caller may stop.")

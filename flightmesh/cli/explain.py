"""``explain``: how a server would answer a statement."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flightmesh.cli.connection import DEFAULT_URI, Timeout, TlsRoots, Token, Uri, User, open_client
from flightmesh.cli.terminal import printable

if TYPE_CHECKING:
    from flightmesh.client import Explanation, SourceRead

EXAMPLES = """\b
Examples:
  flightmesh explain 'SELECT carrier, count(*) FROM aviation.flights.flights GROUP BY 1'
  flightmesh explain --json 'FROM clinical.trials.arms WHERE arm = 2'
  flightmesh explain - --token "$TOKEN" < report.sql
"""


def explain(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="A SELECT; - reads it from standard input.")],
    uri: Uri = DEFAULT_URI,
    token: Token = None,
    user: User = None,
    tls_roots: TlsRoots = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    timeout: Timeout = None,
) -> None:
    """Say how a SELECT would be answered: engine, sources, what they are asked, policy. Nothing is read.

    It is told from the caller's own view. What a source is asked is not shown where a policy is part of it.
    """
    text = sys.stdin.read() if sql == "-" else sql
    with open_client(uri, token, user=user, tls_roots=tls_roots, timeout_s=timeout) as client:
        found = client.sql(text).explain()
    if as_json:
        print(json.dumps(asdict(found), ensure_ascii=False))
    else:
        print("\n".join(map(printable, _lines(found))))


def _lines(found: Explanation) -> Iterator[str]:
    yield f"engine    {found.engine}" + (" (the whole statement is its source's)" if found.pushed_whole else "")
    if found.reason is not None:
        yield f"          not pushed whole: {found.reason}"
    yield f"plan      {'kept from before' if found.is_plan_cached else 'made now'}"
    for relation in found.relations:
        age = "read when it is queried" if relation.is_live else f"rows read at {relation.read_at}"
        yield f"reads     {relation.table}: {age}, version {relation.snapshot[:12]}"
        if relation.stale is not None:
            yield f"          stale: {relation.stale}"
        for sentence in relation.policy:
            yield f"          policy: {sentence}"
        for dataset in relation.upstream:
            yield f"          from {dataset.namespace} {dataset.name}"
    for source in found.sources:
        yield from _source(source)


def _source(source: SourceRead) -> Iterator[str]:
    yield f"source    {source.table} ({source.kind})"
    for number, line in enumerate(source.pushed.splitlines() or [""]):
        yield f"          {'asked: ' if number == 0 else '       '}{line}"
    for reason in source.left:
        yield f"          left to the engine: {reason}"
    if source.pruned is not None:
        yield f"          not read: {source.pruned}"

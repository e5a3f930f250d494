"""Statements in the dialect of the one database that they read, or the reason why they stay here.

A statement of DuckDB's dialect is pushed as a whole only when every node, function, operator and type of it is on the
list of its dialect: what is not proven equal is NotPushed. Nothing is executed here, and no text of the statement's
author is copied: names are ours, literals are rendered from the tree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flightmesh.sql import peers, postgres
from flightmesh.sql.ast import Tree, parse
from flightmesh.sql.pushable import NotPushed, RemoteTable

__all__ = ["DIALECTS", "NotPushed", "RemoteTable", "transpile"]

_BYTES_MAX = 1_000_000
_DEPTH_MAX = 1_000


def transpile(sql: str, tables: Sequence[RemoteTable], *, dialect: str, result: Sequence[tuple[str, str]]) -> str:
    """The statement in the database's dialect, with result columns named c0, c1 and so on.

    ``sql`` is one SELECT that DuckDB has bound; ``result`` has the names and DuckDB types that it returns. NotPushed
    with the reason when the database's answer is not proven to be DuckDB's own.
    """
    write = DIALECTS.get(dialect)
    if write is None:
        raise NotPushed(f"whole statements are not pushed to {dialect}")
    tree = parse(sql, bytes_max=_BYTES_MAX, depth_max=_DEPTH_MAX)
    try:
        text = write(tree, tables, result)
    except RecursionError:
        raise NotPushed("the statement nests too deeply") from None
    if len(text) > _BYTES_MAX:
        raise NotPushed("the statement becomes too long")
    return text


def _postgres(tree: Tree, tables: Sequence[RemoteTable], result: Sequence[tuple[str, str]]) -> str:
    return postgres.render(tree.root, tables, [text for _, text in result])


DIALECTS: Mapping[str, Callable[[Tree, Sequence[RemoteTable], Sequence[tuple[str, str]]], str]] = {
    "postgres": _postgres,
    "duckdb": peers.render,
}

"""Statements that are no SELECT, as values: what a session may be asked to do. Nothing is executed here.

What a command reads or writes is given as the text of a SELECT made of the author's own pieces. Security does not rest
on how the pieces were cut: every such text goes through the gate as any other, under the caller's rights.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from flightmesh.names import fold, is_plain, quote
from flightmesh.sql import ast, writes
from flightmesh.sql.words import Words
from flightmesh.sql.writes import (
    ALLOWED,
    QUERIES,
    WRITES,
    CreateTable,
    Delete,
    Insert,
    Update,
    expressions,
    none_left,
    refusal,
)

__all__ = [
    "ALLOWED",
    "Command",
    "Control",
    "CreateTable",
    "Delete",
    "Drop",
    "Explain",
    "Insert",
    "OptionValue",
    "SetOption",
    "Update",
    "Use",
    "command",
    "is_query",
    "name_path",
]

OptionValue = str | int | float | bool

_UTC = frozenset({"utc", "etc/utc", "gmt", "etc/gmt"})
# The first word after spaces, line comments and opening brackets. Block comments nest, which is the tokeniser's work.
_BEGINNING = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|[(\[;])*+([A-Za-z_]\w*)")
# What is longer is not looked into: the tokeniser is linear, but this comes before any cap of the caller's.
_LOOKED_INTO_MAX = 200_000


@dataclass(frozen=True, slots=True)
class Use:
    """USE: the path of the catalogue, or catalogue and schema, as written."""

    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetOption:
    """SET and RESET: the option in the case in which names are compared, and its value (None: the default).

    ``schema`` and ``search_path`` hold a dotted path (``name_path`` reads it); ``timezone`` is never but UTC.
    """

    name: str
    value: OptionValue | None


@dataclass(frozen=True, slots=True)
class Control:
    """The beginning or the end of a transaction."""

    kind: Literal["begin", "commit", "rollback"]


@dataclass(frozen=True, slots=True)
class Drop:
    """DROP TABLE."""

    table: tuple[str, ...]
    if_exists: bool


@dataclass(frozen=True, slots=True)
class Explain:
    """EXPLAIN of a query; ANALYZE also runs it."""

    select: str
    is_analyze: bool


Command = Use | SetOption | Control | CreateTable | Insert | Delete | Update | Drop | Explain


def is_query(text: str) -> bool:
    """Whether the text begins as a query does; nothing else is said of it. What cannot be read is left to the query
    path, which refuses it in its own words.
    """
    begun = _BEGINNING.match(text)
    if begun is not None and fold(begun[1]) != "with":
        return fold(begun[1]) in QUERIES
    if len(text) > _LOOKED_INTO_MAX or not ast.is_utf8(text):
        return True
    found = [token for token in ast.tokens(text) if token.text != ";"]
    first = next((token.word for token in found if token.text not in ("(", "[")), "")
    return first in QUERIES and not (first == "with" and _main_verb(found) in WRITES)


def command(text: str, *, bytes_max: int, depth_max: int) -> Command:
    """The one command of the text.

    Errors: INVALID, with what is allowed, for text over the caps, for several statements, for what does not parse and
    for every command or part of one that is not offered.
    """
    kind, read = ast.only_statement(text, bytes_max=bytes_max, depth_max=depth_max, hint=ALLOWED)
    words = Words(read)
    if kind == "SELECT":
        raise refusal("This is a query, which is no command")
    make = _COMMANDS.get(kind)
    if make is None:
        raise refusal(f"{words.word().upper() or kind.replace('_', ' ')} is not allowed")
    return make(words)


def name_path(text: str) -> tuple[str, ...]:
    """The parts of a dotted name, quoted or not; INVALID when the text is none."""
    words = Words(text) if ast.is_utf8(text) and len(text) <= _LOOKED_INTO_MAX else None
    path = ("",) if words is None else words.path()
    if words is None or words.at != words.end or "" in path:
        raise refusal(f"{text[:100]!r} is not a name")
    return path


def _main_verb(found: Sequence[ast.Token]) -> str:
    """The word after a WITH's list: SELECT, INSERT and so on; empty when there is none."""
    depth = 0
    for token, after in itertools.pairwise(found):
        depth += (token.text == "(") - (token.text == ")")
        # After the brackets of columns or keys comes AS or USING, after those of a query a comma or the verb.
        if token.text == ")" and depth == 0 and after.text != "," and after.word not in ("as", "using"):
            return after.word
    return ""


def _set(words: Words) -> Command:
    if words.take("use"):
        shown = words.sign()
        is_text = shown.startswith("'")
        words.at += is_text
        path = name_path(str(_value(shown))) if is_text else words.path()
        none_left(words)
        return Use(path)
    is_reset = words.take("reset")
    if not is_reset:
        words.take("set")
    if words.take("time", "zone"):
        return _option("timezone", _value(words.rest()))
    if words.word() in ("global", "local", "variable") and words.sign(1) not in ("=", ""):
        raise refusal(f"{'RESET' if is_reset else 'SET'} {words.word().upper()} is not allowed")
    if words.sign(1) not in ("=", ""):
        words.take("session")
    option = fold(words.name())
    if is_reset:
        none_left(words)
        return SetOption(option, None)
    if not words.take_sign("="):
        words.take("to")
    return _option(option, _value(words.rest()))


def _option(option: str, value: OptionValue | None) -> SetOption:
    if option == "timezone" and value is not None and fold(str(value)) not in _UTC:
        raise refusal("The time zone is UTC and cannot be changed")
    return SetOption(option, "UTC" if option == "timezone" and value is not None else value)


def _value(text: str) -> OptionValue | None:
    """The value of an option; None for DEFAULT. INVALID for what is no plain value."""
    [node] = expressions([text])
    literal = node.get("literal", {})
    match node.get("class"), literal.get("kind"):
        case "CONSTANT", "STRING":
            return str(literal.get("text", ""))
        case "CONSTANT", "BOOLEAN":
            return str(literal["text"]) == "true"
        case "CONSTANT", "INTEGER":
            return int(literal["text"])
        case "CONSTANT", "NUMERIC":
            return float(literal["text"])
        case "COLUMN_REF", _:
            return ".".join(part if is_plain(part) else quote(part) for part in node["column_names"])
        case "DEFAULT", _:
            return None
    raise refusal("An option takes one plain value: a text, a number, TRUE, FALSE or a name")


def _control(words: Words) -> Command:
    kinds: dict[str, Literal["begin", "commit", "rollback"]] = {
        "begin": "begin",
        "start": "begin",
        "commit": "commit",
        "end": "commit",
        "rollback": "rollback",
        "abort": "rollback",
    }
    return Control(kinds[words.word()])


def _drop(words: Words) -> Command:
    if not words.take("drop", "table"):
        raise refusal(f"{words.word().upper()} {words.word(1).upper()}".rstrip() + " is not allowed")
    if_exists = words.take("if", "exists")
    table = words.path()
    if not (words.take("cascade") or words.take("restrict")):
        none_left(words)
    return Drop(table, if_exists)


def _explain(words: Words) -> Command:
    words.take("explain")
    is_analyze = words.take("analyze")
    if words.sign() == "(" and words.word(1) in ("analyze", "format", "verbose", "costs", "buffers"):
        behind = words.closing(words.at) + 1
        options = [words.piece(*part).lower() for part in words.parts(words.at + 1, behind - 1)]
        if not set(options) <= {"analyze", "analyze true", "format text"}:
            raise refusal("EXPLAIN takes no option but ANALYZE")
        is_analyze = is_analyze or "analyze" in options or "analyze true" in options
        words.at = behind
    select = words.rest()
    if not is_query(select):
        raise refusal(f"EXPLAIN {words.word().upper()} is not allowed")
    return Explain(select, is_analyze)


_COMMANDS: Mapping[str, Callable[[Words], Command]] = {
    "SET": _set,
    "TRANSACTION": _control,
    "CREATE": writes.create,
    "INSERT": writes.insert,
    "DELETE": writes.delete,
    "UPDATE": writes.update,
    "DROP": _drop,
    "EXPLAIN": _explain,
}

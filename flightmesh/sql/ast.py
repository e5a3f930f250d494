"""SQL text to a syntax tree, by DuckDB's own parser behind caps.

The parser runs in a private, empty, locked-down database. Nothing is bound or executed here; a tree is plain data.
Positions are byte offsets into the UTF-8 text, as DuckDB counts them.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import msgspec

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import fold

_SERIALISE = "SELECT json_serialize_sql($1, skip_null := true, skip_empty := true, skip_default := true)"
_ONLY_SELECT = "One SELECT statement (with CTEs, set operations, VALUES) is allowed; everything else is refused."
# DuckDB's names of statement types where they differ from what the user wrote.
_KINDS = {"MULTI": "A statement that expands to several (PIVOT without IN, for example)", "INVALID": "This statement"}
_OPENING = frozenset("([{")
_CLOSING = frozenset(")]}")

# Signs of which a chain nests the parser without a bracket: 36,000 of "@ " end the process (DuckDB 2.0).
_SIGNS = frozenset("!@~-+*/%<>=&|^?#$:.")

# A pool and not a connection per thread: the threads of gRPC lose what is local to them after every call.
_PARSERS_KEPT_MAX = 8
_parsers: queue.LifoQueue[duckdb.DuckDBPyConnection] = queue.LifoQueue(_PARSERS_KEPT_MAX)


@dataclass(frozen=True, slots=True)
class Tree:
    """One parsed SELECT: its text, to which all positions refer, and DuckDB's serialised statement.

    The text is the author's unless that holds spaces of Unicode (see ``_as_read``).
    """

    text: str
    root: Mapping[str, Any]  # Any: the parser's own JSON, walked by type tags


def parse(text: str, *, bytes_max: int, depth_max: int) -> Tree:
    """The tree of exactly one SELECT statement.

    Errors: INVALID for text over the caps, for anything but one SELECT, and for what does not parse (with line and
    column).
    """
    check_caps(text, bytes_max=bytes_max, depth_max=depth_max)
    read = _as_read(text, _single_select(text))
    try:
        answer = msgspec.json.decode(_serialise(read))
    except RecursionError:
        answer = {"error": True}
    if answer["error"]:
        raise FlightmeshError(ErrorCode.INVALID, "The statement cannot be analysed.", hint=_ONLY_SELECT)
    return Tree(read, answer["statements"][0])


def only_statement(text: str, *, bytes_max: int, depth_max: int, hint: str) -> tuple[str, str]:
    """The type of the one statement of the text, in DuckDB's word, and the statement as DuckDB has read it.

    Errors: INVALID for text over the caps, for none or several statements (with the hint), and for what does not parse.
    """
    check_caps(text, bytes_max=bytes_max, depth_max=depth_max)
    found = _extract(text)
    if len(found) != 1:
        raise _not_one_select(found, hint)
    read = str(found[0].query)
    if not read.isascii() and [str(again.query) for again in _extract(read)] != [read]:
        raise _spaces()
    return found[0].type.name, read


@dataclass(frozen=True, slots=True)
class Token:
    """A word, sign, number or string of a text, at these byte offsets.

    ``word`` is a bare word in the case in which names are compared; it is empty for all else, quoted names included.
    """

    text: str
    start: int
    end: int
    word: str


def tokens(text: str) -> list[Token]:
    """The tokens of a text in order, without comments. The tokeniser is the parser's own and linear."""
    data, found = text.encode(), duckdb.tokenize(text)
    ends = [*(offset for offset, _ in found), len(data)][1:]
    read = []
    for (start, kind), until in zip(found, ends, strict=True):
        if kind != duckdb.token_type.comment:
            piece = data[start:until].rstrip()
            shown = piece.decode()
            is_word = kind in (duckdb.token_type.keyword, duckdb.token_type.identifier) and not shown.startswith('"')
            read.append(Token(shown, start, start + len(piece), fold(shown) if is_word else ""))
    return read


def write(root: Mapping[str, Any]) -> str:
    """DuckDB's own text of one serialised statement; INTERNAL when the tree is none."""
    answer = msgspec.json.encode({"error": False, "statements": [root]}).decode()
    try:
        with _parser() as parser:
            rows = parser.execute("SELECT json_deserialize_sql($1::JSON)", [answer]).fetchall()
    except duckdb.Error as error:
        raise FlightmeshError(ErrorCode.INTERNAL, "A rewritten statement cannot be written.") from error
    return str(rows[0][0])


def place(text: str, byte_offset: int) -> tuple[int, int]:
    """Line and column (both from 1, columns in characters) of a byte offset."""
    before = text.encode()[:byte_offset].decode(errors="ignore")
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def check_caps(text: str, *, bytes_max: int, depth_max: int) -> None:
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > bytes_max:
        raise FlightmeshError(
            ErrorCode.INVALID,
            f"The statement has {size} bytes; {bytes_max} are allowed.",
            hint="Bind data as parameters.",
        )
    if "\0" in text or not is_utf8(text):
        raise FlightmeshError(ErrorCode.INVALID, "The statement holds a character that SQL text cannot hold.")
    # Fewer signs than the cap cannot nest deeper than it; only then is the cost of a tokeniser worth paying.
    if sum(map(text.count, _OPENING | _SIGNS)) > depth_max and _depth(text) > depth_max:
        raise FlightmeshError(
            ErrorCode.INVALID, f"The statement nests more than {depth_max} brackets or signs.", hint="Flatten it."
        )


def is_utf8(text: str) -> bool:
    """Whether the text has a UTF-8 form: lone surrogates have none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _depth(text: str) -> int:
    """The deepest nesting of brackets, or longest chain of signs, outside strings and comments.

    The tokeniser is the parser's own and linear.
    """
    data, deepest, depth, chain = text.encode(), 0, 0, 0
    for offset, kind in duckdb.tokenize(text):
        character = chr(data[offset])
        if character in _OPENING:
            depth += 1
        elif character in _CLOSING:
            depth -= 1
        if kind == duckdb.token_type.operator and character in _SIGNS:
            chain += 1
        elif kind != duckdb.token_type.comment:
            chain = 0
        deepest = max(deepest, depth, chain)
    return deepest


def _as_read(text: str, query: str) -> str:
    """The text that DuckDB's offsets refer to: it reads spaces of Unicode as plain ones, which are shorter, and counts
    after that. An offset into the wrong text would put a parameter's type into the middle of a string.
    """
    if text.isascii() or (text.endswith(query) and text[: len(text) - len(query)].isascii()):
        return text
    if query.isascii() or _single_select(query) == query:
        return query
    raise _spaces()


def _spaces() -> FlightmeshError:
    return FlightmeshError(
        ErrorCode.INVALID, "The statement holds spaces that are not plain spaces.", hint="Write plain spaces."
    )


def _single_select(text: str) -> str:
    """The one SELECT of the text as DuckDB has read it; INVALID when there is anything else."""
    statements = _extract(text)
    if len(statements) == 1 and statements[0].type == duckdb.StatementType.SELECT:
        return str(statements[0].query)
    raise _not_one_select(statements, _ONLY_SELECT)


def _extract(text: str) -> list[duckdb.Statement]:
    """The statements of the text; INVALID when it does not parse."""
    try:
        with _parser() as parser:
            return list(parser.extract_statements(text))
    except duckdb.Error as error:
        refusal = _syntax_error(text, str(error))
    raise refusal


def _not_one_select(statements: list[duckdb.Statement], hint: str) -> FlightmeshError:
    if not statements:
        fact = "The statement is empty."
    elif len(statements) > 1:
        fact = "The text holds several statements, or one that expands to several."
    else:
        name = statements[0].type.name
        fact = f"{_KINDS.get(name, name.replace('_', ' '))} is not allowed."
    return FlightmeshError(ErrorCode.INVALID, fact, hint=hint)


def _syntax_error(text: str, message: str) -> FlightmeshError:
    """A syntax error in our words. The parser quotes the user's own statement, of which we keep one token."""
    if "Mixing named and positional" in message:
        return FlightmeshError(
            ErrorCode.INVALID, "The statement mixes ? and $name parameters.", hint="Use one kind of parameter."
        )
    first = message.partition("\n")[0].removeprefix("Parser Error: ")
    where = ""
    caret = _caret(message)
    if caret is not None:
        where = f" (line {caret[0]}, column {caret[1]})"
    fact = first[:200] if first.startswith("syntax error") else "syntax error"
    return FlightmeshError(ErrorCode.INVALID, f"The statement does not parse: {fact}{where}.")


def _caret(message: str) -> tuple[int, int] | None:
    """Line and column that the parser's picture of the error points to, or None."""
    lines = message.split("\n")
    for index, line in enumerate(lines):
        if line.startswith("LINE ") and ":" in line and index + 1 < len(lines):
            number = line[5 : line.index(":")]
            column = lines[index + 1].find("^") - len(f"LINE {number}: ")
            if number.isdigit() and column >= 0 and not line.partition(": ")[2].startswith("..."):
                return int(number), column + 1
    return None


def _serialise(text: str) -> str:
    with _parser() as parser:
        rows = parser.execute(_SERIALISE, [text]).fetchall()
    return str(rows[0][0])


@contextmanager
def _parser() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to an empty, locked database, for this block alone."""
    try:
        connection = _parsers.get_nowait()
    except queue.Empty:
        connection = duckdb.connect(":memory:", config={"threads": 1})
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
    try:
        yield connection
    finally:
        try:
            _parsers.put_nowait(connection)
        except queue.Full:
            connection.close()

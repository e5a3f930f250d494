"""DuckDB's error texts in our words.

Binding errors come from the twin, where every name is public, so their first sentence may be passed on. Errors at run
time come from the engine that holds the data: of those only the kind is passed on, because their texts quote values
and inner names.
"""

from __future__ import annotations

import re

from flightmesh.errors import ErrorCode, FlightmeshError

_FACT_CHARACTERS_MAX = 300
_CANDIDATES = re.compile(r'(?:Candidate bindings: ?:?|Did you mean) "([^"]+)"')
_CONVERSION = re.compile(
    r"(?:Could not (?:convert|cast)\b.*\bto|for the destination type) ([A-Z][A-Z0-9_]*(?:\([0-9, ]+\))?)"
)

# Kind of a run-time error, as DuckDB's texts begin, to code, fact and hint.
_RUNTIME: tuple[tuple[str, ErrorCode, str, str | None], ...] = (
    ("INTERRUPT", ErrorCode.CANCELLED, "The query was stopped.", None),
    ("Conversion Error", ErrorCode.INVALID, "A value could not be converted.", "TRY_CAST gives NULL instead."),
    (
        "Out of Range Error",
        ErrorCode.INVALID,
        "A value is out of the range of its type.",
        "Cast to a wider type first.",
    ),
    (
        "Out of Memory Error",
        ErrorCode.EXHAUSTED,
        "The query needs more memory than the server grants.",
        "Filter or aggregate earlier, or ask the operator for a higher memory_limit.",
    ),
    (
        "Invalid Input Error",
        ErrorCode.INVALID,
        "The query failed on one of its values.",
        "Check divisors and arguments; TRY(...) gives NULL.",
    ),
    ("Not implemented Error", ErrorCode.UNSUPPORTED, "The engine does not offer this operation.", None),
)


def binding_error(sql: str, message: str) -> FlightmeshError:
    """A statement that does not bind: DuckDB's first sentence, the place in the user's text, the nearest name."""
    head, _, rest = message.partition("\n")
    kind, _, fact = head.partition(": ")
    if not fact:
        kind, fact = "", head
    candidate = _CANDIDATES.search(rest)
    place = caret(sql, message)
    where = "" if place is None else f" (line {place[0]}, column {place[1]})"
    fact = _first_sentence(fact).rstrip("!. ")
    code = ErrorCode.NOT_FOUND if kind == "Catalog Error" else ErrorCode.INVALID
    hint = f"Did you mean {candidate.group(1)}?" if candidate and kind != "Catalog Error" else None
    return FlightmeshError(code, f"{fact}{where}.", hint=hint)


def runtime_error(message: str) -> FlightmeshError:
    """A statement that failed while it ran: its kind only. INTERNAL when the kind is not on the list."""
    conversion = _CONVERSION.search(message.partition("\n")[0])
    for kind, code, fact, hint in _RUNTIME:
        if message.startswith(kind):
            if conversion and code is ErrorCode.INVALID:
                fact = f"A value could not be converted to {conversion.group(1)}."
                hint = "TRY_CAST gives NULL instead."
            return FlightmeshError(code, fact, hint=hint)
    return FlightmeshError(ErrorCode.INTERNAL, "The engine failed.", hint="The server's log has the details.")


def caret(sql: str, message: str) -> tuple[int, int] | None:
    """Line and column (from 1) that DuckDB's picture of the error points to; None when there is no picture."""
    lines = message.split("\n")
    for index, line in enumerate(lines[:-1]):
        label = re.match(r"LINE (\d+): ", line)
        mark = lines[index + 1].find("^")
        if label is None or mark < 0:
            continue
        number, column = int(label.group(1)), mark - label.end()
        shown = line[label.end() :]
        if shown.startswith("..."):  # A long line is shown in part: find the part in the whole.
            whole = sql.split("\n")[number - 1] if number <= len(sql.split("\n")) else ""
            start = whole.find(shown.removeprefix("...").removesuffix("..."))
            if start < 0:
                return None
            column += start - len("...")
        return (number, column + 1) if column >= 0 else None
    return None


def _first_sentence(text: str) -> str:
    """The first sentence, at most 300 characters: what follows is advice on settings and overloads that does not
    apply here.
    """
    sentence = re.split(r"(?<=[a-z)'\"])[.!] ", text, maxsplit=1)[0]
    return sentence[:_FACT_CHARACTERS_MAX]

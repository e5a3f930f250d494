"""What a client may set for its session: one table of options, and reading, setting and showing them.

Values come as session options, as ``SET name = value`` and as headers of one call, often as text where a number is
meant. Whether a catalogue or schema exists is asked of whoever knows what the caller may see; this room does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flightsql.enums import SessionOptionErrorValue
from flightmesh.flightsql.messages import SessionValue
from flightmesh.names import did_you_mean
from flightmesh.service.sessions import OptionValue, Session, Sessions

HEADER_PREFIX = "x-flightmesh-"
ENDPOINTS_MAX = 64
BATCH_BYTES_MIN = 65_536
NEW_TABLES = ("refused", "temporary")
PUT_MODES = ("create", "append", "replace", "create_append")

Reader: TypeAlias = Callable[[SessionValue, Limits], OptionValue | None]
# Catalogue and schema, each None when not set; raises NOT_FOUND when the caller sees none of that name.
Exists: TypeAlias = Callable[[str | None, str | None], None]

_WORDS: Mapping[str, bool] = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}
_SHOWN_CHARACTERS_MAX = 60


@dataclass(frozen=True, slots=True)
class Options:
    """What holds for one call. ``query_timeout_s`` and ``batch_bytes_max``: None for the server's own limit."""

    catalog: str | None = None
    schema: str | None = None
    query_timeout_s: float | None = None
    batch_bytes_max: int | None = None
    dictionaries: bool = False
    endpoints_max: int = 1
    put_mode: str = "replace"
    java_types: bool = False
    new_tables: str = "refused"


@dataclass(frozen=True, slots=True)
class Option:
    """One option: what it expects, its default and its meaning as the page tells them, and its reader.

    The reader gives the value, None to unset, or raises ValueError.
    """

    name: str
    expected: str
    default: str
    meaning: str
    read: Reader = field(repr=False)


class OptionError(FlightmeshError):
    """INVALID, with the word that the session protocol has for it."""

    def __init__(self, problem: SessionOptionErrorValue, message: str, *, hint: str | None = None) -> None:
        super().__init__(ErrorCode.INVALID, message, hint=hint)
        self.problem = problem

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (self.problem, self.message, self.hint))


def _rebuild(problem: SessionOptionErrorValue, message: str, hint: str | None) -> OptionError:
    return OptionError(problem, message, hint=hint)


# ---------------------------------------------------------------------------------------------------------- the table


def _read_name(value: SessionValue, limits: Limits) -> str | None:
    if not isinstance(value, str) or not (value.isprintable() or not value):
        raise ValueError
    if len(value.encode()) > limits.session_option_bytes_max:
        raise ValueError
    return value or None


def _number(value: SessionValue) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError
    try:
        number = float(value)
    except OverflowError as error:
        raise ValueError from error
    if not math.isfinite(number):
        raise ValueError
    return number


def _whole(lowest: int, highest: Callable[[Limits], int]) -> Reader:
    """A reader of whole numbers; ADBC has options of type double alone for some, so ``5.0`` is 5."""

    def read(value: SessionValue, limits: Limits) -> int:
        number = _number(value)
        if not number.is_integer() or not lowest <= number <= highest(limits):
            raise ValueError
        return int(number)

    return read


def _read_batch_bytes(value: SessionValue, limits: Limits) -> int:
    """As much of it as the server gives: who can take larger messages need not know how large they may be here."""
    asked = _whole(BATCH_BYTES_MIN, lambda _: 1 << 62)(value, limits)
    return min(int(str(asked)), limits.batch_bytes_asked_max)


def _read_put_mode(value: SessionValue, limits: Limits) -> str:
    if value not in PUT_MODES:
        raise ValueError
    return str(value)


def _read_new_tables(value: SessionValue, limits: Limits) -> str:
    if value not in NEW_TABLES:
        raise ValueError
    return str(value)


def _read_timeout(value: SessionValue, limits: Limits) -> float:
    seconds = _number(value)
    if not 0 < seconds <= limits.query_timeout_s:
        raise ValueError
    return seconds


def _read_switch(value: SessionValue, limits: Limits) -> bool:
    answer = _WORDS.get(value.strip().lower()) if isinstance(value, str) else value
    if not isinstance(answer, bool):
        raise ValueError
    return answer


_TABLE = (
    Option("catalog", "a catalogue", "none", "Catalogue of names that are written without one.", _read_name),
    Option("schema", "a schema", "none", "Schema of names that are written without one.", _read_name),
    Option(
        "query_timeout_s",
        "seconds, above 0, at most `limits.query_timeout_s`",
        "`limits.query_timeout_s`",
        "How long a query may run.",
        _read_timeout,
    ),
    Option(
        "batch_bytes_max",
        f"{BATCH_BYTES_MIN} or more; above `limits.batch_bytes_asked_max` that is what holds",
        "`limits.batch_bytes_max`",
        "Most bytes of data in one message. More than the default is for clients that take large messages.",
        _read_batch_bytes,
    ),
    Option(
        "dictionaries",
        "true or false",
        "false",
        "Send ENUM columns and dictionaries encoded, not as plain values. For clients that decode them.",
        _read_switch,
    ),
    Option(
        "endpoints_max",
        f"1 to {ENDPOINTS_MAX}",
        "1",
        "Most endpoints of one result. For clients that read several at once.",
        _whole(1, lambda _: ENDPOINTS_MAX),
    ),
    Option(
        "put_mode",
        ", ".join(PUT_MODES),
        "replace",
        "What a plain DoPut to the path of a temporary table does when the table is there, or is not.",
        _read_put_mode,
    ),
    Option(
        "new_tables",
        ", ".join(NEW_TABLES),
        "refused",
        "What becomes of a new table (CREATE TABLE, ingest) that is not said to be temporary and names no schema. For "
        "tools that cannot say it, like Ibis with its in-memory tables.",
        _read_new_tables,
    ),
    Option(
        "java_types",
        "true or false",
        "true for clients in Java, else false",
        "Declare times of parameters in milliseconds, and send unsigned integers as the next wider signed type: the "
        "JDBC driver writes milliseconds into every unit, and shows 200 of an unsigned byte as -56.",
        _read_switch,
    ),
)

OPTIONS: Mapping[str, Option] = MappingProxyType({option.name: option for option in _TABLE})

# What drivers say to any server of DuckDB's dialect, with the values that are true of this one as it is. They are taken
# and change nothing; any other value is refused, since it would not be kept.
GRANTED: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "timezone": frozenset({"utc", "etc/utc"}),
        "autocommit": frozenset({"true", "1", "on"}),
        "python_enable_replacements": frozenset({"false", "0", "off"}),
    }
)


# -------------------------------------------------------------------------------------------------- reading and setting


def options_of(session: Session) -> Options:
    """The options that hold for the call whose session this is."""
    # Everything of the table was given its type by the reader there; mypy cannot follow.
    known: dict[str, Any] = {name: value for name, value in session.options.items() if name in OPTIONS}
    return Options(catalog=session.catalog, schema=session.schema, **known)


def read_option(name: str, value: SessionValue, limits: Limits) -> Mapping[str, OptionValue | None]:
    """The change that this value of the option stands for; empty for what is granted and changes nothing.

    None unsets. Errors: INVALID (OptionError) for an unknown name, with the nearest one, and for a wrong value.
    """
    key = name.lower()
    if key in GRANTED and (value is None or str(value).lower() in GRANTED[key]):
        return {}
    option = OPTIONS.get(key)
    if option is None and key not in GRANTED:
        raise OptionError(
            SessionOptionErrorValue.INVALID_NAME,
            f"There is no session option {name[:_SHOWN_CHARACTERS_MAX]!r}.",
            hint=did_you_mean(key, OPTIONS) or f"The options are {', '.join(OPTIONS)}.",
        )
    try:
        if option is not None:
            return {key: None if value is None else option.read(value, limits)}
    except ValueError:
        pass
    expected = option.expected.replace("`", "") if option else " or ".join(sorted(GRANTED[key]))
    raise OptionError(SessionOptionErrorValue.INVALID_VALUE, f"The session option {key} must be {expected}.")


def set_option(sessions: Sessions, session: Session, name: str, value: SessionValue, exists: Exists) -> None:
    """Set one option for the calls that follow, as ``SET name = value`` does; None unsets it.

    Errors: as ``read_option``; NOT_FOUND from ``exists``.
    """
    _apply(sessions, session, read_option(name, value, sessions.limits), exists)


def set_options(
    sessions: Sessions, session: Session, values: Mapping[str, SessionValue], exists: Exists
) -> Mapping[str, SessionOptionErrorValue]:
    """Set what can be set, None unsetting, and give the problem of each option that cannot.

    Errors: NOT_FOUND from ``exists``, INVALID for too many options at once; then nothing is set.
    """
    if len(values) > sessions.limits.session_options_max:
        raise FlightmeshError(
            ErrorCode.INVALID, f"At most {sessions.limits.session_options_max} options can be set at once."
        )
    changes: dict[str, OptionValue | None] = {}
    problems: dict[str, SessionOptionErrorValue] = {}
    for name, value in values.items():
        try:
            changes |= read_option(name, value, sessions.limits)
        except OptionError as refused:
            problems[name] = refused.problem
    _apply(sessions, session, changes, exists)
    return problems


def shown_options(session: Session) -> Mapping[str, OptionValue]:
    """All that is set, with catalogue and schema in any case: drivers read them and expect text, "" for none."""
    return {**session.options, "catalog": session.catalog or "", "schema": session.schema or ""}


def with_headers(session: Session, headers: Mapping[str, str], limits: Limits) -> Session:
    """The session as it is for one call with these options in its headers. Errors: as ``read_option``."""
    changes: dict[str, OptionValue | None] = {}
    for name, value in headers.items():
        changes |= read_option(name, value, limits)
    return session.changed(changes)


def _apply(sessions: Sessions, session: Session, changes: Mapping[str, OptionValue | None], exists: Exists) -> None:
    if not changes:
        return
    kept = sessions.resolve(session.id, session.principal)
    sessions.change(session.id, session.principal, _settled(kept.changed(changes), changes, exists))


def _settled(
    after: Session, changes: Mapping[str, OptionValue | None], exists: Exists
) -> Mapping[str, OptionValue | None]:
    """The changes, provided that the names exist; an older schema that a new catalogue lacks is unset."""
    if not {"catalog", "schema"} & changes.keys() or (after.catalog is None and after.schema is None):
        return changes
    try:
        exists(after.catalog, after.schema)
    except FlightmeshError as error:
        if error.code is not ErrorCode.NOT_FOUND or "schema" in changes or after.schema is None:
            raise
        if after.catalog is not None:
            exists(after.catalog, None)
        return {**changes, "schema": None}
    return changes

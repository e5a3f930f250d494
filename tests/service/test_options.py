"""Tests of flightmesh.service.options."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flightsql.enums import SessionOptionErrorValue as Problem
from flightmesh.service.authn import Principal
from flightmesh.service.options import (
    GRANTED,
    OPTIONS,
    OptionError,
    Options,
    options_of,
    read_option,
    set_option,
    set_options,
    shown_options,
    with_headers,
)
from flightmesh.service.sessions import Session, Sessions

BOB = Principal("bob")
LIMITS = replace(Limits(), query_timeout_s=60.0)
WORLD = {("aviation", None), (None, "delays"), ("aviation", "delays"), ("clinical", None), ("clinical", "trials")}


def exists(catalog: str | None, schema: str | None) -> None:
    """The names that the caller of these tests may see."""
    if (catalog, schema) not in WORLD:
        raise FlightmeshError(ErrorCode.NOT_FOUND, "There is no such catalog or schema.")


def nothing_is_asked(catalog: str | None, schema: str | None) -> None:
    """For options that name nothing."""
    raise AssertionError((catalog, schema))


@pytest.fixture
def sessions() -> Sessions:
    """No session yet."""
    return Sessions(LIMITS)


@pytest.fixture
def now(sessions: Sessions) -> Callable[[], Session]:
    """Bob's session as it is now."""
    return lambda: sessions.resolve("s", BOB)


def test_every_option_is_a_field_and_described() -> None:
    """The page of options is made from the table; what it names must have an effect to reach."""
    assert set(OPTIONS) == {found.name for found in fields(Options)}
    assert all(option.meaning.endswith(".") for option in OPTIONS.values())
    assert not set(OPTIONS) & set(GRANTED)
    docs = Path(__file__).parents[2] / "docs"
    reference = (docs / "reference" / "options.md").read_text(encoding="utf-8")
    for name, option in OPTIONS.items():
        assert f"\n| `{name}` | {option.expected} | {option.default} | {option.meaning} |\n" in reference
    page = (docs / "sessions.md").read_text(encoding="utf-8")
    for name, values in GRANTED.items():
        assert any(f"`SET {name} = {shown}`" in page for value in values for shown in (value, f"'{value.upper()}'"))


def test_a_session_without_options_has_the_defaults(now: Callable[[], Session]) -> None:
    """Stock clients set nothing and get what all of them can read: plain values, one endpoint, small messages."""
    assert options_of(now()) == Options(None, None, None, None, dictionaries=False, endpoints_max=1)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("catalog", "aviation", "aviation"),
        ("catalog", "", None),
        ("SCHEMA", "Flüge", "Flüge"),
        ("query_timeout_s", "5", 5.0),
        ("query_timeout_s", 60, 60.0),
        ("query_timeout_s", 0.25, 0.25),
        ("batch_bytes_max", "16000000", 16_000_000),
        # Who takes any size gets what there is.
        ("batch_bytes_max", "1e9", 16_000_000),
        ("put_mode", "append", "append"),
        ("new_tables", "temporary", "temporary"),
        ("java_types", "on", True),
        ("batch_bytes_max", 65_536.0, 65_536),
        ("dictionaries", True, True),
        ("dictionaries", "TRUE", True),
        ("dictionaries", " on ", True),
        ("dictionaries", "0", False),
        ("endpoints_max", "64", 64),
        ("endpoints_max", 1, 1),
        ("endpoints_max", None, None),
    ],
)
def test_values_as_clients_send_them(name: str, value: Any, expected: object) -> None:
    """ADBC sends text for everything, or doubles; the name may come in any case from SQL."""
    read = read_option(name, value, LIMITS)
    assert read == {name.lower(): expected}
    assert {type(each) for each in read.values()} == {type(expected)}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("catalog", 3),
        ("catalog", ("a",)),
        ("schema", "a\nb"),
        ("schema", "\0"),
        ("schema", "x" * 5_000),
        ("query_timeout_s", 0),
        ("query_timeout_s", "-1"),
        ("query_timeout_s", 60.5),
        ("query_timeout_s", "nan"),
        ("query_timeout_s", "inf"),
        ("query_timeout_s", True),
        ("query_timeout_s", "soon"),
        ("query_timeout_s", 10**400),
        ("batch_bytes_max", 65_535),
        ("batch_bytes_max", 70_000.5),
        ("put_mode", "upsert"),
        ("new_tables", "permanent"),
        ("java_types", "perhaps"),
        ("dictionaries", "perhaps"),
        ("dictionaries", 1),
        ("endpoints_max", 0),
        ("endpoints_max", 65),
        ("timezone", "Europe/Berlin"),
        ("autocommit", "false"),
    ],
)
def test_values_that_cannot_be(name: str, value: Any) -> None:
    """A client that asks for what it does not get must learn it, with what it could ask for."""
    with pytest.raises(OptionError, match=rf"^The session option {name} must be [^`]+\.$") as caught:
        read_option(name, value, LIMITS)
    assert (caught.value.code, caught.value.problem) == (ErrorCode.INVALID, Problem.INVALID_VALUE)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("catalogue", "Did you mean catalog?"),
        ("batch-bytes-max", "Did you mean batch_bytes_max?"),
        ("memory_limit", "The options are catalog, schema, "),
        ("", "The options are "),
        ("x" * 5_000, "The options are "),
    ],
)
def test_unknown_names(name: str, hint: str) -> None:
    """A mistyped option is told with the nearest, and never kept as if it did something."""
    with pytest.raises(OptionError) as caught:
        read_option(name, "x", LIMITS)
    assert caught.value.problem is Problem.INVALID_NAME
    assert (caught.value.hint or "").startswith(hint)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("name", "value"),
    [("TimeZone", "UTC"), ("autocommit", "true"), ("autocommit", True), ("python_enable_replacements", "False")],
)
def test_what_is_true_anyway_is_granted(
    sessions: Sessions, now: Callable[[], Session], name: str, value: str | bool
) -> None:
    """Ibis begins every connection with ``SET timezone = 'UTC'`` and gives up when that fails."""
    set_option(sessions, now(), name, value, nothing_is_asked)
    set_option(sessions, now(), name, None, nothing_is_asked)
    assert now().is_default
    assert len(sessions) == 0


def test_set_and_unset(sessions: Sessions, now: Callable[[], Session]) -> None:
    """``SET`` holds for the calls that follow; unset, the default holds again."""
    set_option(sessions, now(), "query_timeout_s", "5", nothing_is_asked)
    set_option(sessions, now(), "Dictionaries", "true", nothing_is_asked)
    set_option(sessions, now(), "catalog", "aviation", exists)
    assert options_of(now()) == Options(catalog="aviation", query_timeout_s=5.0, dictionaries=True)
    for name in ("query_timeout_s", "dictionaries", "catalog"):
        set_option(sessions, now(), name, None, nothing_is_asked)
    assert now().is_default


def test_only_what_exists_becomes_a_default(sessions: Sessions, now: Callable[[], Session]) -> None:
    """ADBC's own tests expect NOT_FOUND; a default that names nothing would fail at every later statement."""
    set_option(sessions, now(), "catalog", "aviation", exists)
    for name, value in (("catalog", "nowhere"), ("schema", "trials")):
        with pytest.raises(FlightmeshError) as caught:
            set_option(sessions, now(), name, value, exists)
        assert caught.value.code is ErrorCode.NOT_FOUND
    assert (now().catalog, now().schema) == ("aviation", None)


def test_a_new_catalogue_lets_go_of_a_schema_that_it_lacks(sessions: Sessions, now: Callable[[], Session]) -> None:
    """JDBC's setCatalog sends the catalogue alone: it must not fail on the schema of the one before."""
    set_options(sessions, now(), {"catalog": "aviation", "schema": "delays"}, exists)
    set_option(sessions, now(), "catalog", "clinical", exists)
    assert (now().catalog, now().schema) == ("clinical", None)
    with pytest.raises(FlightmeshError):
        set_options(sessions, now(), {"catalog": "aviation", "schema": "trials"}, exists)
    set_options(sessions, now(), {"schema": "trials"}, exists)
    set_option(sessions, now(), "catalog", None, exists)
    assert (now().catalog, now().schema) == (None, None)
    set_options(sessions, now(), {"catalog": "aviation", "schema": "delays"}, exists)
    set_option(sessions, now(), "catalog", "", exists)
    assert (now().catalog, now().schema) == (None, "delays")


def test_what_can_be_set_is_set_and_the_rest_is_named(sessions: Sessions, now: Callable[[], Session]) -> None:
    """SetSessionOptions answers per option; JDBC fails its connect on any that it sent."""
    values = {"catalog": "aviation", "endpoints_max": "99", "colour": "red", "dictionaries": "true", "timezone": "UTC"}
    problems = set_options(sessions, now(), values, exists)
    assert problems == {"endpoints_max": Problem.INVALID_VALUE, "colour": Problem.INVALID_NAME}
    assert options_of(now()) == Options(catalog="aviation", dictionaries=True)
    assert set_options(sessions, now(), {"catalog": None, "dictionaries": None}, exists) == {}
    assert now().is_default


def test_a_request_is_refused_whole(sessions: Sessions, now: Callable[[], Session]) -> None:
    """An unknown catalogue, or names without end, set nothing."""
    with pytest.raises(FlightmeshError) as caught:
        set_options(sessions, now(), {"dictionaries": True, "catalog": "nowhere"}, exists)
    assert caught.value.code is ErrorCode.NOT_FOUND
    with pytest.raises(FlightmeshError) as caught:
        set_options(sessions, now(), {f"o{number}": 1 for number in range(65)}, exists)
    assert caught.value.code is ErrorCode.INVALID
    assert now().is_default


def test_shown_options(sessions: Sessions, now: Callable[[], Session]) -> None:
    """ADBC reads the current catalogue and schema as text, also where there are none."""
    assert shown_options(now()) == {"catalog": "", "schema": ""}
    set_options(sessions, now(), {"catalog": "aviation", "endpoints_max": "4"}, exists)
    assert shown_options(now()) == {"catalog": "aviation", "schema": "", "endpoints_max": 4}


def test_headers_hold_for_one_call(sessions: Sessions, now: Callable[[], Session]) -> None:
    """They go before what is set, and leave it as it was."""
    set_options(sessions, now(), {"catalog": "aviation", "schema": "delays", "dictionaries": "true"}, exists)
    session = with_headers(now(), {"schema": "", "dictionaries": "false", "query_timeout_s": "1"}, LIMITS)
    assert options_of(session) == Options(catalog="aviation", query_timeout_s=1.0)
    assert options_of(now()) == Options(catalog="aviation", schema="delays", dictionaries=True)
    assert with_headers(session, {}, LIMITS) == session
    with pytest.raises(OptionError, match="no session option 'colour'"):
        with_headers(now(), {"colour": "red"}, LIMITS)


def test_the_error_can_be_pickled() -> None:
    """As every error of ours: it may cross a process."""
    error = OptionError(Problem.INVALID_NAME, "Fact.", hint="Help.")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.problem, again.code) == ("Fact. Help.", Problem.INVALID_NAME, ErrorCode.INVALID)

"""Users and API tokens as the config file states them: values and their reading, no decision about who may come in."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import TypeAlias, TypeVar

from flightmesh.config.problems import Problems

ANONYMOUS = "anonymous"
NAME_RULE = "letters, digits and . _ @ - (at most 64, starting with a letter or digit; not 'anonymous')"
TOKEN_ID_RULE = "lower-case letters and digits (at most 32)"
CERTIFICATE_RULE = "the name in a certificate, in printable characters (at most 1024)"
ROLE_RULE = "letters, digits and _ - (at most 63, starting with a letter)"

Scalar: TypeAlias = str | int | float | bool
Attribute: TypeAlias = Scalar | tuple[Scalar, ...]

_T = TypeVar("_T")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_ROLE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
_ATTRIBUTE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
_TOKEN_ID = re.compile(r"[a-z0-9]{1,32}")
_PASSWORD_HASH = re.compile(r"scrypt:(16384|32768|65536|131072):8:[1-5]:[A-Za-z0-9_-]{22}:[A-Za-z0-9_-]{43}")
_TOKEN_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_CERTIFICATE_CHARACTERS_MAX = 1_024
_INT64 = range(-(1 << 63), 1 << 63)


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may sign in. ``password_hash`` is None for a user who has tokens or certificates only.

    ``certificates`` are the names (of a subject alternative name, else of the subject) by which client certificates
    stand for the user.
    """

    name: str
    password_hash: str | None = field(default=None, repr=False)
    roles: frozenset[str] = frozenset()
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    certificates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApiToken:
    """An API token; of its secret only the SHA-256 is known. ``expires_at``: seconds since 1970, None for never."""

    id: str
    user: str
    hash: str = field(repr=False)
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Accounts:
    """Users by name and API tokens by id. A token may name a user who no longer exists; it opens nothing then."""

    users: Mapping[str, User] = field(default_factory=dict)
    tokens: Mapping[str, ApiToken] = field(default_factory=dict)


def is_user_name(name: str) -> bool:
    """Whether a user may be called so (NAME_RULE)."""
    return _NAME.fullmatch(name) is not None and name.lower() != ANONYMOUS


def is_token_id(text: str) -> bool:
    """Whether an API token may have this id (TOKEN_ID_RULE)."""
    return _TOKEN_ID.fullmatch(text) is not None


def is_role_name(name: str) -> bool:
    """Whether a role may be called so (ROLE_RULE)."""
    return _ROLE.fullmatch(name) is not None


def accounts_of(document: Mapping[str, object], source: str, problems: Problems) -> Accounts:
    """The users and tokens of a parsed config file; what is wrong with them is added to ``problems``."""
    users = {name: _user(name, entry) for name, entry in _entries(document, "users", source, problems)}
    tokens = {id_: _token(id_, entry) for id_, entry in _entries(document, "tokens", source, problems)}
    _check_certificates(users, source, problems)
    return Accounts(MappingProxyType(users), MappingProxyType(tokens))


class _Entry:
    """One table of the file, read key by key; what nobody asked for is unknown."""

    def __init__(self, table: Mapping[str, object], where: str, source: str, problems: Problems) -> None:
        self._table = table
        self._where = where
        self._source = source
        self._problems = problems
        self._asked: list[str] = []

    def take(self, key: str, expected: str, read: Callable[[object], _T], default: _T) -> _T:
        """The value of the key; the default when it is absent or, after reporting it, wrong."""
        self._asked.append(key)
        if key not in self._table:
            return default
        try:
            return read(self._table[key])
        except ValueError:
            # The value is not shown: it may be a password that somebody wrote where its hash belongs.
            self._problems.add(self._source, f"{self._where}.{key}", f"must be {expected}.")
            return default

    def finish(self, *required: str) -> None:
        """Report required keys that are absent and keys that nobody asked for."""
        for key in required:
            if key not in self._table:
                self._problems.add(self._source, f"{self._where}.{key}", "is missing.")
        for key in self._table.keys() - set(self._asked):
            self._problems.unknown(self._source, f"{self._where}.{key}", [f"{self._where}.{k}" for k in self._asked])


def _entries(
    document: Mapping[str, object], section: str, source: str, problems: Problems
) -> Iterator[tuple[str, _Entry]]:
    tables = document.get(section, {})
    if not isinstance(tables, dict):
        problems.add(source, section, f"must be tables, [{section}.NAME].")
        return
    is_right, rule = (is_user_name, NAME_RULE) if section == "users" else (is_token_id, TOKEN_ID_RULE)
    for name, table in tables.items():
        if not is_right(name):
            problems.add(source, f"{section}.{name[:64]!r}", f"is no name: {rule}.")
        if isinstance(table, dict):
            yield name, _Entry(table, f"{section}.{name}", source, problems)
        else:
            problems.add(source, f"{section}.{name[:64]}", f"must be a table, [{section}.NAME].")


def _user(name: str, entry: _Entry) -> User:
    user = User(
        name,
        entry.take("password", "a hash as `flightmesh user add` writes it", _password_hash, None),
        entry.take("roles", f"a list of roles, each of {ROLE_RULE}", _roles, frozenset()),
        entry.take("attributes", "a table of texts, numbers, true or false, or lists of one of these", _attributes, {}),
        entry.take("certificates", f"a list of texts, each {CERTIFICATE_RULE}", _certificates, ()),
    )
    entry.finish()
    return user


def _check_certificates(users: Mapping[str, User], source: str, problems: Problems) -> None:
    owners: dict[str, str] = {}
    for user in users.values():
        for name in user.certificates:
            owner = owners.setdefault(name, user.name)
            if owner != user.name:
                fact = f"holds {name[:64]!r}, which stands for the user {owner} already."
                problems.add(source, f"users.{user.name}.certificates", fact)


def _token(id_: str, entry: _Entry) -> ApiToken:
    token = ApiToken(
        id_,
        entry.take("user", "the name of a user", _text, ""),
        entry.take("hash", "a hash as `flightmesh token create` writes it", _token_hash, ""),
        entry.take("expires", "a date and time with its zone (RFC 3339)", _moment, None),
    )
    entry.finish("user", "hash")
    return token


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _password_hash(value: object) -> str | None:
    if not _PASSWORD_HASH.fullmatch(_text(value)):
        raise ValueError
    return _text(value)


def _token_hash(value: object) -> str:
    if not _TOKEN_HASH.fullmatch(_text(value)):
        raise ValueError
    return _text(value)


def _roles(value: object) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(role, str) and is_role_name(role) for role in value):
        raise ValueError
    return frozenset(value)


def _certificates(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError
    names = tuple(map(_text, value))
    if not all(name.isprintable() and 0 < len(name) <= _CERTIFICATE_CHARACTERS_MAX for name in names):
        raise ValueError
    return names


def _moment(value: object) -> float | None:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ValueError
    return moment.timestamp()


def _attributes(value: object) -> Mapping[str, Attribute]:
    if not isinstance(value, dict) or not all(_ATTRIBUTE_NAME.fullmatch(name) for name in value):
        raise ValueError
    return MappingProxyType({name: _attribute(item) for name, item in value.items()})


def _attribute(value: object) -> Attribute:
    if not isinstance(value, list):
        return _scalar(value)
    if len({type(item) for item in value}) > 1:
        # An attribute becomes one typed parameter of a row filter.
        raise ValueError
    return tuple(_scalar(item) for item in value)


def _scalar(value: object) -> Scalar:
    match value:
        case bool() | str():
            return value
        case int() if value in _INT64:
            return value
        case float() if math.isfinite(value):
            return value
    raise ValueError

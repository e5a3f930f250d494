"""Edits users and tokens in the config file for the command line, keeping its comments and order.

One writer at a time, and the file is replaced whole: a running server reads either the old or the new accounts. What
would not read back as intended is not written. tomlkit is here because nothing else edits TOML without rewriting it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace as with_fields
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from flightmesh.config import (
    NAME_RULE,
    ROLE_RULE,
    Accounts,
    ApiToken,
    User,
    is_role_name,
    is_user_name,
    read_accounts,
)
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import did_you_mean
from flightmesh.service.authn import API_TOKEN_PREFIX, hash_password, hash_secret, split_token

PASSWORD_BYTES_MAX = 1_024
DURATION_S_MAX = 10 * 366 * 86_400

_LOCK_WAIT_S = 10.0
_LOCK_POLL_S = 0.02
_UNIT_S: Mapping[str, int] = MappingProxyType({"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800})
_DURATION = re.compile(r"([0-9]{1,10})([smhdw])")


def add_user(file: Path, name: str, roles: Iterable[str], password: str, *, replace: bool = False) -> None:
    """Add the user, making the file if there is none. With ``replace``, an existing user gets this password and roles.

    Errors: INVALID for a name, role or password that cannot be, and for a user who exists.
    """
    roles = list(dict.fromkeys(roles))
    _check_user(name, roles, password)
    password_hash = hash_password(password)
    with _editing(file) as edit:
        old = edit.accounts.users.get(name)
        if old is not None and not replace:
            raise _invalid(
                f"The user {name} exists already.", "Add --replace to give the user this password and these roles."
            )
        user = with_fields(old or User(name), password_hash=password_hash, roles=frozenset(roles))
        edit.put("users", name, {"password": password_hash, "roles": roles})
        edit.finish(Accounts({**edit.accounts.users, name: user}, edit.accounts.tokens))


def remove_user(file: Path, name: str) -> None:
    """Remove the user and all tokens of the user. Errors: NOT_FOUND."""
    with _editing(file) as edit:
        _check_exists(name, edit.accounts.users)
        users = {key: user for key, user in edit.accounts.users.items() if key != name}
        tokens = {key: token for key, token in edit.accounts.tokens.items() if token.user != name}
        edit.drop("users", name)
        for id_ in edit.accounts.tokens.keys() - tokens.keys():
            edit.drop("tokens", id_)
        edit.finish(Accounts(users, tokens))


def create_token(file: Path, user: str, expires_s: float | None, *, clock: Callable[[], float] = time.time) -> str:
    """The text of a new API token of the user. It is shown this once: the file holds only a hash.

    ``expires_s`` is the life of the token in seconds, None for ever. Errors: NOT_FOUND for an unknown user.
    """
    id_, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    expires_at = None if expires_s is None else float(int(clock() + expires_s))
    with _editing(file) as edit:
        _check_exists(user, edit.accounts.users)
        token = ApiToken(id_, user, hash_secret(secret), expires_at)
        expires = {} if expires_at is None else {"expires": datetime.fromtimestamp(expires_at, UTC)}
        edit.put("tokens", id_, {"user": user, "hash": token.hash, **expires})
        edit.finish(Accounts(edit.accounts.users, {**edit.accounts.tokens, id_: token}))
    return f"{API_TOKEN_PREFIX}{id_}_{secret}"


def revoke_token(file: Path, id_or_text: str) -> str:
    """Remove the token, named by its id or by its whole text, and give its id. Errors: NOT_FOUND."""
    id_, _ = split_token(id_or_text) or (id_or_text, "")
    with _editing(file) as edit:
        if id_ not in edit.accounts.tokens:
            # The text is not repeated: it may hold a secret.
            raise FlightmeshError(
                ErrorCode.NOT_FOUND, "There is no such token.", hint="Its id stands in the config file."
            )
        tokens = {key: token for key, token in edit.accounts.tokens.items() if key != id_}
        edit.drop("tokens", id_)
        edit.finish(Accounts(edit.accounts.users, tokens))
    return id_


def parse_duration(text: str) -> int | None:
    """Seconds in ``30d``, ``12h``, ``15m``, ``90s`` or ``2w``; None for ``never``. Errors: INVALID."""
    if text == "never":
        return None
    match = _DURATION.fullmatch(text)
    seconds = int(match[1]) * _UNIT_S[match[2]] if match else 0
    if not 0 < seconds <= DURATION_S_MAX:
        raise _invalid(f"{text[:40]!r} is no duration.", "Write 30d, 12h, 15m or never; ten years at most.")
    return seconds


class _Edit:
    """An open edit: the document as it is, the accounts in it, and the one way to write it back."""

    def __init__(self, file: Path) -> None:
        self._file = file
        text = _text_of(file)
        self.accounts = read_accounts(text, str(file))
        try:
            # Values of a TOML document are of any type; what is written is read back and compared.
            self._document: Any = tomlkit.parse(text)
        except TOMLKitError as error:
            raise _invalid(f"{file} is not valid TOML: {error}.") from error

    def put(self, section: str, name: str, values: Mapping[str, object]) -> None:
        """Set these keys of one table, which is made if there is none."""
        if section not in self._document:
            self._document[section] = tomlkit.table(is_super_table=True)
        if name not in self._document[section]:
            # A plain dict: tomlkit gives it the form that its section has.
            self._document[section][name] = dict(values)
        else:
            self._document[section][name].update(values)

    def drop(self, section: str, name: str) -> None:
        """Remove one table."""
        del self._document[section][name]

    def finish(self, wanted: Accounts) -> None:
        """Write the document, provided that it reads back as the wanted accounts."""
        text = tomlkit.dumps(self._document)
        if read_accounts(text, str(self._file)) != wanted:
            raise _not_editable(self._file)
        _replace_file(self._file, text)


@contextlib.contextmanager
def _editing(file: Path) -> Iterator[_Edit]:
    # Through a link the real file is replaced, not the link.
    file = file.resolve()
    with _only_writer(file):
        edit = _Edit(file)
        try:
            yield edit
        except (TOMLKitError, ValueError) as error:
            # tomlkit cannot put a table into everything that TOML calls one.
            raise _not_editable(file) from error


@contextlib.contextmanager
def _only_writer(file: Path) -> Iterator[None]:
    # The folder is locked, not the file: the file is replaced under the lock, and no lock file stays behind.
    try:
        descriptor = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _invalid(f"The folder {file.parent} cannot be used: {error.strerror}.") from error
    try:
        _lock(descriptor, file)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, file: Path) -> None:
    give_up_at = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                raise FlightmeshError(ErrorCode.UNAVAILABLE, f"Another command is changing {file}.") from None
            time.sleep(_LOCK_POLL_S)


def _text_of(file: Path) -> str:
    try:
        return file.read_bytes().decode()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise _invalid(f"{file} cannot be read as UTF-8 text: {error}.") from error


def _replace_file(file: Path, text: str) -> None:
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(text.encode())
            stream.flush()
            if os.geteuid() == 0 and file.exists():
                # Root edits for a server that runs as somebody else and has to read it.
                os.fchown(stream.fileno(), file.stat().st_uid, file.stat().st_gid)
            os.fsync(stream.fileno())
        temporary.replace(file)
    except OSError as error:
        raise _invalid(f"{file} cannot be written: {error.strerror}.") from error
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _check_user(name: str, roles: Iterable[str], password: str) -> None:
    if not is_user_name(name):
        raise _invalid(f"{name[:80]!r} cannot name a user.", f"Use {NAME_RULE}.")
    for role in roles:
        if not is_role_name(role):
            raise _invalid(f"{role[:80]!r} cannot name a role.", f"Use {ROLE_RULE}.")
    if not password or not password.isprintable() or len(password.encode()) > PASSWORD_BYTES_MAX:
        raise _invalid(f"A password has 1 to {PASSWORD_BYTES_MAX} bytes and no control characters.")


def _check_exists(user: str, users: Mapping[str, User]) -> None:
    if user not in users:
        raise FlightmeshError(
            ErrorCode.NOT_FOUND,
            f"There is no user {user[:80]!r}.",
            hint=did_you_mean(user, users) or "`flightmesh user add` makes one.",
        )


def _not_editable(file: Path) -> FlightmeshError:
    return FlightmeshError(
        ErrorCode.UNSUPPORTED,
        f"{file} is written in a way that cannot be edited safely; it was not changed.",
        hint="Write every user as [users.NAME] and every token as [tokens.ID].",
    )


def _invalid(fact: str, hint: str | None = None) -> FlightmeshError:
    return FlightmeshError(ErrorCode.INVALID, fact, hint=hint)

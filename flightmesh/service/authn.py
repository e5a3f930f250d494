"""Who is calling: passwords, tokens, certificates and our own session tokens become a Principal, or UNAUTHENTICATED.

This room decides identity only; what a principal may see is policy, elsewhere. It keeps no password, and it tells a
caller nothing from which a wrong name can be told from a wrong password. Header values follow RFC 7617 and RFC 6750.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

from flightmesh.config import ANONYMOUS, Accounts, ApiToken, Attribute, Limits, User, load_accounts
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flightsql import handles
from flightmesh.telemetry import count, facts

API_TOKEN_PREFIX = "fm_"
SESSION_TOKEN_PREFIX = "fms_"
TOKEN_USER = "token"
AUTHORIZATION_CHARACTERS_MAX = 8_192

# How often the config file is looked at while serving.
_REREAD_S = 1.0
_SCRYPT_MEMORY_BYTES_MAX = 1 << 28
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")

_V = TypeVar("_V")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a call is made for. Two are equal only when their attributes are, so that caches by principal stay right."""

    name: str
    roles: frozenset[str] = frozenset()
    # A mapping has no hash of its own; it still takes part in comparison.
    attributes: Mapping[str, Attribute] = field(default_factory=dict, hash=False)
    is_anonymous: bool = False

    def is_admin(self, admin_roles: frozenset[str]) -> bool:
        """Whether the caller has one of these roles, which see and end the queries of others."""
        return not self.roles.isdisjoint(admin_roles)


ANONYMOUS_PRINCIPAL = Principal(ANONYMOUS, is_anonymous=True)


@dataclass(frozen=True, slots=True)
class Identity:
    """The answer to one call's credentials.

    ``session_id`` is that of the session token presented, None for other credentials. ``origin`` says what the
    identity rests on, so that a session ends with it: the id of an API token, a fingerprint of a password hash or of
    the name in a certificate, None for the anonymous.
    """

    principal: Principal
    session_id: str | None = None
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class NoCredentials:
    """The call brought none."""


@dataclass(frozen=True, slots=True)
class Basic:
    """A user name and a password."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bearer:
    """An API token or a session token."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Certificate:
    """The name in a client certificate that TLS has verified. No header can make one of these."""

    name: str


Credentials: TypeAlias = NoCredentials | Basic | Bearer | Certificate


class Authenticator(Protocol):
    """What the doors need of whoever checks credentials."""

    def authenticate(self, credentials: Credentials) -> Identity:
        """Who is calling. Errors: UNAUTHENTICATED; EXHAUSTED or UNAVAILABLE when the caller should try again later."""
        ...

    def open_session(self, identity: Identity, session_id: str) -> str:
        """The text of a new token of that session for the identity, to be sent as ``authorization: Bearer ...``."""
        ...

    def named_session(self, text: str, identity: Identity) -> str | None:
        """The id of the session that a token names, None unless it is a valid token of just this identity."""
        ...

    def is_session(self, text: str) -> bool:
        """Whether the token names a session of whomever, and is valid."""
        ...


def parse_authorization(value: str) -> Basic | Bearer:
    """The credentials in an ``authorization`` header. Errors: UNAUTHENTICATED for all that is not Basic or Bearer."""
    scheme, _, rest = value[: AUTHORIZATION_CHARACTERS_MAX + 1].partition(" ")
    rest = rest.strip(" ")
    if len(value) <= AUTHORIZATION_CHARACTERS_MAX and scheme.lower() == "basic":
        return _parse_basic(rest)
    if len(value) <= AUTHORIZATION_CHARACTERS_MAX and scheme.lower() == "bearer" and _BEARER.fullmatch(rest):
        return Bearer(rest)
    raise _refused("The authorization header is neither Basic nor Bearer.")


def _parse_basic(text: str) -> Basic:
    problem = _refused("The Basic credentials are not user:password in base64.")
    if not _BASE64.fullmatch(text):
        raise problem
    bare = text.rstrip("=")
    try:
        # Go clients leave the padding out.
        pair = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise problem from None
    user, colon, password = pair.partition(":")
    if not colon:
        raise problem
    return Basic(user, password)


def _refused(fact: str, hint: str | None = None) -> FlightmeshError:
    return FlightmeshError(ErrorCode.UNAUTHENTICATED, fact, hint=hint)


# ----------------------------------------------------------------------------------------------------- stored secrets


def hash_password(password: str) -> str:
    """The text that stands for a password in the config file, ``scrypt:n:r:p:salt:key``; 16 MiB and about 50 ms."""
    salt = secrets.token_bytes(16)
    return f"scrypt:16384:8:1:{_unpadded(salt)}:{_unpadded(_scrypt(password, salt, n=16_384, r=8, p=1))}"


def is_password(password: str, stored: str) -> bool:
    """Whether the stored hash is that of the password. ``stored`` has the form that the config reader lets through."""
    _, n, r, p, salt, key = stored.split(":")
    found = _scrypt(password, _from_unpadded(salt), n=int(n), r=int(r), p=int(p))
    return hmac.compare_digest(found, _from_unpadded(key))


def hash_secret(secret: str) -> str:
    """The text that stands for the secret of an API token. It is random and long, so no slow hash is needed."""
    return "sha256:" + hashlib.sha256(secret.encode()).hexdigest()


def split_token(text: str) -> tuple[str, str] | None:
    """Id and secret of an API token's text, None when it is none."""
    id_, _, secret = text.removeprefix(API_TOKEN_PREFIX).partition("_")
    return (id_, secret) if text.startswith(API_TOKEN_PREFIX) and id_ and secret else None


def _scrypt(password: str, salt: bytes, *, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, dklen=32, maxmem=_SCRYPT_MEMORY_BYTES_MAX)


def _unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _from_unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _fingerprint(kind: str, secret: str) -> str:
    # The colon keeps it apart from every id of an API token.
    return f"{kind}:{hashlib.sha256(secret.encode()).hexdigest()[:16]}"


# ---------------------------------------------------------------------------------------------------------- passwords


class Passwords:
    """Checks passwords at bounded cost: few at once, right ones remembered for a while, wrong ones counted per name."""

    def __init__(
        self,
        limits: Limits,
        *,
        clock: Callable[[], float] = time.time,
        check: Callable[[str, str], bool] = is_password,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._check = check
        self._turns = threading.BoundedSemaphore(limits.login_parallel_max)
        self._lock = threading.Lock()
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, float] = OrderedDict()
        self._wrong: OrderedDict[bytes, tuple[int, float]] = OrderedDict()
        # Stands in for users who do not exist, so that they cost the same.
        self._nobody = f"scrypt:16384:8:1:{_unpadded(secrets.token_bytes(16))}:{_unpadded(secrets.token_bytes(32))}"

    def are_right(self, name: str, password: str, stored: str | None) -> bool:
        """Whether the password is the one stored; None stands for an unknown user and costs the same.

        Errors: EXHAUSTED after too many wrong passwords for the name, UNAVAILABLE when too many wait to be checked.
        """
        remembered = self._digest(stored or self._nobody, password)
        if self._is_remembered(remembered):
            return True
        counted = self._digest("", name)
        self._refuse_if_throttled(counted)
        if not self._turns.acquire(timeout=self._limits.login_wait_s):
            count("authn.busy")
            raise FlightmeshError(ErrorCode.UNAVAILABLE, "Too many sign-ins are waiting.", hint="Try again shortly.")
        try:
            is_right = self._check(password, stored or self._nobody) and stored is not None
        finally:
            self._turns.release()
        self._note(remembered, counted, is_right=is_right)
        return is_right

    def _digest(self, first: str, second: str) -> bytes:
        # Passwords themselves are not kept. Hashes hold no NUL, so the pair is unambiguous; a changed password has
        # another hash and is not remembered.
        return hmac.digest(self._key, f"{first}\0{second}".encode(errors="surrogatepass"), "sha256")

    def _is_remembered(self, key: bytes) -> bool:
        with self._lock:
            return self._right.get(key, 0.0) > self._clock()

    def _refuse_if_throttled(self, key: bytes) -> None:
        with self._lock:
            failures, since = self._wrong.get(key, (0, 0.0))
        wait_s = since + self._limits.login_window_s - self._clock()
        if failures >= self._limits.login_failures_max and wait_s > 0:
            count("authn.throttled")
            raise FlightmeshError(
                ErrorCode.EXHAUSTED, "Too many wrong passwords.", hint=f"Try again in {int(wait_s) + 1} seconds."
            )

    def _note(self, remembered: bytes, counted: bytes, *, is_right: bool) -> None:
        now = self._clock()
        with self._lock:
            if is_right:
                self._wrong.pop(counted, None)
                until = now + self._limits.login_cache_ttl_s
                _keep(self._right, remembered, until, self._limits.login_cache_entries_max)
                return
            failures, since = self._wrong.get(counted, (0, now))
            if now - since >= self._limits.login_window_s:
                failures, since = 0, now
            _keep(self._wrong, counted, (failures + 1, since), self._limits.login_names_max)


def _keep(entries: OrderedDict[bytes, _V], key: bytes, value: _V, entries_max: int) -> None:
    entries[key] = value
    entries.move_to_end(key)
    while len(entries) > entries_max:
        entries.popitem(last=False)


# ------------------------------------------------------------------------------------------------------------- authn


class Authn:
    """The Authenticator of the server: accounts from the config file, replaced whole when the file changes.

    Roles and attributes are looked up at every call. A session token is refused as soon as the user, the API token or
    the password behind it is gone.
    """

    def __init__(
        self,
        accounts: Accounts,
        *,
        allows_anonymous: bool,
        signer: handles.Signer,
        limits: Limits,
        config_file: Path | None = None,
        clock: Callable[[], float] = time.time,
        passwords: Passwords | None = None,
    ) -> None:
        self._accounts = accounts
        self._certified = _certified(accounts.users)
        self._allows_anonymous = allows_anonymous
        self._signer = signer
        self._limits = limits
        self._file = config_file
        self._clock = clock
        self._passwords = passwords or Passwords(limits, clock=clock)
        self._rereading = threading.Lock()
        self._looked_at = -_REREAD_S
        self._seen: tuple[int, int, int] | None = None

    def authenticate(self, credentials: Credentials) -> Identity:
        """Who is calling. Errors: UNAUTHENTICATED, EXHAUSTED or UNAVAILABLE (Passwords)."""
        self._reread_if_changed()
        accounts = self._accounts
        match credentials:
            case NoCredentials():
                identity = self._anonymous()
            case Basic(user, "") if user in ("", ANONYMOUS) and self._allows_anonymous:
                # Some clients cannot leave credentials out.
                identity = self._anonymous()
            case Basic(user, token) if user == TOKEN_USER and user not in accounts.users and split_token(token):
                # Tools that know but a user and a password.
                identity = self._by_api_token(token, accounts)
            case Basic():
                identity = self._by_password(credentials, accounts)
            case Bearer(token) if token.startswith(SESSION_TOKEN_PREFIX):
                identity = self._by_session_token(token, accounts)
            case Bearer(token):
                identity = self._by_api_token(token, accounts)
            case Certificate(name):
                identity = self._by_certificate(name, accounts)
        return identity

    def open_session(self, identity: Identity, session_id: str) -> str:
        """The text of a new token of that session; it is valid for ``session_ttl_s`` at most."""
        token = handles.SessionToken(session_id=session_id, user=_user_of(identity), token_id=identity.origin)
        expires_at = self._clock() + self._limits.session_ttl_s
        return SESSION_TOKEN_PREFIX + handles.seal_session(self._signer, token, expires_at=expires_at)

    def named_session(self, text: str, identity: Identity) -> str | None:
        """The id of the session that a token names, None unless it is a valid token of just this identity."""
        if not text.startswith(SESSION_TOKEN_PREFIX):
            return None
        try:
            opened = self._opened(text)
        except FlightmeshError:
            return None
        is_own = (opened.user, opened.token_id) == (_user_of(identity), identity.origin)
        return opened.session_id if is_own else None

    def is_session(self, text: str) -> bool:
        """Whether the token names a session of whomever, and is valid."""
        if not text.startswith(SESSION_TOKEN_PREFIX):
            return False
        try:
            self._opened(text)
        except FlightmeshError:
            return False
        return True

    def replace(self, users: Mapping[str, User], tokens: Mapping[str, ApiToken]) -> None:
        """Use these accounts from the next call on."""
        self._accounts = Accounts(users, tokens)
        self._certified = _certified(users)

    def _opened(self, text: str) -> handles.SessionToken:
        return handles.open_session(self._signer, text.removeprefix(SESSION_TOKEN_PREFIX), now=self._clock())

    def _anonymous(self) -> Identity:
        if not self._allows_anonymous:
            raise _refused("This server wants credentials.", "Send a user and password, or an API token as Bearer.")
        return Identity(ANONYMOUS_PRINCIPAL)

    def _by_password(self, given: Basic, accounts: Accounts) -> Identity:
        user = accounts.users.get(given.user)
        stored = user.password_hash if user else None
        if not self._passwords.are_right(given.user, given.password, stored) or user is None or stored is None:
            count("authn.password_refused")
            raise _refused("The user or the password is wrong.")
        return Identity(_principal(user), origin=_fingerprint("password", stored))

    def _by_api_token(self, text: str, accounts: Accounts) -> Identity:
        id_, secret = split_token(text) or ("", "")
        token = accounts.tokens.get(id_)
        known = token.hash if token else hash_secret("")
        user = accounts.users.get(token.user) if token else None
        if not hmac.compare_digest(hash_secret(secret), known) or token is None or user is None:
            count("authn.token_refused")
            raise _refused("The token is not valid here.")
        if self._is_over(token):
            raise _refused("The token has expired.", "Ask for a new one.")
        return Identity(_principal(user), origin=token.id)

    def _by_certificate(self, name: str, accounts: Accounts) -> Identity:
        user = accounts.users.get(self._certified.get(name, ""))
        # Asked of the user too: the two are replaced one after the other.
        if user is None or name not in user.certificates:
            count("authn.certificate_refused")
            raise _refused("No user here has this certificate.")
        return Identity(_principal(user), origin=_fingerprint("certificate", name))

    def _by_session_token(self, text: str, accounts: Accounts) -> Identity:
        opened = self._opened(text)
        if opened.user is None:
            return replace(self._anonymous(), session_id=opened.session_id)
        user = accounts.users.get(opened.user)
        if user is None or not self._still_holds(opened.token_id, user, accounts):
            count("authn.session_refused")
            raise _refused("The session has ended.", "Sign in again.")
        return Identity(_principal(user), opened.session_id, opened.token_id)

    def _still_holds(self, origin: str | None, user: User, accounts: Accounts) -> bool:
        if origin is not None and (token := accounts.tokens.get(origin)) is not None:
            return token.user == user.name and not self._is_over(token)
        return user.password_hash is not None and origin == _fingerprint("password", user.password_hash)

    def _is_over(self, token: ApiToken) -> bool:
        return token.expires_at is not None and token.expires_at <= self._clock()

    def _reread_if_changed(self) -> None:
        now = self._clock()
        # A clock set back must not stop the looking.
        if self._file is None or 0 <= now - self._looked_at < _REREAD_S:
            return
        if not self._rereading.acquire(blocking=False):
            return
        try:
            self._looked_at = now
            self._reread(self._file)
        finally:
            self._rereading.release()

    def _reread(self, file: Path) -> None:
        try:
            stat = file.stat()
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if seen == self._seen:
                return
            self._seen = seen
            accounts = load_accounts(file)
        except (OSError, FlightmeshError) as error:
            # Half-saved by an editor, most often: the accounts of before stay in force until the file is right again.
            count("authn.reread_failed")
            _log.error("The accounts could not be read again; those of before stay in force.", extra=facts(why=error))
            return
        for token in accounts.tokens.values():
            if token.user not in accounts.users:
                _log.warning("An API token names a user who does not exist.", extra=facts(token=token.id))
        self.replace(accounts.users, accounts.tokens)


def _certified(users: Mapping[str, User]) -> Mapping[str, str]:
    """The user of each name in a certificate."""
    return {name: user.name for user in users.values() for name in user.certificates}


def _user_of(identity: Identity) -> str | None:
    return None if identity.principal.is_anonymous else identity.principal.name


def _principal(user: User) -> Principal:
    return Principal(user.name, user.roles, user.attributes)

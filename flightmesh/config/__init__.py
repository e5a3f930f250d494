"""What one server was told: settings, limits and accounts, read once from TOML, environment and command line.

Standard library only. Every problem of a file is named at once and none is repaired. This room says what was configured
and decides nothing about who may do what.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from flightmesh.config.accounts import (
    ANONYMOUS,
    CERTIFICATE_RULE,
    NAME_RULE,
    ROLE_RULE,
    Accounts,
    ApiToken,
    Attribute,
    User,
    accounts_of,
    is_role_name,
    is_user_name,
)
from flightmesh.config.keys import checked_key, kept_key
from flightmesh.config.limits import Limits, contradictions
from flightmesh.config.problems import Problems
from flightmesh.config.settings import DEFAULT_MEMORY_PERCENT, SETTINGS, VARIABLE_PREFIX, Setting, share_of_memory
from flightmesh.errors import ErrorCode, FlightmeshError

__all__ = [
    "ANONYMOUS",
    "CERTIFICATE_RULE",
    "NAME_RULE",
    "ROLE_RULE",
    "SETTINGS",
    "Accounts",
    "ApiToken",
    "Attribute",
    "Config",
    "Limits",
    "Setting",
    "User",
    "check_listener",
    "is_loopback",
    "is_role_name",
    "is_user_name",
    "load_accounts",
    "read_accounts",
    "signing_key",
]

CONFIG_BYTES_MAX = 16_000_000

_FILE_VARIABLE = "FLIGHTMESH_CONFIG"
_KEY_VARIABLE = "FLIGHTMESH_SIGNING_KEY"
# Read by the client, the command line and the tests of this project, not by the server.
_OTHER_VARIABLES = frozenset(
    {_FILE_VARIABLE, _KEY_VARIABLE, "FLIGHTMESH_URI", "FLIGHTMESH_TOKEN", "FLIGHTMESH_CI", "FLIGHTMESH_WIRE_CACHE"}
)
# Secrets of sources, by any name (sources/secrets.py).
_SECRETS = "FLIGHTMESH_SECRET_"
# Kubernetes sets these in every pod beside a service named "flightmesh"; nobody chose them.
_SERVICE_LINK = re.compile(r"FLIGHTMESH_(SERVICE_(HOST|PORT)\w*|PORT_\d+_(TCP|UDP)\w*)")
_SERVICE_PORT = re.compile(r"(tcp|udp)://.*")


@dataclass(frozen=True, slots=True)
class Config:
    """Everything one server was told. ``memory_limit`` is in bytes; ``signing_key`` None: one is kept in ``state``."""

    host: str = "127.0.0.1"
    port: int = 8815
    products: tuple[Path, ...] = (Path("products"),)
    state: Path = Path(".flightmesh")
    config_file: Path | None = None
    secrets: Path | None = None
    allow_plaintext: bool = False
    anonymous: Literal["auto"] | bool = "auto"
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    mtls_port: int | None = None
    mtls_client_ca: Path | None = None
    admin_roles: frozenset[str] = frozenset({"admin"})
    signing_key: bytes | None = field(default=None, repr=False)
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    memory_limit: int = field(default_factory=lambda: share_of_memory(DEFAULT_MEMORY_PERCENT))
    users: Mapping[str, User] = field(default_factory=dict)
    tokens: Mapping[str, ApiToken] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def load(
        cls, file: Path | None, env: Mapping[str, str], overrides: Mapping[str, object] = MappingProxyType({})
    ) -> Config:
        """The configuration: defaults, then the file, then FLIGHTMESH_* variables, then the command line.

        ``overrides`` maps keys (``port``, ``limits.drain_s``) to values; None means not given. Without ``file`` the
        variable FLIGHTMESH_CONFIG may name one. Relative paths in the file are relative to its folder, all others to
        the working folder. Errors: INVALID with every problem found, one to a line.
        """
        if file is None and env.get(_FILE_VARIABLE):
            file = Path(env[_FILE_VARIABLE])
        problems = Problems()
        document = _parse(_text_of(file), str(file)) if file else {}
        values = {
            **_from_file(document, file, problems),
            **_from_variables(env, problems),
            **_from_overrides(overrides, problems),
        }
        accounts = accounts_of(document, str(file), problems)
        config = _build(values, file, accounts)
        _check_together(config, problems)
        problems.raise_if_any()
        return config

    @property
    def accounts(self) -> Accounts:
        return Accounts(self.users, self.tokens)

    @property
    def allows_anonymous(self) -> bool:
        """Whether callers without credentials are let in; ``auto`` means: on a loopback listener."""
        return is_loopback(self.host) if self.anonymous == "auto" else self.anonymous

    @property
    def has_tls(self) -> bool:
        return self.tls_certificate is not None


def load_accounts(file: Path) -> Accounts:
    """The users and tokens of a config file. Errors: INVALID with every problem of these two sections."""
    return read_accounts(_text_of(file), str(file))


def read_accounts(text: str, source: str) -> Accounts:
    """The users and tokens of a TOML text; ``source`` names it in errors, which are INVALID."""
    problems = Problems()
    accounts = accounts_of(_parse(text, source), source, problems)
    problems.raise_if_any()
    return accounts


def is_loopback(host: str) -> bool:
    """Whether a listener on this host can be reached from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def check_listener(config: Config) -> None:
    """Refuse, as INVALID, a plaintext listener that others can reach, and TLS files that are not there."""
    for path in (config.tls_certificate, config.tls_key, config.mtls_client_ca):
        if path is not None and not path.is_file():
            raise FlightmeshError(ErrorCode.INVALID, f"The TLS file {path} does not exist.")
    if not (config.has_tls or config.allow_plaintext or is_loopback(config.host)):
        raise FlightmeshError(
            ErrorCode.INVALID,
            f"A listener on {config.host} without TLS would show data and passwords to the network.",
            hint="Set server.tls_certificate and server.tls_key; or, if something in front of it encrypts, "
            "server.allow_plaintext = true (FLIGHTMESH_ALLOW_PLAINTEXT=true).",
        )


def signing_key(config: Config) -> bytes:
    """The key that signs tickets and session tokens: the configured one, else the one kept (mode 0600) in the state."""
    return kept_key(config.state) if config.signing_key is None else config.signing_key


# ------------------------------------------------------------------------------------------------------------- sources


def _text_of(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(CONFIG_BYTES_MAX + 1)
        if len(content) > CONFIG_BYTES_MAX:
            raise FlightmeshError(ErrorCode.INVALID, f"{file} has more than {CONFIG_BYTES_MAX} bytes.")
        return content.decode()
    except OSError as error:
        raise FlightmeshError(ErrorCode.INVALID, f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise FlightmeshError(ErrorCode.INVALID, f"{file} is not UTF-8 text (byte {error.start}).") from error


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        fact = str(error).rstrip(".") if isinstance(error, ValueError) else "it is nested too deeply"
        raise FlightmeshError(ErrorCode.INVALID, f"{source} is not valid TOML: {fact}.") from error


def _from_file(document: Mapping[str, object], file: Path | None, problems: Problems) -> dict[str, object]:
    source, base = str(file), file.parent if file else None
    values: dict[str, object] = {}
    for section, content in document.items():
        if section in ("users", "tokens"):
            continue
        if section not in ("server", "limits"):
            problems.unknown(source, section, ["server", "limits", "users", "tokens"])
        elif not isinstance(content, dict):
            problems.add(source, section, f"must be a table, [{section}].")
        else:
            for name, value in content.items():
                _read_one(values, f"{section}.{name}", value, source=source, base=base, problems=problems)
    return values


def _from_variables(env: Mapping[str, str], problems: Problems) -> dict[str, object]:
    keys = {setting.variable: setting.key for setting in SETTINGS.values()}
    values: dict[str, object] = {}
    for variable in sorted(name for name in env if name.startswith(VARIABLE_PREFIX)):
        if variable in _OTHER_VARIABLES or variable.startswith(_SECRETS) or _SERVICE_LINK.fullmatch(variable):
            continue
        if variable == "FLIGHTMESH_PORT" and _SERVICE_PORT.fullmatch(env[variable]):
            continue
        if variable in keys:
            _read_one(values, keys[variable], env[variable], source=variable, base=None, problems=problems)
        else:
            problems.unknown("environment", variable, [*keys, *_OTHER_VARIABLES])
    if env.get(_KEY_VARIABLE):
        try:
            values["server.signing_key_file"] = checked_key(env[_KEY_VARIABLE].encode())
        except FlightmeshError as error:
            problems.add("environment", _KEY_VARIABLE, f"is no key: {error.message}")
    return values


def _from_overrides(overrides: Mapping[str, object], problems: Problems) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, value in overrides.items():
        if value is not None:
            key = name if "." in name else f"server.{name}"
            _read_one(values, key, value, source="command line", base=None, problems=problems)
    return values


def _read_one(
    values: dict[str, object], key: str, value: object, *, source: str, base: Path | None, problems: Problems
) -> None:
    setting = SETTINGS.get(key)
    if setting is None:
        problems.unknown(source, key, SETTINGS)
        return
    try:
        values[key] = setting.read(value, base)
    except ValueError:
        problems.wrong(source, key, expected=setting.expected, value=value)


def _build(values: Mapping[str, object], file: Path | None, accounts: Accounts) -> Config:
    # The readers in the table gave every value the type of its field; mypy cannot follow them there.
    server: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    for key, value in values.items():
        setting = SETTINGS[key]
        (limits if setting.section == "limits" else server)[setting.name] = value
    server["signing_key"] = server.pop("signing_key_file", None)
    return Config(**server, config_file=file, users=accounts.users, tokens=accounts.tokens, limits=Limits(**limits))


def _check_together(config: Config, problems: Problems) -> None:
    source = str(config.config_file) if config.config_file else "configuration"
    for name, fact in contradictions(config.limits):
        problems.add(source, f"limits.{name}", fact)
    if (config.tls_certificate is None) != (config.tls_key is None):
        present, absent = ("key", "certificate") if config.tls_certificate is None else ("certificate", "key")
        problems.add(source, f"server.tls_{present}", f"is set without server.tls_{absent}.")
    if config.mtls_port is not None:
        for name in ("tls_certificate", "mtls_client_ca"):
            if getattr(config, name) is None:
                problems.add(source, "server.mtls_port", f"is set without server.{name}.")
        if config.mtls_port == config.port != 0:
            problems.add(source, "server.mtls_port", f"({config.mtls_port}) is the port of the other listener too.")
    elif config.mtls_client_ca is not None:
        problems.add(source, "server.mtls_client_ca", "is set without server.mtls_port.")

"""The table of settings: key, what it expects, default, meaning and reader. The reference page is made from it.

Readers take what TOML, an environment variable or the command line holds and give the value, or ValueError.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias, get_args, get_type_hints

from flightmesh.config.accounts import ROLE_RULE, is_role_name
from flightmesh.config.keys import read_key
from flightmesh.config.limits import Limits
from flightmesh.errors import FlightmeshError

VARIABLE_PREFIX = "FLIGHTMESH_"
DEFAULT_MEMORY_PERCENT = 60

# The second argument is the folder that relative paths are relative to; None: the working folder.
Reader: TypeAlias = Callable[[object, Path | None], object]

_WORDS: Mapping[object, bool] = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_HOST = re.compile(r"[A-Za-z0-9.:_\[\]%-]{1,253}")
_AMOUNT = re.compile(r"([0-9]{1,18})\s*(?:([KMGT]?)(I?)B)?", re.IGNORECASE)
_SHARE = re.compile(r"([1-9]\d?)\s*%")


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of ``[server]`` or ``[limits]``."""

    key: str
    expected: str
    default: str
    meaning: str
    read: Reader = field(repr=False)

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return VARIABLE_PREFIX + self.key.removeprefix("server.").replace(".", "_").upper()

    @property
    def section(self) -> str:
        return self.key.partition(".")[0]

    @property
    def name(self) -> str:
        """The key within its section, and the field of Config or Limits that it fills."""
        return self.key.partition(".")[2]


def read_host(value: object, base: Path | None) -> str:
    if not isinstance(value, str) or not _HOST.fullmatch(value):
        raise ValueError
    return value


def whole(lowest: int, highest: int) -> Callable[[object, Path | None], int]:
    """A reader of whole numbers from lowest to highest."""

    def read(value: object, base: Path | None) -> int:
        number = int(value) if isinstance(value, str) else value
        if not isinstance(number, int) or isinstance(number, bool) or not lowest <= number <= highest:
            raise ValueError
        return number

    return read


def read_seconds(value: object, base: Path | None) -> float:
    number = float(value) if isinstance(value, str) else value
    if not isinstance(number, int | float) or isinstance(number, bool):
        raise ValueError
    if not math.isfinite(number) or not 0 < number <= 1e9:
        raise ValueError
    return float(number)


def read_switch(value: object, base: Path | None) -> bool:
    answer = _WORDS.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(answer, bool):
        raise ValueError
    return answer


def read_anonymous(value: object, base: Path | None) -> str | bool:
    return "auto" if value == "auto" else read_switch(value, base)


def read_path(value: object, base: Path | None) -> Path:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError
    return Path(value) if base is None else base / value


def read_paths(value: object, base: Path | None) -> tuple[Path, ...]:
    several = value.split(os.pathsep) if isinstance(value, str) else value
    if not isinstance(several, list | tuple) or not several:
        raise ValueError
    return tuple(read_path(item, base) for item in several)


def read_roles(value: object, base: Path | None) -> frozenset[str]:
    several = value.split(",") if isinstance(value, str) else value
    if not isinstance(several, list | tuple) or not all(isinstance(role, str) for role in several):
        raise ValueError
    roles = frozenset(role.strip() for role in several if role.strip())
    if not all(map(is_role_name, roles)):
        raise ValueError
    return roles


def read_memory(value: object, base: Path | None) -> int:
    if isinstance(value, str):
        value = _memory_of(value.strip())
    return whole(16_000_000, 1 << 60)(value, base)


def read_key_file(value: object, base: Path | None) -> bytes:
    try:
        return read_key(read_path(value, base))
    except FlightmeshError as error:
        raise ValueError(error.message) from error


def share_of_memory(percent: int) -> int:
    """That share of the machine's memory, or of the container's when that is less, in bytes."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return total * percent // 100


def _memory_of(text: str) -> int:
    if not text:
        return share_of_memory(DEFAULT_MEMORY_PERCENT)
    if share := _SHARE.fullmatch(text):
        return share_of_memory(int(share[1]))
    if amount := _AMOUNT.fullmatch(text):
        base = 1024 if amount[3] else 1000
        return int(amount[1]) * int(base ** " KMGT".index((amount[2] or " ").upper()))
    raise ValueError


_PATH = "a path"
_SWITCH = "true or false"
_SERVER = (
    Setting("server.host", "a host name or address", "127.0.0.1", "Where to listen.", read_host),
    Setting("server.port", "0 to 65535", "8815", "Port of the listener; 0 picks a free one.", whole(0, 65_535)),
    Setting("server.products", "a list of paths", "products", "Folders that are or hold products.", read_paths),
    Setting("server.state", _PATH, ".flightmesh", "Where snapshots, generations and the key are kept.", read_path),
    Setting("server.secrets", _PATH, "", "Folder whose files are the secrets of sources, by name.", read_path),
    Setting("server.allow_plaintext", _SWITCH, "false", "Listen without TLS beyond loopback too.", read_switch),
    Setting(
        "server.anonymous",
        '"auto", true or false',
        "auto",
        "Let callers without credentials in; auto: on a loopback listener only.",
        read_anonymous,
    ),
    Setting("server.tls_certificate", _PATH, "", "Certificate chain of the listener (PEM).", read_path),
    Setting("server.tls_key", _PATH, "", "Private key of the certificate (PEM).", read_path),
    Setting(
        "server.mtls_port",
        "0 to 65535",
        "",
        "Port of a second listener, for callers with a client certificate; 0 picks a free one, none without it.",
        whole(0, 65_535),
    ),
    Setting(
        "server.mtls_client_ca", _PATH, "", "Authorities that sign the certificates of callers there (PEM).", read_path
    ),
    Setting(
        "server.admin_roles",
        f"a list of roles, each of {ROLE_RULE}",
        "admin",
        "Roles that may list and end the queries of others.",
        read_roles,
    ),
    Setting(
        "server.signing_key_file",
        "the path of a file of 32 to 4096 bytes",
        "",
        "The key that signs tickets, the same on all nodes; else one is made and kept in the state folder.",
        read_key_file,
    ),
    Setting("server.threads", "1 to 1024", "the number of processors", "Threads of the engine.", whole(1, 1_024)),
    Setting(
        "server.memory_limit",
        'at least 16 MB, written as a number of bytes, "8 GB", "50%" or ""',
        f"{DEFAULT_MEMORY_PERCENT}% of the memory",
        "Memory of the engine.",
        read_memory,
    ),
)


def _limit_settings() -> Iterator[Setting]:
    hints = get_type_hints(Limits, include_extras=True)
    for item in fields(Limits):
        kind, meaning = get_args(hints[item.name])
        expected, read = ("a whole number above 0", whole(1, 1 << 40)) if kind is int else ("seconds", read_seconds)
        yield Setting(f"limits.{item.name}", expected, str(item.default), meaning, read)


SETTINGS: Mapping[str, Setting] = MappingProxyType({item.key: item for item in (*_SERVER, *_limit_settings())})

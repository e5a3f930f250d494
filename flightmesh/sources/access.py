"""How a source is reached: its address and options with secrets in place, what of them must not get out, and how long
it is waited for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, quote_plus, unquote, urlsplit

from flightmesh.product.adbc import is_profile, reserved
from flightmesh.product.durations import seconds
from flightmesh.product.model import Source
from flightmesh.sources.base import invalid
from flightmesh.sources.secrets import Secrets, has_secret

_TEXT_MAX = 300


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long a read waits for its next rows, how many connections there may be, how often it is tried again."""

    timeout_s: float = 4.0
    connections: int = 4
    retries: int = 1

    @classmethod
    def of(cls, spec: Source) -> Bounds:
        """As the manifest says; a duration that is none is told of by the checks."""
        return cls(seconds(spec.timeout) or cls().timeout_s, spec.connections, spec.retries)


@dataclass(frozen=True, slots=True)
class Access:
    """The address and options of a source with their secrets in place, and every text that must not get out."""

    uri: str | None
    options: Mapping[str, str]
    hidden: tuple[str, ...]

    def scrub(self, text: str) -> str:
        """The text without anything that was secret, shortened."""
        for secret in self.hidden:
            text = text.replace(secret, "***")
        return " ".join(text.split())[:_TEXT_MAX]


def fill(source: str, spec: Source, secrets: Secrets) -> Access:
    """INVALID naming a secret that is not there."""
    given = {name: _option(value) for name, value in spec.options.items()}
    options = {name: secrets.fill(source, value) for name, value in given.items()}
    uri = None if spec.uri is None else secrets.fill(source, spec.uri)
    hidden = {options[name] for name in given if has_secret(given[name])}
    if uri is not None:
        hidden |= _hidden_in(uri, is_secret=has_secret(str(spec.uri)))
    return Access(uri, options, tuple(sorted(filter(None, hidden), key=len, reverse=True)))


def refuse_reserved(source: str, access: Access, options: Iterable[str]) -> None:
    """INVALID naming what among address and options would make the driver manager load code or read files."""
    name = reserved(options)
    if name is not None:
        hint = "It would choose what code is loaded."
        raise invalid(source, f"the option {name} is not for a manifest to give.", hint)
    if is_profile(access.uri):
        raise invalid(source, "its uri names a profile, a file of the machine.", "Give the address of the database.")


def _option(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _hidden_in(uri: str, *, is_secret: bool) -> set[str]:
    """The password of the address; all of its parts when a secret went into it."""
    try:
        parts = urlsplit(uri)
        found = {parts.password or ""}
        if is_secret:
            found |= {uri, parts.netloc, parts.username or "", parts.hostname or "", str(parts.port or "")}
            found |= {parts.path.strip("/"), parts.query}
    except ValueError:
        found = {uri}
    decoded = {unquote(text) for text in found}
    return {
        form for text in found | decoded for form in (text, quote(text, safe=""), quote_plus(text)) if len(form) > 2
    }

"""What a client has set for its session: default catalog and schema, and options. Bounded, and kept in memory only.

Most callers set nothing, and for them nothing is stored: a session of defaults is made up when it is asked for.
Sessions are looked up by principal and id together, so nobody reaches another's by naming its id. What the options are
and which values they take is read elsewhere (``service/options.py``).
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeAlias

from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.service.authn import Principal

OptionValue: TypeAlias = str | bool | int | float | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Session:
    """One client's settings as they were at one moment. Times are in seconds since 1970."""

    id: str
    principal: Principal
    created_at: float
    last_used_at: float
    catalog: str | None = None
    schema: str | None = None
    options: Mapping[str, OptionValue] = field(default_factory=dict)

    @property
    def is_default(self) -> bool:
        """Whether nothing is set, so that nothing needs to be remembered."""
        return self.catalog is None and self.schema is None and not self.options

    def changed(self, changes: Mapping[str, OptionValue | None]) -> Session:
        """The session after the changes; ``None`` unsets. The keys ``catalog`` and ``schema`` set the default names."""
        merged = {"catalog": self.catalog, "schema": self.schema, **self.options, **changes}
        catalog, schema = merged.pop("catalog"), merged.pop("schema")
        options = {key: value for key, value in merged.items() if value is not None}
        return replace(
            self,
            catalog=str(catalog) if catalog else None,
            schema=str(schema) if schema else None,
            options=MappingProxyType(options),
        )


class Sessions:
    """The sessions of one node. When it is full, the one unused for longest is forgotten."""

    def __init__(
        self,
        limits: Limits,
        clock: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: secrets.token_urlsafe(16),
    ) -> None:
        self.limits = limits
        self._clock = clock
        self._new_id = new_id
        self._lock = threading.Lock()
        # In order of last use: what is to be forgotten first stands first.
        self._kept: OrderedDict[tuple[str, str], Session] = OrderedDict()

    def __len__(self) -> int:
        """How many sessions are remembered."""
        with self._lock:
            return len(self._kept)

    def open(self, principal: Principal) -> Session:
        """A session with a new id and nothing set. It takes no memory before something is set."""
        return self._fresh(self._new_id(), principal)

    def resolve(self, session_id: str, principal: Principal) -> Session:
        """The session with its settings, marked as used; all defaults when none is remembered for this principal."""
        with self._lock:
            return self._resolve(session_id, principal)

    def change(self, session_id: str, principal: Principal, changes: Mapping[str, OptionValue | None]) -> Session:
        """The session after the changes, as ``Session.changed`` makes them, remembered.

        Errors: INVALID for a catalog or schema that is no text, an option too long, or too many of them; then nothing
        has changed.
        """
        with self._lock:
            session = self._changed(self._resolve(session_id, principal), changes)
            key = (principal.name, session_id)
            if session.is_default:
                self._kept.pop(key, None)
            else:
                self._kept[key] = session
                self._kept.move_to_end(key)
                self._forget_surplus()
            return session

    def close(self, session_id: str, principal: Principal) -> bool:
        """Forget the settings; whether there were any. The session's token still signs in, to a session of defaults."""
        with self._lock:
            return self._kept.pop((principal.name, session_id), None) is not None

    def _fresh(self, session_id: str, principal: Principal) -> Session:
        now = self._clock()
        return Session(session_id, principal, created_at=now, last_used_at=now)

    def _resolve(self, session_id: str, principal: Principal) -> Session:
        key = (principal.name, session_id)
        kept = self._kept.get(key)
        if kept is None:
            return self._fresh(session_id, principal)
        now = self._clock()
        if self._is_over(kept, now):
            del self._kept[key]
            return self._fresh(session_id, principal)
        # The principal of this call, not of the first: roles may have changed meanwhile.
        session = replace(kept, principal=principal, last_used_at=now)
        self._kept[key] = session
        self._kept.move_to_end(key)
        return session

    def _changed(self, session: Session, changes: Mapping[str, OptionValue | None]) -> Session:
        for key, value in changes.items():
            self._check(key, value)
        after = session.changed(changes)
        if len(after.options) > self.limits.session_options_max:
            raise _invalid(f"A session has at most {self.limits.session_options_max} options.")
        return after

    def _check(self, key: str, value: OptionValue | None) -> None:
        if not key:
            raise _invalid("A session option needs a name.")
        if key in ("catalog", "schema") and not isinstance(value, str | None):
            raise _invalid(f"The session option {key} is text.")
        parts = value if isinstance(value, tuple) else (str(value),)
        if sum(len(part.encode(errors="replace")) for part in (key, *parts)) > self.limits.session_option_bytes_max:
            raise _invalid(f"A session option has at most {self.limits.session_option_bytes_max} bytes.")

    def _is_over(self, session: Session, now: float) -> bool:
        return (
            now - session.last_used_at >= self.limits.session_idle_s
            or now - session.created_at >= self.limits.session_ttl_s
        )

    def _forget_surplus(self) -> None:
        now = self._clock()
        while self._kept:
            first = next(iter(self._kept))
            if len(self._kept) <= self.limits.sessions_max and not self._is_over(self._kept[first], now):
                return
            del self._kept[first]


def _invalid(fact: str) -> FlightmeshError:
    return FlightmeshError(ErrorCode.INVALID, fact)

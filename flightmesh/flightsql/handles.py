"""Signed, self-contained tickets and handles: any node that has the key can serve what another has issued.

What is sealed can be read by its holder but not made or altered: HMAC-SHA256 over version, kind, expiry and payload.
Kinds do not mix: a session token is no ticket. There is no clock here; the caller says what time it is, in seconds
since the epoch.
"""

from __future__ import annotations

import base64
import hmac
import struct
from typing import NoReturn, TypeVar

import msgspec

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flightsql.codec import pack, unpack
from flightmesh.flightsql.messages import TicketStatementQuery

KEY_BYTES_MIN = 32

_VERSION = b"\x01"
_EXPIRY = struct.Struct(">d")
_TAG_BYTES = 32
_HEAD_BYTES = len(_VERSION) + _EXPIRY.size
_TICKET, _PREPARED, _SESSION = "ticket", "prepared statement", "session token"


class StatementTicket(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A statement to be run when its ticket is redeemed, bound to who may run it and on which generation.

    ``surface`` names the role set, ``parameters`` holds bound values as IPC bytes, ``parameters_ref`` names values
    that were too large to travel and are kept at the node that issued the ticket, ``nonce`` is the query's id.
    ``session`` and ``transaction`` say whose temporary tables it reads, ``encoded`` and ``java`` in which types
    its client was promised the result.
    """

    principal: str
    surface: str
    generation: str
    sql: str
    parameters: bytes | None
    nonce: str
    catalog: str | None
    schema: str | None
    parameters_ref: str | None = None
    session: str | None = None
    transaction: str | None = None
    encoded: bool = False
    java: bool = False


class PreparedHandle(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A prepared statement with the values bound so far; the fields are those of ``StatementTicket``.

    It names no generation: a prepared statement is approved anew whenever it is used.
    """

    principal: str
    sql: str
    catalog: str | None
    schema: str | None
    parameters: bytes | None
    parameters_ref: str | None
    nonce: str
    session: str | None = None
    transaction: str | None = None


class SessionToken(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A session and who opened it: a user, an API token, both ``None`` for the anonymous."""

    session_id: str
    user: str | None
    token_id: str | None


_S = TypeVar("_S", bound=StatementTicket | PreparedHandle | SessionToken)


class Signer:
    """Seals and opens payloads with one secret key."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) < KEY_BYTES_MIN:
            raise FlightmeshError(ErrorCode.INVALID, f"A signing key needs at least {KEY_BYTES_MIN} bytes.")
        self._key = key

    def seal(self, kind: str, payload: bytes, *, expires_at: float) -> bytes:
        """The payload, readable and signed, to be opened as the same kind before the time given."""
        expiry = _EXPIRY.pack(expires_at)
        return b"".join((_VERSION, expiry, payload, self._tag(kind, expiry, payload)))

    def open(self, kind: str, data: bytes, *, now: float) -> bytes:
        """The payload; UNAUTHENTICATED unless this key sealed it as this kind and it has not expired."""
        if len(data) < _HEAD_BYTES + _TAG_BYTES or not data.startswith(_VERSION):
            _refuse(kind)
        expiry, payload, tag = data[len(_VERSION) : _HEAD_BYTES], data[_HEAD_BYTES:-_TAG_BYTES], data[-_TAG_BYTES:]
        if not hmac.compare_digest(tag, self._tag(kind, expiry, payload)):
            _refuse(kind)
        # Written so that an expiry that is not a number counts as expired.
        if not now < _EXPIRY.unpack(expiry)[0]:
            raise FlightmeshError(ErrorCode.UNAUTHENTICATED, f"The {kind} has expired.", hint="Ask for a new one.")
        return payload

    def _tag(self, kind: str, expiry: bytes, payload: bytes) -> bytes:
        word = kind.encode()
        return hmac.digest(self._key, b"".join((_VERSION, bytes((len(word),)), word, expiry, payload)), "sha256")


def _refuse(kind: str) -> NoReturn:
    raise FlightmeshError(
        ErrorCode.UNAUTHENTICATED, f"The {kind} was not issued by this server.", hint="Ask for a new one."
    )


def seal_ticket(signer: Signer, ticket: StatementTicket, *, expires_at: float) -> bytes:
    """The bytes of a Flight ticket: ``TicketStatementQuery`` in its envelope, around the sealed statement."""
    return pack(TicketStatementQuery(_seal(signer, _TICKET, ticket, expires_at=expires_at)))


def open_ticket(signer: Signer, data: bytes, *, now: float) -> StatementTicket:
    """The statement of a Flight ticket; UNAUTHENTICATED unless ``seal_ticket`` made exactly these bytes, unexpired."""
    try:
        message = unpack(data)
    except FlightmeshError:
        message = None
    # Comparing the envelope too leaves not one byte of a ticket that could be altered.
    if not isinstance(message, TicketStatementQuery) or pack(message) != data:
        _refuse(_TICKET)
    return open_statement(signer, message.statement_handle, now=now)


def open_statement(signer: Signer, handle: bytes, *, now: float) -> StatementTicket:
    """The statement of a ``TicketStatementQuery`` already unpacked; errors as ``open_ticket``."""
    return _open(signer, _TICKET, StatementTicket, handle, now=now)


def seal_prepared(signer: Signer, handle: PreparedHandle, *, expires_at: float) -> bytes:
    """The bytes of a ``prepared_statement_handle``."""
    return _seal(signer, _PREPARED, handle, expires_at=expires_at)


def open_prepared(signer: Signer, handle: bytes, *, now: float) -> PreparedHandle:
    """The prepared statement of a handle; UNAUTHENTICATED unless ``seal_prepared`` made it and it has not expired."""
    return _open(signer, _PREPARED, PreparedHandle, handle, now=now)


def seal_session(signer: Signer, token: SessionToken, *, expires_at: float) -> str:
    """The session token as text for an ``authorization: Bearer`` header (base64url, unpadded)."""
    sealed = _seal(signer, _SESSION, token, expires_at=expires_at)
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode("ascii")


def open_session(signer: Signer, text: str, *, now: float) -> SessionToken:
    """The session of a token; UNAUTHENTICATED unless ``seal_session`` made exactly this text and it has not expired."""
    try:
        sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        _refuse(_SESSION)
    # Several texts decode to the same bytes; only one of them was issued.
    if base64.urlsafe_b64encode(sealed).rstrip(b"=").decode("ascii") != text:
        _refuse(_SESSION)
    return _open(signer, _SESSION, SessionToken, sealed, now=now)


def _seal(
    signer: Signer, kind: str, value: StatementTicket | PreparedHandle | SessionToken, *, expires_at: float
) -> bytes:
    return signer.seal(kind, msgspec.msgpack.encode(value), expires_at=expires_at)


def _open(signer: Signer, kind: str, cls: type[_S], data: bytes, *, now: float) -> _S:
    payload = signer.open(kind, data, now=now)
    try:
        return msgspec.msgpack.decode(payload, type=cls)
    except msgspec.DecodeError:
        # Signed with this key by a version whose payload had other fields.
        _refuse(kind)

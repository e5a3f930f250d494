"""Tickets, handles and session tokens: only what this key issued, whole, of the right kind and in time, is opened."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given, strategies as st

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flightsql.codec import pack, unpack
from flightmesh.flightsql.handles import (
    PreparedHandle,
    SessionToken,
    Signer,
    StatementTicket,
    open_prepared,
    open_session,
    open_statement,
    open_ticket,
    seal_prepared,
    seal_session,
    seal_ticket,
)
from flightmesh.flightsql.messages import CommandStatementQuery, TicketStatementQuery

KEY = bytes(range(32))
SIGNER = Signer(KEY)
EXPIRES = 1_800_000_000.0
NOW = EXPIRES - 60

TICKET = StatementTicket(
    principal="ada",
    surface="s1",
    generation="g7",
    sql="select 'ü' from aviation.flights.flights",
    parameters=b"\x00\xff",
    nonce="n",
    catalog="aviation",
    schema=None,
    session="s",
    transaction="t",
    encoded=True,
)
PREPARED = PreparedHandle(
    principal="ada",
    sql="select ?",
    catalog=None,
    schema=None,
    parameters=None,
    parameters_ref="r",
    nonce="n",
    session="s",
    transaction="t",
)
SESSION = SessionToken(session_id="x", user="ada", token_id=None)


def _refused(caught: pytest.ExceptionInfo[FlightmeshError], fact: str) -> None:
    assert caught.value.code is ErrorCode.UNAUTHENTICATED
    assert fact in caught.value.message


def test_what_was_sealed_is_opened() -> None:
    """A client that redeems its ticket, handle or token in time gets its own statement and session back."""
    assert open_ticket(SIGNER, seal_ticket(SIGNER, TICKET, expires_at=EXPIRES), now=NOW) == TICKET
    assert open_prepared(SIGNER, seal_prepared(SIGNER, PREPARED, expires_at=EXPIRES), now=NOW) == PREPARED
    assert open_session(SIGNER, seal_session(SIGNER, SESSION, expires_at=EXPIRES), now=NOW) == SESSION


def test_ticket_is_the_standards_message() -> None:
    """Clients that look into tickets find a TicketStatementQuery, whose handle opens by itself."""
    message = unpack(seal_ticket(SIGNER, TICKET, expires_at=EXPIRES))
    assert isinstance(message, TicketStatementQuery)
    assert open_statement(SIGNER, message.statement_handle, now=NOW) == TICKET


def test_another_node_with_the_key_opens_it() -> None:
    """A ticket issued before a restart, or by a neighbour, is served."""
    assert open_ticket(Signer(KEY), seal_ticket(SIGNER, TICKET, expires_at=EXPIRES), now=NOW) == TICKET


def test_every_flipped_bit_is_noticed() -> None:
    """Nobody turns a ticket of his into one for somebody else's rows."""
    whole = seal_ticket(SIGNER, TICKET, expires_at=EXPIRES)
    for at in range(len(whole)):
        for bit in range(8):
            altered = bytearray(whole)
            altered[at] ^= 1 << bit
            with pytest.raises(FlightmeshError) as caught:
                open_ticket(SIGNER, bytes(altered), now=NOW)
            _refused(caught, "was not issued by this server")


def test_every_flipped_bit_of_a_handle_is_noticed() -> None:
    """The same for prepared statements, whose handles travel without an envelope."""
    whole = seal_prepared(SIGNER, PREPARED, expires_at=EXPIRES)
    for at in range(len(whole) * 8):
        altered = bytearray(whole)
        altered[at // 8] ^= 1 << at % 8
        with pytest.raises(FlightmeshError) as caught:
            open_prepared(SIGNER, bytes(altered), now=NOW)
        _refused(caught, "was not issued by this server")


def test_every_altered_character_of_a_token_is_noticed() -> None:
    """One session has one token: texts that merely decode alike are refused, and so is padding."""
    text = seal_session(SIGNER, SESSION, expires_at=EXPIRES)
    places = [(at, other) for at in range(len(text)) for other in "Ab0-_=é" if other != text[at]]
    altered = [text[:at] + other + text[at + 1 :] for at, other in places]
    for each in (*altered, text + "=", text + "\n", "", "=", " " + text, text + "A"):
        with pytest.raises(FlightmeshError) as caught:
            open_session(SIGNER, each, now=NOW)
        _refused(caught, "was not issued by this server")


def test_every_truncation_is_noticed() -> None:
    """A ticket cut short, or with something behind it, is no ticket."""
    ticket = seal_ticket(SIGNER, TICKET, expires_at=EXPIRES)
    handle = seal_prepared(SIGNER, PREPARED, expires_at=EXPIRES)
    token = seal_session(SIGNER, SESSION, expires_at=EXPIRES)
    for size in range(len(ticket)):
        with pytest.raises(FlightmeshError) as caught:
            open_ticket(SIGNER, ticket[:size], now=NOW)
        _refused(caught, "was not issued by this server")
    for size in range(len(handle)):
        with pytest.raises(FlightmeshError):
            open_prepared(SIGNER, handle[:size], now=NOW)
    for size in range(len(token)):
        with pytest.raises(FlightmeshError):
            open_session(SIGNER, token[:size], now=NOW)
    with pytest.raises(FlightmeshError):
        open_ticket(SIGNER, ticket + b"\x00", now=NOW)


def test_foreign_key_is_refused() -> None:
    """Another installation's tickets open nothing here."""
    foreign = seal_ticket(Signer(bytes(32)), TICKET, expires_at=EXPIRES)
    with pytest.raises(FlightmeshError) as caught:
        open_ticket(SIGNER, foreign, now=NOW)
    _refused(caught, "was not issued by this server")


@pytest.mark.parametrize(("now", "is_open"), [(EXPIRES - 0.001, True), (EXPIRES, False), (EXPIRES + 1, False)])
def test_ticket_expires_at_its_second(now: float, is_open: bool) -> None:
    """A lease ends exactly when the collector of old generations thinks that it does."""
    ticket = seal_ticket(SIGNER, TICKET, expires_at=EXPIRES)
    if is_open:
        assert open_ticket(SIGNER, ticket, now=now) == TICKET
    else:
        with pytest.raises(FlightmeshError) as caught:
            open_ticket(SIGNER, ticket, now=now)
        _refused(caught, "has expired")


def test_expiry_that_is_not_a_number_has_expired() -> None:
    """A fault in computing an expiry makes a ticket useless, not eternal."""
    with pytest.raises(FlightmeshError) as caught:
        open_ticket(SIGNER, seal_ticket(SIGNER, TICKET, expires_at=math.nan), now=NOW)
    _refused(caught, "has expired")


def test_forged_ticket_does_not_learn_of_its_expiry() -> None:
    """The signature is judged first: an expired forgery is a forgery."""
    with pytest.raises(FlightmeshError) as caught:
        open_ticket(SIGNER, seal_ticket(Signer(bytes(32)), TICKET, expires_at=0.0), now=NOW)
    _refused(caught, "was not issued by this server")


def test_kinds_do_not_mix() -> None:
    """A session token is no ticket and a prepared statement no session, though one key seals all."""
    ticket = unpack(seal_ticket(SIGNER, TICKET, expires_at=EXPIRES))
    assert isinstance(ticket, TicketStatementQuery)
    handle = seal_prepared(SIGNER, PREPARED, expires_at=EXPIRES)
    with pytest.raises(FlightmeshError) as caught:
        open_prepared(SIGNER, ticket.statement_handle, now=NOW)
    _refused(caught, "was not issued by this server")
    with pytest.raises(FlightmeshError):
        open_statement(SIGNER, handle, now=NOW)
    with pytest.raises(FlightmeshError):
        open_ticket(SIGNER, pack(TicketStatementQuery(handle)), now=NOW)
    with pytest.raises(FlightmeshError):
        SIGNER.open("b", SIGNER.seal("a", b"", expires_at=EXPIRES), now=NOW)


def test_kind_and_payload_cannot_trade_bytes() -> None:
    """The kind's length is signed too: kind "a" with payload "bc" is not kind "ab" with payload "c"."""
    sealed = SIGNER.seal("a", b"bc", expires_at=EXPIRES)
    with pytest.raises(FlightmeshError):
        SIGNER.open("ab", sealed[:9] + sealed[10:], now=NOW)


def test_other_messages_are_no_tickets() -> None:
    """A command in place of a ticket is refused as one that was not issued."""
    for data in (b"", b"garbage", pack(CommandStatementQuery("select 1"))):
        with pytest.raises(FlightmeshError) as caught:
            open_ticket(SIGNER, data, now=NOW)
        _refused(caught, "was not issued by this server")


def test_payload_of_another_version_is_refused() -> None:
    """After an upgrade that changed the fields, an old handle is refused, not misread."""
    old = SIGNER.seal("ticket", msgspec.msgpack.encode(["ada", 1]), expires_at=EXPIRES)
    with pytest.raises(FlightmeshError) as caught:
        open_statement(SIGNER, old, now=NOW)
    _refused(caught, "was not issued by this server")


def test_short_key_is_refused() -> None:
    """An operator who configures a guessable key is told at the start."""
    with pytest.raises(FlightmeshError, match="32 bytes"):
        Signer(b"secret")


@given(st.binary(max_size=200), st.text(max_size=20))
def test_any_payload_and_kind_survive(payload: bytes, kind: str) -> None:
    """Sealing changes nothing of what is sealed."""
    assert SIGNER.open(kind, SIGNER.seal(kind, payload, expires_at=EXPIRES), now=NOW) == payload


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    """Garbage in place of a handle ends with one plain error."""
    with pytest.raises(FlightmeshError) as caught:
        open_prepared(SIGNER, data, now=NOW)
    _refused(caught, "was not issued by this server")

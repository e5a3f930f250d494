"""Tickets, handles and session tokens serve only as issued: unaltered, in time, to their owner, under the policy of
the day.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.flight as fl
import pytest

from flightmesh.flightsql import handles, messages as m
from flightmesh.flightsql.codec import pack, unpack
from flightmesh.service import accounts

PRODUCT = Path(__file__).parents[2] / "products" / "clinical_trials"
PATH = ("clinical", "trials", "patients")
SELECT = "SELECT count(*) AS n FROM clinical.trials.patients"
# How often a server looks at its config file is a second; doubled for a busy machine.
_NOTICED_S = 4.0
Start = Callable[..., AbstractContextManager[Any]]


def _ticket(caller: Any) -> bytes:
    ticket: bytes = caller.info(fl.FlightDescriptor.for_path(*PATH)).endpoints[0].ticket.ticket
    return ticket


def _statement(caller: Any) -> bytes:
    command = fl.FlightDescriptor.for_command(pack(m.CommandStatementQuery(SELECT)))
    ticket: bytes = caller.info(command).endpoints[0].ticket.ticket
    return ticket


def _is_unauthenticated(action: Callable[[], object], refusal: type[Exception]) -> None:
    with pytest.raises(refusal) as refused:
        action()
    assert str(refused.value).startswith("unauthenticated: ")


def _flipped(data: bytes, position: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 1 << bit
    return bytes(changed)


def test_an_altered_ticket_is_refused_at_every_byte(server: Any, calling: Any, refusal: type[Exception]) -> None:
    """A client would change the statement, the owner or the expiry of a ticket and be served."""
    chance = random.Random(1)
    with calling(server, "site") as caller:
        ticket = _statement(caller)
        assert caller.fetch(ticket)["n"].to_pylist() == [370]
        for position in range(len(ticket)):
            altered = _flipped(ticket, position, chance.randrange(8))
            _is_unauthenticated(partial(caller.fetch, altered), refusal)


def test_an_altered_handle_is_refused_at_every_byte(server: Any, calling: Any, refusal: type[Exception]) -> None:
    """A client would change the statement of a prepared handle and be served."""
    chance = random.Random(2)
    with calling(server, "site") as caller:
        handle = caller.prepare(SELECT)
        assert caller.command(m.CommandPreparedStatementQuery(handle))["n"].to_pylist() == [370]
        for position in range(len(handle)):
            command = m.CommandPreparedStatementQuery(_flipped(handle, position, chance.randrange(8)))
            _is_unauthenticated(partial(caller.command, command), refusal)


def test_a_cut_or_lengthened_ticket_is_refused(server: Any, calling: Any, refusal: type[Exception]) -> None:
    """Bytes lost or added on the way would give another statement or crash the server."""
    with calling(server, "site") as caller:
        ticket = _statement(caller)
        for length in (*range(0, len(ticket), 7), len(ticket) - 1):
            _is_unauthenticated(partial(caller.fetch, ticket[:length]), refusal)
        for tail in (b"\0", b"x" * 33, ticket):
            _is_unauthenticated(partial(caller.fetch, ticket + tail), refusal)


def test_a_ticket_of_another_key_is_refused(server: Any, calling: Any, refusal: type[Exception]) -> None:
    """Anybody who has this software could write tickets for every server."""
    with calling(server, "site") as caller:
        message = unpack(_statement(caller))
        assert isinstance(message, m.TicketStatementQuery)
        # What a ticket says can be read by its holder; only the seal cannot be made.
        inner = msgspec.msgpack.decode(message.statement_handle[9:-32], type=handles.StatementTicket)
        for key in (b"\0" * 32, b"another key of another server...", bytes(range(64))):
            forged = handles.seal_ticket(handles.Signer(key), inner, expires_at=time.time() + 60)
            _is_unauthenticated(partial(caller.fetch, forged), refusal)


def test_kinds_do_not_mix(server: Any, calling: Any, refusal: type[Exception]) -> None:
    """A handle, which lives for a day, would do as a ticket after the ticket has expired, or a ticket as a handle."""
    with calling(server, "site") as caller:
        message = unpack(_statement(caller))
        assert isinstance(message, m.TicketStatementQuery)
        handle = caller.prepare(SELECT)
        _is_unauthenticated(lambda: caller.fetch(pack(m.TicketStatementQuery(handle))), refusal)
        _is_unauthenticated(lambda: caller.command(m.CommandPreparedStatementQuery(message.statement_handle)), refusal)
        _is_unauthenticated(lambda: caller.fetch(handle), refusal)


def test_a_ticket_that_may_be_read_twice_gives_the_same_twice(server: Any, calling: Any) -> None:
    """A retry of a reader whose network failed would be refused."""
    with calling(server, "site") as caller:
        ticket = _ticket(caller)
        assert caller.fetch(ticket).equals(caller.fetch(ticket))


def test_an_expired_ticket_is_refused(start: Start, calling: Any, refusal: type[Exception]) -> None:
    """A ticket found in an old log would still read."""
    toml = "[limits]\nticket_ttl_s = 2\nprepared_ttl_s = 4\n"
    with start(products=[PRODUCT], toml=toml) as server, calling(server, "site") as caller:
        assert caller.path(*PATH).num_rows == 370  # The first statement waits for its engine; the next do not.
        ticket, handle = _ticket(caller), caller.prepare(SELECT)
        assert caller.fetch(ticket).num_rows == 370
        time.sleep(2.1)
        _is_unauthenticated(lambda: caller.fetch(ticket), refusal)
        time.sleep(2.1)
        _is_unauthenticated(lambda: caller.command(m.CommandPreparedStatementQuery(handle)), refusal)
        assert caller.fetch(_ticket(caller)).num_rows == 370


def test_a_change_of_roles_ends_tickets_and_narrows_handles(
    start: Start, calling: Any, refusal: type[Exception]
) -> None:
    """Who lost a role would read on with what was handed out under it."""
    with start(products=[PRODUCT]) as server, calling(server, "steward") as caller:
        ticket, handle = _statement(caller), m.CommandPreparedStatementQuery(caller.prepare(SELECT))
        assert caller.fetch(ticket)["n"].to_pylist() == [2139]
        accounts.add_user(server.config, "steward", ["site"], server.password("steward"), replace=True)
        _until(lambda: caller.direct(SELECT)["n"].to_pylist() == [370])  # In one call: no ticket in between.
        _is_unauthenticated(lambda: caller.fetch(ticket), refusal)
        # A handle is approved anew on what its owner sees now.
        assert caller.command(handle)["n"].to_pylist() == [370]
        accounts.add_user(server.config, "steward", ["visitor"], server.password("steward"), replace=True)
        _until(lambda: _said(lambda: caller.direct(SELECT), refusal).startswith("not_found: "))
        assert _said(lambda: caller.command(handle), refusal).startswith("not_found: ")
        _is_unauthenticated(lambda: caller.fetch(ticket), refusal)


def test_a_revoked_token_ends_its_sessions_and_tickets(start: Start, calling: Any, refusal: type[Exception]) -> None:
    """Who stole a token would read on with the session that it opened."""
    with start(products=[PRODUCT]) as server:
        session, password = _session_token(server.uri, server.tokens["site"]), _password_session(server)
        with calling(server, "site") as caller:
            by_session, by_password = _as(caller, session), _as(caller, password)
            ticket = _statement(by_session)
            assert by_session.fetch(ticket)["n"].to_pylist() == [370]
            accounts.revoke_token(server.config, server.tokens["site"])
            _until(lambda: _said(lambda: caller.direct(SELECT), refusal).startswith("unauthenticated: "))
            _is_unauthenticated(lambda: by_session.sql(SELECT), refusal)
            _is_unauthenticated(lambda: by_session.fetch(ticket), refusal)
            assert by_password.sql(SELECT)["n"].to_pylist() == [370]
            accounts.remove_user(server.config, "site")
            _until(lambda: _said(lambda: by_password.direct(SELECT), refusal).startswith("unauthenticated: "))
            _is_unauthenticated(lambda: by_password.fetch(ticket), refusal)


@pytest.mark.parametrize(
    "header",
    ["Bearer ", "Bearer x", "Bearer fm_x_y", "Bearer fms_x", "Basic !!!", "Basic c2l0ZTp3cm9uZw", "Digest a", "", "  "],
)
def test_wrong_credentials_are_never_the_anonymous(
    server: Any, calling: Any, refusal: type[Exception], header: str
) -> None:
    """A typo in a token would silently serve what everybody may read, and hide the mistake."""
    with calling(server, None) as caller:
        wrong = type(caller)(caller.client, fl.FlightCallOptions(headers=[(b"authorization", header.encode())]))
        _is_unauthenticated(lambda: wrong.sql("SELECT 1"), refusal)
        _is_unauthenticated(lambda: wrong.schema("SELECT 1"), refusal)


def _as(caller: Any, token: str) -> Any:
    """The same client with another token."""
    headers = [(b"authorization", b"Bearer " + token.encode())]
    return type(caller)(caller.client, fl.FlightCallOptions(headers=headers))


def _session_token(uri: str, token: str) -> str:
    """The session token that the server answers to the first call with an API token."""
    given: list[str] = []

    class Taking(fl.ClientMiddleware):  # type: ignore[misc] # pyarrow is untyped
        def received_headers(self, headers: dict[str, list[str]]) -> None:
            given.extend(headers.get("authorization", []))

    class Factory(fl.ClientMiddlewareFactory):  # type: ignore[misc] # as above
        def start_call(self, info: Any) -> Taking:
            return Taking()

    options = fl.FlightCallOptions(headers=[(b"authorization", b"Bearer " + token.encode())])
    with fl.connect(uri, middleware=[Factory()]) as client:
        list(client.list_actions(options))
    assert given
    return given[0].removeprefix("Bearer ")


def _password_session(server: Any) -> str:
    with fl.connect(server.uri) as client:
        _, header = client.authenticate_basic_token("site", server.password("site"))
    match = re.fullmatch(rb"Bearer (\S+)", header)
    assert match is not None
    return match[1].decode()


def _said(action: Callable[[], object], refusal: type[Exception]) -> str:
    try:
        action()
    except refusal as refused:
        return str(refused)
    return ""


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _NOTICED_S
    while not is_so():
        assert time.monotonic() < deadline, "the server did not notice the change of its accounts"
        time.sleep(0.05)

"""Tests of flightmesh.service.authn."""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from flightmesh.config import Accounts, ApiToken, Limits, User
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flightsql.handles import Signer
from flightmesh.service.authn import (
    AUTHORIZATION_CHARACTERS_MAX,
    Authn,
    Basic,
    Bearer,
    Certificate,
    Credentials,
    Identity,
    NoCredentials,
    Passwords,
    Principal,
    hash_password,
    hash_secret,
    is_password,
    parse_authorization,
)

LIMITS = Limits()
BOB = User("bob", "hash-of:right", frozenset({"analyst"}), {"site": 3})
EVE = User("eve", None, frozenset({"steward"}))
TOKEN = ApiToken("ab12", "eve", hash_secret("s_ecret"), expires_at=2_000.0)


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class SlowHash:
    """Stands in for scrypt and counts how often it would have run."""

    calls: int = 0

    def __call__(self, password: str, stored: str) -> bool:
        self.calls += 1
        return stored == f"hash-of:{password}"


@dataclass
class House:
    """An Authn with the clock and the hash in the test's hand."""

    clock: Clock = field(default_factory=Clock)
    slow: SlowHash = field(default_factory=SlowHash)
    limits: Limits = LIMITS

    def authn(self, *, anonymous: bool = True, file: Path | None = None, key: bytes = b"k" * 32) -> Authn:
        return Authn(
            Accounts({"bob": BOB, "eve": EVE}, {"ab12": TOKEN}),
            allows_anonymous=anonymous,
            signer=Signer(key),
            limits=self.limits,
            config_file=file,
            clock=self.clock,
            passwords=Passwords(self.limits, clock=self.clock, check=self.slow),
        )


def code(call: Callable[[], object]) -> ErrorCode | None:
    try:
        call()
    except FlightmeshError as error:
        return error.code
    return None


def is_refused(authn: Authn, credentials: Credentials) -> bool:
    return code(lambda: authn.authenticate(credentials)) is ErrorCode.UNAUTHENTICATED


def session_of(authn: Authn, identity: Identity) -> Bearer:
    return Bearer(authn.open_session(identity, "s1"))


def basic(text: str | bytes, *, padded: bool = True) -> str:
    encoded = base64.b64encode(text.encode() if isinstance(text, str) else text).decode()
    return "Basic " + (encoded if padded else encoded.rstrip("="))


# ------------------------------------------------------------------------------------------------------- header values


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize(
    ("pair", "user", "password"),
    [
        ("bob:pw", "bob", "pw"),
        ("bob:a:b:", "bob", "a:b:"),
        ("bob:", "bob", ""),
        (":pw", "", "pw"),
        ("bøb:pässwörd €", "bøb", "pässwörd €"),
    ],
)
def test_basic_in_every_form(pair: str, user: str, password: str, padded: bool) -> None:
    """Go clients leave the padding out; passwords may hold colons and any letter."""
    assert parse_authorization(basic(pair, padded=padded)) == Basic(user, password)


def test_schemes_have_no_case() -> None:
    """RFC 7235: a driver may write ``bearer`` or ``BASIC``."""
    assert parse_authorization("bearer fm_a_b-c") == Bearer("fm_a_b-c")
    assert parse_authorization("BASIC  " + basic("a:b")[6:] + " ") == Basic("a", "b")


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "Basic",
        "Basic ",
        "Bearer",
        "Bearer  ",
        "Bearer a b",
        "Bearer a\r\nx: y",
        "Bearer é",
        "Basic é",
        "Basic ====",
        "Basic a",
        "Basic abcde",
        "Basic Ym9iOnB3=Ym9i",
        "Basic Ym9i\nOnB3",
        basic("nocolon"),
        basic(b"\xff\xfe:x"),
        "Digest a",
        "Negotiate YII=",
        "Basic\tYm9iOnB3",
        "\0",
        "Bearer " + "a" * AUTHORIZATION_CHARACTERS_MAX,
        basic("a:" + "b" * AUTHORIZATION_CHARACTERS_MAX),
    ],
)
def test_garbage_is_unauthenticated(value: str) -> None:
    """A hostile header ends in the one code for it, never in a traceback, and is not repeated."""
    with pytest.raises(FlightmeshError) as caught:
        parse_authorization(value)
    assert caught.value.code is ErrorCode.UNAUTHENTICATED
    assert len(str(caught.value)) < 200


@given(st.text() | st.text().map("Basic {}".format) | st.binary().map(basic) | st.text().map("Bearer {}".format))
def test_no_header_raises_anything_else(value: str) -> None:
    """Whatever arrives, only FlightmeshError leaves."""
    with contextlib.suppress(FlightmeshError):
        parse_authorization(value)


def test_secrets_are_in_no_representation() -> None:
    """Credentials end up in logs by accident; their secrets must not."""
    assert "pw" not in repr(Basic("bob", "pw"))
    assert "fm_" not in repr(Bearer("fm_a_b"))


# ---------------------------------------------------------------------------------------------------------- passwords


def test_a_stored_password_is_recognised() -> None:
    """What ``user add`` writes is what sign-in checks, with a salt of its own."""
    stored = hash_password("pässwörd")
    assert is_password("pässwörd", stored)
    assert not is_password("passwort", stored)
    assert stored != hash_password("pässwörd")


def test_the_right_password() -> None:
    """A user has the roles and attributes of the config file."""
    identity = House().authn().authenticate(Basic("bob", "right"))
    assert identity.principal == Principal("bob", frozenset({"analyst"}), {"site": 3})
    assert identity.session_id is None


def test_unknown_user_and_wrong_password_are_alike() -> None:
    """Neither text nor cost tells an attacker which names exist."""
    house = House()
    authn = house.authn()
    texts = []
    for number, name in enumerate(["bob", "nobody", "eve", "", "anonymous", "x" * 5_000], start=1):
        with pytest.raises(FlightmeshError) as caught:
            authn.authenticate(Basic(name, "wrong"))
        texts.append(str(caught.value))
        assert house.slow.calls == number
    assert len(set(texts)) == 1


def test_a_right_password_is_hashed_once_for_a_while() -> None:
    """Drivers shake hands for every connection; 50 ms each would be the server's whole time."""
    house = House()
    authn = house.authn()
    for _ in range(5):
        authn.authenticate(Basic("bob", "right"))
    assert house.slow.calls == 1
    house.clock.now += LIMITS.login_cache_ttl_s
    authn.authenticate(Basic("bob", "right"))
    assert house.slow.calls == 2


def test_a_remembered_password_ends_with_its_hash() -> None:
    """After a change of password the old one is refused at once."""
    house = House()
    authn = house.authn()
    authn.authenticate(Basic("bob", "right"))
    authn.replace({"bob": replace(BOB, password_hash="hash-of:new")}, {})
    assert is_refused(authn, Basic("bob", "right"))
    assert authn.authenticate(Basic("bob", "new")).principal.name == "bob"


@pytest.mark.parametrize("name", ["bob", "nobody"])
def test_guessing_is_slowed_down(name: str) -> None:
    """After a few wrong passwords the name has to wait, whether it exists or not, and no hash is computed."""
    house = House()
    authn = house.authn()
    for _ in range(LIMITS.login_failures_max):
        assert is_refused(authn, Basic(name, "wrong"))
    with pytest.raises(FlightmeshError) as caught:
        authn.authenticate(Basic(name, "right"))
    assert caught.value.code is ErrorCode.EXHAUSTED
    assert "61 seconds" in str(caught.value.hint)
    assert house.slow.calls == LIMITS.login_failures_max
    assert authn.authenticate(Bearer("fm_ab12_s_ecret")).principal.name == "eve"
    house.clock.now += LIMITS.login_window_s
    assert is_refused(authn, Basic(name, "wrong"))


def test_a_guesser_does_not_lock_the_user_out() -> None:
    """Whoever signed in with the right password lately goes on doing so while somebody else guesses."""
    authn = House().authn()
    authn.authenticate(Basic("bob", "right"))
    for _ in range(LIMITS.login_failures_max + 3):
        code(lambda: authn.authenticate(Basic("bob", "wrong")))
    assert authn.authenticate(Basic("bob", "right")).principal.name == "bob"


def test_what_is_remembered_is_bounded() -> None:
    """A million invented names must not fill the memory."""
    limits = replace(LIMITS, login_names_max=5, login_cache_entries_max=3)
    passwords = Passwords(limits, clock=Clock(), check=SlowHash())
    for number in range(50):
        passwords.are_right(f"n{number}", "wrong", None)
        passwords.are_right(f"m{number}", f"{number}", f"hash-of:{number}")
    assert (len(passwords._wrong), len(passwords._right)) == (5, 3)


def test_a_crowd_of_sign_ins_is_told_to_wait() -> None:
    """Hashing takes memory and a core: more at once than configured wait, then are refused with a hint."""
    limits = replace(LIMITS, login_parallel_max=1, login_wait_s=0.01)
    inner: list[ErrorCode | None] = []

    def check(password: str, stored: str) -> bool:
        inner.append(code(lambda: passwords.are_right("b", "other", None)))
        return True

    passwords = Passwords(limits, clock=Clock(), check=check)
    assert passwords.are_right("a", "x", "hash-of:x")
    assert inner == [ErrorCode.UNAVAILABLE]


# ---------------------------------------------------------------------------------------------------------- anonymous


def test_anonymous_when_allowed() -> None:
    """No credentials, or the empty ones that some clients cannot leave out."""
    authn = House().authn()
    for credentials in (NoCredentials(), Basic("", ""), Basic("anonymous", "")):
        who = authn.authenticate(credentials).principal
        assert (who.name, who.roles, who.is_anonymous) == ("anonymous", frozenset(), True)


def test_anonymous_when_not_allowed() -> None:
    """A server with users on the network lets nobody in without credentials, not by an old session either."""
    house = House()
    session = session_of(house.authn(), house.authn().authenticate(NoCredentials()))
    authn = house.authn(anonymous=False)
    for credentials in (NoCredentials(), Basic("", ""), Basic("anonymous", ""), session):
        assert is_refused(authn, credentials)


# --------------------------------------------------------------------------------------------------------- API tokens


def test_api_tokens() -> None:
    """A token acts for its user, with the user's roles of now."""
    identity = House().authn().authenticate(Bearer("fm_ab12_s_ecret"))
    assert identity == Identity(Principal("eve", frozenset({"steward"})), origin="ab12")


@pytest.mark.parametrize(
    "text",
    ["fm_ab12_wrong", "fm_ab12_", "fm_ab12", "fm_", "fm__s_ecret", "fm_zz_s_ecret", "x", "fms_", "fms_x", "fms_@"],
)
def test_wrong_tokens(text: str) -> None:
    """Nothing but the whole token opens."""
    assert is_refused(House().authn(), Bearer(text))


def test_expired_and_orphaned_tokens() -> None:
    """A token ends at its time, and with its user."""
    house = House()
    authn = house.authn()
    authn.replace({"bob": BOB}, {"ab12": TOKEN})
    assert is_refused(authn, Bearer("fm_ab12_s_ecret"))
    authn.replace({"eve": EVE}, {"ab12": TOKEN})
    house.clock.now = 1_999.9
    assert authn.authenticate(Bearer("fm_ab12_s_ecret")).principal.name == "eve"
    house.clock.now = 2_000.0
    assert is_refused(authn, Bearer("fm_ab12_s_ecret"))


# ----------------------------------------------------------------------------------------------------- session tokens


def test_a_session_token_stands_for_its_user() -> None:
    """It names its session, needs no hashing, and gives the roles of now."""
    house = House()
    authn = house.authn()
    identity = authn.authenticate(Basic("bob", "right"))
    first = session_of(authn, identity)
    assert first.token.startswith("fms_")
    assert authn.authenticate(first) == replace(identity, session_id="s1")
    authn.replace({"bob": replace(BOB, roles=frozenset({"site"}), attributes={})}, {})
    assert authn.authenticate(first).principal == Principal("bob", frozenset({"site"}))
    assert house.slow.calls == 1


def test_an_anonymous_session() -> None:
    """Anonymous connections have sessions too: some clients fail without a token in the answer."""
    authn = House().authn()
    identity = authn.authenticate(session_of(authn, authn.authenticate(NoCredentials())))
    assert identity.principal.is_anonymous
    assert identity.session_id


def test_sessions_end_in_time_and_are_signed() -> None:
    """Expired, altered and foreign tokens are refused."""
    house = House()
    authn = house.authn()
    session = session_of(authn, authn.authenticate(Basic("bob", "right")))
    for at in range(4, len(session.token)):
        letter = "A" if session.token[at] != "A" else "B"
        assert is_refused(authn, Bearer(session.token[:at] + letter + session.token[at + 1 :]))
        assert is_refused(authn, Bearer(session.token[:at]))
    assert is_refused(house.authn(key=b"o" * 32), session)
    house.clock.now += LIMITS.session_ttl_s
    assert is_refused(authn, session)


def test_sessions_end_with_what_they_rest_on() -> None:
    """Removing a user, changing a password, revoking a token or its expiry bite at the next call."""
    house = House()
    authn = house.authn()
    by_password = session_of(authn, authn.authenticate(Basic("bob", "right")))
    by_token = session_of(authn, authn.authenticate(Bearer("fm_ab12_s_ecret")))
    again = session_of(authn, authn.authenticate(by_token))
    assert authn.authenticate(again).principal.name == "eve"

    authn.replace({"eve": EVE}, {"ab12": TOKEN})
    assert is_refused(authn, by_password)
    authn.replace({"bob": replace(BOB, password_hash="hash-of:new")}, {"ab12": TOKEN})
    assert is_refused(authn, by_password)
    assert is_refused(authn, by_token)
    authn.replace({"eve": EVE, "bob": BOB}, {})
    assert authn.authenticate(by_password).principal.name == "bob"
    assert is_refused(authn, by_token)
    assert is_refused(authn, again)
    authn.replace({"eve": EVE, "bob": BOB}, {"ab12": replace(TOKEN, user="bob")})
    assert is_refused(authn, by_token)
    authn.replace({"eve": EVE}, {"ab12": TOKEN})
    assert authn.authenticate(by_token).principal.name == "eve"
    house.clock.now = 2_000.0
    assert is_refused(authn, by_token)


def test_a_token_names_a_session_to_its_own_identity_only() -> None:
    """A cookie chooses among the sessions of a caller who is known already; another's, or an old one, chooses none."""
    house = House()
    authn = house.authn()
    bob, eve = authn.authenticate(Basic("bob", "right")), authn.authenticate(Bearer("fm_ab12_s_ecret"))
    nobody = authn.authenticate(NoCredentials())
    token = session_of(authn, bob).token
    assert authn.named_session(token, bob) == "s1"
    assert authn.named_session(session_of(authn, nobody).token, nobody) == "s1"
    for text, identity in (
        (token, eve),
        (token, nobody),
        (token, replace(bob, origin="ab12")),
        (session_of(authn, nobody).token, bob),
        (token[:-1], bob),
        (token.removeprefix("fms_"), bob),
        ("fm_ab12_s_ecret", eve),
        ("", bob),
        ("fms_\xff", bob),
        ("fms_" + "A" * 10_000, bob),
    ):
        assert authn.named_session(text, identity) is None
    house.clock.now += LIMITS.session_ttl_s
    assert authn.named_session(token, bob) is None


# ------------------------------------------------------------------------------------------------------- certificates


def test_certificates_stand_for_their_users() -> None:
    """The whole name counts; a user may have several, and loses one as soon as the file does."""
    authn = House().authn()
    assert is_refused(authn, Certificate("bob.example.org"))
    authn.replace({"bob": replace(BOB, certificates=("bob.example.org", "spiffe://x/bob")), "eve": EVE}, {})
    first = authn.authenticate(Certificate("bob.example.org"))
    assert first.principal == Principal("bob", BOB.roles, BOB.attributes)
    assert authn.authenticate(Certificate("spiffe://x/bob")).principal == first.principal
    for name in ("", "bob", "eve", "BOB.example.org", "bob.example.org.", "x.bob.example.org", "bob.example.org\0"):
        assert is_refused(authn, Certificate(name))
    authn.replace({"bob": BOB, "eve": replace(EVE, certificates=("bob.example.org",))}, {})
    assert authn.authenticate(Certificate("bob.example.org")).principal.name == "eve"


def test_a_session_of_a_certificate_is_worth_nothing_without_it() -> None:
    """Its token travels in headers; whoever reads it there has no certificate and is nobody."""
    authn = House().authn()
    authn.replace({"bob": replace(BOB, certificates=("bob.example.org",))}, {})
    identity = authn.authenticate(Certificate("bob.example.org"))
    session = session_of(authn, identity)
    assert authn.named_session(session.token, identity) == "s1"
    assert is_refused(authn, session)


def test_admins_are_who_has_the_role() -> None:
    """Ending another's query is for roles that the operator named; with none named it is for nobody."""
    assert Principal("ann", frozenset({"a", "b"})).is_admin(frozenset({"b", "c"}))
    assert not Principal("ann", frozenset({"a", "b"})).is_admin(frozenset({"c"}))
    assert not Principal("ann", frozenset({"a"})).is_admin(frozenset())
    assert not House().authn().authenticate(NoCredentials()).principal.is_admin(frozenset({"admin", "anonymous"}))


# -------------------------------------------------------------------------------------------------------- config file


def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """``token revoke`` and ``user remove`` bite without a restart, within a second."""
    file = tmp_path / "f.toml"
    file.write_text(f'[users.eve]\n[tokens.ab12]\nuser = "eve"\nhash = "{hash_secret("s_ecret")}"\n', encoding="utf-8")
    house = House()
    authn = house.authn(file=file)
    assert is_refused(authn, Basic("bob", "right"))
    session = session_of(authn, authn.authenticate(Bearer("fm_ab12_s_ecret")))
    file.write_text("[users.eve]\n", encoding="utf-8")
    house.clock.now += 0.5
    assert authn.authenticate(session).principal.name == "eve"
    house.clock.now += 0.6
    assert is_refused(authn, session)
    assert is_refused(authn, Bearer("fm_ab12_s_ecret"))


def test_a_broken_or_missing_file_changes_nothing(tmp_path: Path) -> None:
    """An editor that saves half a file must not lock everybody out; the next good file counts."""
    file = tmp_path / "f.toml"
    file.write_text("[users.eve]\nroles = ['a']\n[users.bob]\npassword = '' #", encoding="utf-8")
    house = House()
    authn = house.authn(file=file)
    assert authn.authenticate(Basic("bob", "right")).principal.name == "bob"
    file.unlink()
    house.clock.now += 2
    assert authn.authenticate(Basic("bob", "right")).principal.name == "bob"
    file.write_text("[users.eve]\n", encoding="utf-8")
    house.clock.now += 2
    assert is_refused(authn, Basic("bob", "right"))


def test_a_clock_set_back_does_not_stop_the_reading(tmp_path: Path) -> None:
    """Else a revoked token would live until the clock caught up."""
    file = tmp_path / "f.toml"
    file.write_text("[users.eve]\n", encoding="utf-8")
    house = House()
    authn = house.authn(file=file)
    assert is_refused(authn, Bearer("fm_ab12_s_ecret"))
    house.clock.now -= 500
    file.write_text(f'[users.eve]\n[tokens.ab12]\nuser = "eve"\nhash = "{hash_secret("s_ecret")}"\n', encoding="utf-8")
    os.utime(file, ns=(1, 1))
    assert authn.authenticate(Bearer("fm_ab12_s_ecret")).principal.name == "eve"


def test_principals_are_keys_of_caches() -> None:
    """Equal only with equal attributes: a row filter must not be reused for another site."""
    one = Principal("bob", frozenset({"a", "b"}), {"site": 1})
    assert one == Principal("bob", frozenset({"b", "a"}), {"site": 1})
    assert hash(one) == hash(Principal("bob", frozenset({"b", "a"}), {"site": 2}))
    assert one != Principal("bob", frozenset({"a", "b"}), {"site": 2})

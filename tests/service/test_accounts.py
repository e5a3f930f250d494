"""Tests of flightmesh.service.accounts."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flightmesh.config import Accounts, Limits, load_accounts
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flightsql.handles import Signer
from flightmesh.service.accounts import add_user, create_token, parse_duration, remove_user, revoke_token
from flightmesh.service.authn import Authn, Basic, Bearer

WRITTEN = """# our server
[server]
port = 1  # free

[limits]
drain_s = 5  # keep me
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "flightmesh.toml"
    path.write_text(WRITTEN, encoding="utf-8")
    return path


def refusal(code: ErrorCode, call: object, *arguments: object, **named: object) -> FlightmeshError:
    assert callable(call)
    with pytest.raises(FlightmeshError) as caught:
        call(*arguments, **named)
    assert caught.value.code is code
    return caught.value


def authn(accounts: Accounts) -> Authn:
    return Authn(accounts, allows_anonymous=False, signer=Signer(b"k" * 32), limits=Limits())


def test_what_is_written_lets_in(file: Path) -> None:
    """The command line and the server agree on hashes and tokens."""
    add_user(file, "bob", ["analyst", "site", "analyst"], "pa:ss wörd")
    text = create_token(file, "bob", None)
    door = authn(load_accounts(file))
    assert door.authenticate(Basic("bob", "pa:ss wörd")).principal.roles == frozenset({"analyst", "site"})
    assert door.authenticate(Bearer(text)).principal.name == "bob"
    stored = file.read_text(encoding="utf-8")
    assert "pa:ss" not in stored
    assert text.split("_", 2)[2] not in stored


def test_comments_and_order_stay(file: Path) -> None:
    """The file belongs to its author."""
    add_user(file, "bob", [], "pw")
    create_token(file, "bob", 60)
    assert file.read_text(encoding="utf-8").startswith(WRITTEN)
    remove_user(file, "bob")
    assert file.read_text(encoding="utf-8").startswith(WRITTEN)
    assert load_accounts(file) == Accounts()


def test_a_new_file_is_private(tmp_path: Path) -> None:
    """Hashes are for the server alone, in a new file as in one that was open to all; nothing else stays behind."""
    file = tmp_path / "new.toml"
    add_user(file, "bob", ["a"], "pw")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)
    create_token(file, "bob", None)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["new.toml"]


def test_the_file_behind_a_link_is_changed(file: Path, tmp_path: Path) -> None:
    """A linked config file stays a link."""
    link = tmp_path / "link.toml"
    link.symlink_to(file)
    add_user(link, "bob", [], "pw")
    assert link.is_symlink()
    assert "bob" in load_accounts(file).users


def test_a_user_is_not_overwritten_by_accident(file: Path) -> None:
    """``user add`` twice does not hand an account to somebody else; --replace keeps attributes and tokens."""
    add_user(file, "bob", ["a"], "pw")
    with file.open("a", encoding="utf-8") as stream:
        stream.write("[users.bob.attributes]\nsite = 3\n")
    token = create_token(file, "bob", None)
    before = file.read_bytes()
    assert "--replace" in str(refusal(ErrorCode.INVALID, add_user, file, "bob", ["b"], "new").hint)
    assert file.read_bytes() == before
    add_user(file, "bob", ["b"], "new", replace=True)
    accounts = load_accounts(file)
    assert (accounts.users["bob"].roles, dict(accounts.users["bob"].attributes)) == (frozenset({"b"}), {"site": 3})
    assert authn(accounts).authenticate(Bearer(token)).principal.name == "bob"
    assert authn(accounts).authenticate(Basic("bob", "new")).principal.name == "bob"


def test_removing_a_user_removes_the_tokens(file: Path) -> None:
    """Nobody comes back by a token when a new user gets the old name."""
    for name in ("bob", "eve"):
        add_user(file, name, [], "pw")
        create_token(file, name, None)
        create_token(file, name, None)
    remove_user(file, "bob")
    accounts = load_accounts(file)
    assert set(accounts.users) == {"eve"}
    assert [token.user for token in accounts.tokens.values()] == ["eve", "eve"]
    assert "Did you mean eve?" in str(refusal(ErrorCode.NOT_FOUND, remove_user, file, "evee").hint)


def test_tokens_expire_and_are_revoked(file: Path) -> None:
    """By id or by the whole text, whichever the operator has at hand; a secret is not repeated in an error."""
    add_user(file, "bob@example.org", [], "pw")
    first = create_token(file, "bob@example.org", 3_600, clock=lambda: 1_000.9)
    second = create_token(file, "bob@example.org", None)
    ids = [text.split("_")[1] for text in (first, second)]
    tokens = load_accounts(file).tokens
    assert [tokens[id_].expires_at for id_ in ids] == [4_600.0, None]
    assert revoke_token(file, first) == ids[0]
    assert revoke_token(file, ids[1]) == ids[1]
    assert load_accounts(file).tokens == {}
    assert first.split("_", 2)[2] not in str(refusal(ErrorCode.NOT_FOUND, revoke_token, file, first))


def test_tokens_of_nobody(file: Path) -> None:
    """A misspelt user is told, with the nearest one."""
    add_user(file, "alice", [], "pw")
    assert "Did you mean alice?" in str(refusal(ErrorCode.NOT_FOUND, create_token, file, "alcie", None).hint)
    assert "user add" in str(refusal(ErrorCode.NOT_FOUND, create_token, file, "zzz", None).hint)


@pytest.mark.parametrize(
    ("name", "roles", "password"),
    [
        ("anonymous", [], "pw"),
        ("a:b", [], "pw"),
        ("", [], "pw"),
        ("bob", ["*"], "pw"),
        ("bob", ["a b"], "pw"),
        ("bob", [], ""),
        ("bob", [], "p\nw"),
        ("bob", [], "p\0w"),
        ("bob", [], "\udcff"),
        ("bob", [], "x" * 1_025),
    ],
)
def test_users_that_cannot_be(file: Path, name: str, roles: list[str], password: str) -> None:
    """Refused before anything is written."""
    refusal(ErrorCode.INVALID, add_user, file, name, roles, password)
    assert file.read_text(encoding="utf-8") == WRITTEN


@pytest.mark.parametrize("text", ["a = [", "[server]\n[server]\n", "[users.bob]\nroles = 3\n", "users = 1\n"])
def test_a_corrupt_file_is_not_touched(file: Path, text: str) -> None:
    """The command line makes no broken file worse."""
    file.write_text(text, encoding="utf-8")
    refusal(ErrorCode.INVALID, add_user, file, "eve", [], "pw")
    assert file.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    "text",
    [
        "users = {bob = {roles = ['a']}}\n",
        "[users]\nbob = {roles = ['a']}\n",
        "[users]\nbob.roles = ['a']\n",
        "[users.bob]\nroles=['a']\n[server]\nport=1\n[users.eve]\n[tokens]\n[limits]\n",
        "users.bob.roles = ['a']\n",
        "# only\n[users.bob]\nroles=['a']",
    ],
)
def test_every_way_to_write_the_sections(file: Path, text: str) -> None:
    """TOML can say the same in many ways: the edit keeps what was there."""
    file.write_text(text, encoding="utf-8")
    before = load_accounts(file)
    for call in (lambda: add_user(file, "new", ["r"], "pw"), lambda: create_token(file, "bob", None)):
        call()
    after = load_accounts(file)
    assert before.users.items() <= after.users.items()
    assert "new" in after.users
    assert [token.user for token in after.tokens.values()] == ["bob"]


def test_two_writers_lose_nothing(file: Path) -> None:
    """Scripts add users in parallel; each of them is there afterwards."""
    names = [f"u{number}" for number in range(8)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: add_user(file, name, ["a"], "pw"), names))
        list(pool.map(lambda name: create_token(file, name, None), names))
    accounts = load_accounts(file)
    assert set(accounts.users) == set(names)
    assert sorted(token.user for token in accounts.tokens.values()) == names


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """A misspelt --config is an error, not a new tree of folders."""
    refusal(ErrorCode.INVALID, add_user, tmp_path / "no" / "f.toml", "bob", [], "pw")
    refusal(ErrorCode.INVALID, add_user, tmp_path, "bob", [], "pw")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30d", 2_592_000), ("12h", 43_200), ("15m", 900), ("9s", 9), ("2w", 1_209_600), ("never", None)],
)
def test_durations(text: str, expected: int | None) -> None:
    """The spelling of --expires."""
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text", ["", "0d", "-1d", "1", "d", "1.5h", "1y", "30 d", "9999999999w", "٣d", "1d\n", "Never"]
)
def test_durations_refused(text: str) -> None:
    """A token that lives for ever by a typing mistake would be worse than an error."""
    refusal(ErrorCode.INVALID, parse_duration, text)

"""Tests of flightmesh.config.accounts."""

from __future__ import annotations

import pytest

from flightmesh.config import read_accounts
from flightmesh.config.accounts import is_role_name, is_token_id, is_user_name
from flightmesh.errors import FlightmeshError

HASH = "scrypt:16384:8:1:" + "a" * 22 + ":" + "b" * 43
TEXT = f"""
[users."eve@example.org"]
password = "{HASH}"
roles = ["analyst", "site"]
certificates = ["eve.example.org", "spiffe://example.org/eve"]
[users."eve@example.org".attributes]
site = 3
name = "x"
is_lead = true
ratio = 0.5
codes = ["a", "b"]
none = []
[users.bob]
[tokens.ab12]
user = "bob"
hash = "sha256:{"0" * 64}"
expires = 2026-01-02T03:04:05Z
[tokens.cd34]
user = "bob"
hash = "sha256:{"1" * 64}"
"""


def test_accounts_as_written() -> None:
    """Roles and attributes decide what rows a user sees; they arrive with their types."""
    accounts = read_accounts(TEXT, "test")
    eve = accounts.users["eve@example.org"]
    assert (eve.password_hash, eve.roles) == (HASH, frozenset({"analyst", "site"}))
    expected = {"site": 3, "name": "x", "is_lead": True, "ratio": 0.5, "codes": ("a", "b"), "none": ()}
    assert dict(eve.attributes) == expected
    assert eve.attributes["is_lead"] is True
    assert eve.certificates == ("eve.example.org", "spiffe://example.org/eve")
    assert accounts.users["bob"].password_hash is None
    assert accounts.users["bob"].certificates == ()
    assert accounts.tokens["ab12"].expires_at == 1_767_323_045.0
    assert accounts.tokens["cd34"].expires_at is None


def test_hashes_are_in_no_representation() -> None:
    """Configurations are logged; hashes are not."""
    text = repr(read_accounts(TEXT, "test"))
    assert "scrypt" not in text
    assert "sha256" not in text


@pytest.mark.parametrize(
    "line",
    ["x = [1, 'a']", "x = [1, true]", "x = {y = 1}", "x = [[1]]", "x = nan", "x = 9223372036854775808", "'a b' = 1"],
)
def test_attributes_that_no_filter_can_bind(line: str) -> None:
    """An attribute becomes one typed parameter of a row filter; what cannot is told at once."""
    with pytest.raises(FlightmeshError, match=r"users\.bob\.attributes must be"):
        read_accounts(f"[users.bob.attributes]\n{line}", "test")


@pytest.mark.parametrize(
    "value",
    [
        "secret",
        "scrypt:2:8:1:" + "a" * 22 + ":" + "b" * 43,
        "scrypt:16384:8:9:" + "a" * 22 + ":" + "b" * 43,
        HASH + "\n",
    ],
)
def test_hashes_of_unknown_cost_are_refused(value: str) -> None:
    """A hash that is cheap to guess, or takes a gigabyte to check, does not get in by the file."""
    with pytest.raises(FlightmeshError, match="flightmesh user add"):
        read_accounts(f"[users.bob]\npassword = {value!r}", "test")


def test_names() -> None:
    """Names stand in policies as ``user:NAME`` and before the colon of Basic credentials."""
    assert all(map(is_user_name, ["bob", "eve@example.org", "B.o_b-1", "1", "a" * 64]))
    assert not any(map(is_user_name, ["", "a b", "a:b", "anonymous", "Anonymous", "-a", "a" * 65, "é", "a\n"]))
    assert all(map(is_role_name, ["steward", "data-owner", "a_1"]))
    assert not any(map(is_role_name, ["", "1a", "a b", "*", "a\n", "a" * 64]))
    assert is_token_id("ab12")
    assert not any(map(is_token_id, ["", "a_b", "A", "a" * 33, "a\n"]))

"""``user`` and ``token``: the config file is changed, and a running server follows."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flightmesh.config import load_accounts

if TYPE_CHECKING:
    from tests.cli.conftest import Done


@pytest.fixture
def config(tmp_path: Path, flightmesh: Callable[..., Done]) -> Path:
    """A config file with the user ada."""
    file = tmp_path / "users.toml"
    done = flightmesh("user", "add", "ada", "--role", "analyst", "--role", "site", "--config", file, stdin="secret\n")
    assert (done.code, done.out, done.err) == (0, "", "ada is a user with the roles analyst, site.\n")
    return file


def test_a_user_is_added_with_all_roles(config: Path) -> None:
    """And the password is nowhere in the file, which only its owner may read."""
    assert load_accounts(config).users["ada"].roles == {"analyst", "site"}
    assert "secret" not in config.read_text()
    assert config.stat().st_mode & 0o077 == 0


def test_a_user_who_exists_is_kept_unless_replaced(config: Path, flightmesh: Callable[..., Done]) -> None:
    """A second ``add`` by mistake must not take away roles."""
    again = ["user", "add", "ada", "--role", "steward", "--config", config]
    refused = flightmesh(*again, stdin="other")
    assert refused.code == 1
    assert "error: invalid: The user ada exists already." in refused.err
    assert flightmesh(*again, "--replace", stdin="other").code == 0
    assert load_accounts(config).users["ada"].roles == {"steward"}


def test_a_user_needs_a_password_and_a_role(config: Path, flightmesh: Callable[..., Done]) -> None:
    """An empty pipe must not make a user with an empty password."""
    assert flightmesh("user", "add", "bob", "--role", "site", "--config", config).code == 1
    assert flightmesh("user", "add", "bob", "--config", config, stdin="secret").code == 2
    assert set(load_accounts(config).users) == {"ada"}


def test_a_token_stands_alone_on_standard_output(config: Path, flightmesh: Callable[..., Done]) -> None:
    """Scripts keep what is printed; a word more would be part of their token."""
    done = flightmesh("token", "create", "ada", "--config", config, "--expires", "30d")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("fm_")
    assert done.out == done.out.split()[0] + "\n"
    (kept,) = tomllib.loads(config.read_text())["tokens"].values()
    assert kept["user"] == "ada"
    assert "expires" in kept
    assert done.out.strip() not in config.read_text()


def test_a_token_is_revoked_by_id_or_text(config: Path, flightmesh: Callable[..., Done]) -> None:
    """Whoever finds a leaked token has its text, not its id."""
    first, second = (flightmesh("token", "create", "ada", "--config", config).out.strip() for _ in range(2))
    id_ = first.split("_")[1]
    assert flightmesh("token", "revoke", id_, "--config", config).err == f"The token {id_} is revoked.\n"
    done = flightmesh("token", "revoke", second, "--config", config)
    assert done.code == 0
    assert second not in done.err
    assert load_accounts(config).tokens == {}
    assert flightmesh("token", "revoke", second, "--config", config).code == 1


def test_removing_a_user_removes_the_tokens(config: Path, flightmesh: Callable[..., Done]) -> None:
    """Somebody who left must not keep a key."""
    flightmesh("token", "create", "ada", "--config", config)
    assert flightmesh("user", "remove", "ada", "--config", config).code == 0
    accounts = load_accounts(config)
    assert (accounts.users, accounts.tokens) == ({}, {})


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["user", "remove", "adda"], 1, "hint: Did you mean ada?"),
        (["token", "create", "nobody"], 1, "error: not_found: "),
        (["token", "create", "ada", "--expires", "soon"], 1, "'soon' is no duration"),
        (["token", "create"], 2, "NAME"),
    ],
)
def test_mistakes_are_explained(
    config: Path, flightmesh: Callable[..., Done], arguments: list[str], code: int, error: str
) -> None:
    """And change nothing."""
    before = config.read_bytes()
    done = flightmesh(*arguments, "--config", config)
    assert done.code == code
    assert error in done.err
    assert config.read_bytes() == before


def test_the_config_file_may_come_from_the_environment(
    config: Path, flightmesh: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container the server's own variable names the file."""
    assert flightmesh("token", "create", "ada").code == 2
    monkeypatch.setenv("FLIGHTMESH_CONFIG", os.fspath(config))
    assert flightmesh("token", "create", "ada").code == 0

"""Tests of flightmesh.config: the sources of a configuration and what is refused."""

from __future__ import annotations

import contextlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from flightmesh.config import Config, check_listener, is_loopback, load_accounts, read_accounts, signing_key
from flightmesh.errors import ErrorCode, FlightmeshError


def write(folder: Path, text: str) -> Path:
    file = folder / "flightmesh.toml"
    file.write_text(text, encoding="utf-8")
    return file


def problem(file: Path | None, env: dict[str, str] | None = None, **overrides: object) -> str:
    with pytest.raises(FlightmeshError) as caught:
        Config.load(file, env or {}, overrides)
    assert caught.value.code is ErrorCode.INVALID
    return caught.value.message


def test_defaults_serve_on_loopback() -> None:
    """The first command of the README needs no configuration and opens nothing to the network."""
    config = Config.load(None, {})
    assert (config.host, config.port, config.products) == ("127.0.0.1", 8815, (Path("products"),))
    assert config.state == Path(".flightmesh")
    assert config.signing_key is None
    assert config.threads == os.cpu_count()
    assert config.memory_limit > 100_000_000
    assert config.allows_anonymous
    check_listener(config)


def test_later_sources_win(tmp_path: Path) -> None:
    """Defaults, file, variables, command line: an operator overrides from the outside in."""
    file = write(tmp_path, "[server]\nport = 1\nhost = 'localhost'\nthreads = 3\n[limits]\nsessions_max = 5\n")
    env = {"FLIGHTMESH_PORT": "2", "FLIGHTMESH_HOST": "::1", "FLIGHTMESH_LIMITS_SESSIONS_MAX": "6", "HOME": "x"}
    config = Config.load(file, env, {"port": 0, "host": None, "limits.drain_s": 1.5})
    assert (config.port, config.host, config.threads) == (0, "::1", 3)
    assert (config.limits.sessions_max, config.limits.drain_s) == (6, 1.5)
    assert config.config_file == file


def test_paths_of_the_file_are_relative_to_it(tmp_path: Path) -> None:
    """A config file means the same from every working folder; a command line means what the shell shows."""
    file = write(tmp_path, "[server]\nproducts = ['a', '/b']\nstate = 's'\n")
    config = Config.load(file, {}, {})
    assert config.products == (tmp_path / "a", Path("/b"))
    assert config.state == tmp_path / "s"
    env = {"FLIGHTMESH_PRODUCTS": f"x{os.pathsep}y", "FLIGHTMESH_CONFIG": str(file)}
    assert Config.load(None, env, {"state": "t"}).products == (Path("x"), Path("y"))
    assert Config.load(None, env, {"state": "t"}).state == Path("t")


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """Whoever mends a file does not want to learn of the second mistake after mending the first."""
    file = write(
        tmp_path,
        "[server]\nprot = 1\nport = 'x'\nanonymous = 3\n[limit]\nx = 1\n[limits]\nsessions_max = 0\n"
        "[users.bob]\nroles = 'a'\npassword = 'hunter2'\n",
    )
    message = problem(file, {"FLIGHTMESH_PROT": "1"}, hots="x")
    for fact in (
        f"{file}: server.prot is not known. Did you mean server.port?",
        f"{file}: server.port must be 0 to 65535, not 'x'.",
        'server.anonymous must be "auto", true or false, not 3.',
        "limit is not known. Did you mean limits?",
        "limits.sessions_max must be a whole number above 0, not 0.",
        "users.bob.roles must be a list of roles",
        "users.bob.password must be a hash as `flightmesh user add` writes it.",
        "FLIGHTMESH_PROT is not known. Did you mean FLIGHTMESH_PORT?",
        "command line: server.hots is not known. Did you mean server.host?",
        "The configuration has 9 problems",
    ):
        assert fact in message
    assert "hunter2" not in message


def test_limits_are_checked_against_each_other(tmp_path: Path) -> None:
    """A ticket that outlives its session, or a batch larger than a message, would fail at run time only."""
    message = problem(write(tmp_path, "[limits]\nsession_ttl_s = 60\nbatch_bytes_max = 4194304\n"))
    assert "limits.ticket_ttl_s (900) must not exceed limits.session_ttl_s (60)." in message
    assert "limits.batch_bytes_max (4194304) must stay" in message


def test_tls_needs_both_files(tmp_path: Path) -> None:
    """Half a TLS setting must not silently become a plaintext listener."""
    assert "server.tls_key is set without server.tls_certificate." in problem(write(tmp_path, "[server]\ntls_key='k'"))


def test_a_listener_for_certificates_needs_its_files(tmp_path: Path) -> None:
    """Half a setting must not become a listener that lets in whoever connects, nor silently none at all."""
    message = problem(write(tmp_path, "[server]\nport = 1\nmtls_port = 1\n"))
    for fact in (
        "server.mtls_port is set without server.tls_certificate.",
        "server.mtls_port is set without server.mtls_client_ca.",
        "server.mtls_port (1) is the port of the other listener too.",
    ):
        assert fact in message
    message = problem(write(tmp_path, "[server]\nmtls_client_ca = 'ca.pem'\n"))
    assert "server.mtls_client_ca is set without server.mtls_port." in message
    text = "[server]\nmtls_port = 0\nmtls_client_ca = 'ca.pem'\ntls_certificate = 'c.pem'\ntls_key = 'k.pem'\n"
    config = Config.load(write(tmp_path, text), {"FLIGHTMESH_PORT": "0"})
    assert (config.mtls_port, config.mtls_client_ca) == (0, tmp_path / "ca.pem")
    for name in ("c.pem", "k.pem"):
        (tmp_path / name).touch()
    with pytest.raises(FlightmeshError, match=r"ca\.pem does not exist"):
        check_listener(config)


def test_admins_are_named_by_role(tmp_path: Path) -> None:
    """One role out of the box, as many as the operator likes, or none."""
    assert Config().admin_roles == frozenset({"admin"})
    assert Config.load(write(tmp_path, "[server]\nadmin_roles = []\n"), {}).admin_roles == frozenset()
    found = Config.load(None, {"FLIGHTMESH_ADMIN_ROLES": "ops, steward"}).admin_roles
    assert found == frozenset({"ops", "steward"})
    assert "server.admin_roles must be a list of roles" in problem(write(tmp_path, "[server]\nadmin_roles = ['a b']"))


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("a = [", "is not valid TOML"),
        ("a = " + "[" * 5_000, "is not valid TOML"),
        ("a = " + "9" * 5_000, "is not valid TOML"),
        ("[server]\n[server]\n", "is not valid TOML"),
        ("server = 1", "server must be a table, [server]."),
        ("users = 1", "users must be tables, [users.NAME]."),
        ("[users]\nbob = 1", "users.bob must be a table"),
        ("[users.anonymous]", "is no name"),
        ("[users.'a b']", "is no name"),
        ("[users.bob.attributes]\nd = 2026-01-01", "users.bob.attributes must be a table"),
        ("[users.bob]\npasword = 'x'", "Did you mean users.bob.password?"),
        ("[users.bob]\ncertificates = 'x'", "users.bob.certificates must be a list of texts"),
        ("[users.bob]\ncertificates = ['']", "users.bob.certificates must be a list of texts"),
        ('[users.bob]\ncertificates = ["x\\u0000"]', "users.bob.certificates must be a list of texts"),
        ("[users.a]\ncertificates = ['x']\n[users.b]\ncertificates = ['x']", "stands for the user a already"),
        ("[tokens.a]\nuser = 'b'", "tokens.a.hash is missing."),
        ("[tokens.a]\nexpires = 2026-01-01T00:00:00", "tokens.a.expires must be a date and time with its zone"),
        ("[server]\nsigning_key_file = 'missing'", "server.signing_key_file must be the path of a file"),
    ],
)
def test_a_corrupt_file_is_one_plain_error(tmp_path: Path, text: str, fact: str) -> None:
    """No file, however broken, ends in a traceback."""
    assert fact in problem(write(tmp_path, text))


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    """A misspelt --config must not start a server with defaults."""
    assert "cannot be read: No such file" in problem(tmp_path / "absent.toml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert "is not UTF-8 text (byte 0)" in problem(tmp_path / "binary")


@given(
    st.text(max_size=80) | st.from_regex(r'(\[(users|tokens|server|limits)(\.\w+)?\]\n|\w+ = ("?\w*"?|\[.*\])\n){1,6}')
)
def test_any_text_is_read_or_refused(text: str) -> None:
    """Hostile or half-written files raise FlightmeshError and nothing else."""
    with contextlib.suppress(FlightmeshError):
        read_accounts(text, "test")


def test_variables_that_kubernetes_sets_are_left_alone() -> None:
    """A service called flightmesh puts FLIGHTMESH_PORT=tcp://... into every pod; the server must still start."""
    env = {
        "FLIGHTMESH_PORT": "tcp://10.0.0.1:8815",
        "FLIGHTMESH_SERVICE_HOST": "10.0.0.1",
        "FLIGHTMESH_SERVICE_PORT_GRPC": "8815",
        "FLIGHTMESH_PORT_8815_TCP_ADDR": "10.0.0.1",
        "FLIGHTMESH_TOKEN": "fm_x_y",
    }
    assert Config.load(None, env).port == 8815


def test_secrets_of_sources_are_no_settings(tmp_path: Path) -> None:
    """A server could not start beside the password of a database, or would take it for a misspelt setting."""
    config = Config.load(None, {"FLIGHTMESH_SECRET_TMS_URI": "canary", "FLIGHTMESH_SECRETS": str(tmp_path)})
    assert config.secrets == tmp_path
    assert "canary" not in repr(config)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("[::1]", True),
        ("LocalHost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("127.0.0.1.example.org", False),
        ("localhost.example.org", False),
        ("10.0.0.1", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    """A host wrongly taken for loopback would let anonymous callers in from the network."""
    assert is_loopback(host) is expected
    assert Config(host=host).allows_anonymous is expected


def test_anonymous_can_be_set_either_way() -> None:
    """``auto`` is only a default."""
    assert Config(host="0.0.0.0", anonymous=True).allows_anonymous
    assert not Config(anonymous=False).allows_anonymous
    assert Config.load(None, {"FLIGHTMESH_ANONYMOUS": "false"}).anonymous is False


def test_a_plaintext_listener_on_the_network_is_refused(tmp_path: Path) -> None:
    """Passwords would cross the network in the clear; both ways out are named."""
    with pytest.raises(FlightmeshError) as caught:
        check_listener(Config(host="0.0.0.0"))
    assert caught.value.code is ErrorCode.INVALID
    assert "tls_certificate" in str(caught.value.hint)
    assert "allow_plaintext" in str(caught.value.hint)
    check_listener(Config(host="0.0.0.0", allow_plaintext=True))
    pem = write(tmp_path, "")
    check_listener(Config(host="0.0.0.0", tls_certificate=pem, tls_key=pem))
    with pytest.raises(FlightmeshError, match="does not exist"):
        check_listener(Config(tls_certificate=pem, tls_key=tmp_path / "absent"))


def test_the_key_is_made_once_and_kept_private(state: Path) -> None:
    """Servers that start together must sign alike, and nobody else on the machine may read the key."""
    config = Config(state=state / "new" / "deep")
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: signing_key(config), range(16)))
    assert len(keys) == 1
    assert len(keys.pop()) == 64
    kept = list(config.state.iterdir())
    assert [path.name for path in kept] == ["signing.key"]
    assert stat.S_IMODE(kept[0].stat().st_mode) == 0o600


def test_a_configured_key_comes_first(tmp_path: Path) -> None:
    """Nodes of one mesh share a key; it is in no representation of the configuration."""
    (tmp_path / "key").write_bytes(b"k" * 40 + b"\n")
    file = write(tmp_path, "[server]\nsigning_key_file = 'key'\n")
    assert signing_key(Config.load(file, {})) == b"k" * 40
    config = Config.load(file, {"FLIGHTMESH_SIGNING_KEY": "e" * 32})
    assert signing_key(config) == b"e" * 32
    assert "eeee" not in repr(config)
    assert "has 3" in problem(file, {"FLIGHTMESH_SIGNING_KEY": "abc"})


def test_accounts_are_read_without_the_rest(tmp_path: Path) -> None:
    """Accounts are read again while serving; a mistake in [server] must not keep a revoked token alive."""
    file = write(tmp_path, "[server]\nprot = 1\n[users.bob]\nroles = ['a']\n")
    assert load_accounts(file).users["bob"].roles == frozenset({"a"})

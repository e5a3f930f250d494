"""Tests of flightmesh.config.settings."""

from __future__ import annotations

from dataclasses import fields

import pytest

from flightmesh.config import Config
from flightmesh.config.limits import Limits
from flightmesh.config.settings import SETTINGS, Reader, read_memory, read_seconds, read_switch, share_of_memory, whole


def is_refused(read: Reader, value: object) -> bool:
    try:
        read(value, None)
    except ValueError:
        return True
    return False


def test_every_field_can_be_set_and_is_described() -> None:
    """A setting without a key, or a key without a field, would be documented or promised in vain."""
    expected = {f"limits.{f.name}" for f in fields(Limits)} | {f"server.{f.name}" for f in fields(Config)}
    expected -= {f"server.{name}" for name in ("config_file", "users", "tokens", "limits", "signing_key")}
    assert set(SETTINGS) == expected | {"server.signing_key_file"}
    assert all(setting.meaning.endswith(".") for setting in SETTINGS.values())


def test_written_defaults_are_the_defaults() -> None:
    """The reference page is made from the table; it must not tell something else than the code does."""
    config = Config()
    for setting in SETTINGS.values():
        owner: object = config.limits if setting.section == "limits" else config
        if setting.default and setting.name not in ("threads", "memory_limit"):
            value = setting.read(setting.default, None)
            assert value == getattr(owner, setting.name), setting.key


def test_variables_are_unambiguous() -> None:
    """Two settings behind one variable could not be told apart."""
    assert len({setting.variable for setting in SETTINGS.values()}) == len(SETTINGS)
    assert SETTINGS["server.port"].variable == "FLIGHTMESH_PORT"
    assert SETTINGS["limits.drain_s"].variable == "FLIGHTMESH_LIMITS_DRAIN_S"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (20_000_000, 20_000_000),
        ("20000000", 20_000_000),
        ("2GB", 2_000_000_000),
        ("2 GiB", 1 << 31),
        ("512mib", 1 << 29),
        ("", share_of_memory(60)),
        ("50%", share_of_memory(50)),
    ],
)
def test_memory(value: object, expected: int) -> None:
    """Memory is written as people write it."""
    assert read_memory(value, None) == expected


@pytest.mark.parametrize("value", ["1 MB", "x", "-1", "100%", "0%", 1.5, True, None, "9" * 30, "1 PB"])
def test_memory_refused(value: object) -> None:
    """An engine with no memory, or with all of it, would fall over later."""
    assert is_refused(read_memory, value)


@pytest.mark.parametrize("value", ["", "x", True, None, [], 1.5, -1, 11])
def test_whole_numbers_refused(value: object) -> None:
    """A wrong type is told when the server starts, not when the bound is first used."""
    assert is_refused(whole(0, 10), value)


@pytest.mark.parametrize("value", ["nan", "inf", float("nan"), 0, -1, "0", True, "x", None, 1e12])
def test_seconds_refused(value: object) -> None:
    """A wait of NaN seconds never ends, or ends at once, depending on who compares."""
    assert is_refused(read_seconds, value)


def test_switches() -> None:
    """Words in a variable, true and false in TOML; nothing else is a decision about security."""
    assert read_switch("TRUE", None) is True
    assert read_switch("0", None) is False
    for value in ("maybe", "", 1, 0, None):
        assert is_refused(read_switch, value)

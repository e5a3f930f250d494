"""What is the driver manager's and not the driver's."""

from __future__ import annotations

import pytest

from flightmesh.product.adbc import is_profile, is_sqlite, reserved


def test_the_managers_own_options_are_found() -> None:
    """A manifest could name the library to load under another spelling."""
    assert reserved(["adbc.x", "username"]) is None
    assert reserved(["username", "EntryPoint"]) == "EntryPoint"


@pytest.mark.parametrize(
    ("uri", "found"), [(None, False), ("profile://x", True), (" PROFILE:x", True), ("x://", False)]
)
def test_profiles_are_told_from_addresses(uri: str | None, found: bool) -> None:
    """A file of the machine would say what is loaded."""
    assert is_profile(uri) is found


def test_sqlite_is_recognised_by_any_name() -> None:
    """Its driver opens every file that an address names."""
    assert is_sqlite("adbc_driver_sqlite")
    assert is_sqlite("SQLite3")
    assert not is_sqlite("adbc_driver_postgresql")
    assert not is_sqlite(None)

"""Tests of flightmesh.config.keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from flightmesh.config.keys import checked_key, kept_key, read_key
from flightmesh.errors import ErrorCode, FlightmeshError


def test_text_keys_lose_their_line_end_and_binary_keys_nothing() -> None:
    """Two nodes with the same key file must sign alike, however the file was written."""
    assert checked_key(b"k" * 32 + b"\r\n") == b"k" * 32
    binary = b"\xff" * 31 + b"\n"
    assert checked_key(binary) == binary


@pytest.mark.parametrize("content", [b"", b" " * 40, b"k" * 31, b"k" * 4_097])
def test_keys_that_are_none(content: bytes) -> None:
    """A key that can be guessed signs nothing."""
    with pytest.raises(FlightmeshError) as caught:
        checked_key(content)
    assert caught.value.code is ErrorCode.INVALID


def test_a_key_that_cannot_be_read(tmp_path: Path) -> None:
    """A folder or a missing file is an error with a name, not a traceback."""
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(FlightmeshError, match="cannot be read"):
            read_key(path)


def test_a_kept_key_stays(tmp_path: Path) -> None:
    """Tickets issued before a restart are good after it."""
    first = kept_key(tmp_path)
    assert kept_key(tmp_path) == first
    (tmp_path / "signing.key").write_bytes(b"short")
    with pytest.raises(FlightmeshError, match="has 5"):
        kept_key(tmp_path)

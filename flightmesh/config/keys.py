"""The key that signs tickets and session tokens: read from a file, or made once and kept."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from flightmesh.errors import ErrorCode, FlightmeshError

KEY_BYTES_MIN = 32
KEY_BYTES_MAX = 4_096


def read_key(path: Path) -> bytes:
    """The key in the file. Errors: INVALID when the file cannot be read or its content is no key."""
    try:
        with path.open("rb") as stream:
            content = stream.read(KEY_BYTES_MAX + 1)
    except OSError as error:
        raise FlightmeshError(ErrorCode.INVALID, f"The signing key {path} cannot be read: {error.strerror}.") from error
    return checked_key(content)


def checked_key(content: bytes) -> bytes:
    """The key, without the line end of a text file. Errors: INVALID when it is too short or absurdly long."""
    key = content.strip() if content.isascii() else content
    if KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX:
        return key
    raise FlightmeshError(
        ErrorCode.INVALID,
        f"A signing key has {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes; this one has {len(key)}.",
        hint="`openssl rand -hex 32` makes one.",
    )


def kept_key(folder: Path) -> bytes:
    """The key in the folder, made there if it is not. Processes that start at once agree on one key."""
    path = folder / "signing.key"
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _create_once(path, secrets.token_hex(32).encode())
    return read_key(path)


def _create_once(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        # A link, unlike a rename, fails when another process was first: its key is the one that counts.
        os.link(temporary, path)
    except FileExistsError:
        return
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

"""Files that are whole or not there, whatever happens in between: atomic writes, staging folders, and what killed
builds left behind.

Everything is prepared aside, flushed to disk, and moved into place by one rename within one file system.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

STAGING = "staging"
_PARTIAL = re.compile(r"\..+\.[0-9a-f]{12}")  # As write_whole names them.


def write_whole(path: Path, content: bytes) -> None:
    """The file with this content, on disk when this returns; a reader sees the old content or the new, never a part."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with partial.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.rename(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Flush a file, or the list of files of a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move_whole(folder: Path, target: Path) -> None:
    """Move a prepared folder into place: files flushed and read-only, then one rename; on disk when this returns."""
    for file in folder.iterdir():
        file.chmod(0o444)
        sync(file)
    sync(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(target)
    sync(target.parent)
    sync(target.parent.parent)


@contextmanager
def staging_folder(state: Path) -> Iterator[Path]:
    """A new folder of this process below the state directory; removed at the end unless it was moved away."""
    area = state / STAGING
    area.mkdir(parents=True, exist_ok=True)
    name = secrets.token_hex(8)
    # The lock comes before the folder, and falls with the process, so that a folder whose lock is free has no owner.
    with (area / f"{name}.lock").open("xb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = area / name
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            (area / f"{name}.lock").unlink(missing_ok=True)


@contextmanager
def taken_away(folder: Path, state: Path) -> Iterator[None]:
    """Take a folder away in one rename; its files are deleted at the end of the block, or by a later sweep."""
    with staging_folder(state) as away:
        with suppress(FileNotFoundError):
            folder.rename(away / folder.name)
        yield


def sweep(state: Path) -> None:
    """Remove the staging folders whose owners are gone, and files half written. Call it under the lock of the state
    directory.
    """
    for folder in (state, *(path for path in state.iterdir() if path.is_dir())):
        for path in folder.iterdir():
            if _PARTIAL.fullmatch(path.name):
                path.unlink(missing_ok=True)
    area = state / STAGING
    for path in sorted(area.iterdir()) if area.is_dir() else ():
        if path.suffix == ".lock":
            _sweep_owned(path)
        elif not path.with_name(path.name + ".lock").exists():
            shutil.rmtree(path, ignore_errors=True)


def _sweep_owned(lock: Path) -> None:
    with suppress(FileNotFoundError), lock.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
        lock.unlink(missing_ok=True)

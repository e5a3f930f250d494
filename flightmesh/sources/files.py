"""Files of a product: from the path in the manifest to regular files inside the product's folder, and hashes of their
content.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from flightmesh.product.model import Source
from flightmesh.sources.base import invalid, unavailable


@dataclass(frozen=True, slots=True)
class File:
    """A file of a source. ``name`` is relative to the product's folder and is all that messages may show."""

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class Stamp:
    """A state of a file as cheaply as the file system tells it: a key for what was computed from the content."""

    path: str
    size: int
    mtime_ns: int
    inode: int


def find_files(folder: Path, source: str, spec: Source) -> tuple[File, ...]:
    """The files that the path (or glob pattern) of the source names, sorted by name; INVALID or UNAVAILABLE when
    there is none.
    """
    if spec.path is None:
        raise invalid(source, f"a source of type {spec.type} needs a path.")
    pattern = PurePosixPath(spec.path)
    if pattern.is_absolute() or ".." in pattern.parts or not pattern.parts:
        raise invalid(
            source,
            f"the path {spec.path} leaves the product's folder.",
            "Give a path inside the folder.",
        )
    # A file whose own name holds brackets is meant as it stands.
    found = [folder / pattern] if (folder / pattern).is_file() else _glob(folder, pattern)
    if not found:
        raise unavailable(source, f"the file {spec.path} is missing.")
    return tuple(File(path, path.relative_to(folder).as_posix()) for path in found)


def find_file(folder: Path, source: str, spec: Source) -> File:
    """As ``find_files``, when the path names exactly one file."""
    files = find_files(folder, source, spec)
    if len(files) > 1:
        raise invalid(source, f"the path {spec.path} names {len(files)} files; one is allowed.")
    return files[0]


def _glob(folder: Path, pattern: PurePosixPath) -> list[Path]:
    if not any(character in str(pattern) for character in "*?["):
        return []
    return sorted(path for path in folder.glob(str(pattern)) if path.is_file())


def stamp(source: str, file: File) -> Stamp:
    """The file's state now; UNAVAILABLE when it is gone."""
    try:
        status = file.path.stat()
    except OSError as error:
        raise unavailable(source, f"the file {file.name} cannot be read.") from error
    return Stamp(str(file.path), status.st_size, status.st_mtime_ns, status.st_ino)


def fingerprint(source: str, files: tuple[File, ...]) -> str:
    """SHA-256 over the files' contents in order, in hexadecimal."""
    try:
        hashes = [_content_hash(stamp(source, file)) for file in files]
    except OSError as error:
        raise unavailable(source, "a file cannot be read.") from error
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


@lru_cache(maxsize=1024)
def _content_hash(state: Stamp) -> str:
    with open(state.path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

"""Files of a product: from the path in the manifest to regular files inside the product's folder, and hashes of their
content.
"""

from __future__ import annotations

import hashlib
import os
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

    @property
    def folder(self) -> Path:
        """The product's folder."""
        return self.path.parents[len(PurePosixPath(self.name).parts) - 1]


@dataclass(frozen=True, slots=True)
class Stamp:
    """A state of a file as cheaply as the file system tells it: a key for what was computed from the content."""

    path: str
    size: int
    mtime_ns: int
    inode: int


def inside(source: str, path: str, shown: str) -> str:
    """The path, relative to the product's folder; INVALID when it leaves it. ``shown`` is what the author wrote."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not path:
        raise invalid(source, f"the path {shown} leaves the product's folder.", "Give a path inside the folder.")
    return pure.as_posix()


def confined(folder: Path, source: str, name: str) -> Path:
    """What the name leads to when links are followed; INVALID when that lies outside of the product's folder."""
    try:
        real = Path(os.path.realpath(folder / name))
    except (OSError, ValueError) as error:
        raise unavailable(source, f"the file {name} cannot be read.") from error
    if not real.is_relative_to(os.path.realpath(folder)):
        raise invalid(source, f"{name} leaves the product's folder through a link.", "Put the file itself there.")
    return real


def find_file(folder: Path, source: str, spec: Source) -> File:
    """The file that the path of the source names; INVALID or UNAVAILABLE when there is none."""
    if spec.path is None:
        raise invalid(source, f"a source of type {spec.type} needs a path.")
    path = inside(source, spec.path, spec.path)
    if not confined(folder, source, path).is_file():
        raise unavailable(source, f"the file {spec.path} is missing.")
    return File(folder / path, path)


def stamp(source: str, file: File) -> Stamp:
    """The file's state now; UNAVAILABLE when it is gone, INVALID when it is outside of the product's folder by now."""
    confined(file.folder, source, file.name)
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

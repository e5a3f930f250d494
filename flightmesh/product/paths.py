"""Paths that a manifest names: inside of the product's folder, and there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from flightmesh.names import did_you_mean
from flightmesh.product.document import Step
from flightmesh.product.draft import Draft
from flightmesh.product.problems import Problem
from flightmesh.product.words import place

_OTHERS_MAX = 1000


def outside(folder: Path, file: str) -> str | None:
    """Why a file named in the manifest may not be read, or None when it lies in the product's folder."""
    if not file or any(ord(char) < 32 for char in file):
        return "does not name a file"
    parts = PurePosixPath(file).parts
    if file.startswith(("/", "~")) or "\\" in file or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", file):
        return "is not a path relative to the product's folder"
    if ".." in parts:
        return "leads out of the product's folder"
    try:
        inside = (folder / file).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a circle of links, a name too long
        return "cannot be followed"
    return None if inside else "leads out of the product's folder through a link"


def file_problems(draft: Draft, steps: list[Step], file: str) -> Iterator[Problem]:
    """Problems with a file that the manifest names at the place."""
    reason = outside(draft.folder, file)
    if reason is not None:
        yield draft.document.problem(steps, f"{place(steps)}: {file!r} {reason}.", "Keep files below product.yaml.")
    elif not (draft.folder / file).is_file():
        yield draft.document.problem(steps, f"{place(steps)}: there is no file {file}.", near_file(draft.folder, file))


def near_file(folder: Path, file: str) -> str | None:
    """One sentence of help for a mistyped file, or None."""
    paths = sorted((folder / file).parent.glob("*"))[:_OTHERS_MAX]
    return did_you_mean(file, [path.relative_to(folder).as_posix() for path in paths])

"""Secrets of sources: ``${secret:NAME}`` in a manifest, replaced when a source is opened and never before.

A secret is an environment variable ``FLIGHTMESH_SECRET_NAME`` or a file ``NAME`` in the secrets folder of the config.
The prefix keeps products from reading the rest of the server's environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flightmesh.sources.base import invalid

VARIABLE_PREFIX = "FLIGHTMESH_SECRET_"
SECRET_BYTES_MAX = 65_536

_REFERENCE = re.compile(r"\$\{secret:([^}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class Secrets:
    """Where secrets are looked up: the environment first, then the folder."""

    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False, compare=False)
    folder: Path | None = None

    def fill(self, source: str, text: str) -> str:
        """The text with its secrets in place. INVALID naming the secret, never its value, when there is none."""
        return _REFERENCE.sub(lambda found: self._secret(source, found[1]), text)

    def _secret(self, source: str, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise invalid(source, f"{name!r} is not the name of a secret.", "Use letters, digits and _.")
        value = self.environment.get(VARIABLE_PREFIX + name)
        if value is None and self.folder is not None:
            value = _content(source, name, self.folder / name)
        if value is None:
            hint = f"Set the variable {VARIABLE_PREFIX}{name}, or put a file {name} into the server's secrets folder."
            raise invalid(source, f"the secret {name} is not there.", hint)
        return value


def has_secret(text: str) -> bool:
    """Whether the text refers to a secret."""
    return _REFERENCE.search(text) is not None


def _content(source: str, name: str, file: Path) -> str | None:
    """The file without the line break at its end; None when there is none."""
    try:
        with file.open("rb") as stream:
            content = stream.read(SECRET_BYTES_MAX + 1)
        if len(content) > SECRET_BYTES_MAX:
            raise invalid(source, f"the secret {name} is longer than {SECRET_BYTES_MAX} bytes.")
        return content.decode().removesuffix("\n")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise invalid(source, f"the secret {name} cannot be read.") from error

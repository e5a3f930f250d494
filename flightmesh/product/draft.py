"""A manifest part by part: what of it has the right shape, so that one bad part does not hide what is wrong with the
others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from flightmesh.product.document import Document
from flightmesh.product.model import ColumnMask, Grant, Model, Policy, Port, RowFilter, Source, Strict
from flightmesh.product.schema import read_part

Part = TypeVar("Part", bound=Strict)


@dataclass(frozen=True, slots=True)
class Draft:
    """The parts of a manifest by name. None stands for a part of the wrong shape; a whole section that is no mapping is
    None too.

    ``policies`` holds those of the right shape with their index in the file.
    """

    folder: Path
    document: Document
    sources: Mapping[str, Source | None] | None
    models: Mapping[str, Model | None] | None
    ports: Mapping[str, Port | None] | None
    policies: tuple[tuple[int, Policy], ...]

    @property
    def is_named(self) -> bool:
        """Whether every name of a source or model is known, so that a reference can be judged."""
        return self.sources is not None and self.models is not None

    def addresses(self) -> frozenset[str]:
        """What a model may read: models, sources without tables, and ``source.table``."""
        found = set(self.models or ())
        for name, source in (self.sources or {}).items():
            found |= {f"{name}.{table}" for table in source.tables} if source and source.tables else {name}
        return frozenset(found)


def draft(folder: Path, document: Document) -> Draft:
    """The parts of the document."""
    return Draft(
        folder,
        document,
        _section(document, "sources", Source),
        _section(document, "models", Model),
        _section(document, "ports", Port),
        tuple(_policies(document)),
    )


def _section(document: Document, name: str, kind: type[Part]) -> Mapping[str, Part | None] | None:
    values = document.value.get(name)
    if not isinstance(values, dict):
        return None
    return {key: _part(kind, value) for key, value in values.items()}


def _part(kind: type[Part], value: object) -> Part | None:
    try:
        return read_part(kind, value)
    except ValidationError:
        return None  # ``schema.validate`` has told the author.


def _policies(document: Document) -> list[tuple[int, Policy]]:
    values = document.value.get("policies")
    found: list[tuple[int, Policy]] = []
    for index, value in enumerate(values if isinstance(values, list) else ()):
        parts: tuple[Policy | None, ...] = (_part(Grant, value), _part(RowFilter, value), _part(ColumnMask, value))
        found += [(index, part) for part in parts if part is not None]
    return found

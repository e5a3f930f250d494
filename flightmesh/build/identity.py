"""Content hashes of a product: the bundle id over what its authors wrote, the snapshot id over what its data are made
from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flightmesh.build.models import Recipe
from flightmesh.product.manifest import MANIFEST
from flightmesh.product.model import Bundle, DataProduct

# Moves when the files of a snapshot change for equal input.
SNAPSHOT_FORMAT = 2
# Parts of the manifest that describe data and do not change them.
_DESCRIPTIVE = {"description", "materialize", "every", "schema_drift"}


def bundle_id(bundle: Bundle) -> str:
    """The hash of the manifest, the contracts and all code files, byte by byte."""
    files = {MANIFEST, *(port.contract for port in bundle.product.ports.values()), *code_files(bundle.folder)}
    digest = hashlib.sha256()
    for file in sorted(files):
        content = (bundle.folder / file).read_bytes()
        digest.update(f"{file}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:32]


def code_id(folder: Path) -> str:
    """The hash of all code files: a model may import its neighbours."""
    digest = hashlib.sha256()
    for file in code_files(folder):
        content = (folder / file).read_bytes()
        digest.update(f"{file}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:32]


def code_files(folder: Path) -> list[str]:
    """The product's Python files, relative to its folder, hidden folders and data left out."""
    found = (path.relative_to(folder) for path in folder.rglob("*.py"))
    return sorted(
        path.as_posix() for path in found if path.parts[0] != "data" and not any(p.startswith(".") for p in path.parts)
    )


def snapshot_id(product: DataProduct, made: Recipe, *, sources: Mapping[str, str], code: str) -> str:
    """The hash of everything that the data of the ports depend on. ``sources`` are fingerprints by relation.

    Order counts in mappings: columns follow it.
    """
    used = {path[0] for path in made.relations}
    parts: dict[str, Any] = {  # Any: JSON
        "format": SNAPSHOT_FORMAT,
        "tools": tools(),
        "product": product.product,
        "fingerprints": dict(sorted(sources.items())),
        "sources": {name: _relevant(source) for name, source in product.sources.items() if name in used},
        "models": {name: _relevant(product.models[name]) for name in sorted(made.reads)},
        "ports": {name: port.model for name, port in sorted(product.ports.items())},
        "code": code if any(product.models[name].python for name in made.reads) else None,
    }
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def tools() -> dict[str, str]:
    """The versions of the libraries that compute the data."""
    return {name: version(name) for name in ("duckdb", "polars", "pyarrow")}


def generation_id(products: Mapping[str, tuple[str, str]], unavailable: Mapping[str, str]) -> str:
    """The hash of bundle and snapshot ids by product, and of what is unavailable and why."""
    parts = {"products": dict(sorted(products.items())), "unavailable": dict(sorted(unavailable.items()))}
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _relevant(part: Any) -> Any:  # Any: a pydantic model to JSON
    return part.model_dump(mode="json", by_alias=True, exclude=_DESCRIPTIVE, exclude_defaults=True)

"""Content hashes of a product: the bundle id over what its authors wrote, the snapshot id over what its data are made
from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

from flightmesh.build.models import Recipe
from flightmesh.product.manifest import MANIFEST
from flightmesh.product.model import Bundle, DataProduct

# Moves when the files of a snapshot change for equal input.
SNAPSHOT_FORMAT = 2
# Parts of the manifest that describe data and do not change them.
_DESCRIPTIVE = {
    *("description", "materialize", "every", "schema_drift"),
    *("stale", "timeout", "connections", "retries"),  # How a source is reached, and what if it is not.
}


def bundle_id(bundle: Bundle) -> str:
    """The hash of the manifest, the contracts and all code files, byte by byte."""
    contracts = {port.contract for port in bundle.product.ports.values()}
    return _hash(bundle.folder, {MANIFEST, *contracts, *code_files(bundle)})


def code_id(bundle: Bundle) -> str:
    """The hash of all code files: a model may import its neighbours."""
    return _hash(bundle.folder, code_files(bundle))


def code_files(bundle: Bundle) -> set[str]:
    """The product's Python files, relative to its folder: those of its models, wherever they lie, and all others
    outside of hidden folders and data.
    """
    named = {model.python.rpartition(":")[0] for model in bundle.product.models.values() if model.python}
    found = (path.relative_to(bundle.folder) for path in bundle.folder.rglob("*.py"))
    seen = (path for path in found if path.parts[0] != "data" and not any(p.startswith(".") for p in path.parts))
    return {PurePosixPath(file).as_posix() for file in named} | {path.as_posix() for path in seen}


def _hash(folder: Path, files: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for file in sorted(files):
        content = (folder / file).read_bytes()
        digest.update(f"{file}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:32]


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

"""What a port comes from: the tables of sources that its model reads, itself or through other models."""

from __future__ import annotations

from flightmesh.config import Limits
from flightmesh.errors import FlightmeshError
from flightmesh.names import fold, folded
from flightmesh.planner.statement import parse
from flightmesh.product.graph import model_inputs
from flightmesh.product.model import DataProduct
from flightmesh.sources.naming import Dataset, dataset

Path = tuple[str, ...]


def upstream(product: DataProduct, model: str, *, limits: Limits) -> tuple[Dataset, ...]:
    """The datasets behind the model, each once, ordered by name; a name that means no source or model is left out."""
    models = {fold(name): name for name in product.models}
    sources = {fold(name): name for name in product.sources}
    found: set[Dataset] = set()
    seen: set[Path] = set()
    waiting: list[Path] = [(model,)]
    while waiting:
        path = waiting.pop()
        key = folded(path)
        if key in seen:
            continue
        seen.add(key)
        if len(key) == 1 and key[0] in models:
            waiting += _reads(product, models[key[0]], limits)
        elif key[0] in sources:
            source = sources[key[0]]
            found.add(dataset(product.product, source, product.sources[source], (source, *path[1:])))
    return tuple(sorted(found, key=lambda entry: (entry.namespace, entry.name)))


def _reads(product: DataProduct, name: str, limits: Limits) -> list[Path]:
    model = product.models[name]
    if model.sql is None:
        return [tuple(text.split(".")) for text in model_inputs(model)]
    try:
        return [reference.path for reference in parse(model.sql, limits=limits).survey.relations]
    except FlightmeshError:
        return []  # A model that does not parse is told of where it is built.

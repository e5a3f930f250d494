"""Tables of sources as datasets of OpenLineage: a namespace (where) and a name (what), without any secret.

Namespaces follow OpenLineage's naming conventions (``postgres://host:port``, ``s3://bucket``). An address that is
itself a secret is not told: then the source's name in its product stands for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from flightmesh.product.model import Source
from flightmesh.sources.secrets import has_secret

_SCHEMES = {"postgresql": "postgres"}
_PORTS = {"postgres": 5432}


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset as OpenLineage names it."""

    namespace: str
    name: str


def dataset(product: str, source: str, spec: Source, path: tuple[str, ...]) -> Dataset:
    """The table of that path (``("tms", "legs")``) of a source."""
    own = Dataset(f"flightmesh:{product}", ".".join(path))
    if spec.uri is not None:
        return _remote(spec, ".".join(path[1:])) or own
    address = _address(spec.path) if spec.path is not None and not has_secret(spec.path) else None
    if address is not None and address.netloc:
        return Dataset(f"{address.scheme}://{address.netloc.rpartition('@')[2]}", address.path.lstrip("/"))
    return Dataset(own.namespace, f"{source}:{spec.path}" if len(path) == 1 else f"{own.name}:{spec.path}")


def _address(path: str) -> SplitResult | None:
    """The parts of a URI; None for a path of files, and for what cannot be taken apart."""
    try:
        return urlsplit(path) if "://" in path else None
    except ValueError:
        return None


def _remote(spec: Source, table: str) -> Dataset | None:
    assert spec.uri is not None
    try:
        address = urlsplit(spec.uri)
        host, port = address.hostname, address.port
    except ValueError:
        return None
    if not host or has_secret(address.netloc.rpartition("@")[2]) or has_secret(address.scheme):
        return None
    scheme = _SCHEMES.get(address.scheme, address.scheme)
    number = port or _PORTS.get(scheme)
    namespace = f"{scheme}://{host}" + (f":{number}" if number else "")
    database = "" if has_secret(address.path) else address.path.strip("/")
    schema = spec.schema_ or ("public" if scheme == "postgres" else "")
    return Dataset(namespace, ".".join(part for part in (database, schema, table) if part))

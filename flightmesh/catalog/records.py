"""How snapshots, bundles and generations are written down, and read back into values. JSON; paths are relative.

Reading trusts nothing: whatever is missing, cut off or of another size is ``None``, and the caller builds it anew.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from flightmesh.catalog.snapshot import (
    DataColumn,
    LiveModel,
    LivePart,
    LiveRelation,
    PortData,
    ProductSnapshot,
    Relation,
    Snapshot,
    Unavailable,
)
from flightmesh.names import ProductName
from flightmesh.product.contract import ContractColumn, DataContract
from flightmesh.product.model import DataProduct

FORMAT = 3
RECORD = "snapshot.json"
DATABASE = "data.duckdb"


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file of a snapshot: its name, its size in bytes, its SHA-256 in hexadecimal."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class PortRecord:
    """The data of one port. ``parquet`` is the file's name, ``nulls`` the rows without a value in each column.

    A live port has neither, nor rows; its ``table`` is its model.
    """

    name: str
    table: str
    rows: int | None
    columns: tuple[DataColumn, ...]
    parquet: str | None
    nulls: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """``snapshot.json``: what a snapshot folder holds, what it was made from and when (seconds since 1970).

    ``live`` is what is computed when it is read, its folder and database left open.
    """

    product: str
    snapshot_id: str
    ports: tuple[PortRecord, ...]
    files: tuple[FileRecord, ...]
    sources: Mapping[str, str]
    code: str
    tools: Mapping[str, str]
    built_at: float = 0.0
    live: LivePart | None = None


def snapshot_folder(state: Path, name: ProductName, snapshot_id: str) -> Path:
    """Where a product's snapshot lies."""
    return state / "products" / str(name) / snapshot_id


def encode_snapshot(record: SnapshotRecord) -> bytes:
    """The record as a file's content."""
    plain = {name: getattr(record, name) for name in (field.name for field in dataclasses.fields(record))}
    parts = {
        "ports": [dataclasses.asdict(port) for port in record.ports],
        "files": [dataclasses.asdict(file) for file in record.files],
        "live": None if record.live is None else _live_json(record.live),
    }
    return _encode({"format": FORMAT, **plain, **parts})


def read_snapshot(folder: Path) -> SnapshotRecord | None:
    """The record in a snapshot folder, if it is there and all its files are, in the sizes it says."""
    raw = _decode(folder / RECORD)
    if raw is None:
        return None
    try:
        files = tuple(FileRecord(**file) for file in raw["files"])
        if any((folder / file.name).stat().st_size != file.size for file in files):
            return None
        ports = tuple(_port(port) for port in raw["ports"])
        plain = {name: raw[name] for name in ("product", "snapshot_id", "sources", "code", "tools", "built_at")}
        live = None if raw["live"] is None else _live(folder, raw["live"])
        return SnapshotRecord(**plain, ports=ports, files=files, live=live)
    except (KeyError, TypeError, ValueError, OSError, pa.ArrowException):
        return None


def port_data(folder: Path, record: SnapshotRecord) -> dict[str, PortData]:
    """The ports of a snapshot folder, with the paths of their files."""
    found = {}
    for port in record.ports:
        parquet, database = (None, None) if port.parquet is None else (folder / port.parquet, folder / DATABASE)
        found[port.name] = PortData(port.name, port.columns, port.rows, parquet, database, port.table)
    return found


def encode_bundle(product: DataProduct, contracts: Mapping[str, DataContract]) -> bytes:
    """A product's manifest and contracts as a file's content; places in the author's files are left out."""
    return _encode(
        {
            "format": FORMAT,
            "product": _manifest_json(product),
            "contracts": {port: _contract_json(contract) for port, contract in contracts.items()},
        }
    )


def read_bundle(path: Path) -> tuple[DataProduct, dict[str, DataContract]] | None:
    """The manifest and the contracts, or None."""
    raw = _decode(path)
    if raw is None:
        return None
    try:
        product = _manifest(raw["product"])
        assert product is not None
        return product, {port: _contract(value) for port, value in raw["contracts"].items()}
    except (KeyError, TypeError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class GenerationRecord:
    """A generation by reference: name, bundle and snapshot of each product, and the products that could not be
    loaded.
    """

    generation: str
    products: tuple[tuple[str, str, str], ...]
    unavailable: tuple[tuple[str, str, Mapping[str, Any] | None], ...]  # Any: a manifest as JSON


def generation_record(snapshot: Snapshot) -> GenerationRecord:
    """The references of a snapshot, sorted by name."""
    products = sorted((str(p.name), p.bundle_id, p.snapshot_id) for p in snapshot.products.values())
    return GenerationRecord(
        snapshot.generation,
        tuple(products),
        tuple((str(u.name), u.reason, _manifest_json(u.product)) for _, u in sorted(snapshot.unavailable.items())),
    )


def encode_generation(record: GenerationRecord) -> bytes:
    """The record as a file's content."""
    return _encode({"format": FORMAT, **dataclasses.asdict(record)})


def read_generation(path: Path) -> GenerationRecord | None:
    """The record, or None."""
    raw = _decode(path)
    if raw is None:
        return None
    try:
        products = tuple((name, bundle, snapshot) for name, bundle, snapshot in raw["products"])
        unavailable = tuple((name, reason, manifest) for name, reason, manifest in raw["unavailable"])
        return GenerationRecord(raw["generation"], products, unavailable)
    except (KeyError, TypeError, ValueError):
        return None


def restore(state: Path, record: GenerationRecord) -> Snapshot | None:
    """The generation's snapshot from the files below the state directory; None when one of them is not whole."""
    products = {}
    for text, bundle_id, snapshot_id in record.products:
        name = ProductName.parse(text)
        folder = snapshot_folder(state, name, snapshot_id)
        data, bundle = read_snapshot(folder), read_bundle(bundle_path(state, bundle_id))
        if data is None or bundle is None:
            return None
        products[name] = product_snapshot(name, *bundle, folder, data, bundle_id)
    failed = [Unavailable(ProductName.parse(text), reason, _manifest(raw)) for text, reason, raw in record.unavailable]
    return Snapshot(record.generation, products, {failure.name: failure for failure in failed})


def product_snapshot(
    name: ProductName,
    product: DataProduct,
    contracts: Mapping[str, DataContract],
    folder: Path,
    record: SnapshotRecord,
    bundle_id: str,
) -> ProductSnapshot:
    """The product with the data in a snapshot folder."""
    ports = port_data(folder, record)
    return ProductSnapshot(name, product, contracts, ports, record.snapshot_id, bundle_id, record.live, record.built_at)


def bundle_path(state: Path, bundle_id: str) -> Path:
    """Where a bundle's manifest and contracts are kept."""
    return state / "bundles" / f"{bundle_id}.json"


def _manifest_json(product: DataProduct | None) -> dict[str, Any] | None:
    return None if product is None else product.model_dump(mode="json", by_alias=True)


def _manifest(raw: Mapping[str, Any] | None) -> DataProduct | None:
    # From JSON text, because only there a list may stand for a tuple in strict mode.
    return None if raw is None else DataProduct.model_validate_json(json.dumps(raw))


def _port(raw: Mapping[str, Any]) -> PortRecord:
    columns = tuple(DataColumn(**column) for column in raw["columns"])
    return PortRecord(raw["name"], raw["table"], raw["rows"], columns, raw["parquet"], raw["nulls"])


def _live_json(live: LivePart) -> dict[str, Any]:
    return {
        "folder": str(live.folder),
        "tables": [
            [list(path), _schema_text(table.schema), table.dialect, list(table.remote), sorted(table.plain)]
            for path, table in live.tables.items()
        ],
        "models": [
            {
                "name": model.name,
                "sql": model.sql,
                "reads": model.reads,
                "python": model.python,
                "schema": None if model.schema is None else _schema_text(model.schema),
            }
            for model in live.models
        ],
        "kept": [[list(path), table] for path, table in live.kept.items()],
    }


def _live(folder: Path, raw: Mapping[str, Any]) -> LivePart:
    models = tuple(
        LiveModel(
            model["name"],
            model["sql"],
            tuple(map(_relation, model["reads"])),
            model["python"],
            None if model["schema"] is None else _schema(model["schema"]),
        )
        for model in raw["models"]
    )
    kept = {_relation(path): table for path, table in raw["kept"]}
    tables = {
        _relation(path): LiveRelation(_schema(text), dialect, _relation(remote), frozenset(plain))
        for path, text, dialect, remote, plain in raw["tables"]
    }
    return LivePart(Path(raw["folder"]), tables, models, kept, folder / DATABASE if kept else None)


def _relation(path: Any) -> Relation:
    return tuple(map(str, path))


def _schema_text(schema: pa.Schema) -> str:
    return base64.b64encode(schema.serialize()).decode()


def _schema(text: str) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


def _contract_json(contract: DataContract) -> dict[str, Any]:
    plain = {field.name: getattr(contract, field.name) for field in dataclasses.fields(contract)}
    del plain["document"]
    columns = [{**dataclasses.asdict(column), "tags": sorted(column.tags)} for column in contract.columns]
    return {**plain, "columns": columns}


def _contract(raw: Mapping[str, Any]) -> DataContract:
    columns = tuple(ContractColumn(**{**column, "tags": frozenset(column["tags"])}) for column in raw["columns"])
    return DataContract(**{**raw, "columns": columns})


def _encode(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False, default=_plain).encode()


def _plain(value: object) -> object:
    """Immutable mappings and sequences as the ones that JSON has."""
    return dict(value) if isinstance(value, Mapping) else list(value)  # type: ignore[call-overload]


def _decode(path: Path) -> Any:  # Any: JSON whose shape the callers check
    """The JSON object in the file; None when it is not there, not whole, or of another format."""
    try:
        raw = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return raw if isinstance(raw, dict) and raw.get("format") == FORMAT else None

"""What is written down is read back as it was, and what is damaged is not read at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flightmesh.catalog.records import (
    RECORD,
    encode_bundle,
    encode_generation,
    generation_record,
    port_data,
    read_bundle,
    read_generation,
    read_snapshot,
    restore,
)
from flightmesh.catalog.snapshot import Unavailable
from flightmesh.catalog.store import Store
from flightmesh.names import ProductName

from .conftest import MakeProductSnapshot, generation, parquet_of


def test_a_generation_comes_back_as_it_was(make_snapshot: MakeProductSnapshot, state: Path) -> None:
    """After a restart tickets of the old generation would be answered with other policies, columns or files."""
    one, two = make_snapshot("s1"), make_snapshot("s2", bundle_id="b2", name="c.d")
    failed = Unavailable(ProductName("e", "f"), "The product has 1 problem.", one.product)
    made = generation("g1", one, two, failed=failed)
    with Store(state) as store:
        store.publish(made)
    record = read_generation(state / "generations" / "g1.json")
    assert record == generation_record(made)
    assert restore(state, record) == made


def test_a_snapshot_folder_comes_back_with_its_ports(make_snapshot: MakeProductSnapshot) -> None:
    """Types or row counts would be lost on reuse."""
    made = make_snapshot("s1")
    folder = parquet_of(made.ports["p"]).parent
    record = read_snapshot(folder)
    assert record is not None
    assert port_data(folder, record) == made.ports


@pytest.mark.parametrize("damage", ["missing", "cut", "size", "gone", "format", "shape"])
def test_a_damaged_snapshot_is_none(make_snapshot: MakeProductSnapshot, damage: str) -> None:
    """Half a snapshot would be served, or end the start with a traceback."""
    folder = parquet_of(make_snapshot("s1").ports["p"]).parent
    record, parquet = folder / RECORD, folder / "p.parquet"
    for file in (record, parquet):
        file.chmod(0o644)
    content = json.loads(record.read_bytes())
    if damage == "missing":
        record.unlink()
    elif damage == "cut":
        record.write_bytes(record.read_bytes()[:-10])
    elif damage == "size":
        parquet.write_bytes(b"p" * 19)
    elif damage == "gone":
        parquet.unlink()
    elif damage == "format":
        record.write_text(json.dumps({**content, "format": content["format"] + 1}))
    else:
        record.write_text(json.dumps({**content, "ports": [1]}))
    assert read_snapshot(folder) is None


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"format": 1}', b'{"format": 1, "product": {"a": 1}, "contracts": {}}']
)
def test_damaged_bundles_and_generations_are_none(tmp_path: Path, content: bytes) -> None:
    """As above."""
    path = tmp_path / "x.json"
    path.write_bytes(content)
    assert read_bundle(path) is None
    assert read_generation(path) is None
    assert read_bundle(tmp_path / "none.json") is None


def test_paths_of_the_machine_are_not_written_down(make_snapshot: MakeProductSnapshot, state: Path) -> None:
    """A state directory that was moved would point to the old place."""
    made = make_snapshot("s1")
    texts = [
        encode_bundle(made.product, made.contracts),
        encode_generation(generation_record(generation("g", made))),
        (parquet_of(made.ports["p"]).parent / RECORD).read_bytes(),
    ]
    assert all(str(state).encode() not in text for text in texts)

"""What a product publishes of its live half is written down and read back exactly: plans stand on it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from flightmesh.catalog.records import (
    DATABASE,
    RECORD,
    FileRecord,
    PortRecord,
    SnapshotRecord,
    encode_snapshot,
    port_data,
    read_snapshot,
)
from flightmesh.catalog.snapshot import DataColumn, LiveModel, LivePart, LiveRelation

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False, metadata={"kept": "word"}),
        pa.field('o"dd.na me ü\0', pa.large_string()),
        ("dec", pa.decimal128(38, 2)),
        ("tz", pa.timestamp("us", "Europe/Berlin")),
        ("time", pa.time64("ns")),
        ("word", pa.dictionary(pa.int32(), pa.string())),
        ("struct", pa.struct([pa.field("x", pa.list_(pa.map_(pa.string(), pa.binary())))])),
        ("uuid", pa.uuid()),
        ("null", pa.null()),
        ("length", pa.duration("us")),
    ],
    metadata={"of": "the table"},
)


def _part(folder: Path, database: Path | None) -> LivePart:
    return LivePart(
        Path("/elsewhere/prödukt"),
        {
            ("tms", "Odd Na.me ü"): LiveRelation(SCHEMA, "postgres", ("public", 'Odd "Na.me" ü')),
            ("raw",): LiveRelation(pa.schema([])),
        },
        (
            LiveModel("m", "SELECT 'ü\n' AS v", (("tms", "Odd Na.me ü"), ("kept",))),
            LiveModel("p", None, (("m",),), "models/p.py:build", SCHEMA),
        ),
        {("kept",): "kept 0"} if database else {},
        database,
    )


def _record(live: LivePart | None, *files: FileRecord) -> SnapshotRecord:
    port = PortRecord("m", "m", None, (DataColumn("v", "VARCHAR"),), None, {})
    return SnapshotRecord("lab.samples", "s1", (port,), files, {"tms.legs": "live:x"}, "code", {}, 12.5, live)


@pytest.mark.parametrize("has_kept", [True, False])
def test_the_live_half_comes_back(tmp_path: Path, has_kept: bool) -> None:
    """A type, a name or a parameter of the source lost here is a wrong plan after a restart."""
    (tmp_path / DATABASE).write_bytes(b"x" * 9)
    record = _record(_part(tmp_path, tmp_path / DATABASE if has_kept else None), FileRecord(DATABASE, 9, "h"))
    (tmp_path / RECORD).write_bytes(encode_snapshot(record))
    found = read_snapshot(tmp_path)
    assert found == record
    assert found is not None
    assert found.live is not None
    table = found.live.tables[("tms", "Odd Na.me ü")]
    assert table.schema.equals(SCHEMA, check_metadata=True)
    assert found.live.models[1].schema is not None
    assert found.live.models[1].schema.equals(SCHEMA, check_metadata=True)


def test_a_moved_state_directory_is_followed(tmp_path: Path) -> None:
    """The rows that were kept lie beside the record, wherever that is now."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / DATABASE).write_bytes(b"x")
    record = _record(_part(tmp_path, tmp_path / "a" / DATABASE), FileRecord(DATABASE, 1, "h"))
    (tmp_path / "b" / RECORD).write_bytes(encode_snapshot(record))
    found = read_snapshot(tmp_path / "b")
    assert found is not None
    assert found.live is not None
    assert found.live.database == tmp_path / "b" / DATABASE


def test_a_live_port_has_no_files(tmp_path: Path) -> None:
    """A client must not be told of rows or files that are not there."""
    (tmp_path / RECORD).write_bytes(encode_snapshot(_record(_part(tmp_path, None))))
    found = read_snapshot(tmp_path)
    assert found is not None
    port = port_data(tmp_path, found)["m"]
    assert (port.is_live, port.rows, port.parquet, port.database, port.table) == (True, None, None, None, "m")


def test_without_a_live_half(tmp_path: Path) -> None:
    """Products of files alone are as they were."""
    record = replace(_record(None), ports=())
    (tmp_path / RECORD).write_bytes(encode_snapshot(record))
    assert read_snapshot(tmp_path) == record


@pytest.mark.parametrize("damage", ["schema", "shape", "path", "gone"])
def test_a_damaged_live_half_is_none(tmp_path: Path, damage: str) -> None:
    """Half a plan must not be served: the product is built anew."""
    raw = json.loads(encode_snapshot(_record(_part(tmp_path, None))))
    if damage == "schema":
        raw["live"]["tables"][0][1] = raw["live"]["tables"][0][1][:-40]
    elif damage == "shape":
        raw["live"]["tables"] = [["tms"]]
    elif damage == "path":
        raw["live"]["models"] = [{"name": "m"}]
    else:
        del raw["live"]
    (tmp_path / RECORD).write_text(json.dumps(raw))
    assert read_snapshot(tmp_path) is None

"""The files of temporary tables: parts that are whole, a manifest that is old or new, and no garbage."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from flightmesh.catalog.temporary import (
    Manifest,
    Part,
    PartWriter,
    SessionFiles,
    TableRecord,
    disk_errors,
    record_of,
    schema_of,
    session_key,
)
from flightmesh.errors import ErrorCode, FlightmeshError

SCHEMA = pa.schema([("a", pa.string()), ("b", pa.decimal128(38, 2))])
KEY = session_key("ann", "one")


def batch_of(rows: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [pa.array([f"row {n}" for n in range(rows)]), pa.array([None] * rows, pa.decimal128(38, 2))], schema=SCHEMA
    )


def written(files: SessionFiles, rows: int) -> Part:
    writer = files.writer(KEY, SCHEMA)
    writer.write(batch_of(rows))
    return writer.finish()


def record(name: str, *parts: Part) -> TableRecord:
    return record_of(
        name=name,
        version=name,
        created_at=1.0,
        columns=[("a", "VARCHAR"), ("b", "DECIMAL(38,2)")],
        schema=SCHEMA,
        parts=[part.record for part in parts],
    )


def names(root: Path) -> list[str]:
    return sorted(path.suffix for path in root.rglob("*") if path.is_file())


def test_a_key_tells_nothing_and_mixes_nobody_up() -> None:
    """Neither the user's name nor the session's id stands on the disk; no two pairs share a folder."""
    assert session_key("ann", "one") == session_key("ann", "one")
    pairs = [("ann", "one"), ("an", "none"), ("1:a", "b"), ("1", ":ab"), ("\ud800", "x")]
    assert len({session_key(*pair) for pair in pairs}) == len(pairs)
    assert "ann" not in session_key("ann", "one")


def test_what_was_saved_is_found(tmp_path: Path) -> None:
    """By the next process, with the same rows."""
    files = SessionFiles(tmp_path / "s")
    first, second = written(files, 3), written(files, 2)
    table = record("t", first, second)
    assert (table.rows, schema_of(table)) == (5, SCHEMA)
    assert first.record.size == (tmp_path / "s" / KEY / f"{first.record.name}.arrow").stat().st_size
    files.save(KEY, Manifest(1.0, 2.0, (table,)))
    after = SessionFiles(tmp_path / "s")
    assert after.kept == {KEY: Manifest(1.0, 2.0, (table,))}
    rows = after.part(KEY, table.parts[0]).batches(SCHEMA)
    assert pa.Table.from_batches(rows).equals(pa.Table.from_batches([batch_of(3)]))
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o700


def test_what_nobody_names_is_removed_at_the_start(tmp_path: Path) -> None:
    """A killed server's uploads, parts that were never published, folders on their way out."""
    files = SessionFiles(tmp_path)
    kept, lost = written(files, 1), written(files, 1)
    files.writer(KEY, SCHEMA).write(batch_of(1))
    files.save(KEY, Manifest(1.0, 1.0, (record("t", kept),)))
    (tmp_path / KEY / ".manifest.json.0123456789ab").write_bytes(b"{")
    files.writer(session_key("bob", "x"), SCHEMA)
    gone = session_key("ann", "gone")
    files.writer(gone, SCHEMA)
    assert files.move_away(gone) is not None
    assert files.move_away(gone) is None
    assert list(SessionFiles(tmp_path).kept) == [KEY]
    assert names(tmp_path) == [".arrow", ".json"]
    assert lost.record.name not in "".join(map(str, tmp_path.rglob("*")))


def test_rows_outlive_their_file(tmp_path: Path) -> None:
    """A read goes on while the table is dropped; no descriptor is kept for it."""
    part = written(SessionFiles(tmp_path), 1_000)
    descriptors = len(os.listdir("/proc/self/fd"))
    part.keep(SCHEMA)
    part.unlink()
    part.unlink()
    rows = part.batches(SCHEMA)
    assert rows[0].column(0)[999].as_py() == "row 999"
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert names(tmp_path) == []


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("damage", [_cut, Path.unlink])
def test_a_table_with_a_lost_part_is_gone(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """The server starts, and the session's other tables are there."""
    files = SessionFiles(tmp_path)
    whole, other, broken = written(files, 1), written(files, 2), written(files, 3)
    files.save(KEY, Manifest(1.0, 1.0, (record("t", whole), record("u", other, broken))))
    damage(tmp_path / KEY / f"{broken.record.name}.arrow")
    assert [table.name for table in SessionFiles(tmp_path).kept[KEY].tables] == ["t"]
    assert names(tmp_path) == [".arrow", ".json"]


def test_overwritten_rows_are_an_error_and_no_crash(tmp_path: Path) -> None:
    """Damaged Arrow ends the process as soon as its values are touched: it is looked at first."""
    files = SessionFiles(tmp_path)
    part = written(files, 10)
    path = tmp_path / KEY / f"{part.record.name}.arrow"
    content = path.read_bytes()
    for damaged in (b"x" * len(content), content.replace(b"row 0row 1", b"\xff" * 10), content[:50]):
        path.write_bytes(damaged)
        with pytest.raises(FlightmeshError) as failure:
            files.part(KEY, part.record).batches(SCHEMA)
        assert failure.value.code is ErrorCode.UNAVAILABLE
    path.write_bytes(content)
    with pytest.raises(FlightmeshError):
        files.part(KEY, part.record).batches(pa.schema([("z", pa.int8())]))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"created_at": 1, "last_used_at": 1, "tables": [1]}', b"\xff" * 100]
)
def test_a_damaged_manifest_is_a_session_less(tmp_path: Path, content: bytes) -> None:
    """Its tables are gone, and the server starts."""
    files = SessionFiles(tmp_path)
    files.save(KEY, Manifest(1.0, 1.0, (record("t", written(files, 1)),)))
    (tmp_path / KEY / "manifest.json").write_bytes(content)
    assert SessionFiles(tmp_path).kept == {}
    assert names(tmp_path) == []


def test_a_manifest_names_no_file_elsewhere(tmp_path: Path) -> None:
    """It may have been changed by somebody: paths out of the folder are not followed."""
    files = SessionFiles(tmp_path / "s")
    table = record("t", written(files, 1))
    (tmp_path / "s" / KEY / f"{table.parts[0].name}.arrow").rename(tmp_path / "x.arrow")
    content = Manifest(1.0, 1.0, (table,))
    files.save(KEY, content)
    path = tmp_path / "s" / KEY / "manifest.json"
    path.write_bytes(path.read_bytes().replace(table.parts[0].name.encode(), b"../../x"))
    assert SessionFiles(tmp_path / "s").kept[KEY].tables == ()
    assert (tmp_path / "x.arrow").exists()


def test_a_discarded_part_leaves_nothing(tmp_path: Path) -> None:
    """Also when the disk is full while it is discarded."""
    files = SessionFiles(tmp_path)
    writer = files.writer(KEY, SCHEMA)
    writer.write(batch_of(1))
    writer.discard()
    assert names(tmp_path) == []


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """EXHAUSTED, with what to do; other failures are the server's."""
    (tmp_path / "full.writing").symlink_to("/dev/full")
    with pytest.raises(FlightmeshError, match="disk is full") as failure, disk_errors():
        PartWriter(tmp_path, "full", SCHEMA).write(batch_of(1))
    assert failure.value.code is ErrorCode.EXHAUSTED
    with pytest.raises(FlightmeshError) as failure, disk_errors():
        PartWriter(tmp_path / "nowhere", "part", SCHEMA)
    assert failure.value.code is ErrorCode.UNAVAILABLE
    assert names(tmp_path) == []

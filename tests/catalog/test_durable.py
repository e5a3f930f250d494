"""Files are whole or not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flightmesh.catalog.durable import move_whole, staging_folder, sweep, taken_away, write_whole


def test_a_write_replaces_the_whole_content(tmp_path: Path) -> None:
    """A shorter content would end in what was left of the longer one."""
    path = tmp_path / "f"
    write_whole(path, b"long content")
    write_whole(path, b"short")
    assert path.read_bytes() == b"short"
    assert [file.name for file in tmp_path.iterdir()] == ["f"]


def test_a_failed_write_leaves_the_old_content(tmp_path: Path) -> None:
    """Partial files would pile up beside the whole ones."""
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "kept").write_text("x")
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path / "f", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_staging_folder_goes_unless_it_was_moved(tmp_path: Path) -> None:
    """Failed builds would fill the disk; finished ones would vanish."""
    with staging_folder(tmp_path) as lost:
        (lost / "f").write_text("x")
    with staging_folder(tmp_path) as kept:
        (kept / "f").write_text("x")
        move_whole(kept, tmp_path / "products" / "p" / "1")
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == [
        "products",
        "products/p",
        "products/p/1",
        "products/p/1/f",
        "staging",
    ]
    assert (tmp_path / "products/p/1/f").stat().st_mode & 0o777 == 0o444


def test_a_folder_taken_away_is_gone_at_once_and_deleted_later(tmp_path: Path) -> None:
    """A kill while files are deleted would leave half a snapshot under its name."""
    folder = tmp_path / "products" / "p"
    folder.mkdir(parents=True)
    (folder / "f").write_text("x")
    with taken_away(folder, tmp_path):
        assert not folder.exists()
        assert len(list((tmp_path / "staging").glob("*/p/f"))) == 1
    assert list((tmp_path / "staging").iterdir()) == []


def test_a_sweep_removes_what_the_dead_left_and_nothing_else(tmp_path: Path) -> None:
    """Killed builds would fill the disk, or a running one lose its files."""
    script = f"""
import os, signal
from pathlib import Path
from flightmesh.catalog.durable import staging_folder
with staging_folder(Path({str(tmp_path)!r})) as folder:
    (folder / "f").write_text("x")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script], check=False)
    (tmp_path / "staging" / "without-a-lock").mkdir()
    assert len(list((tmp_path / "staging").iterdir())) == 3
    with staging_folder(tmp_path) as mine:
        sweep(tmp_path)
        assert sorted(path.name for path in (tmp_path / "staging").iterdir()) == [mine.name, f"{mine.name}.lock"]


def test_a_sweep_of_nothing_is_nothing(tmp_path: Path) -> None:
    """The first start would fail."""
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []

"""``flightmesh.product.paths``: the nearest file. What leads out of the folder is in ``test_checks``."""

from __future__ import annotations

from pathlib import Path

from flightmesh.product.paths import near_file, outside


def test_the_nearest_file_is_named(tmp_path: Path) -> None:
    """An author would search for a letter."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "raw.csv").touch()
    assert near_file(tmp_path, "data/row.csv") == "Did you mean data/raw.csv?"
    assert near_file(tmp_path, "none/row.csv") is None
    assert outside(tmp_path, "data/raw.csv") is None

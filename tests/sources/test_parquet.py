"""Parquet sources, against files written here."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.model import Source
from flightmesh.sources.base import SourceTable
from flightmesh.sources.parquet import open_parquet

FLIGHTS = pa.table(
    {
        "carrier": ["EV", None, "UA"],
        "delay": pa.array([3, None, -1], pa.int16()),
        "hour": pa.array([0, 1, None], pa.timestamp("us", "UTC")),
        "fare": pa.array([None, "1.50", "2.00"]).cast(pa.decimal128(10, 2)),
    }
)


def table(folder: Path, path: str) -> SourceTable:
    return open_parquet(folder, "flights", Source(type="parquet", path=path)).tables[("flights",)]


def test_values_and_types_arrive_as_they_are(tmp_path: Path) -> None:
    """Narrow integers, NULLs, zones or decimals would change on the way."""
    pq.write_table(FLIGHTS, tmp_path / "f.parquet")
    found = table(tmp_path, "f.parquet")
    assert found.schema() == found.read().schema == FLIGHTS.schema
    assert found.read().read_all() == FLIGHTS


def test_a_file_that_is_not_parquet_is_named_without_its_path(tmp_path: Path) -> None:
    """The library's own error shows the machine's path."""
    (tmp_path / "f.parquet").write_bytes(b"no")
    with pytest.raises(FlightmeshError) as caught:
        table(tmp_path, "f.parquet").schema()
    assert caught.value.code is ErrorCode.INVALID
    assert str(tmp_path) not in str(caught.value)


def test_damage_inside_of_a_file_is_an_expected_failure(tmp_path: Path) -> None:
    """A half-copied file has a good footer as often as not, and would end the server's start with a traceback."""
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"n": range(100_000)}), path, use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[100:5000] = b"\xff" * 4900
    path.write_bytes(content)
    with pytest.raises(FlightmeshError) as caught:
        table(tmp_path, "f.parquet").read().read_all()
    assert caught.value.code is ErrorCode.UNAVAILABLE

"""From a scan in a plan to the table of its source."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from flightmesh.engine.base import LiveScan, PolarsModel, PolarsScan
from flightmesh.engine.scans import Scans
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.model import Source
from flightmesh.sources.base import Fetch, Narrowing
from flightmesh.sources.predicate import Compare
from flightmesh.sources.registry import SourceRef, Sources

SCHEMA = pa.schema([("id", pa.int64()), ("site", pa.string())])


def _none(_sql: str) -> Fetch:
    raise AssertionError("nothing asks for this")


@pytest.fixture
def scans() -> Scans:
    """Scans of files; no Polars model is run here."""
    return Scans(Sources(), None)  # type: ignore[arg-type]


def _scan(folder: Path, *path: str) -> LiveScan:
    spec = Source.model_validate({"type": "csv", "path": "raw.csv", "mode": "live"})
    return LiveScan(SCHEMA, SourceRef("lab.tests", "raw", folder, spec), path)


def test_a_live_table_is_read_as_it_is_now(scans: Scans, tmp_path: Path) -> None:
    """Live means now: a row written after the product was loaded is there in the next read."""
    file = tmp_path / "raw.csv"
    file.write_text("id,site\n1,north\n")
    narrowing, schema = Narrowing(("site",), Compare("id", ">", pa.scalar(0))), pa.schema([SCHEMA.field("site")])
    for more, expected in (("", ["north"]), ("2,south\n", ["north", "south"])):
        with file.open("a") as stream:
            stream.write(more)
        fetch = scans.open(_scan(tmp_path, "raw"), narrowing, schema, _none)
        assert fetch.reader.read_all()["site"].to_pylist() == expected
        fetch.close()


def test_what_would_be_asked_is_told(scans: Scans, tmp_path: Path) -> None:
    """``explain`` names what the source is asked; a Polars model is named as such."""
    (tmp_path / "raw.csv").write_text("id,site\n1,north\n")
    told = scans.pushed(_scan(tmp_path, "raw"), Narrowing(("site",), Compare("id", ">", pa.scalar(0))))
    assert "id" in told.text
    model = PolarsScan(SCHEMA, PolarsModel("daily", tmp_path, "models/daily.py", "build"), ())
    assert "daily" in scans.pushed(model, Narrowing()).text


def test_a_table_that_is_gone_is_named(scans: Scans, tmp_path: Path) -> None:
    """A source may have lost its table since the product was loaded: the consumer is told which."""
    (tmp_path / "raw.csv").write_text("id,site\n")
    with pytest.raises(FlightmeshError, match=r"Source raw: has no table raw\.other that can be read live") as raised:
        scans.open(_scan(tmp_path, "raw", "other"), Narrowing(), SCHEMA, _none)
    assert raised.value.code is ErrorCode.UNAVAILABLE

"""What a port comes from: the tables of sources behind its model, for lineage."""

from __future__ import annotations

from pathlib import Path

from flightmesh.config import Limits
from flightmesh.planner.upstream import upstream
from flightmesh.product.manifest import examine
from flightmesh.product.model import DataProduct
from tests.planner.live_product import KEPT, RAW, TMS, write_product


def _product(folder: Path, **models: str) -> DataProduct:
    found = examine(write_product(folder, [RAW, KEPT, TMS], models)).product
    assert found is not None
    return found


def _names(product: DataProduct, model: str) -> list[str]:
    return [dataset.name for dataset in upstream(product, model, limits=Limits())]


def test_sources_are_found_through_models(tmp_path: Path) -> None:
    """However deep the models stand, and in whatever case they are named, each table behind them is told once."""
    product = _product(
        tmp_path,
        one="{from: raw}",
        two="{sql: 'SELECT * FROM ONE o JOIN one p USING (id) JOIN TMS.legs l USING (id)'}",
        three="{from: two, join: [{from: kept, on: id, take: [v]}]}",
        four="{sql: 'WITH raw AS (SELECT 1 AS id) SELECT * FROM raw'}",
    )
    assert _names(product, "three") == ["kept:data/kept.csv", "raw:data/raw.csv", "tms.legs:data/tms.sqlite"]
    assert _names(product, "one") == ["raw:data/raw.csv"]
    assert _names(product, "four") == []


def test_what_does_not_parse_or_exist_is_left_out(tmp_path: Path) -> None:
    """Lineage of a product that is broken elsewhere must not end the listing of the catalogue."""
    product = _product(tmp_path, broken="{sql: 'SELEC x'}", loop="{sql: 'SELECT * FROM loop, nowhere, raw'}")
    assert _names(product, "broken") == []
    assert _names(product, "loop") == ["raw:data/raw.csv"]
    assert _names(product, "nothing") == []

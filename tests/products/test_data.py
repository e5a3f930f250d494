"""The bundled products as files: size, contracts, code of the models, and the figures they are tested against."""

from __future__ import annotations

import importlib.resources
import json
import runpy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import polars as pl
import pytest
from open_data_contract_standard.model import OpenDataContractStandard
from ruamel.yaml import YAML

from flightmesh.product.manifest import load_bundle

HERE = Path(__file__).parent
PRODUCTS = HERE.parents[1] / "products"
EXPECTED: dict[str, Any] = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))
BYTES_MAX = 8_000_000
PORTS = {
    "aviation_flights": {"flights", "daily_delays", "route_performance"},
    "clinical_trials": {"patients", "arms"},
}
CONTRACTS = sorted(PRODUCTS.glob("*/contracts/*.odcs.yaml"))
NAMES = [path.name.removesuffix(".odcs.yaml") for path in CONTRACTS]


def read_contract(path: Path) -> Any:
    """The document as plain values."""
    return YAML(typ="safe", pure=True).load(path)


def properties(path: Path) -> list[dict[str, Any]]:
    """The columns that the contract declares."""
    found: list[dict[str, Any]] = read_contract(path)["schema"][0]["properties"]
    return found


@cache
def standard() -> Any:
    """The standard's own JSON Schema."""
    text = (importlib.resources.files("open_data_contract_standard") / "schema.json").read_text(encoding="utf-8")
    return jsonschema_rs.validator_for(text)


def test_data_of_all_products_stay_small() -> None:
    """Whoever clones the repository would load more than 8 MB of sample data."""
    files = [path for path in PRODUCTS.glob("*/data/*") if path.is_file()]
    assert len(files) == 4
    assert sum(path.stat().st_size for path in files) < BYTES_MAX


def test_expected_figures_are_what_the_raw_files_say() -> None:
    """Every test against expected.json would compare with figures that no longer fit the data."""
    counted: Callable[[], dict[str, Any]] = runpy.run_path(str(HERE / "count_expected.py"))["counted"]
    assert counted() == EXPECTED


def test_expected_figures_agree_with_the_published_ones() -> None:
    """A mistake in the counting script would become the measure of the server."""
    flights = EXPECTED["flights"]
    assert (flights["rows"], flights["dep_time_null"], flights["on_2013_01_01"]) == (336_776, 8_255, 842)
    assert flights["arr_delay_mean"] == pytest.approx(6.895376757, abs=5e-10)
    assert flights["tailnums"] == 4_043
    by_carrier = flights["by_carrier"]
    assert [by_carrier[code]["flights"] for code in ("UA", "B6", "EV")] == [58_665, 54_635, 54_173]
    assert by_carrier["EV"]["arr_delay_mean"] == pytest.approx(15.796, abs=5e-4)
    arms = [(row["patients"], row["events"]) for row in EXPECTED["arms"]["all"]]
    assert arms == [(532, 181), (522, 103), (524, 109), (561, 128)]


def test_summaries_account_for_every_flight() -> None:
    """A summary port would lose or double flights."""
    for port in ("daily_delays", "route_performance"):
        sums = EXPECTED[port]["sums"]
        assert (sums["flights"], sums["cancelled"], sums["arrived"]) == (336_776, 8_255, 336_776 - 9_430)


@pytest.mark.parametrize("folder", PORTS)
def test_products_load(folder: str) -> None:
    """The server's own samples would not start."""
    bundle = load_bundle(PRODUCTS / folder)
    assert set(bundle.product.ports) == set(bundle.contracts) == PORTS[folder]
    for port, contract in bundle.contracts.items():
        assert [column.name for column in contract.columns] == EXPECTED[port]["columns"]


@pytest.mark.parametrize("path", CONTRACTS, ids=NAMES)
def test_contracts_are_plain_odcs(path: Path) -> None:
    """Other tools that read the Open Data Contract Standard would refuse the file or lose part of it."""
    contract = read_contract(path)
    assert [error.message for error in standard().iter_errors(contract)] == []
    model = OpenDataContractStandard.from_string(path.read_text(encoding="utf-8"))
    assert contract["apiVersion"] == model.apiVersion == "v3.1.0"
    assert model.schema_ is not None
    assert len(model.schema_[0].properties or ()) == len(properties(path))


@pytest.mark.parametrize("path", CONTRACTS, ids=NAMES)
def test_contracts_say_what_a_reader_needs(path: Path) -> None:
    """A reader would have to ask the owner for grain, meaning or type."""
    contract = read_contract(path)
    table = contract["schema"][0]
    assert table["dataGranularityDescription"].startswith("One row per")
    assert table["quality"]
    assert contract["team"]["members"]
    assert set(contract["description"]) == {"purpose", "limitations", "usage"}
    for column in table["properties"]:
        assert {"description", "logicalType", "physicalType", "classification"} <= set(column), column["name"]
        if column["physicalType"] == "DOUBLE":
            assert [extra["property"] for extra in column["customProperties"]] == ["unit"], column["name"]


@pytest.mark.parametrize(("path", "port"), list(zip(CONTRACTS, NAMES, strict=True)), ids=NAMES)
def test_contracts_require_exactly_the_columns_without_null(path: Path, port: str) -> None:
    """A client that trusts ``required`` would meet a NULL, or guard against one that cannot be."""
    figures = EXPECTED[port]
    full = {name for name, count in figures["not_null"].items() if count == figures["rows"]}
    assert {column["name"] for column in properties(path) if column.get("required")} == full
    for column in properties(path):
        for rule in column.get("quality", ()):
            if rule["metric"] == "nullValues":
                assert rule["mustBe"] == figures["rows"] - figures["not_null"][column["name"]]


def route_performance(flights: pl.DataFrame) -> pl.DataFrame:
    """What the model makes of the flights."""
    build = runpy.run_path(str(PRODUCTS / "aviation_flights/models/route_performance.py"))["build"]
    lazy = build(flights.lazy())
    assert isinstance(lazy, pl.LazyFrame)
    return lazy.collect()


def some_flights(*flights: tuple[str, int | None, int | None]) -> pl.DataFrame:
    """Flights of one carrier from EWR: destination, arrival delay, air time; cancelled where both are missing."""
    return pl.DataFrame(
        {
            "origin": ["EWR"] * len(flights),
            "dest": [dest for dest, _, _ in flights],
            "carrier": ["EV"] * len(flights),
            "carrier_name": ["ExpressJet"] * len(flights),
            "origin_name": ["Newark"] * len(flights),
            "dest_name": [None if dest == "SJU" else dest.lower() for dest, _, _ in flights],
            "cancelled": [delay is None for _, delay, _ in flights],
            "distance": pl.Series([100 + index for index in range(len(flights))], dtype=pl.Int32),
            "air_time": pl.Series([time for _, _, time in flights], dtype=pl.Int32),
            "arr_delay": pl.Series([delay for _, delay, _ in flights], dtype=pl.Int32),
        }
    )


def test_route_performance_leaves_missing_delays_out_of_its_means() -> None:
    """A cancelled flight would count as punctual."""
    found = route_performance(some_flights(("ORD", 10, 100), ("ORD", None, None), ("ORD", -20, 110), ("ORD", 40, 120)))
    assert found.rows(named=True) == [
        {
            "origin": "EWR",
            "dest": "ORD",
            "carrier": "EV",
            "carrier_name": "ExpressJet",
            "origin_name": "Newark",
            "dest_name": "ord",
            "flights": 4,
            "cancelled": 1,
            "arrived": 3,
            "distance_mean": 101.5,
            "air_time_mean": 110.0,
            "arr_delay_mean": 10.0,
            "arr_delay_median": 10.0,
            "arr_delay_p90": pytest.approx(34.0),
        }
    ]


def test_route_performance_of_a_route_without_arrivals_is_null() -> None:
    """A route that never flew would break the build or show a delay of zero."""
    found = route_performance(some_flights(("SJU", None, None)))
    assert found.select("flights", "cancelled", "arrived").row(0) == (1, 1, 0)
    assert found.select("dest_name", "air_time_mean", "arr_delay_mean", "arr_delay_p90").row(0) == (None,) * 4


def test_route_performance_comes_in_key_order_with_signed_counts() -> None:
    """Two builds of the same data would differ, and ``flights - cancelled`` could wrap around."""
    found = route_performance(some_flights(("SJU", 1, 1), ("ABQ", 2, 2), ("ORD", 3, 3)))
    assert found["dest"].to_list() == ["ABQ", "ORD", "SJU"]
    assert found.select("flights", "cancelled", "arrived").dtypes == [pl.Int64] * 3
    assert found.columns == EXPECTED["route_performance"]["columns"]


def test_route_performance_of_no_flights_is_empty() -> None:
    """``check`` asks the model for its schema on empty frames."""
    found = route_performance(some_flights(("ORD", 1, 1)).clear())
    assert found.height == 0
    assert found.columns == EXPECTED["route_performance"]["columns"]

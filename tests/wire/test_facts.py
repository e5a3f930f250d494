"""The figures of the bundled products through two stock clients, against a count that no engine of ours has made."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pytest

pytestmark = pytest.mark.client

Read: TypeAlias = Callable[[str], pa.Table]
Expected: TypeAlias = Mapping[str, Any]

PORTS = {
    "flights": "aviation.flights.flights",
    "daily_delays": "aviation.flights.daily_delays",
    "route_performance": "aviation.flights.route_performance",
    "arms": "clinical.trials.arms",
}
PORT = pytest.mark.parametrize("port", PORTS)


@pytest.fixture(params=["adbc", "flight"])
def read(request: pytest.FixtureRequest) -> Read:
    """A stock client: the ADBC driver, or pyarrow.flight."""
    client: Read = request.getfixturevalue(request.param)
    return client


def test_the_headline_figures(read: Read, expected: Expected) -> None:
    """Who counts flights, averages delays and counts cancellations gets the figures of the data, not nearly them."""
    row = read(
        "SELECT count(*) AS flights, avg(arr_delay) AS mean, count(*) FILTER (dep_time IS NULL) AS cancelled, "
        "count(*) FILTER (flight_date = DATE '2013-01-01') AS first_day, count(DISTINCT tailnum) AS tailnums, "
        "count(*) FILTER (plane_type IS NULL) AS no_plane, count(*) FILTER (tailnum IS NULL) AS no_tailnum, "
        "count(*) FILTER (origin_visib IS NULL) AS no_weather FROM aviation.flights.flights"
    ).to_pylist()[0]
    facts = expected["flights"]
    assert row["flights"] == facts["rows"] == 336_776
    assert row["mean"] == pytest.approx(facts["arr_delay_mean"], rel=1e-12)
    assert round(row["mean"], 9) == 6.895376757
    assert row["cancelled"] == facts["dep_time_null"] == 8_255
    assert row["first_day"] == facts["on_2013_01_01"] == 842
    assert (row["tailnums"], row["no_tailnum"]) == (facts["tailnums"], facts["tailnum_null"])
    assert (row["no_plane"], row["no_weather"]) == (facts["no_plane"], facts["no_weather"])


def test_flights_and_delays_of_every_carrier(read: Read, expected: Expected) -> None:
    """A group too many, too few or mixed up would show here; ExpressJet's figures are those of the acceptance."""
    table = read(
        "SELECT carrier, count(*) AS flights, avg(arr_delay) AS mean FROM aviation.flights.flights GROUP BY carrier"
    )
    rows = {row["carrier"]: row for row in table.to_pylist()}
    carriers = expected["flights"]["by_carrier"]
    assert rows.keys() == carriers.keys()
    for carrier, facts in carriers.items():
        assert rows[carrier]["flights"] == facts["flights"], carrier
        assert rows[carrier]["mean"] == pytest.approx(facts["arr_delay_mean"], rel=1e-12), carrier
    assert rows["EV"]["flights"] == 54_173
    assert round(rows["EV"]["mean"], 3) == 15.796


def test_unknown_destinations_are_kept_without_a_name(read: Read, expected: Expected) -> None:
    """An inner join in place of a look-up would lose these flights."""
    table = read("SELECT dest, count(*) AS flights FROM aviation.flights.flights WHERE dest_name IS NULL GROUP BY dest")
    assert dict(zip(*table.to_pydict().values(), strict=True)) == expected["flights"]["no_dest"]


def test_whole_rows_with_all_joined_columns(read: Read, expected: Expected) -> None:
    """Carrier, airports, aircraft and weather stand in the row they belong to: a join on the wrong key shows here."""
    facts = expected["flights"]
    samples = list(facts["samples"].values())
    wanted = " OR ".join(_is_flight(sample, facts["key"]) for sample in samples)
    rows = read(f"SELECT * FROM aviation.flights.flights WHERE {wanted}").to_pylist()
    found = {_key(row, facts["key"]): row for row in rows}
    assert len(rows) == len({_key(sample, facts["key"]) for sample in samples})
    for name, sample in facts["samples"].items():
        assert _comparable(found[_key(sample, facts["key"])]) == sample, name


@pytest.mark.parametrize("port", ["daily_delays", "route_performance"])
def test_whole_rows_of_the_aggregates(read: Read, expected: Expected, port: str) -> None:
    """Means, medians and shares of the derived ports, to the twelfth digit."""
    rows = {_dimensions(row): row for row in map(_comparable, read(f"SELECT * FROM {PORTS[port]}").to_pylist())}
    for sample in expected[port]["samples"]:
        row = rows[_dimensions(sample)]
        assert row.keys() == sample.keys()
        for column, value in sample.items():
            assert row[column] == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value), column


def test_every_arm(read: Read, expected: Expected) -> None:
    """The whole port of everybody of the clinical product."""
    assert read("SELECT * FROM clinical.trials.arms ORDER BY arms").to_pylist() == expected["arms"]["all"]


@PORT
def test_select_star_arrives_whole(read: Read, expected: Expected, port: str) -> None:
    """No row, no column, no value is lost between engine and client: columns in order, rows, NULLs and sums."""
    table, facts = read(f"SELECT * FROM {PORTS[port]}"), expected[port]
    assert table.schema.names == facts["columns"]
    assert table.num_rows == facts["rows"]
    assert {name: len(table) - table[name].null_count for name in table.schema.names} == facts["not_null"]
    for column, total in facts["sums"].items():
        assert _sum(table[column]) == pytest.approx(total, rel=1e-12), column


@PORT
def test_a_path_descriptor_reads_the_same(server: Any, adbc: Read, port: str) -> None:
    """Tools that know no SQL read a port by its path, and get what SELECT * gives."""
    import pyarrow.flight as fl

    client, options = server.flight()
    with client:
        info = client.get_flight_info(fl.FlightDescriptor.for_path(*PORTS[port].split(".")), options)
        table = client.do_get(info.endpoints[0].ticket, options).read_all()
    other = adbc(f"SELECT * FROM {PORTS[port]}")
    assert table.schema.equals(other.schema)
    order = [(name, "ascending") for name in table.schema.names]
    assert table.sort_by(order).equals(other.sort_by(order))


def _key(row: Mapping[str, Any], key: list[str]) -> tuple[Any, ...]:
    return tuple(row[column] for column in key)


def _is_flight(row: Mapping[str, Any], key: list[str]) -> str:
    return "(" + " AND ".join(f"{column} = {row[column]!r}" for column in key) + ")"


def _dimensions(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(column) for column in ("flight_date", "origin", "dest", "carrier"))


def _comparable(row: Mapping[str, Any]) -> dict[str, Any]:
    return {column: _as_json(value) for column, value in row.items()}


def _as_json(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value.isoformat() if isinstance(value, date) else value


def _sum(column: pa.ChunkedArray) -> float:
    if pa.types.is_boolean(column.type):
        column = pc.cast(column, pa.int8())
    values = column.drop_null().to_pylist()
    return math.fsum(values) if pa.types.is_floating(column.type) else sum(values)

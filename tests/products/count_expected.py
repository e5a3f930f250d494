"""Counts, from the raw files of the bundled products, what their ports must answer: ``expected.json`` beside this file.

The figures are a second opinion: plain Python over csv, gzip and sqlite3, with pyarrow for nothing but reading the
Parquet file. No SQL engine, no data frame and no code of flightmesh takes part; joins are dictionary look-ups. After a
change of the data run ``python tests/products/count_expected.py``.

Keys of ``expected.json`` (instants are ISO 8601 in UTC, dates ISO 8601, NULL is null, floats to the last bit):

``<port>.columns``           the columns of the port in order, for a reader without masks
``<port>.rows``              rows of the port
``<port>.not_null``          column to number of values that are not NULL
``<port>.sums``              numeric column to the sum of its values, booleans as 0 and 1; integers exact, floats
                             correctly rounded
``flights.arr_delay_mean``   mean arrival delay over all flights
``flights.dep_time_null``    flights without a departure time
``flights.by_carrier``       carrier to ``flights`` and ``arr_delay_mean``
``flights.on_2013_01_01``    flights on the first day
``flights.tailnums``         distinct tail numbers
``flights.no_plane``         flights whose aircraft is unknown, among them ``tailnum_null`` without a tail number
``flights.no_dest``          destination that the reference data lack to number of flights
``flights.no_weather``       flights without an observation in their hour
``flights.key``              the columns that tell a flight
``flights.samples``          what the sample shows to the whole row, the first flight of the file that shows it
``daily_delays.samples``     whole rows; so in ``route_performance.samples``
``arms.all``                 the whole port, by arm
``patients.roles``           role (``analyst+site`` and ``steward+analyst`` are users with two) to ``columns``,
                             ``rows``, ``sums``, ``not_null`` and ``ages``, a list of [age as seen, patients]

No flight was scheduled in the hour that 2013-11-03 has twice (01:00 local time), so the sample ``fall_back`` is that
morning's first flight.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import sqlite3
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

EXPECTED = Path(__file__).with_name("expected.json")
PRODUCTS = Path(__file__).parents[2] / "products"
AVIATION = PRODUCTS / "aviation_flights" / "data"
CLINICAL = PRODUCTS / "clinical_trials" / "data"

# Values are whatever the files hold, hence Any; a table is its columns in order.
Table = dict[str, list[Any]]
Row = dict[str, Any]

AIRPORT = ("name", "lat", "lon", "alt", "tz", "tzone")
PLANE = ("year", "type", "manufacturer", "model", "engines", "seats", "engine")
WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
FLIGHT_KEY = ("year", "month", "day", "carrier", "flight", "origin")
ARM_NAMES = ("zidovudine", "zidovudine + didanosine", "zidovudine + zalcitabine", "didanosine")
LATE_MINUTES = 15
BAND_YEARS = 5

# The first flight of the file that fits is the sample.
SAMPLES: Mapping[str, Callable[[Row], bool]] = {
    "first": lambda r: True,
    "registered_not_by_tailnum": lambda r: r["tailnum"] is not None and r["plane_type"] is None,
    "cancelled_without_tailnum": lambda r: r["tailnum"] is None,
    "cancelled_with_plane": lambda r: r["dep_time"] is None and r["plane_type"] is not None,
    "diverted": lambda r: r["dep_time"] is not None and r["arr_delay"] is None,
    "destination_unknown": lambda r: r["dest"] == "SJU",
    "destination_unknown_and_plane_unknown": lambda r: r["dest_name"] is None and r["plane_type"] is None,
    "no_weather": lambda r: r["origin_visib"] is None,
    "weather_without_temperature": lambda r: r["origin_visib"] is not None and r["origin_temp"] is None,
    "gusts": lambda r: r["origin_wind_gust"] is not None and r["origin"] == "LGA",
    "midnight": lambda r: r["dep_time"] == 2400,
    "year_built_unknown": lambda r: r["plane_type"] is not None and r["plane_year"] is None,
    "next_day_in_utc": lambda r: r["hour"] == 23 and r["month"] == 6,
    "hawaii": lambda r: r["dest"] == "HNL" and r["origin"] == "JFK",
    "latest": lambda r: r["dep_delay"] == 1301,
    "shortest": lambda r: r["distance"] == 17,
    "spring_forward": lambda r: (r["month"], r["day"]) == (3, 10),
    "fall_back": lambda r: (r["month"], r["day"]) == (11, 3),
}


def counted() -> dict[str, Any]:
    """The content of ``expected.json``."""
    flights = wide_flights()
    groups = grouped(flights, ("flight_date", "origin", "carrier")), grouped(flights, ("origin", "dest", "carrier"))
    patients = read_patients()
    figures = {
        "flights": summary(flights) | flight_figures(flights),
        "daily_delays": with_samples([daily_delays(rows) for rows in groups[0]]),
        "route_performance": with_samples([route_performance(rows) for rows in groups[1]]),
        "patients": summary(patients) | {"roles": {role: seen_by(role, patients) for role in ROLES}},
        "arms": arms(patients),
    }
    found: dict[str, Any] = json.loads(json.dumps(figures, default=_iso))
    return found


# ---------------------------------------------------------------------------------------------- the wide table


def wide_flights() -> Table:
    """The columns of the port ``flights``, joined by dictionary."""
    table: Table = {name: column.to_pylist() for name, column in _departures()}
    table["flight_date"] = [date(*ymd) for ymd in zip(table["year"], table["month"], table["day"], strict=True)]
    table["cancelled"] = [value is None for value in table["dep_time"]]
    carriers = {row["carrier"]: row for row in reference("airlines")}
    airports = {row["faa"]: row for row in reference("airports")}
    planes = {row["tailnum"]: row for row in reference("planes")}
    beside(table, "carrier_", ("name",), [carriers[code] for code in table["carrier"]])
    beside(table, "origin_", AIRPORT, [airports[code] for code in table["origin"]])
    beside(table, "dest_", AIRPORT, [airports.get(code, {}) for code in table["dest"]])
    beside(table, "plane_", PLANE, [planes.get(code, {}) for code in table["tailnum"]])
    hours = read_weather()
    at_origin = zip(table["origin"], table["time_hour"], strict=True)
    beside(table, "origin_", WEATHER, [hours.get(hour, {}) for hour in at_origin])
    return table


def _departures() -> Iterable[tuple[str, Any]]:
    table = pq.read_table(AVIATION / "flights.parquet")
    return zip(table.column_names, table.columns, strict=True)


def reference(table: str) -> list[Row]:
    """The rows of a table of the reference database."""
    with closing(sqlite3.connect(f"{(AVIATION / 'reference.sqlite').as_uri()}?mode=ro", uri=True)) as database:
        cursor = database.execute(f"SELECT * FROM {table}")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]


def read_weather() -> dict[tuple[str, datetime], Row]:
    """Origin and UTC hour to the observation; asserts that no hour is there twice."""
    hours: dict[tuple[str, datetime], Row] = {}
    with gzip.open(AVIATION / "weather.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            key = row["origin"], datetime.fromisoformat(row["time_hour"]).astimezone(UTC)
            assert key not in hours
            hours[key] = {name: _number(row[name], whole=name == "wind_dir") for name in WEATHER}
    return hours


def _number(text: str, *, whole: bool) -> float | None:
    if text == "":
        return None
    return int(text) if whole else float(text)


def beside(table: Table, prefix: str, names: Sequence[str], rows: Sequence[Row]) -> None:
    """Adds the named values of the rows as columns; a missing row is an empty one."""
    for name in names:
        table[prefix + name] = [row.get(name) for row in rows]


# ---------------------------------------------------------------------------------------------- figures of a table


def summary(table: Table) -> dict[str, Any]:
    """``columns``, ``rows``, ``not_null`` and ``sums``."""
    there = {name: [value for value in column if value is not None] for name, column in table.items()}
    return {
        "columns": list(table),
        "rows": len(next(iter(table.values()))),
        "not_null": {name: len(values) for name, values in there.items()},
        "sums": {name: total(values) for name, values in there.items() if isinstance(values[0], int | float)},
    }


def total(values: Sequence[Any]) -> float:
    """The sum: exact for integers, correctly rounded for floats."""
    return math.fsum(values) if isinstance(values[0], float) else sum(values)


def mean(values: Sequence[int]) -> float | None:
    return sum(values) / len(values) if values else None


def median(values: Sequence[int]) -> float | None:
    return float(statistics.median(values)) if values else None


def late_share(values: Sequence[int]) -> float | None:
    return sum(value > LATE_MINUTES for value in values) / len(values) if values else None


def ninetieth(values: Sequence[int]) -> float | None:
    """The 90th percentile, linear between the two nearest values (Hyndman and Fan's type 7)."""
    if not values:
        return None
    ordered = sorted(values)
    tenths = 9 * (len(ordered) - 1)
    below, rest = divmod(tenths, 10)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * rest / 10


def grouped(table: Table, key: Sequence[str]) -> list[list[Row]]:
    """The rows of each group, groups in key order."""

    def of(row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in key)

    needed = ("flight_date", "origin", "dest", "carrier", "carrier_name", "origin_name", "dest_name", "cancelled")
    names = (*needed, "distance", "dep_delay", "arr_delay", "air_time")
    rows = [dict(zip(names, values, strict=True)) for values in zip(*(table[name] for name in names), strict=True)]
    return [list(group) for _, group in groupby(sorted(rows, key=of), key=of)]


def known(rows: Sequence[Row], name: str) -> list[Any]:
    return [row[name] for row in rows if row[name] is not None]


# ---------------------------------------------------------------------------------------------- aviation.flights


def flight_figures(table: Table) -> dict[str, Any]:
    """What is asked of the port ``flights`` besides its summary."""
    names = list(table)
    rows = [dict(zip(names, values, strict=True)) for values in zip(*table.values(), strict=True)]
    carriers = Counter(table["carrier"])
    delays = {carrier: [r["arr_delay"] for r in rows if r["carrier"] == carrier] for carrier in sorted(carriers)}
    return {
        "arr_delay_mean": mean(known(rows, "arr_delay")),
        "dep_time_null": table["dep_time"].count(None),
        "by_carrier": {
            carrier: {"flights": carriers[carrier], "arr_delay_mean": mean([d for d in found if d is not None])}
            for carrier, found in delays.items()
        },
        "on_2013_01_01": table["flight_date"].count(date(2013, 1, 1)),
        "tailnums": len(set(known(rows, "tailnum"))),
        "no_plane": table["plane_type"].count(None),
        "tailnum_null": table["tailnum"].count(None),
        "no_dest": dict(sorted(Counter(r["dest"] for r in rows if r["dest_name"] is None).items())),
        "no_weather": table["origin_visib"].count(None),
        "key": list(FLIGHT_KEY),
        "samples": {label: next(row for row in rows if fits(row)) for label, fits in SAMPLES.items()},
    }


def daily_delays(rows: Sequence[Row]) -> Row:
    """The row of the port ``daily_delays`` for the flights of one day, origin and carrier."""
    departures, arrivals = known(rows, "dep_delay"), known(rows, "arr_delay")
    return {name: rows[0][name] for name in ("flight_date", "origin", "carrier", "carrier_name")} | {
        "flights": len(rows),
        "cancelled": sum(row["cancelled"] for row in rows),
        "arrived": len(arrivals),
        "dep_delay_mean": mean(departures),
        "dep_delay_median": median(departures),
        "dep_late_share": late_share(departures),
        "arr_delay_mean": mean(arrivals),
        "arr_delay_median": median(arrivals),
        "arr_late_share": late_share(arrivals),
    }


def route_performance(rows: Sequence[Row]) -> Row:
    """The row of the port ``route_performance`` for the flights of one origin, destination and carrier."""
    arrivals = known(rows, "arr_delay")
    names = ("origin", "dest", "carrier", "carrier_name", "origin_name", "dest_name")
    return {name: rows[0][name] for name in names} | {
        "flights": len(rows),
        "cancelled": sum(row["cancelled"] for row in rows),
        "arrived": len(arrivals),
        "distance_mean": mean(known(rows, "distance")),
        "air_time_mean": mean(known(rows, "air_time")),
        "arr_delay_mean": mean(arrivals),
        "arr_delay_median": median(arrivals),
        "arr_delay_p90": ninetieth(arrivals),
    }


def with_samples(rows: Sequence[Row]) -> dict[str, Any]:
    """The summary of the rows and some of them: every fifth part's first, and the last, busiest and oddest."""
    table = {name: [row[name] for row in rows] for name in rows[0]}
    step = len(rows) // 5
    picked = [
        *rows[::step],
        rows[-1],
        max(rows, key=lambda row: row["flights"]),
        max(rows, key=lambda row: row["cancelled"]),
        next(row for row in rows if row["arrived"] == 0),
        next(row for row in rows if row["cancelled"] + row["arrived"] < row["flights"]),
    ]
    return summary(table) | {"samples": [row for index, row in enumerate(picked) if row not in picked[:index]]}


# ---------------------------------------------------------------------------------------------- clinical.trials

ROLES = ("steward", "analyst", "site", "analyst+site", "steward+analyst")


def read_patients() -> Table:
    """All columns of the study file, and the arm in words."""
    with gzip.open(CLINICAL / "actg175.csv.gz", "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    table: Table = {name: [_number(row[name], whole=name != "wtkg") for row in rows] for name in rows[0]}
    table["arm_name"] = [ARM_NAMES[arm] for arm in table["arms"]]
    return table


def seen_by(role: str, patients: Table) -> dict[str, Any]:
    """What a user with the role, or with both roles, sees of the port ``patients``: the union of what each role shows.

    With ``analyst`` and ``site`` that is every row, and in the rows that ``site`` sees nothing is masked; a column that
    only the other role drops is there, NULL in the rows of that other role alone. ``steward`` lifts everything.
    """
    held = set(role.split("+"))
    as_it_is = ["steward" in held or ("site" in held and symptom == 1) for symptom in patients["symptom"]]
    is_there = [plain or "analyst" in held for plain in as_it_is]

    def look(name: str, value: Any, plain: bool) -> Any:
        if plain or name not in ("age", "pidnum"):
            return value
        return value - value % BAND_YEARS if name == "age" else None

    seen = {
        name: [look(name, v, plain) for v, plain, there in zip(column, as_it_is, is_there, strict=True) if there]
        for name, column in patients.items()
        if any(as_it_is) or name != "pidnum"
    }
    return summary(seen) | {"ages": sorted(Counter(seen["age"]).items())}


def arms(patients: Table) -> dict[str, Any]:
    """The port ``arms``, whole."""
    rows = list(zip(patients["arms"], patients["cens"], patients["days"], strict=True))
    found = [
        {
            "arms": arm,
            "arm_name": name,
            "patients": sum(a == arm for a, _, _ in rows),
            "events": sum(cens == 1 for a, cens, _ in rows if a == arm),
            "median_days": median([days for a, _, days in rows if a == arm]),
        }
        for arm, name in enumerate(ARM_NAMES)
    ]
    return summary({name: [row[name] for row in found] for name in found[0]}) | {"all": found}


def _iso(value: object) -> str:
    assert isinstance(value, date | datetime)
    return value.isoformat()


if __name__ == "__main__":
    EXPECTED.write_text(json.dumps(counted(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

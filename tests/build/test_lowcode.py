"""Low-code models as SQL: the text is golden, the meaning is run."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from ruamel.yaml import YAML

from flightmesh.build.lowcode import STEPS, LowCode, LowCodeFaults, lowcode_sql
from flightmesh.config import Limits
from flightmesh.engine.workshop import Bounds, Workshop
from flightmesh.errors import FlightmeshError
from flightmesh.planner.pipeline import plan_model
from flightmesh.product.model import Model
from flightmesh.product.schema import read_part

GOLDEN = Path(__file__).parent / "golden"
FLIGHTS = pa.table(
    {
        "carrier": ["EV", "UA", "EV", None, "B6"],
        "origin": ["EWR", "EWR", "JFK", "EWR", "JFK"],
        "delay": [10, None, 20, -3, 0],
    }
)
AIRLINES = pa.table({"carrier": ["EV", "UA"], "name": ["ExpressJet", "United"], "Since": [1986, 1926]})
MARCH = [date(2026, 3, day) for day in (1, 1, 2, 2, 3, 3)]
# With duplicates, ties, NULL in every role and letters beyond ASCII; small enough to work results out by hand.
SALES = pa.table(
    {
        "id": [1, 2, 3, 3, 4, 5, 6],
        "shop": ["Nord", "Nord", "Süd", "Süd", "Nord", None, "Süd"],
        "drink": ["espresso", "filter", "espresso", "espresso", "espresso", "filter", "filter"],
        "sold_on": [*MARCH, None],
        "cents": [220, 280, 230, 230, None, 300, 280],
        "customer": ["ada", None, "bob", "bob", "ada", "çelik", "bob"],
    }
)
TABLES: Mapping[tuple[str, ...], pa.Table] = {
    ("flights",): FLIGHTS,
    ("reference", "airlines"): AIRLINES,
    ("sales",): SALES,
    ("no_sales",): SALES.slice(0, 0),
    ("shops",): pa.table({"shop": ["Nord", "Süd", "West"], "city": ["Kiel", "Ulm", "Bonn"]}),
    ("stalls",): pa.table({"City": ["Ulm", "Bonn", "Bonn"], "shop": ["Markt", "West", "West"]}),
    ("vans",): pa.table({"shop": ["Wagen"], "plate": ["UL 1"]}),
    ("only_shops",): pa.table({"shop": ["Nord"]}),
    ("drinks",): pa.table({"drink": ["filter", "espresso", "tea", None]}),
    ("sizes",): pa.table(
        {"drink": ["espresso", "tea", "espresso", None], "size": ["S", "S", "L", "S"], "cents": [220, 180, 270, 1]}
    ),
    ("quarters",): pa.table(
        {"shop": ["Nord", "Süd"], "q1": [10, None], "q2": pa.array([None, None], pa.int64()), "q3": [30, 5]}
    ),
    ("readings",): pa.table(
        {"sensor": ["b", "a", "a", "b", None], "at": [2, 1, 1, 1, 1], "value": [1.5, 2.0, 1.0, None, 9.0]}
    ),
    ("limits",): pa.table({"sensor": ["b", "b", None], "at": [2, 1, 1], "value": [2.5, 1.0, 3.0]}),
    ("days",): pa.table({"day": [3, 1, 2, 4], "cups": [30, 10, None, 60]}),
}

ALL_STEPS: Mapping[str, Any] = {
    "from": "flights",
    "keep": {"code": "carrier", "origin": "origin", "late": "delay"},
    "cast": {"late": "DOUBLE", "origin": "VARCHAR"},
    "filter": ("late IS NOT NULL -- cancelled ones", "origin IN ('EWR', 'JFK')"),
    "derive": {"hours": "late / 60", "is_late": "CASE\n  WHEN hours > 0 THEN true\n  ELSE false\nEND"},
    "dedupe": ("code", "origin"),
    "join": ({"from": "reference.airlines", "on": {"code": "carrier"}, "take": ("name",), "how": "inner"},),
    "lookup": ({"from": "reference.airlines", "on": {"code": "carrier"}, "take": {"since": "Since"}},),
    "aggregate": {"by": ("name",), "measures": {"flights": "count(*)", "late": "avg(late)"}},
}


@dataclass(frozen=True)
class Golden:
    """One construct: a model, its SQL when it is built and when it is live, and its rows in both cases."""

    model: Model
    sql: str
    live_sql: str
    rows: list[dict[str, Any]]
    live_rows: list[dict[str, Any]]


def read_model(text: str) -> Model:
    """The model that the manifest would hold under its name."""
    return read_part(Model, YAML(typ="safe").load(text))


def golden(name: str) -> Golden:
    """The construct of that name. Without sections of their own, live SQL and rows are those of the build."""
    parts = re.split(r"^=== (.+)\n", (GOLDEN / f"{name}.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    rows = [json.loads(line) for line in found["rows"].splitlines()]
    live = [json.loads(line) for line in found.get("live rows", found["rows"]).splitlines()]
    live_sql = found["sql"] if found["live sql"] == "the same\n" else found["live sql"]
    return Golden(read_model(found["model"]), found["sql"], live_sql, rows, live)


CONSTRUCTS = sorted(path.stem for path in GOLDEN.glob("*.txt"))


def columns(tables: Mapping[tuple[str, ...], pa.Table] = TABLES) -> dict[tuple[str, ...], Sequence[str]]:
    return {path: table.column_names for path, table in tables.items()}


def write(model: Mapping[str, Any], *, is_live: bool = False) -> LowCode:
    return lowcode_sql("m", Model.model_validate(model), columns(), limits=Limits(), is_live=is_live)


def run(
    model: Mapping[str, Any] | Model, tables: Mapping[tuple[str, ...], pa.Table] = TABLES, *, is_live: bool = False
) -> list[dict[str, Any]]:
    """The model's rows, made as a build makes them."""
    text = lowcode_sql("m", Model.model_validate(model), columns(tables), limits=Limits(), is_live=is_live)
    with Workshop(Bounds(threads=4)) as shop:
        for path, table in tables.items():
            shop.load(path, table.to_reader())
        shop.view("m", plan_model(text.sql, relations=tables, limits=Limits()))
        rows = shop.read(("m",)).read_all()
    assert tuple(rows.column_names) == text.columns
    found: list[dict[str, Any]] = rows.to_pylist()
    return found


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows as JSON has them: dates as text, wide whole numbers as numbers."""
    found: list[dict[str, Any]] = json.loads(
        json.dumps(rows, default=lambda value: int(value) if isinstance(value, Decimal) else str(value))
    )
    return found


def texts(model: Model, *, is_live: bool) -> str:
    """The model's SQL with that of its look-ups."""
    made = lowcode_sql("m", model, columns(), limits=Limits(), is_live=is_live)
    return made.sql + "".join(f"\n-- lookup in {check.relation}\n{check.sql}" for check in made.lookups)


def test_there_is_a_golden_construct_for_every_step() -> None:
    """A step could be added, and its text and meaning change, without anybody reading either."""
    assert len(CONSTRUCTS) >= 30
    used = {key for name in CONSTRUCTS for key in golden(name).model.model_fields_set}
    assert used - {"from_"} == {"union", *STEPS}


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_the_text_is_golden(name: str) -> None:
    """A change of the text changes what reviewers read and what runs, without anybody meaning to."""
    expected = golden(name)
    assert texts(expected.model, is_live=False) == expected.sql
    assert texts(expected.model, is_live=True) == expected.live_sql


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_the_rows_are_golden(name: str) -> None:
    """What was worked out by hand from the input is what consumers read, in that order."""
    expected = golden(name)
    rows = plain(run(expected.model))
    assert rows == expected.rows
    assert [list(row) for row in rows] == [list(row) for row in expected.rows]


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_live_rows_are_golden_whatever_the_order_of_the_input(name: str) -> None:
    """A remote table has no order: an answer that hung on one would differ from read to read."""
    expected = golden(name)
    turned = {path: table.take(pa.array(range(len(table)), pa.int64())[::-1]) for path, table in TABLES.items()}
    for tables in (TABLES, turned):
        rows = plain(run(expected.model, tables, is_live=True))
        assert sorted(map(json.dumps, rows)) == sorted(map(json.dumps, expected.live_rows))


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_live_text_sorts_no_rows(name: str) -> None:
    """A view over a remote table would sort, or number, all of it for every reader, and could not be pushed down."""
    text = golden(name).live_sql.partition("-- lookup")[0]
    assert "OVER ()" not in text
    assert not re.search(r"^ *ORDER BY (?!.*\n *ROWS)", text, re.MULTILINE)


@pytest.mark.parametrize("name", ["keep", "cast", "filter", "derive", "join_left", "aggregate", "union", "pivot"])
def test_plain_steps_are_plain_in_live_text(name: str) -> None:
    """What every database understands can be pushed into it."""
    assert not re.search(r"OVER|QUALIFY|EXCLUDE|PIVOT|DISTINCT|ORDER", golden(name).live_sql)


def test_all_steps_together_give_what_the_model_says() -> None:
    """Each step may be right and their order wrong."""
    assert run(ALL_STEPS) == [{"name": "ExpressJet", "flights": 2, "late": 15.0}]


def test_keep_renames_and_orders() -> None:
    """Columns under old names would reach consumers."""
    assert run({"from": "flights", "keep": {"b": "origin", "a": "CARRIER"}})[0] == {"b": "EWR", "a": "EV"}
    assert list(run({"from": "flights", "keep": ("delay", "origin")})[0]) == ["delay", "origin"]


def test_filter_keeps_rows_for_which_all_predicates_are_true() -> None:
    """NULL is not true; and an OR inside one predicate must not swallow the next."""
    model = {"from": "flights", "filter": ("delay > 15 OR delay <= 0", "carrier = 'EV' OR carrier = 'B6'")}
    assert [row["delay"] for row in run(model)] == [20, 0]


def test_derived_columns_see_those_before_them() -> None:
    """The author would have to repeat expressions."""
    model = {"from": "flights", "derive": {"a": "delay + 1", "b": "a * 2"}, "keep": ("delay",)}
    assert run(model)[0] == {"delay": 10, "a": 11, "b": 22}


def test_dedupe_keeps_the_first_row_of_each_key_in_order_always() -> None:
    """Which reading of a sensor is published would depend on threads."""
    many = pa.table({"key": [i % 9_973 for i in range(300_000)], "n": range(300_000)})
    for _ in range(3):
        rows = run({"from": "t", "filter": "n % 2 = 1", "dedupe": ("key",)}, {("t",): many})
        firsts: dict[int, int] = {}
        for n in range(1, 300_000, 2):
            firsts.setdefault(n % 9_973, n)
        assert [(row["key"], row["n"]) for row in rows] == list(firsts.items())


def test_dedupe_takes_null_as_a_key_and_any_column_name() -> None:
    """Rows without a key would vanish, or a column named like the helper's would break the model."""
    table = pa.table({"key": [None, 1, None], "_row": [3, 2, 1]})
    assert run({"from": "t", "dedupe": ("key",)}, {("t",): table}) == [{"key": None, "_row": 3}, {"key": 1, "_row": 2}]


def test_left_joins_keep_rows_and_inner_joins_drop_them() -> None:
    """Flights of unknown carriers would vanish from counts, or stay where they must not."""
    join = {"from": "reference.airlines", "on": "carrier", "take": ("name",)}
    names = [row["name"] for row in run({"from": "flights", "join": (join,)})]
    assert names == ["ExpressJet", "United", "ExpressJet", None, None]
    assert len(run({"from": "flights", "join": ({**join, "how": "inner"},)})) == 3


def test_columns_are_found_whatever_their_case_and_keep_their_spelling() -> None:
    """SQL folds case; low-code would not."""
    join = {"from": "reference.airlines", "on": "Carrier", "take": ("since",)}
    assert list(run({"from": "flights", "join": (join,)})[0]) == ["carrier", "origin", "delay", "Since"]


def test_groups_come_in_order_and_a_measure_may_take_a_columns_name() -> None:
    """Two builds would differ in the order of rows."""
    model = {"from": "flights", "aggregate": {"by": ("origin",), "measures": {"delay": "sum(delay)"}}}
    assert run(model) == [{"origin": "EWR", "delay": 7}, {"origin": "JFK", "delay": 20}]


@pytest.mark.parametrize(
    ("model", "steps", "message", "hint"),
    [
        ({"from": "flihts"}, ("from",), "There is no source or model flihts.", "Did you mean flights?"),
        ({"keep": ("carier",)}, ("keep", 0), "The input has no column carier.", "Did you mean carrier?"),
        ({"keep": {"a": "carier"}}, ("keep", "a"), "The input has no column carier.", "Did you mean carrier?"),
        ({"keep": ("origin", "ORIGIN")}, ("keep", 1), "The column ORIGIN is named twice.", None),
        ({"cast": {"dely": "INT"}}, ("cast", "dely"), "The model has no column dely.", "Did you mean delay?"),
        ({"cast": {"delay": "INT) x"}}, ("cast", "delay"), 'INT) x is not SQL: syntax error at or near ")".', None),
        ({"filter": "1) FROM x --"}, ("filter", 0), '1) FROM x -- is not SQL: syntax error at or near ")".', None),
        ({"derive": {"x": "1, 2"}}, ("derive", "x"), "1, 2 is not one SQL expression.", None),
        (
            {"derive": {"delay": "1"}},
            ("derive", "delay"),
            "The model already has a column delay.",
            "Choose another name; cast changes a column in place.",
        ),
        ({"dedupe": ("x",)}, ("dedupe", 0), "The model has no column x.", None),
        (
            {"join": ({"from": "reference.airlines", "on": "carrier", "take": ("carrier",)},)},
            ("join", 0, "take", 0),
            "The model already has a column carrier.",
            "Rename it in take, for example {airlines_carrier: carrier}.",
        ),
        (
            {"join": ({"from": "reference.airlines", "on": {"carrier": "code"}, "take": ("name",)},)},
            ("join", 0, "on", "carrier"),
            "reference.airlines has no column code.",
            None,
        ),
        (
            {"lookup": ({"from": "reference.airline", "on": "carrier", "take": ("name",)},)},
            ("lookup", 0, "from"),
            "There is no source or model reference.airline.",
            "Did you mean reference.airlines?",
        ),
        (
            {"aggregate": {"by": ("org",), "measures": {"n": "count(*)"}}},
            ("aggregate", "by", 0),
            "The model has no column org.",
            "Did you mean origin?",
        ),
        (
            {"aggregate": {"by": ("origin",), "measures": {"origin": "count(*)"}}},
            ("aggregate", "measures", "origin"),
            "The model already has a column origin.",
            "Choose another name for the measure.",
        ),
        ({"keep": ()}, ("keep",), "keep is empty.", "Name one column or more."),
        ({"dedupe": ("origin", "ORIGIN")}, ("dedupe", 1), "The column origin is named twice.", None),
        (
            {"union": ("reference.airline",)},
            ("union", 0),
            "There is no source or model reference.airline.",
            "Did you mean reference.airlines?",
        ),
        (
            {"from": "shops", "union": {"from": ("stalls",), "label": "City"}},
            ("union", "label"),
            "The model already has a column City.",
            "Choose another name for the label.",
        ),
        (
            {"from": "vans", "union": ("only_shops",)},
            ("union", 0),
            "only_shops has no column plate, which vans has.",
            "fill: null makes it NULL where it is missing.",
        ),
        (
            {"from": "only_shops", "union": {"from": ("vans",)}},
            ("union", "from", 0),
            "vans has a column plate, which only_shops has not.",
            "fill: null makes it NULL where it is missing.",
        ),
        ({"union": {"from": ()}}, ("union", "from"), "from is empty.", "Name one relation or more."),
        (
            {"latest": {"by": ("orgin",), "order": "delay"}},
            ("latest", "by", 0),
            "The model has no column orgin.",
            "Did you mean origin?",
        ),
        (
            {"latest": {"order": ()}},
            ("latest", "order"),
            "order is empty.",
            "Name the column that tells which row is the latest.",
        ),
        (
            {"unpivot": {"columns": {"d": "dely"}, "name": "what", "value": "much"}},
            ("unpivot", "columns", "d"),
            "The model has no column dely.",
            "Did you mean delay?",
        ),
        (
            {"unpivot": {"columns": ("delay",), "name": "carrier", "value": "much"}},
            ("unpivot", "name"),
            "The model already has a column carrier.",
            "Choose another name.",
        ),
        (
            {"window": ({"order": {"dely": "desc"}, "measures": {"n": "count(*)"}},)},
            ("window", 0, "order", "dely"),
            "The model has no column dely.",
            "Did you mean delay?",
        ),
        (
            {"window": ({"frame": {"preceding": 6}, "measures": {"n": "count(*)"}},)},
            ("window", 0, "frame"),
            "A frame counts rows in an order, and there is none.",
            "Write order.",
        ),
        (
            {"window": ({"by": ("origin",), "measures": {"n": "lag(delay)"}},)},
            ("window", 0, "measures", "n"),
            "lag needs rows in an order.",
            "Write order.",
        ),
        (
            {"window": ({"order": "delay", "measures": {"n": "delay + 1"}},)},
            ("window", 0, "measures", "n"),
            "delay + 1 calls no aggregate or window function.",
            None,
        ),
        (
            {"window": ({"order": "delay", "measures": {"n": "sum(delay) OVER ()"}},)},
            ("window", 0, "measures", "n"),
            "sum(delay) OVER () has an OVER of its own.",
            "Write the call.",
        ),
        (
            {"rank": ({"name": "delay", "order": "delay"},)},
            ("rank", 0, "name"),
            "The model already has a column delay.",
            "Choose another name for the rank.",
        ),
        (
            {"rank": ({"name": "n", "order": ()},)},
            ("rank", 0, "order"),
            "order is empty.",
            "Name the columns to rank by.",
        ),
        (
            {"pivot": {"on": "orign", "values": ("EWR",), "using": {"n": "count(*)"}}},
            ("pivot", "on"),
            "The model has no column orign.",
            "Did you mean origin?",
        ),
        (
            {"pivot": {"on": "origin", "values": ("EWR", "ewr"), "using": {"n": "count(*)"}}},
            ("pivot", "values", 1),
            "The model already has a column ewr.",
            "Name the columns: values also takes a mapping of column name to value.",
        ),
        (
            {"pivot": {"on": "origin", "values": ("EWR", "JFK"), "using": {"n": "count(*) FILTER (WHERE delay > 0)"}}},
            ("pivot", "using", "n"),
            "count(*) FILTER (WHERE delay > 0) has a FILTER of its own.",
            "Use CASE inside of the call.",
        ),
        ({"aggregate": {"measures": {}}}, ("aggregate", "measures"), "measures is empty.", "Name one measure or more."),
    ],
)
def test_faults_say_where_what_and_the_nearest_right_thing(
    model: dict[str, Any], steps: tuple[str | int, ...], message: str, hint: str | None
) -> None:
    """The author would get the engine's words on SQL that he did not write."""
    with pytest.raises(LowCodeFaults) as caught:
        write({"from": "flights", **model})
    (fault,) = caught.value.faults
    assert (fault.steps, fault.message, fault.hint) == (steps, message, hint)


def test_all_faults_come_at_once() -> None:
    """The author would run check once for each."""
    with pytest.raises(LowCodeFaults) as caught:
        write({"from": "flights", "keep": ("carier", "x"), "derive": {"y": "1,"}, "dedupe": ("z",)})
    assert [fault.steps[0] for fault in caught.value.faults] == ["keep", "keep", "derive", "dedupe"]


def test_lines_know_the_part_of_the_model_they_come_from() -> None:
    """An error of the engine could not be shown at the author's expression."""
    made = write(ALL_STEPS)
    lines = made.sql.splitlines()
    assert len(lines) == len(made.places)
    assert made.places[lines.index('    (late / 60) AS "hours"')] == ("derive", "hours")
    assert made.places[lines.index("        WHEN hours > 0 THEN true")] == ("derive", "is_late")


def test_only_named_inputs_can_be_read() -> None:
    """An expression could read a relation that the model does not name, so that its lineage would lie."""
    with pytest.raises(FlightmeshError):
        run({"from": "flights", "filter": "delay > (SELECT max(x) FROM secrets)"})


def lookup_rows(flights: pa.Table, airlines: pa.Table) -> list[dict[str, Any]]:
    tables = {("flights",): flights, ("reference", "airlines"): airlines}
    lookup = {"from": "reference.airlines", "on": "carrier", "take": ("name",)}
    text = lowcode_sql(
        "m", Model.model_validate({"from": "flights", "lookup": (lookup,)}), columns(tables), limits=Limits()
    )
    with Workshop(Bounds()) as shop:
        for path, table in tables.items():
            shop.load(path, table.to_reader())
        found: list[dict[str, Any]] = (
            shop.run(plan_model(text.lookups[0].sql, relations=tables, limits=Limits())).read_all().to_pylist()
        )
    return found


def test_a_lookup_finds_keys_without_exactly_one_match() -> None:
    """A doubled key in a reference table would double rows, and with them every sum."""
    twice = pa.table({"carrier": ["EV", "EV", "UA", "unused", "unused"], "name": list("abcde")})
    assert lookup_rows(FLIGHTS, twice) == [
        {"key_1": "B6", "matches": 0, "failing": 2},
        {"key_1": "EV", "matches": 2, "failing": 2},
    ]


def test_a_lookup_shows_five_keys_and_counts_all() -> None:
    """An error with a million keys helps nobody."""
    many = pa.table({"carrier": [str(i) for i in range(1_000)]})
    rows = lookup_rows(many, AIRLINES)
    assert (len(rows), rows[0]["failing"]) == (5, 1_000)


def test_rows_without_a_key_need_no_match() -> None:
    """NULL means that there is nothing to look up."""
    assert lookup_rows(FLIGHTS.slice(0, 4), AIRLINES) == []

"""Models are built in order, named when they fail, and kept as tables where they are read more than once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from flightmesh.build.models import Making, load, make_model, reads_of, recipe
from flightmesh.config import Limits
from flightmesh.engine.polars import PolarsBounds
from flightmesh.engine.workshop import Bounds, Workshop
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.model import DataProduct

SOURCES = {("raw",): pa.table({"k": ["a", "b"], "n": [1, 2]}), ("db", "names"): pa.table({"k": ["a"], "name": ["A"]})}


def product(models: dict[str, dict[str, object]], *ports: str) -> DataProduct:
    """A product of these models; ports carry their models' names."""
    return DataProduct.model_validate_json(
        json.dumps(
            {
                "flightmesh": "v1",
                "product": "d.p",
                "version": "1.0.0",
                "title": "t",
                "owner": {"team": "t"},
                "sources": {},
                "models": models,
                "ports": {name: {"model": name, "contract": f"{name}.yaml"} for name in ports},
            }
        )
    )


@contextmanager
def making(made: DataProduct, scratch: Path, *, is_dry: bool = False) -> Iterator[Making]:
    with Workshop(Bounds()) as shop:
        for path, table in SOURCES.items():
            shop.load(path, table.to_reader())
        relations = [*SOURCES, *((name,) for name in made.models)]
        yield Making(shop, scratch, made, relations, scratch, Limits(), PolarsBounds(seconds=60), is_dry)


def build(made: DataProduct, scratch: Path, port: str) -> list[dict[str, object]]:
    plan = recipe(made, SOURCES, limits=Limits())
    with making(made, scratch) as make:
        for name in plan.order:
            make_model(make, name, is_table=name in plan.tables)
        rows: list[dict[str, object]] = make.workshop.read((port,)).read_all().to_pylist()
    return rows


def test_models_come_after_what_they_read_and_unread_ones_not_at_all(tmp_path: Path) -> None:
    """A model would be built before its inputs, or time be spent on one that no port needs."""
    made = product(
        {
            "last": {"sql": "SELECT * FROM MIDDLE"},
            "middle": {"from": "first"},
            "first": {"sql": "WITH unused AS (SELECT 1) SELECT k, n FROM raw"},
            "unused": {"from": "raw"},
        },
        "last",
    )
    plan = recipe(made, SOURCES, limits=Limits())
    assert plan.order == ("first", "middle", "last")
    assert plan.relations == {("raw",), ("first",), ("middle",)}
    assert build(made, tmp_path, "last") == [{"k": "a", "n": 1}, {"k": "b", "n": 2}]


def test_a_cycle_is_named() -> None:
    """The server would recurse, or the author search."""
    made = product({"a": {"sql": "SELECT * FROM b"}, "b": {"from": "a"}}, "a")
    with pytest.raises(FlightmeshError, match="a -> b -> a"):
        recipe(made, SOURCES, limits=Limits())


def test_what_is_read_twice_or_feeds_python_is_a_table() -> None:
    """A model over millions of rows would be computed once for each reader."""
    made = product(
        {
            "twice": {"from": "raw"},
            "x": {"from": "twice"},
            "y": {"from": "twice"},
            "looked": {"from": "fed", "lookup": [{"from": "fed", "on": "k", "take": {"m": "n"}}]},
            "fed": {"from": "raw"},
            "py": {"python": "m.py:build", "inputs": ["x"]},
        },
        "y",
        "py",
        "looked",
    )
    assert recipe(made, SOURCES, limits=Limits()).tables == {"twice", "fed", "x"}


def test_sql_reads_what_it_names_in_any_case_and_not_its_own_ctes() -> None:
    """A CTE would be taken for a model, or a model in capitals be missed."""
    made = product(
        {"m": {"sql": "WITH other AS (SELECT * FROM Raw) SELECT * FROM other, DB.Names"}, "other": {"from": "raw"}}
    )
    assert reads_of(made, "m", SOURCES, limits=Limits()) == (("raw",), ("db", "names"))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"sql": "SELECT * FROM raww"}, "raww"),
        ({"sql": "SELECT nn FROM raw"}, "nn"),
        ({"sql": "SELECT * FROM read_csv('/etc/passwd')"}, "read_csv"),
        ({"sql": "COPY raw TO 'x'"}, "COPY"),
        ({"sql": "SELECT 1; SELECT 2"}, "several statements"),
        ({"sql": "WITH x AS (INSERT INTO raw VALUES ('c', 3) RETURNING *) SELECT * FROM x"}, "not allowed"),
        ({"sql": "SELECT * FROM duckdb_settings()"}, "duckdb_settings"),
        ({"sql": "SELECT $1 AS x"}, "parameter"),
        ({"from": "raw", "filter": "nn > 1"}, "nn"),
        ({"from": "raw", "filter": "getenv('HOME') = 'x'"}, "getenv"),
    ],
)
def test_models_that_cannot_be_are_refused_by_name(tmp_path: Path, model: dict[str, object], message: str) -> None:
    """A product's SQL could read the machine, or the author not know which model is meant."""
    with pytest.raises(FlightmeshError) as caught:
        build(product({"m": model}, "m"), tmp_path, "m")
    assert caught.value.message.startswith("Model m: ")
    assert message in caught.value.message


def test_low_code_that_fails_has_no_place_in_sql_that_nobody_wrote(tmp_path: Path) -> None:
    """The operator would look in product.yaml for a line of generated SQL."""
    with pytest.raises(FlightmeshError) as caught:
        build(product({"m": {"from": "raw", "derive": {"x": "nn + 1"}}}, "m"), tmp_path, "m")
    assert caught.value.message == (
        'Model m: Referenced column "nn" not found in FROM clause. `flightmesh check` says where.'
    )


@pytest.mark.parametrize("names", [["region", "Region"], ["region", "region"]])
def test_columns_of_equal_names_are_refused(names: list[str]) -> None:
    """The second would silently become another name, and readers take the wrong one."""
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=names)
    with Workshop(Bounds()) as shop, pytest.raises(FlightmeshError) as caught:
        load(shop, ("raw",), table.to_reader())
    assert caught.value.code is ErrorCode.INVALID
    assert caught.value.message == f"raw has columns with equal names: {', '.join(names)}."


def test_a_failing_lookup_keeps_keys_out_of_the_message(tmp_path: Path) -> None:
    """The message becomes the reason that clients see; keys may be patients."""
    lookup = {"from": "db.names", "on": "k", "take": ["name"]}
    with pytest.raises(FlightmeshError) as caught:
        build(product({"m": {"from": "raw", "lookup": [lookup]}}, "m"), tmp_path, "m")
    assert caught.value.code is ErrorCode.INVALID
    assert caught.value.message == "Model m: the lookup in db.names by k does not find exactly one match for 1 key."
    assert caught.value.hint == "'b' has no match."


def test_python_models_read_and_are_read(tmp_path: Path) -> None:
    """A Polars model in the middle would cut the chain."""
    (tmp_path / "m.py").write_text("def build(a, b): return a.join(b, on='k', how='left').sort('k')\n")
    made = product(
        {"py": {"python": "m.py:build", "inputs": ["raw", "db.names"]}, "after": {"sql": "SELECT name FROM py"}},
        "after",
    )
    assert build(made, tmp_path, "after") == [{"name": "A"}, {"name": None}]


def test_dry_models_have_columns_and_need_no_rows(tmp_path: Path) -> None:
    """``check`` would compute the product, or fail on its data."""
    (tmp_path / "m.py").write_text(
        "def build(a): return a.select('n').map_batches(lambda d: 1 / 0, schema={'n': a.collect_schema()['n']})\n"
    )
    made = product({"py": {"python": "m.py:build", "inputs": ["raw"]}}, "py")
    with making(made, tmp_path, is_dry=True) as make:
        make_model(make, "py", is_table=False)
        assert make.workshop.columns(("py",)) == (("n", "BIGINT"),)

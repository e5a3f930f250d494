"""Iceberg sources, against tables that the Iceberg library writes here, moved away from where they were written."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.memory import InMemoryCatalog
from pyiceberg.table import Table

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.model import Source
from flightmesh.sources.base import LiveTable, Narrowing
from flightmesh.sources.iceberg import open_iceberg
from flightmesh.sources.predicate import AllOf, AnyOf, Compare, IsNull, IsPresent, OneOf, Predicate, to_arrow
from flightmesh.sources.secrets import Secrets
from tests.sources.conftest import SECRET_KEY, ObjectStore

LEGS = pa.table(
    {
        "leg": pa.array([1, 2, 3, None], pa.int64()),
        "year": pa.array([2023, 2023, 2024, None], pa.int32()),
        "größe": [1.5, None, float("nan"), 3.5],
        "select": ["x", "ü", None, "y"],
        "at": pa.array([dt.datetime(2024, 1, day) for day in range(1, 5)], pa.timestamp("us", "UTC")),
        "day": pa.array([dt.date(2024, 1, 1), None, dt.date(2024, 2, 1), dt.date(2024, 3, 1)]),
        "fare": pa.array([Decimal("1.50"), None, Decimal("2.00"), Decimal("-1.00")], pa.decimal128(9, 2)),
        "on": [True, False, None, True],
        "nested": [{"x": [1]}, None, {"x": None}, {"x": []}],
    }
)


@contextmanager
def catalog(warehouse: str, **properties: str) -> Iterator[InMemoryCatalog]:
    found = InMemoryCatalog("c", warehouse=warehouse, **properties)
    try:
        found.create_namespace("n")
        yield found
    finally:
        found.close()


def write(warehouse: str, **properties: str) -> tuple[str, list[int]]:
    """Three snapshots, all legs, a fifth one, the first one deleted; the folder and the ids."""
    with catalog(warehouse, **properties) as found:
        made = found.create_table("n.t", schema=LEGS.schema)
        with made.update_spec() as spec:
            spec.add_identity("year")
        ids = [appended(made, LEGS)]
        ids.append(appended(made, LEGS.slice(1, 1).set_column(0, "leg", pa.array([5], pa.int64()))))
        made.delete("leg = 1")
        return made.location(), [*ids, snapshot(made)]


def appended(made: Table, rows: pa.Table) -> int:
    made.append(rows)
    return snapshot(made)


def snapshot(made: Table) -> int:
    found = made.current_snapshot()
    assert found is not None
    return found.snapshot_id


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """A product's folder with the table ``t``, which was written elsewhere; and its snapshots."""
    written, folder = tmp_path_factory.mktemp("written"), tmp_path_factory.mktemp("product")
    location, ids = write(f"file://{written}")
    shutil.move(location.removeprefix("file://"), folder / "t")
    return folder, ids


def table(folder: Path, path: str = "t", **keys: Any) -> LiveTable:
    spec = Source.model_validate({"type": "iceberg", "path": path, **keys})
    found = open_iceberg(folder, "i", spec, Secrets()).tables[("i",)]
    assert isinstance(found, LiveTable)
    return found


def legs(found: LiveTable) -> list[int | None]:
    reader = found.read()
    assert reader.schema == found.schema() == LEGS.schema
    values: list[int | None] = reader.read_all()["leg"].to_pylist()
    return sorted(values, key=lambda leg: leg or 0)


def test_the_newest_snapshot_or_a_pinned_one_is_read(lake: tuple[Path, list[int]]) -> None:
    """An analysis could not be repeated on the data that it was made on."""
    folder, ids = lake
    assert legs(table(folder)) == [None, 2, 3, 5]
    assert legs(table(folder, version=ids[0])) == [None, 1, 2, 3]
    assert legs(table(folder, version=ids[1])) == [None, 1, 2, 3, 5]
    assert legs(table(folder, timestamp=dt.datetime.now(dt.UTC).isoformat())) == [None, 2, 3, 5]
    rows = {row["leg"]: row for row in table(folder, version=ids[0]).read().read_all().to_pylist()}
    assert [str(rows[leg]) for leg in (1, 2, 3, None)] == [str(row) for row in LEGS.to_pylist()]


def test_one_metadata_file_is_the_table_as_it_was(lake: tuple[Path, list[int]]) -> None:
    """A catalog hands out metadata files, and they could not be pointed at."""
    folder, _ = lake
    first, *_, last = sorted((folder / "t/metadata").glob("*.metadata.json"))
    assert legs(table(folder, last.relative_to(folder).as_posix())) == [None, 2, 3, 5]
    assert legs(table(folder, first.relative_to(folder).as_posix())) == []


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"version": 9}, "t has no snapshot 9."),
        ({"timestamp": "2020-01-01T00:00:00Z"}, "t has no snapshot as old as 2020-01-01T00:00:00+00:00."),
        ({"path": "other"}, "no file matches other/metadata/*.metadata.json."),
        ({"path": "x.metadata.json"}, "x.metadata.json is no Iceberg table, or a file of it is missing."),
    ],
)
def test_what_is_not_there_is_named(lake: tuple[Path, list[int]], keys: dict[str, Any], message: str) -> None:
    """The library shows paths of the machine."""
    with pytest.raises(FlightmeshError) as caught:
        table(lake[0], **keys).read()
    assert (caught.value.code, caught.value.message) == (ErrorCode.UNAVAILABLE, f"Source i: {message}")


def test_filters_prune_files(lake: tuple[Path, list[int]]) -> None:
    """A query for one year would read all of them."""
    folder, ids = lake
    found = table(folder)
    year = Compare("year", "=", pa.scalar(2023, pa.int32()))
    narrowing = Narrowing(("leg",), AllOf((year, Compare("leg", ">", pa.scalar(2)))), 1)
    pushed = found.pushed(narrowing)
    text = f"read leg of 1 file of snapshot {ids[2]} where ((year = 2023) AND (leg > 2)) limit 1"
    assert (pushed.text, pushed.left, pushed.pruned) == (text, (), "3 of 4 files")
    assert found.fetch(narrowing, pa.schema([("leg", pa.int64())])).reader.read_all().to_pylist() == [{"leg": 5}]


@pytest.mark.parametrize(
    "predicate",
    [
        Compare("leg", "<>", pa.scalar(2)),
        OneOf("leg", pa.array([2, 3])),
        IsNull("year"),
        IsPresent("nested"),
        Compare("select", ">=", pa.scalar("y")),
        Compare("at", "<", pa.scalar(dt.datetime(2024, 1, 3, tzinfo=dt.UTC), pa.timestamp("us", "UTC"))),
        Compare("day", ">", pa.scalar(dt.date(2024, 1, 31))),
        Compare("fare", "<=", pa.scalar(Decimal("1.50"), pa.decimal128(9, 2))),
        Compare("on", "=", pa.scalar(True)),
        AnyOf((Compare("leg", "=", pa.scalar(3)), AllOf((IsNull("leg"), Compare("on", "<>", pa.scalar(False)))))),
    ],
)
def test_a_narrowed_read_is_the_whole_one_filtered(lake: tuple[Path, list[int]], predicate: Predicate) -> None:
    """A live port would answer otherwise than the snapshot of the same table."""
    found = table(lake[0])
    assert found.pushed(Narrowing(None, predicate)).left == ()
    rows = found.fetch(Narrowing(None, predicate), found.schema()).reader.read_all()
    assert str(rows.to_pylist()) == str(found.read().read_all().filter(to_arrow(predicate)).to_pylist())
    assert 0 < rows.num_rows < 4


def test_filters_that_the_library_takes_otherwise_are_left(lake: tuple[Path, list[int]]) -> None:
    """NaN is above all numbers in SQL, and its row would be lost."""
    found = table(lake[0])
    narrowing = Narrowing(("leg", "größe"), Compare("größe", ">", pa.scalar(2.0)), 1)
    wanted = pa.schema([("leg", pa.int64()), ("größe", pa.float64())])
    assert found.fetch(narrowing, wanted).reader.read_all().num_rows == 4
    pushed = found.pushed(narrowing)
    assert pushed.left == ("größe > 2.0: Iceberg filters differ from SQL's for it",)
    assert "limit" not in pushed.text


def test_rows_can_be_counted_without_a_column(lake: tuple[Path, list[int]]) -> None:
    """``count(*)`` asks for no column at all."""
    assert table(lake[0]).fetch(Narrowing(()), pa.schema([])).reader.read_all().num_rows == 4


def test_a_renamed_column_is_read_under_the_name_of_its_snapshot(tmp_path: Path) -> None:
    """A pinned version would have columns that it did not have, or filter by those of another name."""
    with catalog(f"file://{tmp_path}") as found:
        made = found.create_table("n.t", schema=pa.schema([("a", pa.int64()), ("b", pa.int64())]))
        first = appended(made, pa.table({"a": [1, 2], "b": [3, 4]}))
        with made.update_schema() as change:
            change.rename_column("a", "c")
        made.append(pa.table({"c": [5], "b": [6]}))
    old, new = table(tmp_path, "n/t", version=first), table(tmp_path, "n/t")
    assert old.schema().names == ["a", "b"]
    assert sorted(new.read().read_all()["c"].to_pylist()) == [1, 2, 5]
    rows = old.fetch(Narrowing(None, Compare("b", "=", pa.scalar(3))), old.schema()).reader.read_all()
    assert rows.to_pylist() == [{"a": 1, "b": 3}]
    assert old.pushed(Narrowing(None, Compare("a", "=", pa.scalar(1)))).left != ()
    with pytest.raises(FlightmeshError, match=r"column a of n/t is gone\."):
        new.fetch(Narrowing(), old.schema())


def test_the_fingerprint_is_the_snapshot(lake: tuple[Path, list[int]]) -> None:
    """A check for news would read all files, or miss a deletion."""
    folder, ids = lake
    marks = [table(folder, version=version).fingerprint() for version in ids]
    assert len(set(marks)) == 3
    assert table(folder).fingerprint() == marks[2]


@pytest.mark.parametrize("location", ["file:///etc", "s3://other/t", "/"])
def test_files_outside_of_the_product_are_not_followed(tmp_path: Path, location: str) -> None:
    """A table that was handed to us could publish any file of the machine."""
    with catalog(f"file://{tmp_path}") as found:
        made = found.create_table("n.t", schema=LEGS.schema)
        made.append(LEGS)
    newest = max((tmp_path / "n/t/metadata").glob("*.metadata.json"))
    metadata = json.loads(newest.read_text())
    for entry in metadata["snapshots"]:
        entry["manifest-list"] = f"{location}/../passwd.avro"
    newest.write_text(json.dumps(metadata))
    with pytest.raises(FlightmeshError, match="names a file outside of the table") as caught:
        table(tmp_path, "n/t").read().read_all()
    assert caught.value.code is ErrorCode.INVALID


def test_a_table_cannot_choose_what_opens_its_files(tmp_path: Path) -> None:
    """A property of the table would import a class of its choice, or send our keys to another server."""
    with catalog(f"file://{tmp_path}") as found:
        made = found.create_table("n.t", schema=LEGS.schema)
        made.append(LEGS)
    newest = max((tmp_path / "n/t/metadata").glob("*.metadata.json"))
    metadata = json.loads(newest.read_text())
    metadata["properties"] |= {"py-io-impl": "nowhere.FileIO", "s3.endpoint": "http://127.0.0.1:1"}
    newest.write_text(json.dumps(metadata))
    assert table(tmp_path, "n/t").read().read_all().num_rows == 4


def test_damaged_metadata_is_named_without_its_path(tmp_path: Path) -> None:
    """The library's own error shows the machine's path and pages of validation."""
    (tmp_path / "t/metadata").mkdir(parents=True)
    (tmp_path / "t/metadata/v1.metadata.json").write_text('{"format-version": 2}')
    with pytest.raises(FlightmeshError) as caught:
        table(tmp_path).schema()
    assert caught.value.message == "Source i: t does not read as Iceberg table of that version."
    assert str(tmp_path) not in str(caught.value)


def test_a_table_in_an_object_store_is_read_with_the_options_of_files(tmp_path: Path, objects: ObjectStore) -> None:
    """Authors would have to learn a second vocabulary for the same store."""
    properties = {
        "s3.endpoint": f"http://127.0.0.1:{objects.port}",
        "s3.access-key-id": "writer",
        "s3.secret-access-key": "x",
        "s3.region": "eu-central-1",
    }
    location, ids = write("s3://lake/wh", **properties)
    found = table(tmp_path, location, options=objects.options)
    assert legs(found) == [None, 2, 3, 5]
    assert legs(table(tmp_path, location, options=objects.options, version=ids[0])) == [None, 1, 2, 3]
    assert found.pushed(Narrowing(None, IsNull("year"))).pruned == "3 of 4 files"


@pytest.mark.parametrize("store", ["silent", "nobody"])
def test_a_store_that_is_down_is_named_in_time(tmp_path: Path, store: str, request: pytest.FixtureRequest) -> None:
    """The library tries for minutes, and its error shows addresses."""
    options = request.getfixturevalue(store).options
    started = time.monotonic()
    with pytest.raises(FlightmeshError) as caught:
        table(tmp_path, "s3://lake/t", options=options).schema()
    assert time.monotonic() - started < 5
    assert caught.value.code is ErrorCode.UNAVAILABLE
    assert "127.0.0.1" not in str(caught.value)
    assert SECRET_KEY not in str(caught.value)
    assert (
        table(tmp_path, "s3://lake/t", options=options).pushed(Narrowing(("leg",), None, 3)).text == "read leg limit 3"
    )

"""Delta sources, against tables that the Delta library writes here."""

from __future__ import annotations

import datetime as dt
import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, TableFeatures, write_deltalake

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.model import Source
from flightmesh.sources.base import LiveTable, Narrowing
from flightmesh.sources.delta import open_delta
from flightmesh.sources.predicate import AllOf, Compare
from flightmesh.sources.secrets import Secrets
from tests.sources.conftest import SECRET_KEY, ObjectStore

LEGS = pa.table(
    {
        "leg": pa.array([1, 2, 3, None], pa.int64()),
        "city": ["Bonn", "São Paulo", "a/b", None],
        "größe": [1.5, None, 2.5, 3.5],
        "at": pa.array([dt.datetime(2024, 1, 1)] * 4, pa.timestamp("us", "UTC")),
        "nested": [{"x": [1]}, None, {"x": None}, {"x": []}],
    }
)


def write(address: str | Path, **options: Any) -> None:
    """Three versions: all legs, a fifth one, the first one deleted."""
    write_deltalake(address, LEGS, partition_by=["city"], **options)
    fifth = LEGS.slice(1, 1).set_column(0, "leg", pa.array([5], pa.int64()))
    write_deltalake(address, fifth, mode="append", **options)
    DeltaTable(address, **options).delete("leg = 1")


def table(folder: Path, path: str = "t", **keys: Any) -> LiveTable:
    spec = Source.model_validate({"type": "delta", "path": path, **keys})
    found = open_delta(folder, "d", spec, Secrets()).tables[("d",)]
    assert isinstance(found, LiveTable)
    return found


def legs(found: LiveTable) -> list[int | None]:
    reader = found.read()
    assert reader.schema == found.schema() == LEGS.schema
    values: list[int | None] = reader.read_all()["leg"].to_pylist()
    return sorted(values, key=lambda leg: leg or 0)


def test_the_newest_version_or_a_pinned_one_is_read(tmp_path: Path) -> None:
    """An analysis could not be repeated on the data that it was made on."""
    write(tmp_path / "t")
    assert legs(table(tmp_path)) == [None, 2, 3, 5]
    assert legs(table(tmp_path, version=0)) == [None, 1, 2, 3]
    assert legs(table(tmp_path, version=1)) == [None, 1, 2, 3, 5]
    assert legs(table(tmp_path, timestamp="2999-01-01T00:00:00Z")) == [None, 2, 3, 5]
    rows = {row["leg"]: row for row in table(tmp_path, version=0).read().read_all().to_pylist()}
    assert [rows[leg] for leg in (1, 2, 3, None)] == LEGS.to_pylist()


def test_a_time_between_two_versions_is_the_older_one(tmp_path: Path) -> None:
    """Rows that were written later would be counted."""
    write_deltalake(tmp_path / "t", LEGS, partition_by=["city"])
    time.sleep(0.05)
    between = dt.datetime.now(dt.UTC).isoformat()
    time.sleep(0.05)
    DeltaTable(tmp_path / "t").delete("leg = 1")
    assert legs(table(tmp_path, timestamp=between)) == [None, 1, 2, 3]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"version": 9}, "t has no version 9."),
        ({"timestamp": "2020-01-01T00:00:00Z"}, "t has no version as old as 2020-01-01T00:00:00+00:00."),
        ({"path": "other"}, "other is no Delta table."),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    """The library reads the oldest version for a time before it, and shows paths of the machine."""
    write(tmp_path / "t")
    (tmp_path / "other").mkdir()
    with pytest.raises(FlightmeshError) as caught:
        table(tmp_path, **keys).read()
    assert (caught.value.code, caught.value.message) == (ErrorCode.UNAVAILABLE, f"Source d: {message}")


def test_filters_prune_files_and_row_groups(tmp_path: Path) -> None:
    """A query for one city would read all of them."""
    write(tmp_path / "t")
    found = table(tmp_path)
    city = Compare("city", "=", pa.scalar("São Paulo"))
    narrowing = Narrowing(("leg",), AllOf((city, Compare("leg", ">", pa.scalar(2)))), 1)
    pushed = found.pushed(narrowing)
    assert pushed.text == "read leg of 2 files where ((city = 'São Paulo') AND (leg > 2)) limit 1"
    assert (pushed.left, pushed.pruned) == ((), "2 of 4 files, 1 of 2 row groups")
    rows = found.fetch(narrowing, pa.schema([("leg", pa.int64())])).reader.read_all()
    assert rows.to_pylist() == [{"leg": 5}]


def test_the_fingerprint_is_the_version(tmp_path: Path) -> None:
    """A check for news would read all files, or miss a deletion."""
    write(tmp_path / "t")
    marks = [table(tmp_path, version=version).fingerprint() for version in range(3)]
    assert len(set(marks)) == 3
    assert table(tmp_path).fingerprint() == marks[2]


def test_columns_that_were_added_later_are_null_in_older_files(tmp_path: Path) -> None:
    """A table that grew a column could not be read any more."""
    write_deltalake(tmp_path / "t", pa.table({"a": [1]}))
    write_deltalake(tmp_path / "t", pa.table({"a": [2], "b": ["x"]}), mode="append", schema_mode="merge")
    found = table(tmp_path)
    expected = [{"a": 1, "b": None}, {"a": 2, "b": "x"}]
    assert sorted(found.read().read_all().to_pylist(), key=lambda row: row["a"]) == expected
    rows = found.fetch(Narrowing(None, Compare("b", "=", pa.scalar("x"))), found.schema()).reader.read_all()
    assert rows.to_pylist() == [{"a": 2, "b": "x"}]


def test_a_table_without_rows_has_columns(tmp_path: Path) -> None:
    """A table that is emptied every night would take the product down."""
    write_deltalake(tmp_path / "t", LEGS)
    DeltaTable(tmp_path / "t").delete()
    found = table(tmp_path)
    assert found.read().read_all() == LEGS.schema.empty_table()
    narrowing = Narrowing(("leg",), Compare("leg", ">", pa.scalar(2)))
    assert found.fetch(narrowing, pa.schema([("leg", pa.int64())])).reader.read_all().num_rows == 0
    assert found.pushed(narrowing).text == "read leg of 0 files where (leg > 2)"


@pytest.mark.parametrize(
    ("published", "message"),
    [
        (pa.schema([("leg", pa.string())]), "column leg of the table is now int64, it was string."),
        (pa.schema([("old", pa.string())]), "column old of the table is gone."),
    ],
)
def test_a_column_that_changed_since_is_named(tmp_path: Path, published: pa.Schema, message: str) -> None:
    """A client would be handed other types than it was told."""
    write_deltalake(tmp_path / "t", LEGS)
    with pytest.raises(FlightmeshError) as caught:
        table(tmp_path).fetch(Narrowing(), published)
    assert (caught.value.code, caught.value.message) == (ErrorCode.UNAVAILABLE, f"Source d: {message}")


def test_tables_that_only_the_library_understands_are_read_by_it(tmp_path: Path) -> None:
    """Rows deleted in the log alone would come back."""
    write(tmp_path / "t")
    feature = TableFeatures.DeletionVectors
    DeltaTable(tmp_path / "t").alter.add_feature(feature, allow_protocol_versions_increase=True)
    found = table(tmp_path)
    assert legs(found) == [None, 2, 3, 5]
    narrowing = Narrowing(("größe", "leg"), Compare("leg", "=", pa.scalar(3)))
    wanted = pa.schema([("größe", pa.float64()), ("leg", pa.int64())])
    assert {"größe": 2.5, "leg": 3} in found.fetch(narrowing, wanted).reader.read_all().to_pylist()
    assert found.pushed(narrowing).text == "read größe, leg of version 3"
    assert found.pushed(narrowing).left[0].startswith("every filter:")
    assert found.fetch(Narrowing(()), pa.schema([])).reader.read_all().num_rows == 4


@pytest.mark.parametrize("path", ["/etc/passwd", "../../x.parquet", "file:///etc/passwd", "%2e%2e/x.parquet"])
def test_files_outside_of_the_table_are_not_followed(tmp_path: Path, path: str) -> None:
    """A table that was handed to us could publish any file of the machine."""
    write_deltalake(tmp_path / "t", LEGS)
    log = tmp_path / "t/_delta_log/00000000000000000001.json"
    add = {"path": path, "partitionValues": {}, "size": 1, "modificationTime": 1, "dataChange": True}
    log.write_text(json.dumps({"add": add}))
    with pytest.raises(FlightmeshError) as caught:
        table(tmp_path).read().read_all()
    assert caught.value.code is ErrorCode.INVALID


def test_a_table_in_an_object_store_is_read_with_the_options_of_files(tmp_path: Path, objects: ObjectStore) -> None:
    """Authors would have to learn a second vocabulary for the same store."""
    storage = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{objects.port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "writer",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_REGION": "eu-central-1",
    }
    write("s3://lake/t", storage_options=storage)
    found = table(tmp_path, "s3://lake/t", options=objects.options)
    assert legs(found) == [None, 2, 3, 5]
    narrowing = Narrowing(("leg",), Compare("city", "=", pa.scalar("a/b")))
    assert found.fetch(narrowing, pa.schema([("leg", pa.int64())])).reader.read_all().to_pylist() == [{"leg": 3}]
    assert found.pushed(narrowing).pruned == "3 of 4 files"


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


def test_stores_that_the_library_reaches_otherwise_are_refused(tmp_path: Path) -> None:
    """Options would be taken and ignored."""
    with pytest.raises(FlightmeshError, match="are read from s3:// or from the product's folder"):
        table(tmp_path, "gs://lake/t")

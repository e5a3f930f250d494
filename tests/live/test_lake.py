"""Files, object stores and lake tables, live, through a whole server: rows, pins, and what is pruned."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from pyiceberg.catalog.memory import InMemoryCatalog

from flightmesh.errors import FlightmeshError
from tests.live.conftest import Live, live_server, write_product
from tests.sources.conftest import (  # noqa: F401 - fixtures
    SECRET_KEY,
    ObjectStore,
    object_server,
    objects,
)

COLUMNS = {"leg": "BIGINT", "city": "VARCHAR"}
HIVE = {**COLUMNS, "year": "INTEGER", "month": "INTEGER"}
YEARS, MONTHS, ROWS = (2023, 2024), range(1, 7), 50


def _month(year: int, month: int) -> pa.Table:
    legs = pa.array([year * 10_000 + month * 100 + row for row in range(ROWS)], pa.int64())
    return pa.table({"leg": legs, "city": [f"città {row % 5}" for row in range(ROWS)]})


def _content(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _months() -> dict[str, bytes]:
    """Twelve files by the paths of their partitions."""
    return {
        f"year={year}/month={month}/part.parquet": _content(_month(year, month)) for year in YEARS for month in MONTHS
    }


@pytest.fixture
def lake(objects: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:  # noqa: F811
    """One product over the same rows in five places: local files, S3, Delta and Iceberg, each pinned to two thirds."""
    monkeypatch.setenv("FLIGHTMESH_SECRET_S3_KEY", SECRET_KEY)
    product = tmp_path / "lake"
    for key, content in _months().items():
        objects.put(f"legs/{key}", content)
        (product / "data/legs" / key).parent.mkdir(parents=True)
        (product / "data/legs" / key).write_bytes(content)
    newest = _month(2024, 1)
    delta = str(product / "data/delta")
    for rows in (_month(2023, 1), _month(2023, 2), newest):
        write_deltalake(delta, rows, mode="append")
    pin = _iceberg(product, [_month(2023, 1), _month(2023, 2), newest])
    address = {**objects.options, "secret_key": "${secret:S3_KEY}"}
    options = "{" + ", ".join(f'{key}: "{value}"' for key, value in address.items()) + "}"
    write_product(
        product,
        "lab.lake",
        f"""
        local: {{type: parquet, path: "data/legs/**/*.parquet", mode: live}}
        store: {{type: parquet, path: "s3://lake/legs/**/*.parquet", mode: live, options: {options}}}
        delta: {{type: delta, path: data/delta, version: 1, mode: live}}
        ice: {{type: iceberg, path: data/iceberg, version: {pin}, mode: live}}
        taken: {{type: parquet, path: "s3://lake/legs/year=2024/**/*.parquet", options: {options}}}
        """,
        "\n".join(f"of_{name}: {{from: {name}}}" for name in ("local", "store", "delta", "ice", "taken")),
        {
            "of_local": HIVE,
            "of_store": HIVE,
            "of_delta": COLUMNS,
            "of_ice": COLUMNS,
            "of_taken": HIVE,
        },
    )
    with live_server(tmp_path, product) as served:
        assert not served.application.ready.unavailable
        yield served


def _iceberg(product: Path, parts: list[pa.Table]) -> int:
    """A table of one snapshot for each part, in the product's folder; the id of the second one."""
    warehouse = product / "warehouse"
    catalog = InMemoryCatalog("c", warehouse=str(warehouse))
    catalog.create_namespace("n")
    table = catalog.create_table("n.t", schema=parts[0].schema)
    pins = []
    for part in parts:
        table.append(part)
        snapshot = table.current_snapshot()
        assert snapshot is not None
        pins.append(snapshot.snapshot_id)
    shutil.copytree(table.location().removeprefix("file://"), product / "data/iceberg")
    catalog.close()
    return pins[1]


@pytest.mark.parametrize("port", ["of_local", "of_store"])
def test_hive_partitions_are_read_and_pruned(lake: Live, port: str) -> None:
    """A month of a lake of years would be read whole; or rows would be taken for those of another month."""
    sql = (
        f"SELECT year, month, count(*) AS n, min(leg) AS first FROM lab.lake.{port} "
        "WHERE year = 2024 AND month IN (2, 3) GROUP BY ALL ORDER BY ALL"
    )
    assert lake.rows(sql) == [
        {"year": 2024, "month": month, "n": ROWS, "first": 20_240_000 + month * 100} for month in (2, 3)
    ]
    (source,) = lake.client.sql(sql).explain().sources
    assert source.pruned is not None
    assert "10 of 12 files" in source.pruned
    assert lake.rows(f"SELECT count(*) AS n FROM lab.lake.{port}") == [{"n": 12 * ROWS}]


def test_a_file_that_comes_later_is_read(lake: Live, objects: ObjectStore, tmp_path: Path) -> None:  # noqa: F811
    """A live source that lists its files once would miss what arrives."""
    content = _content(_month(2025, 1))
    objects.put("legs/year=2025/month=1/part.parquet", content)
    target = tmp_path / "lake/data/legs/year=2025/month=1/part.parquet"
    target.parent.mkdir(parents=True)
    target.write_bytes(content)
    for port in ("of_local", "of_store"):
        assert lake.rows(f"SELECT count(*) AS n FROM lab.lake.{port} WHERE year = 2025") == [{"n": ROWS}]


@pytest.mark.parametrize("port", ["of_delta", "of_ice"])
def test_lake_tables_are_read_at_their_pins(lake: Live, port: str) -> None:
    """A report at a pinned version would change under its reader."""
    sql = f"SELECT leg // 100 AS part, count(*) AS n FROM lab.lake.{port} GROUP BY 1 ORDER BY 1"
    assert lake.rows(sql) == [{"part": 202_301, "n": ROWS}, {"part": 202_302, "n": ROWS}]
    narrowed = f"SELECT city FROM lab.lake.{port} WHERE leg = 20230207"
    assert lake.rows(narrowed) == [{"city": "città 2"}]
    (source,) = lake.client.sql(narrowed).explain().sources
    assert "leg" in source.pushed
    assert source.pruned is not None
    assert "1 of 2" in source.pruned


def test_a_snapshot_of_an_object_store(lake: Live) -> None:
    """The same place can also be read when the product is built."""
    assert lake.rows("SELECT count(*) AS n, count(DISTINCT month) AS months FROM lab.lake.of_taken") == [
        {"n": 6 * ROWS, "months": 6}
    ]


def test_a_join_over_places(lake: Live) -> None:
    """Sources of any kind are tables like others."""
    sql = (
        "SELECT count(*) AS n FROM lab.lake.of_store a JOIN lab.lake.of_delta b USING (leg) "
        "JOIN lab.lake.of_local c USING (leg) WHERE c.month = 2"
    )
    assert lake.rows(sql) == [{"n": ROWS}]


def test_an_object_that_is_gone_is_named_without_its_secret(lake: Live, objects: ObjectStore) -> None:  # noqa: F811
    """An error of the store's library tells addresses and keys."""
    objects.filesystem.delete_dir_contents("lake")
    with pytest.raises(FlightmeshError) as refused:
        lake.rows("SELECT * FROM lab.lake.of_store")
    assert "store" in refused.value.message
    assert SECRET_KEY not in str(refused.value)
    assert str(objects.port) not in str(refused.value)

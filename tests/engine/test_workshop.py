"""The workshop: what goes in comes out, and models reach nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flightmesh.config import Limits
from flightmesh.engine.base import InstanceSpec, Plan
from flightmesh.engine.workshop import Bounds, Workshop, export_parquet
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.planner.pipeline import plan_model

BOUNDS = Bounds(threads=2, memory_bytes=256 << 20)
ROWS = pa.table(
    {
        "n": pa.array(range(200_000), pa.int32()),
        "key": pa.array([i % 7 for i in range(200_000)], pa.int8()),
        "moment": pa.array([0, None] * 100_000, pa.timestamp("us", "UTC")),
        "text": pa.array(["ä", None] * 100_000),
    }
)


@pytest.fixture
def workshop() -> Iterator[Workshop]:
    with Workshop(BOUNDS) as shop:
        shop.load(("rows",), ROWS.to_reader(10_000))
        shop.load(("reference", "keys"), pa.table({"key": [1, 2]}).to_reader())
        yield shop


def plan(sql: str) -> Plan:
    """A plan as the planner makes it for models."""
    return plan_model(sql, relations=[("rows",), ("reference", "keys"), ("v",)], limits=Limits())


def past_the_gate(sql: str, workshop: Workshop) -> Plan:
    """What a statement that slipped through the gate would be."""
    made = plan("SELECT 1 AS x")
    return type(made)("duckdb", InstanceSpec("workshop", (), ()), sql, (), (), 65_536)


def test_rows_come_out_in_the_order_and_types_they_went_in(workshop: Workshop) -> None:
    """ "The first row of each key" and the order of files would depend on threads."""
    assert workshop.read(("rows",)).read_all() == ROWS


def test_columns_are_told_in_the_engines_spelling(workshop: Workshop) -> None:
    """Contracts would be compared with types that nobody writes."""
    assert workshop.columns(("rows",)) == (
        ("n", "INTEGER"),
        ("key", "TINYINT"),
        ("moment", "TIMESTAMP WITH TIME ZONE"),
        ("text", "VARCHAR"),
    )


def test_views_and_tables_answer_alike(workshop: Workshop) -> None:
    """Whether a model is kept as a table is the build's choice and must not show."""
    sql = "SELECT key, count(*) AS n FROM rows JOIN reference.keys USING (key) GROUP BY key ORDER BY key -- by key"
    workshop.view("v", plan(sql))
    workshop.table("t", plan(sql))
    assert workshop.read(("v",)).read_all() == workshop.read(("t",)).read_all() == workshop.run(plan(sql)).read_all()


def test_times_of_day_are_those_of_utc(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same product built on two machines would differ by their time zones."""
    workshop.view("v", plan("SELECT CAST(moment AS DATE) AS day, hour(moment) AS hour FROM rows LIMIT 1"))
    assert [str(value) for value in workshop.read(("v",)).read_all().to_pylist()[0].values()] == ["1970-01-01", "0"]


def test_the_output_is_one_whole_file(tmp_path: Path) -> None:
    """A log left beside the file would be lost on the move, and rows with it."""
    database = tmp_path / "data.duckdb"
    with Workshop(BOUNDS, output=database) as shop:
        shop.load(("rows",), ROWS.to_reader())
        shop.view("v", plan("SELECT n, moment FROM rows WHERE key = 3"))
        assert shop.keep(("v",), "port") == 28_571
        shop.finish()
    assert [file.name for file in tmp_path.iterdir()] == ["data.duckdb"]
    connection = duckdb.connect(str(database), read_only=True)
    assert connection.sql("SELECT count(*), min(n), max(n) FROM port").fetchall() == [(28_571, 3, 199_993)]
    connection.close()


def test_parquet_holds_the_same_rows_in_the_same_order(tmp_path: Path) -> None:
    """The file for the world would differ from the one that is served."""
    with Workshop(BOUNDS, output=tmp_path / "data.duckdb") as shop:
        shop.load(("rows",), ROWS.to_reader())
        shop.keep(("rows",), "port")
        shop.finish()
    export_parquet(tmp_path / "data.duckdb", table="port", target=tmp_path / "port.parquet", bounds=BOUNDS)
    found = pq.read_table(tmp_path / "port.parquet")
    assert found.cast(ROWS.schema) == ROWS
    metadata = pq.read_metadata(tmp_path / "port.parquet")
    assert (metadata.num_row_groups, metadata.row_group(0).column(0).compression) == (2, "ZSTD")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM read_text('/etc/passwd')",
        "COPY rows TO 'stolen.csv'",
        "ATTACH 'other.duckdb'",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "INSTALL httpfs",
        "LOAD 'x'",
        "SELECT * FROM ROWS_OF_PYTHON",
    ],
)
def test_what_slips_through_the_gate_still_reaches_nothing(
    workshop: Workshop, sql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hole in the gate would be a hole in the machine."""
    ROWS_OF_PYTHON = ROWS  # noqa: F841, N806 -- what DuckDB would find if it looked at callers' variables
    monkeypatch.chdir(tmp_path)
    for make in (workshop.view, workshop.table):
        with pytest.raises(FlightmeshError):
            make("stolen", past_the_gate(sql, workshop))
    assert list(tmp_path.iterdir()) == []


def test_binding_errors_point_into_the_statement(workshop: Workshop) -> None:
    """The author of a long model would search for the column."""
    with pytest.raises(FlightmeshError) as caught:
        workshop.view("v", plan("SELECT n,\n       ky\nFROM rows"))
    assert caught.value.code is ErrorCode.INVALID
    assert "(line 2, column 8)" in caught.value.message
    assert caught.value.hint == "Did you mean key?"


def test_two_columns_of_one_name_are_refused(workshop: Workshop) -> None:
    """DuckDB would rename the second one without a word."""
    with pytest.raises(FlightmeshError, match="two columns named KEY"):
        workshop.view("v", plan('SELECT key, n AS "KEY" FROM rows'))


def test_errors_of_values_keep_the_value_to_the_hint(workshop: Workshop) -> None:
    """The message becomes the reason that clients see: a value of the data would reach whoever asks."""
    with pytest.raises(FlightmeshError) as caught:
        workshop.table("t", plan("SELECT CAST(text AS INTEGER) AS i FROM rows"))
    assert "ä" not in caught.value.message
    assert "ä" in str(caught.value.hint)


def test_a_failing_source_keeps_its_own_error(workshop: Workshop) -> None:
    """The engine would report the source's sentence as an internal error of its own."""

    def batches() -> Iterator[pa.RecordBatch]:
        yield ROWS.to_batches()[0]
        raise FlightmeshError(ErrorCode.UNAVAILABLE, "Source x: gone.")

    with pytest.raises(FlightmeshError, match="Source x: gone") as caught:
        workshop.load(("x",), pa.RecordBatchReader.from_batches(ROWS.schema, batches()))
    assert caught.value.code is ErrorCode.UNAVAILABLE


def test_memory_is_bounded(tmp_path: Path) -> None:
    """One product's build would take the machine's memory."""
    with Workshop(Bounds(threads=1, memory_bytes=32 << 20)) as shop:
        shop.load(("rows",), ROWS.to_reader())
        with pytest.raises(FlightmeshError) as caught:
            shop.table(
                "t", plan("SELECT a.n AS a, b.n AS b FROM rows AS a JOIN rows AS b ON a.key = b.key ORDER BY a, b")
            )
    assert caught.value.code is ErrorCode.EXHAUSTED

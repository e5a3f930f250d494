"""Tables of files: partitions, files that differ, narrowed reads equal to filtered whole ones."""

from __future__ import annotations

import datetime as dt
import json
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.model import Source
from flightmesh.sources.base import BATCH_ROWS, LiveTable, Narrowing
from flightmesh.sources.kinds import open_source
from flightmesh.sources.predicate import AllOf, AnyOf, Compare, IsNull, IsPresent, OneOf, Predicate, to_arrow
from tests.sources.conftest import ObjectStore


def table(folder: Path, kind: str, path: str, **keys: Any) -> LiveTable:
    found = open_source(folder, "s", Source.model_validate({"type": kind, "path": path, **keys})).tables[("s",)]
    assert isinstance(found, LiveTable)
    return found


def write_parquet(rows: pa.Table, path: Path) -> None:
    pq.write_table(rows, path, row_group_size=3)


def write_arrow(rows: pa.Table, path: Path) -> None:
    with pa.ipc.new_file(path, rows.schema) as sink:
        sink.write_table(rows, max_chunksize=3)


def write_stream(rows: pa.Table, path: Path) -> None:
    with pa.ipc.new_stream(path, rows.schema) as sink:
        sink.write_table(rows, max_chunksize=3)


def write_json(rows: pa.Table, path: Path) -> None:
    path.write_text("\n".join(json.dumps(row, default=str) for row in rows.to_pylist()))


def write_array(rows: pa.Table, path: Path) -> None:
    path.write_text(json.dumps(rows.to_pylist(), default=str))


WRITERS: dict[str, tuple[str, Callable[[pa.Table, Path], None]]] = {
    "parquet": ("parquet", write_parquet),
    "arrow": ("arrow", write_arrow),
    "stream": ("arrow", write_stream),
    "csv": ("csv", arrow_csv.write_csv),
    "json": ("json", write_json),
    "array": ("json", write_array),
}
SUFFIX = {"parquet": "parquet", "arrow": "arrow", "csv": "csv", "json": "json"}

ROWS = pa.table(
    {
        "select": pa.array([1, 2, 3, 4, 5, 6, None, 8], pa.int64()),
        "größe": ["a", "b", None, "ü", "", "f", "g", "h"],
        "day": pa.array([dt.date(2024, 1, day) if day != 3 else None for day in range(1, 9)]),
        "x y": [0.5, -1.0, None, 2.5, 3.0, 1e300, 0.0, 7.25],
        "is": [True, False, None, True, True, False, False, True],
    }
)


def lay_out(folder: Path, writer: str, rows: pa.Table = ROWS) -> str:
    """Four files in folders by year and city; the pattern that finds them."""
    kind, write = WRITERS[writer]
    for at, (year, city) in enumerate([("2023", "Bonn"), ("2023", "__HIVE_DEFAULT_PARTITION__"), ("2024", "A%20B")]):
        path = folder / "data" / f"year={year}" / f"city={city}" / f"{at}.{SUFFIX[kind]}"
        path.parent.mkdir(parents=True)
        write(rows.slice(at * 3, 3), path)
    return f"data/**/*.{SUFFIX[kind]}"


@pytest.mark.parametrize("writer", list(WRITERS))
def test_partitions_are_columns_after_those_of_the_files(tmp_path: Path, writer: str) -> None:
    """Years and cities that only stand in the names of folders would be lost."""
    found = table(tmp_path, WRITERS[writer][0], lay_out(tmp_path, writer))
    whole = found.read().read_all()
    assert whole.schema == found.schema()
    assert whole.schema.names == [*ROWS.schema.names, "year", "city"]
    assert whole.schema.types == [*ROWS.schema.types, pa.int32(), pa.string()]
    assert whole["year"].to_pylist() == [2023] * 6 + [2024] * 2
    assert whole["city"].to_pylist() == ["Bonn"] * 3 + [None] * 3 + ["A B"] * 2
    expected = ROWS if writer != "csv" else ROWS.set_column(1, "größe", [["a", "b", None, "ü", None, "f", "g", "h"]])
    assert whole.select(ROWS.schema.names).to_pylist() == expected.to_pylist()


def literals(column: str) -> st.SearchStrategy[pa.Scalar]:
    kinds: dict[str, st.SearchStrategy[pa.Scalar]] = {
        "select": st.integers(0, 9).map(lambda v: pa.scalar(v, pa.int64())),
        "größe": st.sampled_from("aüz").map(pa.scalar),
        "day": st.dates(dt.date(2024, 1, 1), dt.date(2024, 1, 9)).map(pa.scalar),
        "x y": st.sampled_from([0.0, 2.5, -1.0]).map(pa.scalar),
        "year": st.integers(2022, 2025).map(lambda v: pa.scalar(v, pa.int32())),
        "city": st.sampled_from(["A B", "Bonn"]).map(pa.scalar),
    }
    return kinds[column]


@st.composite
def leaves(draw: st.DrawFn) -> Predicate:
    column = draw(st.sampled_from(["select", "größe", "day", "x y", "year", "city"]))
    kind = draw(st.integers(0, 3))
    if kind == 0:
        return IsNull(column)
    if kind == 1:
        return IsPresent(column)
    values = draw(st.lists(literals(column), min_size=1, max_size=3))
    if kind == 2:
        return OneOf(column, pa.array(values, values[0].type))
    return Compare(column, draw(st.sampled_from(["=", "<>", "<", "<=", ">", ">="])), values[0])


def grown(children: st.SearchStrategy[Predicate]) -> st.SearchStrategy[Predicate]:
    several = st.lists(children, min_size=2, max_size=3).map(tuple)
    return several.map(AllOf) | several.map(AnyOf)


PREDICATES = st.none() | st.recursive(leaves(), grown, max_leaves=5)
COLUMNS = st.none() | st.lists(st.sampled_from([*ROWS.schema.names, "year", "city"]), unique=True).map(tuple)


@pytest.fixture(scope="module", params=list(WRITERS))
def laid_out(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LiveTable:
    """The table over the same rows in each kind of file."""
    folder = tmp_path_factory.mktemp(request.param)
    return table(folder, WRITERS[request.param][0], lay_out(folder, request.param))


@given(predicate=PREDICATES, columns=COLUMNS, limit=st.none() | st.integers(0, 9))
@settings(max_examples=40)
def test_a_narrowed_read_is_the_whole_one_filtered(
    laid_out: LiveTable, predicate: Predicate | None, columns: tuple[str, ...] | None, limit: int | None
) -> None:
    """A live port would answer otherwise than the snapshot of the same files."""
    whole = laid_out.read().read_all()
    expected = whole if predicate is None else whole.filter(to_arrow(predicate))
    expected = expected.slice(0, limit)
    expected = expected if columns is None else expected.select(columns)
    wanted = whole.schema if columns is None else pa.schema([whole.schema.field(name) for name in columns])
    reader = laid_out.fetch(Narrowing(columns, predicate, limit), wanted).reader
    assert reader.schema == wanted
    found = reader.read_all()
    assert found.num_rows == expected.num_rows
    assert found.to_pylist() == expected.to_pylist()
    assert laid_out.pushed(Narrowing(columns, predicate, limit)).left == ()


def test_what_is_pushed_and_pruned_is_told(tmp_path: Path) -> None:
    """``explain`` could not say why a query is fast."""
    found = table(tmp_path, "parquet", lay_out(tmp_path, "parquet"))
    year = Compare("year", "=", pa.scalar(2023, pa.int32()))
    pushed = found.pushed(Narrowing(("select", "year"), year, 5))
    assert pushed.text == "read select, year of 2 files where (year = 2023) limit 5"
    assert (pushed.left, pushed.pruned) == ((), "1 of 3 files")
    both = found.pushed(Narrowing((), AllOf((year, Compare("select", ">", pa.scalar(4))))))
    assert both.text == "read no column of 2 files where ((year = 2023) AND (select > 4))"
    assert both.pruned == "1 of 3 files, 1 of 2 row groups"
    assert found.pushed(Narrowing()).text == "read all columns of 3 files"
    assert found.pushed(Narrowing()).pruned is None


def test_pruned_files_are_not_opened(tmp_path: Path) -> None:
    """A query for one day would read years."""
    found = table(tmp_path, "parquet", lay_out(tmp_path, "parquet"))
    schema = found.schema()
    (tmp_path / "data/year=2024/city=A%20B/2.parquet").write_bytes(b"damaged")
    narrowing = Narrowing(None, Compare("year", "<", pa.scalar(2024, pa.int32())))
    assert found.fetch(narrowing, schema).reader.read_all().num_rows == 6


def test_a_filter_that_cannot_be_exact_is_left_with_its_limit(tmp_path: Path) -> None:
    """A limit before the engine's own filter would lose rows."""
    pq.write_table(pa.table({"s": pa.array([{"x": 1}, {"x": 2}])}), tmp_path / "a.parquet")
    found = table(tmp_path, "parquet", "a.parquet")
    narrowing = Narrowing(None, Compare("s", "=", pa.scalar({"x": 2})), 1)
    assert found.fetch(narrowing, found.schema()).reader.read_all().num_rows == 2
    pushed = found.pushed(narrowing)
    assert pushed.text == "read all columns of 1 file"
    assert pushed.left == ("s = {'x': 2}: files cannot be filtered by it",)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"a": [1]}, "data/2.parquet has no column b, which data/1.parquet has."),
        ({"a": [1], "b": [1.5]}, "column b is double in data/2.parquet, string in data/1.parquet."),
    ],
)
def test_the_first_file_rules(tmp_path: Path, second: dict[str, list[Any]], message: str) -> None:
    """A column would be half empty, or the load end in a library's error."""
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"a": [1], "b": ["x"]}), tmp_path / "data/1.parquet")
    pq.write_table(pa.table(second), tmp_path / "data/2.parquet")
    with pytest.raises(FlightmeshError) as caught:
        table(tmp_path, "parquet", "data").read().read_all()
    assert (caught.value.code, caught.value.message) == (ErrorCode.INVALID, f"Source s: {message}")


def test_columns_that_later_files_add_are_ignored(tmp_path: Path) -> None:
    """A file of today would stop a product that knows nothing of its new column."""
    pq.write_table(pa.table({"a": [1]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"new": ["x"], "a": [2]}), tmp_path / "2.parquet")
    assert table(tmp_path, "parquet", "*.parquet").read().read_all() == pa.table({"a": [1, 2]})


def test_types_that_follow_from_values_follow_from_those_of_all_files(tmp_path: Path) -> None:
    """The file of an hour without values, or with whole numbers only, would stop the next hour's."""
    for at, text in enumerate(["a,b,c,d\n1,,2024-01-01,1\n", "a,b,c,d\n1.5,x,2024-01-01 10:00:00,x\n"]):
        (tmp_path / f"{at}.csv").write_text(text)
    found = table(tmp_path, "csv", "*.csv")
    assert found.schema().types == [pa.float64(), pa.string(), pa.timestamp("us"), pa.string()]
    assert found.read().read_all().to_pylist() == [
        {"a": 1.0, "b": None, "c": dt.datetime(2024, 1, 1), "d": "1"},
        {"a": 1.5, "b": "x", "c": dt.datetime(2024, 1, 1, 10), "d": "x"},
    ]


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (("1", "-2"), pa.int32()),
        (("1", "3000000000"), pa.int64()),
        (("1", "__HIVE_DEFAULT_PARTITION__"), pa.int32()),
        (("1", "x"), pa.string()),
        (("1", "99999999999999999999"), pa.string()),
        (("1.5", "2"), pa.string()),
    ],
)
def test_partitions_are_integers_where_all_values_are(
    tmp_path: Path, texts: tuple[str, ...], kind: pa.DataType
) -> None:
    """Years would be text and could not be compared to numbers."""
    for text in texts:
        (tmp_path / f"k={text}").mkdir()
        pq.write_table(pa.table({"a": [1]}), tmp_path / f"k={text}/a.parquet")
    found = table(tmp_path, "parquet", "**/*.parquet")
    assert found.schema().field("k").type == kind
    assert found.read().read_all().schema == found.schema()


def test_files_with_other_partitions_are_refused(tmp_path: Path) -> None:
    """A file that was put into the wrong folder would have rows without a year."""
    for name in ("year=1/a.parquet", "b.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"a": [1]}), tmp_path / name)
    with pytest.raises(FlightmeshError, match=r"the folders of year=1/a.parquet have other partitions"):
        table(tmp_path, "parquet", "**/*.parquet").schema()


def test_a_partition_stands_for_a_column_of_its_name(tmp_path: Path) -> None:
    """Some writers keep the column in the files, and it would be there twice."""
    (tmp_path / "year=2024").mkdir()
    pq.write_table(pa.table({"year": [1], "a": [2]}), tmp_path / "year=2024/a.parquet")
    found = table(tmp_path, "parquet", "**/*.parquet")
    assert found.read().read_all().to_pylist() == [{"a": 2, "year": 2024}]
    narrowing = Narrowing(("year",), Compare("year", "=", pa.scalar(2024, pa.int32())))
    assert found.fetch(narrowing, pa.schema([("year", pa.int32())])).reader.read_all().to_pylist() == [{"year": 2024}]


PUBLISHED = pa.schema([("a", pa.int64()), ("b", pa.string())])


@pytest.mark.parametrize(
    ("now", "message"),
    [
        ({"a": ["x"], "b": ["x"]}, "column a of a.parquet is now string, it was int64."),
        ({"a": [1]}, "column b of a.parquet is gone."),
        ({"a": [1], "b": [2.5]}, "column b of a.parquet is now double, it was string."),
    ],
)
def test_a_column_that_changed_since_is_named(tmp_path: Path, now: dict[str, list[Any]], message: str) -> None:
    """A client would be handed text as numbers, or a library's error."""
    pq.write_table(pa.table(now), tmp_path / "a.parquet")
    with pytest.raises(FlightmeshError) as caught:
        table(tmp_path, "parquet", "a.parquet").fetch(Narrowing(), PUBLISHED)
    assert (caught.value.code, caught.value.message) == (ErrorCode.UNAVAILABLE, f"Source s: {message}")


def test_a_change_in_a_later_file_is_named_when_it_is_reached(tmp_path: Path) -> None:
    """The stream would break without a reason."""
    pq.write_table(pa.table({"a": [1], "b": ["x"]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": [1.5], "b": ["x"]}), tmp_path / "2.parquet")
    fetch = table(tmp_path, "parquet", "*.parquet").fetch(Narrowing(), PUBLISHED)
    with pytest.raises(FlightmeshError, match=r"column a of 2.parquet is now double, it was int64\."):
        fetch.reader.read_all()


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_values_that_no_longer_fit_an_inferred_type_are_a_change(tmp_path: Path, kind: str) -> None:
    """A file that is written anew with a text among the numbers would fail in a library's words."""
    (tmp_path / "a.csv").write_text("a,b\n1,x\ny,x\n")
    (tmp_path / "a.json").write_text('{"a":"y","b":"x"}')
    with pytest.raises(FlightmeshError, match=rf"column a of a\.{kind} is now string, it was int64\."):
        table(tmp_path, kind, f"a.{kind}").fetch(Narrowing(), PUBLISHED)
    (tmp_path / "a.csv").write_text("a,b\n,1\n")
    (tmp_path / "a.json").write_text('{"a":null,"b":"1"}')
    fits = table(tmp_path, kind, f"a.{kind}").fetch(Narrowing(), PUBLISHED)
    assert fits.reader.read_all().to_pylist() == [{"a": None, "b": "1"}]


def test_values_of_nan_arrive(tmp_path: Path) -> None:
    """NaN is above all numbers in SQL, and row groups' statistics do not count it."""
    pq.write_table(pa.table({"x": [1.0, math.nan]}), tmp_path / "a.parquet", row_group_size=1)
    found = table(tmp_path, "parquet", "a.parquet")
    rows = found.fetch(Narrowing(None, Compare("x", ">", pa.scalar(5.0))), found.schema()).reader.read_all()
    assert [str(value) for value in rows["x"].to_pylist()] == ["nan"]


def test_batches_are_bounded_and_a_cancelled_read_ends(tmp_path: Path) -> None:
    """A consumer that went away would leave a scan running, and a large row group fill memory."""
    pq.write_table(pa.table({"n": pa.array(range(5 * BATCH_ROWS))}), tmp_path / "a.parquet")
    found = table(tmp_path, "parquet", "a.parquet")
    fetch = found.fetch(Narrowing(), found.schema())
    assert fetch.reader.read_next_batch().num_rows <= BATCH_ROWS
    other = threading.Thread(target=fetch.cancel)
    other.start()
    other.join()
    with pytest.raises(FlightmeshError) as caught:
        fetch.reader.read_all()
    assert caught.value.code is ErrorCode.CANCELLED
    fetch.close()
    fetch.close()
    closed = found.fetch(Narrowing(), found.schema())
    closed.reader.read_next_batch()
    closed.close()
    with pytest.raises(FlightmeshError) as caught:
        closed.reader.read_all()  # Not as if there were no more rows.
    assert caught.value.code is ErrorCode.CANCELLED


def test_a_store_is_read_as_a_folder_is(tmp_path: Path, objects: ObjectStore) -> None:
    """Partitions, pruning and values of a lake would differ from the files they were copied from."""
    pattern = lay_out(tmp_path, "parquet")
    local = table(tmp_path, "parquet", pattern)
    for path in sorted((tmp_path / "data").rglob("*.parquet")):
        objects.put(path.relative_to(tmp_path).as_posix(), path.read_bytes())
    remote = table(tmp_path, "parquet", f"s3://lake/{pattern}", options=objects.options)
    assert remote.schema() == local.schema()
    assert remote.read().read_all().combine_chunks() == local.read().read_all().combine_chunks()
    narrowing = Narrowing(("select", "city"), Compare("year", "=", pa.scalar(2024, pa.int32())))
    wanted = pa.schema([local.schema().field(name) for name in ("select", "city")])
    assert remote.fetch(narrowing, wanted).reader.read_all() == local.fetch(narrowing, wanted).reader.read_all()
    assert remote.pushed(narrowing).text == local.pushed(narrowing).text
    assert remote.pushed(narrowing).pruned == "2 of 3 files"
    assert remote.fingerprint() == remote.fingerprint()


@pytest.mark.parametrize("store", ["silent", "nobody"])
def test_a_store_that_stopped_answering_is_an_error_in_time(
    tmp_path: Path, store: str, request: pytest.FixtureRequest
) -> None:
    """A read would hang, and ``explain`` with it."""
    options = request.getfixturevalue(store).options
    found = table(tmp_path, "parquet", "s3://lake/data/*.parquet", options=options)
    for ask in (found.schema, found.read, found.fingerprint, lambda: found.fetch(Narrowing(), PUBLISHED)):
        started = time.monotonic()
        with pytest.raises(FlightmeshError) as caught:
            ask()
        assert time.monotonic() - started < 5
        assert caught.value.code is ErrorCode.UNAVAILABLE
        assert caught.value.message == "Source s: data/*.parquet cannot be read from the object store."
    assert found.pushed(Narrowing(("a",), Compare("a", "=", pa.scalar(1)), 3)).text == "read a where (a = 1) limit 3"

"""Parquet sources, against files written here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.model import Source
from flightmesh.sources.base import Narrowing, SourceTable
from flightmesh.sources.dataset import FilesTable
from flightmesh.sources.parquet import open_parquet
from flightmesh.sources.predicate import AllOf, AnyOf, Compare, IsNull, OneOf, Predicate
from flightmesh.sources.secrets import Secrets
from tests.sources.live import fetched

FLIGHTS = pa.table(
    {
        "carrier": ["EV", None, "UA"],
        "delay": pa.array([3, None, -1], pa.int16()),
        "hour": pa.array([0, 1, None], pa.timestamp("us", "UTC")),
        "fare": pa.array([None, "1.50", "2.00"]).cast(pa.decimal128(10, 2)),
    }
)


def table(folder: Path, path: str) -> SourceTable:
    return open_parquet(folder, "flights", Source(type="parquet", path=path), Secrets()).tables[("flights",)]


def test_values_and_types_arrive_as_they_are(tmp_path: Path) -> None:
    """Narrow integers, NULLs, zones or decimals would change on the way."""
    pq.write_table(FLIGHTS, tmp_path / "f.parquet")
    found = table(tmp_path, "f.parquet")
    assert found.schema() == found.read().schema == FLIGHTS.schema
    assert found.read().read_all() == FLIGHTS


def test_a_file_that_is_not_parquet_is_named_without_its_path(tmp_path: Path) -> None:
    """The library's own error shows the machine's path."""
    (tmp_path / "f.parquet").write_bytes(b"no")
    with pytest.raises(FlightmeshError) as caught:
        table(tmp_path, "f.parquet").schema()
    assert caught.value.code is ErrorCode.INVALID
    assert str(tmp_path) not in str(caught.value)


def test_damage_inside_of_a_file_is_an_expected_failure(tmp_path: Path) -> None:
    """A half-copied file has a good footer as often as not, and would end the server's start with a traceback."""
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"n": range(100_000)}), path, use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[100:5000] = b"\xff" * 4900
    path.write_bytes(content)
    with pytest.raises(FlightmeshError) as caught:
        table(tmp_path, "f.parquet").read().read_all()
    assert caught.value.code is ErrorCode.UNAVAILABLE


def test_a_truncated_file_is_an_expected_failure(tmp_path: Path) -> None:
    """A copy that broke off has no footer."""
    pq.write_table(FLIGHTS, tmp_path / "f.parquet")
    content = (tmp_path / "f.parquet").read_bytes()
    (tmp_path / "f.parquet").write_bytes(content[:-20])
    with pytest.raises(FlightmeshError, match=r"f\.parquet is not a Parquet file, or it is damaged\."):
        table(tmp_path, "f.parquet").read()


def test_damage_that_a_live_read_meets_is_named(tmp_path: Path) -> None:
    """A consumer would be sent the path of the file."""
    pq.write_table(pa.table({"n": range(100_000)}), tmp_path / "f.parquet", use_dictionary=False)
    content = bytearray((tmp_path / "f.parquet").read_bytes())
    content[100:5000] = b"\xff" * 4900
    (tmp_path / "f.parquet").write_bytes(content)
    found = table(tmp_path, "f.parquet")
    assert isinstance(found, FilesTable)
    with pytest.raises(FlightmeshError) as caught:
        found.fetch(Narrowing(), found.schema()).reader.read_all()
    assert caught.value.code is ErrorCode.UNAVAILABLE
    assert caught.value.message == "Source flights: f.parquet cannot be read to its end; it may be damaged."


def test_special_layouts_are_plain_columns(tmp_path: Path) -> None:
    """Engines would be handed layouts that they do not know, and one column in two types."""
    rows = pa.table(
        {
            "large": pa.array(["a", None], pa.large_string()),
            "code": pa.array(["x", "y"]).dictionary_encode(),
            "a.b": pa.array([{"c": [1]}, None]),
            "id": pa.array([b"0123456789abcdef", None], pa.uuid()),
        }
    )
    pq.write_table(rows, tmp_path / "f.parquet")
    found = table(tmp_path, "f.parquet")
    nested = pa.struct([("c", pa.list_(pa.int64()))])
    assert found.schema().types == [pa.string(), pa.string(), nested, pa.binary(16)]
    assert found.read().read_all()["code"].to_pylist() == ["x", "y"]
    assert isinstance(found, FilesTable)
    wanted = pa.schema([found.schema().field(name) for name in ("a.b", "code", "id")])
    assert found.fetch(Narrowing(("a.b", "code", "id")), wanted).reader.read_all().to_pylist() == [
        {"a.b": {"c": [1]}, "code": "x", "id": b"0123456789abcdef"},
        {"a.b": None, "code": "y", "id": None},
    ]


def test_columns_in_the_layout_of_views_are_filtered_as_others(tmp_path: Path) -> None:
    """tpchgen writes such files, and the library has no filter for them: a live port over them would fail."""
    rows = {"s": ["a", "b", None, "c"], "b": [b"x", None, b"z", b"q"], "l": [["p"], None, [], ["q"]], "n": [1, 2, 3, 4]}
    kinds = [pa.string_view(), pa.binary_view(), pa.list_(pa.string_view()), pa.int64()]
    schema = pa.schema(list(zip(rows, kinds, strict=True)))
    pq.write_table(pa.table(rows, schema), tmp_path / "f.parquet", row_group_size=2)
    found = table(tmp_path, "f.parquet")
    assert found.schema().types == [pa.string(), pa.binary(), pa.list_(pa.string()), pa.int64()]
    assert found.read().read_all().to_pydict() == rows
    assert isinstance(found, FilesTable)
    above = Compare("n", ">", pa.scalar(2, pa.int64()))
    cases: list[tuple[Predicate, list[int], str | None]] = [
        (Compare("s", "=", pa.scalar("b")), [2], None),
        (Compare("b", ">", pa.scalar(b"x")), [3], None),
        (AnyOf((IsNull("s"), IsNull("l"))), [2, 3], None),
        (OneOf("s", pa.array(["a", "c"])), [1, 4], None),
        (above, [3, 4], "1 of 2 row groups"),
        (AllOf((above, Compare("s", "=", pa.scalar("c")))), [4], "1 of 2 row groups"),
    ]
    for where, expected, pruned in cases:
        told = found.pushed(Narrowing(None, where))
        assert (told.left, told.pruned) == ((), pruned)
        for columns in (None, ("n",), ("n", "l")):
            assert fetched(found, *columns or (), where=where)["n"].to_pylist() == expected, where


def test_a_file_without_rows_has_columns(tmp_path: Path) -> None:
    """An empty export would take the product down."""
    pq.write_table(FLIGHTS.slice(0, 0), tmp_path / "f.parquet")
    assert table(tmp_path, "f.parquet").read().read_all() == FLIGHTS.schema.empty_table()


def test_reading_a_snapshot_loads_no_library_for_filtering(tmp_path: Path) -> None:
    """pyarrow.dataset imports pandas where that is installed: 0.4 s of each start."""
    pq.write_table(FLIGHTS, tmp_path / "f.parquet")
    code = (
        "import sys, pathlib\n"
        "from flightmesh.product.model import Source\n"
        "from flightmesh.sources.kinds import open_source\n"
        f"found = open_source(pathlib.Path({str(tmp_path)!r}), 's', Source(type='parquet', path='*.parquet'))\n"
        "assert found.tables[('s',)].read().read_all().num_rows == 3\n"
        "heavy = ('pandas', 'pyarrow.dataset', 'deltalake', 'pyiceberg')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """Nothing keeps a writer from it, and the engine would stop the whole server over it."""
    broken = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
    pq.write_table(pa.table({"a": broken}), tmp_path / "x.parquet")
    handle = open_parquet(tmp_path, "s", Source(type="parquet", path="x.parquet"), Secrets({}))
    with pytest.raises(FlightmeshError, match="may be damaged"):
        handle.tables[("s",)].read().read_all()

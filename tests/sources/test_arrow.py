"""Arrow sources, against files written here."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.model import Source
from flightmesh.sources.arrow import open_arrow
from flightmesh.sources.base import Narrowing
from flightmesh.sources.dataset import FilesTable
from flightmesh.sources.secrets import Secrets

ROWS = pa.table(
    {
        "large": pa.array(["a", None, "ü"], pa.large_string()),
        "view": pa.array(["a", None, "longer than twelve bytes"], pa.string_view()),
        "code": pa.array(["x", "y", "x"]).dictionary_encode(),
        "nested": pa.array([{"l": [1, None]}, None, {"l": None}]),
        "bytes": pa.array([b"\x00", None, b""], pa.large_binary()),
        "runs": pa.RunEndEncodedArray.from_arrays([2, 3], [1, 2]),
    }
)
PLAIN = pa.schema(
    [
        ("large", pa.string()),
        ("view", pa.string()),
        ("code", pa.string()),
        ("nested", pa.struct([("l", pa.list_(pa.int64()))])),
        ("bytes", pa.binary()),
        ("runs", pa.int64()),
    ]
)


def table(folder: Path, path: str) -> FilesTable:
    found = open_arrow(folder, "a", Source(type="arrow", path=path), Secrets()).tables[("a",)]
    assert isinstance(found, FilesTable)
    return found


def write(path: Path, *, stream: bool = False, compression: str | None = None) -> None:
    options = pa.ipc.IpcWriteOptions(compression=compression)
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with make(path, ROWS.schema, options=options) as sink:
        sink.write_table(ROWS)


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("stream", [True, False])
def test_files_and_streams_are_read_in_plain_types(tmp_path: Path, stream: bool, compression: str | None) -> None:
    """Engines would be handed layouts that they do not know."""
    write(tmp_path / "a.arrow", stream=stream, compression=compression)
    found = table(tmp_path, "a.arrow")
    assert found.schema() == found.read().schema == PLAIN
    assert found.read().read_all().to_pylist() == ROWS.to_pylist()
    some = pa.schema([PLAIN.field("code"), PLAIN.field("large")])
    rows = found.fetch(Narrowing(("code", "large")), some).reader.read_all()
    assert rows.to_pylist() == ROWS.select(["code", "large"]).to_pylist()


def test_a_file_without_rows_has_columns(tmp_path: Path) -> None:
    """An empty export would take the product down."""
    with pa.ipc.new_stream(tmp_path / "a.arrow", PLAIN):
        pass
    assert table(tmp_path, "a.arrow").read().read_all() == PLAIN.empty_table()


@pytest.mark.parametrize("content", [b"", b"no", b"ARROW1", b"ARROW1\0\0" + b"\xff" * 200])
def test_what_is_no_arrow_file_is_named_without_its_path(tmp_path: Path, content: bytes) -> None:
    """The library's own error shows the machine's path."""
    (tmp_path / "a.arrow").write_bytes(content)
    with pytest.raises(FlightmeshError) as caught:
        table(tmp_path, "a.arrow").schema()
    assert caught.value.code is ErrorCode.INVALID
    assert caught.value.message == "Source a: a.arrow is not an Arrow file, or it is damaged."


@pytest.mark.parametrize("stream", [True, False])
def test_a_truncated_file_is_an_expected_failure(tmp_path: Path, stream: bool) -> None:
    """A half-copied file would end the server's start with a traceback."""
    write(tmp_path / "a.arrow", stream=stream)
    content = (tmp_path / "a.arrow").read_bytes()
    (tmp_path / "a.arrow").write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(FlightmeshError):
        table(tmp_path, "a.arrow").read().read_all()


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    """A model could not say which one it means."""
    rows = pa.table([[1], [2]], names=["a", "a"])
    with pa.ipc.new_file(tmp_path / "a.arrow", rows.schema) as sink:
        sink.write_table(rows)
    with pytest.raises(FlightmeshError, match="two columns named 'a'"):
        table(tmp_path, "a.arrow").schema()

"""CSV sources, against files written here."""

from __future__ import annotations

import datetime as dt
import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.model import Source
from flightmesh.sources import csv
from flightmesh.sources.base import SourceTable
from flightmesh.sources.csv import open_csv
from flightmesh.sources.secrets import Secrets


def table(folder: Path, text: str | bytes, *, name: str = "w.csv", **options: Any) -> SourceTable:
    """The source over a file with this content."""
    content = text.encode() if isinstance(text, str) else text
    (folder / name).write_bytes(content)
    return open_csv(folder, "w", Source(type="csv", path=name, **options), Secrets()).tables[("w",)]


def read(found: SourceTable) -> pa.Table:
    """All rows, after the check that holds for every source."""
    reader = found.read()
    assert reader.schema == found.schema()
    return reader.read_all()


def test_types_come_from_the_whole_file(tmp_path: Path) -> None:
    """A fraction, a text or a first value in the last line would stop the load, or the column would be text from the
    start.
    """
    lines = "\n".join(f"{i},{i},{i}," for i in range(50_000))
    found = read(table(tmp_path, f"a,b,c,d\n{lines}\n0.5,x,7,2013-01-01\n"))
    assert found.schema.types == [pa.float64(), pa.string(), pa.int64(), pa.date32()]
    assert found.slice(50_000).to_pylist() == [{"a": 0.5, "b": "x", "c": 7, "d": dt.date(2013, 1, 1)}]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_header_that_is_not_utf_8_is_refused(tmp_path: Path, encoding: str) -> None:
    """A file saved by a spreadsheet would end ``check`` in a traceback."""
    with pytest.raises(FlightmeshError) as caught:
        table(tmp_path, "größe,b\n1,2\n".encode(encoding)).schema()
    assert (caught.value.code, caught.value.message) == (
        ErrorCode.INVALID,
        "Source w: the header of w.csv is not UTF-8.",
    )
    assert caught.value.hint == "Save it as UTF-8."


def test_times_with_an_offset_are_in_utc(tmp_path: Path) -> None:
    """``2013-01-01 06:00:00+00`` is how databases write such times; as text it could not be joined to any."""
    found = read(table(tmp_path, "t\n2013-01-01 06:00:00+00\n2013-01-01 06:00:00+02\n"))
    assert found.schema.types == [pa.timestamp("us", "UTC")]
    assert [value.hour for value in found["t"].to_pylist()] == [6, 4]


def test_empty_is_null_in_every_type_and_an_empty_column_is_text(tmp_path: Path) -> None:
    """A missing name would be an empty name, and a column without values would have no type that SQL knows."""
    found = read(table(tmp_path, "a,b,c,d\n1,x,,\n,,,\n"))
    assert found.to_pylist()[1] == {"a": None, "b": None, "c": None, "d": None}
    assert found.schema.field("c").type == pa.string()


def test_the_author_says_what_null_is_and_which_types_hold(tmp_path: Path) -> None:
    """Leading zeros of codes would be lost, and NA would be a text."""
    types = {"zip": "string", "fare": "decimal128(6,2)", "at": "timestamp[us, UTC]"}
    text = "zip;fare;at\n00123;1.5;2013-01-01 00:00:00+01\nNA;NA;NA\n"
    found = read(table(tmp_path, text, types=types, null_values=("NA",), delimiter=";"))
    assert found.to_pylist() == [
        {"zip": "00123", "fare": Decimal("1.50"), "at": dt.datetime(2012, 12, 31, 23, tzinfo=dt.UTC)},
        {"zip": None, "fare": None, "at": None},
    ]


def test_quotes_hold_delimiters_quotes_and_line_ends(tmp_path: Path) -> None:
    """A remark with a comma would shift every column after it."""
    assert read(table(tmp_path, 'a,b\n"x, ""y""\nz",1\n')).to_pylist() == [{"a": 'x, "y"\nz', "b": 1}]


def test_a_compressed_file_is_read_by_its_suffix(tmp_path: Path) -> None:
    """Sample data of a repository would have to be stored in full size."""
    assert read(table(tmp_path, gzip.compress(b"a\n1\n"), name="w.csv.gz")).to_pylist() == [{"a": 1}]
    packed = pa.compress(b"a\n2\n", codec="zstd", asbytes=True)
    assert read(table(tmp_path, packed, name="w.csv.zst")).to_pylist() == [{"a": 2}]


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    """Files saved by spreadsheets would have an invisible letter in their first column's name."""
    assert read(table(tmp_path, b"\xef\xbb\xbfa,b\n1,2\n")).column_names == ["a", "b"]


def test_a_file_of_a_header_alone_has_columns_and_no_rows(tmp_path: Path) -> None:
    """An empty export would take the product down."""
    assert read(table(tmp_path, "a,b\n")).schema.names == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"a,b\n1\n", {}, "does not read as CSV"),
        (b"", {}, "does not read as CSV"),
        (b"a,a\n1,2\n", {}, "two columns named 'a'"),
        (b"a,\n1,2\n", {}, "a column without a name"),
        (b"a\n\xe9\n", {}, "column a of w.csv is not UTF-8"),
        (b"a\nx\n", {"types": {"a": "int64"}}, "does not read as CSV"),
        (b"a\n1\n", {"types": {"b": "int64"}}, "no column b"),
        (b"a\n1\n", {"delimiter": ";;"}, "one ASCII character"),
    ],
)
def test_bad_files_are_refused_in_our_words(
    tmp_path: Path, content: bytes, options: dict[str, Any], message: str
) -> None:
    """The author would see a library's error, and a client the row that it quotes."""
    with pytest.raises(FlightmeshError) as caught:
        table(tmp_path, content, **options).read()
    assert message in caught.value.message
    assert str(tmp_path) not in str(caught.value)


def test_a_damaged_archive_is_an_expected_failure(tmp_path: Path) -> None:
    """A download that broke off would end the server's start with a traceback."""
    with pytest.raises(FlightmeshError):
        read(table(tmp_path, gzip.compress(b"a\n" + b"1234\n" * 1000)[:-20], name="w.csv.gz"))


def test_a_file_too_large_to_hold_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file larger than memory could not be a source at all."""
    monkeypatch.setattr(csv, "INFERENCE_BYTES_MAX", 100)
    lines = "\n".join(f"{i},2013-01-01 06:00:00+00" for i in range(1_000))
    found = read(table(tmp_path, f"a,t\n{lines}\n"))
    assert (found.num_rows, found.schema.types) == (1_000, [pa.int64(), pa.timestamp("us", "UTC")])

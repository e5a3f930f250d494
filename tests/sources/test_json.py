"""JSON sources, against files written here."""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.model import Source
from flightmesh.sources import json as json_source
from flightmesh.sources.base import SourceTable
from flightmesh.sources.json import open_json
from flightmesh.sources.secrets import Secrets


def table(folder: Path, text: str | bytes, *, name: str = "j.json", **keys: Any) -> SourceTable:
    """The source over a file with this content."""
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return open_json(folder, "j", Source(type="json", path=name, **keys), Secrets()).tables[("j",)]


def read(found: SourceTable) -> pa.Table:
    """All rows, after the check that holds for every source."""
    reader = found.read()
    assert reader.schema == found.schema()
    return reader.read_all()


@pytest.mark.parametrize("text", ['{"b":1,"ü":"x"}\n\n{"ü":null,"c":[1]}\n', '[{"b":1,"ü":"x"},\n {"ü":null,"c":[1]}]'])
def test_lines_and_an_array_are_the_same_rows(tmp_path: Path, text: str) -> None:
    """Half of the JSON there is could not be a source; keys that are missing would stop the load."""
    found = read(table(tmp_path, text))
    assert found.schema == pa.schema([("b", pa.int64()), ("ü", pa.string()), ("c", pa.list_(pa.int64()))])
    assert found.to_pylist() == [{"b": 1, "ü": "x", "c": None}, {"b": None, "ü": None, "c": [1]}]


def test_types_come_from_the_whole_file(tmp_path: Path) -> None:
    """A fraction in the last line would stop the load."""
    lines = "\n".join(f'{{"a":{i},"n":null}}' for i in range(50_000))
    found = read(table(tmp_path, f'{lines}\n{{"a":0.5,"s":{{"x":null}}}}'))
    assert found.schema.types == [pa.float64(), pa.string(), pa.struct([("x", pa.string())])]
    assert found["a"][-1].as_py() == 0.5


def test_texts_that_are_all_times_are_times_with_their_zone(tmp_path: Path) -> None:
    """They could not be compared to other times, and those in UTC would lose that they are."""
    line = (
        '{"d":"2024-01-31","n":"2024-01-31 10:00:00.25","z":"2024-01-31T10:00:00+02:00","t":"10:00:00","m":"2024-01"}'
    )
    found = read(table(tmp_path, line))
    kinds = [pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.time64("us"), pa.string()]
    assert found.schema.types == kinds
    assert found["z"][0].as_py() == dt.datetime(2024, 1, 31, 8, tzinfo=dt.UTC)
    assert found["n"][0].as_py() == dt.datetime(2024, 1, 31, 10, 0, 0, 250_000)
    assert read(table(tmp_path, '{"d":"2024-01-31"}\n{"d":"soon"}')).schema.types == [pa.string()]


def test_the_author_says_which_types_hold(tmp_path: Path) -> None:
    """Money would be read as floating-point numbers, and codes that look like dates as dates."""
    types = {"fare": "decimal128(6,2)", "code": "string", "at": "timestamp[us, UTC]", "none": "int32"}
    found = read(table(tmp_path, '{"code":"2024-01-31","fare":1.10,"at":"2024-01-31T10:00:00Z"}', types=types))
    assert found.schema.names == ["code", "fare", "at", "none"]
    assert found.to_pylist() == [
        {
            "code": "2024-01-31",
            "fare": Decimal("1.10"),
            "at": dt.datetime(2024, 1, 31, 10, tzinfo=dt.UTC),
            "none": None,
        }
    ]


def test_a_compressed_file_is_read_by_its_suffix(tmp_path: Path) -> None:
    """Exports of log stores are compressed, each in its own way."""
    line = b'{"a":1}\n'
    assert read(table(tmp_path, gzip.compress(line), name="j.jsonl.gz")).to_pylist() == [{"a": 1}]
    assert read(table(tmp_path, bz2.compress(line), name="j.json.bz2")).to_pylist() == [{"a": 1}]
    packed = pa.compress(b'[{"a":1}]', codec="zstd", asbytes=True)
    assert read(table(tmp_path, packed, name="j.json.zst")).to_pylist() == [{"a": 1}]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"[1]", b'"x"', b'{"a":1', b'[{"a":NaN}]', b'{"a":1}\n{"a":"x"}', b"[{]"]
)
def test_what_is_no_rows_of_json_is_refused_in_our_words(tmp_path: Path, content: bytes) -> None:
    """The author would see a library's error, and a client the row that it quotes."""
    with pytest.raises(FlightmeshError) as caught:
        read(table(tmp_path, content))
    assert caught.value.code is ErrorCode.INVALID
    assert caught.value.message == "Source j: j.json does not read as JSON."
    assert str(tmp_path) not in str(caught.value)


def test_files_too_large_to_hold_are_streamed_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file larger than memory could not be a source at all, or would take the server down."""
    monkeypatch.setattr(json_source, "INFERENCE_BYTES_MAX", 100)
    monkeypatch.setattr(json_source, "ARRAY_BYTES_MAX", 100)
    lines = [f'{{"a":{i},"t":"2024-01-31"}}' for i in range(1_000)]
    found = read(table(tmp_path, "\n".join(lines)))
    assert (found.num_rows, found.schema.types) == (1_000, [pa.int64(), pa.date32()])
    with pytest.raises(FlightmeshError, match="an array of more than 100 bytes"):
        read(table(tmp_path, f"[{','.join(lines)}]", name="k.json"))


def test_a_damaged_archive_is_an_expected_failure(tmp_path: Path) -> None:
    """A download that broke off would end the server's start with a traceback."""
    with pytest.raises(FlightmeshError):
        read(table(tmp_path, gzip.compress(b'{"a":1}\n' * 1000)[:-20], name="j.json.gz"))


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """The parser lets it pass, and the engine would stop the whole server over it."""
    (tmp_path / "x.json").write_bytes(b'{"a": "\xff\xfe"}\n')
    handle = open_json(tmp_path, "s", Source(type="json", path="x.json"), Secrets({}))
    with pytest.raises(FlightmeshError, match="does not read as JSON") as caught:
        handle.tables[("s",)].schema()
    assert caught.value.code is ErrorCode.INVALID

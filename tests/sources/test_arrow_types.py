"""Types by name in ``types:`` of a CSV source."""

from __future__ import annotations

import pyarrow as pa
import pytest

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.sources.arrow_types import arrow_type, check_sound, plain, plain_array, plain_schema


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("int64", pa.int64()),
        ("utf8", pa.string()),
        ("date", pa.date32()),
        ("timestamp", pa.timestamp("us")),
        ("timestamp[ns]", pa.timestamp("ns")),
        ("timestamp[us, UTC]", pa.timestamp("us", "UTC")),
        ("timestamp[us, tz=Europe/Berlin]", pa.timestamp("us", "Europe/Berlin")),
        ("decimal128(10, 2)", pa.decimal128(10, 2)),
        ("decimal(38,0)", pa.decimal128(38, 0)),
    ],
)
def test_a_name_gives_its_type(text: str, expected: pa.DataType) -> None:
    """An author's correction of a type would be read as another type."""
    assert arrow_type("weather", "temp", text) == expected


@pytest.mark.parametrize("text", ["", "int65", "decimal(39,0)", "decimal(2,3)", "timestamp[h]", "list<int64>"])
def test_another_name_is_refused_by_column(text: str) -> None:
    """A mistyped type would surface as an error of a library, without the column it belongs to."""
    with pytest.raises(FlightmeshError) as caught:
        arrow_type("weather", "temp", text)
    assert caught.value.code is ErrorCode.INVALID
    assert "Source weather" in caught.value.message
    assert "column temp" in caught.value.message


def test_the_nearest_name_is_offered() -> None:
    """The author would have to look up what the right spelling is."""
    with pytest.raises(FlightmeshError) as caught:
        arrow_type("weather", "temp", "flot64")
    assert caught.value.hint == "Did you mean float64?"


@pytest.mark.parametrize(
    ("special", "expected"),
    [
        (pa.large_string(), pa.string()),
        (pa.string_view(), pa.string()),
        (pa.large_binary(), pa.binary()),
        (pa.binary_view(), pa.binary()),
        (pa.dictionary(pa.int8(), pa.large_string()), pa.string()),
        (pa.run_end_encoded(pa.int32(), pa.date32()), pa.date32()),
        (pa.large_list(pa.string_view()), pa.list_(pa.string())),
        (pa.list_view(pa.int8()), pa.list_(pa.int8())),
        (pa.list_(pa.large_string(), 2), pa.list_(pa.string(), 2)),
        (pa.struct([("x", pa.large_string())]), pa.struct([("x", pa.string())])),
        (pa.map_(pa.large_string(), pa.large_list(pa.int8())), pa.map_(pa.string(), pa.list_(pa.int8()))),
        (pa.uuid(), pa.binary(16)),
        (pa.decimal128(9, 2), pa.decimal128(9, 2)),
    ],
)
def test_special_layouts_have_a_plain_type(special: pa.DataType, expected: pa.DataType) -> None:
    """One column would have another type in each kind of source."""
    assert plain(special) == expected


@pytest.mark.parametrize(
    "array",
    [
        pa.array(["a", None], pa.large_string()),
        pa.array(["a", None], pa.string_view()),
        pa.array([["a"], None], pa.large_list(pa.large_string())),
        pa.array([["a"], None], pa.list_view(pa.string())),
        pa.array(["a", None]).dictionary_encode(),
        pa.RunEndEncodedArray.from_arrays([1, 2], ["a", None]),
        pa.array([b"0" * 16, None], pa.uuid()).cast(pa.uuid()),
    ],
)
def test_values_survive_the_way_to_the_plain_type(array: pa.Array) -> None:
    """Text or NULLs would change on the way."""
    found = plain_array(array, plain(array.type))
    assert found.type == plain(array.type)
    stored = array.storage if isinstance(array.type, pa.BaseExtensionType) else array
    assert found.to_pylist() == stored.to_pylist()


def test_a_value_that_would_be_lost_is_an_error() -> None:
    """A number would be cut off without a word."""
    with pytest.raises(pa.ArrowInvalid):
        plain_array(pa.array([300]), pa.int8())


def test_a_plain_schema_promises_nothing_that_files_break() -> None:
    """A column that is required in the first file would stop the NULLs of the second."""
    schema = pa.schema([pa.field("a", pa.large_string(), nullable=False, metadata={"k": "v"})], metadata={"k": "v"})
    found = plain_schema(schema)
    assert found.equals(pa.schema([("a", pa.string())]), check_metadata=True)


def test_what_bytes_do_not_hold_is_found() -> None:
    """The engine would read beyond a buffer, or stop over text that is not UTF-8."""
    broken = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
    with pytest.raises(pa.ArrowInvalid, match="column a: Invalid UTF8"):
        check_sound(pa.record_batch({"a": broken}))
    day_s = 86_400
    check_sound(pa.record_batch({"t": pa.array([0, None, day_s], pa.int32()).view(pa.time32("s"))}))
    with pytest.raises(pa.ArrowInvalid, match="not of a day"):
        check_sound(pa.record_batch({"t": pa.array([day_s + 1], pa.int32()).view(pa.time32("s"))}))

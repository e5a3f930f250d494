"""Types by name in ``types:`` of a CSV source."""

from __future__ import annotations

import pyarrow as pa
import pytest

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.sources.arrow_types import arrow_type


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

"""The table of types says what goes over the wire: its Arrow types, and what nested values keep of DuckDB's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from tests.wire import pyarrow_client, values
from tests.wire.checks_types import OUT, RARE, WITHIN, Out, brought
from tests.wire.client import Login

if TYPE_CHECKING:
    from tests.conftest import ServedBy
    from tests.wire.pyarrow_client import PyArrowClient

_EXTENSION = b"ARROW:extension:name"


def on_the_wire(field: pa.Field) -> str:
    """The field's type as the table writes it: an extension by its name, which pyarrow knows or leaves to metadata."""
    name = (field.metadata or {}).get(_EXTENSION)
    return str(field.type) if name is None else f"extension<{name.decode()}>"


@pytest.mark.parametrize("made", [made for made in OUT.values() if not made.refused], ids=lambda made: made.sql[:40])
def test_a_type_travels_as_the_table_says(made: Out, flight: Callable[[str], pa.Table]) -> None:
    """Whoever writes a client reads there which vectors will come."""
    rows = flight(f"SELECT {made.sql} AS v")
    assert on_the_wire(rows.schema.field("v")) == made.arrow
    assert values.of_table(rows).rows == ((made.faithful,),)


@pytest.mark.parametrize(("name", "sql", "arrow", "shown"), WITHIN, ids=[row[0] for row in WITHIN])
def test_nested_values_of_such_types_are_text(
    name: str, sql: str, arrow: str, shown: object, flight: Callable[[str], pa.Table]
) -> None:
    """What Arrow would show as another value anywhere inside is shown as text as a whole."""
    rows = flight(f"SELECT {sql} AS v")
    assert str(rows.schema.field("v").type) == arrow
    assert values.of_table(rows).rows == ((shown,),)
    assert flight("SELECT list_transform(['10101'::BIT], lambda x: x::VARCHAR) AS v")["v"].to_pylist() == [["10101"]]


@pytest.fixture
def packing(server: ServedBy, tmp_path: Path) -> Iterator[PyArrowClient]:
    """A session of its own, that brings whatever pyarrow can make."""
    client = pyarrow_client.connect(Login(server.uri, "analyst", server.password("analyst")), tmp_path)
    yield client
    client.close()


@pytest.mark.parametrize(("given", "kind", "texts"), RARE, ids=[str(row[0].type)[:40] for row in RARE])
def test_what_few_libraries_make_is_brought_too(
    packing: PyArrowClient, given: pa.Array, kind: str, texts: tuple[str | None, str | None]
) -> None:
    """Whoever has a library that sends views, encodings or extensions finds their rows as the page says."""
    assert brought(packing, "rare", pa.table({"v": given})) == [kind, *texts]


def test_decimals_of_more_than_38_digits_are_refused(packing: PyArrowClient) -> None:
    """They would have to be rounded: whoever brings them is told of the bound."""
    found = brought(packing, "wide", pa.table({"v": pa.array([Decimal(10) ** 50, None], pa.decimal256(60, 0))}))
    assert "decimals have at most 38 digits" in found

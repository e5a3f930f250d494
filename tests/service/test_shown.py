"""Schemas as a client's driver reads them: what it needs beside the types, nothing that it misreads, no value lost."""

from __future__ import annotations

import decimal

import pyarrow as pa
import pytest

from flightmesh.service import shown
from flightmesh.service.options import Options

JAVA = Options(java_types=True)


def test_decimals_carry_their_precision_and_scale() -> None:
    """JDBC looks for them in the metadata and shows 0 where they are not; the rest stays as it is."""
    schema = pa.schema([("d", pa.decimal128(10, 2)), pa.field("n", pa.int64(), nullable=False)])
    found = shown.result(schema, Options())
    assert found.field("d").metadata == {b"ARROW:FLIGHT:SQL:PRECISION": b"10", b"ARROW:FLIGHT:SQL:SCALE": b"2"}
    assert found == schema
    assert found.field("n").equals(schema.field("n"), check_metadata=True)


@pytest.mark.parametrize(
    ("unsigned", "wider", "largest"),
    [
        (pa.uint8(), pa.int16(), 2**8 - 1),
        (pa.uint16(), pa.int32(), 2**16 - 1),
        (pa.uint32(), pa.int64(), 2**32 - 1),
        (pa.uint64(), pa.decimal128(20, 0), 2**64 - 1),
    ],
)
def test_java_has_no_unsigned_numbers(unsigned: pa.DataType, wider: pa.DataType, largest: int) -> None:
    """The driver shows the upper half of each as negative; in the wider type every value fits."""
    schema = pa.schema([("u", unsigned)])
    assert shown.result(schema, Options()) == schema
    assert shown.result(schema, JAVA).field("u").type == wider
    assert pa.array([largest], unsigned).cast(wider).to_pylist() in ([largest], [decimal.Decimal(largest)])


def test_java_binds_milliseconds() -> None:
    """Its driver cannot fill other units; the zone stays, and results keep their own units."""
    schema = pa.schema(
        [("t", pa.timestamp("us")), ("z", pa.timestamp("ns", "UTC")), ("c", pa.time64("us")), ("d", pa.date32())]
    )
    assert shown.parameters(schema, Options()) == schema
    assert shown.parameters(schema, JAVA).types == [
        pa.timestamp("ms"),
        pa.timestamp("ms", "UTC"),
        pa.time32("ms"),
        pa.date32(),
    ]
    assert shown.parameters(schema, JAVA).names == schema.names
    assert shown.result(schema, JAVA) == schema

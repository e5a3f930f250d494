"""What a session holds: uploads that count as they grow, and tables as a transaction sees them."""

from __future__ import annotations

import weakref
from pathlib import Path

import pyarrow as pa
import pytest

from flightmesh.catalog.temporary import SessionFiles, record_of
from flightmesh.engine.base import Temporary
from flightmesh.engine.intake import Intake
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.service.holdings import Change, Holding, Table, Transaction, Upload, overlaid, visible_of

SCHEMA = pa.schema([("n", pa.int64())])


def _table(name: str) -> Table:
    record = record_of(name=name, version="1", created_at=0.0, columns=[("n", "BIGINT")], schema=SCHEMA, parts=[])
    return Table(record, (), Temporary(name, "1", record.columns, SCHEMA, 0, SCHEMA.empty_table))


def test_an_upload_counts_what_it_writes(tmp_path: Path) -> None:
    """Bounds hold while rows arrive, not afterwards: before the file grows."""
    files, reserved = SessionFiles(tmp_path), [0]

    def grow(size: int) -> None:
        if reserved[0] + size > 20_000:
            raise FlightmeshError(ErrorCode.EXHAUSTED, "Too much.")
        reserved[0] += size

    upload = Upload(Intake(SCHEMA, columns_max=1), Holding("k", 0.0, 0.0), lambda kept: files.writer("k", kept), grow)
    assert upload.schema == SCHEMA
    batch = pa.record_batch({"n": pa.array(range(1_000), pa.int64())})
    upload.write(batch)
    file = next(tmp_path.rglob("*.writing"))
    assert file.stat().st_size == reserved[0] > 8_000
    upload.write(batch)
    assert upload.rows == 2_000
    assert upload.is_usable
    with pytest.raises(FlightmeshError, match="Too much"):
        upload.write(batch)
    assert not upload.is_usable
    writer, size = upload.take()
    assert (writer is not None, size) == (True, reserved[0])
    assert upload.take() == (None, 0)
    with pytest.raises(FlightmeshError, match="over"):
        upload.write(batch)
    assert writer is not None
    writer.discard()


def test_a_transaction_lies_over_the_tables() -> None:
    """Its own changes first, then what the session has now."""
    holding = Holding("k", 0.0, 0.0, tables={"a": _table("a"), "b": _table("b")})
    own = _table("A2")
    opened = Transaction(0.0, {"a": Change("1", own), "b": Change("1", None), "c": Change(None, None)})
    assert overlaid(holding, None) is holding.tables
    assert visible_of(overlaid(holding, opened)) == {"a": own.temporary}
    assert set(holding.tables) == {"a", "b"}


def test_a_read_is_seen_as_long_as_somebody_holds_its_rows() -> None:
    """Sessions that are being read do not expire."""
    holding = Holding("k", 0.0, 0.0)
    rows = SCHEMA.empty_table()
    holding.reads.append(weakref.ref(rows))
    assert holding.is_read()
    assert holding.is_read()
    del rows
    assert not holding.is_read()
    assert len(holding.reads) == 0

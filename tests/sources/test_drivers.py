"""Links, over SQLite in memory."""

from __future__ import annotations

import adbc_driver_manager
import adbc_driver_sqlite
import pyarrow as pa
import pytest

from flightmesh.sources.drivers import Driver, DriverFailure, open_link

MEMORY = Driver(lambda: adbc_driver_sqlite.connect(":memory:"), setup=("SELECT 1",))


def test_statements_follow_each_other() -> None:
    """A link could not be used again, and the pool would be of no use."""
    link = open_link(MEMORY, None)
    for value in (1, 2):
        assert link.execute(f"SELECT {value} AS v").schema == pa.schema([("v", pa.int64())])
        assert [row["v"] for batch in link.batches() for row in batch.to_pylist()] == [value]
        link.finish()
    link.close()
    link.close()


def test_a_statement_is_described_without_its_rows() -> None:
    """A table's schema would cost its content."""
    link = open_link(MEMORY, None)
    assert link.describe("SELECT 'x' AS v").schema == pa.schema([("v", pa.string())])
    assert [batch.num_rows for batch in link.batches() if batch.num_rows] == []


def test_failures_say_whether_the_source_is_there() -> None:
    """A wrong statement would be tried again, and a lost connection not."""
    link = open_link(MEMORY, None)
    with pytest.raises(DriverFailure) as answered:
        link.execute("SELEC")
    assert not answered.value.is_lost
    with pytest.raises(DriverFailure) as lost:
        open_link(Driver(lambda: adbc_driver_sqlite.connect("file:/none/none?mode=ro")), None)
    assert lost.value.is_lost


def test_a_driver_that_has_failed_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Every source of the kind would seem to be down by itself, and nobody would restart the server."""

    def panicked() -> adbc_driver_manager.AdbcDatabase:
        raise OSError("AdbcDatabaseNew: Go panicked, driver is in unknown state")

    for _ in range(2):
        with pytest.raises(DriverFailure) as caught:
            open_link(Driver(panicked, name="the driver of tests"), None)
        assert caught.value.fault == "the driver of tests has failed; the server must be restarted."
        assert not caught.value.is_lost
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]


def test_rows_that_are_not_sound_are_kept_back() -> None:
    """Text that is not UTF-8 would stop the whole server."""
    link = open_link(MEMORY, None)
    link.execute("SELECT CAST(x'fffe' AS TEXT) AS v")
    with pytest.raises(DriverFailure) as caught:
        list(link.batches())
    assert caught.value.fault == "sends text that is not UTF-8."
    link.close()

"""Sources that are down, slow, hung or changed: named errors in time, nobody else harmed, recovery by themselves."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from tests.live.conftest import Live, live_server, write_product
from tests.postgres import Postgres

pytestmark = pytest.mark.postgres

# What the issue allows from the question to the named error.
NAMED_WITHIN_S = 5.0
COLUMNS = {"id": "BIGINT", "name": "VARCHAR", "weight": "DECIMAL(10,2)"}
ROWS = 20_000


@pytest.fixture
def source(own_postgres: Postgres) -> Postgres:
    """A server with one table, to be stopped, paused and altered."""
    own_postgres.run(
        "CREATE TABLE legs (id bigint PRIMARY KEY, name text, weight numeric(10, 2))",
        f"INSERT INTO legs SELECT i, 'leg ' || i, i / 4.0 FROM generate_series(1, {ROWS}) AS made(i)",
        "CREATE VIEW slow AS SELECT id, name, weight FROM legs, pg_sleep(30)",
    )
    return own_postgres


@pytest.fixture
def products(source: Postgres, tmp_path: Path) -> tuple[Path, Path]:
    """A product over the live table, and one over a file that has nothing to do with it."""
    tms = write_product(
        tmp_path / "tms",
        "lab.tms",
        f'tms: {{type: postgres, uri: "{source.uri}", mode: live, tables: [legs, slow]}}',
        "legs: {from: tms.legs}\nslow: {from: tms.slow}",
        {"legs": COLUMNS, "slow": COLUMNS},
    )
    (tmp_path / "other/data").mkdir(parents=True)
    (tmp_path / "other/data/raw.csv").write_text("n\n1\n2\n")
    other = write_product(
        tmp_path / "other",
        "lab.other",
        "raw: {type: csv, path: data/raw.csv}",
        "points: {from: raw}",
        {"points": {"n": "BIGINT"}},
    )
    return tms, other


@pytest.fixture
def live(products: tuple[Path, Path], tmp_path: Path) -> Iterator[Live]:
    """A server over both."""
    with live_server(tmp_path, *products) as served:
        assert not served.application.ready.unavailable
        assert served.rows("SELECT count(*) AS n FROM lab.tms.legs") == [{"n": ROWS}]
        yield served


def _drain(reader: pa.RecordBatchReader) -> None:
    for _ in reader:
        pass


def _refused(live: Live, sql: str = "SELECT * FROM lab.tms.legs") -> FlightmeshError:
    """The named error of a statement, in time; the other product is as fast as ever."""
    began = time.monotonic()
    with pytest.raises(FlightmeshError) as refused:
        live.table(sql)
    assert time.monotonic() - began < NAMED_WITHIN_S
    assert refused.value.code in (ErrorCode.UNAVAILABLE, ErrorCode.DEADLINE)
    assert "tms" in refused.value.message
    began = time.monotonic()
    assert live.rows("SELECT sum(n) AS s FROM lab.other.points") == [{"s": 3}]
    assert time.monotonic() - began < 1.0
    return refused.value


def _recovered(live: Live, within_s: float = 40.0) -> None:
    """The same server answers again, without a restart and without a reload."""
    end = time.monotonic() + within_s
    while True:
        try:
            assert live.rows("SELECT count(*) AS n FROM lab.tms.legs") == [{"n": ROWS}]
            return
        except FlightmeshError:
            assert time.monotonic() < end, "the source is back and the server has not noticed"
            time.sleep(0.2)


def test_a_stopped_source_is_named_and_comes_back(live: Live, source: Postgres) -> None:
    """People would wait, or be told of a broken pipe; and somebody would have to restart the server at night."""
    source.stop()
    _refused(live)
    _refused(live, "SELECT count(*) FROM lab.tms.legs")
    source.start()
    _recovered(live)


def test_a_paused_source_is_named_in_time(live: Live, source: Postgres) -> None:
    """A hung database accepts connections and never answers: the caller must not hang with it."""
    source.pause()
    try:
        _refused(live)
        _refused(live, "SELECT name FROM lab.tms.legs WHERE id = 3")
    finally:
        source.resume()
    _recovered(live)


def test_a_source_that_is_paused_in_the_middle_of_a_stream(live: Live, source: Postgres) -> None:
    """Half an answer must end in an error and never look whole."""
    source.run("INSERT INTO legs SELECT i, repeat('x', 200), 1 FROM generate_series(100000, 900000) AS made(i)")
    reader = live.client.sql("SELECT * FROM lab.tms.legs").reader()
    next(iter(reader))
    source.pause()
    began = time.monotonic()
    try:
        with pytest.raises(FlightmeshError) as refused:
            _drain(reader)
        assert time.monotonic() - began < NAMED_WITHIN_S
        assert "tms" in refused.value.message
    finally:
        source.resume()
    source.run("DELETE FROM legs WHERE id >= 100000")
    _recovered(live)


def test_a_slow_source_is_named_in_time(live: Live) -> None:
    """A view that takes half a minute would hold a client, and its place in the queue, for as long."""
    refusal = _refused(live, "SELECT * FROM lab.tms.slow")
    assert "timeout" in str(refusal)


def test_a_breaker_opens_and_closes(live: Live, source: Postgres) -> None:
    """Every reader of a dead source would wait its full time; and a closed one must open again by itself."""
    source.pause()
    try:
        for _ in range(3):
            _refused(live)
        began = time.monotonic()
        _refused(live)
        assert time.monotonic() - began < 1.0
    finally:
        source.resume()
    _recovered(live)


def test_many_readers_of_a_hung_source_harm_nobody(live: Live, source: Postgres) -> None:
    """Threads and connections that wait for a dead database would use the server up."""
    source.pause()
    ends: list[float] = []

    def read() -> None:
        began = time.monotonic()
        with pytest.raises(FlightmeshError):
            live.client.sql("SELECT * FROM lab.tms.legs").arrow()
        ends.append(time.monotonic() - began)

    readers = [threading.Thread(target=read) for _ in range(12)]
    try:
        for reader in readers:
            reader.start()
        assert live.rows("SELECT sum(n) AS s FROM lab.other.points") == [{"s": 3}]
        for reader in readers:
            reader.join(20)
        assert len(ends) == 12
        assert max(ends) < NAMED_WITHIN_S
    finally:
        source.resume()
    _recovered(live)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("ALTER TABLE legs DROP COLUMN name CASCADE", "name"),
        ("ALTER TABLE legs RENAME COLUMN weight TO mass", "weight"),
        ("DROP TABLE legs CASCADE", "legs"),
    ],
)
def test_a_dropped_column_or_table_is_named(live: Live, source: Postgres, change: str, told: str) -> None:
    """The consumer would see a driver's error, or NULLs where there were values."""
    source.run("DROP VIEW slow", change)
    assert told in _refused(live).message


def test_a_retyped_column_is_named(live: Live, source: Postgres) -> None:
    """Values of another type than the contract's would reach consumers."""
    source.run("DROP VIEW slow", "ALTER TABLE legs ALTER COLUMN weight TYPE text USING 'about ' || weight")
    assert "weight" in _refused(live).message
    # What does not touch the column goes on.
    assert live.rows("SELECT name FROM lab.tms.legs WHERE id = 2") == [{"name": "leg 2"}]


def test_an_added_column_disturbs_nobody(live: Live, source: Postgres) -> None:
    """A source may grow: the port has the columns of its contract."""
    source.run("ALTER TABLE legs ADD COLUMN note text DEFAULT 'new'")
    assert live.table("SELECT * FROM lab.tms.legs WHERE id = 1").column_names == ["id", "name", "weight"]
    live.reload()
    assert live.rows("SELECT count(*) AS n FROM lab.tms.legs") == [{"n": ROWS}]


def test_a_reload_while_the_source_is_down_keeps_the_product(live: Live, source: Postgres) -> None:
    """Somebody edits another product while the database is down: the live product must not vanish for good."""
    source.stop()
    live.reload()
    _refused(live)
    source.start()
    _recovered(live)


def test_a_start_while_the_source_is_down_recovers_by_itself(
    products: tuple[Path, Path], source: Postgres, tmp_path: Path
) -> None:
    """A server started before its database would be useless until somebody restarts it."""
    source.stop()
    with live_server(tmp_path / "fresh", *products, limits=Limits(source_retry_s=0.2, drain_s=2)) as live:
        assert "lab.tms" in live.application.ready.unavailable
        assert live.rows("SELECT sum(n) AS s FROM lab.other.points") == [{"s": 3}]
        source.start()
        end = time.monotonic() + 30
        while not _is_readable(live):
            assert time.monotonic() < end
            live.application.node.reload_if_due()
            time.sleep(0.05)


def _is_readable(live: Live) -> bool:
    try:
        return live.rows("SELECT count(*) AS n FROM lab.tms.legs") == [{"n": ROWS}]
    except FlightmeshError:
        return False


@pytest.mark.parametrize("stale", ["serve", "refuse"])
def test_a_snapshot_whose_source_is_down(source: Postgres, tmp_path: Path, stale: str) -> None:
    """``stale: serve`` serves the last rows and says how old they are; without it old rows must not pass for new."""
    product = write_product(
        tmp_path / "copy",
        "lab.copy",
        f'tms: {{type: postgres, uri: "{source.uri}", mode: snapshot, every: 1s, stale: {stale}, tables: [legs]}}',
        "legs: {from: tms.legs}",
        {"legs": COLUMNS},
    )
    with live_server(tmp_path, product, limits=Limits(source_retry_s=1, drain_s=2)) as live:
        assert live.rows("SELECT count(*) AS n FROM lab.copy.legs") == [{"n": ROWS}]
        source.run("DELETE FROM legs WHERE id = 1")
        time.sleep(1.1)
        assert live.application.node.reload_if_due()
        assert live.rows("SELECT count(*) AS n FROM lab.copy.legs") == [{"n": ROWS - 1}]
        source.stop()
        time.sleep(1.1)
        assert live.application.node.reload_if_due()
        if stale == "refuse":
            with pytest.raises(FlightmeshError, match="tms"):
                live.rows("SELECT count(*) AS n FROM lab.copy.legs")
        else:
            assert live.rows("SELECT count(*) AS n FROM lab.copy.legs") == [{"n": ROWS - 1}]
            (port,) = live.client.products()[0].ports
            assert "tms" in (port.stale or "")
            assert port.read_at is not None
        source.start()
        time.sleep(1.1)
        assert live.application.node.reload_if_due()
        assert live.rows("SELECT count(*) AS n FROM lab.copy.legs") == [{"n": ROWS - 1}]
        assert live.client.products()[0].ports[0].stale is None


def test_a_secret_address_is_in_no_text(
    source: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A password in a log or an error is a password given away."""
    monkeypatch.setenv("FLIGHTMESH_SECRET_TMS_URI", source.uri.replace("flightmesh@", "flightmesh:hunter2-secret@"))
    product = write_product(
        tmp_path / "secret",
        "lab.secret",
        'tms: {type: postgres, uri: "${secret:TMS_URI}", mode: live, tables: [legs]}',
        "legs: {from: tms.legs}",
        {"legs": COLUMNS},
    )
    with caplog.at_level("DEBUG"), live_server(tmp_path, product) as live:
        assert live.rows("SELECT count(*) AS n FROM lab.secret.legs") == [{"n": ROWS}]
        shown = [str(live.client.products()), str(live.client.sql("SELECT * FROM lab.secret.legs").explain())]
        source.stop()
        with pytest.raises(FlightmeshError) as refused:
            live.rows("SELECT * FROM lab.secret.legs")
        live.reload()
        source.start()
    kept = [path.read_text(errors="replace") for path in (tmp_path / "state").rglob("*") if path.is_file()]
    for text in [*shown, str(refused.value), caplog.text, *kept]:
        assert "hunter2" not in text
        assert str(source.port) not in text

"""Live Polars models: read in a kept process, narrowed by the consumer, and no harm to anybody when they fail."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from flightmesh.engine.base import PolarsModel, PolarsScan
from flightmesh.engine.polars import PolarsBounds
from flightmesh.engine.polars_live import PolarsWorkers
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.sources.base import Fetch, Narrowing
from flightmesh.sources.predicate import AllOf, AnyOf, Compare, IsPresent, OneOf, Predicate
from tests.conftest import ServedBy
from tests.postgres import Postgres

ROWS = pa.table({"n": range(10), "site": ["a", "b"] * 5, "mass": [float(n) for n in range(9)] + [float("nan")]})
OUT = pa.schema([("n", pa.int64()), ("site", pa.string()), ("mass", pa.float64()), ("pid", pa.int64())])
PLAIN = "return f.with_columns(pid=pl.lit(os.getpid(), dtype=pl.Int64))"
LARGE = 2_000_000


class Instance:
    """What the engine lends a read: queries on an instance, here written down."""

    def __init__(self, rows: pa.Table) -> None:
        self._connection = duckdb.connect(":memory:")
        self._connection.register("given", rows)
        self._connection.execute("CREATE TABLE input AS FROM given")
        self.asked: list[str] = []
        self.batches = 0

    def nested(self, sql: str) -> Fetch:
        if not sql.endswith("LIMIT 0"):
            self.asked.append(sql)
        cursor = self._connection.cursor()
        reader = cursor.sql(sql).to_arrow_reader(65_536)
        counted = pa.RecordBatchReader.from_batches(reader.schema, self._counted(reader))
        return Fetch(counted, lambda: None, cursor.close)

    def _counted(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        for batch in reader:
            self.batches += 1
            yield batch


class Product:
    """A product's folder with models, read by workers."""

    def __init__(self, folder: Path, workers: PolarsWorkers) -> None:
        self.folder = folder
        self.workers = workers
        self.instance = Instance(ROWS)

    def model(self, name: str, body: str, schema: pa.Schema = OUT, *, before: str = "") -> PolarsScan:
        """The model whose function of frame ``f`` has this body."""
        function = f"def build(f):\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"
        (self.folder / "models" / f"{name}.py").write_text(f"import os, time, polars as pl\n{before}\n{function}")
        return PolarsScan(schema, PolarsModel(name, self.folder, f"models/{name}.py", "build"), ("input",))

    def fetch(self, scan: PolarsScan, columns: tuple[str, ...] = ("n", "pid"), keep: Predicate | None = None) -> Fetch:
        schema = pa.schema([scan.schema.field(name) for name in columns])
        return self.workers.fetch(scan, Narrowing(columns, keep), schema, self.instance.nested)

    def rows(
        self, scan: PolarsScan, columns: tuple[str, ...] = ("n", "pid"), keep: Predicate | None = None
    ) -> pa.Table:
        fetch = self.fetch(scan, columns, keep)
        try:
            return fetch.reader.read_all()
        finally:
            fetch.close()

    def pid(self, scan: PolarsScan) -> int:
        pid: int = self.rows(scan, ("pid",))["pid"][0].as_py()
        return pid

    def failure(self, scan: PolarsScan) -> FlightmeshError:
        with pytest.raises(FlightmeshError) as caught:
            self.rows(scan)
        assert str(self.folder.parent) not in str(caught.value)
        return caught.value


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Product]]:
    """A product with workers of its own, ended after the test."""
    made: list[PolarsWorkers] = []
    (tmp_path / "product" / "models").mkdir(parents=True)

    def make(*, workers_max: int = 2, seconds: float = 60, **options: float) -> Product:
        bounds = PolarsBounds(seconds=seconds, threads=2)
        made.append(PolarsWorkers(workers_max=workers_max, bounds=bounds, **options))
        return Product(tmp_path / "product", made[-1])

    yield make
    for workers in made:
        workers.close()


@pytest.fixture
def product(make: Callable[..., Product]) -> Product:
    return make()


def is_gone(pid: int, within_s: float = 5.0) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.02)
    return False


def test_projection_and_filter_of_the_consumer_reach_the_scan(product: Product) -> None:
    """A model over a large table would read all of it for each small question."""
    scan = product.model("m", "return f.filter(pl.col('n') > 1).with_columns(pid=pl.col('n') * 2)")
    keep = AllOf((Compare("site", "=", pa.scalar("a")), Compare("n", "<", pa.scalar(7))))
    found = product.rows(scan, ("pid",), keep)
    assert found.to_pydict() == {"pid": [4, 8, 12]}
    (sql,) = product.instance.asked
    select, where = sql.split(" FROM input WHERE ")
    assert set(select.removeprefix("SELECT ").split(", ")) == {'"n"', '"site"'}
    assert set(where.split(" AND ")) == {'"n" > 1', "\"site\" = 'a'", '"n" < 7'}


@pytest.mark.parametrize(
    ("keep", "condition", "expected"),
    [
        (OneOf("n", pa.array([3, 5, 99])), '"n" IN (3, 5, 99)', [3, 5]),
        (AnyOf((Compare("n", "=", pa.scalar(1)), Compare("site", ">", pa.scalar("b")))),
         "(\"n\" = 1 OR \"site\" > 'b')", [1]),
        (Compare("mass", ">", pa.scalar(7.5)), "\"mass\" > CAST('7.5' AS DOUBLE)", [8, 9]),
        # Polars tells of no NaN what it filters by: the scan brings more, and the worker filters.
        (Compare("mass", "=", pa.scalar(float("nan"))), None, [9]),
        (IsPresent("site"), '"site" IS NOT NULL', list(range(10))),
    ],
)  # fmt: skip
def test_every_predicate_means_at_the_scan_what_it_means_to_the_consumer(
    product: Product, keep: Predicate, condition: str | None, expected: list[int]
) -> None:
    """Rows that the consumer asked for would be missing: NaN is above all numbers in SQL and equal to itself."""
    found = product.rows(product.model("m", PLAIN), ("n",), keep)
    assert found["n"].to_pylist() == expected
    (sql,) = product.instance.asked
    assert sql.partition(" WHERE ")[2] == (condition or "")


def test_a_predicate_on_what_the_model_computes_filters_after_it(product: Product) -> None:
    """A filter that is pushed below what makes its column would filter something else."""
    scan = product.model("m", "return f.with_columns(n=pl.col('n') + 100, pid=pl.len())")
    assert product.rows(scan, ("n",), Compare("n", ">", pa.scalar(107)))["n"].to_pylist() == [108, 109]


def test_a_worker_is_kept_until_its_code_changes(product: Product) -> None:
    """Starting Python and Polars for each read would cost a second each; old code would answer for new."""
    before = "from shared import FACTOR"
    (product.folder / "models" / "shared.py").write_text("FACTOR = 3\n")
    body = "return f.with_columns(n=pl.col('n') * FACTOR, pid=pl.lit(os.getpid(), dtype=pl.Int64))"
    scan = product.model("m", body, before=before)
    first = product.rows(scan, ("n", "pid"))
    assert product.rows(scan, ("n", "pid")).equals(first)
    (product.folder / "models" / "shared.py").write_text("FACTOR = 5\n")
    second = product.rows(scan, ("n", "pid"))
    assert (first["n"][2].as_py(), second["n"][2].as_py()) == (6, 10)
    assert first["pid"][0] != second["pid"][0]


def test_a_worker_knows_nothing_of_the_servers_environment(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's secrets would be open to the author of any product."""
    monkeypatch.setenv("FLIGHTMESH_SECRET_DATABASE", "hush")
    scan = product.model("m", "return f.with_columns(site=pl.lit(','.join(os.environ)), pid=pl.lit(0))")
    assert "SECRET" not in product.rows(scan, ("site",))["site"][0].as_py()


def test_an_author_mistake_is_named_without_data(product: Product) -> None:
    """The owner could not find the line; the consumer would read values in the exception's text."""
    scan = product.model("m", "raise ValueError('the key is 4711')")
    error = product.failure(scan)
    assert (error.code, str(error)) == (ErrorCode.INVALID, "Model m: ValueError at models/m.py:4.")
    lazily = product.model("late", "return f.select(n=pl.col('site').str.to_integer(), site='site', mass=0.0, pid=0)")
    assert str(product.failure(lazily)).startswith("Model late: ComputeError at models/late.py")
    assert product.failure(product.model("none", "return 3")).message == "Model none: build returned int."


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return f", "it no longer returns column pid."),
        ("return f.with_columns(pid=pl.lit('7'))",
         "its column pid is now string and does not fit the published int64."),
        ("return f.with_columns(pid=pl.lit(7.5))",
         "its column pid is now double and does not fit the published int64."),
    ],
)  # fmt: skip
def test_columns_other_than_published_are_refused(product: Product, body: str, expected: str) -> None:
    """Consumers would be sent what no contract describes."""
    error = product.failure(product.model("m", body))
    assert (error.code, error.message) == (ErrorCode.INVALID, f"Model m: {expected}")


def test_types_become_those_that_were_published(product: Product) -> None:
    """Polars' own widths and encodings would not match what the port says it has."""
    published = pa.schema([("n", pa.int32()), ("site", pa.string()), ("mass", pa.decimal128(38, 0))])
    scan = product.model(
        "m", "return f.with_columns(pl.col('site').cast(pl.Categorical), mass=pl.lit(1).cast(pl.Int128))", published
    )
    # A category is not compared as a text is, so this is left to who asks.
    found = product.rows(scan, ("n", "site", "mass"), Compare("site", "=", pa.scalar("a")))
    assert found.schema == published
    assert found.num_rows == 10


def test_a_crash_is_named_and_the_next_read_has_a_new_worker(product: Product) -> None:
    """One crash would take the model down until the server is restarted, or others with it."""
    flag = product.folder / "crash"
    scan = product.model("m", f"if os.path.exists({str(flag)!r}): os.kill(os.getpid(), 11)\n{PLAIN}")
    other = product.model("other", PLAIN)
    pids = product.pid(scan), product.pid(other)
    flag.touch()
    error = product.failure(scan)
    assert (error.code, error.message) == (
        ErrorCode.UNAVAILABLE, "Model m: its worker ended without an answer (status -11)."
    )  # fmt: skip
    flag.unlink()
    assert product.pid(other) == pids[1]
    assert product.pid(scan) != pids[0]


def test_a_hanging_model_ends_at_its_deadline_and_is_killed(make: Callable[..., Product]) -> None:
    """A consumer would wait for ever, and the process would stay."""
    product = make(seconds=3)
    note = product.folder / "pid"
    scan = product.model("m", f"open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)")
    start = time.monotonic()
    error = product.failure(scan)
    assert (error.code, error.message) == (ErrorCode.DEADLINE, "Model m took longer than 3 seconds.")
    assert time.monotonic() - start < 10
    assert is_gone(int(note.read_text()))


def test_a_cancelled_read_ends_at_once(product: Product) -> None:
    """A cancelled statement would hold its worker, and its caller, until the model is done."""
    note = product.folder / "pid"
    scan = product.model("m", f"open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)")
    fetch = product.fetch(scan)

    def cancel() -> None:
        while not note.exists() or not note.read_text():
            time.sleep(0.02)
        fetch.cancel()

    cancelling = threading.Thread(target=cancel)
    cancelling.start()
    with pytest.raises(FlightmeshError, match="cancelled") as caught:
        fetch.reader.read_all()
    cancelling.join()
    fetch.close()
    assert caught.value.code is ErrorCode.CANCELLED
    assert is_gone(int(note.read_text()))


def test_a_result_that_is_given_up_is_not_computed_and_its_worker_is_kept(product: Product) -> None:
    """A preview of ten rows would read a whole table, or cost the next consumer the start of a worker."""
    product.instance = Instance(pa.table({"n": range(LARGE)}))
    scan = product.model("m", PLAIN, pa.schema([OUT.field("n"), OUT.field("pid")]))
    fetch = product.fetch(scan)
    batch = fetch.reader.read_next_batch()
    time.sleep(0.5)
    # Memory is bounded: what nobody takes is not read.
    assert product.instance.batches < LARGE / 65_536 / 2
    fetch.close()
    assert product.pid(scan) == batch["pid"][0].as_py()


def test_an_input_that_fails_is_the_failure_that_the_consumer_sees(product: Product) -> None:
    """A source that is down would look like a mistake of the model's author."""
    scan = product.model("m", PLAIN)
    nested = product.instance.nested

    def failing(sql: str) -> Fetch:
        def batches() -> Iterator[pa.RecordBatch]:
            raise FlightmeshError(ErrorCode.UNAVAILABLE, "Source raw: does not answer.")
            yield

        fetch = nested(sql)
        reader = pa.RecordBatchReader.from_batches(fetch.reader.schema, batches())
        return Fetch(reader, fetch.cancel, fetch.close)

    pid = product.pid(scan)
    product.instance.nested = failing  # type: ignore[method-assign]
    error = product.failure(scan)
    assert (error.code, error.message) == (ErrorCode.UNAVAILABLE, "Source raw: does not answer.")
    product.instance.nested = nested  # type: ignore[method-assign]
    assert product.pid(scan) == pid


def test_no_more_workers_than_allowed(make: Callable[..., Product]) -> None:
    """A hundred consumers would start a hundred processes; unused workers would keep others from their model."""
    product = make(workers_max=1, wait_s=0.3)
    scan, other = product.model("m", PLAIN), product.model("other", PLAIN)
    pid = product.pid(scan)
    assert product.pid(other) != pid
    assert is_gone(pid)
    fetch = product.fetch(scan)
    error = product.failure(other)
    assert (error.code, error.message) == (ErrorCode.EXHAUSTED, "Too many Polars models are being read.")
    fetch.close()
    product.workers._wait_s = 10
    assert product.rows(other).num_rows == 10


def test_reads_of_one_model_run_side_by_side(product: Product) -> None:
    """One slow consumer would hold up all others of the model."""
    scan = product.model("m", PLAIN)
    fetches = [product.fetch(scan), product.fetch(scan)]
    pids = {fetch.reader.read_all()["pid"][0].as_py() for fetch in fetches}
    assert len(pids) == 2


def test_an_unused_worker_ends_and_all_end_with_their_keeper(make: Callable[..., Product]) -> None:
    """Processes would pile up with every model that was ever read."""
    product = make(idle_s=0.2)
    assert is_gone(product.pid(product.model("m", PLAIN)))
    kept = make()
    pid = kept.pid(kept.model("m", PLAIN))
    kept.workers.close()
    assert is_gone(pid, 0.1)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Line(s).say('batch', b'no arrow')", "it returned malformed data."),
        ("Line(s).say('scan', input=7, columns=['n'], predicate=None, limit=None)", "it returned malformed data."),
        ("Line(s).say('scan', input=0, columns=['other'], predicate=None, limit=None)", "it returned malformed data."),
        ("s.sendall(b'\\xff' * 100)", "it returned malformed data."),
    ],
)
def test_a_worker_that_breaks_the_protocol_is_not_believed(product: Product, said: str, expected: str) -> None:
    """Code of a product could crash the server, or make it read what the model may not."""
    before = """
import socket, stat, sys
from flightmesh.engine.polars_wire import Line
def line():
    for fd in range(3, 100):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode): return socket.socket(fileno=os.dup(fd))
        except OSError: pass
"""
    scan = product.model("m", f"s = line(); {said}; time.sleep(5); {PLAIN}", before=before)
    error = product.failure(scan)
    assert (error.code, error.message) == (ErrorCode.INVALID, f"Model m: {expected}")
    assert product.instance.asked == []


def test_workers_end_when_the_server_is_killed(product: Product, tmp_path: Path) -> None:
    """Every crash of a server would leave its workers behind."""
    product.model("m", PLAIN)
    script = f"""
import os, sys
from pathlib import Path
from tests.engine.test_polars_live import *
product = Product(Path({str(product.folder)!r}), PolarsWorkers(workers_max=1, bounds=PolarsBounds(seconds=60)))
print(product.pid(PolarsScan(OUT, PolarsModel("m", product.folder, "models/m.py", "build"), ("input",))), flush=True)
os.kill(os.getpid(), 9)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=60)
    assert is_gone(int(done.stdout))


MANIFEST = """\
flightmesh: v1
product: lab.live
version: 1.0.0
title: Live
owner: {team: lab}
sources:
  db: {type: postgres, uri: "%s", tables: [samples], mode: live}
models:
  doubled: {python: "models/m.py:build", inputs: [db.samples]}
ports:
  doubled: {model: doubled, contract: contracts/doubled.odcs.yaml}
policies:
- {grant: read, port: doubled, to: ["*", anonymous]}
"""
CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: lab-doubled-1
version: 1.0.0
status: active
schema:
- name: doubled
  properties:
  - {name: id, logicalType: integer, physicalType: BIGINT}
  - {name: site, logicalType: string, physicalType: VARCHAR}
  - {name: mass, logicalType: integer, physicalType: BIGINT}
"""
MODEL = """\
import polars as pl
def build(samples):
    return samples.with_columns(mass=pl.col("mass") * 2).select("id", "site", "mass")
"""


def test_what_a_consumer_asks_of_a_served_port_reaches_the_database(
    tmp_path: Path, postgres: Postgres, start: Callable[..., AbstractContextManager[ServedBy]]
) -> None:
    """All in between (planner, engine, worker, Polars) could drop the projection or the filter, and nobody would see
    it but the database.
    """
    columns: Mapping[str, str] = {"id": "bigint", "site": "text", "mass": "bigint", "note": "text"}
    listed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    postgres.run("DROP DATABASE IF EXISTS polars_live", "CREATE DATABASE polars_live")
    postgres.run(
        f"CREATE TABLE samples ({listed})",
        "INSERT INTO samples SELECT n, 'site' || n % 7, n, repeat('x', 100) FROM generate_series(1, 1000) AS g(n)",
        database="polars_live",
    )
    folder = tmp_path / "product"
    for file, text in {
        "product.yaml": MANIFEST % postgres.uri_of("polars_live"),
        "contracts/doubled.odcs.yaml": CONTRACT,
        "models/m.py": MODEL,
    }.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    with start(products=[folder]) as served, served.adbc() as connection, connection.cursor() as cursor:
        before = len(postgres.statements())
        for _ in range(2):
            cursor.execute("SELECT mass FROM lab.live.doubled WHERE id BETWEEN 8 AND 90 AND site = 'site3' ORDER BY id")
            assert cursor.fetch_arrow_table()["mass"].to_pylist() == [2 * n for n in range(10, 91, 7)]
        told = postgres.statements()[before:]
    asked = [line for line in told.splitlines() if "samples" in line and "WHERE" in line and "pg_" not in line]
    assert asked
    for line in asked:
        assert '"note"' not in line
        assert "site3" in line
        assert ">= 8" in line
        assert "<= 90" in line

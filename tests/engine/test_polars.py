"""Polars models run in a process of their own: frames in, frame out, nothing else in or out."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import textwrap
import time
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from flightmesh.engine.base import PolarsModel
from flightmesh.engine.polars import PolarsBounds, _work, polars_rows, polars_schema
from flightmesh.errors import ErrorCode, FlightmeshError

INPUT = pa.table({"key": ["a", "b", "a"], "n": pa.array([1, 2, None], pa.int8())})
BOUNDS = PolarsBounds(seconds=60, threads=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "product" / "models").mkdir(parents=True)
    (tmp_path / "scratch").mkdir()
    return tmp_path / "product"


def model(folder: Path, code: str) -> PolarsModel:
    (folder / "models" / "m.py").write_text("import polars as pl\n" + textwrap.dedent(code))
    return PolarsModel("m", folder, "models/m.py", "build")


def rows(folder: Path, code: str, *inputs: pa.Table, bounds: PolarsBounds = BOUNDS) -> pa.Table:
    readers = (table.to_reader() for table in inputs)
    with polars_rows(model(folder, code), readers, scratch=folder.parent / "scratch", bounds=bounds) as reader:
        return reader.read_all()


def failure(folder: Path, code: str, bounds: PolarsBounds = BOUNDS) -> FlightmeshError:
    with pytest.raises(FlightmeshError) as caught:
        rows(folder, code, INPUT, bounds=bounds)
    assert str(folder.parent) not in str(caught.value)
    assert list((folder.parent / "scratch").iterdir()) == []
    return caught.value


def test_inputs_come_in_order_and_the_result_has_plain_types(folder: Path) -> None:
    """Views, large offsets and dictionaries of Polars would be types of the port that no contract names."""
    code = """
        import datetime as dt
        def build(left, right):
            assert isinstance(left, pl.LazyFrame)
            return left.join(right, on="key").sort("n", nulls_last=True).with_columns(
                cat=pl.lit("c").cast(pl.Categorical), many=pl.lit(["x"]), at=pl.lit(dt.datetime(2013, 1, 1)),
                huge=pl.lit(1).cast(pl.Int128), part=pl.struct(pl.lit(b"b").alias("raw")))
    """
    found = rows(folder, code, INPUT, pa.table({"key": ["a"], "name": ["A"]}))
    assert [str(kind) for kind in found.schema.types] == [
        "string", "int8", "string", "string", "list<item: string>", "timestamp[us]", "decimal128(38, 0)",
        "struct<raw: binary>",
    ]  # fmt: skip
    assert found.to_pylist()[0] == {
        "key": "a", "n": 1, "name": "A", "cat": "c", "many": ["x"], "at": dt.datetime(2013, 1, 1),
        "huge": Decimal(1), "part": {"raw": b"b"},
    }  # fmt: skip


def test_a_data_frame_is_as_good_and_neighbours_can_be_imported(folder: Path) -> None:
    """Code shared by two models would have to be copied."""
    (folder / "models" / "shared.py").write_text("FACTOR = 3\n")
    code = "from shared import FACTOR\ndef build(f): return f.select(pl.col('n') * FACTOR).collect()\n"
    assert rows(folder, code, INPUT)["n"].to_pylist() == [3, 6, None]


def test_the_schema_is_told_without_rows_and_without_collecting(folder: Path) -> None:
    """``check`` would compute the product."""
    code = """
        def build(f):
            return f.group_by("key").agg(pl.col("n").mean()).map_batches(lambda d: 1 / 0, schema={"key": pl.String})
    """
    found = polars_schema(model(folder, code), [INPUT.schema], scratch=folder.parent / "scratch", bounds=BOUNDS)
    assert found == pa.schema([("key", pa.string())])


def test_the_authors_exception_is_told_by_type_and_line(folder: Path) -> None:
    """The author would have to guess; a client would read values of the data in the reason."""
    error = failure(folder, "def build(f):\n    x = 1\n    raise ValueError('secret 42')\n")
    assert error.code is ErrorCode.INVALID
    assert (error.message, error.hint) == ("Model m: ValueError at models/m.py:4.", "secret 42")


def test_errors_of_the_query_are_the_authors_too(folder: Path) -> None:
    """A lazy frame fails long after the function returned, with a text that shows the server's files."""
    error = failure(folder, "def build(f): return f.select('m')\n")
    assert error.message == "Model m: ColumnNotFoundError at models/m.py."
    assert error.hint is not None
    assert "\n" not in error.hint


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def build(f) return f\n", "Model m: SyntaxError at models/m.py:2."),
        ("def other(f): return f\n", "Model m: models/m.py has no function build."),
        ("def build(f): return 3\n", "Model m: build returned int."),
        ("def build(): return pl.DataFrame()\n", "Model m: TypeError at models/m.py."),
        ("import os\ndef build(f): os._exit(3)\n", "Model m: its worker ended without an answer (status 3)."),
        ("import sys\ndef build(f): sys.exit('bye')\n", "Model m: SystemExit at models/m.py:3."),
        ("def build(f): raise BaseException('panic')\n", "Model m: BaseException at models/m.py:2."),
    ],
)
def test_whatever_goes_wrong_is_one_sentence(folder: Path, code: str, message: str) -> None:
    """A crash of product code would be a crash of the build, or of the server."""
    assert failure(folder, code).message == message


def test_a_model_that_does_not_end_is_ended_with_all_it_started(folder: Path, tmp_path: Path) -> None:
    """One endless loop would keep the server from ever being ready."""
    code = f"""
        import subprocess, time
        def build(f):
            subprocess.Popen(["sh", "-c", "sleep 3; touch {tmp_path / "alive"}"])
            time.sleep(60)
    """
    began = time.monotonic()
    error = failure(folder, code, bounds=PolarsBounds(seconds=2.5, threads=1))
    assert (error.code, error.message) == (ErrorCode.DEADLINE, "Model m took longer than 2.5 seconds.")
    assert time.monotonic() - began < 10
    time.sleep(3)
    assert not (tmp_path / "alive").exists()


def test_a_worker_that_did_its_work_ends_well(folder: Path) -> None:
    """Each model would leave a crash report of the operating system behind."""
    made, exchange = model(folder, "def build(): return pl.DataFrame({'a': [1]})\n"), folder.parent / "scratch"
    job = {"mode": "rows", "folder": str(folder), "file": made.file, "function": made.function, "inputs": []}
    (exchange / "job.json").write_text(json.dumps(job))
    assert _work(made, exchange, BOUNDS) == 0
    assert json.loads((exchange / "answer.json").read_text()) == {"ok": True}


def test_a_run_ends_soon_after_it_is_stopped(folder: Path) -> None:
    """The operator's Ctrl-C would wait for the slowest model."""
    began = time.monotonic()
    bounds = PolarsBounds(seconds=60, threads=1, stopped=lambda: time.monotonic() - began > 1)
    error = failure(folder, "import time\ndef build(f): time.sleep(60)\n", bounds=bounds)
    assert (error.code, error.message) == (ErrorCode.CANCELLED, "The build was stopped.")
    assert time.monotonic() - began < 10


def test_the_worker_sees_no_secret_of_the_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A product's author could read the signing key or another product's password."""
    monkeypatch.setenv("FLIGHTMESH_KEY", "secret")
    monkeypatch.setenv("PGPASSWORD", "secret")
    found = rows(folder, "import os\ndef build(f): return pl.DataFrame({'e': list(os.environ.values())})\n", INPUT)
    assert "secret" not in found["e"].to_pylist()


def test_what_the_author_prints_goes_nowhere(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """``serve --json`` promises one line on standard output."""
    rows(folder, "def build(f):\n    print('hello')\n    return f\n", INPUT)
    assert capfd.readouterr() == ("", "")


def test_the_worker_ends_with_the_server(folder: Path, tmp_path: Path) -> None:
    """A killed server would leave processes that hold memory and write into its state directory."""
    made = model(folder, f"import time\ndef build(f):\n    time.sleep(4)\n    open({str(tmp_path / 'alive')!r}, 'w')\n")
    script = f"""
import pyarrow as pa
from pathlib import Path
from flightmesh.engine.polars import *
m = PolarsModel("m", Path({str(made.folder)!r}), "models/m.py", "build")
with polars_rows(m, [pa.table({{"a": [1]}}).to_reader()], scratch=Path({str(tmp_path)!r}), bounds=PolarsBounds()):
    pass
"""
    server = subprocess.Popen([sys.executable, "-c", script])
    time.sleep(2.5)
    server.kill()
    server.wait()
    time.sleep(4)
    assert not (tmp_path / "alive").exists()


def test_importing_the_engine_does_not_import_polars() -> None:
    """Every start of the server would take half a second longer."""
    script = "import sys, flightmesh.engine.polars; sys.exit('polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0

"""Polars models: a product's own Python function, LazyFrames in, LazyFrame or DataFrame out, run in a process of its
own.

Code of a product never runs in the server's process. The worker is this module run with ``python -m``: it is handed a
job (a JSON file) and Arrow IPC files, has a bare environment without the server's secrets, a time limit, and ends
when the server ends. What it returns is validated before anything else reads it. Importing this module does not
import Polars: only the worker does.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from flightmesh.errors import ErrorCode, FlightmeshError

if TYPE_CHECKING:
    import polars as pl

BATCH_ROWS = 65_536
_LOOK_SECONDS = 0.2  # How long a stop may go unnoticed.
# What a worker needs of the server's environment to find programs and write text; nothing that could hold a secret.
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


@dataclass(frozen=True, slots=True)
class PolarsModel:
    """A function in a file of the product, ``models/daily.py:build``; ``file`` is relative to ``folder``, the
    product's.
    """

    name: str
    folder: Path
    file: str
    function: str


@dataclass(frozen=True, slots=True)
class PolarsBounds:
    """What one run may use: seconds of wall time, and threads. The run ends early when ``stopped`` says so."""

    seconds: float = 300.0
    threads: int = 2
    stopped: Callable[[], bool] = field(default=lambda: False, compare=False)


@contextmanager
def polars_rows(
    model: PolarsModel, inputs: Iterable[pa.RecordBatchReader], *, scratch: Path, bounds: PolarsBounds
) -> Iterator[pa.RecordBatchReader]:
    """The rows that the function makes of the inputs, within a ``with`` block; the files behind them are below
    ``scratch``.

    Errors: INVALID when the author's code raises (the message has the exception's type and the author's file and
    line, the hint its text, which may quote data), when the function is missing, or returns no frame; DEADLINE when
    it takes too long; CANCELLED when it is stopped.
    """
    with TemporaryDirectory(dir=scratch, prefix="polars-") as exchange:
        output = _run(model, inputs, exchange=Path(exchange).resolve(), bounds=bounds, mode="rows")
        with pa.memory_map(str(output)) as stream:
            reader = pa.ipc.open_file(stream)
            yield pa.RecordBatchReader.from_batches(reader.schema, _validated(model, reader))


def polars_schema(model: PolarsModel, inputs: Sequence[pa.Schema], *, scratch: Path, bounds: PolarsBounds) -> pa.Schema:
    """The columns that the function returns for empty inputs; a LazyFrame is not collected. Errors as
    ``polars_rows``.
    """
    empty = [pa.RecordBatchReader.from_batches(schema, []) for schema in inputs]
    with TemporaryDirectory(dir=scratch, prefix="polars-") as exchange:
        output = _run(model, empty, exchange=Path(exchange).resolve(), bounds=bounds, mode="schema")
        with pa.memory_map(str(output)) as stream:
            return pa.ipc.open_file(stream).schema


def _run(
    model: PolarsModel, inputs: Iterable[pa.RecordBatchReader], *, exchange: Path, bounds: PolarsBounds, mode: str
) -> Path:
    """The Arrow IPC file that the worker wrote."""
    files = []
    # One after the other: a reader may be valid only until the next is made.
    for index, reader in enumerate(inputs):
        files.append(exchange / f"input_{index}.arrow")
        with pa.ipc.new_file(files[-1], reader.schema) as writer:
            for batch in reader:
                writer.write_batch(batch)
    job = {"mode": mode, "folder": str(model.folder.resolve()), "file": model.file, "function": model.function}
    (exchange / "job.json").write_text(json.dumps({**job, "inputs": [str(file) for file in files]}))
    status = _work(model, exchange, bounds)
    answer = exchange / "answer.json"
    if not answer.is_file():
        raise _refused(model, f"its worker ended without an answer (status {status}).", _tail(exchange / "stderr"))
    found = json.loads(answer.read_text())
    if not found["ok"]:
        raise _refused(model, found["message"], found["hint"])
    return exchange / "output.arrow"


def _work(model: PolarsModel, exchange: Path, bounds: PolarsBounds) -> int:
    """Run the worker to its end; returns its exit status."""
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    environment |= {
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "POLARS_MAX_THREADS": str(bounds.threads),
        "TZ": "UTC",
    }
    command = [sys.executable, "-P", "-m", "flightmesh.engine.polars", str(exchange)]
    with (exchange / "stderr").open("wb") as stderr:
        worker = subprocess.Popen(
            command,
            cwd=exchange,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
    # The open pipe is the worker's sign that we are alive.
    assert worker.stdin is not None
    try:
        status = _waited(worker, bounds)
    finally:
        _end(worker)
        worker.stdin.close()
    if status is None:
        message = f"Model {model.name} took longer than {bounds.seconds:g} seconds."
        raise FlightmeshError(ErrorCode.DEADLINE, message, hint="Make it do less, or ask the operator for more time.")
    return status


def _waited(worker: subprocess.Popen[bytes], bounds: PolarsBounds) -> int | None:
    """The worker's exit status; None when its time is over. CANCELLED when the run is stopped."""
    end = time.monotonic() + bounds.seconds
    while (left := end - time.monotonic()) > 0:
        with suppress(subprocess.TimeoutExpired):
            return worker.wait(timeout=min(_LOOK_SECONDS, left))
        if bounds.stopped():
            raise FlightmeshError(ErrorCode.CANCELLED, "The build was stopped.")
    return None


def _end(worker: subprocess.Popen[bytes]) -> None:
    """Kill the worker and what it started, if anything of it still runs."""
    try:
        os.killpg(worker.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        worker.wait()


def _validated(model: PolarsModel, reader: pa.ipc.RecordBatchFileReader) -> Iterator[pa.RecordBatch]:
    """The batches. A malformed one would crash whoever reads its values."""
    for index in range(reader.num_record_batches):
        batch = reader.get_batch(index)
        try:
            batch.validate(full=True)
        except pa.ArrowInvalid as error:
            raise _refused(model, "it returned malformed data.", str(error)[:300]) from error
        yield batch


def _refused(model: PolarsModel, message: str, hint: str | None) -> FlightmeshError:
    return FlightmeshError(ErrorCode.INVALID, f"Model {model.name}: {message}", hint=hint)


def _tail(file: Path) -> str | None:
    return file.read_bytes()[-500:].decode(errors="replace").strip() or None


# ------------------------------------------------------------------------------------------------- in the worker


class _Fault(Exception):  # noqa: N818 - carries the worker's answer out of the steps below
    """The author's mistake, in words."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.answer = {"ok": False, "message": message, "hint": hint}


def main(exchange: Path) -> None:
    """Do the job in the folder and leave the answer there."""
    threading.Thread(target=_end_with_server, daemon=True).start()
    job = json.loads((exchange / "job.json").read_text())
    try:
        _do(job, exchange / "output.arrow")
        answer: dict[str, object] = {"ok": True}
    except _Fault as fault:
        answer = fault.answer
    whole = exchange / "answer.partial"
    whole.write_text(json.dumps(answer))
    whole.rename(exchange / "answer.json")


def _end_with_server() -> None:
    """The pipe closes when the server ends, however it ends."""
    # Not sys.stdin: its lock, held by this thread when the worker ends, would abort the interpreter.
    os.read(0, 1)
    os._exit(1)


def _do(job: dict[str, Any], output: Path) -> None:  # Any: parsed JSON that _run wrote
    import polars as pl

    function = _function(job)
    frames = [pl.scan_ipc(file) for file in job["inputs"]]
    with _authors_code(job):
        result = function(*frames)
    if not isinstance(result, pl.LazyFrame | pl.DataFrame):
        kind = type(result).__name__
        raise _Fault(f"{job['function']} returned {kind}.", "Return a LazyFrame or a DataFrame.")
    with _authors_code(job):
        frame = pl.DataFrame(schema=result.collect_schema()) if job["mode"] == "schema" else result.lazy().collect()
    _write(frame, output)


def _function(job: dict[str, Any]) -> Callable[..., Any]:  # Any: whatever the author wrote
    path = Path(job["folder"], job["file"])
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location("flightmesh_product_model", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with _authors_code(job):
        spec.loader.exec_module(module)
    function = getattr(module, job["function"], None)
    if not callable(function):
        raise _Fault(f"{job['file']} has no function {job['function']}.")
    found: Callable[..., Any] = function
    return found


@contextmanager
def _authors_code(job: dict[str, Any]) -> Iterator[None]:
    """Whatever the author's code raises becomes the answer: its type, and the author's file and line."""
    try:
        yield
    except BaseException as error:  # SystemExit, and the panics of Polars, which are no Exception
        where = _place(error, Path(job["folder"]), job["file"])
        # Polars goes on about plans and files after its first line.
        text = str(error).partition("\n")[0][:300]
        raise _Fault(f"{type(error).__name__} at {where}.", text or None) from error


def _place(error: BaseException, folder: Path, file: str) -> str:
    """``file:line`` of the innermost frame inside the product's folder; the file alone when there is none."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_relative_to(folder):
        return f"{Path(error.filename).relative_to(folder)}:{error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).is_relative_to(folder):
            return f"{Path(frame.filename).relative_to(folder)}:{frame.lineno}"
    return file


def _write(frame: pl.DataFrame, output: Path) -> None:
    """The frame as an Arrow IPC file of plain types: no views, no large offsets, no dictionaries."""
    import polars as pl

    wide = [name for name, kind in frame.schema.items() if kind in (pl.Int128, pl.UInt128)]
    table = frame.with_columns(pl.col(wide).cast(pl.Decimal(38, 0))).to_arrow(compat_level=pl.CompatLevel.oldest())
    schema = pa.schema([pa.field(field.name, _plain(field.type)) for field in table.schema])
    with pa.ipc.new_file(output, schema) as writer:
        for batch in table.to_batches(max_chunksize=BATCH_ROWS):
            writer.write_batch(batch.cast(schema))


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_plain(kind.value_type), kind.list_size)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_plain(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(kind.field(i).name, _plain(kind.field(i).type)) for i in range(kind.num_fields)])
    return kind


if __name__ == "__main__":
    main(Path(sys.argv[1]))

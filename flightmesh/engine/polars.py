"""Polars models: a product's own Python function, LazyFrames in, LazyFrame or DataFrame out, run in a process of its
own.

Code of a product never runs in the server's process. The worker is this module run with ``python -m``: it is handed a
job (a JSON file) and Arrow IPC files, has a bare environment without the server's secrets, a time limit, and ends
when the server ends. What it returns is validated before anything else reads it. Importing this module does not
import Polars: only the worker does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from flightmesh.engine.base import PolarsModel
from flightmesh.engine.polars_code import Fault, arrow_rows, author_function, authors_code, called, end_with_server
from flightmesh.errors import ErrorCode, FlightmeshError

if TYPE_CHECKING:
    import polars as pl

_LOOK_SECONDS = 0.2  # How long a stop may go unnoticed.
# What a worker needs of the server's environment to find programs and write text; nothing that could hold a secret.
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


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
    command = [sys.executable, "-P", "-m", "flightmesh.engine.polars", str(exchange)]
    with (exchange / "stderr").open("wb") as stderr:
        worker = subprocess.Popen(
            command,
            cwd=exchange,
            env=environment(bounds.threads),
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
        end_group(worker)
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


def environment(threads: int) -> dict[str, str]:
    """A worker's bare environment."""
    return {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ} | {
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "POLARS_MAX_THREADS": str(threads),
        "TZ": "UTC",
    }


def end_group(worker: subprocess.Popen[bytes]) -> None:
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


def main(exchange: Path) -> None:
    """Do the job in the folder and leave the answer there."""
    threading.Thread(target=end_with_server, daemon=True).start()
    job = json.loads((exchange / "job.json").read_text())
    try:
        _do(job, exchange / "output.arrow")
        answer: dict[str, object] = {"ok": True}
    except Fault as fault:
        answer = fault.answer
    whole = exchange / "answer.partial"
    whole.write_text(json.dumps(answer))
    whole.rename(exchange / "answer.json")


def _do(job: dict[str, Any], output: Path) -> None:  # Any: parsed JSON that _run wrote
    import polars as pl

    function = author_function(job)
    result = called(job, function, [pl.scan_ipc(file) for file in job["inputs"]])
    with authors_code(job):
        frame = pl.DataFrame(schema=result.collect_schema()) if job["mode"] == "schema" else result.collect()
    _write(frame, output)


def _write(frame: pl.DataFrame, output: Path) -> None:
    """The frame as an Arrow IPC file of plain types."""
    rows = arrow_rows(frame)
    with pa.ipc.new_file(output, rows.schema) as writer:
        for batch in rows:
            writer.write_batch(batch)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

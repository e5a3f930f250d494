"""Live Polars models: a read starts the author's function in a worker process that is kept for the next one.

Each worker knows one function of one state of the product's code and serves one read at a time. A read is a
conversation (``polars_wire``) that goes on in the thread of whoever consumes the rows, and only while they are
consumed: the worker asks for its inputs as Polars needs them, narrowed, and each question becomes a query on the
engine instance that reads the model. A worker that crashes, hangs or does not keep to the protocol is killed with its
group and harms nobody else.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pyarrow as pa

from flightmesh.engine.base import Nested, PolarsModel, PolarsScan
from flightmesh.engine.polars import PolarsBounds, end_group, environment
from flightmesh.engine.polars_wire import Frame, Line, ProtocolError, predicate_of, predicate_parts, rows_of, rows_part
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import quote
from flightmesh.sources import literals
from flightmesh.sources.base import Fetch, Narrowing
from flightmesh.sources.predicate import Predicate, columns_of
from flightmesh.sources.render import Literal, Operand, render

log = logging.getLogger(__name__)

IDLE_S = 120.0
WAIT_S = 10.0
_STOP_S = 2.0  # How long a worker may take to give a read up before it is killed.
_SOON_S = 0.2  # How long whoever gives a read up waits for that.
_LOOK_S = 0.2  # How long a cancellation may go unnoticed.
_SCANS_MAX = 1_000
_WITHOUT_CODE = frozenset({"data", "__pycache__"})


class PolarsWorkers:
    """The workers of one server, at most ``workers_max`` at a time. Safe to call from many threads."""

    def __init__(
        self, *, workers_max: int, bounds: PolarsBounds, idle_s: float = IDLE_S, wait_s: float = WAIT_S
    ) -> None:
        """``bounds.seconds`` limit what a read takes without the time in which nobody consumes it; ``wait_s`` how long
        it waits for a worker; ``idle_s`` how long a worker is kept unused.
        """
        self._workers_max = workers_max
        self._bounds = bounds
        self._idle_s = idle_s
        self._wait_s = wait_s
        self._changed = threading.Condition()
        self._idle: list[_Worker] = []  # Least recently used first.
        self._alive = 0
        self._is_closed = False

    def fetch(self, scan: PolarsScan, narrowing: Narrowing, schema: pa.Schema, nested: Nested) -> Fetch:
        """The rows of the model; ``schema`` is that of the columns of the narrowing. More rows may come than the
        predicate keeps.

        Errors, also of the reader: INVALID when the author's code raises (its type, with the author's file and line)
        or returns other columns than were published; UNAVAILABLE when the worker ends; DEADLINE when it takes too
        long; EXHAUSTED when too many models are being read; what the inputs fail with.
        """
        inputs = [_schema_of(nested, name) for name in scan.inputs]
        worker = self._acquire(scan.model)
        read = _Read(self, worker, scan, inputs, nested, self._bounds.seconds)
        try:
            read.begin(schema.names, narrowing.predicate)
        except BaseException:
            read.stop()
            raise
        return Fetch(pa.RecordBatchReader.from_batches(schema, read.batches(schema)), read.stop, read.stop)

    def close(self) -> None:
        """Ends the workers: idle ones now, the others with their reads."""
        with self._changed:
            self._is_closed = True
            idle, self._idle = self._idle, []
            self._alive -= len(idle)
        for worker in idle:
            worker.end()

    def give_back(self, worker: _Worker, *, is_sound: bool) -> None:
        """Ends a read's hold of its worker."""
        with self._changed:
            is_kept = is_sound and not self._is_closed
            if is_kept:
                self._idle.append(worker)
                worker.expire_in(self._idle_s, self._expire)
            else:
                self._alive -= 1
            self._changed.notify()
        if not is_kept:
            worker.end()

    def _acquire(self, model: PolarsModel) -> _Worker:
        key = _key(model)
        with self._changed:
            if not self._changed.wait_for(lambda: self._alive < self._workers_max or self._idle, self._wait_s):
                fact = "Too many Polars models are being read."
                raise FlightmeshError(ErrorCode.EXHAUSTED, fact, hint="Try again later.")
            worker = next((worker for worker in self._idle if worker.key == key), None)
            unfit = None
            if worker is None and self._alive >= self._workers_max:
                unfit = self._idle.pop(0)
            elif worker is None:
                self._alive += 1
            else:
                self._idle.remove(worker)
        if unfit is not None:
            unfit.end()
        if worker is not None:
            worker.take()
            if worker.is_alive():
                return worker
            worker.end()
        return self._started(key)

    def _started(self, key: tuple[str, ...]) -> _Worker:
        try:
            return _Worker.start(key, self._bounds.threads)
        except OSError as error:
            log.error("polars.start.failed", exc_info=error)
            with self._changed:
                self._alive -= 1
                self._changed.notify()
            raise FlightmeshError(ErrorCode.UNAVAILABLE, "No process can be started for a Polars model.") from None

    def _expire(self, worker: _Worker) -> None:
        with self._changed:
            if worker not in self._idle:
                return
            self._idle.remove(worker)
            self._alive -= 1
            self._changed.notify()
        worker.end()


@dataclass(eq=False, slots=True)
class _Worker:
    """A process with one end of a socket. Its open stdin tells it that the server is alive."""

    key: tuple[str, ...]
    process: subprocess.Popen[bytes]
    line: Line
    errors: IO[bytes]
    folder: tempfile.TemporaryDirectory[str]
    expiry: threading.Timer | None = field(default=None, init=False)

    @classmethod
    def start(cls, key: tuple[str, ...], threads: int) -> _Worker:
        ours, theirs = socket.socketpair()
        ours.settimeout(_LOOK_S)
        folder = tempfile.TemporaryDirectory(prefix="flightmesh-polars-")
        errors = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - the worker's for as long as it lives
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "flightmesh.engine.polars_worker", str(theirs.fileno())],
                cwd=folder.name,
                env=environment(threads),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        return cls(key, process, Line(ours), errors, folder)

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def expire_in(self, seconds: float, expire: Callable[[_Worker], None]) -> None:
        """Calls ``expire`` then, unless it is taken before."""
        self.expiry = threading.Timer(seconds, expire, [self])
        self.expiry.daemon = True
        self.expiry.start()

    def take(self) -> None:
        """Ends its idleness."""
        if self.expiry is not None:
            self.expiry.cancel()

    def end(self) -> None:
        """Kills it and whatever it started."""
        self.take()
        end_group(self.process)
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.line.end.close()
        self.errors.close()
        self.folder.cleanup()

    def last_words(self) -> str:
        """The end of what it wrote to stderr."""
        size = self.errors.seek(0, os.SEEK_END)
        self.errors.seek(max(0, size - 500))
        return self.errors.read().decode(errors="replace").strip()


class _Read:
    """One conversation with a worker. ``stop`` may come from any thread, also while another consumes."""

    def __init__(
        self,
        workers: PolarsWorkers,
        worker: _Worker,
        scan: PolarsScan,
        inputs: Sequence[pa.Schema],
        nested: Nested,
        seconds: float,
    ) -> None:
        self._workers = workers
        self._worker = worker
        self._line = worker.line
        self._scan = scan
        self._inputs = inputs
        self._nested = nested
        self._seconds = self._left_s = seconds
        self._deadline = math.inf
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # Held by whoever talks to the worker.
        self._fetches: list[Fetch] = []
        self._is_stopped = False
        self._is_settled = False
        self._owes = False  # Whether the worker waits for an answer.

    def begin(self, columns: Sequence[str], predicate: Predicate | None) -> None:
        """Asks the worker for the rows."""
        published, model = self._scan.schema, self._scan.model
        tree, values = predicate_parts(predicate)
        schemas = [schema.serialize() for schema in (published, *self._inputs)]
        self._line.look = self._look
        job = {"folder": str(model.folder.resolve()), "file": model.file, "function": model.function}
        asked = {"columns": columns, "predicate": tree, "inputs": len(self._inputs)}
        with self._talking():
            self._line.say("read", *schemas, *values, **job, **asked)

    def batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows, as long as they are consumed."""
        try:
            while (batch := self._next(schema)) is not None:
                yield batch
        finally:
            self.stop()

    def stop(self) -> None:
        """Gives the read up, unless it is over; a worker that gives it up in time is kept."""
        with self._lock:
            if self._is_stopped:
                return
            self._is_stopped = True
            fetches = list(self._fetches)
        for fetch in fetches:
            fetch.cancel()
        if not self._is_settled:
            ending = threading.Thread(target=self._wind_up, name="flightmesh-polars-stop", daemon=True)
            ending.start()
            # Whoever reads next would start another worker.
            ending.join(_SOON_S)

    @contextmanager
    def _talking(self) -> Iterator[None]:
        """A turn of the consumer's; whatever the worker does wrong in it is named. Bounded in time."""
        with self._turn:
            self._deadline = time.monotonic() + self._left_s
            try:
                self._look()
                yield
            except (EOFError, OSError) as error:
                raise self._ended() from error
            except ProtocolError as error:
                raise self._refused("it returned malformed data.") from error
            finally:
                self._left_s = self._deadline - time.monotonic()

    def _next(self, schema: pa.Schema) -> pa.RecordBatch | None:
        with self._talking():
            if self._owes:
                self._answer("more")
            while True:
                frame = self._line.hear()
                self._owes = frame.does not in ("done", "fault")
                match frame:
                    case Frame("scan"):
                        self._open(frame)
                    case Frame("next", {"number": int(number)}) if 0 <= number < len(self._fetches):
                        self._pass_on(self._fetches[number])
                    case Frame("batch", _, (part,)):
                        return _fitting(part, schema)
                    case Frame("done"):
                        self._settle(is_sound=True)
                        return None
                    case Frame("fault", {"message": str(message)}):
                        self._settle(is_sound=False)
                        raise self._refused(message, frame.header.get("hint"))
                    case _:
                        raise ProtocolError

    def _open(self, frame: Frame) -> None:
        """A scan of an input begins."""
        match frame.header:
            case {"input": int(index), "columns": [_, *_] as columns, "predicate": tree, "limit": limit}:
                pass
            case _:
                raise ProtocolError
        if not 0 <= index < len(self._inputs) or len(self._fetches) >= _SCANS_MAX:
            raise ProtocolError
        schema = self._inputs[index]
        if any(not isinstance(column, str) or column not in schema.names for column in columns):
            raise ProtocolError
        if limit is not None and (not isinstance(limit, int) or limit < 0):
            raise ProtocolError
        predicate = predicate_of(tree, frame.parts, schema)
        fetch = self._nested(_select(self._scan.inputs[index], columns, predicate, limit))
        with self._lock:
            self._fetches.append(fetch)
            is_stopped = self._is_stopped
        if is_stopped:
            fetch.cancel()
        self._answer("opened", number=len(self._fetches) - 1)

    def _pass_on(self, fetch: Fetch) -> None:
        """The next rows of an input."""
        for batch in fetch.reader:
            if batch.num_rows:
                self._answer("batch", rows_part(batch))
                return
        self._answer("end")

    def _answer(self, does: str, *parts: pa.Buffer, **header: object) -> None:
        self._line.say(does, *parts, **header)
        self._owes = False

    def _look(self) -> None:
        if self._is_stopped:
            raise FlightmeshError(ErrorCode.CANCELLED, "The read was cancelled.")
        if time.monotonic() > self._deadline:
            message = f"Model {self._scan.model.name} took longer than {self._seconds:g} seconds."
            raise FlightmeshError(ErrorCode.DEADLINE, message, hint="Ask for less, or the operator for more time.")

    def _wind_up(self) -> None:
        """Ends a conversation that nobody consumes any more."""
        with self._turn:
            if not self._is_settled:
                self._settle(is_sound=self._line.is_whole and self._gives_up())

    def _gives_up(self) -> bool:
        """Whether the worker lets go of the read in time."""
        end = time.monotonic() + _STOP_S

        def look() -> None:
            if time.monotonic() > end:
                raise EOFError

        self._line.look = look
        try:
            if self._owes:
                self._answer("stop")
            while (does := self._line.hear().does) not in ("done", "fault"):
                look()
                self._answer("stop")
        except (EOFError, OSError, ProtocolError):
            return False
        return does == "done"

    def _settle(self, *, is_sound: bool) -> None:
        """Gives back what the read holds; whoever calls has the turn."""
        self._line.look = _nothing
        with self._lock:
            self._is_settled = True
            fetches, self._fetches = self._fetches, []
        for fetch in fetches:
            fetch.close()
        self._workers.give_back(self._worker, is_sound=is_sound)

    def _ended(self) -> FlightmeshError:
        """The worker is gone."""
        end_group(self._worker.process)
        status = self._worker.process.returncode
        log.error("polars.ended model=%s status=%s: %s", self._scan.model.name, status, self._worker.last_words())
        message = f"Model {self._scan.model.name}: its worker ended without an answer (status {status})."
        return FlightmeshError(ErrorCode.UNAVAILABLE, message, hint="The server's log says more.")

    def _refused(self, message: str, detail: object = None) -> FlightmeshError:
        """The author's mistake; the detail may quote data and is for the log alone."""
        log.warning("polars.refused model=%s: %s %s", self._scan.model.name, message, detail or "")
        return FlightmeshError(ErrorCode.INVALID, f"Model {self._scan.model.name}: {message[:300]}")


def _nothing() -> None:
    """What an idle line looks for."""


def _fitting(part: bytearray, schema: pa.Schema) -> pa.RecordBatch:
    """The rows of a result. ProtocolError unless they have exactly the schema."""
    batch = rows_of(part)
    if batch.schema != schema:
        raise ProtocolError
    return batch


def _schema_of(nested: Nested, relation: str) -> pa.Schema:
    fetch = nested(f"SELECT * FROM {relation} LIMIT 0")
    try:
        return fetch.reader.schema
    finally:
        fetch.close()


def _select(relation: str, columns: Sequence[str], predicate: Predicate | None, limit: int | None) -> str:
    operands = {name: Operand(quote(name), _literal, quote(name), quote(name)) for name in columns_of(predicate)}
    condition = render(predicate, operands).sql
    where = "" if condition is None else f" WHERE {condition}"
    most = "" if limit is None else f" LIMIT {limit}"
    return f"SELECT {', '.join(map(quote, columns))} FROM {relation}{where}{most}"


def _literal(value: pa.Scalar) -> str | None:
    """The value for DuckDB. By its own type: the column's says nothing about what a worker sends."""
    return next((spell(value) for fits, spell in _SPELLED if fits(value.type)), None)


_SPELLED: tuple[tuple[Callable[[pa.DataType], bool], Literal], ...] = (
    (pa.types.is_boolean, literals.boolean),
    (pa.types.is_integer, literals.integer),
    (pa.types.is_floating, literals.duckdb_float),
    (pa.types.is_decimal, literals.decimal_number),
    (pa.types.is_string, literals.text),
    (pa.types.is_date, literals.date),
    (pa.types.is_timestamp, literals.timestamp),
)


def _key(model: PolarsModel) -> tuple[str, ...]:
    """What a worker is kept for: the function, and the content of all Python files that it may import."""
    root = (model.folder / model.file).parent
    digest = hashlib.sha256()
    try:
        for folder, inner, files in os.walk(root):
            inner[:] = sorted(name for name in inner if not name.startswith(".") and name not in _WITHOUT_CODE)
            for name in sorted(file for file in files if file.endswith(".py")):
                content = Path(folder, name).read_bytes()
                digest.update(f"{Path(folder, name).relative_to(root)}\0{len(content)}\0".encode() + content)
    except OSError as error:
        raise FlightmeshError(ErrorCode.UNAVAILABLE, f"Model {model.name}: its code cannot be read.") from error
    return (str(model.folder), model.file, model.function, digest.hexdigest())

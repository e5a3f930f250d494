"""A client in another language: a process that answers requests, and the folder in which it was built.

One JSON request per line goes in, with a number and the name of an operation; one JSON answer per line comes out, with
that number and ``answer``, ``refused`` (the client's own error) or ``broken`` (an error of the bridge's).
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.wire.client import Refused

_ROOT = Path(__file__).parents[2]


def place(name: str) -> Path:
    """Where what one language needs is built, which need not be there yet."""
    return Path(os.environ.get("FLIGHTMESH_WIRE_CACHE") or _ROOT / ".wire") / name


@contextmanager
def cache(name: str) -> Iterator[Path]:
    """The folder of one language, for this process alone until the block ends: several of pytest's may build."""
    folder = place(name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder.parent / ".gitignore").write_text("*\n")  # also where the checkout's own does not name the folder
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def digest(files: Iterable[Path]) -> str:
    """A short name for the content of files."""
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


def make(target: Path, fill: Callable[[Path], None]) -> Path:
    """The folder, filled unless it is there: it is there complete or not at all."""
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=target.parent, ignore_cleanup_errors=True) as scratch:
            unfinished = Path(scratch) / "unfinished"
            unfinished.mkdir()
            fill(unfinished)
            unfinished.rename(target)
    return target


def run(*command: str | Path, folder: Path, environment: Mapping[str, str] | None = None) -> None:
    """Runs a program to its end; raises AssertionError with what it said if it failed."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command[0]} failed:\n{done.stdout[-4000:]}"


class Bridge:
    """A running bridge, asked by any number of threads."""

    def __init__(self, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._log = log.open("a")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            encoding="utf-8",
            env={**os.environ, **(environment or {})},
        )
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[Mapping[str, Any]]] = {}
        self._lock = threading.Lock()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def ask(self, op: str, **members: Any) -> Any:  # Any: what JSON carries
        """The bridge's answer; raises ``Refused`` for an error of the client's, AssertionError for one of its own."""
        future: Future[Mapping[str, Any]] = Future()
        with self._lock:
            assert self._process.stdin is not None
            number = next(self._numbers)
            self._waiting[number] = future
            self._process.stdin.write(json.dumps({"id": number, "op": op, **members}) + "\n")
            self._process.stdin.flush()
        reply = future.result(timeout=110)
        if "refused" in reply:
            raise Refused(reply["refused"])
        assert "broken" not in reply, reply["broken"]
        return reply["answer"]

    def stop(self) -> None:
        """Ends the process, which ends by itself at the end of its input."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(10)
        self._log.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            reply = json.loads(line)
            self._waiting.pop(reply["id"]).set_result(reply)
        self._process.stdout.close()
        for future in list(self._waiting.values()):
            future.set_result({"broken": f"the process is gone; its log: {self._log.name}"})

"""A real PostgreSQL server of a test's own: a fresh cluster on a free port, each statement in its log, gone afterwards.

It is made hostile where a default would hide mistakes: its collation is not that of bytes.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import adbc_driver_postgresql.dbapi
import pyarrow as pa

_START_S = 30.0


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server. ``uri`` is for the superuser ``flightmesh`` and the database ``postgres``; no password."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    binaries: Path
    started: list[subprocess.Popen[bytes]]

    @property
    def uri(self) -> str:
        return self.uri_of("postgres")

    def uri_of(self, database: str) -> str:
        return f"postgresql://flightmesh@127.0.0.1:{self.port}/{database}"

    def run(self, *statements: str, database: str = "postgres") -> None:
        """Runs each statement in a transaction of its own."""
        for statement in statements:
            with adbc_driver_postgresql.dbapi.connect(self.uri_of(database), autocommit=True) as connection:
                connection.cursor().execute(statement).close()

    def ingest(self, table: str, rows: pa.Table, *, database: str = "postgres") -> None:
        """A new table with these rows."""
        with (
            adbc_driver_postgresql.dbapi.connect(self.uri_of(database)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.adbc_ingest(table, rows, mode="create")
            connection.commit()

    def statements(self) -> str:
        """The log with every statement that the server was sent so far."""
        return (self.folder / "log").read_text(errors="replace")

    def pause(self) -> None:
        """SIGSTOP for the server and all of its processes: it accepts connections and says nothing."""
        # The postmaster first: each server process is a session of its own, and it could start more of them.
        for pid in (self.process.pid, *_children(self.process.pid)):
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        for pid in (*_children(self.process.pid), self.process.pid):
            os.kill(pid, signal.SIGCONT)

    def stop(self) -> None:
        """Ends the server at once; ``start`` brings the same cluster back on the same port."""
        self.process.send_signal(signal.SIGINT)  # A fast shutdown.
        self.process.wait(_START_S)

    def start(self) -> Postgres:
        """The same cluster, running again."""
        return _started(self.folder, self.port, self.binaries, self.started)


def find_postgres() -> Path | None:
    """The folder with the newest server on this machine; None without one."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path else None


@contextmanager
def running_postgres(binaries: Path) -> Iterator[Postgres]:
    """A server that answers while the block runs. Whatever runs in its folder at the end is ended."""
    folder = Path(tempfile.mkdtemp(prefix="flightmesh-pg-"))
    try:
        if os.getuid() == 0:
            shutil.chown(folder, _unprivileged())
        command: list[str | Path] = [binaries / "initdb", "-D", folder / "data", "-U", "flightmesh", "-A", "trust"]
        encoding = ["-E", "UTF8", "-N", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"]
        subprocess.run([*command, *encoding], check=True, capture_output=True, timeout=_START_S, user=_user())
        server = _started(folder, _free_port(), binaries, [])
        try:
            yield server
        finally:
            _end(folder)
            for process in server.started:
                process.wait(_START_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _started(folder: Path, port: int, binaries: Path, started: list[subprocess.Popen[bytes]]) -> Postgres:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": str(folder),
        "fsync": "off",
        "log_statement": "all",
        "max_connections": "60",
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [binaries / "postgres", "-D", folder / "data", *options],
            stdout=log,
            stderr=log,
            start_new_session=True,
            user=_user(),
        )
    started.append(process)
    server = Postgres(folder, port, process, binaries, started)
    end = time.monotonic() + _START_S
    while True:
        try:
            server.run("SELECT 1")
            return server
        except adbc_driver_postgresql.dbapi.Error:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"PostgreSQL does not start: {server.statements()[-2000:]}") from None
            time.sleep(0.05)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _end(folder: Path) -> None:
    """Ends the server whose process id its folder names, also one that a test started anew."""
    with suppress(FileNotFoundError, ProcessLookupError):
        pid = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        os.killpg(pid, signal.SIGCONT)
        os.kill(pid, signal.SIGQUIT)
        end = time.monotonic() + _START_S
        while (folder / "data" / "postmaster.pid").exists() and time.monotonic() < end:
            time.sleep(0.02)


def _user() -> str | None:
    """Who runs the server: it refuses to be root. None: whoever runs the tests."""
    return _unprivileged() if os.getuid() == 0 else None


def _unprivileged() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""An object store on this machine, for sources that lie in one."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.fs as arrow_fs
import pytest
from moto.server import ThreadedMotoServer

SECRET_KEY = "canary-secret-key"


@dataclass(frozen=True)
class ObjectStore:
    """A server that speaks S3, with one bucket, ``lake``."""

    port: int

    @property
    def options(self) -> dict[str, Any]:
        """The options of a source that reads from it."""
        address = {"endpoint_override": f"127.0.0.1:{self.port}", "scheme": "http", "region": "eu-central-1"}
        return {**address, "access_key": "reader", "secret_key": SECRET_KEY}

    @property
    def filesystem(self) -> arrow_fs.FileSystem:
        """A way to write to it."""
        return arrow_fs.S3FileSystem(**self.options, allow_bucket_creation=True)

    def put(self, key: str, content: bytes) -> None:
        """Writes an object into the bucket."""
        with self.filesystem.open_output_stream(f"lake/{key}") as stream:
            stream.write(content)


@pytest.fixture(scope="session")
def object_server() -> Iterator[ObjectStore]:
    """The server, one for all tests."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield ObjectStore(server.get_host_and_port()[1])
    finally:
        server.stop()


@pytest.fixture
def objects(object_server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """The server with an empty bucket, and no credentials in the environment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    object_server.filesystem.create_dir("lake")
    object_server.filesystem.delete_dir_contents("lake")
    return object_server


@pytest.fixture
def silent() -> Iterator[ObjectStore]:
    """A server that takes connections and never answers."""
    listener = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                held.append(listener.accept()[0])
            except OSError:
                return

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield ObjectStore(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for connection in held:
            connection.close()


@pytest.fixture
def nobody() -> ObjectStore:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return ObjectStore(listener.getsockname()[1])

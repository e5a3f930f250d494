"""Products over real sources, served by real servers: what the tests of live reading stand on."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

import flightmesh
from flightmesh import app
from flightmesh.client import Client
from flightmesh.config import Config, Limits

Columns = Mapping[str, str]
_LOGICAL = {"VARCHAR": "string", "BOOLEAN": "boolean", "DATE": "date"}


def write_product(
    folder: Path,
    name: str,
    sources: str,
    models: str,
    ports: Mapping[str, Columns],
    *,
    policies: str = '- {grant: read, port: "*", to: ["*", anonymous]}',
) -> Path:
    """A product whose ports have the names of their models; ``ports`` are the columns of each with their SQL types."""
    listed = "\n".join(f"{port}: {{model: {port}, contract: contracts/{port}.odcs.yaml}}" for port in ports)
    manifest = f"flightmesh: v1\nproduct: {name}\nversion: 1.0.0\ntitle: A test\nowner: {{team: lab}}\n"
    for key, text in {"sources": sources, "models": models, "ports": listed}.items():
        body = textwrap.dedent(text).strip("\n")
        manifest += f"{key}:\n{textwrap.indent(body, '  ')}\n"
    manifest += f"policies:\n{textwrap.dedent(policies).strip()}\n"
    (folder / "contracts").mkdir(parents=True, exist_ok=True)
    (folder / "product.yaml").write_text(manifest)
    for port, columns in ports.items():
        (folder / "contracts" / f"{port}.odcs.yaml").write_text(contract(port, columns))
    return folder


def contract(port: str, columns: Columns) -> str:
    """A contract with these columns and nothing else."""
    properties = "\n".join(
        f"  - {{name: {json.dumps(name)}, logicalType: {_logical(kind)}, physicalType: {json.dumps(kind)}}}"
        for name, kind in columns.items()
    )
    head = f"apiVersion: v3.1.0\nkind: DataContract\nid: test-{port}\nversion: 1.0.0\nstatus: active\n"
    return f"{head}schema:\n- name: {port}\n  properties:\n{properties}\n"


def _logical(kind: str) -> str:
    if kind in _LOGICAL:
        return _LOGICAL[kind]
    if kind.startswith("TIMESTAMP"):
        return "timestamp"
    return "integer" if kind.endswith("INT") or kind == "INTEGER" else "number"


class Live:
    """A server in this process, and an anonymous client of it."""

    def __init__(self, application: app.Application, client: Client) -> None:
        self.application = application
        self.client = client
        self.uri = application.ready.uri

    def rows(self, sql: str) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = self.table(sql).to_pylist()
        return rows

    def table(self, sql: str) -> pa.Table:
        return self.client.sql(sql).arrow()

    def reload(self) -> None:
        self.application.node.reload()


@contextmanager
def live_server(folder: Path, *products: Path, limits: Limits | None = None) -> Iterator[Live]:
    """A server over the products while the block runs; its state is below the folder and stays."""
    config = Config(port=0, products=products, state=folder / "state", threads=2, limits=limits or Limits(drain_s=2))
    with app.running(config, on_progress=lambda _: None) as application:
        try:
            with flightmesh.connect(application.ready.uri, timeout_s=60) as client:
                yield Live(application, client)
        finally:
            application.stop()


@pytest.fixture
def asked() -> Callable[[str, str], list[str]]:
    """The statements of a PostgreSQL log that hold a text, without the reads of the catalogue."""
    return lambda log, text: [line for line in log.splitlines() if text in line and "pg_catalog.pg_class" not in line]

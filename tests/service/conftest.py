"""A node's services over one small product, without a listener, under a clock that tests set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from flightmesh.build.catalog import load_catalog
from flightmesh.catalog.snapshot import Snapshot
from flightmesh.catalog.store import Store
from flightmesh.catalog.temporary import SessionFiles
from flightmesh.config import Limits
from flightmesh.engine.duckdb import DuckDBEngine
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flightsql.handles import Signer
from flightmesh.planner.pipeline import Planner
from flightmesh.service.admission import Admission
from flightmesh.service.authn import ANONYMOUS_PRINCIPAL, Principal
from flightmesh.service.bindings import Bindings
from flightmesh.service.explain import Explanations
from flightmesh.service.generations import Generations
from flightmesh.service.products import Products
from flightmesh.service.queries import Queries, Running
from flightmesh.service.running import RunningQueries
from flightmesh.service.sessions import OptionValue, Session, Sessions
from flightmesh.service.statements import Statements
from flightmesh.service.temporary import Temporaries
from flightmesh.service.updates import Ingest, Updates

KEY = b"k" * 32
START = 1_000_000.0

_PRODUCT = """\
flightmesh: v1
product: lab.readings
version: 1.2.0
title: Readings of a laboratory
owner: {team: lab}
sources:
  raw: {type: csv, path: raw.csv}
models:
  points: {from: raw, keep: [n, v]}
ports:
  points: {model: points, contract: points.odcs.yaml}
  secrets: {model: points, contract: secrets.odcs.yaml}
policies:
- {grant: read, port: points, to: ["*", anonymous]}
- {grant: read, port: secrets, to: "role:analyst"}
"""
_CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: lab-NAME-1
version: 1.0.0
status: active
schema:
- name: NAME
  properties:
  - {name: n, logicalType: integer, physicalType: BIGINT, primaryKey: true, primaryKeyPosition: 1, required: true}
  - {name: v, logicalType: integer, physicalType: BIGINT, description: What was read., classification: public}
"""


@dataclass
class Clock:
    """Seconds since 1970, as the test says."""

    now: float = START

    def __call__(self) -> float:
        return self.now


class Call:
    """One call that nobody stops but the test: what the Flight door's watch is to the services."""

    def __init__(self) -> None:
        self.failure: FlightmeshError | None = None
        self._cancel: Callable[[], None] | None = None

    @contextmanager
    def cancelling(self, cancel: Callable[[], None]) -> Iterator[None]:
        self._cancel = cancel
        if self.failure is not None:
            cancel()
        try:
            yield
        finally:
            self._cancel = None

    def stop(self, code: ErrorCode, fact: str) -> None:
        self.failure = self.failure or FlightmeshError(code, fact)
        if self._cancel is not None:
            self._cancel()


@dataclass
class Bench:
    """The services of one node over the product in ``folder``."""

    folder: Path
    store: Store
    limits: Limits
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.engine = DuckDBEngine(
            threads=1,
            memory_bytes=200_000_000,
            spill=self.store.state / "spill",
            spill_bytes=1_000_000,
            instances_max=4,
        )
        self.generations = Generations(
            self.load(),
            mask_key=KEY,
            limits=self.limits,
            clock=self.clock,
            on_lease=self.store.lease,
            find=self.store.load,
        )
        self.planner = Planner(self.limits, self.generations.twin)
        self.admission = Admission(self.limits)
        self.sessions = Sessions(self.limits, self.clock)
        self.running = RunningQueries(frozenset({"steward"}), self.clock)
        self.temporaries = Temporaries(SessionFiles(self.store.state / "sessions"), self.limits, self.clock)
        self.statements = Statements(
            generations=self.generations,
            planner=self.planner,
            engine=self.engine,
            admission=self.admission,
            temporaries=self.temporaries,
        )
        self.explanations = Explanations(
            self.generations, self.planner, lambda _plan: (), self.admission, self.limits, self.statements.scope
        )
        self.updates = Updates(
            statements=self.statements,
            temporaries=self.temporaries,
            sessions=self.sessions,
            running=self.running,
            explanations=self.explanations,
            limits=self.limits,
        )
        self.queries = self.new_queries()
        self.products = Products(self.generations, self.planner, self.limits)

    def new_queries(self) -> Queries:
        """The queries of a node with the same key and state, as a restart makes them."""
        self.bindings = Bindings(self.limits, self.clock, self.store.state / "bindings")
        return Queries(
            generations=self.generations,
            statements=self.statements,
            updates=self.updates,
            running=self.running,
            bindings=self.bindings,
            signer=Signer(KEY),
            limits=self.limits,
            clock=self.clock,
        )

    def write(self, *values: int) -> None:
        """Replaces the data: one row for each value, numbered from 0."""
        (self.folder / "raw.csv").write_text("n,v\n" + "".join(f"{n},{v}\n" for n, v in enumerate(values)))

    def load(self, previous: Snapshot | None = None) -> Snapshot:
        """The product as it lies in its folder now, published to the store."""
        with self.store.building():
            snapshot = load_catalog([self.folder], self.store, lambda _product, _text: None, previous=previous)
            self.store.publish(snapshot)
        return snapshot

    def reload(self) -> Snapshot:
        """Loads, and publishes to the services as well."""
        snapshot = self.load(self.generations.current)
        self.generations.publish(snapshot)
        return snapshot

    def session(
        self,
        *roles: str,
        name: str = "ann",
        id: str = "s",
        catalog: str | None = None,
        schema: str | None = None,
        **options: OptionValue,
    ) -> Session:
        """A session of a user with these roles; without any, of the anonymous."""
        principal = Principal(name, frozenset(roles)) if roles else ANONYMOUS_PRINCIPAL
        return Session(id, principal, self.clock.now, self.clock.now, catalog, schema, options)

    def rows(self, sql: str, session: Session | None = None, transaction: str | None = None) -> list[Any]:
        """The rows of a SELECT; without a session, of that of ``ann``."""
        found = self.read(self.queries.run_sql(session or self.session("visitor"), sql, transaction))
        return list(zip(*(column.to_pylist() for column in found.columns), strict=True))

    def run(
        self,
        sql: str,
        values: pa.RecordBatch | None = None,
        *,
        session: Session | None = None,
        transaction: str | None = None,
    ) -> int:
        """Executes a statement that writes, in the session of ``ann`` unless another is given."""
        return self.updates.run(session or self.session("visitor"), sql, values, Call(), transaction)

    def put(self, name: str, *, session: Session | None = None, **columns: pa.Array) -> int:
        """A temporary table of these columns, in place of one of that name."""
        batch = pa.record_batch(columns)
        target = Ingest(name, "replace", "create")
        return self.updates.ingest(session or self.session("visitor"), target, batch.schema, iter([batch]), Call())

    def read(self, running: Running) -> pa.Table:
        """All rows of a running statement, as the Flight door reads them."""
        batches = []
        with running.open(Call()) as executions:
            for execution in executions:
                batches += list(execution.start())
        return pa.Table.from_batches(batches, running.schema)


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Builds the services; limits by name."""
    made: list[Bench] = []

    def make(**limits: float) -> Bench:
        folder = tmp_path / "product"
        folder.mkdir()
        (folder / "product.yaml").write_text(_PRODUCT)
        for port in ("points", "secrets"):
            (folder / f"{port}.odcs.yaml").write_text(_CONTRACT.replace("NAME", port))
        (folder / "raw.csv").write_text("n,v\n0,10\n1,20\n2,30\n")
        (tmp_path / "state").mkdir()
        made.append(Bench(folder, Store(tmp_path / "state"), Limits(**limits)))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for bench in made:
        bench.engine.close()
        bench.store.close()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """The services with the limits as they come."""
    return make_bench()

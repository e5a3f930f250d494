"""Statements that a source's own database runs: the stream passes through, and what is held is given back."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pytest

from flightmesh.engine.base import Execution, InstanceSpec, Plan, RemoteQuery
from flightmesh.engine.remote import RemoteEngine
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.model import Source
from flightmesh.sources.base import Fetch, SourceHandle
from flightmesh.sources.refusal import StatementRefused
from flightmesh.sources.registry import SourceRef, Sources

SCHEMA = pa.schema([("c", pa.int64())])
TABLES: Mapping[tuple[str, ...], pa.Schema] = {("tms", "legs"): pa.schema([("id", pa.int64())])}
REF = SourceRef("lab.tests", "tms", Path(), Source.model_validate({"type": "postgres", "uri": "postgresql://h/d"}))
PLAN = Plan(
    "remote",
    InstanceSpec("none", (), ()),
    "",
    (),
    (),
    1_024,
    remote=RemoteQuery(REF, "SELECT count(*)", SCHEMA, TABLES),
)


@dataclass
class _Database:
    """A database that answers with two batches."""

    dialect: str = "postgres"
    asked: list[str] = field(default_factory=list)
    happened: list[str] = field(default_factory=list)
    fails: Exception | None = None
    waits: threading.Event | None = None
    is_asked: threading.Event = field(default_factory=threading.Event)

    def relation(self, path: tuple[str, ...]) -> tuple[str, ...]:
        return path

    def plain_columns(self, path: tuple[str, ...]) -> frozenset[str]:
        return frozenset()

    def query(self, sql: str, schema: pa.Schema, tables: Mapping[tuple[str, ...], pa.Schema]) -> Fetch:
        assert tables is TABLES
        self.asked.append(sql)
        self.is_asked.set()
        if self.waits is not None:
            assert self.waits.wait(10)

        def batches() -> Iterator[pa.RecordBatch]:
            if isinstance(self.fails, StatementRefused):
                raise self.fails
            yield pa.RecordBatch.from_pydict({"c": [1, 2]}, schema=schema)
            if self.fails is not None:
                raise self.fails
            yield pa.RecordBatch.from_pydict({"c": [3]}, schema=schema)

        reader = pa.RecordBatchReader.from_batches(schema, batches())
        return Fetch(reader, lambda: self.happened.append("cancel"), lambda: self.happened.append("close"))


class _Sources(Sources):
    """Sources of which there is one."""

    def __init__(self, database: _Database | None) -> None:
        super().__init__()
        self._database = database

    def open(self, ref: SourceRef) -> SourceHandle:
        assert ref is REF
        tables: Mapping[tuple[str, ...], object] = {}
        return SourceHandle("tms", tables, self._database)  # type: ignore[arg-type]


@dataclass
class _Here:
    """The engine that runs what a database refuses."""

    happened: list[str] = field(default_factory=list)

    def execute(self, plan: Plan) -> Execution:
        assert plan is PLAN
        rows = pa.RecordBatch.from_pydict({"c": [7]}, schema=SCHEMA)
        return Execution(
            lambda: pa.RecordBatchReader.from_batches(SCHEMA, [rows]),
            lambda: self.happened.append("cancel"),
            lambda: self.happened.append("close"),
            lambda error: FlightmeshError(ErrorCode.INVALID, "Told here."),
        )


def _remote(sources: Sources, here: _Here | None = None) -> RemoteEngine:
    return RemoteEngine(sources, here or _Here())


def test_the_rows_of_the_database_pass_through() -> None:
    """The statement is sent as it was written, once it is started and not before, and its rows come whole."""
    database = _Database()
    execution = _remote(_Sources(database)).execute(PLAN)
    assert database.asked == []
    assert execution.start().read_all()["c"].to_pylist() == [1, 2, 3]
    execution.close()
    execution.close()
    assert database.asked == ["SELECT count(*)"]
    assert database.happened == ["close"]


def test_a_statement_that_was_never_started_asks_nothing() -> None:
    """A client that vanishes before it reads must not cost the database a query."""
    database = _Database()
    execution = _remote(_Sources(database)).execute(PLAN)
    execution.cancel()
    execution.close()
    assert (database.asked, database.happened) == ([], [])


def test_a_running_statement_can_be_stopped() -> None:
    """The database is told to stop, and its connection goes back."""
    database = _Database()
    execution = _remote(_Sources(database)).execute(PLAN)
    execution.start().read_next_batch()
    execution.cancel()
    execution.close()
    assert database.happened == ["cancel", "close"]


def test_a_stop_while_the_database_thinks_holds() -> None:
    """Between asking and answering a client goes away: what the database then gives is given back at once."""
    database = _Database(waits=threading.Event())
    execution = _remote(_Sources(database)).execute(PLAN)
    failures: list[FlightmeshError] = []

    def start() -> None:
        try:
            execution.start()
        except FlightmeshError as error:
            failures.append(error)

    starting = threading.Thread(target=start)
    starting.start()
    assert database.is_asked.wait(10)
    execution.cancel()
    execution.close()
    assert database.waits is not None
    database.waits.set()
    starting.join(10)
    assert [failure.code for failure in failures] == [ErrorCode.CANCELLED]
    assert database.happened[-1] == "close"


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        (FlightmeshError(ErrorCode.DEADLINE, "Source tms: silent."), ErrorCode.DEADLINE, "Source tms: silent."),
        (ValueError("password=hunter2"), ErrorCode.UNAVAILABLE, "A source cannot be read."),
    ],
)
def test_a_failing_stream_is_told_in_fit_words(fault: Exception, code: ErrorCode, message: str) -> None:
    """The source's own error comes through with its code; a driver's text does not come through at all."""
    execution = _remote(_Sources(_Database(fails=fault))).execute(PLAN)
    reader = execution.start()
    assert reader.read_next_batch().num_rows == 2
    with pytest.raises(type(fault)) as raised:
        reader.read_next_batch()
    told = execution.explain(raised.value)
    execution.close()
    assert (told.code, told.message) == (code, message)
    assert "hunter2" not in str(told)


def test_a_source_that_takes_no_statements_any_more() -> None:
    """A reload may change the kind of a source under a plan: the reader is told to try again."""
    execution = _remote(_Sources(None)).execute(PLAN)
    with pytest.raises(FlightmeshError, match="Source tms: takes no statements"):
        execution.start()
    execution.close()


def test_what_the_database_refuses_is_run_here() -> None:
    """A value that only the database stumbles over would make a statement fail that has an answer."""
    refused = StatementRefused(ErrorCode.INVALID, "Source tms: does not take the statement as a whole.")
    database, here = _Database(fails=refused), _Here()
    execution = _remote(_Sources(database), here).execute(PLAN)
    assert execution.start().read_all()["c"].to_pylist() == [7]
    assert database.happened == ["close"]
    assert execution.explain(ValueError("text")).message == "Told here."
    execution.cancel()
    execution.close()
    assert here.happened == ["cancel", "close"]

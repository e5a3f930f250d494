"""Whole statements, run by the database whose tables they read; the rows stream through untouched.

A database that takes the statement for wrong, or fails over a value before its first row, is not the last word: then
the engine runs the same plan over the tables, and its answer or its error counts.
"""

from __future__ import annotations

import itertools
import logging
import threading

import pyarrow as pa

from flightmesh.engine.base import Engine, Execution, Plan, RemoteQuery
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.sources.base import Fetch
from flightmesh.sources.refusal import StatementRefused
from flightmesh.sources.registry import Sources
from flightmesh.telemetry import count

log = logging.getLogger(__name__)


class RemoteEngine:
    """Runs plans on the databases of sources. Safe to call from many threads."""

    def __init__(self, sources: Sources, otherwise: Engine) -> None:
        """``otherwise`` runs what a database refuses."""
        self._sources = sources
        self._otherwise = otherwise

    def execute(self, plan: Plan) -> Execution:
        """The statement, not started: nothing is held before it is."""
        assert plan.remote is not None, "the router sends nothing else here"
        run = _Run(self._sources, plan.remote, self._otherwise, plan)
        return Execution(run.start, run.cancel, run.close, run.explain)


class _Run:
    """One statement: started once, stopped from any thread."""

    def __init__(self, sources: Sources, query: RemoteQuery, otherwise: Engine, plan: Plan) -> None:
        self._sources = sources
        self._query = query
        self._otherwise = otherwise
        self._plan = plan
        self._lock = threading.Lock()
        self._held: Fetch | Execution | None = None
        self._is_over = False

    def start(self) -> pa.RecordBatchReader:
        """The statement's stream."""
        database = self._sources.open(self._query.source).database
        if database is None:
            fact = f"Source {self._query.source.name}: takes no statements."
            raise FlightmeshError(ErrorCode.UNAVAILABLE, fact, hint="Try again.")
        fetch = database.query(self._query.sql, self._query.schema, self._query.tables)
        self._hold(fetch)
        try:
            first = list(itertools.islice(fetch.reader, 1))
        except StatementRefused as refused:
            log.warning("remote.refused source=%s: %s", self._query.source.name, refused)
            fetch.close()
            return self._start_here()
        return pa.RecordBatchReader.from_batches(fetch.reader.schema, itertools.chain(first, fetch.reader))

    def _start_here(self) -> pa.RecordBatchReader:
        """The same plan, run by the engine."""
        count("queries.pushed.refused")
        execution = self._otherwise.execute(self._plan)
        self._hold(execution)
        return execution.start()

    def _hold(self, started: Fetch | Execution) -> None:
        """Keeps what was started for whoever stops it; CANCELLED when somebody already has."""
        with self._lock:
            is_over = self._is_over
            self._held = None if is_over else started
        if is_over:  # Whoever closed the statement did not see it.
            started.cancel()
            started.close()
            raise FlightmeshError(ErrorCode.CANCELLED, "The statement was stopped.")

    def cancel(self) -> None:
        """Stops the statement."""
        with self._lock:
            self._is_over = True
            held = self._held
        if held is not None:
            held.cancel()

    def close(self) -> None:
        """Gives back what the statement holds."""
        with self._lock:
            self._is_over = True
            held, self._held = self._held, None
        if held is not None:
            held.close()

    def explain(self, error: Exception) -> FlightmeshError:
        """What the stream raised, in words fit for a client."""
        if isinstance(error, FlightmeshError):
            return error
        with self._lock:
            held = self._held
        if isinstance(held, Execution):
            return held.explain(error)
        log.error("remote.stream.failed", exc_info=error)
        return FlightmeshError(ErrorCode.UNAVAILABLE, "A source cannot be read.", hint="The server's log says why.")

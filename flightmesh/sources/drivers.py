"""ADBC drivers, driven at their plain interface: databases, links (one connection each) and what their failures mean.

The interface after Python's DB-API is not used: it imports every data frame library there is. Every call here may block
for as long as the other side is silent; ``fetching`` keeps that from those who wait.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import adbc_driver_manager
import pyarrow as pa
from adbc_driver_manager._reader import AdbcRecordBatchReader

from flightmesh.sources.arrow_types import check_sound

log = logging.getLogger(__name__)

Connect = Callable[[], adbc_driver_manager.AdbcDatabase]

_LISTED = ("catalog", "schema", "table")
_IO = (adbc_driver_manager.AdbcStatusCode.IO, adbc_driver_manager.AdbcStatusCode.TIMEOUT)
_MISSING = (adbc_driver_manager.AdbcStatusCode.NOT_FOUND,)
# What drivers written in Go answer to everything after a first fault of theirs, until the process ends.
_BROKEN = "Go panicked"
_REFUSALS = (adbc_driver_manager.AdbcStatusCode.INVALID_ARGUMENT, adbc_driver_manager.AdbcStatusCode.NOT_IMPLEMENTED)


class DriverFailure(Exception):  # noqa: N818 - a fact about the source, turned into words by ``remote``
    """What a driver reported. ``is_lost``: the source was not reached or went away; else it answered, with an error.
    ``is_refusal``: it takes the statement for wrong, ``is_missing``: something that the statement names is not there.

    ``text`` is the driver's own and may hold values, addresses and secrets. ``fault`` is in our own words: what is
    amiss with the data or the driver, whatever was asked.
    """

    def __init__(
        self,
        text: str,
        *,
        is_lost: bool,
        sqlstate: str | None = None,
        is_refusal: bool = False,
        is_missing: bool = False,
        fault: str | None = None,
    ) -> None:
        super().__init__(text)
        self.text = text
        self.is_lost = is_lost
        self.sqlstate = sqlstate
        self.is_refusal = is_refusal
        self.is_missing = is_missing
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Driver:
    """How one source is opened.

    ``connect`` makes the driver's database; ``setup`` are statements that each new link runs; ``options`` go to every
    statement; ``is_lost`` says after a failure whether the source went away, or answered with an error. ``name`` is
    for messages.
    """

    connect: Connect
    setup: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    is_lost: Callable[[adbc_driver_manager.AdbcConnection, Exception], bool] = lambda _, error: is_io(error)
    name: str = "the driver"


class Link:
    """One connection, used by one thread at a time; ``cancel`` may be called from any."""

    def __init__(self, driver: Driver, database: adbc_driver_manager.AdbcDatabase) -> None:
        self._driver = driver
        self._database = database
        self._lock = threading.Lock()
        self._statement: adbc_driver_manager.AdbcStatement | None = None
        self._reader: pa.RecordBatchReader | None = None
        self.is_spoilt = False
        self._connection = adbc_driver_manager.AdbcConnection(database)
        try:
            for statement in driver.setup:
                for _ in self.execute(statement):
                    pass
                self.finish()
        except BaseException:
            self.close()
            raise

    @property
    def database(self) -> adbc_driver_manager.AdbcDatabase:
        return self._database

    def execute(self, sql: str) -> pa.RecordBatchReader:
        """The result of the statement, to be read through ``batches`` and ended with ``finish``."""
        assert self._statement is None
        with self._failures():
            with self._lock:
                self._statement = adbc_driver_manager.AdbcStatement(self._connection)
            self._statement.set_options(**self._driver.options)
            self._statement.set_sql_query(sql)
            stream, _ = self._statement.execute_query()
            # Where Arrow's own reader has a text, the driver's has the code of what failed in the middle of a result.
            self._reader = AdbcRecordBatchReader._import_from_c(stream.address)
        return self._reader

    def describe(self, sql: str) -> pa.RecordBatchReader:
        """A result without rows that has the schema of the statement's."""
        with self._failures(), adbc_driver_manager.AdbcStatement(self._connection) as statement:
            statement.set_sql_query(sql)
            with suppress(adbc_driver_manager.NotSupportedError):
                return self._result(pa.schema(statement.execute_schema()).empty_table())
        # Some drivers know the types only once they have seen rows; those that stream have read few by then.
        schema = self.execute(sql).schema
        self.finish()
        return self._result(schema.empty_table())

    def tables(self, catalog: str | None, schema: str | None) -> pa.RecordBatchReader:
        """The tables that the driver lists: catalog, schema, table."""
        depth = adbc_driver_manager.GetObjectsDepth.TABLES
        with self._failures():
            stream = self._connection.get_objects(depth, catalog, schema)
            batches = list(pa.RecordBatchReader.from_stream(stream))
        for batch in batches:
            _check(batch)
        rows = [
            {"catalog": each["catalog_name"], "schema": inner["db_schema_name"], "table": table["table_name"]}
            for found in batches
            for each in found.to_pylist()
            for inner in each["catalog_db_schemas"] or ()
            for table in inner["db_schema_tables"] or ()
        ]
        return self._result(pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in _LISTED])))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The batches of the statement under way, each of them sound."""
        assert self._reader is not None
        while True:
            with self._failures():
                try:
                    batch = self._reader.read_next_batch()
                except StopIteration:
                    return
            _check(batch)
            yield batch

    def finish(self) -> None:
        """Ends the statement under way, read to its end or not."""
        with self._lock, suppress(OSError, pa.ArrowException, adbc_driver_manager.Error):
            if self._reader is not None:
                self._reader.close()
            if self._statement is not None:
                self._statement.close()
        self._reader = self._statement = None

    def cancel(self) -> None:
        """Asks the source to end the statement under way; the link cannot be used for another after that."""
        self.is_spoilt = True
        with self._lock, suppress(OSError, adbc_driver_manager.Error):
            if self._statement is not None:
                self._statement.cancel()

    def close(self) -> None:
        self.finish()
        with suppress(OSError, adbc_driver_manager.Error):
            self._connection.close()

    def _result(self, rows: pa.Table) -> pa.RecordBatchReader:
        self._reader = rows.to_reader()
        return self._reader

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Turns what the driver raises into DriverFailure."""
        try:
            yield
        except (OSError, pa.ArrowException, adbc_driver_manager.Error) as error:
            _check_driver(self._driver, error)
            raise DriverFailure(
                str(error),
                is_lost=self._is_lost(error),
                sqlstate=getattr(error, "sqlstate", None),
                is_refusal=getattr(error, "status_code", None) in _REFUSALS,
                is_missing=getattr(error, "status_code", None) in _MISSING,
            ) from error

    def _is_lost(self, failure: Exception) -> bool:
        try:
            return self._driver.is_lost(self._connection, failure)
        except (OSError, adbc_driver_manager.Error):
            return True


def open_link(driver: Driver, database: adbc_driver_manager.AdbcDatabase | None) -> Link:
    """A new link, over the database if there is one already. DriverFailure when the source is not reached."""
    with _connecting(driver):
        return Link(driver, database or driver.connect())


def is_io(error: Exception) -> bool:
    """Whether a driver reports that it could not reach the source, rather than what the source said."""
    if isinstance(error, adbc_driver_manager.Error):
        return error.status_code in _IO
    return isinstance(error, OSError)


@contextmanager
def _connecting(driver: Driver) -> Iterator[None]:
    """Whatever is raised while connecting: the source was not reached."""
    try:
        yield
    except (OSError, pa.ArrowException, adbc_driver_manager.Error) as error:
        _check_driver(driver, error)
        raise DriverFailure(str(error), is_lost=True) from error


def _check(batch: pa.RecordBatch) -> None:
    """DriverFailure when the batch is not sound: nothing that a driver sends is read before."""
    try:
        check_sound(batch)
    except pa.ArrowException as error:
        fault = "sends text that is not UTF-8." if "UTF8" in str(error) else "sends malformed data."
        raise DriverFailure(str(error), is_lost=False, fault=fault) from error


def _check_driver(driver: Driver, error: Exception) -> None:
    """DriverFailure when the driver itself has failed, for all sources and until the process ends."""
    if _BROKEN in str(error):
        _tell_broken(driver.name)
        fault = f"{driver.name} has failed; the server must be restarted."
        raise DriverFailure(str(error), is_lost=False, fault=fault) from error


@functools.cache
def _tell_broken(name: str) -> None:
    """Tells the operator, once."""
    log.critical("driver.failed: %s has failed, for all sources that use it; the server must be restarted", name)

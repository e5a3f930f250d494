"""Data frame libraries over the ADBC driver, each by its own call: Polars, pandas and DuckDB."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
from adbc_driver_flightsql import dbapi

from tests.wire import adbc_client, values
from tests.wire.client import Login, Refused, Result


@contextmanager
def _told() -> Iterator[None]:
    """Refusals as ``Refused``: the driver's own, and those that the library puts into an error of its own."""
    try:
        with adbc_client.told():
            yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise Refused(str(error)) from error


@dataclass(frozen=True, slots=True)
class Frames:
    """One library: what it is called, what its calls can do, and how it connects."""

    NAME: str
    VERSION: str
    CAN: frozenset[str]
    make: Callable[[Login], FrameClient]

    def missing(self) -> str | None:
        """Nothing: the tests' own environment has all three."""
        return None

    def connect(self, login: Login, folder: Path) -> FrameClient:
        """A connection that has signed in."""
        return self.make(login)


class FrameClient:
    """What the three have in common: one ADBC connection, and no call that is not for data."""

    name: ClassVar[str]
    can: ClassVar[frozenset[str]]

    def __init__(self, login: Login) -> None:
        self._connection: dbapi.Connection = adbc_client.dialled(login)

    def close(self) -> None:
        self._connection.close()


class PolarsClient(FrameClient):
    """``polars.read_database`` and ``DataFrame.write_database``."""

    name = "Polars"
    can = frozenset({"query", "stream", "prepare", "ingest"})

    def query(self, sql: str, parameters: Sequence[Any] = (), named: Mapping[str, Any] | None = None) -> Result:
        options = {"parameters": list(parameters)} if parameters else None
        with _told():
            frame = pl.read_database(sql, self._connection, execute_options=options)
        return values.of_rows(tuple(frame.columns), frame.rows())

    def count(self, sql: str) -> int:
        with _told():
            parts = pl.read_database(sql, self._connection, iter_batches=True, batch_size=100_000)
            return sum(part.height for part in parts)

    def ingest(self, table: str, data: pa.Table, mode: str, *, temporary: bool = True) -> int:
        # Its modes are three: "append" creates, too.
        how = {"create": "fail", "append": "append", "replace": "replace", "create_append": "append"}[mode]
        frame = pl.from_arrow(data)
        assert isinstance(frame, pl.DataFrame)
        with _told():
            return frame.write_database(
                table,
                self._connection,
                if_table_exists=how,  # type: ignore[arg-type]
                engine="adbc",
                engine_options={"temporary": temporary},
            )


class PandasClient(FrameClient):
    """``pandas.read_sql``, with columns of Arrow's types."""

    name = "pandas"
    can = frozenset({"query"})

    def query(self, sql: str, parameters: Sequence[Any] = (), named: Mapping[str, Any] | None = None) -> Result:
        frame = self._frame(sql)
        if isinstance(frame, str):
            raise Refused(frame)
        columns = [frame.iloc[:, number].tolist() for number in range(frame.shape[1])]
        return values.of_rows(tuple(map(str, frame.columns)), list(zip(*columns, strict=True)))

    def _frame(self, sql: str) -> pd.DataFrame | str:
        """The frame, or the text of the error. pandas leaves its cursor to the collector, which the driver warns of."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            try:
                return pd.read_sql(sql, self._connection, dtype_backend="pyarrow")
            except (pd.errors.DatabaseError, dbapi.Error, pa.ArrowException) as error:
                text = str(error)
            gc.collect()
            return text


class DuckdbClient(FrameClient):
    """DuckDB reading the driver's Arrow stream as a relation."""

    name = "DuckDB"
    can = frozenset({"query", "stream", "prepare"})

    def query(self, sql: str, parameters: Sequence[Any] = (), named: Mapping[str, Any] | None = None) -> Result:
        with self._reading(sql, parameters) as relation:
            return values.of_rows(tuple(relation.columns), relation.fetchall())

    def count(self, sql: str) -> int:
        with self._reading(sql, ()) as relation:
            (row,) = relation.aggregate("count(*)").fetchall()
            return int(row[0])

    def _reading(self, sql: str, parameters: Sequence[Any]) -> _Relation:
        return _Relation(self._connection, sql, parameters)


class _Relation:
    """The result of a statement as a relation of a DuckDB of its own."""

    def __init__(self, connection: dbapi.Connection, sql: str, parameters: Sequence[Any]) -> None:
        self._cursor = connection.cursor()
        self._duckdb = duckdb.connect()
        self._sql, self._parameters = sql, parameters

    def __enter__(self) -> duckdb.DuckDBPyRelation:
        try:
            with adbc_client.told():
                self._cursor.execute(self._sql, list(self._parameters))
                return self._duckdb.from_arrow(self._cursor.fetch_record_batch())
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        self._duckdb.close()
        self._cursor.close()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._close()
        if isinstance(error, duckdb.Error):
            raise Refused(str(error)) from error


POLARS = Frames(PolarsClient.name, pl.__version__, PolarsClient.can, PolarsClient)
PANDAS = Frames(PandasClient.name, pd.__version__, PandasClient.can, PandasClient)
DUCKDB = Frames(DuckdbClient.name, duckdb.__version__, DuckdbClient.can, DuckdbClient)

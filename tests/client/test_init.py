"""``connect(uri)`` against the served bundled products, and against small servers that misbehave on purpose."""

from __future__ import annotations

import datetime as dt
import decimal
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import duckdb
import polars as pl
import pyarrow as pa
import pytest

import flightmesh
from flightmesh.client import Client, Query, connect
from flightmesh.errors import ErrorCode, FlightmeshError

if TYPE_CHECKING:
    from tests.conftest import ServedBy

Refused = Callable[[ErrorCode, Callable[[], object]], FlightmeshError]
FLIGHTS = "aviation.flights.flights"

# A value of every common type, and the Arrow type that must come back.
VALUES: Mapping[str, tuple[object, pa.DataType]] = {
    "whole": (-7, pa.int64()),
    "huge": (2**70, pa.decimal128(22, 0)),
    "real": (1.5, pa.float64()),
    "exact": (decimal.Decimal("12.340"), pa.decimal128(5, 3)),
    "words": ("naïve ' \" 日本", pa.string()),
    "raw": (b"\x00\xff", pa.binary()),
    "truth": (True, pa.bool_()),
    "day": (dt.date(2013, 1, 31), pa.date32()),
    "clock": (dt.time(1, 2, 3, 4), pa.time64("us")),
    "moment": (dt.datetime(2013, 1, 31, 1, 2, 3, 4), pa.timestamp("us")),
    "instant": (dt.datetime(2013, 1, 31, 12, tzinfo=dt.UTC), pa.timestamp("us", "UTC")),
    "nothing": (None, pa.string()),
}


def all_values(client: Client) -> Query:
    """A SELECT that gives VALUES back, one column each."""
    columns = ", ".join(f"${name} AS {name}" for name in VALUES)
    return client.sql(f"SELECT {columns}", {name: value for name, (value, _) in VALUES.items()})


# -------------------------------------------------------------------------------------------------------------- tables


def test_the_readme_one_liner_reads_a_table(server: ServedBy) -> None:
    """The first line of Python that a stranger types must give all rows."""
    frame = flightmesh.connect(server.uri).table("aviation.flights.daily_delays").polars()
    assert frame["flights"].sum() == 336_776


def test_a_table_is_narrowed_on_the_server(client: Client) -> None:
    """Columns and rows that were not asked for must not cross the network."""
    table = client.table(FLIGHTS).select("carrier", "arr_delay").filter("carrier = ?", ["EV"]).filter("month = ?", [1])
    assert table.query.text == (
        'SELECT "carrier", "arr_delay" FROM "aviation"."flights"."flights" WHERE (carrier = ?\n) AND (month = ?\n)'
    )
    assert table.query.params == ("EV", 1)
    assert table.schema.names == ["carrier", "arr_delay"]
    assert table.count() == table.arrow().num_rows == 4171
    assert client.table(FLIGHTS).filter("carrier = 'EV'").count() == 54_173


def test_the_arguments_of_table_are_its_steps(client: Client) -> None:
    """The short form must not mean something else."""
    short = client.table(FLIGHTS, columns=["dest"], where="month = 2", limit=3)
    assert short == client.table(FLIGHTS).select("dest").filter("month = 2").limit(3)
    assert short.count() == 3
    assert short.limit(10).count() == 3


def test_a_predicate_may_end_in_a_comment(client: Client) -> None:
    """A comment that swallowed the closing bracket would swallow the next filter with it."""
    table = client.table("clinical.trials.arms").filter("arms = 1 -- the first").filter("patients > 0")
    assert table.count() == client.table("clinical.trials.arms").filter("arms = 1").count()


def test_names_are_quoted(refused: Refused, client: Client) -> None:
    """A column's name must never become SQL."""
    error = refused(ErrorCode.INVALID, client.table(FLIGHTS).select('year", (SELECT 1) AS "x').arrow)
    assert "not found" in error.message


@pytest.mark.parametrize(
    ("wrong", "fact"),
    [
        (lambda c: c.table("flights"), "names no table"),
        (lambda c: c.table("aviation..flights"), "names no table"),
        (lambda c: c.table(FLIGHTS).select(), "no column"),
        (lambda c: c.table(FLIGHTS, columns="carrier"), "columns is a text"),
        (lambda c: c.table(FLIGHTS).select(["year", "month"]), "takes names of columns"),
        (lambda c: c.table(FLIGHTS).select("year", "YEAR"), "the column year twice"),
        (lambda c: c.table(FLIGHTS).filter(None), "takes a SQL predicate"),
        (lambda c: c.table(FLIGHTS).filter(" "), "takes a SQL predicate"),
        (lambda c: c.table(FLIGHTS).limit("3"), "takes a whole number"),
        (lambda c: c.table(FLIGHTS).limit(True), "takes a whole number"),
        (lambda c: c.table(FLIGHTS).limit(-1), "below zero"),
        (lambda c: c.table(FLIGHTS).limit(1).filter("true"), "comes after limit"),
        (lambda c: c.table(FLIGHTS).filter("a = ?", [1]).filter("b = $b", {"b": 1}), "mix"),
        (lambda c: c.table(FLIGHTS).filter("a = $x", {"x": 1}).filter("b = $x", {"x": 2}), "given by two"),
    ],
)
def test_a_table_that_cannot_be_is_refused_at_once(
    refused: Refused, client: Client, wrong: Callable[[Client], object], fact: str
) -> None:
    """A mistake should be told where it is made, not at the read that comes a page later."""
    assert fact in refused(ErrorCode.INVALID, lambda: wrong(client)).message


# -------------------------------------------------------------------------------------------------------------- frames


def test_values_of_every_type_come_back_in_arrow(client: Client) -> None:
    """A value that changes its type on the way changes the analysis."""
    table = all_values(client).arrow()
    assert dict(zip(table.schema.names, table.schema.types, strict=True)) == {
        n: kind for n, (_, kind) in VALUES.items()
    }
    assert table.to_pylist() == [{name: value for name, (value, _) in VALUES.items()}]
    assert all_values(client).schema == table.schema


def test_values_of_every_type_come_back_in_polars(client: Client) -> None:
    """Whoever asks for Polars gets Polars' own types, decimals and zones included."""
    frame = all_values(client).polars()
    assert frame.schema["huge"] == pl.Decimal(22, 0)
    assert frame.schema["instant"] == pl.Datetime("us", "UTC")
    assert frame.schema["clock"] == pl.Time
    assert frame.row(0) == tuple(value for value, _ in VALUES.values())


def test_values_of_every_type_come_back_in_pandas(client: Client) -> None:
    """pandas' old default turns integers with missing values into floats and decimals into objects."""
    frame = all_values(client).pandas()
    assert str(frame["exact"].dtype) == "decimal128(5, 3)[pyarrow]"
    assert str(frame["instant"].dtype) == "timestamp[us, tz=UTC][pyarrow]"
    assert frame["words"][0] == VALUES["words"][0]
    delays = client.table(FLIGHTS).select("dep_time").filter("dep_time IS NULL OR dep_time = 517").pandas()
    assert str(delays["dep_time"].dtype) == "int32[pyarrow]"
    assert delays["dep_time"].isna().sum() == 8_255


def test_values_of_every_type_come_back_in_duckdb(client: Client) -> None:
    """The relation must be usable from the connection that was given."""
    with duckdb.connect() as connection:
        relation = all_values(client).duckdb(connection)
        # By Arrow: DuckDB's own Python values of instants need pytz, which nobody else here does.
        assert relation.to_arrow_table().to_pylist() == all_values(client).arrow().to_pylist()
        client.table("clinical.trials.arms").duckdb(connection).create_view("arms")
        assert connection.sql("SELECT sum(patients) FROM arms").fetchall() == [(2139,)]


def test_without_a_connection_duckdb_uses_its_default_one(client: Client) -> None:
    """``duckdb.sql`` beside the relation is what its users try first."""
    client.table("clinical.trials.arms").duckdb().create_view("trial_arms")
    assert len(duckdb.table("trial_arms").fetchall()) == 4
    duckdb.sql("DROP VIEW trial_arms")


def test_an_empty_result_keeps_its_columns(client: Client) -> None:
    """A filter that matches nothing must not make a frame without columns."""
    frame = client.table(FLIGHTS, columns=["carrier", "month"], where="month = 13").polars()
    assert frame.shape == (0, 2)


def test_a_reader_streams_and_may_be_left(client: Client) -> None:
    """Whoever looks at the first batch only must neither get all rows nor block the next query."""
    reader = client.table(FLIGHTS).reader()
    first = reader.read_next_batch()
    assert 0 < first.num_rows < 336_776
    del reader
    assert client.table(FLIGHTS).count() == 336_776


def test_without_pandas_the_error_says_what_to_install(
    refused: Refused, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ImportError from inside would not say what to install."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    error = refused(ErrorCode.UNSUPPORTED, client.sql("SELECT 1").pandas)
    assert str(error) == "pandas is not installed. pip install pandas"


def test_a_client_shows_no_secret(server: ServedBy) -> None:
    """Notebooks print what a cell ends with, and are shared."""
    with connect(server.uri, server.tokens["steward"]) as client:
        assert server.tokens["steward"] not in repr(client) + repr(client.sql("SELECT 1")) + repr(client.table(FLIGHTS))


# ------------------------------------------------------------------------------------------------------------- writing


def test_statements_that_write_are_counted(refused: Refused, client: Client) -> None:
    """A script keeps intermediate results at the server, in tables of its own."""
    assert client.execute("CREATE TEMP TABLE own AS SELECT arms, patients FROM clinical.trials.arms") == 0
    assert client.execute("UPDATE own SET patients = patients + ? WHERE arms > ?", [1, 1]) == 2
    assert client.execute("INSERT INTO own VALUES ($a, $b)", {"b": 7, "a": 9}) == 1
    assert client.sql("SELECT patients FROM own WHERE arms = 9").arrow()["patients"].to_pylist() == [7]
    assert client.execute("DELETE FROM own WHERE arms = 9") == 1
    error = refused(ErrorCode.INVALID, lambda: client.execute("DELETE FROM clinical.trials.arms"))
    assert "clinical.trials.arms is read-only." in str(error)
    assert client.execute("DROP TABLE own") == 0


def test_what_is_set_holds_for_this_client(refused: Refused, server: ServedBy) -> None:
    """USE makes short names mean something, for nobody else."""
    with connect(server.uri) as client, connect(server.uri) as other:
        assert client.execute("USE clinical.trials") == 0
        assert client.sql("SELECT current_schema() AS s, count(*) AS c FROM arms").arrow().to_pylist() == [
            {"s": "trials", "c": 4}
        ]
        assert other.sql("SELECT current_schema() AS s").arrow()["s"].to_pylist() != ["trials"]


def test_transactions_by_words(client: Client) -> None:
    """BEGIN, then all of it or nothing."""
    client.execute("CREATE OR REPLACE TEMP TABLE own AS SELECT 1 AS n")
    for ending, rows in (("ROLLBACK", [1]), ("COMMIT", [2])):
        client.execute("BEGIN")
        client.execute("UPDATE own SET n = n + 1")
        client.execute(ending)
        assert client.sql("SELECT n FROM own").arrow()["n"].to_pylist() == rows


def test_dictionaries_stay_encoded_for_this_client(client: Client) -> None:
    """It decodes them, so that ENUMs come as small as they are; the values are the same."""
    found = client.sql("SELECT 'b'::ENUM ('a', 'b') AS e")
    assert pa.types.is_dictionary(found.schema.field("e").type)
    assert found.arrow()["e"].to_pylist() == ["b"]


def test_a_wide_row_arrives(client: Client) -> None:
    """A row that is too large for stock clients is not for this one, which asks for larger messages."""
    found = client.sql("SELECT string_agg(carrier || origin || dest || tailnum, '') AS x FROM aviation.flights.flights")
    assert 4_194_304 < len(found.arrow()["x"][0].as_py()) < 16_000_000


def test_killing_what_does_not_run(refused: Refused, client: Client) -> None:
    """The answer is one; nothing is told of others' queries."""
    refused(ErrorCode.NOT_FOUND, lambda: client.kill("nothing"))
    assert client.queries() == []

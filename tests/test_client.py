"""``connect(uri)`` against the served bundled products, and against small servers that misbehave on purpose."""

from __future__ import annotations

import datetime as dt
import decimal
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.flight as fl
import pytest

import flightmesh
from flightmesh.client import Client, Parameters, connect
from flightmesh.errors import ErrorCode, FlightmeshError

if TYPE_CHECKING:
    from tests.conftest import ServedBy

FLIGHTS = "aviation.flights.flights"
# Nothing listens on port 1.
NOBODY = "grpc://127.0.0.1:1"

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


@pytest.fixture
def client(server: ServedBy) -> Iterator[Client]:
    """An anonymous client of the bundled products."""
    with connect(server.uri) as opened:
        yield opened


def refused(code: ErrorCode, call: Callable[[], object]) -> FlightmeshError:
    """The error that the call ends with."""
    with pytest.raises(FlightmeshError) as caught:
        call()
    assert caught.value.code is code, caught.value
    return caught.value


def all_values(client: Client) -> flightmesh.client.Query:
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


def test_names_are_quoted(client: Client) -> None:
    """A column's name must never become SQL."""
    error = refused(ErrorCode.INVALID, client.table(FLIGHTS).select('year", (SELECT 1) AS "x').arrow)
    assert "not found" in error.message


@pytest.mark.parametrize(
    ("wrong", "fact"),
    [
        (lambda c: c.table("flights"), "names no table"),
        (lambda c: c.table("aviation..flights"), "names no table"),
        (lambda c: c.table(FLIGHTS).select(), "no column"),
        (lambda c: c.table(FLIGHTS).limit(-1), "below zero"),
        (lambda c: c.table(FLIGHTS).limit(1).filter("true"), "comes after limit"),
        (lambda c: c.table(FLIGHTS).filter("a = ?", [1]).filter("b = $b", {"b": 1}), "mix"),
        (lambda c: c.table(FLIGHTS).filter("a = $x", {"x": 1}).filter("b = $x", {"x": 2}), "given by two"),
    ],
)
def test_a_table_that_cannot_be_is_refused_at_once(
    client: Client, wrong: Callable[[Client], object], fact: str
) -> None:
    """A mistake should be told where it is made, not at the read that comes a page later."""
    assert fact in refused(ErrorCode.INVALID, lambda: wrong(client)).message


def test_named_parameters_of_several_filters_add_up(client: Client) -> None:
    """Each filter brings its own values."""
    table = client.table(FLIGHTS).filter("carrier = $who", {"who": "EV"}).filter("month = $month", {"month": 1})
    assert table.count() == 4171


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
        assert relation.fetchall() == [tuple(value for value, _ in VALUES.values())]
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


def test_without_pandas_the_error_names_the_extra(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ImportError from inside would not say what to install."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    error = refused(ErrorCode.UNSUPPORTED, client.sql("SELECT 1").pandas)
    assert str(error) == "pandas is not installed. pip install 'flightmesh[pandas]'"


# ---------------------------------------------------------------------------------------------------------- parameters


def test_parameters_in_order(client: Client) -> None:
    """Positions count, and a value may be used where a number of another width is expected."""
    found = client.sql("SELECT count(*) AS n FROM aviation.flights.flights WHERE carrier = ? AND month = ?", ("EV", 1))
    assert found.arrow().to_pylist() == [{"n": 4171}]


def test_uuids_are_bound_as_text(client: Client) -> None:
    """Arrow's extension type for them is none that the server binds."""
    key = uuid.uuid4()
    assert client.sql("SELECT $k AS k", {"k": key}).arrow().to_pylist() == [{"k": str(key)}]


@pytest.mark.parametrize(
    ("query", "params", "fact"),
    [
        ("SELECT $carrier", {"carier": "EV"}, "no parameter $carier"),
        ("SELECT $a, $b", {"a": 1}, "No value is given for $b."),
        ("SELECT ?", [1, 2], "1 wanted, 2 given"),
        ("SELECT ?", "x", "a text"),
        ("SELECT ?", [object()], "type object"),
        ("SELECT ?", [10**40], "over 38 digits"),
        ("SELECT ?", [decimal.Decimal("NaN")], "cannot be bound"),
        ("SELECT ?", None, "no values are bound"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(client: Client, query: str, params: Parameters, fact: str) -> None:
    """By position, a wrong name would silently bind the wrong value."""
    assert fact in refused(ErrorCode.INVALID, client.sql(query, params).arrow).message


# -------------------------------------------------------------------------------------------------------- who is asking


def test_a_token_decides_what_is_seen(server: ServedBy) -> None:
    """The client must pass on who is asking, on every path."""
    patients = "clinical.trials.patients"
    seen = {}
    for user in ("steward", "analyst", "site"):
        with connect(server.uri, server.tokens[user]) as client:
            seen[user] = (client.table(patients).count(), "pidnum" in client.table(patients).schema.names)
    assert seen["steward"] == (2139, True)
    assert seen["analyst"] == (2139, False)
    assert seen["site"][0] < 2139
    with connect(server.uri) as client:
        refused(ErrorCode.NOT_FOUND, client.table(patients).arrow)


def test_user_and_password(server: ServedBy) -> None:
    """People without a token sign in by name."""
    with connect(server.uri, user="analyst", password=server.password("analyst")) as client:
        assert client.table("clinical.trials.patients").count() == 2139
    wrong = connect(server.uri, user="analyst", password="wrong")
    assert refused(ErrorCode.UNAUTHENTICATED, wrong.products).message == "The user or the password is wrong."


def test_products_describe_themselves(client: Client) -> None:
    """What is offered, with units and keys, and nothing that the caller may not read."""
    products = {product.name: product for product in client.products()}
    assert set(products) == {"aviation.flights", "clinical.trials"}
    assert [port.name for port in products["clinical.trials"].ports] == ["arms"]
    daily = next(port for port in products["aviation.flights"].ports if port.name == "daily_delays")
    assert daily.table == "aviation.flights.daily_delays"
    assert daily.primary_key == ("flight_date", "origin", "carrier")
    flights = next(column for column in daily.columns if column.name == "flights")
    assert (flights.type, flights.unit, flights.nullable) == ("BIGINT", "flights", False)


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        ({"token": "a", "user": "b"}, "Both"),
        ({"user": "b"}, "go together"),
        ({"password": "b"}, "go together"),
        ({"token": "a b"}, "characters"),
        ({"token": ""}, "characters"),
        ({"user": "a:b", "password": "c"}, "colon"),
    ],
)
def test_credentials_that_cannot_be_are_refused(arguments: dict[str, str], fact: str) -> None:
    """Half of a pair, sent on, would sign in somebody else: the anonymous reader."""
    error = refused(ErrorCode.INVALID, lambda: connect(NOBODY, **arguments))  # type: ignore[arg-type]
    assert fact in error.message


class Doorkeeper(fl.ServerMiddlewareFactory):  # type: ignore[misc] # pyarrow has no types
    """Opens a session for every call without one, refuses those that it has ended, and notes what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[str] = []
        self.ended: set[str] = set()
        self._opened = 0
        self._lock = threading.Lock()

    def start_call(self, info: fl.CallInfo, headers: Mapping[str, Sequence[str]]) -> Any:  # Any: untyped base
        with self._lock:
            (header,) = headers.get("authorization", ["nobody"])
            self.shown.append(header)
            if header in self.ended:
                raise fl.FlightUnauthenticatedError("unauthenticated: The session has ended. [id 0123456789abcdef]")
            if header.startswith("Bearer session"):
                return None
            self._opened += 1
            return Greeting(f"Bearer session{self._opened}")


class Greeting(fl.ServerMiddleware):  # type: ignore[misc] # pyarrow has no types
    """Sends the header of the new session."""

    def __init__(self, header: str) -> None:
        super().__init__()
        self._header = header

    def sending_headers(self) -> dict[str, str]:
        return {"authorization": self._header}


class Small(fl.FlightServerBase):  # type: ignore[misc] # pyarrow has no types
    """A server without products, whose other answers fail as it is told."""

    def __init__(self, failure: Exception | None = None, **options: Any) -> None:  # Any: pyarrow's own options
        super().__init__("grpc://127.0.0.1:0", **options)
        self._failure = failure

    def do_action(self, context: fl.ServerCallContext, action: fl.Action) -> Iterator[bytes]:
        return iter(())

    def get_flight_info(self, context: fl.ServerCallContext, descriptor: fl.FlightDescriptor) -> fl.FlightInfo:
        assert self._failure is not None
        raise self._failure


def test_the_servers_session_is_kept_and_renewed() -> None:
    """A password is checked slowly on purpose: it must be shown once, and again only when the session has ended."""
    door = Doorkeeper()
    with Small(middleware={"door": door}) as small, connect(f"grpc://127.0.0.1:{small.port}", "own") as client:
        for _ in range(3):
            assert client.products() == []
        assert door.shown == ["Bearer own", "Bearer session1", "Bearer session1"]
        door.ended.add("Bearer session1")
        assert client.products() == []
        assert door.shown[3:] == ["Bearer session1", "Bearer own"]
        door.ended.add("Bearer own")
        door.ended.add("Bearer session2")
        assert refused(ErrorCode.UNAUTHENTICATED, client.products).message == "The session has ended."


# ------------------------------------------------------------------------------------------------------------- errors


def test_errors_of_the_server_keep_code_and_help(client: Client) -> None:
    """A script decides by the code, a person by the sentence; neither should see pyarrow's wrapping."""
    error = refused(ErrorCode.NOT_FOUND, client.table("aviation.flights.flihts").arrow)
    assert error.message == (
        "There is no table aviation.flights.flihts (line 1, column 15). Did you mean aviation.flights.flights?"
    )
    assert refused(ErrorCode.INVALID, client.sql("SELEC 1").arrow).message.startswith("The statement does not parse")


def test_errors_in_the_middle_of_a_stream_are_errors(client: Client) -> None:
    """Rows that arrived before must not pass for the whole."""
    reader = client.sql("SELECT CAST(carrier AS INTEGER) FROM aviation.flights.flights").reader()
    error = refused(ErrorCode.INVALID, reader.read_all)
    assert "could not be converted" in error.message


TOLD = "Fact: one, not two. Help? [id 0123456789abcdef]"


@pytest.mark.parametrize(
    ("sent", "code", "message"),
    [
        (pa.ArrowInvalid(f"invalid: {TOLD}"), ErrorCode.INVALID, "Fact: one, not two. Help?"),
        (pa.ArrowKeyError(f"not_found: {TOLD}"), ErrorCode.NOT_FOUND, "Fact: one, not two. Help?"),
        (fl.FlightUnavailableError(f"exhausted: {TOLD}"), ErrorCode.EXHAUSTED, "Fact: one, not two. Help?"),
        (pa.ArrowInvalid(f"unavailable: {TOLD}"), ErrorCode.UNAVAILABLE, "Fact: one, not two. Help?"),
        (fl.FlightInternalError(f"internal: {TOLD}"), ErrorCode.INTERNAL, "Fact: one, not two. Help?"),
        (fl.FlightUnauthorizedError("Go away"), ErrorCode.PERMISSION_DENIED, "Go away"),
        (fl.FlightCancelledError("Stopped"), ErrorCode.CANCELLED, "Stopped"),
        (pa.ArrowNotImplementedError("No such thing"), ErrorCode.UNSUPPORTED, "No such thing"),
        (fl.FlightInternalError("Broken"), ErrorCode.INTERNAL, "Broken"),
    ],
)
def test_whatever_a_server_sends_becomes_one_error(sent: Exception, code: ErrorCode, message: str) -> None:
    """Other servers, and proxies, have texts of their own: the status must still be told right."""
    with Small(sent) as small, connect(f"grpc://127.0.0.1:{small.port}") as client:
        error = refused(code, client.sql("SELECT 1").arrow)
    assert error.message.startswith(message)
    if code is not ErrorCode.INTERNAL:
        assert "Traceback" not in error.message


def test_the_id_of_an_internal_error_is_kept() -> None:
    """It is all that the operator needs to find the cause."""
    failure = fl.FlightInternalError(f"internal: {TOLD}")
    with Small(failure) as small, connect(f"grpc://127.0.0.1:{small.port}") as client:
        error = refused(ErrorCode.INTERNAL, client.sql("SELECT 1").arrow)
    assert error.hint == "The server's log has it under 0123456789abcdef."


def test_an_unreachable_server_is_named() -> None:
    """The address is most often what is wrong."""
    error = refused(ErrorCode.UNAVAILABLE, connect(NOBODY).products)
    assert error.message == "No server answers at grpc://127.0.0.1:1."
    assert "flightmesh serve" in str(error.hint)


def test_tls_to_a_plaintext_server_is_told(server: ServedBy) -> None:
    """ "Unreachable" alone would send people to look at the network."""
    error = refused(ErrorCode.UNAVAILABLE, connect(server.uri.replace("grpc:", "grpc+tls:"), timeout_s=5).products)
    assert "TLS" in str(error.hint)


def test_a_deadline_ends_the_call(server: ServedBy) -> None:
    """A script with a deadline must not wait for a query without an end."""
    with connect(server.uri, timeout_s=0.3) as client:
        endless = client.sql(
            "SELECT count(*) FROM aviation.flights.flights a, aviation.flights.flights b "
            "WHERE a.distance + b.distance > a.month * b.day"
        )
        refused(ErrorCode.DEADLINE, endless.arrow)


@pytest.mark.parametrize(
    "uri",
    ["", "127.0.0.1:8815", "http://127.0.0.1", "grpc://", "grpc://host:99999", "grpc://host/path", "grpc://u:p@h:1"],
)
def test_addresses_that_cannot_be_are_refused(uri: str) -> None:
    """gRPC would try them, and say something about name resolution a minute later."""
    refused(ErrorCode.INVALID, lambda: connect(uri))


def test_the_port_may_be_left_out() -> None:
    """The default port is the server's."""
    assert connect("grpc://127.0.0.1").uri == "grpc://127.0.0.1:8815"
    assert connect("grpc+tcp://[::1]:7").uri == "grpc+tcp://[::1]:7"


def test_a_client_shows_no_secret(server: ServedBy) -> None:
    """Notebooks print what a cell ends with, and are shared."""
    with connect(server.uri, server.tokens["steward"]) as client:
        assert server.tokens["steward"] not in repr(client) + repr(client.sql("SELECT 1")) + repr(client.table(FLIGHTS))

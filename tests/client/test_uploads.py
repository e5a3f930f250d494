"""The caller's own rows: whatever holds columns goes out as Arrow in batches of a good size, its end announced."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from flightmesh.client import Client, connect, uploads
from flightmesh.errors import ErrorCode, FlightmeshError

if TYPE_CHECKING:
    from tests.conftest import ServedBy

Refused = Callable[[ErrorCode, Callable[[], object]], FlightmeshError]
ROWS = pa.table({"n": pa.array([1, 2, None], pa.int64()), "s": ["a", None, "ü"]})


def _sources() -> dict[str, Callable[[], Any]]:
    return {
        "table": lambda: ROWS,
        "batch": lambda: ROWS.to_batches()[0],
        "reader": lambda: ROWS.to_reader(),
        "polars": lambda: pl.from_arrow(ROWS),
        "pandas": lambda: pd.DataFrame({"n": pd.array([1, 2, None], "Int64"), "s": ["a", None, "ü"]}),
        "duckdb": lambda: duckdb.from_arrow(ROWS),
        "dict": lambda: {"n": [1, 2, None], "s": ["a", None, "ü"]},
    }


@pytest.mark.parametrize("kind", _sources())
def test_whatever_holds_columns_is_a_stream(kind: str) -> None:
    """People bring the frame that they have."""
    reader = uploads.stream_of(_sources()[kind]())
    assert reader.schema.metadata[b"flightmesh:commit"] == b"explicit"
    read = reader.read_all()
    assert read.column_names == ["n", "s"]
    assert read.to_pylist() == ROWS.to_pylist()


def test_batches_are_of_a_good_size() -> None:
    """One batch of ten million rows would be more than a message may be; its own metadata stays."""
    schema = pa.schema([pa.field("n", pa.int64(), metadata={"unit": "km"})], {"k": "v"})
    reader = uploads.stream_of(pa.table({"n": range(150_000)}, schema=schema))
    assert reader.schema.metadata == {b"k": b"v", b"flightmesh:commit": b"explicit"}
    assert reader.schema.field("n").metadata == {b"unit": b"km"}
    assert [batch.num_rows for batch in reader] == [65_536, 65_536, 18_928]


@pytest.mark.parametrize("data", [None, 5, "rows", [1, 2], object()], ids=lambda data: type(data).__name__)
def test_what_holds_no_columns_is_refused(refused: Refused, data: object) -> None:
    """A list of rows has no types; the answer says what may be given."""
    assert "holds no columns" in refused(ErrorCode.INVALID, lambda: uploads.stream_of(data)).message


def test_the_end_says_how_many_rows_there_were() -> None:
    """The server keeps nothing of an upload whose end does not come."""
    assert json.loads(uploads.trailer(3)) == {"rows": 3}


def test_modes(refused: Refused) -> None:
    """Each says both what to do when the table is there and when it is not; all are temporary."""
    seen = set()
    for mode in ("create", "append", "replace", "create_append"):
        command = uploads.command("t", mode)
        assert command.temporary
        assert command.table == "t"
        assert command.table_definition_options is not None
        seen.add((command.table_definition_options.if_not_exist, command.table_definition_options.if_exists))
    assert len(seen) == 4
    error = refused(ErrorCode.INVALID, lambda: uploads.command("t", "upsert"))  # type: ignore[arg-type]
    assert "create_append" in (error.hint or "")


# ---------------------------------------------------------------------------------------------------- against a server


@pytest.mark.parametrize("kind", _sources())
def test_own_rows_are_joined_with_a_product(server: ServedBy, kind: str) -> None:
    """What an upload is for."""
    with connect(server.uri, server.tokens["steward"]) as client:
        assert client.upload("mine", _sources()[kind]()) == 3
        sql = "SELECT m.s, a.patients FROM mine m JOIN clinical.trials.arms a ON a.arms = m.n ORDER BY m.n"
        assert client.sql(sql).arrow()["s"].to_pylist() == ["a", None]


def test_the_modes_do_what_they_say(refused: Refused, server: ServedBy) -> None:
    """Append finds columns by name; create does not write over what is there."""
    with connect(server.uri, server.tokens["steward"]) as client:
        refused(ErrorCode.NOT_FOUND, lambda: client.upload("own", {"n": [1]}, "append"))
        assert client.upload("own", {"n": [1], "s": ["a"]}) == 1
        refused(ErrorCode.INVALID, lambda: client.upload("own", {"n": [2]}))
        assert client.upload("own", {"s": ["b"], "n": [2]}, "append") == 1
        assert client.upload("own", {"n": [3]}, "create_append") == 1
        rows = client.sql("SELECT n, s FROM own ORDER BY n").arrow().to_pylist()
        assert rows == [{"n": 1, "s": "a"}, {"n": 2, "s": "b"}, {"n": 3, "s": None}]
        assert client.upload("own", {"x": [1.5]}, "replace") == 1
        assert client.sql("SELECT * FROM own").arrow().to_pylist() == [{"x": 1.5}]
        assert client.upload("empty", ROWS.slice(0, 0)) == 0
        assert client.sql("SELECT * FROM empty").schema.names == ["n", "s"]


def test_own_rows_are_seen_by_this_client_alone(refused: Refused, server: ServedBy) -> None:
    """Not by another client of the same user, nor after the client was closed; anonymous callers have their own too."""
    for user in ("steward", None):
        token = None if user is None else server.tokens[user]
        with connect(server.uri, token) as client, connect(server.uri, token) as other:
            client.upload("own", {"n": [1]})
            assert client.sql("SELECT n FROM own").arrow().num_rows == 1
            refused(ErrorCode.NOT_FOUND, other.sql("SELECT n FROM own").arrow)
            session = client._session.given
        assert session is not None
        with connect(server.uri, token) as later:
            later._session.adopt(session)
            with pytest.raises(FlightmeshError):
                later.sql("SELECT n FROM own").arrow()


def test_a_program_that_fails_half_way_leaves_nothing(refused: Refused, server: ServedBy) -> None:
    """The rows come from a generator of the caller's own that raises: its error arrives, and no table is there."""

    def rows() -> Any:
        yield ROWS.to_batches()[0]
        raise RuntimeError("no more")

    with connect(server.uri, server.tokens["steward"]) as client:
        with pytest.raises(RuntimeError, match="no more"):
            client.upload("half", pa.RecordBatchReader.from_batches(ROWS.schema, rows()))
        refused(ErrorCode.NOT_FOUND, client.sql("SELECT * FROM half").arrow)


def test_many_batches_arrive(client: Client) -> None:
    """More than a message, more than a batch."""
    rows = pa.table({"n": pa.array(range(300_000), pa.int64()), "s": ["x" * 20] * 300_000})
    assert client.upload("many", rows) == 300_000
    assert client.sql("SELECT count(*) AS c, sum(n) AS s FROM many").arrow().to_pylist() == [
        {"c": 300_000, "s": 44_999_850_000}
    ]
    assert client.execute("DROP TABLE many") == 0

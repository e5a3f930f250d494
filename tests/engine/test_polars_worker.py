"""The kept worker's own half: predicates to and from Polars, scans that ask, reads that are given up."""

from __future__ import annotations

import datetime as dt
import socket
import threading
from collections.abc import Iterator
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest

from flightmesh.engine.polars_wire import Frame, Line, predicate_of, rows_part
from flightmesh.engine.polars_worker import Talk, expression, predicate_from, scan
from flightmesh.sources.predicate import AllOf, AnyOf, Compare, IsNull, IsPresent, OneOf, Predicate

SCHEMA = pa.schema(
    [
        ("n", pa.int64()),
        ("small", pa.int8()),
        ("x", pa.float64()),
        ("text", pa.string()),
        ("flag", pa.bool_()),
        ("day", pa.date32()),
        ("at", pa.timestamp("us")),
        ("zoned", pa.timestamp("us", "UTC")),
        ("price", pa.decimal128(10, 2)),
        ("kind", pa.dictionary(pa.int8(), pa.string())),
    ]
)
N, TEXT, FLAG = pl.col("n"), pl.col("text"), pl.col("flag")


def compare(column: str, op: str, value: object) -> Compare:
    return Compare(column, op, pa.scalar(value, SCHEMA.field(column).type))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (N > 5, compare("n", ">", 5)),
        (pl.lit(5) > N, compare("n", "<", 5)),
        (N.is_between(1, 3, closed="left"), AllOf((compare("n", ">=", 1), compare("n", "<", 3)))),
        (N.is_in([1, 2]), OneOf("n", pa.array([1, 2]))),
        (TEXT.is_in(["a"]), OneOf("text", pa.array(["a"]))),
        (TEXT.is_null() | TEXT.is_not_null(), AnyOf((IsNull("text"), IsPresent("text")))),
        (FLAG & ~pl.col("flag"), AllOf((compare("flag", "=", True), compare("flag", "=", False)))),
        (pl.col("x") <= -0.5, compare("x", "<=", -0.5)),
        (pl.col("day") >= dt.date(2013, 1, 2), compare("day", ">=", dt.date(2013, 1, 2))),
        (pl.col("at") != dt.datetime(2013, 1, 2), compare("at", "<>", dt.datetime(2013, 1, 2))),
        (pl.col("zoned") == dt.datetime(2013, 1, 2, tzinfo=dt.UTC),
         compare("zoned", "=", dt.datetime(2013, 1, 2, tzinfo=dt.UTC))),
        (pl.col("price") < Decimal("1.5"), compare("price", "<", Decimal("1.50"))),
        # What holds wherever the expression does.
        ((N > 5) & (N % 2 == 0), compare("n", ">", 5)),
        ((N % 2 == 0), None),
        ((N > 5) | (N % 2 == 0), None),
        (N.eq_missing(5), None),
        (pl.lit(None, dtype=pl.Int64) == N, None),
        (pl.col("kind") == "a", None),
        (pl.col("small") == N, None),
        (TEXT.is_in(["a", None], nulls_equal=True), None),
    ],
)  # fmt: skip
def test_what_polars_asks_of_a_scan_becomes_a_predicate(asked: pl.Expr, expected: Predicate | None) -> None:
    """Too little of it and a source is read whole; too much and rows are missing."""
    # Through a plan, as Polars gives it to a scan: with the types of the columns.
    given: list[pl.Expr | None] = []

    def frames(
        _c: list[str] | None, predicate: pl.Expr | None, _n: int | None, _s: int | None
    ) -> Iterator[pl.DataFrame]:
        given.append(predicate)
        return iter(())

    empty = pl.DataFrame(pl.from_arrow(SCHEMA.empty_table()))
    pl.io.plugins.register_io_source(frames, schema=empty.schema).filter(asked).collect()
    predicate = given[0] if given else None
    assert (None if predicate is None else predicate_from(predicate, SCHEMA)) == expected


ROWS = pl.DataFrame(
    {
        "n": [1, 2, 3, None],
        "x": [1.0, float("nan"), -0.0, None],
        "text": ["a", "B", "ä", None],
        "at": [dt.datetime(2013, 1, day) for day in (1, 2, 3, 4)],
        "price": pl.Series([Decimal("1.50"), Decimal("2.00"), None, None], dtype=pl.Decimal(10, 2)),
        "kind": pl.Series(["a", "b", None, None], dtype=pl.Categorical),
    }
)


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        (Compare("n", ">=", pa.scalar(2)), [1, 2]),
        (Compare("x", ">", pa.scalar(0.5)), [0, 1]),
        (Compare("x", "=", pa.scalar(float("nan"))), [1]),
        (OneOf("x", pa.array([0.0])), [2]),
        (OneOf("n", pa.array([3, 7])), [2]),
        (Compare("text", "<", pa.scalar("a")), [1]),
        (Compare("at", "<=", pa.scalar(dt.datetime(2013, 1, 2))), [0, 1]),
        (Compare("price", "=", pa.scalar(Decimal("1.50"), pa.decimal128(10, 2))), [0]),
        (AnyOf((IsNull("n"), Compare("n", "=", pa.scalar(1)))), [0, 3]),
        (AllOf((IsPresent("n"), Compare("n", "<>", pa.scalar(1)))), [1, 2]),
    ],
)
def test_what_the_consumer_asks_means_the_same_in_polars(asked: Predicate, rows: list[int]) -> None:
    """Rows that SQL keeps and Polars does not would be missing: NaN, zeros of both signs, and NULL differ easily."""
    keeps = expression(asked, ROWS.schema)
    assert keeps is not None
    assert ROWS.with_row_index("row").filter(keeps)["row"].to_list() == rows


@pytest.mark.parametrize(
    "asked",
    [
        Compare("n", "=", pa.scalar(1, pa.int32())),
        Compare("kind", "=", pa.scalar("a")),
        Compare("at", "=", pa.scalar(1, pa.timestamp("ns"))),
        AnyOf((IsNull("n"), Compare("kind", "=", pa.scalar("a")))),
    ],
)
def test_what_could_mean_something_else_in_polars_is_left_out(asked: Predicate) -> None:
    """Categories have an order of their own, and other types other values."""
    assert expression(asked, ROWS.schema) is None
    left = expression(AllOf((asked, Compare("n", "<", pa.scalar(2)))), ROWS.schema)
    assert left is not None
    assert ROWS.filter(left)["n"].to_list() == [1]


class Server:
    """The server's half: answers each question of a scan and keeps what was asked."""

    def __init__(self, line: Line, answers: list[tuple[str, list[pa.RecordBatch]]]) -> None:
        self.asked: list[Frame] = []
        self._line = line
        self._answers = answers

    def run(self) -> None:
        for does, batches in self._answers:
            self.asked.append(self._line.hear())
            self._line.say(does, *map(rows_part, batches), number=0)


@pytest.fixture
def lines() -> Iterator[tuple[Line, Line]]:
    one, other = socket.socketpair()
    with one, other:
        yield Line(one), Line(other)


def test_a_scan_asks_for_what_polars_needs(lines: tuple[Line, Line]) -> None:
    """The source would be read whole."""
    schema = pa.schema([("a", pa.int64()), ("b", pa.string()), ("c", pa.float64())])
    rows = pa.record_batch([pa.array([1, 2]), pa.array(["x", "y"])], ["a", "b"])
    server = Server(lines[1], [("opened", []), ("batch", [rows]), ("end", [])])
    answering = threading.Thread(target=server.run)
    answering.start()
    frame = scan(Talk(lines[0]), 4, schema)
    assert frame.filter(pl.col("a") > 1).select("b").collect()["b"].to_list() == ["y"]
    answering.join()
    opened, *others = server.asked
    assert (opened.does, opened.header["input"], set(opened.header["columns"])) == ("scan", 4, {"a", "b"})
    assert predicate_of(opened.header["predicate"], opened.parts, schema) == Compare("a", ">", pa.scalar(1))
    assert [frame.does for frame in others] == ["next", "next"]


def test_a_read_that_is_given_up_fails_in_its_scans_and_asks_no_more(lines: tuple[Line, Line]) -> None:
    """A late question of a thread of Polars would be taken for one of the next read."""
    server = Server(lines[1], [("stop", [])])
    answering = threading.Thread(target=server.run)
    answering.start()
    talk = Talk(lines[0])
    frame = scan(talk, 0, pa.schema([("a", pa.int64())]))
    for _ in range(2):
        with pytest.raises(Exception, match=r"^$"):
            frame.collect()
    answering.join()
    assert talk.is_over
    assert [asked.does for asked in server.asked] == ["scan"]
    talk.end("done")
    assert lines[1].hear().does == "done"

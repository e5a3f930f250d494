"""Results as text and files, with values of every type that an engine returns."""

from __future__ import annotations

import datetime as dt
import io
import json
from decimal import Decimal

import pyarrow as pa
import pytest
from pyarrow import parquet
from rich.console import Console

from flightmesh.cli.formats import (
    TABLE_ROWS_MAX,
    Format,
    json_text,
    print_table,
    write_arrow,
    write_csv,
    write_json,
    write_parquet,
)

WIDE = pa.table(
    {
        "n": pa.array([1, None], pa.int64()),
        "f": pa.array([float("nan"), 0.1], pa.float64()),
        "d": pa.array([Decimal("12345678901234567890.50"), None], pa.decimal128(38, 2)),
        "b": [True, None],
        "s": ['a "quoted",\ntext', ""],
        "raw": [b"\x00\xff", None],
        "day": [dt.date(2013, 1, 31), None],
        "ts": pa.array([1, None], pa.timestamp("ns")),
        "tz": pa.array([dt.datetime(2013, 1, 31, 12, tzinfo=dt.UTC), None]),
        "clock": pa.array([1, None], pa.time64("ns")),
        "list": [[1, None], None],
        "row": [{"x": 1.5, "day": dt.date(2013, 1, 31)}, None],
        "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int32())),
        "gap": pa.array([pa.MonthDayNano([1, 2, 3_000_000_000]), None]),
        "null": pa.array([None, None], pa.null()),
    }
)


def reader(table: pa.Table, rows: int = 1_000) -> pa.RecordBatchReader:
    """The table as a stream."""
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=rows))


def shown(table: pa.Table, width: int | None = None, **options: bool) -> tuple[str, bool]:
    """The printed table, and whether it was whole."""
    text = io.StringIO()
    is_whole = print_table(reader(table), Console(file=text, width=width, color_system=None, **options))  # type: ignore[arg-type] # options are rich's own
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()), is_whole


def test_json_is_one_array_that_keeps_every_value() -> None:
    """A consumer must be able to parse it, and to find all digits."""
    sink = io.BytesIO()
    write_json(reader(WIDE, rows=1), sink)
    first, second = json.loads(sink.getvalue(), parse_float=Decimal)
    assert first == {
        "n": 1,
        "f": None,
        "d": Decimal("12345678901234567890.50"),
        "b": True,
        "s": 'a "quoted",\ntext',
        "raw": "00ff",
        "day": "2013-01-31",
        "ts": "1970-01-01 00:00:00.000000001",
        "tz": "2013-01-31T12:00:00+00:00",
        "clock": "00:00:00.000000001",
        "list": [1, None],
        "row": {"x": Decimal("1.5"), "day": "2013-01-31"},
        "map": {"k": 1},
        "gap": "P1M2DT3S",
        "null": None,
    }
    assert {name for name, value in second.items() if value is not None} == {"f", "s"}
    assert second["s"] == ""
    assert len(sink.getvalue().splitlines()) == 4


def test_json_of_no_rows_is_an_empty_array() -> None:
    """``jq length`` must say 0, not fail."""
    sink = io.BytesIO()
    write_json(reader(WIDE.slice(0, 0)), sink)
    assert json.loads(sink.getvalue()) == []


@pytest.mark.parametrize("value", [float("inf"), {"a": [float("nan"), [(1, 2)]]}, "é\x00", Decimal("1E+3"), dt.time(1)])
def test_json_of_any_value_parses(value: object) -> None:
    """Python's own encoder writes NaN, which no other parser takes."""
    json.loads(json_text(value), parse_constant=pytest.fail)


def test_csv_tells_null_from_an_empty_text() -> None:
    """And columns without a form in CSV are text, not an error."""
    sink = io.BytesIO()
    write_csv(reader(WIDE), sink)
    header, *rest = sink.getvalue().decode().split("\n", 1)
    assert header == ",".join(f'"{name}"' for name in WIDE.schema.names)
    assert rest[0] == (
        '1,nan,12345678901234567890.50,true,"a ""quoted"",\ntext","00ff",2013-01-31,1970-01-01 00:00:00.000000001,'
        '2013-01-31 12:00:00.000000Z,00:00:00.000000001,"[1,null]","{""x"":1.5,""day"":""2013-01-31""}",'
        '"{""k"":1}","P1M2DT3S",\n'
        ',0.1,,,"",,,,,,,,,,\n'
    )


def test_arrow_and_parquet_hold_the_same_table() -> None:
    """These two are for programs: nothing may be turned into text."""
    arrow, file = io.BytesIO(), io.BytesIO()
    write_arrow(reader(WIDE), arrow)
    assert pa.ipc.open_stream(arrow.getvalue()).read_all().drop_columns("f").equals(WIDE.drop_columns("f"))
    plain = WIDE.drop_columns(["gap", "f"])
    write_parquet(reader(plain), file)
    assert parquet.read_table(io.BytesIO(file.getvalue())).to_pylist() == plain.to_pylist()
    with pytest.raises(NotImplementedError):
        write_parquet(reader(WIDE), io.BytesIO())


def test_a_table_lines_up() -> None:
    """Numbers to the right, NULL told from text, wide characters counted as wide."""
    table = pa.table({"word": ["日本", "NULL", None], "n": [1, None, 300]})
    text, is_whole = shown(table)
    assert text == "word      n\n───────────\n日本      1\nNULL   NULL\nNULL    300\n(3 rows)"
    assert is_whole


def test_columns_of_one_name_are_all_shown() -> None:
    """``SELECT a.id, b.id`` is common, and rows as dicts would lose one."""
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["id", "id"])
    assert "1    2" in shown(table)[0]
    sink = io.BytesIO()
    write_csv(reader(table), sink)
    assert sink.getvalue() == b'"id","id"\n1,2\n'


def test_a_terminal_gets_the_columns_that_fit_and_is_told() -> None:
    """Fifty columns squeezed to a letter each show nothing."""
    table = pa.table({f"column{i}": [i] for i in range(50)})
    text, _ = shown(table, 40, force_terminal=True)
    assert max(map(len, text.splitlines())) <= 40
    assert "(1 row, 4 of 50 columns)" in text
    assert "column49" in shown(table, 40)[0]


def test_a_long_table_stops_and_says_so() -> None:
    """A person does not read a million rows, and must not take the first thousand for all."""
    table = pa.table({"n": range(TABLE_ROWS_MAX + 1)})
    text, is_whole = shown(table)
    assert not is_whole
    assert text.endswith(f"{TABLE_ROWS_MAX - 1}\n({TABLE_ROWS_MAX} or more rows)")
    assert shown(table.slice(1))[1]


def test_long_and_hostile_cells_are_tamed() -> None:
    """One cell must not push the others off the screen or take over the terminal."""
    text, _ = shown(pa.table({"a": ["x" * 1_000 + "\x1b[2J"], "b": ["\x1b[2J"]}))
    assert "x…" in text
    assert "\x1b" not in text


def test_binary_formats_are_known() -> None:
    """They must not be written to a terminal."""
    assert [kind.value for kind in Format if kind.is_binary] == ["arrow", "parquet"]

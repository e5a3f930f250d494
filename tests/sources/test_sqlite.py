"""SQLite sources: whatever SQLite holds arrives as it is stored. Checked against Python's own driver."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.model import Source
from flightmesh.sources.base import Described, Description, ForeignKey, Narrowing, SourceHandle
from flightmesh.sources.predicate import AllOf, AnyOf, Compare, Comparison, IsNull, OneOf, Predicate, to_arrow
from flightmesh.sources.secrets import Secrets
from flightmesh.sources.sqlite import SqliteTable, open_sqlite
from tests.sources.live import failure, fetched

INT64 = st.integers(-(2**63), 2**63 - 1)


def database(folder: Path, *statements: str, rows: tuple[str, list[tuple[object, ...]]] | None = None) -> Path:
    path = folder / "r.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        if rows is not None:
            connection.executemany(*rows)
        connection.commit()
    return path


def source(folder: Path, *tables: str) -> SourceHandle:
    return open_sqlite(folder, "r", Source(type="sqlite", path="r.sqlite", tables=tables), Secrets())


def read(folder: Path, table: str = "t") -> pa.Table:
    found = source(folder, table).tables[("r", table)]
    reader = found.read()
    assert reader.schema == found.schema()
    return reader.read_all()


def test_keys_are_known(tmp_path: Path) -> None:
    """A product made from a file would lose what its owner declared, or claim what SQLite does not keep to."""
    database(
        tmp_path,
        'CREATE TABLE "Par\'s" (x TEXT, y INTEGER NOT NULL, PRIMARY KEY (y, x))',
        "CREATE TABLE one (id integer PRIMARY KEY, name TEXT)",
        "CREATE TABLE word (id TEXT PRIMARY KEY, n INTEGER UNIQUE)",
        "CREATE TABLE child (a INTEGER NOT NULL, b TEXT, c INTEGER REFERENCES ONE, d INTEGER REFERENCES word (n),"
        ' e INTEGER REFERENCES nowhere (x), FOREIGN KEY (a, b) REFERENCES "Par\'s" (y, x))',
        "CREATE VIEW seen AS SELECT a FROM child",
    )
    tables = source(tmp_path).tables
    found = {name: each.description() for (_, name), each in tables.items() if isinstance(each, Described)}
    assert len(found) == 5
    assert (found["Par's"].primary_key, found["Par's"].required) == (("y", "x"), frozenset({"y"}))
    assert (found["one"].primary_key, found["one"].required) == (("id",), frozenset({"id"}))
    assert (found["word"].primary_key, found["word"].required) == (("id",), frozenset())
    assert set(found["child"].foreign_keys) == {
        ForeignKey(("c",), "one", ("id",)),
        ForeignKey(("d",), "word", ("n",)),
        ForeignKey(("a", "b"), "Par's", ("y", "x")),
    }
    assert (found["child"].primary_key, found["child"].required) == ((), frozenset({"a"}))
    assert found["seen"] == Description()


def test_types_are_those_of_the_values_however_late_they_come(tmp_path: Path) -> None:
    """The driver takes 1,000 leading NULLs for integers and fails on, or rounds, what follows."""
    late = (2**60, 1.5, "x", b"\0\1", 7.5, "2020-01-01", True)
    database(
        tmp_path,
        "CREATE TABLE t (i INTEGER, r REAL, s TEXT, b BLOB, n NUMERIC, d DATE, f BOOLEAN)",
        rows=("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?)", [(None,) * 7] * 70_000 + [late]),
    )
    found = read(tmp_path)
    assert [str(kind) for kind in found.schema.types] == [
        "int64", "double", "string", "binary", "double", "string", "int64"
    ]  # fmt: skip
    assert tuple(found.slice(70_000).to_pylist()[0].values()) == late
    assert found.slice(0, 70_000)["i"].null_count == 70_000


def test_a_column_without_values_has_its_declared_type(tmp_path: Path) -> None:
    """An empty table's columns would all be integers, and a model over it would not bind."""
    database(tmp_path, "CREATE TABLE t (i INT, r DOUBLE, s VARCHAR(9), b BLOB, o)")
    assert read(tmp_path).schema.types == [pa.int64(), pa.float64(), pa.string(), pa.binary(), pa.string()]


def test_text_among_numbers_is_text_with_every_digit(tmp_path: Path) -> None:
    """Files filled from CSV hold '' in number columns: such a table could not be read, or would lose digits."""
    database(
        tmp_path, "CREATE TABLE t (n INTEGER)", rows=("INSERT INTO t VALUES (?)", [(1,), ("",), (0.1 + 0.2,), (None,)])
    )
    assert read(tmp_path)["n"].to_pylist() == ["1", "", "0.30000000000000004", None]


@pytest.mark.parametrize("values", [[1, b"x"], [0.5, 2**53 + 1]])
def test_values_that_no_type_can_hold_are_refused(tmp_path: Path, values: list[object]) -> None:
    """Digits would be lost without a word."""
    database(tmp_path, "CREATE TABLE t (c)", rows=("INSERT INTO t VALUES (?)", [(value,) for value in values]))
    with pytest.raises(FlightmeshError, match="column c of table t mixes") as caught:
        read(tmp_path)
    assert caught.value.code is ErrorCode.INVALID


@given(
    st.lists(
        st.tuples(
            st.none() | INT64,
            st.none() | st.floats(allow_nan=False),
            st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
            st.none() | st.binary(),
        ),
        max_size=20,
    )
)
def test_every_value_arrives_exactly(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object, ...]]) -> None:
    """Some value at some edge of a type would reach consumers changed."""
    folder = tmp_path_factory.mktemp("s")
    database(
        folder,
        "CREATE TABLE t (i INTEGER, r REAL, s TEXT, b BLOB)",
        rows=("INSERT INTO t VALUES (?, ?, ?, ?)", rows),
    )
    assert [tuple(row.values()) for row in read(folder).to_pylist()] == rows


def test_odd_names_and_views_are_read(tmp_path: Path) -> None:
    """A column named with a quote would break the statement that reads it."""
    database(
        tmp_path,
        'CREATE TABLE "o""dd" ("a ""b" INTEGER, "select" TEXT)',
        """INSERT INTO "o""dd" VALUES (1, 'x')""",
        'CREATE VIEW t AS SELECT "a ""b" AS "c,d" FROM "o""dd"',
    )
    assert read(tmp_path, 'o"dd').to_pylist() == [{'a "b': 1, "select": "x"}]
    assert read(tmp_path, "t").to_pylist() == [{"c,d": 1}]


def test_the_tables_that_are_named_are_offered_and_no_other(tmp_path: Path) -> None:
    """A table that the author did not name would be open to every model."""
    database(tmp_path, "CREATE TABLE b (x)", "CREATE TABLE a (x)")
    assert set(source(tmp_path, "a").tables) == {("r", "a")}


def test_an_unknown_table_is_told_with_the_nearest(tmp_path: Path) -> None:
    """The author would meet the typo later, in a model."""
    database(tmp_path, "CREATE TABLE airlines (x)")
    with pytest.raises(FlightmeshError) as caught:
        source(tmp_path, "airline")
    assert (caught.value.message, caught.value.hint) == (
        "Source r: r.sqlite has no table airline.",
        "Did you mean airlines?",
    )


def test_a_file_that_is_no_database_is_refused_without_its_path(tmp_path: Path) -> None:
    """The driver's error shows the machine's path or nothing."""
    (tmp_path / "r.sqlite").write_text("no database, although it is long enough to be looked at" * 100)
    with pytest.raises(FlightmeshError) as caught:
        source(tmp_path)
    assert caught.value.code is ErrorCode.INVALID
    assert str(tmp_path) not in str(caught.value)


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """Such text is legal in SQLite and makes whoever reads it as Arrow text crash."""
    database(tmp_path, "CREATE TABLE t (s TEXT)", "INSERT INTO t VALUES (CAST(x'ff41' AS TEXT))")
    with pytest.raises(FlightmeshError, match="not UTF-8"):
        read(tmp_path)


def test_rows_in_the_write_ahead_log_are_seen_and_change_the_fingerprint(tmp_path: Path) -> None:
    """A database in use keeps its newest rows in the log: they would be missing, and a reload would not notice them."""
    path = database(tmp_path, "PRAGMA journal_mode = WAL", "CREATE TABLE t (x)")
    before = source(tmp_path, "t").tables[("r", "t")].fingerprint()
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("INSERT INTO t VALUES (7)")
        writer.commit()
        assert path.with_name("r.sqlite-wal").stat().st_size > 0
        assert read(tmp_path)["x"].to_pylist() == [7]
        assert source(tmp_path, "t").tables[("r", "t")].fingerprint() != before


def test_reading_leaves_the_file_and_its_folder_alone(tmp_path: Path) -> None:
    """A product's folder is often read-only, and always its author's."""
    path = database(tmp_path, "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        assert read(tmp_path)["x"].to_pylist() == [1]
        assert [file.name for file in tmp_path.iterdir()] == ["r.sqlite"]
    finally:
        tmp_path.chmod(0o755)


# --- Live -------------------------------------------------------------------------------------------------------------


def live(folder: Path, table: str = "t") -> SqliteTable:
    found = source(folder).tables[("r", table)]
    assert isinstance(found, SqliteTable)
    return found


COMPARISONS: tuple[Comparison, ...] = ("=", "<>", "<", "<=", ">", ">=")
WORDS = st.text("aAbB09 '\\.éß\U0001f600\ue000", max_size=3)
COMPARE = st.one_of(
    st.builds(Compare, st.just("i"), st.sampled_from(COMPARISONS), st.builds(pa.scalar, st.integers(-3, 3))),
    st.builds(Compare, st.just("r"), st.sampled_from(COMPARISONS), st.builds(pa.scalar, st.sampled_from([0.5, 1.0]))),
    st.builds(Compare, st.sampled_from("snd"), st.sampled_from(COMPARISONS), st.builds(pa.scalar, WORDS)),
    st.builds(OneOf, st.just("s"), st.builds(pa.array, st.lists(WORDS, min_size=1, max_size=3))),
    st.builds(IsNull, st.sampled_from("irsndm")),
)
ROW = st.tuples(
    st.none() | st.integers(-3, 3),
    st.none() | st.sampled_from([0.5, 1, -2, 1.0]),
    st.none() | WORDS,
    st.none() | WORDS,
    st.none() | st.sampled_from(["2026-01-01", "x", "é"]),
    st.none() | st.sampled_from([1, "1", 1.5, "b"]),
)


@given(
    st.lists(ROW, max_size=12),
    COMPARE | st.builds(AnyOf, st.tuples(COMPARE, COMPARE)) | st.builds(AllOf, st.tuples(COMPARE, COMPARE)),
    st.sampled_from(["UTF-8", "UTF-16le"]),
)
def test_the_file_keeps_every_row_that_the_engine_keeps(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object, ...]], where: Predicate, encoding: str
) -> None:
    """SQLite compares by each value's own type, by collation and affinity: rows would be lost unseen."""
    folder = tmp_path_factory.mktemp("s")
    database(
        folder,
        f"PRAGMA encoding = '{encoding}'",
        "CREATE TABLE t (i INTEGER, r REAL, s VARCHAR(9), n TEXT COLLATE NOCASE, d DATE, m)",
        rows=("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", rows),
    )
    found = live(folder)
    whole = found.read().read_all()
    try:
        expected = whole.filter(to_arrow(where))
    except pa.ArrowNotImplementedError:
        return  # A column without values has a type that the literal has not.
    got = fetched(found, where=where)
    assert got.filter(to_arrow(where)).equals(expected)
    if not found.pushed(Narrowing(None, where)).left:
        assert got.equals(expected)


def test_projection_filter_and_limit_reach_the_file(tmp_path: Path) -> None:
    """A consumer who asks for two rows would read the whole file."""
    database(
        tmp_path,
        "CREATE TABLE t (i INTEGER, s TEXT)",
        rows=("INSERT INTO t VALUES (?, ?)", [(i, f"s{i}") for i in range(100)]),
    )
    found = live(tmp_path)
    told = found.pushed(Narrowing(("s",), Compare("i", ">", pa.scalar(50)), 2))
    assert (told.text, told.left) == ('SELECT "s" FROM "t" WHERE "i" > 50 LIMIT 2', ())
    assert fetched(found, "s", where=Compare("i", ">", pa.scalar(50)), limit=2)["s"].to_pylist() == ["s51", "s52"]
    fetch = found.fetch(Narrowing((), Compare("i", "<", pa.scalar(7))), pa.schema([]))
    assert sum(batch.num_rows for batch in fetch.reader) == 7


def test_a_changed_table_is_told_by_name(tmp_path: Path) -> None:
    """Consumers would get text under a contract that says numbers."""
    path = database(tmp_path, "CREATE TABLE t (i, s TEXT)", "INSERT INTO t VALUES (1, 'x')")
    found = live(tmp_path)
    schema = found.schema()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO t VALUES ('one', 'y')")
        connection.commit()
        error = failure(lambda: fetched(found, schema=schema))
        assert error.message == "Source r: column i of table t is now string, it was int64."
        connection.execute("ALTER TABLE t DROP COLUMN i")
        connection.commit()
    error = failure(lambda: fetched(found, "i", schema=schema))
    assert error.message == "Source r: table t has no column i any more."
    assert fetched(found, "s", schema=schema)["s"].to_pylist() == ["x", "y"]


def test_a_cancelled_read_stops(tmp_path: Path) -> None:
    """A consumer who leaves would have the whole file read for nobody."""
    database(tmp_path, "CREATE TABLE t (i INTEGER)", rows=("INSERT INTO t VALUES (?)", [(i,) for i in range(200_000)]))
    found = live(tmp_path)
    fetch = found.fetch(Narrowing(), found.schema())
    fetch.reader.read_next_batch()
    fetch.cancel()
    assert failure(fetch.reader.read_all).code is ErrorCode.CANCELLED


def test_without_tables_in_the_manifest_all_are_offered(tmp_path: Path) -> None:
    """The author would have to list every table of the file."""
    database(tmp_path, "CREATE TABLE b (x)", "CREATE VIEW a AS SELECT * FROM b")
    assert set(source(tmp_path).tables) == {("r", "a"), ("r", "b")}


def test_a_file_swapped_for_a_link_is_refused(tmp_path: Path) -> None:
    """A product would show any database that the server may read."""
    folder = tmp_path / "product"
    folder.mkdir()
    for path in (folder / "x.sqlite", tmp_path / "hidden.sqlite"):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE t (a)")
            connection.commit()
    found = open_sqlite(folder, "s", Source(type="sqlite", path="x.sqlite"), Secrets({})).tables[("s", "t")]
    (folder / "x.sqlite").unlink()
    (folder / "x.sqlite").symlink_to(tmp_path / "hidden.sqlite")
    for read in (found.schema, found.fingerprint, found.read):
        with pytest.raises(FlightmeshError, match="leaves the product's folder through a link"):
            read()

"""The published behaviours of arrow-adbc, through the stock driver: its tree of objects, schemas, and ingest.

They are what its own validation suites ask of a driver and a server has to give; statements, partitions, sessions and
transactions are in ``test_adbc_statements.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import adbc_driver_manager as manager
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from adbc_driver_flightsql import dbapi
from ruamel.yaml import YAML

from tests.wire import adbc_client
from tests.wire.adbc_calls import ask, fails, low_level, read, run

if TYPE_CHECKING:
    from tests.conftest import ServedBy

pytestmark = pytest.mark.client

STATUS = manager.AdbcStatusCode
PRODUCTS = Path(__file__).parents[2] / "products"
ROWS = pa.table({"idx": pa.array([1, 2, 3], pa.int64()), "value": pa.array(["foo", None, ""], pa.string())})


@pytest.fixture
def mine(server: ServedBy) -> Iterator[dbapi.Connection]:
    """A connection of an analyst's, with a session of its own; each statement commits by itself."""
    with server.adbc("analyst") as connection:
        yield connection


@pytest.fixture
def low(server: ServedBy) -> Iterator[manager.AdbcConnection]:
    """The same without the database interface."""
    with low_level(server) as connection:
        yield connection


# ---------------------------------------------------------------------------------------------------------- GetObjects


def _contracts(*, seen_by_everybody: bool) -> dict[tuple[str, str, str], list[Mapping[str, Any]]]:
    """The columns of every port as its contract has them: the catalogue, from no code of the server."""
    found = {}
    for place, product in ((("aviation", "flights"), "aviation_flights"), (("clinical", "trials"), "clinical_trials")):
        for path in sorted((PRODUCTS / product / "contracts").glob("*.yaml")):
            (table,) = YAML(typ="safe").load(path)["schema"]
            if table["name"] != "patients" or not seen_by_everybody:
                found[*place, table["name"]] = table["properties"]
    return found


def _columns(connection: dbapi.Connection, **filters: Any) -> dict[tuple[str, str, str], list[Mapping[str, Any]]]:
    objects = connection.adbc_get_objects(depth="all", **filters).read_all().to_pylist()
    return {
        (catalog["catalog_name"], schema["db_schema_name"], table["table_name"]): table["table_columns"]
        for catalog in objects
        for schema in catalog["catalog_db_schemas"]
        for table in schema["db_schema_tables"]
    }


@pytest.mark.parametrize("user", [None, "steward"])
def test_objects_are_the_contracts(server: ServedBy, user: str | None) -> None:
    """An object browser would show other columns than the contracts promise, or tables that its user may not see."""
    wanted = _contracts(seen_by_everybody=user is None)
    with server.adbc(user) as connection:
        found = _columns(connection)
    assert found.keys() == wanted.keys()
    for name, columns in found.items():
        shown = [(each["column_name"], each["xdbc_type_name"], each["ordinal_position"]) for each in columns]
        assert shown == [(each["name"], each["physicalType"], place) for place, each in enumerate(wanted[name], 1)]
        scopes = {(each["xdbc_scope_catalog"], each["xdbc_scope_schema"], each["xdbc_scope_table"]) for each in columns}
        assert scopes == {name}
        assert {each["xdbc_is_autoincrement"] for each in columns} == {False}
        assert all(each["xdbc_data_type"] == each["xdbc_sql_data_type"] is not None for each in columns)


@pytest.mark.parametrize("depth", ["catalogs", "db_schemas", "tables", "columns", "all"])
def test_each_depth_has_its_level_and_no_next_one(mine: dbapi.Connection, depth: Any) -> None:
    """Browsers take a missing list for "not asked yet" and an empty one for "nothing there"."""
    objects = mine.adbc_get_objects(depth=depth).read_all().to_pylist()
    assert [each["catalog_name"] for each in objects] == ["aviation", "clinical"]
    if depth == "catalogs":
        assert [each["catalog_db_schemas"] for each in objects] == [None, None]
        return
    schemas = [schema for each in objects for schema in each["catalog_db_schemas"]]
    assert [each["db_schema_name"] for each in schemas] == ["flights", "trials"]
    if depth == "db_schemas":
        assert [each["db_schema_tables"] for each in schemas] == [None, None]
        return
    tables = [table for each in schemas for table in each["db_schema_tables"]]
    assert [each["table_name"] for each in tables] == [name for *_, name in sorted(_contracts(seen_by_everybody=False))]
    assert {each["table_type"] for each in tables} == {"TABLE"}
    lists = [(each["table_columns"], each["table_constraints"]) for each in tables]
    assert all((pair == (None, None)) == (depth == "tables") for pair in lists)


@pytest.mark.parametrize("depth", ["catalogs", "db_schemas", "tables", "all"])
@pytest.mark.parametrize("catalog", ["thiscatalogdoesnotexist", "", "clin_", "clin\\%"])
def test_a_catalogue_that_is_not_there(mine: dbapi.Connection, depth: Any, catalog: str) -> None:
    """Asking for what is not there is no error, at any depth: the answer has no rows."""
    assert mine.adbc_get_objects(depth=depth, catalog_filter=catalog).read_all().num_rows == 0


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"catalog_filter": "clinical"}, ["arms", "patients"]),
        ({"catalog_filter": "%l"}, ["arms", "patients"]),
        ({"catalog_filter": "a_iation", "table_name_filter": "%lights"}, ["flights"]),
        ({"db_schema_filter": "trials"}, ["arms", "patients"]),
        ({"db_schema_filter": "tr_a%"}, ["arms", "patients"]),
        ({"db_schema_filter": "thisschemadoesnotexist"}, []),
        ({"table_name_filter": "arms"}, ["arms"]),
        ({"table_name_filter": "%a%s"}, ["arms", "daily_delays", "patients"]),
        ({"table_name_filter": "daily\\_delays"}, ["daily_delays"]),
        ({"table_name_filter": "thistabledoesnotexist"}, []),
        ({"table_types_filter": ["TABLE"], "catalog_filter": "clinical"}, ["arms", "patients"]),
        ({"table_types_filter": ["VIEW", "LOCAL TEMPORARY"]}, []),
        ({"table_types_filter": ["TABLE", "thistypedoesnotexist"], "db_schema_filter": "tri%"}, ["arms", "patients"]),
    ],
    ids=str,
)
@pytest.mark.parametrize("depth", ["tables", "all"])
def test_filters_of_tables(mine: dbapi.Connection, filters: dict[str, Any], names: list[str], depth: Any) -> None:
    """Exact names and patterns narrow what the driver shows, alike with and without columns."""
    objects = mine.adbc_get_objects(depth=depth, **filters).read_all().to_pylist()
    assert sorted(table for _, _, table, _ in adbc_client.tables(objects)) == names


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("patients", ["patients"]),
        ("arm%", ["arms", "arm_name"]),
        ("%s", ["arms", "patients", "events", "median_days"]),
        ("a_ms", ["arms"]),
        ("thiscolumndoesnotexist", []),
    ],
)
def test_filters_of_columns(mine: dbapi.Connection, pattern: str, names: list[str]) -> None:
    """A column filter leaves the table there with the columns that fit, in their places."""
    columns = _columns(mine, table_name_filter="arms", column_name_filter=pattern)["clinical", "trials", "arms"]
    assert [each["column_name"] for each in columns] == names
    places = {name: place for place, name in enumerate(["arms", "arm_name", "patients", "events", "median_days"], 1)}
    assert [each["ordinal_position"] for each in columns] == [places[name] for name in names]


def test_own_tables_are_objects_too(mine: dbapi.Connection, server: ServedBy) -> None:
    """What one has just brought is listed, as temporary, to oneself alone."""
    with mine.cursor() as cursor:
        cursor.adbc_ingest("brought", ROWS, temporary=True)
    found = _columns(mine, table_types_filter=["LOCAL TEMPORARY"])
    assert [each["column_name"] for each in found["temp", "main", "brought"]] == ["idx", "value"]
    assert [each["xdbc_type_name"] for each in found["temp", "main", "brought"]] == ["BIGINT", "VARCHAR"]
    assert len(_columns(mine, catalog_filter="temp")) == len(_columns(mine, table_name_filter="br_ught")) == 1
    with server.adbc("analyst") as other:
        assert _columns(other, table_name_filter="brought") == {}
        assert [each["catalog_name"] for each in other.adbc_get_objects().read_all().to_pylist()] == [
            "aviation",
            "clinical",
        ]


# -------------------------------------------------------------------------------------- GetTableSchema, types and info


def test_the_schema_of_a_port_is_its_contract(server: ServedBy) -> None:
    """Sizes, digits, nullability and comments are told nowhere else to a user of this driver."""
    for (catalog, schema, table), wanted in _contracts(seen_by_everybody=False).items():
        with server.adbc("steward") as steward:
            found = steward.adbc_get_table_schema(table, catalog_filter=catalog, db_schema_filter=schema)
        assert found.names == [each["name"] for each in wanted]
        assert [field.nullable for field in found] == [not each.get("required", False) for each in wanted]
        told = [{key.decode(): value.decode() for key, value in field.metadata.items()} for field in found]
        assert [each["XDBC_TYPE_NAME"] for each in told] == [each["physicalType"] for each in wanted]
        assert [each["XDBC_NULLABLE"] for each in told] == ["0" if each.get("required") else "1" for each in wanted]
        assert [each.get("REMARKS") for each in told] == [each.get("description") for each in wanted]
        assert [each["ORDINAL_POSITION"] for each in told] == [str(place) for place in range(1, len(wanted) + 1)]


def test_sizes_and_digits_of_every_kind(mine: dbapi.Connection) -> None:
    """A tool that copies a table makes its columns by these figures; they are ODBC's."""
    wanted = {
        "a": ("TINYINT", -6, "3", "0", "10"),
        "b": ("INTEGER", 4, "10", "0", "10"),
        "c": ("DECIMAL(38,6)", 3, "38", "6", "10"),
        "d": ("DECIMAL(18,3)", 3, "18", "3", "10"),
        "e": ("REAL", 7, "24", None, "2"),
        "f": ("DOUBLE", 8, "53", None, "2"),
        "g": ("BOOLEAN", 16, "1", None, None),
        "h": ("DATE", 91, "10", None, None),
    }
    kinds = ", ".join(f"{name} {'FLOAT' if kind == 'REAL' else kind}" for name, (kind, *_) in wanted.items())
    run(mine, f"CREATE TEMP TABLE kinds ({kinds})")
    found = {}
    for field in mine.adbc_get_table_schema("kinds"):
        told = {key.decode(): value.decode() for key, value in field.metadata.items()}
        keys = ("XDBC_COLUMN_SIZE", "XDBC_DECIMAL_DIGITS", "XDBC_NUM_PREC_RADIX")
        found[field.name] = (told["XDBC_TYPE_NAME"], int(told["XDBC_DATA_TYPE"]), *map(told.get, keys))
    assert {name: told[2:4] for name, told in found.items()} == {name: told[2:4] for name, told in wanted.items()}
    assert {name: told[0] for name, told in found.items()} == {
        name: "FLOAT" if told[0] == "REAL" else told[0] for name, told in wanted.items()
    }


NAMES = ['we"ird', "with.dot", "a_b", "a%b", "Grüße 🚀", "two words", "it's", "select"]


@pytest.mark.parametrize("name", NAMES)
def test_schemas_of_names_that_look_like_patterns(mine: dbapi.Connection, name: str) -> None:
    """The driver sends a table's name as a pattern: the table itself must be found by it, and no other be taken."""
    with mine.cursor() as cursor:
        cursor.adbc_ingest(name, ROWS, temporary=True)
        cursor.adbc_ingest("axb", ROWS.rename_columns(["other", "one"]), temporary=True)
        assert mine.adbc_get_table_schema(name).names == ["idx", "value"]
        assert mine.adbc_get_table_schema(name, catalog_filter="temp", db_schema_filter="main").types == [
            pa.int64(),
            pa.string(),
        ]
        quoted = '"' + name.replace('"', '""') + '"'
        assert cursor.execute(f"SELECT idx FROM {quoted} ORDER BY idx").fetchall() == [(1,), (2,), (3,)]
    with fails(STATUS.NOT_FOUND):
        mine.adbc_get_table_schema(name, catalog_filter="clinical")


@pytest.mark.parametrize(
    ("table", "filters"),
    [
        ("thistabledoesnotexist", {}),
        ("arm_", {}),
        ("%", {}),
        ("", {}),
        ("arms", {"catalog_filter": "aviation"}),
        ("arms", {"db_schema_filter": "flights"}),
        ("arms", {"catalog_filter": "thiscatalogdoesnotexist"}),
    ],
)
def test_schemas_of_what_is_not_there(mine: dbapi.Connection, table: str, filters: dict[str, str]) -> None:
    """NOT_FOUND, on which tools decide to make a table: not another table's schema, and no other error."""
    with fails(STATUS.NOT_FOUND):
        mine.adbc_get_table_schema(table, **filters)


@pytest.mark.parametrize("way", ["brought", "made"])
def test_not_null_of_own_tables(mine: dbapi.Connection, way: str) -> None:
    """A column that was brought, or made, as NOT NULL stays so, and whoever asks for the schema is told."""
    fields = [pa.field("idx", pa.int64()), pa.field("value", pa.string(), nullable=False)]
    with mine.cursor() as cursor:
        if way == "made":
            cursor.execute("CREATE TEMP TABLE t (idx BIGINT, value VARCHAR NOT NULL)")
        else:
            cursor.adbc_ingest("t", pa.table({"idx": [1], "value": ["a"]}, schema=pa.schema(fields)), temporary=True)
        assert [field.nullable for field in mine.adbc_get_table_schema("t")] == [True, False]
        assert [row[:3] for row in cursor.execute("DESCRIBE t").fetchall()] == [
            ("idx", "BIGINT", "YES"),
            ("value", "VARCHAR", "NO"),
        ]
        with fails(STATUS.INVALID_ARGUMENT):
            cursor.execute("INSERT INTO t VALUES (2, NULL)")
        with fails(STATUS.INVALID_ARGUMENT):
            cursor.adbc_ingest("t", ROWS, mode="append", temporary=True)


def test_table_types(mine: dbapi.Connection) -> None:
    """Every type that GetObjects shows is one of these."""
    assert sorted(mine.adbc_get_table_types()) == ["LOCAL TEMPORARY", "TABLE"]


def test_info_whole_and_single(mine: dbapi.Connection, low: manager.AdbcConnection) -> None:
    """Support cases and dialects go by these; asking for one gives one."""
    info = mine.adbc_get_info()
    assert info["vendor_name"] == "flightmesh"
    assert str(info["vendor_version"]).startswith("duckdb v2.0.0 flightmesh v")
    assert info["vendor_arrow_version"] == pa.__version__
    assert str(info["driver_arrow_version"]).startswith("v")

    def asked(*codes: manager.AdbcInfoCode) -> dict[int, Any]:
        rows = read(low.get_info(list(codes))).read_all().to_pylist()
        return {row["info_name"]: row["info_value"] for row in rows}

    assert asked(manager.AdbcInfoCode.VENDOR_NAME) == {0: "flightmesh"}
    assert asked(manager.AdbcInfoCode.VENDOR_ARROW_VERSION) == {2: pa.__version__}
    assert set(asked(manager.AdbcInfoCode.VENDOR_NAME, manager.AdbcInfoCode.DRIVER_NAME)) == {0, 100}
    assert set(asked()) >= {0, 1, 2, 100, 101, 102}


def test_statistics_are_not_implemented_by_the_driver(mine: dbapi.Connection) -> None:
    """Flight SQL has no command for them: the answer is plain, and the connection goes on."""
    for call in (mine.adbc_get_statistic_names, mine.adbc_get_statistics):
        with fails(STATUS.NOT_IMPLEMENTED):
            call()
    assert ask(mine, "SELECT 1") == [(1,)]


# --------------------------------------------------------------------------------------------------------------- ingest


def test_every_mode_of_ingest(mine: dbapi.Connection) -> None:
    """Each mode does what its name says when the table is there and when it is not; what is refused changes nothing."""
    with mine.cursor() as cursor:

        def ingest(mode: Any, data: pa.Table = ROWS) -> int:
            return cursor.adbc_ingest("t", data, mode=mode, temporary=True)

        def rows() -> int:
            return int(ask(mine, "SELECT count(*) FROM t")[0][0])

        with fails(STATUS.NOT_FOUND):
            ingest("append")
        assert (ingest("create"), rows()) == (3, 3)
        with pytest.raises(dbapi.Error, match=r"\bt\b") as refused:
            ingest("create")
        assert refused.value.status_code in (STATUS.ALREADY_EXISTS, STATUS.INVALID_ARGUMENT)
        assert (ingest("append"), rows()) == (3, 6)
        assert (ingest("create_append"), rows()) == (3, 9)
        assert (ingest("replace"), rows()) == (3, 3)
        assert (ingest("replace", ROWS.slice(0, 1)), rows()) == (1, 1)
        cursor.execute("DROP TABLE t")
        assert (ingest("create_append"), rows()) == (3, 3)
        cursor.execute("DROP TABLE t")
        assert (ingest("replace"), rows()) == (3, 3)
    assert ask(mine, "SELECT idx, value FROM t ORDER BY idx") == [(1, "foo"), (2, None), (3, "")]


@pytest.mark.parametrize(
    "data",
    [
        pa.table({"other": pa.array([1], pa.int64())}),
        pa.table({"idx": pa.array([1], pa.int64()), "value": ["a"], "more": ["b"]}),
        pa.table({"idx": ["x"], "value": ["a"]}),
    ],
    ids=["another column", "one too many", "another type"],
)
@pytest.mark.parametrize("mode", ["append", "create_append"])
def test_rows_of_another_shape_are_refused(mine: dbapi.Connection, data: pa.Table, mode: Any) -> None:
    """A load that does not fit must not leave half of itself, nor columns of NULL."""
    with mine.cursor() as cursor:
        cursor.adbc_ingest("t", ROWS, temporary=True)
        with fails(STATUS.INVALID_ARGUMENT):
            cursor.adbc_ingest("t", data, mode=mode, temporary=True)
        assert cursor.execute("SELECT * FROM t ORDER BY idx").fetch_arrow_table().equals(ROWS)


SHAPES: Mapping[str, pa.Table] = {
    "nested": pa.table(
        {
            "l": pa.array([[1, None], None, []], pa.list_(pa.int32())),
            "s": pa.array([{"a": 1, "b": ["x"]}, None, {"a": None, "b": None}]),
            "m": pa.array([[("k", 1.5)], [], None], pa.map_(pa.string(), pa.float64())),
        }
    ),
    "exact": pa.table(
        {
            "d": pa.array([Decimal("1234567890123456789012345678.123456"), None], pa.decimal128(38, 6)),
            "t": pa.array([1, None], pa.timestamp("us", "UTC")),
            "u": pa.array([18446744073709551615, None], pa.uint64()),
            "b": pa.array([b"\x00\xff", b""], pa.binary()),
        }
    ),
    "hundred columns": pa.table({f"col_{number}": [0, 1, 2, 3, 4] for number in range(100)}),
    "unicode": pa.table({"Grüße 🚀": ["世界", "🚀"], 'quo"te': [1, 2], "a.b": [3, 4]}),
}


@pytest.mark.parametrize("data", SHAPES.values(), ids=SHAPES.keys())
def test_rows_come_back_as_they_were(mine: dbapi.Connection, data: pa.Table) -> None:
    """Whatever was brought is read again value by value."""
    with mine.cursor() as cursor:
        assert cursor.adbc_ingest("t", data, temporary=True) == data.num_rows
        found = cursor.execute("SELECT * FROM t").fetch_arrow_table()
    assert found.column_names == data.column_names
    assert found.to_pylist() == data.to_pylist()


def test_no_rows_make_an_empty_table(mine: dbapi.Connection) -> None:
    """A day without events is a table all the same. (Of a stream without batches the driver sends nothing at all.)"""
    nothing = pa.RecordBatch.from_pylist([], ROWS.schema)
    with mine.cursor() as cursor:
        assert cursor.adbc_ingest("t", nothing, mode="create", temporary=True) == 0
        assert cursor.adbc_ingest("t", nothing, mode="append", temporary=True) == 0
        assert cursor.execute("SELECT * FROM t").fetch_arrow_table().equals(ROWS.slice(0, 0))
        assert cursor.adbc_ingest("t", ROWS, mode="append", temporary=True) == 3


def test_a_dictionary_is_brought_as_its_values(mine: dbapi.Connection) -> None:
    """pandas' categories are dictionaries: they join to text."""
    words = pa.table({"w": pa.array(["a", "b", None, "a"]).dictionary_encode()})
    with mine.cursor() as cursor:
        assert cursor.adbc_ingest("t", words, temporary=True) == 4
        assert cursor.execute("SELECT w, count(*) FROM t GROUP BY w ORDER BY w NULLS LAST").fetchall() == [
            ("a", 2),
            ("b", 1),
            (None, 1),
        ]


def test_a_reader_of_many_batches(mine: dbapi.Connection) -> None:
    """A stream of 300,000 rows that is never whole in memory arrives whole, once, in its order."""
    schema = pa.schema([("n", pa.int64()), ("t", pa.string())])

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, 300_000, 10_000):
            numbers = pa.array(range(start, start + 10_000), pa.int64())
            yield pa.record_batch([numbers, numbers.cast(pa.string())], schema=schema)

    with mine.cursor() as cursor:
        reader = pa.RecordBatchReader.from_batches(schema, batches())
        assert cursor.adbc_ingest("t", reader, mode="create", temporary=True) == 300_000
        found = cursor.execute("SELECT n, t FROM t").fetch_arrow_table()
    assert found["n"].to_pylist() == list(range(300_000))
    assert pc.all(pc.equal(found["n"].cast(pa.string()), found["t"])).as_py()


def test_a_reader_that_fails_brings_nothing(mine: dbapi.Connection) -> None:
    """A frame whose computation fails half way: the rows before that must not be there."""
    schema = pa.schema([("n", pa.int64())])

    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch([pa.array(range(10_000), pa.int64())], schema=schema)
        raise ValueError("no more")

    with mine.cursor() as cursor:
        reader = pa.RecordBatchReader.from_batches(schema, batches())
        with pytest.raises((dbapi.Error, ValueError)):
            cursor.adbc_ingest("t", reader, mode="create", temporary=True)
    with fails(STATUS.NOT_FOUND):
        ask(mine, "SELECT * FROM t")


def test_ingest_for_good_is_refused_with_the_way(mine: dbapi.Connection) -> None:
    """The default of the driver is a table that stays: the refusal says what to write instead."""
    with mine.cursor() as cursor:
        with fails(STATUS.INVALID_ARGUMENT, r"temporary=True"):
            cursor.adbc_ingest("t", ROWS)
        for catalog, schema in (("clinical", None), (None, "trials")):
            with fails(STATUS.INVALID_ARGUMENT):
                cursor.adbc_ingest("t", ROWS, temporary=True, catalog_name=catalog, db_schema_name=schema)
        assert cursor.adbc_ingest("t", ROWS, temporary=True, catalog_name="temp", db_schema_name="main") == 3

"""The metadata commands as stock clients ask and read them: names, types, comments, keys, and what the server says of
itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import adbc_driver_flightsql.dbapi as dbapi
import pyarrow as pa
import pyarrow.flight as fl
import pytest

from flightmesh.flight.actions import ACTIONS
from flightmesh.flightsql import messages as m
from flightmesh.flightsql.codec import pack
from flightmesh.flightsql.metadata import schema_of

if TYPE_CHECKING:
    from tests.conftest import ServedBy

pytestmark = pytest.mark.client

Ask: TypeAlias = Callable[..., pa.Table]

PUBLIC = [
    ("aviation", "flights", "daily_delays"),
    ("aviation", "flights", "flights"),
    ("aviation", "flights", "route_performance"),
    ("clinical", "trials", "arms"),
]
COMMANDS = (
    m.CommandGetCatalogs(),
    m.CommandGetDbSchemas(),
    m.CommandGetTables(),
    m.CommandGetTables(include_schema=True),
    m.CommandGetTableTypes(),
    m.CommandGetPrimaryKeys(table="flights"),
    m.CommandGetExportedKeys(table="flights"),
    m.CommandGetImportedKeys(table="flights"),
    m.CommandGetCrossReference(pk_table="flights", fk_table="arms"),
    m.CommandGetSqlInfo(),
    m.CommandGetXdbcTypeInfo(),
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_every_command_answers_in_the_schema_of_the_standard(ask: Ask, command: Any) -> None:
    """GetFlightInfo, GetSchema and DoGet give one schema, the standard's: ADBC compares it whole."""
    assert ask(command).schema.equals(schema_of(command), check_metadata=True)


def test_catalogs_and_schemas(ask: Ask) -> None:
    """Domains are catalogues, products are schemas; filters narrow, and what is not there is no error."""
    assert ask(m.CommandGetCatalogs())["catalog_name"].to_pylist() == ["aviation", "clinical"]

    def schemas(**filters: str) -> list[str]:
        names: list[str] = ask(m.CommandGetDbSchemas(**filters))["db_schema_name"].to_pylist()
        return names

    assert schemas() == ["flights", "trials"]
    assert schemas(catalog="clinical") == ["trials"]
    assert schemas(db_schema_filter_pattern="f%s") == ["flights"]
    assert schemas(db_schema_filter_pattern="tr_als") == ["trials"]
    assert schemas(catalog="aviation", db_schema_filter_pattern="trials") == []
    assert schemas(catalog="") == []


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, PUBLIC),
        ({"catalog": "clinical"}, PUBLIC[3:]),
        ({"catalog": "Clinical"}, []),
        ({"catalog": ""}, []),
        ({"db_schema_filter_pattern": "fli%"}, PUBLIC[:3]),
        ({"table_name_filter_pattern": "flights"}, PUBLIC[1:2]),
        ({"table_name_filter_pattern": "%"}, PUBLIC),
        ({"table_name_filter_pattern": "a_m_"}, PUBLIC[3:]),
        ({"table_name_filter_pattern": "daily\\_delays"}, PUBLIC[:1]),
        ({"table_name_filter_pattern": "dail\\%"}, []),
        ({"table_name_filter_pattern": ""}, []),
        ({"table_types": ("TABLE",)}, PUBLIC),
        ({"table_types": ("VIEW", "TABLE")}, PUBLIC),
        ({"table_types": ("VIEW",)}, []),
    ],
    ids=str,
)
@pytest.mark.parametrize("include_schema", [False, True])
def test_tables(ask: Ask, filters: dict[str, Any], names: list[tuple[str, ...]], include_schema: bool) -> None:
    """Tools browse by these filters; patterns are LIKE patterns, and what an anonymous reader may not see is not
    there.
    """
    table = ask(m.CommandGetTables(include_schema=include_schema, **filters))
    rows = [(row["catalog_name"], row["db_schema_name"], row["table_name"]) for row in table.to_pylist()]
    assert rows == names
    assert set(table["table_type"].to_pylist()) <= {"TABLE"}


def test_table_schemas_carry_the_contract(ask: Ask) -> None:
    """Comments, units, classification, types and nullability of the contract reach the tools that show columns."""
    (row,) = ask(m.CommandGetTables(table_name_filter_pattern="flights", include_schema=True)).to_pylist()
    schema = pa.ipc.read_schema(pa.py_buffer(row["table_schema"]))
    assert len(schema) == 50
    assert schema.metadata[b"ARROW:FLIGHT:SQL:REMARKS"].startswith(b"Scheduled departures with carrier")
    assert b".." not in schema.metadata[b"ARROW:FLIGHT:SQL:REMARKS"]
    field = schema.field("origin_temp")
    assert field.type == pa.float64()
    assert field.nullable
    wanted = {
        "ARROW:FLIGHT:SQL:CATALOG_NAME": "aviation",
        "ARROW:FLIGHT:SQL:SCHEMA_NAME": "flights",
        "ARROW:FLIGHT:SQL:DB_SCHEMA_NAME": "flights",
        "ARROW:FLIGHT:SQL:TABLE_NAME": "flights",
        "ARROW:FLIGHT:SQL:TYPE_NAME": "DOUBLE",
        "ARROW:FLIGHT:SQL:IS_READ_ONLY": "1",
        "ORDINAL_POSITION": "42",
        "XDBC_IS_NULLABLE": "YES",
        "flightmesh:unit": "degrees Fahrenheit",
        "flightmesh:classification": "public",
    }
    found = {key.decode(): value.decode() for key, value in field.metadata.items()}
    assert wanted.items() <= found.items()
    assert found["REMARKS"] == found["ARROW:FLIGHT:SQL:REMARKS"]
    assert found["REMARKS"].startswith("Air temperature at the origin")
    assert not schema.field("year").nullable


def test_table_schemas_are_those_of_select_star(ask: Ask, flight: Callable[[str], pa.Table]) -> None:
    """Names and types that a tool learns beforehand are those it gets; REMARKS stay out of results (JDBC's labels)."""
    for row in ask(m.CommandGetTables(include_schema=True)).to_pylist():
        schema = pa.ipc.read_schema(pa.py_buffer(row["table_schema"]))
        name = ".".join((row["catalog_name"], row["db_schema_name"], row["table_name"]))
        result = flight(f"SELECT * FROM {name} LIMIT 0").schema
        assert list(zip(result.names, result.types, strict=True)) == list(zip(schema.names, schema.types, strict=True))
        assert all(b"REMARKS" not in (field.metadata or {}) for field in result)


def test_table_types(ask: Ask) -> None:
    """What GetTables calls its tables is on the list."""
    assert ask(m.CommandGetTableTypes())["table_type"].to_pylist() == ["LOCAL TEMPORARY", "TABLE"]


@pytest.mark.parametrize(
    ("command", "columns"),
    [
        (m.CommandGetPrimaryKeys(table="flights"), ["year", "month", "day", "carrier", "flight", "origin"]),
        (m.CommandGetPrimaryKeys(catalog="aviation", db_schema="flights", table="daily_delays"), None),
        (m.CommandGetPrimaryKeys(table="arms"), ["arms"]),
        (m.CommandGetPrimaryKeys(catalog="aviation", table="arms"), []),
        (m.CommandGetPrimaryKeys(table="patients"), []),
        (m.CommandGetPrimaryKeys(table="fl%"), []),
    ],
    ids=str,
)
def test_primary_keys_are_the_contracts(ask: Ask, command: Any, columns: list[str] | None) -> None:
    """Modelling tools join by these; the name is exact, and hidden tables have no key."""
    rows = ask(command).to_pylist()
    wanted = ["flight_date", "origin", "carrier"] if columns is None else columns
    assert [row["column_name"] for row in rows] == wanted
    assert [row["key_sequence"] for row in rows] == list(range(1, len(wanted) + 1))


def test_foreign_keys_are_empty(ask: Ask) -> None:
    """Nobody declares foreign keys yet; asking for them is no error (the schema is checked above)."""
    for command in COMMANDS[6:9]:
        assert ask(command).num_rows == 0


# SqlInfo ------------------------------------------------------------------------------------------


def _info(ask: Ask, *ids: int) -> dict[int, Any]:
    table = ask(m.CommandGetSqlInfo(info=ids))
    return dict(zip(table["info_name"].to_pylist(), table["value"].to_pylist(), strict=True))


def test_all_of_sql_info_is_what_old_drivers_know(ask: Ask) -> None:
    """An id over 576 in the whole list is a NullPointerException in the JDBC driver."""
    values = _info(ask)
    assert max(values) == 576
    assert len(values) > 80


def test_sql_info_by_id(ask: Ask) -> None:
    """Only what was asked for comes; an unknown id is left out."""
    assert _info(ask, 0, 3) == {0: "flightmesh", 3: False}
    assert _info(ask, 987_654) == {}


def test_it_takes_temporary_tables_and_no_more_as_it_says(ask: Ask, server: ServedBy) -> None:
    """Not read-only, with transactions and ingestion: all of it for temporary tables, and nothing else is written."""
    values = _info(ask)
    assert (values[3], values[8], values[10]) == (False, 1, True)
    assert (values[500], values[501], values[502]) == (False, False, True)
    writes = ("CREATE TABLE t AS SELECT 1", "DELETE FROM clinical.trials.arms", "CREATE SCHEMA s", "ATTACH 'x' AS y")
    with server.adbc("analyst") as connection, connection.cursor() as cursor:
        for sql in writes:
            with pytest.raises(dbapi.ProgrammingError, match="INVALID_ARGUMENT"):
                cursor.execute(sql)
        with pytest.raises(dbapi.ProgrammingError, match="temporary"):
            cursor.adbc_ingest("t", pa.table({"a": [1]}), mode="create")
        assert cursor.adbc_ingest("t", pa.table({"a": [1]}), mode="create", temporary=True) == 1


def test_it_speaks_the_sql_that_it_claims(ask: Ask, flight: Callable[[str], pa.Table]) -> None:
    """Generated SQL follows these answers: quoting, order of NULLs, case of names, named parameters, subqueries."""
    values = _info(ask)
    assert values[504] == '"'
    assert flight('SELECT 1 AS "a""b"').schema.names == ['a"b']
    assert values[503] == 1, "names compare without case"
    assert flight("SELECT ARMS FROM Clinical.TRIALS.Arms LIMIT 1").num_rows == 1
    assert values[507] == 3, "NULLs at the end"
    for order in ("ASC", "DESC"):
        nulls = flight(f"SELECT v FROM (VALUES (1), (NULL), (2)) AS t(v) ORDER BY v {order}")
        assert nulls["v"].to_pylist()[-1] is None
    assert values[513] == "\\"
    assert flight("SELECT 'a_b' LIKE 'a\\_b' ESCAPE '\\' AS v, 'axb' LIKE 'a\\_b' ESCAPE '\\' AS w").to_pylist() == [
        {"v": True, "w": False}
    ]
    assert values[557] == 200_000
    with pytest.raises(pa.ArrowInvalid, match="200000 are allowed"):
        flight("SELECT '" + "x" * 200_000 + "'")
    for name in values[509] + values[510] + values[512]:
        assert re.fullmatch(r"[a-z0-9_]+", name.lower()), name


def test_xdbc_types(ask: Ask) -> None:
    """ODBC tools fill their list of types from this; the filter is by type code."""
    every = ask(m.CommandGetXdbcTypeInfo())
    integers = ask(m.CommandGetXdbcTypeInfo(data_type=4))
    assert "INTEGER" in integers["type_name"].to_pylist()
    assert set(integers["data_type"].to_pylist()) == {4}
    assert integers.num_rows < every.num_rows
    assert every["data_type"].to_pylist() == sorted(every["data_type"].to_pylist())
    assert ask(m.CommandGetXdbcTypeInfo(data_type=31_999)).num_rows == 0


# As ADBC reads it ---------------------------------------------------------------------------------


@pytest.fixture
def connection(server: ServedBy) -> Any:
    """An anonymous connection of the stock driver."""
    with server.adbc() as connection:
        yield connection


def test_get_info(connection: dbapi.Connection) -> None:
    """The driver puts these into logs and support cases."""
    info = connection.adbc_get_info()
    assert info["vendor_name"] == "flightmesh"
    assert info["vendor_arrow_version"] == pa.__version__


def test_get_objects_at_every_depth(connection: dbapi.Connection) -> None:
    """Object browsers descend level by level; each level is there and the next not yet."""
    catalogs = connection.adbc_get_objects(depth="catalogs").read_all().to_pylist()
    assert [each["catalog_name"] for each in catalogs] == ["aviation", "clinical"]
    assert [each["catalog_db_schemas"] for each in catalogs] == [None, None]
    schemas = connection.adbc_get_objects(depth="db_schemas").read_all().to_pylist()
    assert [each["catalog_db_schemas"][0]["db_schema_name"] for each in schemas] == ["flights", "trials"]
    tables = connection.adbc_get_objects(depth="tables").read_all().to_pylist()
    assert _tables(tables) == PUBLIC
    every = connection.adbc_get_objects(depth="all").read_all().to_pylist()
    assert _tables(every) == PUBLIC
    columns = every[1]["catalog_db_schemas"][0]["db_schema_tables"][0]["table_columns"]
    assert [column["column_name"] for column in columns] == ["arms", "arm_name", "patients", "events", "median_days"]
    assert [column["ordinal_position"] for column in columns] == [1, 2, 3, 4, 5]
    assert columns[0]["xdbc_scope_schema"] == "trials"


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"catalog_filter": "clinical"}, PUBLIC[3:]),
        ({"catalog_filter": "c%"}, PUBLIC[3:]),
        ({"db_schema_filter": "fl%"}, PUBLIC[:3]),
        ({"table_name_filter": "ar_s"}, PUBLIC[3:]),
        ({"table_types_filter": ["TABLE"]}, PUBLIC),
        ({"table_types_filter": ["VIEW"]}, []),
        ({"table_name_filter": "patients"}, []),
    ],
    ids=str,
)
def test_get_objects_with_filters(
    connection: dbapi.Connection, filters: dict[str, Any], names: list[tuple[str, ...]]
) -> None:
    """Filters narrow through the driver as they do through the command."""
    found = connection.adbc_get_objects(depth="tables", **filters).read_all().to_pylist()
    assert _tables(found) == names


def test_get_table_schema(connection: dbapi.Connection) -> None:
    """The driver reads one table's schema; a table that is not there, or not visible, is NOT_FOUND."""
    schema = connection.adbc_get_table_schema("arms", catalog_filter="clinical", db_schema_filter="trials")
    assert schema.names == ["arms", "arm_name", "patients", "events", "median_days"]
    assert schema.field("events").metadata[b"flightmesh:unit"] == b"patients"
    for table, filters in (("arms", {"catalog_filter": "aviation"}), ("patients", {}), ("nope", {})):
        with pytest.raises(dbapi.ProgrammingError, match="NOT_FOUND"):
            connection.adbc_get_table_schema(table, **filters)


def test_get_table_types_and_statistics(connection: dbapi.Connection) -> None:
    """Types come through; statistics are not part of Flight SQL, which the driver says itself."""
    assert connection.adbc_get_table_types() == ["LOCAL TEMPORARY", "TABLE"]
    with pytest.raises(dbapi.NotSupportedError):
        connection.adbc_get_statistics()


def test_execute_schema_with_and_without_prepare(connection: dbapi.Connection) -> None:
    """Tools learn the columns of a statement without running it, in both ways that the driver has."""
    wanted = pa.schema([("a", pa.int32()), ("b", pa.string())])
    with connection.cursor() as cursor:
        assert cursor.adbc_execute_schema("SELECT 1 AS a, 'x' AS b").equals(wanted)
        cursor.adbc_statement.set_sql_query("SELECT 1 AS a, 'x' AS b")
        assert pa.schema(cursor.adbc_statement.execute_schema()).equals(wanted)
        cursor.adbc_statement.set_sql_query("SELECT 1 AS a, 'x' AS b")
        handle, _ = cursor.adbc_statement.execute_query()
        with pa.RecordBatchReader._import_from_c(handle.address) as reader:
            assert reader.read_all().to_pylist() == [{"a": 1, "b": "x"}]


def test_partitions(connection: dbapi.Connection) -> None:
    """Distributed readers hand partitions to workers: each is a whole ticket."""
    with connection.cursor() as cursor:
        partitions, schema = cursor.adbc_execute_partitions("SELECT * FROM clinical.trials.arms")
        assert schema.names[0] == "arms"
        rows = 0
        for partition in partitions:
            cursor.adbc_read_partition(partition)
            rows += cursor.fetch_arrow_table().num_rows
        assert rows == 4


# Flight's own -------------------------------------------------------------------------------------


def test_list_flights(server: ServedBy) -> None:
    """One flight per visible port, with schema and a ticket that works; the criteria narrow by the start of names."""
    client, options = server.flight()
    with client:
        infos = list(client.list_flights(options=options))
        assert [tuple(part.decode() for part in info.descriptor.path) for info in infos] == PUBLIC
        table = client.do_get(infos[3].endpoints[0].ticket, options).read_all()
        assert table.schema.equals(infos[3].schema)
        assert table.num_rows == 4
        assert [info.descriptor.path[2] for info in client.list_flights(b"aviation.flights.d", options)] == [
            b"daily_delays"
        ]
        assert list(client.list_flights(b"nope", options)) == []
        steward = client.list_flights(options=server.flight("steward")[1])
        assert len(list(steward)) == 5


def test_list_actions_are_those_that_answer(server: ServedBy) -> None:
    """An action on the list must exist, one off the list must say so with what is meant."""
    client, options = server.flight()
    with client:
        listed = [action.type for action in client.list_actions(options)]
        assert listed == list(ACTIONS)
        assert len(list(client.do_action(("catalog.list", b""), options))) == 2
        for name in ("CreatePreparedStatement", "ClosePreparedStatement", "EndTransaction", "CancelQuery"):
            with pytest.raises(pa.ArrowInvalid, match="not a Flight SQL message"):
                list(client.do_action((name, b""), options))
        for name in ("query.list", "GetSessionOptions", "CloseSession"):
            list(client.do_action((name, b""), options))
        for name in ("CancelFlightInfo", "RenewFlightEndpoint", "query.kill"):
            with pytest.raises((pa.ArrowInvalid, fl.FlightUnauthenticatedError), match=r"invalid: |not issued by this"):
                list(client.do_action((name, b""), options))
        with pytest.raises(pa.ArrowInvalid, match=r"is not \{"):
            list(client.do_action(("query.explain", b""), options))
        with pytest.raises(pa.ArrowNotImplementedError, match=r"Did you mean catalog\.list"):
            list(client.do_action(("catalog.lst", b""), options))
        with pytest.raises(pa.ArrowInvalid, match="body holds CommandGetCatalogs"):
            list(client.do_action(("ClosePreparedStatement", pack(m.CommandGetCatalogs())), options))
        with pytest.raises(pa.ArrowInvalid, match="1048576 are allowed"):
            list(client.do_action(("CreatePreparedStatement", b"x" * 1_100_000), options))


@pytest.mark.parametrize(
    "path", [("clinical", "trials", "arms"), ("clinical.trials.arms",), ("clinical.trials", "arms")]
)
def test_path_descriptors(server: ServedBy, path: tuple[str, ...]) -> None:
    """Domain, product and port in parts or joined by dots; the answer repeats the descriptor."""
    client, options = server.flight()
    with client:
        descriptor = fl.FlightDescriptor.for_path(*path)
        info = client.get_flight_info(descriptor, options)
        assert client.get_schema(descriptor, options).schema.equals(info.schema)
        assert client.do_get(info.endpoints[0].ticket, options).read_all().num_rows == 4


@pytest.mark.parametrize(
    ("path", "error", "told"),
    [
        (("aviation", "flights", "arms"), pa.ArrowKeyError, "no table aviation.flights.arms"),
        (("clinical", "trials", "patients"), pa.ArrowKeyError, "no table clinical.trials.patients"),
        (("clinical", "trials"), pa.ArrowKeyError, "no table clinical.trials. Did you mean clinical.trials.arms?"),
        (("clinical.trials.amrs",), pa.ArrowKeyError, "Did you mean clinical.trials.arms?"),
        (("nothing",), pa.ArrowKeyError, "no table nothing"),
        (("a",) * 9, pa.ArrowInvalid, "empty or too long"),
        ((".".join("a" * 9),), pa.ArrowInvalid, "empty or too long"),
        (("",), pa.ArrowInvalid, "empty or too long"),
        ((), pa.ArrowInvalid, "empty or too long"),
    ],
)
def test_wrong_path_descriptors(server: ServedBy, path: tuple[str, ...], error: type[Exception], told: str) -> None:
    """The same words for what is not there and what is not visible, with the nearest visible name."""
    client, options = server.flight()
    with client:
        for call in (client.get_flight_info, client.get_schema):
            with pytest.raises(error, match=re.escape(told)):
                call(fl.FlightDescriptor.for_path(*path), options)


@pytest.mark.parametrize(
    "command", [m.CommandStatementUpdate("SELECT 1"), m.CommandStatementIngest(table="t"), m.TicketStatementQuery(b"x")]
)
def test_commands_that_are_not_offered(server: ServedBy, command: Any) -> None:
    """Known messages that do not belong there are INVALID and named; they never reach an engine."""
    client, options = server.flight()
    with client:
        descriptor = fl.FlightDescriptor.for_command(pack(command))
        for call in (client.get_flight_info, client.get_schema):
            with pytest.raises(pa.ArrowInvalid, match=f"{type(command).__name__} is not offered"):
                call(descriptor, options)


@pytest.mark.parametrize("data", [b"", b"junk", b"\x0a\x05abc", b"\0" * 64, b"\xff" * 64])
def test_bytes_that_are_no_message(server: ServedBy, data: bytes) -> None:
    """Garbage is INVALID as a command, and no ticket of ours as a ticket."""
    client, options = server.flight()
    with client:
        for call in (client.get_flight_info, client.get_schema):
            with pytest.raises(pa.ArrowInvalid, match="invalid: "):
                call(fl.FlightDescriptor.for_command(data), options)
        with pytest.raises(fl.FlightUnauthenticatedError, match="not issued by this server"):
            client.do_get(fl.Ticket(data), options).read_all()


def test_other_calls_are_refused_in_words(server: ServedBy) -> None:
    """DoExchange exists in the protocol; it says that it is not offered. Uploads to a port's path say where to."""
    client, options = server.flight()
    with client:
        writer, reader = client.do_exchange(fl.FlightDescriptor.for_path("x"), options)
        with pytest.raises(pa.ArrowNotImplementedError, match="DoExchange is not offered"), writer:
            reader.read_chunk()
        port = fl.FlightDescriptor.for_path("clinical", "trials", "arms")
        writer, _ = client.do_put(port, pa.schema([("a", pa.int8())]), options)
        with pytest.raises(pa.ArrowInvalid, match=r"temp"):
            writer.close()


def _tables(catalogs: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (catalog["catalog_name"], schema["db_schema_name"], table["table_name"])
        for catalog in catalogs
        for schema in catalog["catalog_db_schemas"]
        for table in schema["db_schema_tables"]
    ]

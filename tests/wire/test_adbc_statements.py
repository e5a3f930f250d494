"""The published behaviours of arrow-adbc, through the stock driver: statements and their values, partitions, cancel,
sessions, transactions and errors.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import adbc_driver_manager as manager
import pyarrow as pa
import pytest
from adbc_driver_flightsql import dbapi

from tests.wire.adbc_calls import ask, fails, low_level, read, run
from tests.wire.engine import LONG, Engine

if TYPE_CHECKING:
    from tests.conftest import ServedBy

pytestmark = pytest.mark.client

STATUS = manager.AdbcStatusCode
_HEADER = "adbc.flight.sql.rpc.call_header."
_COOKIES = "adbc.flight.sql.rpc.with_cookie_middleware"
_SESSION = "adbc.flight.sql.session.option"
FLIGHTS = "SELECT year, month, day, carrier, flight, origin, dep_delay FROM aviation.flights.flights"


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


# ----------------------------------------------------------------------------------------- statements and their values


def test_executemany(mine: dbapi.Connection) -> None:
    """A thousand rows of values are one call, each written once, and the count is theirs."""
    rows = [(number, None if number % 7 == 0 else f"row {number}") for number in range(1_000)]
    with mine.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE t (n INTEGER, v VARCHAR)")
        cursor.executemany("INSERT INTO t VALUES (?, ?)", rows)
        assert cursor.rowcount == 1_000
        assert cursor.execute("SELECT n, v FROM t ORDER BY n").fetchall() == rows
        cursor.executemany("DELETE FROM t WHERE n = ?", [(1,), (2,), (5_000,)])
        assert cursor.rowcount == 2
        cursor.executemany("UPDATE t SET v = ? WHERE n = ?", [("x", 3), ("y", 4)])
        assert cursor.rowcount == 2
        assert cursor.execute("SELECT v FROM t WHERE n IN (3, 4) ORDER BY n").fetchall() == [("x",), ("y",)]


def test_a_value_of_the_null_type(low: manager.AdbcConnection) -> None:
    """pyarrow gives a column of None the type null: it is written as NULL of the column's own type."""
    values = pa.record_batch({"0": pa.array([7001], pa.int64()), "1": pa.nulls(1)})
    with closing(manager.AdbcStatement(low)) as statement:
        statement.set_sql_query("CREATE TEMP TABLE t (id INT, value VARCHAR)")
        assert statement.execute_update() == 0
        statement.set_sql_query("INSERT INTO t (id, value) VALUES (?, ?)")
        statement.prepare()
        statement.bind(values)
        assert statement.execute_update() == 1
    with closing(manager.AdbcStatement(low)) as statement:
        statement.set_sql_query("SELECT value FROM t WHERE id = 7001")
        assert read(statement.execute_query()[0]).read_all().to_pylist() == [{"value": None}]


def test_several_rows_of_values_for_a_query(low: manager.AdbcConnection) -> None:
    """All rows of values are one execution; the answers stand in their order."""
    with closing(manager.AdbcStatement(low)) as statement:
        statement.set_sql_query("SELECT 1 + ? AS v")
        statement.prepare()
        statement.bind(pa.record_batch({"0": [1, 2, 3, 4]}))
        assert read(statement.execute_query()[0]).read_all()["v"].to_pylist() == [2, 3, 4, 5]
        statement.bind(pa.record_batch({"0": [10]}))
        assert read(statement.execute_query()[0]).read_all()["v"].to_pylist() == [11]


def test_rows_affected_of_each_kind(low: manager.AdbcConnection) -> None:
    """What changes nothing says 0, never -1; what changes rows says how many."""
    statements = {
        "DROP TABLE IF EXISTS t": 0,
        "CREATE TEMP TABLE t (id INT)": 0,
        "INSERT INTO t (id) VALUES (1)": 1,
        "UPDATE t SET id = id + 1 WHERE id = 1": 1,
        "UPDATE t SET id = 9 WHERE id = 1": 0,
        "DELETE FROM t WHERE id = 2": 1,
        "DROP TABLE t": 0,
    }
    found = {}
    for sql in statements:
        with closing(manager.AdbcStatement(low)) as statement:
            statement.set_sql_query(sql)
            found[sql] = statement.execute_update()
    assert found == statements


def test_schemas_without_execution(mine: dbapi.Connection) -> None:
    """A tool learns the columns before it decides to read; nothing runs, and nothing is written."""
    with mine.cursor() as cursor:
        assert len(cursor.adbc_execute_schema("SELECT arms + 1 FROM clinical.trials.arms")) == 1
        wanted = pa.schema([("n", pa.int64()), ("d", pa.decimal128(10, 2)), ("l", pa.list_(pa.string()))])
        found = cursor.adbc_execute_schema("SELECT 1::BIGINT AS n, 1::DECIMAL(10,2) AS d, ['a'] AS l")
        assert list(zip(found.names, found.types, strict=True)) == list(zip(wanted.names, wanted.types, strict=True))
        assert cursor.adbc_execute_schema(LONG).names == ["s"]
        cursor.execute("CREATE TEMP TABLE t (n INT)")
        cursor.adbc_execute_schema("INSERT INTO t VALUES (1)")
        assert cursor.execute("SELECT count(*) FROM t").fetchall() == [(0,)]
        with fails(STATUS.NOT_FOUND):
            cursor.adbc_execute_schema("SELECT * FROM nowhere")


def test_prepare_tells_the_types_of_parameters(mine: dbapi.Connection) -> None:
    """Drivers convert what users bind by these types; none is Arrow's null."""
    with mine.cursor() as cursor:
        assert len(cursor.adbc_prepare("SELECT 1") or ()) == 0
        schema = cursor.adbc_prepare("SELECT * FROM clinical.trials.arms WHERE arms = ? AND arm_name LIKE ?")
        assert schema is not None
        assert schema.types == [pa.int64(), pa.string()]
        assert len(cursor.adbc_prepare("SELECT 1 + ? + ?") or ()) == 2
        cursor.execute("CREATE TEMP TABLE t (id INT, value DATE)")
        schema = cursor.adbc_prepare("INSERT INTO t VALUES (?, ?)")
        assert schema is not None
        assert schema.types == [pa.int32(), pa.date32()]
        assert cursor.execute("SELECT count(*) FROM t").fetchall() == [(0,)]


def test_text_beyond_ascii(low: manager.AdbcConnection) -> None:
    """Statements and values are UTF-8 both ways."""
    with closing(manager.AdbcStatement(low)) as statement:
        statement.set_sql_query("SELECT 'Hello, 世界 🚀' AS greeting")
        assert read(statement.execute_query()[0]).read_all()["greeting"].to_pylist() == ["Hello, 世界 🚀"]


# ----------------------------------------------------------------------------------------------------------- partitions


def _parts(connection: dbapi.Connection, sql: str) -> tuple[Sequence[bytes], pa.Schema]:
    with connection.cursor() as cursor:
        return cursor.adbc_execute_partitions(sql)


def _part(connection: dbapi.Connection, part: bytes) -> pa.Table:
    with connection.cursor() as cursor:
        cursor.adbc_read_partition(part)
        return cursor.fetch_arrow_table()


def test_one_partition_unless_asked(mine: dbapi.Connection) -> None:
    """Clients that read but one endpoint must get everything from it."""
    parts, schema = _parts(mine, FLIGHTS)
    assert (len(parts), schema.names[:3]) == (1, ["year", "month", "day"])
    assert _part(mine, parts[0]).num_rows == 336_776


def test_several_partitions_are_the_whole_in_order(server: ServedBy, mine: dbapi.Connection) -> None:
    """A cluster's workers read a part each, on connections of their own: together exactly the result, in its order."""
    with mine.cursor() as cursor:
        whole = cursor.execute(FLIGHTS).fetch_arrow_table()
    with server.adbc("analyst", **{f"{_HEADER}x-flightmesh-endpoints-max": "8"}) as asking:
        parts, schema = _parts(asking, FLIGHTS)
        assert 2 <= len(parts) <= 8
        assert schema.equals(whole.schema)
        assert len(_parts(asking, "SELECT count(*) FROM aviation.flights.flights")[0]) == 1
    # The connection that asked is closed: any other of the same user's reads on, and any number of times.
    with server.adbc("analyst") as worker:
        tables = [_part(worker, part) for part in parts]
        assert _part(worker, parts[-1]).equals(tables[-1])
    assert all(table.num_rows > 0 for table in tables)
    assert pa.concat_tables(tables).equals(whole)


@pytest.mark.parametrize("user", ["steward", None])
def test_a_partition_is_its_users_own(server: ServedBy, mine: dbapi.Connection, user: str | None) -> None:
    """A part that leaks into a log is of no use to anybody else."""
    (part,), _ = _parts(mine, "SELECT 1 AS v")
    with server.adbc(user) as other, pytest.raises(dbapi.Error) as refused:
        _part(other, part)
    assert refused.value.status_code in (STATUS.UNAUTHENTICATED, STATUS.UNAUTHORIZED, STATUS.NOT_FOUND)


def test_a_partition_that_is_none(mine: dbapi.Connection) -> None:
    """Bytes of another system, or cut short, are refused plainly."""
    (part,), _ = _parts(mine, "SELECT 1 AS v")
    for wrong in (b"", b"nonsense", part[:-8]):
        with pytest.raises(dbapi.Error):
            _part(mine, wrong)
    assert _part(mine, part).to_pylist() == [{"v": 1}]


# -------------------------------------------------------------------------------------------- cancel, sessions, closing


def test_cancel_from_another_thread(server: ServedBy, mine: dbapi.Connection) -> None:
    """A notebook's stop button: the call ends with an error, the engine stops, the connection is of further use."""
    engine = Engine(server, "analyst")
    with mine.cursor() as cursor:

        def stop() -> None:
            engine.wait(LONG)
            cursor.adbc_cancel()

        thread = threading.Thread(target=stop)
        thread.start()
        with pytest.raises((dbapi.Error, pa.ArrowException, OSError)):
            cursor.execute(LONG).fetchall()
        thread.join(30)
        engine.wait_gone(LONG, 5)
    assert ask(mine, "SELECT 1") == [(1,)]


def test_cancel_of_nothing(mine: dbapi.Connection) -> None:
    """Pressing the button late changes nothing for what comes next."""
    with mine.cursor() as cursor:
        assert cursor.execute("SELECT 1").fetchall() == [(1,)]
        cursor.adbc_cancel()
        assert cursor.execute("SELECT 2").fetchall() == [(2,)]


def test_current_catalogue_and_schema(mine: dbapi.Connection) -> None:
    """Set, read and unset; a name that is not there is NOT_FOUND and leaves what was set."""
    assert (mine.adbc_current_catalog, mine.adbc_current_db_schema) == ("", "")
    mine.adbc_current_catalog, mine.adbc_current_db_schema = "clinical", "trials"
    assert (mine.adbc_current_catalog, mine.adbc_current_db_schema) == ("clinical", "trials")
    assert ask(mine, "SELECT count(*), any_value(current_schema()) FROM arms") == [(4, "trials")]
    with fails(STATUS.NOT_FOUND):
        mine.adbc_current_catalog = "thiscatalogdoesnotexist"
    with fails(STATUS.NOT_FOUND):
        mine.adbc_current_db_schema = "flights"
    assert (mine.adbc_current_catalog, mine.adbc_current_db_schema) == ("clinical", "trials")
    mine.adbc_current_catalog = "aviation"
    assert (mine.adbc_current_catalog, mine.adbc_current_db_schema) == ("aviation", "")
    mine.adbc_current_db_schema = "flights"
    assert ask(mine, "SELECT count(*) FROM daily_delays WHERE false") == [(0,)]


def test_the_place_can_be_set_with_the_connection(server: ServedBy) -> None:
    """Connection strings of tools name a schema."""
    options = {f"{_HEADER}catalog": "clinical", f"{_HEADER}schema": "trials"}
    with server.adbc("analyst", **options) as connection:
        assert ask(connection, "SELECT count(*) FROM arms") == [(4,)]


def test_session_options_by_the_drivers_own_names(mine: dbapi.Connection) -> None:
    """Ours are set and read by the driver's prefix, typed, erased, and refused by name."""
    options = mine.adbc_connection
    options.set_options(**{f"{_SESSION}.query_timeout_s": "30"})
    options.set_options(**{f"{_SESSION}bool.dictionaries": "true"})
    shown = json.loads(options.get_option("adbc.flight.sql.session.options"))
    assert float(shown["query_timeout_s"]) == 30.0
    assert shown["dictionaries"] is True
    options.set_options(**{f"{_SESSION}erase.query_timeout_s": ""})
    assert "query_timeout_s" not in json.loads(options.get_option("adbc.flight.sql.session.options"))
    for name, value in ((f"{_SESSION}.nonsense", "1"), (f"{_SESSION}.query_timeout_s", "soon")):
        with fails(STATUS.INVALID_ARGUMENT):
            options.set_options(**{name: value})


@pytest.mark.parametrize("cookies", ["true", "false"])
@pytest.mark.parametrize("user", ["analyst", None])
def test_sessions_with_and_without_cookies(server: ServedBy, user: str | None, cookies: str) -> None:
    """Temporary tables and settings last from call to call, whether the driver keeps cookies or not, and are alone."""
    with server.adbc(user, **{_COOKIES: cookies}) as one, server.adbc(user, **{_COOKIES: cookies}) as two:
        run(one, "CREATE TEMP TABLE t AS SELECT 1 AS v", "USE clinical.trials")
        assert ask(one, "SELECT v, (SELECT count(*) FROM arms) FROM t") == [(1, 4)]
        assert (one.adbc_current_catalog, two.adbc_current_catalog) == ("clinical", "")
        with fails(STATUS.NOT_FOUND):
            ask(two, "SELECT * FROM t")


@pytest.mark.parametrize("scheme", ["grpc", "grpc+tcp", "flightsql"])
def test_every_form_of_address(server: ServedBy, scheme: str) -> None:
    """Manuals write the address in these ways."""
    address = server.uri.partition("://")[2].rstrip("/")
    with dbapi.connect(f"{scheme}://{address}" + ("?transport=tcp" if scheme == "flightsql" else "")) as connection:
        assert ask(connection, "SELECT 1") == [(1,)]


def test_closing_twice(server: ServedBy) -> None:
    """Cleaning up twice is no error, and the temporary tables are gone after the first time."""
    connection = server.adbc("analyst")
    cursor = connection.cursor()
    cursor.execute("CREATE TEMP TABLE t AS SELECT 1 AS v")
    cursor.close()
    cursor.close()
    connection.close()
    connection.close()
    with pytest.raises(dbapi.Error):
        connection.cursor()


# --------------------------------------------------------------------------------------------------------- transactions


@pytest.fixture
def manual(server: ServedBy) -> Iterator[dbapi.Connection]:
    """A connection that commits by word, as the database interface has it by default."""
    options = {"adbc.flight.sql.authorization_header": f"Bearer {server.tokens['analyst']}"}
    with dbapi.connect(server.uri, db_kwargs=options) as connection:
        yield connection


def test_commit_and_rollback(manual: dbapi.Connection) -> None:
    """What was committed stays, what was not is undone, and ends without statements are quietly fine."""
    manual.rollback()
    manual.commit()
    run(manual, "CREATE TEMP TABLE t (v INT)", "INSERT INTO t VALUES (1)")
    manual.commit()
    run(manual, "INSERT INTO t VALUES (2)", "CREATE TEMP TABLE more AS SELECT 1 AS v")
    assert ask(manual, "SELECT sum(v)::INT FROM t") == [(3,)]
    manual.rollback()
    assert ask(manual, "SELECT sum(v)::INT FROM t") == [(1,)]
    with fails(STATUS.NOT_FOUND):
        ask(manual, "SELECT * FROM more")
    manual.rollback()


def test_a_failure_does_not_end_the_transaction(manual: dbapi.Connection) -> None:
    """A typing error in a notebook must not lose what was done before it, nor commit it."""
    run(manual, "CREATE TEMP TABLE t AS SELECT 1 AS v")
    with fails(STATUS.INVALID_ARGUMENT):
        run(manual, "SELEC 1")
    assert ask(manual, "SELECT v FROM t") == [(1,)]
    manual.rollback()
    with fails(STATUS.NOT_FOUND):
        ask(manual, "SELECT v FROM t")


def test_autocommit_is_toggled(mine: dbapi.Connection) -> None:
    """The driver refuses to commit what commits by itself, and begins and ends transactions as it is told."""
    connection = mine.adbc_connection
    assert connection.get_option("adbc.connection.autocommit") == "true"
    for end in (connection.commit, connection.rollback):
        with fails(STATUS.INVALID_STATE):
            end()
    connection.set_autocommit(False)
    assert connection.get_option("adbc.connection.autocommit") == "false"
    run(mine, "CREATE TEMP TABLE t AS SELECT 1 AS v")
    connection.rollback()
    run(mine, "CREATE TEMP TABLE u AS SELECT 1 AS v")
    connection.commit()
    connection.set_autocommit(True)
    assert connection.get_option("adbc.connection.autocommit") == "true"
    with fails(STATUS.NOT_FOUND):
        ask(mine, "SELECT * FROM t")
    assert ask(mine, "SELECT v FROM u") == [(1,)]


def test_a_prepared_statement_outlives_a_rollback(manual: dbapi.Connection) -> None:
    """Applications prepare once and run for days: the end of the transaction is not the statement's."""
    run(manual, "CREATE TEMP TABLE t AS SELECT 1 AS v")
    manual.commit()
    with closing(manager.AdbcStatement(manual.adbc_connection)) as statement:
        statement.set_sql_query("SELECT count(*) AS n FROM t WHERE v >= ?")
        statement.prepare()

        def count() -> int:
            statement.bind(pa.record_batch({"0": pa.array([0], pa.int32())}))
            return int(read(statement.execute_query()[0]).read_all()["n"][0].as_py())

        run(manual, "INSERT INTO t VALUES (2)")
        assert count() == 2
        manual.rollback()
        assert count() == 1
        run(manual, "INSERT INTO t VALUES (3), (4)")
        assert count() == 3
        manual.commit()
        assert count() == 3


def test_executemany_in_a_transaction(manual: dbapi.Connection) -> None:
    """Rows of bound values are undone with the rest."""
    with manual.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE t (v INT)")
        manual.commit()
        cursor.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)])
        assert cursor.rowcount == 2
        manual.rollback()
        assert cursor.execute("SELECT count(*) FROM t").fetchall() == [(0,)]


# --------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("sql", "kind", "status"),
    [
        ("SELEC 1", dbapi.ProgrammingError, STATUS.INVALID_ARGUMENT),
        ("SELECT * FROM nowhere", dbapi.ProgrammingError, STATUS.NOT_FOUND),
        ("SELECT nothing FROM clinical.trials.arms", dbapi.ProgrammingError, STATUS.INVALID_ARGUMENT),
        ("SELECT ?", dbapi.ProgrammingError, STATUS.INVALID_ARGUMENT),
        ("CREATE TABLE t AS SELECT 1 AS v", dbapi.ProgrammingError, STATUS.INVALID_ARGUMENT),
        ("DELETE FROM clinical.trials.arms", dbapi.ProgrammingError, STATUS.INVALID_ARGUMENT),
        ("SELECT CAST('a' || arm_name AS INT) FROM clinical.trials.arms", None, STATUS.INVALID_ARGUMENT),
        ("SELECT 1; SELECT 2", dbapi.ProgrammingError, STATUS.INVALID_ARGUMENT),
        ("-- nothing", dbapi.ProgrammingError, STATUS.INVALID_ARGUMENT),
    ],
)
def test_errors_have_their_class_and_status(
    mine: dbapi.Connection, sql: str, kind: type[Exception] | None, status: manager.AdbcStatusCode
) -> None:
    """Programs decide by class and code; people read the text."""
    with mine.cursor() as cursor, pytest.raises((dbapi.Error, pa.ArrowException)) as refused:
        cursor.execute(sql).fetchall()
    if kind is not None:
        assert isinstance(refused.value, kind)
        assert isinstance(refused.value, dbapi.Error)
        assert refused.value.status_code == status
    assert "Traceback" not in str(refused.value)
    assert ask(mine, "SELECT 1") == [(1,)]


def test_wrong_credentials(server: ServedBy) -> None:
    """The driver connects without looking: the first statement says that nobody was signed in."""
    for options in (
        {"adbc.flight.sql.authorization_header": "Bearer fm_nonsense"},
        {"username": "analyst", "password": "wrong"},
    ):
        with pytest.raises(dbapi.Error) as refused, dbapi.connect(server.uri, db_kwargs=options, autocommit=True) as it:
            ask(it, "SELECT 1")
        assert refused.value.status_code == STATUS.UNAUTHENTICATED


def test_what_the_server_cannot_do_is_said_plainly(low: manager.AdbcConnection) -> None:
    """Incremental execution needs a call that the server's library has no place for; options of other drivers too."""
    with closing(manager.AdbcStatement(low)) as statement:
        statement.set_options(**{"adbc.statement.exec.incremental": "true"})
        statement.set_sql_query("SELECT 1")
        with fails(STATUS.NOT_IMPLEMENTED):
            statement.execute_partitions()
    for option in ({"adbc.nonsense": "1"}, {"adbc.statement.exec.incremental": "perhaps"}):
        with closing(manager.AdbcStatement(low)) as statement, pytest.raises(dbapi.Error) as refused:
            statement.set_options(**option)
        assert refused.value.status_code in (STATUS.NOT_IMPLEMENTED, STATUS.INVALID_ARGUMENT)
    with closing(manager.AdbcStatement(low)) as statement:
        statement.set_substrait_plan(b"plan")
        with pytest.raises(dbapi.Error):
            statement.execute_query()


def test_a_statement_without_a_query(low: manager.AdbcConnection) -> None:
    """The driver's own states are its own: the server is not asked, and goes on."""
    calls: Sequence[Callable[[manager.AdbcStatement], object]] = (
        manager.AdbcStatement.execute_query,
        manager.AdbcStatement.prepare,
        manager.AdbcStatement.execute_schema,
    )
    for call in calls:
        with closing(manager.AdbcStatement(low)) as statement, fails(STATUS.INVALID_STATE):
            call(statement)

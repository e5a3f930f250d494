"""What is JDBC's own in the wire suite: every getter of DatabaseMetaData, statements that run once, the set methods of
PreparedStatement, how people sign in, and what the driver shows of every type.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tests.wire.client import Login, Refused
from tests.wire.java_client import Jdbc, jdbc_bridge, missing

if TYPE_CHECKING:
    from tests.conftest import ServedBy

pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(missing() is not None, reason=missing() or ""),
    pytest.mark.timeout(600),  # the first test of a fresh checkout waits for Maven
]

_ARMS = ("clinical", "trials", "arms")
_LONG = "SELECT count(*) FROM range(100000000000) r(i) WHERE hash(i) % 17 = 3"


@pytest.fixture
def jdbc(server: ServedBy) -> Iterator[Jdbc]:
    """A connection of a signed-in user's own."""
    connection = Jdbc(Login(server.uri, token=server.tokens["analyst"]))
    yield connection
    connection.close()


# -------------------------------------------------------------------------------------------------------- the metadata


def test_every_getter_answers(jdbc: Jdbc) -> None:
    """A tool reads dozens of them when it connects; one exception, and it connects no more."""
    told = jdbc.ask("getters")
    assert len(told) > 140
    failed = {name: answer for name, answer in told.items() if isinstance(answer, dict) and "error" in answer}
    assert failed == {}
    assert told["getDatabaseProductName"] == "flightmesh"
    assert told["getDatabaseProductVersion"].startswith("duckdb v")
    assert told["getIdentifierQuoteString"] == '"'
    assert told["getSearchStringEscape"] == "\\"
    assert (told["getCatalogTerm"], told["getSchemaTerm"], told["getCatalogSeparator"]) == ("catalog", "schema", ".")
    assert told["isCatalogAtStart"] is told["supportsOuterJoins"] is told["supportsUnionAll"] is True
    assert told["supportsCorrelatedSubqueries"] is told["supportsLikeEscapeClause"] is True
    assert told["supportsStoredProcedures"] is told["supportsSavepoints"] is False
    assert told["nullsAreSortedAtEnd"] is True
    assert "qualify" in told["getSQLKeywords"].split(", ")
    assert "date_trunc" in told["getTimeDateFunctions"].split(", ")
    assert [row[0] for row in told["getCatalogs"]["rows"]] == ["aviation", "clinical"]


# Method, arguments, number of rows; None where the figure is another test's.
_WITH_ARGUMENTS: list[tuple[str, tuple[Any, ...], int | None]] = [
    ("getSchemas", (), 2),
    ("getSchemas", ("clinical", "t%"), 1),
    ("getTables", ("clinical", "trials", "%", ("TABLE",)), 2),
    ("getTables", (None, None, "arms", None), 1),
    ("getTables", (None, None, "a_ms", None), 1),
    ("getTables", (None, None, "a\\_ms", None), 0),
    ("getTables", (None, None, None, ("NO SUCH TYPE",)), 0),
    ("getColumns", ("clinical", "tri%", "arms", "a%"), 2),
    ("getPrimaryKeys", _ARMS, 1),
    ("getImportedKeys", _ARMS, 0),
    ("getExportedKeys", _ARMS, 0),
    ("getCrossReference", (*_ARMS, "clinical", "trials", "patients"), 0),
    ("getTypeInfo", (), 0),
    ("getIndexInfo", (*_ARMS, True, True), 0),
    ("getBestRowIdentifier", (*_ARMS, 1, True), 0),
    ("getVersionColumns", _ARMS, 0),
    ("getTablePrivileges", _ARMS, 0),
    ("getColumnPrivileges", (*_ARMS, None), 0),
    ("getProcedures", (None, None, None), 0),
    ("getProcedureColumns", (None, None, None, None), 0),
    ("getFunctions", (None, None, None), 0),
    ("getFunctionColumns", (None, None, None, None), 0),
    ("getUDTs", (None, None, None, None), 0),
    ("getSuperTypes", (None, None, None), 0),
    ("getSuperTables", (None, None, None), 0),
    ("getAttributes", (None, None, None, None), 0),
    ("getPseudoColumns", (None, None, None, None), 0),
]


@pytest.mark.parametrize(("method", "arguments", "rows"), _WITH_ARGUMENTS)
def test_methods_with_arguments_answer(jdbc: Jdbc, method: str, arguments: tuple[Any, ...], rows: int | None) -> None:
    """A tool's tree of objects is made of these."""
    answer = jdbc.metadata(method, *arguments)
    assert rows is None or len(answer["rows"]) == rows


@pytest.mark.parametrize(
    ("method", "arguments", "answer"),
    [
        ("supportsConvert", (4, 12), True),
        ("supportsTransactionIsolationLevel", (8,), False),
        ("supportsResultSetType", (1003,), True),
        ("supportsResultSetConcurrency", (1003, 1007), True),
    ],
)
def test_capabilities_with_arguments_answer(jdbc: Jdbc, method: str, arguments: tuple[int, ...], answer: bool) -> None:
    """Pools and mappers ask these before they choose how to read."""
    assert jdbc.metadata(method, *arguments) is answer


def test_columns_have_types_sizes_nullability_and_remarks(jdbc: Jdbc) -> None:
    """What the contract says is what a tool shows beside the column."""
    columns = {column["name"]: column for column in jdbc.columns("clinical", "trials", "patients")}
    arm_name = {"name": "arm_name", "type_name": "VARCHAR", "size": 65536, "nullable": False}
    assert columns["arm_name"] == {**arm_name, "remarks": "The treatment arm in words."}
    assert columns["wtkg"]["type_name"] == "DOUBLE"
    assert columns["age"]["type_name"] == "BIGINT"
    assert columns["age"]["size"] == 19
    assert columns["cd496"]["nullable"] is True
    assert columns["cd420"]["nullable"] is False
    assert columns["cd420"]["remarks"] == "CD4 T-cell count at week 20 (give or take 5)."
    assert "pidnum" not in columns, "a column that is dropped for the reader is not listed"


def test_keys_are_those_of_the_contract(jdbc: Jdbc) -> None:
    """Mappers need the order of a key's columns."""
    assert jdbc.primary_keys(*_ARMS) == ("arms",)
    assert jdbc.primary_keys("aviation", "flights", "daily_delays") == ("flight_date", "origin", "carrier")


# ------------------------------------------------------------------------------------------------- statements run once


def test_a_table_is_created_once_and_rows_are_inserted_once(jdbc: Jdbc) -> None:
    """With a count of -1 the driver takes the statement for a query, and runs it again."""
    created = jdbc.ask("execute", sql="CREATE TEMP TABLE once (a INTEGER, b VARCHAR)")
    assert created == {"result_set": False, "rows": None, "update_count": 0, "more_results": False}
    inserted = jdbc.ask("execute", sql="INSERT INTO once VALUES (1, 'x'), (2, NULL)")
    assert (inserted["result_set"], inserted["update_count"]) == (False, 2)
    assert jdbc.query("SELECT a, b FROM once ORDER BY a").rows == ((1, "x"), (2, None))
    assert jdbc.update("UPDATE once SET b = 'y' WHERE a = 2") == 1
    assert jdbc.update("DELETE FROM once WHERE a = 1") == 1
    assert jdbc.query("SELECT a, b FROM once").rows == ((2, "y"),)
    assert jdbc.ask("execute", sql="DROP TABLE once")["update_count"] == 0
    with pytest.raises(Refused, match="once"):
        jdbc.query("SELECT a FROM once")


def test_a_prepared_insert_runs_once(jdbc: Jdbc) -> None:
    """PreparedStatement.execute of an INSERT arrives as a query of this driver; executeUpdate as an update."""
    jdbc.update("CREATE TEMP TABLE prepared (a INTEGER)")
    jdbc.ask("execute", sql="INSERT INTO prepared VALUES (?)", prepared=True, parameters=[("setInt", "1")])
    assert jdbc.query("SELECT a FROM prepared").rows == ((1,),)
    assert jdbc.update("INSERT INTO prepared VALUES (?)", [(2,)]) == 1
    assert jdbc.query("SELECT a FROM prepared ORDER BY a").rows == ((1,), (2,))


def test_a_batch_is_inserted_whole(jdbc: Jdbc) -> None:
    """executeBatch sends all rows at once and is told one count."""
    jdbc.update("CREATE TEMP TABLE batch (a BIGINT, b VARCHAR, c DECIMAL(9, 2))")
    rows = [(number, f"row {number}", Decimal("0.25")) for number in range(1000)]
    assert jdbc.update("INSERT INTO batch VALUES (?, ?, ?)", rows) == 1000
    assert jdbc.query("SELECT count(*), sum(a), max(b), sum(c) FROM batch").rows[0][0] == 1000


def test_a_query_has_a_result_and_no_count(jdbc: Jdbc) -> None:
    """What execute() must leave behind for a query, prepared or not."""
    for prepared in (False, True):
        after = jdbc.ask("execute", sql="SELECT 1 AS a", prepared=prepared)
        assert after["result_set"] is True
        assert after["rows"] == {"columns": ["a"], "rows": [[1]]}
        assert after["update_count"] == -1


def test_commit_and_rollback_are_quiet(jdbc: Jdbc) -> None:
    """Pools send them around every statement; this driver passes nothing on."""
    jdbc.begin()
    assert jdbc.query("SELECT 1").rows == ((1,),)
    jdbc.commit()
    jdbc.rollback()


# ----------------------------------------------------------------------------------------------------------- parameters

# The type of the parameter, the set method, what it is given, and what comes back.
_SET: list[tuple[str, str, str | None, Any]] = [
    ("BOOLEAN", "setBoolean", "true", True),
    ("TINYINT", "setByte", "-5", -5),
    ("SMALLINT", "setShort", "-300", -300),
    ("INTEGER", "setInt", "-70000", -70000),
    ("INTEGER", "setLong", "7", 7),
    ("BIGINT", "setLong", "-9223372036854775808", -(2**63)),
    ("BIGINT", "setInt", "7", 7),
    ("HUGEINT", "setBigDecimal", str(2**100), str(2**100)),
    ("UTINYINT", "setShort", "100", 100),
    ("USMALLINT", "setInt", "30000", 30000),
    ("UINTEGER", "setLong", "2000000000", 2000000000),
    ("UHUGEINT", "setString", str(2**100), str(2**100)),
    ("VARCHAR::BIT", "setString", "10101", "10101"),
    ("VARCHAR::TIMETZ", "setString", "12:34:56+02", "12:34:56+02"),
    ("UBIGINT", "setLong", "9223372036854775807", str(2**63 - 1)),
    ("FLOAT", "setFloat", "1.5", 1.5),
    ("DOUBLE", "setDouble", "-0.1", -0.1),
    ("DOUBLE", "setDouble", "NaN", "nan"),
    ("DOUBLE", "setDouble", "Infinity", "inf"),
    ("DOUBLE", "setInt", "7", 7.0),
    ("DECIMAL(9, 2)", "setBigDecimal", "1234567.89", "1234567.89"),
    ("DECIMAL(38, 10)", "setBigDecimal", "-1234567890123456789012345678.0123456789", None),
    ("VARCHAR", "setString", "", ""),
    ("VARCHAR", "setString", "é 😀 ' \\", "é 😀 ' \\"),
    ("BLOB", "setBytes", "00ff", "hex:00ff"),
    ("DATE", "setDate", "2020-02-29", "2020-02-29"),
    ("DATE", "setDate", "1900-02-28", "1900-02-28"),
    ("TIME", "setTime", "12:34:56", "12:34:56"),
    ("TIMESTAMP", "setTimestamp", "2020-02-29T12:34:56.789", "2020-02-29T12:34:56.789"),
    ("TIMESTAMP", "setTimestamp", "1969-12-31T23:59:59.5", "1969-12-31T23:59:59.5"),
    ("TIMESTAMP_S", "setTimestamp", "2020-02-29T12:34:56", "2020-02-29T12:34:56"),
    ("TIMESTAMP_MS", "setTimestamp", "2020-02-29T12:34:56.789", "2020-02-29T12:34:56.789"),
    ("TIMESTAMP_NS", "setTimestamp", "2020-02-29T12:34:56.789", "2020-02-29T12:34:56.789"),
    ("TIMESTAMPTZ", "setInstant", "2020-02-29T12:34:56.789Z", "2020-02-29T12:34:56.789Z"),
    ("UUID", "setString", "00112233-4455-6677-8899-aabbccddeeff", "00112233-4455-6677-8899-aabbccddeeff"),
    ("JSON", "setString", '{"a": 1}', '{"a": 1}'),
    ("BOOLEAN", "setObject:Boolean", "true", True),
    ("SMALLINT", "setObject:Short", "5", 5),
    ("INTEGER", "setObject:Integer", "5", 5),
    ("BIGINT", "setObject:Long", "5", 5),
    ("DOUBLE", "setObject:Double", "1.5", 1.5),
    ("DECIMAL(9, 2)", "setObject:BigDecimal", "1.50", "1.50"),
    ("VARCHAR", "setObject:String", "x", "x"),
    ("BLOB", "setObject:bytes", "00ff", "hex:00ff"),
    ("DATE", "setObject:Date", "2020-02-29", "2020-02-29"),
    ("TIME", "setObject:Time", "12:34:56", "12:34:56"),
    ("TIMESTAMP", "setObject:Timestamp", "2020-02-29T12:34:56.789", "2020-02-29T12:34:56.789"),
]


@pytest.mark.parametrize(("kind", "setter", "given", "told"), _SET)
def test_a_set_method_binds(jdbc: Jdbc, kind: str, setter: str, given: str | None, told: Any) -> None:
    """The driver binds into the very type that the server asked for: a wrong one is an exception, or another value."""
    answer = jdbc.ask("query", sql=f"SELECT ?::{kind} AS v", parameters=[(setter, given)])
    assert answer == {"columns": ["v"], "rows": [[given if told is None else told]]}


@pytest.mark.parametrize("setter", ["setNull", "setObject"])
@pytest.mark.parametrize(
    "kind",
    [
        *("BOOLEAN", "TINYINT", "INTEGER", "BIGINT", "HUGEINT", "UBIGINT", "FLOAT", "DOUBLE", "DECIMAL(9, 2)"),
        *("VARCHAR", "BLOB", "DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ", "UUID"),
    ],
)
def test_null_binds_to_every_type(jdbc: Jdbc, kind: str, setter: str) -> None:
    """setNull, and setObject of null."""
    answer = jdbc.ask("query", sql=f"SELECT ?::{kind} AS v", parameters=[(setter, None)])
    assert answer["rows"] == [[None]]


def test_parameters_have_the_types_of_what_they_are_compared_with(jdbc: Jdbc) -> None:
    """No cast is needed in the statement: a filter and a limit take setInt and setString as they are."""
    sql = "SELECT arms FROM clinical.trials.arms WHERE arm_name = ? AND patients > ? ORDER BY 1 LIMIT ?"
    parameters = [("setString", "zidovudine"), ("setInt", "1"), ("setInt", "1")]
    assert jdbc.ask("query", sql=sql, parameters=parameters)["rows"] == [[0]]
    assert jdbc.ask("describe", sql=sql)["columns"] == ["arms"]


@pytest.mark.parametrize(
    ("kind", "parameter"),
    [
        ("DECIMAL(9, 2)", ("setBigDecimal", "1.5")),
        ("DECIMAL(9, 2)", ("setInt", "1")),
        ("DATE", ("setString", "2020-02-29")),
    ],
)
def test_what_the_driver_does_not_convert_is_an_error(jdbc: Jdbc, kind: str, parameter: tuple[str, str]) -> None:
    """The page warns of it: a scale, a number or a text that is not the parameter's own is refused, not changed."""
    with pytest.raises(Refused):
        jdbc.ask("query", sql=f"SELECT ?::{kind} AS v", parameters=[parameter])
    with_text = jdbc.ask("query", sql=f"SELECT ?::VARCHAR::{kind} AS v", parameters=[("setString", parameter[1])])
    assert with_text["rows"] == [["2020-02-29" if kind == "DATE" else format(Decimal(parameter[1]), ".2f")]]


def test_a_parameter_too_few_is_refused(jdbc: Jdbc) -> None:
    """One value for two parameters is the driver's or the server's error, and never an answer."""
    with pytest.raises(Refused):
        jdbc.query("SELECT ?::INTEGER + ?::INTEGER", [1])


# ---------------------------------------------------------------------------------------------------- who is connecting


def _patients(login: Login) -> int:
    connection = Jdbc(login)
    try:
        return int(connection.query("SELECT count(*) FROM clinical.trials.patients").rows[0][0])
    finally:
        connection.close()


def test_password_token_and_nobody_see_what_is_theirs(server: ServedBy) -> None:
    """One driver, three ways to sign in: rows by the role of whoever did."""
    for user, rows in (("steward", 2139), ("site", 370)):
        assert _patients(Login(server.uri, user=user, password=server.password(user))) == rows
        assert _patients(Login(server.uri, token=server.tokens[user])) == rows
    with pytest.raises(Refused, match="patients"):
        _patients(Login(server.uri))


def test_a_wrong_password_or_token_does_not_connect(server: ServedBy) -> None:
    """Refused when connecting, and the secret is not in the error."""
    for login in (Login(server.uri, user="steward", password="hunter2"), Login(server.uri, token="fm_hunter2")):
        with pytest.raises(Refused) as refused:
            Jdbc(login)
        assert "unauthenticated" in str(refused.value).lower()
        assert "hunter2" not in str(refused.value)


def test_properties_are_headers_and_choose_catalog_and_schema(server: ServedBy) -> None:
    """The driver sends what it does not know as a header of every call, and ``catalog`` as a session option."""
    token = server.tokens["analyst"]
    for options in ({"catalog": "clinical", "schema": "trials", "foo": "bar"}, {"catalog": "clinical"}):
        connection = Jdbc(Login(server.uri, token=token, options=options))
        assert connection.query("SELECT count(*) FROM trials.arms").rows == ((4,),)
        if "schema" in options:
            assert connection.query("SELECT count(*) FROM arms").rows == ((4,),)
        connection.close()


def test_an_unknown_catalog_does_not_connect(server: ServedBy) -> None:
    """Told when connecting, not at the first statement."""
    with pytest.raises(Refused, match="catalog"):
        Jdbc(Login(server.uri, token=server.tokens["analyst"], options={"catalog": "no_such"}))


def test_properties_may_stand_in_the_url(server: ServedBy) -> None:
    """How tools with one field for the connection give them."""
    url = f"jdbc:arrow-flight-sql://{server.uri.removeprefix('grpc://')}/?useEncryption=false&schema=trials&foo=bar"
    url += f"&catalog=clinical&token={server.tokens['analyst']}"
    bridge = jdbc_bridge()
    connection = bridge.ask("open", url=url, properties={})
    assert bridge.ask("query", connection=connection, sql="SELECT count(*) AS n FROM arms")["rows"] == [[4]]
    bridge.ask("close", connection=connection)


# ------------------------------------------------------------------------------------------------- errors and long runs


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELEC 1", "invalid: The statement does not parse"),
        ("SELECT nonsense", 'invalid: Referenced column "nonsense"'),
        ("SELECT * FROM no_such_table", "not_found: "),
        ("SELECT 'x'::INTEGER", "invalid: "),
    ],
)
def test_a_wrong_statement_is_told_in_one_line(jdbc: Jdbc, sql: str, told: str) -> None:
    """The SQLException of a tool's error window: our code and text, no path and no trace."""
    from tests.conftest import CANARIES

    with pytest.raises(Refused) as refused:
        jdbc.query(sql)
    text = str(refused.value)
    assert told in text
    assert "\n" not in text.strip()
    assert not CANARIES.search(text)


def test_a_large_result_is_streamed(jdbc: Jdbc) -> None:
    """More than one batch, to the last row."""
    assert jdbc.count("SELECT i, i::VARCHAR AS s FROM range(100000) r(i)") == 100_000


def test_a_cancel_hits_its_own_statement_only(jdbc: Jdbc) -> None:
    """Statement.cancel from another thread; a second statement of the connection runs on."""
    other: list[int] = []
    sql = "SELECT i FROM range(3000000) r(i)"
    reading = threading.Thread(target=lambda: other.append(jdbc.count(sql)))
    reading.start()
    assert jdbc.cancel_running(_LONG) < 5
    reading.join()
    assert other == [3_000_000]
    assert jdbc.query("SELECT 1").rows == ((1,),)


# ----------------------------------------------------------------------------------------------- what is shown of types

# Expression; SQL type name, class of getObject, getObject in the suite's form, getString. Times below the millisecond
# are the driver's loss.
_TYPES: list[tuple[str, str, str | None, Any, str | None]] = [
    ("true", "BOOLEAN", "Boolean", True, "true"),
    ("(-1)::TINYINT", "TINYINT", "Byte", -1, "-1"),
    ("(-1)::SMALLINT", "SMALLINT", "Short", -1, "-1"),
    ("(-1)::INTEGER", "INTEGER", "Integer", -1, "-1"),
    ("(-1)::BIGINT", "BIGINT", "Long", -1, "-1"),
    ("(2::HUGEINT ** 100)::HUGEINT", "DECIMAL", "BigDecimal", str(2**100), str(2**100)),
    ("255::UTINYINT", "SMALLINT", "Short", 255, "255"),
    ("65535::USMALLINT", "INTEGER", "Integer", 65535, "65535"),
    ("4294967295::UINTEGER", "BIGINT", "Long", 2**32 - 1, "4294967295"),
    ("18446744073709551615::UBIGINT", "DECIMAL", "BigDecimal", str(2**64 - 1), str(2**64 - 1)),
    (f"{2**128 - 1}::UHUGEINT", "VARCHAR", "String", str(2**128 - 1), str(2**128 - 1)),
    (f"'{2**200}'::BIGNUM", "VARCHAR", "String", str(2**200), str(2**200)),
    ("'10101'::BIT", "VARCHAR", "String", "10101", "10101"),
    ("{'a': [1, 2]}::VARIANT", "VARCHAR", "String", "{'a': [1, 2]}", "{'a': [1, 2]}"),
    ("TIMETZ '12:34:56+02'", "VARCHAR", "String", "12:34:56+02", "12:34:56+02"),
    ("1.5::FLOAT", "FLOAT", "Double", 1.5, "1.5"),
    ("'NaN'::DOUBLE", "DOUBLE", "Double", "nan", "NaN"),
    ("'-Infinity'::DOUBLE", "DOUBLE", "Double", "-inf", "-Infinity"),
    ("1234567.80::DECIMAL(9, 2)", "DECIMAL", "BigDecimal", "1234567.80", "1234567.80"),
    ("0.0000000001::DECIMAL(38, 10)", "DECIMAL", "BigDecimal", "0.0000000001", None),
    ("DATE '2020-02-29'", "DATE", "Date", "2020-02-29", "2020-02-29"),
    ("DATE '0001-01-01'", "DATE", "Date", "0001-01-01", "0001-01-01"),
    ("TIME '12:34:56.789012'", "TIME", "ArrowFlightJdbcTime", "12:34:56.789", "12:34:56.789"),
    ("TIMESTAMP_S '2020-02-29 12:34:56'", "TIMESTAMP", "Timestamp", "2020-02-29T12:34:56", "2020-02-29 12:34:56.0"),
    ("TIMESTAMP_MS '2020-02-29 12:34:56.7'", "TIMESTAMP", "Timestamp", "2020-02-29T12:34:56.7", None),
    ("TIMESTAMP '2020-02-29 12:34:56.789012'", "TIMESTAMP", "Timestamp", "2020-02-29T12:34:56.789012", None),
    ("TIMESTAMP_NS '2020-02-29 12:34:56.789012345'", "TIMESTAMP", "Timestamp", "2020-02-29T12:34:56.789012345", None),
    ("'00112233-4455-6677-8899-aabbccddeeff'::UUID", "VARCHAR", "String", "00112233-4455-6677-8899-aabbccddeeff", None),
    ("'\\x61\\x62'::BLOB", "VARBINARY", "byte[]", "hex:6162", "ab"),
    ("''", "VARCHAR", "String", "", ""),
    ("'é 😀'", "VARCHAR", "String", "é 😀", "é 😀"),
    ("'b'::ENUM ('a', 'b')", "VARCHAR", "String", "b", "b"),
    ("'{\"a\": 1}'::JSON", "VARCHAR", "String", '{"a": 1}', '{"a": 1}'),
    ("[1, 2, NULL]", "ARRAY", "ArrowFlightJdbcArray", [1, 2, None], "[1,2,null]"),
    ("[1, 2]::INTEGER[2]", "ARRAY", "ArrowFlightJdbcArray", [1, 2], "[1,2]"),
    ("{'a': 1, 'b': 'x'}", "JAVA_OBJECT", "JsonStringHashMap", {"a": 1, "b": "x"}, '{"a":1,"b":"x"}'),
    ("MAP {'k': 1}", "JAVA_OBJECT", "JsonStringHashMap", {"k": 1}, '{"k":1}'),
    ("union_value(n := 1)", "JAVA_OBJECT", "Integer", 1, "1"),
    (
        "INTERVAL '1 month 2 days 3 seconds'",
        *("JAVA_OBJECT", "PeriodDuration", {"months": 1, "days": 2, "nanoseconds": 3_000_000_000}, "P1M2DT3S"),
    ),
    ("NULL::VARCHAR", "VARCHAR", None, None, None),
    ("NULL::INTEGER", "INTEGER", None, None, None),
]


@pytest.mark.parametrize(("expression", "type_name", "java", "shown", "text"), _TYPES)
def test_a_type_is_shown(
    jdbc: Jdbc, expression: str, type_name: str, java: str | None, shown: Any, text: str | None
) -> None:
    """The table of types says what people see through JDBC; this is where it is true."""
    (told,) = jdbc.ask("types", sql=f"SELECT {expression} AS v")
    assert (told["column"], told["type_name"], told["class"], told["object"]) == ("v", type_name, java, shown)
    assert shown is not None or told["string"] is None
    assert text is None or told["string"] == text


@pytest.mark.parametrize(
    ("expression", "precision", "scale"),
    [
        ("1234567.80::DECIMAL(9, 2)", 9, 2),
        ("0.0000000001::DECIMAL(38, 10)", 38, 10),
        ("1::HUGEINT", 38, 0),
        ("1::UBIGINT", 20, 0),
    ],
)
def test_a_decimal_has_its_precision_and_scale(jdbc: Jdbc, expression: str, precision: int, scale: int) -> None:
    """Tools size and round their columns by these; without them the driver says 0 and 0."""
    (told,) = jdbc.ask("types", sql=f"SELECT {expression} AS v")
    assert (told["precision"], told["scale"]) == (precision, scale)


def test_unsigned_numbers_stay_themselves_where_java_is_told_to(server: ServedBy) -> None:
    """The option behind the wider types can be off; the driver then shows what is beyond signed as negative."""
    connection = Jdbc(Login(server.uri, options={"x-flightmesh-java-types": "false"}))
    assert connection.query("SELECT 100::UTINYINT AS v, 255::UTINYINT AS w").rows == ((100, -1),)
    connection.close()


def test_a_column_with_a_remark_keeps_its_name(jdbc: Jdbc) -> None:
    """The driver labels columns by remarks where a result carries them: the contract's belong in getColumns alone."""
    assert jdbc.query("SELECT arms, arm_name FROM clinical.trials.arms").columns == ("arms", "arm_name")


def test_an_instant_is_read_as_text_or_timestamp(jdbc: Jdbc) -> None:
    """The driver has no object for TIMESTAMP WITH TIME ZONE (its getObject says "not implemented")."""
    sql = "SELECT TIMESTAMPTZ '2020-02-29 12:34:56.789012+02' AS v"
    assert jdbc.query(sql).rows == (("2020-02-29T10:34:56.789012Z",),)
    (told,) = jdbc.ask("types", sql=sql)
    assert told["type_name"] == "TIMESTAMP_WITH_TIMEZONE"
    assert told["string"] == "2020-02-29 10:34:56.789012"
    assert "not implemented" in told["object"].lower()


@pytest.mark.parametrize("name", ["plain", "UPPER", "two words", "dot.ted", 'quo"te', "it's", "ü日😀", "?", "x" * 300])
def test_a_column_keeps_its_name(jdbc: Jdbc, name: str) -> None:
    """A label is the name as it was written, and never a remark."""
    quoted = name.replace('"', '""')
    assert jdbc.query(f'SELECT 1 AS "{quoted}"').columns == (name,)


def test_an_empty_result_has_its_columns(jdbc: Jdbc) -> None:
    """A prepared query tells them once."""
    result = jdbc.query("SELECT arms, arm_name FROM clinical.trials.arms WHERE false")
    assert (result.columns, result.rows) == (("arms", "arm_name"), ())


def test_a_plain_statement_tells_the_columns_of_an_empty_result_twice(jdbc: Jdbc) -> None:
    """A fault of the driver's that the page tells of; when it is mended, the page is to change."""
    after = jdbc.ask("execute", sql="SELECT arms, arm_name FROM clinical.trials.arms WHERE false")
    assert after["rows"] == {"columns": ["arms", "arm_name"] * 2, "rows": []}

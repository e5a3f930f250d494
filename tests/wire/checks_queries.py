"""Checks of reading: figures, values, large results, refusals, credentials, parameters, cancelling."""

from __future__ import annotations

import math
import threading
import time
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from tests.wire.checks import ENDLESS, Stage, check, refused, value
from tests.wire.client import Client, Login

# What is written as text for one client arrives as a number for another: both are the value.
_FLIGHTS = "aviation.flights.flights"


@check("query")
def check_headline_figures(client: Client, stage: Stage) -> None:
    """Counts and means over the flights are those of the raw files."""
    facts = stage.expected["flights"]
    result = client.query(
        "SELECT count(*) AS flights, avg(arr_delay) AS mean, count(*) FILTER (dep_time IS NULL) AS cancelled, "
        f"count(DISTINCT tailnum) AS tailnums, count(*) FILTER (plane_type IS NULL) AS no_plane FROM {_FLIGHTS}"
    )
    assert result.columns == ("flights", "mean", "cancelled", "tailnums", "no_plane")
    ((flights, mean, cancelled, tailnums, no_plane),) = result.rows
    assert flights == facts["rows"] == 336_776
    assert math.isclose(mean, facts["arr_delay_mean"], rel_tol=1e-12)
    assert (cancelled, tailnums, no_plane) == (facts["dep_time_null"], facts["tailnums"], facts["no_plane"])


@check("query")
def check_groups(client: Client, stage: Stage) -> None:
    """A group per carrier, none too many, none mixed up."""
    rows = client.query(f"SELECT carrier, count(*) AS n, avg(arr_delay) AS mean FROM {_FLIGHTS} GROUP BY carrier").rows
    carriers = stage.expected["flights"]["by_carrier"]
    found = {carrier: (flights, mean) for carrier, flights, mean in rows}
    assert found.keys() == carriers.keys()
    for carrier, facts in carriers.items():
        assert found[carrier][0] == facts["flights"], carrier
        assert math.isclose(found[carrier][1], facts["arr_delay_mean"], rel_tol=1e-12), carrier


@check("query")
def check_whole_table(client: Client, stage: Stage) -> None:
    """A whole port: columns in order, every row, every value."""
    result = client.query("SELECT * FROM clinical.trials.arms ORDER BY arms")
    assert list(result.columns) == stage.expected["arms"]["columns"]
    assert [dict(zip(result.columns, row, strict=True)) for row in result.rows] == stage.expected["arms"]["all"]


@check("query")
def check_thousands_of_rows(client: Client, stage: Stage) -> None:
    """No row and no NULL is lost in a result of many batches."""
    facts = stage.expected["daily_delays"]
    result = client.query("SELECT * FROM aviation.flights.daily_delays")
    assert list(result.columns) == facts["columns"]
    assert len(result.rows) == facts["rows"] == 11_864
    held = {name: sum(row[number] is not None for row in result.rows) for number, name in enumerate(result.columns)}
    assert held == facts["not_null"]


@check("query")
def check_no_rows(client: Client, stage: Stage) -> None:
    """A result without rows still has its columns."""
    result = client.query("SELECT arms, arm_name FROM clinical.trials.arms WHERE arms > 99")
    assert (result.columns, result.rows) == (("arms", "arm_name"), ())


@check("query")
def check_no_columns(client: Client, stage: Stage) -> None:
    """A SELECT that leaves no column is refused: no driver can show it."""
    with refused("invalid"):
        client.query("SELECT * EXCLUDE (range) FROM range(3)")


@check("query")
def check_null_is_not_the_empty_text(client: Client, stage: Stage) -> None:
    """NULL, the empty text and blanks are three values."""
    rows = client.query("SELECT * FROM (VALUES (1, NULL), (2, ''), (3, ' ')) AS t(i, v) ORDER BY i").rows
    assert rows == ((1, None), (2, ""), (3, " "))


@check("query")
def check_numbers_that_are_none(client: Client, stage: Stage) -> None:
    """NaN and both infinities arrive as what they are, and are not NULL."""
    rows = client.query(
        "SELECT * FROM (VALUES (1, 'nan'::DOUBLE), (2, 'inf'::DOUBLE), (3, '-inf'::DOUBLE), (4, 0.5)) AS t(i, v) "
        "ORDER BY i"
    ).rows
    assert [row[1] for row in rows] == ["nan", "inf", "-inf", 0.5]


@check("query")
def check_text_of_all_planes(client: Client, stage: Stage) -> None:
    """Text outside the basic plane, combining marks, quotes and line ends survive in both directions."""
    text = "𝄞 🛫 é e\u0301 ß 漢字 \u200d 'quoted' \"twice\" \t tab \n line"
    assert value(client, "SELECT '" + text.replace("'", "''") + "' AS v") == text
    assert value(client, "SELECT length('🛫') AS v") == 1


@check("query")
def check_names_with_quotes_and_dots(client: Client, stage: Stage) -> None:
    """Columns keep their names, whatever these hold."""
    result = client.query('SELECT 1 AS "a.b", 2 AS "c""d", 3 AS "e f", 4 AS "Äpfel", 5 AS "SELECT"')
    assert result.columns == ("a.b", 'c"d', "e f", "Äpfel", "SELECT")
    assert result.rows == ((1, 2, 3, 4, 5),)
    assert client.query('SELECT count(*) AS n FROM "aviation"."flights"."flights"').rows == ((336_776,),)


@check("stream")
def check_a_million_rows(client: Client, stage: Stage) -> None:
    """A million rows arrive as a stream, none lost."""
    assert client.count("SELECT * FROM range(1000000)") == 1_000_000


@check("query")
def check_wide_rows(client: Client, stage: Stage) -> None:
    """Twenty rows of a megabyte each arrive, though no message may be that large for some clients."""
    rows = client.query("SELECT range AS i, repeat('x', 1000000) AS v FROM range(20) ORDER BY i").rows
    assert [(i, len(v)) for i, v in rows] == [(i, 1_000_000) for i in range(20)]


# Refusals -------------------------------------------------------------------------------------------------------------


@check("query")
def check_wrong_sql(client: Client, stage: Stage) -> None:
    """A mistake is told with its place, and the connection goes on."""
    with refused("invalid", "nonsense", "(line ", ", column "):
        client.query("SELECT arms,\n       nonsense FROM clinical.trials.arms")
    with refused("invalid", "no_such_function", "(line ", ", column "):
        client.query("SELECT no_such_function(arms) AS v FROM clinical.trials.arms")
    assert value(client, "SELECT 1 AS v") == 1


@check("query")
def check_unknown_table(client: Client, stage: Stage) -> None:
    """A table that is not there is told with the nearest that is."""
    with refused("not_found", "There is no table clinical.trials.amrs", "Did you mean clinical.trials.arms"):
        client.query("SELECT * FROM clinical.trials.amrs")


@check("query")
def check_forbidden_table(client: Client, stage: Stage) -> None:
    """A table without a grant reads like one that does not exist."""
    with refused("not_found", "There is no table clinical.trials.patients"):
        client.query("SELECT * FROM clinical.trials.patients")


@check("query")
def check_failure_within_the_rows(client: Client, stage: Stage) -> None:
    """An error in the middle of the stream is an error, not a shorter result."""
    with refused("invalid"):
        client.query("SELECT CAST(CASE WHEN range = 900000 THEN 'x' ELSE '1' END AS INTEGER) AS v FROM range(1000000)")
    assert value(client, "SELECT 1 AS v") == 1


@check("query")
def check_several_statements(client: Client, stage: Stage) -> None:
    """Two statements in one text are refused: drivers would show the first result only."""
    with refused("invalid"):
        client.query("SELECT 1 AS a; SELECT 2 AS b")


# Credentials ----------------------------------------------------------------------------------------------------------


@check("query")
def check_password(client: Client, stage: Stage) -> None:
    """User and password open what the user's roles open."""
    assert value(stage.other("steward"), "SELECT count(*) AS n FROM clinical.trials.patients") == 2_139


@check("query")
def check_token(client: Client, stage: Stage) -> None:
    """An API token opens what its user's roles open."""
    one = stage.dial(Login(stage.server.uri, token=stage.server.tokens["steward"]))
    assert value(one, "SELECT count(*) AS n FROM clinical.trials.patients") == 2_139


@check("query")
def check_wrong_password(client: Client, stage: Stage) -> None:
    """A wrong password is refused, at the connection or at the first statement."""
    with refused("unauthenticated"):
        value(stage.dial(Login(stage.server.uri, "steward", "wrong")), "SELECT 1 AS v")


@check("query")
def check_wrong_token(client: Client, stage: Stage) -> None:
    """A token that nobody has issued is refused, at the connection or at the first statement."""
    with refused("unauthenticated"):
        value(stage.dial(Login(stage.server.uri, token="fm_000000000000_nonsense")), "SELECT 1 AS v")


# Parameters -----------------------------------------------------------------------------------------------------------

_BOUND: dict[str, tuple[tuple[Any, ...], Any]] = {
    "BIGINT": ((42, -(2**63), 2**63 - 1, None), ("42", "-9223372036854775808", "9223372036854775807", None)),
    "INTEGER": ((42, -7), ("42", "-7")),
    "DOUBLE": ((0.1, -2.5), ("0.1", "-2.5")),
    "VARCHAR": (("plain", "", "𝄞 'x'", None), ("plain", "", "𝄞 'x'", None)),
    "BOOLEAN": ((True, False, None), ("true", "false", None)),
    "DATE": ((date(2024, 2, 29), date(1582, 10, 15)), ("2024-02-29", "1582-10-15")),
    "TIMESTAMP": ((datetime(2024, 2, 29, 12, 34, 56, 789000),), ("2024-02-29 12:34:56.789",)),
    "DECIMAL(18,3)": ((Decimal("1234.500"), Decimal("-0.001")), ("1234.500", "-0.001")),
    "BLOB": ((b"\x00\xff", b""), ("\\x00\\xFF", "")),
}


@check("prepare")
def check_bound_values(client: Client, stage: Stage) -> None:
    """Bound values of each type reach the statement as what they are: shown as the server's own text of them."""
    wrong = []
    for kind, (given, shown) in _BOUND.items():
        for one, text in zip(given, shown, strict=True):
            found = client.query(f"SELECT CAST(CAST(? AS {kind}) AS VARCHAR) AS v", [one]).rows[0][0]
            if found != text:
                wrong.append((kind, one, found))
    assert wrong == [], wrong


@check("prepare")
def check_bound_values_filter(client: Client, stage: Stage) -> None:
    """Values compare as their type, and another value gives another answer."""
    sql = f"SELECT count(*) AS n FROM {_FLIGHTS} WHERE carrier = ? AND flight_date = ?"
    carriers = stage.expected["flights"]["by_carrier"]
    assert value(client, f"SELECT count(*) AS n FROM {_FLIGHTS} WHERE carrier = ?", "EV") == carriers["EV"]["flights"]
    assert value(client, f"SELECT count(*) AS n FROM {_FLIGHTS} WHERE carrier = ?", "HA") == carriers["HA"]["flights"]
    assert value(client, sql.replace("carrier = ? AND ", ""), date(2013, 1, 1)) == 842
    assert value(client, f"SELECT count(*) AS n FROM {_FLIGHTS} WHERE dep_delay > ?", 100) > 0
    assert value(client, sql, "x' OR 1=1 --", date(2013, 1, 1)) == 0


@check("prepare")
def check_too_few_values(client: Client, stage: Stage) -> None:
    """A statement short of a value is refused, by the driver or by the server, and never guessed."""
    with refused("invalid", "parameters", or_by_driver=True):
        client.query("SELECT CAST(? AS INTEGER) + CAST(? AS INTEGER) AS v", [1])


@check("prepare")
def check_a_value_of_the_wrong_type(client: Client, stage: Stage) -> None:
    """Text that is no date is refused where a date is wanted, by the driver or by the server."""
    with refused("invalid", or_by_driver=True):
        client.query(f"SELECT count(*) AS n FROM {_FLIGHTS} WHERE flight_date = CAST(? AS DATE)", ["no date"])


@check("named")
def check_names_of_parameters(client: Client, stage: Stage) -> None:
    """Values bound by name reach their names, in whatever order they are given."""
    result = client.query("SELECT $low::BIGINT AS low, $high::BIGINT AS high", named={"high": 2, "low": 1})
    assert result.rows == ((1, 2),)


@check("parameter_schema")
def check_types_of_parameters(client: Client, stage: Stage) -> None:
    """Every parameter has a type that a driver can bind to: the null type is none."""
    sql = f"SELECT ?, ?::INTEGER FROM {_FLIGHTS} WHERE carrier = ? AND flight_date > ? AND distance > ?"
    types = client.parameter_types(sql)
    assert len(types) == 5
    assert [kind for kind in types if kind.lower() in ("null", "na", "unknown", "none", "")] == []
    assert client.parameter_types("SELECT 1 AS v") == ()


@check("schema")
def check_columns_without_running(client: Client, stage: Stage) -> None:
    """The columns of a statement of hours are told at once."""
    began = time.monotonic()
    assert client.columns_of(ENDLESS) == ("m",)
    assert client.columns_of("SELECT * FROM clinical.trials.arms")[:2] == ("arms", "arm_name")
    assert time.monotonic() - began < 5


# Cancelling, parts ----------------------------------------------------------------------------------------------------


@check("cancel", own=True)
def check_cancel(client: Client, stage: Stage) -> None:
    """A cancelled query ends within two seconds; one that runs beside it, and the connection, go on."""
    beside, counted = stage.other(), []
    slow = "SELECT count(*) AS n FROM range(60000000) AS t WHERE hash(range) % 3 >= 0"
    neighbour = threading.Thread(target=lambda: counted.append(value(beside, slow)))
    neighbour.start()
    assert client.cancel_running(ENDLESS) < 2
    assert value(client, "SELECT 1 AS v") == 1
    neighbour.join(60)
    assert counted == [60_000_000]


@check("partitions")
def check_parts(client: Client, stage: Stage) -> None:
    """The parts of a result hold every row once."""
    result = client.partitions("SELECT * FROM clinical.trials.arms")
    assert sorted(row[0] for row in result.rows) == [0, 1, 2, 3]
    assert len(client.partitions("SELECT * FROM range(300000)").rows) == 300_000

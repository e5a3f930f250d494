"""Checks of what a client learns of the server: catalogues down to columns, keys, types, the server itself."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wire.checks import PUBLIC, Stage, check, value
from tests.wire.client import Client, Refused

_TRIALS = {name: name for name in ("arms", "arm_name", "patients", "events", "median_days")}


@check("catalogs")
def check_catalogs(client: Client, stage: Stage) -> None:
    """Domains are catalogues."""
    assert set(client.catalogs()) >= {"aviation", "clinical"}


@check("schemas")
def check_schemas(client: Client, stage: Stage) -> None:
    """Products are schemas; the filters narrow, and what is not there is no error."""
    every = client.schemas()
    assert {("aviation", "flights"), ("clinical", "trials")} <= set(every)
    # Clients that ask in SQL find DuckDB's own schema in every catalogue, too.
    assert set(client.schemas("clinical", None)) - {("clinical", "main")} == {("clinical", "trials")}
    assert client.schemas(None, "tr_als") == (("clinical", "trials"),)
    assert client.schemas(None, "f%s") == (("aviation", "flights"),)
    assert client.schemas("aviation", "trials") == ()


@check("tables")
def check_tables(client: Client, stage: Stage) -> None:
    """Tables by patterns and types; what the caller may not read is not there."""
    wanted: dict[tuple[Any, ...], tuple[tuple[str, ...], ...]] = {
        ("clinical", None, None): PUBLIC[3:],
        (None, "fli%", None): PUBLIC[:3],
        (None, None, "flights"): PUBLIC[1:2],
        (None, None, "a_m_"): PUBLIC[3:],
        (None, None, "daily\\_delays"): PUBLIC[:1],
        (None, None, "dail\\%"): (),
        (None, None, "patients"): (),
        ("aviation", None, "arms"): (),
    }
    assert set(client.tables()) >= set(PUBLIC)
    found = {filters: tuple(sorted(client.tables(*filters))) for filters in wanted}
    assert found == wanted
    assert tuple(sorted(client.tables(None, "flights", "%", ["TABLE"]))) == PUBLIC[:3]
    assert client.tables(None, "flights", "%", ["VIEW"]) == ()


@check("columns")
def check_columns(client: Client, stage: Stage) -> None:
    """Columns in order, with the types, nullability and remarks of the contract as far as the API tells of them."""
    columns = client.columns("clinical", "trials", "arms")
    assert [column["name"] for column in columns] == list(_TRIALS)
    by_name = {column["name"]: column for column in columns}
    assert str(by_name["arm_name"].get("type_name", "VARCHAR")).upper() == "VARCHAR"
    assert str(by_name["median_days"].get("type_name", "DOUBLE")).upper() == "DOUBLE"
    assert by_name["arms"].get("nullable", False) is False
    assert by_name["events"].get("remarks", "events").strip() != ""
    assert [column["name"] for column in client.columns("aviation", "flights", "flights")][:3] == [
        "year",
        "month",
        "day",
    ]


@check("table_types")
def check_table_types(client: Client, stage: Stage) -> None:
    """What tables are called is on the list of types."""
    assert "TABLE" in client.table_types()


@check("primary_keys")
def check_primary_keys(client: Client, stage: Stage) -> None:
    """The keys of the contracts, in their order."""
    assert client.primary_keys("clinical", "trials", "arms") == ("arms",)
    assert client.primary_keys("aviation", "flights", "daily_delays") == ("flight_date", "origin", "carrier")


@check("foreign_keys")
def check_foreign_keys(client: Client, stage: Stage) -> None:
    """Nobody declares foreign keys yet: asking for them is no error."""
    assert client.foreign_keys("aviation", "flights", "flights") == 0


@check("type_info")
def check_type_info(client: Client, stage: Stage) -> None:
    """Tools that fill a list of types find DuckDB's."""
    assert {"INTEGER", "BIGINT", "VARCHAR", "DOUBLE", "BOOLEAN", "DATE"} <= set(client.type_info())


@check("info")
def check_info(client: Client, stage: Stage) -> None:
    """The server says what it is; tools that know DuckDB choose its dialect by the start of the version."""
    info = client.info()
    assert info["name"] == "flightmesh"
    assert str(info["version"]).startswith("duckdb v")
    assert "flightmesh v" in str(info["version"])


# Statements that ask for the same ------------------------------------------------------------------------------------


@check("query")
def check_show_tables(client: Client, stage: Stage) -> None:
    """SHOW ALL TABLES lists what the caller may read, and no more."""
    result = client.query("SHOW ALL TABLES")
    names = {row[result.columns.index("name")] for row in result.rows}
    assert {"daily_delays", "flights", "route_performance", "arms"} <= names
    assert "patients" not in names


@check("query")
def check_describe(client: Client, stage: Stage) -> None:
    """DESCRIBE tells the columns of a table and of a query."""
    described = client.query("DESCRIBE clinical.trials.arms")
    assert described.columns[:3] == ("column_name", "column_type", "null")
    assert [row[0] for row in described.rows] == list(_TRIALS)
    assert client.query("DESCRIBE SELECT 1 AS a, 'x' AS b").rows[1][:2] == ("b", "VARCHAR")


@check("query")
def check_summarize(client: Client, stage: Stage) -> None:
    """`SUMMARIZE` tells figures of every column."""
    result = client.query("SUMMARIZE clinical.trials.arms")
    name, least_of = result.columns.index("column_name"), result.columns.index("min")
    least = {row[name]: row[least_of] for row in result.rows}
    assert least.keys() == _TRIALS.keys()
    assert least["arms"] == "0"


@check("query")
def check_explain(client: Client, stage: Stage) -> None:
    """EXPLAIN shows a plan, and no path of the server's."""
    text = " ".join(str(cell) for row in client.query("EXPLAIN SELECT 1 AS v").rows for cell in row)
    assert text.strip()
    assert "/tmp/" not in text


@check("query")
def check_information_schema(client: Client, stage: Stage) -> None:
    """information_schema is the caller's own view of the catalogue."""
    rows = client.query(
        "SELECT table_catalog, table_schema, table_name FROM information_schema.tables "
        "WHERE table_catalog IN ('aviation', 'clinical') ORDER BY ALL"
    ).rows
    assert rows == tuple(names[:3] for names in PUBLIC)
    columns = client.query(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'arms' ORDER BY ordinal_position"
    ).rows
    assert [row[0] for row in columns] == list(_TRIALS)


@check("query")
def check_pg_catalog(client: Client, stage: Stage) -> None:
    """Tools that ask PostgreSQL's catalogue get an answer."""
    names = {row[0] for row in client.query("SELECT relname FROM pg_catalog.pg_class").rows}
    assert "arms" in names
    assert "patients" not in names


@check("query")
def check_current_catalog(client: Client, stage: Stage) -> None:
    """The session's place can be asked for in SQL."""
    result = client.query("SELECT current_catalog() AS c, current_schema() AS s")
    assert result.columns == ("c", "s")
    assert len(result.rows) == 1


# Where the session stands --------------------------------------------------------------------------------------------


@check("session", "query", own=True)
def check_session(client: Client, stage: Stage) -> None:
    """Catalogue and schema are set and read, and bare names are looked up there."""
    client.set_session("clinical", "trials")
    assert client.session() == ("clinical", "trials")
    assert value(client, "SELECT count(*) AS n FROM arms") == 4
    assert value(client, "SELECT current_catalog() AS c") == "clinical"


@check("session", own=True)
def check_session_of_an_unknown_catalog(client: Client, stage: Stage) -> None:
    """A catalogue that is not there is refused, by the answer or by the driver."""
    with pytest.raises(Refused):
        client.set_session("nonsense")


@check("update", "query", own=True)
def check_use(client: Client, stage: Stage) -> None:
    """USE sets the session's place, and one that is not there is refused."""
    assert client.update("USE clinical.trials") == 0
    assert value(client, "SELECT count(*) AS n FROM arms") == 4
    assert {row[0] for row in client.query("SHOW TABLES").rows} >= {"arms"}

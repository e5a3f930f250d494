"""Checks of temporary tables: statements with a count, own rows brought along, transactions; and of what is refused."""

from __future__ import annotations

import math
from datetime import date

import pyarrow as pa

from tests.wire.checks import Stage, check, refused, value
from tests.wire.client import Client

ROWS = pa.table({"arms": pa.array([0, 1, 1], pa.int64()), "note": pa.array(["a", "", None], pa.string())})
_COUNT = "SELECT count(*) AS n FROM mine"


@check("update", "query", own=True)
def check_temporary_table(client: Client, stage: Stage) -> None:
    """A temporary table is made, filled, changed, emptied and dropped, with the count of rows each time."""
    assert client.update("CREATE TEMP TABLE mine AS SELECT range AS i, 'x' AS t FROM range(10)") == 0
    assert value(client, _COUNT) == 10
    assert client.update("INSERT INTO mine VALUES (10, 'y'), (11, NULL)") == 2
    assert client.update("UPDATE mine SET t = 'z' WHERE i < 4") == 4
    assert value(client, "SELECT count(*) AS n FROM mine WHERE t = 'z'") == 4
    assert client.update("DELETE FROM mine WHERE i >= 10") == 2
    assert value(client, "SELECT sum(i)::BIGINT AS s FROM mine") == 45
    assert client.update("DROP TABLE mine") == 0
    with refused("not_found"):
        client.query(_COUNT)


@check("update", "query", own=True)
def check_a_statement_runs_once(client: Client, stage: Stage) -> None:
    """Statements without a count say 0 and are not run a second time; those with one add their rows once."""
    assert client.update("CREATE TEMP TABLE mine (i INTEGER)") == 0
    assert client.update("INSERT INTO mine SELECT range FROM range(5)") == 5
    assert value(client, _COUNT) == 5
    assert client.update("CREATE TABLE IF NOT EXISTS mine (i INTEGER)".replace("TABLE", "TEMP TABLE")) == 0
    with refused("invalid", "mine"):
        client.update("CREATE TEMP TABLE mine (i INTEGER)")


@check("update", "batch", "query", own=True)
def check_several_rows_of_values(client: Client, stage: Stage) -> None:
    """Rows of bound values are written as one batch, each once, NULL included."""
    assert client.update("CREATE TEMP TABLE mine (i BIGINT, t VARCHAR, d DATE)") == 0
    rows = [(1, "a", date(2024, 2, 29)), (2, "", None), (3, None, date(1999, 1, 1))]
    assert client.update("INSERT INTO mine VALUES (?, ?, ?)", rows) == 3
    found = client.query("SELECT i, t, d FROM mine ORDER BY i").rows
    assert found == ((1, "a", "2024-02-29"), (2, "", None), (3, None, "1999-01-01"))


@check("update", "query", own=True)
def check_a_table_joined_to_a_port(client: Client, stage: Stage) -> None:
    """Own tables and ports are joined in one statement."""
    assert client.update("CREATE TEMP TABLE mine AS SELECT * FROM (VALUES (0), (3)) AS t(arms)") == 0
    sql = "SELECT sum(patients)::BIGINT AS n FROM clinical.trials.arms JOIN mine USING (arms)"
    assert value(client, sql) == 532 + 561


@check("update", own=True)
def check_a_table_that_is_not_temporary(client: Client, stage: Stage) -> None:
    """A table for good is refused, with what is allowed."""
    with refused("invalid", "TEMP"):
        client.update("CREATE TABLE mine AS SELECT 1 AS a")


@check("update", own=True)
def check_writing_to_a_port(client: Client, stage: Stage) -> None:
    """Ports are read only, whatever the statement."""
    for sql in (
        "INSERT INTO clinical.trials.arms VALUES (9, 'x', 1, 1, 1.0)",
        "UPDATE clinical.trials.arms SET arm_name = 'x'",
        "DELETE FROM clinical.trials.arms",
        "DROP TABLE clinical.trials.arms",
    ):
        with refused("invalid"):
            client.update(sql)
    assert value(stage.other(), "SELECT sum(patients)::BIGINT AS n FROM clinical.trials.arms") == 2_139


@check("update", "query", own=True)
def check_tables_are_the_sessions_own(client: Client, stage: Stage) -> None:
    """Another session, of the same user or of another, sees nothing of a temporary table."""
    assert client.update("CREATE TEMP TABLE mine AS SELECT 1 AS i") == 0
    for user in ("analyst", "steward"):
        with refused("not_found"):
            stage.other(user).query(_COUNT)
    assert value(client, _COUNT) == 1


# Own rows -------------------------------------------------------------------------------------------------------------


@check("ingest", "query", own=True)
def check_own_rows(client: Client, stage: Stage) -> None:
    """Rows brought along are there, value by value, and join to a port."""
    assert client.ingest("mine", ROWS, "create") == 3
    assert client.query("SELECT arms, note FROM mine ORDER BY arms, note NULLS LAST").rows == (
        (0, "a"),
        (1, ""),
        (1, None),
    )
    sql = "SELECT sum(patients)::BIGINT AS n FROM clinical.trials.arms JOIN mine USING (arms)"
    assert value(client, sql) == 532 + 2 * 522


@check("ingest", "query", own=True)
def check_modes_of_bringing_rows(client: Client, stage: Stage) -> None:
    """Append adds, replace replaces, and what fits neither is refused with nothing changed."""
    assert client.ingest("mine", ROWS, "create_append") == 3
    assert client.ingest("mine", ROWS, "append") == 3
    assert client.ingest("mine", ROWS, "create_append") == 3
    assert value(client, _COUNT) == 9
    assert client.ingest("mine", ROWS, "replace") == 3
    assert value(client, _COUNT) == 3
    with refused("invalid", "mine"):
        client.ingest("mine", ROWS, "create")
    with refused("invalid"):
        client.ingest("mine", pa.table({"other": pa.array([1], pa.int64())}), "append")
    assert value(client, _COUNT) == 3


@check("ingest", "query", "update", own=True)
def check_append_to_nothing(client: Client, stage: Stage) -> None:
    """Appending to a table that is not there is refused."""
    with refused("not_found"):
        client.ingest("nothing", ROWS, "append")


@check("ingest", own=True)
def check_bringing_rows_for_good(client: Client, stage: Stage) -> None:
    """Rows that are to stay are refused, with what is allowed."""
    with refused("invalid", "temporary"):
        client.ingest("mine", ROWS, "create", temporary=False)


@check("ingest", "query", own=True)
def check_many_own_rows(client: Client, stage: Stage) -> None:
    """Half a million rows are there whole."""
    rows = pa.table({"i": pa.array(range(500_000), pa.int64()), "v": pa.array([0.5] * 500_000, pa.float64())})
    assert client.ingest("mine", rows, "create") == 500_000
    ((count, total, mean),) = client.query("SELECT count(*) AS n, sum(i)::BIGINT AS s, avg(v) AS a FROM mine").rows
    assert (count, int(total)) == (500_000, 499_999 * 250_000)
    assert math.isclose(mean, 0.5)


# Transactions ---------------------------------------------------------------------------------------------------------


@check("transactions", "update", "query", own=True)
def check_rollback(client: Client, stage: Stage) -> None:
    """What a transaction made and wrote is gone after a rollback, and was there within it."""
    assert client.update("CREATE TEMP TABLE mine AS SELECT 1 AS i") == 0
    client.begin()
    assert client.update("INSERT INTO mine VALUES (2), (3)") == 2
    assert client.update("CREATE TEMP TABLE more AS SELECT 1 AS i") == 0
    assert value(client, _COUNT) == 3
    client.rollback()
    assert value(client, _COUNT) == 1
    with refused("not_found"):
        client.query("SELECT * FROM more")


@check("transactions", "update", "query", own=True)
def check_commit(client: Client, stage: Stage) -> None:
    """What a transaction wrote stays after a commit."""
    client.begin()
    assert client.update("CREATE TEMP TABLE mine AS SELECT 1 AS i") == 0
    assert client.update("INSERT INTO mine VALUES (2)") == 1
    client.commit()
    assert value(client, _COUNT) == 2


@check("transactions", "query", own=True)
def check_nothing_to_commit(client: Client, stage: Stage) -> None:
    """A transaction without statements ends quietly either way: drivers open them unasked."""
    client.begin()
    client.commit()
    client.begin()
    client.rollback()
    assert value(client, "SELECT 1 AS v") == 1


@check("update", "query", own=True)
def check_commit_without_a_transaction(client: Client, stage: Stage) -> None:
    """COMMIT and ROLLBACK as statements are quietly fine without a transaction: drivers send them."""
    assert client.update("COMMIT") == 0
    assert client.update("ROLLBACK") == 0
    assert value(client, "SELECT 1 AS v") == 1


@check("transactions", "update", "query", own=True)
def check_several_rows_in_a_transaction(client: Client, stage: Stage) -> None:
    """Bound rows written in a transaction are undone with it."""
    assert client.update("CREATE TEMP TABLE mine (i BIGINT)") == 0
    client.begin()
    assert client.update("INSERT INTO mine VALUES (?)", [(1,), (2,)]) == 2
    client.rollback()
    assert value(client, _COUNT) == 0

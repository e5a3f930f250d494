"""The conformance page says what the server says of itself: actions, commands, SqlInfo; and the page's own making."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest

from flightmesh.flight.actions import ACTIONS
from flightmesh.flightsql import messages as m
from flightmesh.flightsql.codec import pack
from flightmesh.flightsql.sqlinfo import SqlInfo
from tests.wire import conformance
from tests.wire.bench import RESULTS, RESULTS_FILE, Bench
from tests.wire.bridge import cache
from tests.wire.checks import CHECKS
from tests.wire.clients import CLIENTS, running

if TYPE_CHECKING:
    from tests.conftest import ServedBy

PAGE = conformance.DOCS / "conformance.md"
# The calls of Flight SQL behind what SqlInfo claims.
CLAIMS = {
    SqlInfo.FLIGHT_SQL_SERVER_TRANSACTION: ("action `BeginTransaction`", "action `EndTransaction`"),
    SqlInfo.FLIGHT_SQL_SERVER_CANCEL: ("action `CancelFlightInfo`", "action `CancelQuery`"),
    SqlInfo.FLIGHT_SQL_SERVER_BULK_INGESTION: ("`CommandStatementIngest`",),
    SqlInfo.FLIGHT_SQL_SERVER_INGEST_TRANSACTIONS_SUPPORTED: ("Rows that are brought in a transaction go with it.",),
    SqlInfo.SQL_TRANSACTIONS_SUPPORTED: ("action `EndTransaction`",),
    SqlInfo.SQL_BATCH_UPDATES_SUPPORTED: ("`CommandPreparedStatementUpdate`",),
    SqlInfo.FLIGHT_SQL_SERVER_SQL: ("`CommandStatementQuery`",),
}


def cells() -> dict[str, tuple[str, ...]]:
    """The rows of the page's tables, by their first cell."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    rows = [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in lines]
    return {row[0]: row[1:] for row in rows}


def claimed(server: ServedBy) -> dict[int, Any]:
    """SqlInfo by number."""
    client, options = server.flight()
    with client:
        info = client.get_flight_info(fl.FlightDescriptor.for_command(pack(m.CommandGetSqlInfo())), options)
        table = client.do_get(info.endpoints[0].ticket, options).read_all()
    return dict(zip(table["info_name"].to_pylist(), table["value"].to_pylist(), strict=True))


def test_every_action_that_is_listed_is_proven() -> None:
    """An action that no client was ever answered is a promise."""
    rows = cells()
    assert [name for name in ACTIONS if conformance.YES not in rows[f"action `{name}`"]] == []


def test_every_command_is_proven_or_refused_by_design() -> None:
    """Whoever writes a client wants to know of each command which it is."""
    rows = cells()
    commands = [kind.__name__ for kind in m.Wrapped.__args__ if kind.__name__.startswith("Command")]
    titles = {name: [title for title in rows if title.startswith(f"`{name}`")] for name in commands}
    assert {name: found for name, found in titles.items() if not found} == {}
    proven = {name for name, found in titles.items() if any(conformance.YES in rows[title] for title in found)}
    assert set(commands) - proven == set(commands) & conformance.REFUSED.keys()


def test_sql_info_claims_what_is_proven(server: ServedBy) -> None:
    """A driver that believes SqlInfo must not run into a refusal, and must not do without what there is."""
    values, rows = claimed(server), cells()
    for number, titles in CLAIMS.items():
        is_proven = all(conformance.YES in rows.get(title, ()) for title in titles)
        assert bool(values.get(number)) == is_proven, number.name
    assert values[SqlInfo.FLIGHT_SQL_SERVER_SUBSTRAIT] is False
    assert not values.get(SqlInfo.SQL_SAVEPOINTS_SUPPORTED)


def test_what_is_refused_by_design_is_refused(server: ServedBy) -> None:
    """What the page calls refused is off the list of actions, and says so when it is asked for."""
    client, options = server.flight()
    with client:
        listed = {action.type for action in client.list_actions(options)}
        assert listed & conformance.REFUSED.keys() == set()
        for name in conformance.REFUSED.keys() - {"CommandStatementSubstraitPlan", "PollFlightInfo", "DoExchange"}:
            with pytest.raises(pa.ArrowNotImplementedError, match=f"no action {name}"):
                list(client.do_action((name, b""), options))
        plan = m.CommandStatementSubstraitPlan(m.SubstraitPlan(b"plan", "0.1"))
        with pytest.raises(pa.ArrowNotImplementedError, match="Substrait"):
            client.get_flight_info(fl.FlightDescriptor.for_command(pack(plan)), options)


def test_the_page_names_every_client_and_check() -> None:
    """A client that has no column, or a check without a row, is one that nobody hears of."""
    rows = cells()
    assert [check.says for check in CHECKS.values() if check.says.replace("|", "\\|") not in rows] == []
    (head,) = {line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| call |")}
    assert [entry.title for entry in CLIENTS.values() if entry.title not in head] == []


def test_no_check_of_the_committed_results_failed() -> None:
    """The page that is published shows no broken promise."""
    assert "| **no** |" not in PAGE.read_text(encoding="utf-8")


# How the page is made -------------------------------------------------------------------------------------------------


def line(client: str, check: str, outcome: str, *calls: str) -> str:
    """A kept result."""
    kept = {"client": client, "version": "1.0", "check": check, "outcome": outcome, "calls": calls}
    return json.dumps(kept | {"shown": None, "brought": None})


def test_only_passed_checks_prove_a_call() -> None:
    """A call that was answered before a check failed proves nothing."""
    call = "DoGet TicketStatementQuery"
    results = conformance.Results(
        [line("adbc", "groups", "passed", call), line("polars", "groups", "failed", call), line("r", "gone", "passed")]
    )
    assert conformance.proven(results, "adbc") == {"`TicketStatementQuery`"}
    assert conformance.proven(results, "polars") == frozenset()
    assert not results.ran("r"), "a check that is no more counts for nothing"
    assert results.failed == ["polars-groups"]


def test_the_newest_result_counts() -> None:
    """A check that was mended is not shown broken."""
    results = conformance.Results([line("adbc", "groups", "failed"), line("adbc", "groups", "passed")])
    assert results.failed == []
    assert results.outcome("adbc", "groups") == "passed"
    assert results.outcome("adbc", "headline_figures") == "not run"
    assert results.outcome("pandas", "rollback") == "no call"


def test_a_client_that_is_left_out_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution that does not install for a day makes no page stale, and the other columns count still."""
    head, rule = "| call | pyarrow.flight 26.0 | R, arrow 24.0 |\n", "| --- | --- | --- |\n"
    ran = f"{head}{rule}| GetSchema | yes | yes |\n"
    without = f"{head.replace(' 24.0', '')}{rule}| GetSchema | yes | ? |\n"
    monkeypatch.setenv("WIRE_LEFT_OUT", "")
    assert conformance.compared(ran) != conformance.compared(without)
    monkeypatch.setenv("WIRE_LEFT_OUT", "r-arrow")
    assert conformance.compared(ran) == conformance.compared(without)
    assert conformance.compared(ran) != conformance.compared(without.replace("yes", "-"))
    assert "r-arrow" not in running()
    monkeypatch.setenv("WIRE_LEFT_OUT", "nonsense")
    with pytest.raises(AssertionError, match="nonsense"):
        running()


def test_versions_that_moved_on_do_not_make_the_page_stale() -> None:
    """What a distribution upgrades overnight breaks no build of ours."""
    old, new = "| call | Polars 2.1 |\n| GetSchema | 1.0 |\n", "| call | Polars 2.2 |\n| GetSchema | 1.0 |\n"
    assert conformance.compared(old) == conformance.compared(new)
    assert conformance.compared(old) != conformance.compared(new.replace("1.0", "2.0"))


def test_the_server_notes_what_a_client_sends(bench: Bench) -> None:
    """The table stands on this: a prepared statement of the database interface is seen as what it is."""
    bench.run("adbc", CHECKS["whole_table"])
    with cache(RESULTS) as folder:
        kept = (folder / RESULTS_FILE).read_text(encoding="utf-8").splitlines()
    own = [line for line in kept if '"client": "adbc"' in line and '"check": "whole_table"' in line]
    found = conformance.proven(conformance.Results(own), "adbc")
    assert {
        "`CommandPreparedStatementQuery`, run",
        "action `CreatePreparedStatement`",
        "action `ClosePreparedStatement`",
    } <= found
    assert "`CommandGetTables`" not in found, "nothing that this check did not do"

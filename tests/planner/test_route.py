"""``flightmesh.planner.route``: the plan is what was approved, and only what was approved has a plan."""

from __future__ import annotations

import inspect

from flightmesh.catalog.snapshot import Snapshot
from flightmesh.config import Limits
from flightmesh.planner import route as module
from flightmesh.planner.guard import Guarded, guard
from flightmesh.planner.masks import Reader
from flightmesh.planner.resolve import resolve
from flightmesh.planner.route import route
from flightmesh.planner.scope import Scope
from flightmesh.planner.statement import parse
from flightmesh.planner.surface import surface
from tests.temporaries import temporary


def test_a_plan_runs_on_the_instance_of_its_reader(snapshot: Snapshot) -> None:
    """A statement would run where another reader's views are."""
    shown = surface(snapshot, Reader("a", frozenset({"site"}), {"site": "north"}), mask_key=b"k" * 32)
    statement = parse("SELECT * FROM samples WHERE id = ?", limits=Limits())
    approved = guard(resolve(statement, shown.namespace), shown)
    plan = route(approved, sql="SELECT 1", values=[7], batch_rows=9)
    assert plan.instance is shown.instance
    assert (plan.engine, plan.sql, plan.parameters, plan.batch_rows) == ("duckdb", "SELECT 1", (7,), 9)
    assert plan.search_path == ('"lab"."samples"',)


def test_only_an_approved_statement_has_a_plan() -> None:
    """A short cut around the guard would be possible by handing over a text."""
    first = next(iter(inspect.signature(module.route, eval_str=True).parameters.values()))
    assert first.annotation is Guarded


def test_questions_to_the_catalogue_go_where_no_rows_are(snapshot: Snapshot) -> None:
    """A listing would be run beside data and views; it needs the session's own tables, all of them, by name."""
    shown = surface(snapshot, Reader("a", frozenset({"head"}), {}), mask_key=b"k" * 32)
    own = temporary("own")
    for sql, is_catalogue, held in (
        ("SHOW TABLES", True, (own,)),
        ("SELECT * FROM duckdb_columns()", True, (own,)),
        ("DESCRIBE samples", True, (own,)),
        ("SELECT id FROM samples", False, ()),
        ("SELECT * FROM own", False, (own,)),
        ("SUMMARIZE own", False, (own,)),
    ):
        statement = parse(sql, limits=Limits())
        approved = guard(resolve(statement, shown.namespace, Scope(temporaries={"own": own})), shown)
        plan = route(approved, sql=sql, values=(), batch_rows=9)
        assert plan.is_catalogue is is_catalogue, sql
        assert plan.instance is (shown.catalogue if is_catalogue else shown.instance), sql
        assert plan.temporaries == held, sql

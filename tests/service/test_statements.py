"""SELECTs of sessions: where short names are looked up, what is held while they run, and what is told of defaults."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import TableName
from flightmesh.planner.scope import Scope
from flightmesh.service.statements import defaults, refuse_unbound
from tests.service.conftest import Call

if TYPE_CHECKING:
    from tests.service.conftest import Bench

SUM = "SELECT sum(v) AS s FROM lab.readings.points"


def test_a_scope_holds_what_the_session_set_and_brought(bench: Bench) -> None:
    """Defaults as the catalogue spells them, and the tables of this session alone."""
    session = bench.session("visitor", catalog="LAB", schema="Readings")
    surface = bench.statements.surface(session)
    assert bench.statements.scope(session, surface) == Scope("lab", "readings", {})
    bench.put("Own", n=pa.array([1]))
    assert list(bench.statements.scope(session, surface).temporaries) == ["own"]
    for other in (bench.session(), bench.session("visitor", id="t"), bench.session("visitor", name="bob")):
        assert bench.statements.scope(other, surface) == Scope()


def test_a_default_that_is_gone_is_told(bench: Bench) -> None:
    """A session outlives a reload: a short name must not be looked up somewhere else all of a sudden."""
    session = bench.session("visitor", catalog="lab", schema="gone")
    with pytest.raises(FlightmeshError) as caught:
        bench.statements.scope(session, bench.statements.surface(session))
    assert caught.value.code is ErrorCode.NOT_FOUND
    assert "gone" in caught.value.message


def test_a_default_of_a_product_that_failed_is_not_wrong(bench: Bench) -> None:
    """A client would lose its session because an operator has made a mistake; it is told when it reads."""
    session = bench.session("visitor", catalog="lab", schema="readings")
    (bench.folder / "raw.csv").write_text("n\n1\n")
    bench.reload()
    surface = bench.statements.surface(session)
    assert bench.statements.scope(session, surface) == Scope()
    assert bench.rows("SELECT 1", session) == [(1,)]
    with pytest.raises(FlightmeshError) as caught:
        bench.rows("SELECT * FROM lab.readings.points", session)
    assert caught.value.code is ErrorCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("catalog", "schema", "found"),
    [
        (None, None, (None, None)),
        ("lab", None, ("lab", None)),
        ("LAB", "READINGS", ("lab", "readings")),
        (None, "readings", ("lab", "readings")),
        ("lab", "readings", ("lab", "readings")),
    ],
)
def test_defaults_are_those_of_the_catalogue(
    bench: Bench, catalog: str | None, schema: str | None, found: tuple[str | None, str | None]
) -> None:
    """Drivers send names in any case; a schema alone is enough."""
    assert defaults(bench.statements.surface(bench.session()), catalog, schema) == found


@pytest.mark.parametrize(
    ("catalog", "schema", "said"),
    [
        ("lap", None, "There is no catalogue lap. Did you mean lab?"),
        ("zzz", None, "There is no catalogue zzz. The catalogue lists what you may read."),
        (None, "reading", "There is no schema reading. Did you mean readings?"),
        ("lab", "zzz", "There is no schema zzz. The catalogue lists what you may read."),
        ("x" * 5_000, None, None),
        ("", None, None),
    ],
)
def test_unknown_defaults_are_refused_with_the_nearest(
    bench: Bench, catalog: str | None, schema: str | None, said: str | None
) -> None:
    """A typo in a connection string would be found only at the first query."""
    with pytest.raises(FlightmeshError) as caught:
        defaults(bench.statements.surface(bench.session()), catalog, schema)
    assert caught.value.code is ErrorCode.NOT_FOUND
    assert said in (None, str(caught.value))
    assert len(str(caught.value)) < 400


def test_hidden_schemas_are_no_defaults_and_no_hints(bench: Bench) -> None:
    """A caller would find the names of others' products by setting them."""
    surface = bench.statements.surface(bench.session())
    blind = replace(surface, tables={}, namespace=replace(surface.namespace, paths=()))
    for catalog, schema in (("lab", None), (None, "readings"), ("lap", None), (None, "reading")):
        with pytest.raises(FlightmeshError) as caught:
            defaults(blind, catalog, schema)
        assert "Did you mean" not in str(caught.value)


def test_a_schema_of_several_catalogues_is_refused(bench: Bench) -> None:
    """Which one is meant would be guessed."""
    surface = bench.statements.surface(bench.session())
    (table,) = surface.tables.values()
    two = replace(surface, tables=dict.fromkeys((TableName(c, "readings", "t") for c in ("lab", "air")), table))
    with pytest.raises(FlightmeshError, match="Several catalogues have a schema readings") as caught:
        defaults(two, None, "readings")
    assert caught.value.code is ErrorCode.INVALID
    assert caught.value.hint == "Name the catalogue too, air.readings for example."
    assert defaults(two, "lab", "readings") == ("lab", "readings")


def test_unbound_parameters_are_refused(bench: Bench) -> None:
    """A statement with parameters would be run with none."""
    session = bench.session()
    refuse_unbound(bench.statements.ready(session, SUM).prepared)
    with pytest.raises(FlightmeshError, match="Parameters of the statement: 2; none is bound"):
        refuse_unbound(bench.statements.ready(session, "SELECT ?, ?").prepared)


def test_each_row_of_values_is_an_execution(bench: Bench) -> None:
    """``executemany`` of a SELECT gives the rows of all, one after the other; what is held is given back."""
    session = bench.session()
    ready = bench.statements.ready(session, "SELECT v FROM lab.readings.points WHERE n = ?")
    values = pa.record_batch({"1": pa.array([2, 0], pa.int64())})
    typed = bench.statements.typed(ready, values)
    found = []
    with bench.statements.opened(session, ready.surface, typed, values, Call()) as executions:
        assert bench.admission.running == 1
        for execution in executions:
            assert bench.engine.running == 1
            found += execution.start().read_all()["v"].to_pylist()
    assert found == [30, 10]
    assert (bench.admission.running, bench.engine.running) == (0, 0)


def test_no_row_of_values_is_no_execution(bench: Bench) -> None:
    """A bind of an empty batch is an answer without rows, not an error of the engine."""
    session = bench.session()
    ready = bench.statements.ready(session, "SELECT v FROM lab.readings.points WHERE n = ?")
    values = pa.record_batch({"1": pa.array([], pa.int64())})
    typed = bench.statements.typed(ready, values)
    with bench.statements.opened(session, ready.surface, typed, values, Call()) as executions:
        assert list(executions) == []

"""``flightmesh.planner.pipeline``: the whole chain, with the real binder, up to the plan and not beyond."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pyarrow as pa
import pytest

from flightmesh.catalog.snapshot import Snapshot
from flightmesh.config import Limits
from flightmesh.engine.base import Temporary
from flightmesh.engine.twin import Bound, Twin
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.planner.guard import guard
from flightmesh.planner.masks import Reader
from flightmesh.planner.pipeline import STAGES, Planner, model_references, parts, plan_model, select_all
from flightmesh.planner.resolve import resolve
from flightmesh.planner.route import route
from flightmesh.planner.scope import Scope
from flightmesh.planner.statement import parse
from flightmesh.planner.surface import Surface, surface
from tests.temporaries import temporary


class Counting:
    """A binder that counts."""

    def __init__(self, twin: Twin) -> None:
        self.twin, self.binds = twin, 0

    def bind(self, sql: str, *, search_path: tuple[str, ...] = (), temporaries: Sequence[Temporary] = ()) -> Bound:
        self.binds += 1
        return self.twin.bind(sql, search_path=search_path, temporaries=temporaries)


@pytest.fixture
def shown(snapshot: Snapshot) -> Surface:
    """What a head of the laboratory sees."""
    return surface(snapshot, Reader("a", frozenset({"head"}), {}), mask_key=b"k" * 32)


@pytest.fixture
def binder(shown: Surface) -> Iterator[Counting]:
    twin = Twin(shown.twin_ddl)
    yield Counting(twin)
    twin.close()


@pytest.fixture
def planner(binder: Counting) -> Planner:
    return Planner(replace(Limits(), batch_rows_max=7), lambda _: binder)


def test_the_stages_run_in_this_order() -> None:
    """A statement would be routed before it was guarded."""
    assert (parse, resolve, guard, route) == STAGES


def test_a_statement_without_parameters_runs_as_written(planner: Planner, shown: Surface) -> None:
    """The text that was approved would not be the text that runs."""
    text = "SELECT upper(site) AS s, mass FROM samples -- x"
    prepared = planner.prepare(shown, text)
    assert prepared.schema == pa.schema([("s", pa.string()), ("mass", pa.int64())])
    plan = planner.plan(planner.typed(prepared, None), None)
    assert plan.sql == text
    assert plan.parameters == ()
    assert plan.search_path == ('"lab"."samples"',)
    assert plan.batch_rows == 7
    assert plan.instance is shown.instance


def test_parameters_have_the_types_that_the_plan_expects(planner: Planner, shown: Surface) -> None:
    """A driver would not know what to bind."""
    prepared = planner.prepare(shown, "SELECT id, ? AS x FROM samples WHERE mass > ? AND site = $3")
    assert prepared.parameters.types == [pa.string(), pa.int64(), pa.string()]
    assert prepared.is_open[0]
    assert prepared.schema.names == ["id", "x"]


def test_the_bound_type_is_in_the_schema_that_is_promised(planner: Planner, shown: Surface) -> None:
    """A client would be promised text and sent numbers."""
    prepared = planner.prepare(shown, "SELECT ? AS x, ?")
    values = pa.record_batch([pa.array([5, None], pa.int16()), pa.array([1.5, 2.5])], names=["0", "1"])
    typed = planner.typed(prepared, values.schema)
    assert typed.schema == pa.schema([("x", pa.int16()), ("$2", pa.float64())])
    assert planner.plan(typed, values, 0).parameters == (5, 1.5)
    assert planner.plan(typed, values, 1).parameters == (None, 2.5)
    assert planner.plan(typed, values, 0).sql == 'SELECT (CAST($1 AS SMALLINT)) AS x, (CAST($2 AS DOUBLE)) AS "$2"'


def test_named_values_may_come_in_any_order(planner: Planner, shown: Surface) -> None:
    """A driver's dictionary would swap two values."""
    prepared = planner.prepare(shown, "SELECT $first AS a, $second AS b")
    values = pa.record_batch([pa.array(["2"]), pa.array([1])], names=["second", "first"])
    typed = planner.typed(prepared, values.schema)
    plan = planner.plan(typed, values)
    assert typed.schema == pa.schema([("a", pa.int64()), ("b", pa.string())])
    assert plan.parameters == (1, "2")


def test_a_plan_is_made_once(planner: Planner, shown: Surface, binder: Counting) -> None:
    """Every poll of a dashboard would be parsed and bound anew; a forgotten plan would be served to a new policy."""
    first = planner.prepare(shown, "SELECT ? FROM samples")
    planner.typed(first, pa.schema([("0", pa.int8())]))
    binds = binder.binds
    assert planner.prepare(shown, "SELECT ? FROM samples") is first
    planner.typed(first, pa.schema([("0", pa.int8())]))
    assert binder.binds == binds
    assert planner.prepare(shown, "SELECT ? FROM samples", Scope("lab")) is not first
    planner.forget({"another"})
    assert planner.prepare(shown, "SELECT ? FROM samples") is first
    planner.forget({shown.id})
    assert planner.prepare(shown, "SELECT ? FROM samples") is not first


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("SELECT nope FROM samples", ErrorCode.INVALID, 'column "nope" not found in FROM clause (line 1, column 8)'),
        ("SELECT masss FROM samples", ErrorCode.INVALID, "Did you mean mass?"),
        (
            "SELECT s.masss FROM samples s",
            ErrorCode.INVALID,
            'Table "s" does not have a column named "masss" (line 1, column 8). Did you mean mass?',
        ),
        (
            "SELECT samples.rowid FROM samples",
            ErrorCode.INVALID,
            'Table "samples" does not have a column named "rowid"',
        ),
        ("SELECT * FROM sample", ErrorCode.NOT_FOUND, "Did you mean lab.samples.samples?"),
        ("SELECT stats(mass) FROM samples", ErrorCode.INVALID, "The function stats is not allowed"),
        ("SELECT rowid FROM samples", ErrorCode.INVALID, 'column "rowid" not found'),
        ("SELECT site + DATE '2020-01-01' FROM samples", ErrorCode.INVALID, "No function matches"),
        ("DELETE FROM samples", ErrorCode.INVALID, "DELETE is not allowed"),
    ],
)
def test_a_bad_statement_is_told_before_anything_runs(
    planner: Planner, shown: Surface, text: str, code: ErrorCode, said: str
) -> None:
    """A reader would wait for an engine to hear of a typo, in the engine's words."""
    with pytest.raises(FlightmeshError) as caught:
        planner.prepare(shown, text)
    assert caught.value.code is code
    assert said in str(caught.value)


def test_a_refused_statement_is_refused_again(planner: Planner, shown: Surface) -> None:
    """The second try would find something in the cache."""
    for _ in range(2):
        with pytest.raises(FlightmeshError):
            planner.prepare(shown, "SELECT stats(mass) FROM samples")


def test_the_path_of_a_port_reads_all_of_it(shown: Surface) -> None:
    """A path descriptor would read less than the table, or by another case of its name."""
    assert select_all(shown, ("lab", "samples", "samples")) == 'SELECT * FROM "lab"."samples"."samples"'
    for path in (
        ("lab", "samples", "Samples"),
        ("samples",),
        (),
        ("lab", "samples", "samples", "x"),
        ('lab"', "a", "b"),
    ):
        with pytest.raises(FlightmeshError) as caught:
            select_all(shown, path)
        assert caught.value.code is ErrorCode.NOT_FOUND


def test_an_unavailable_path_leads_to_the_reason(shown: Surface, planner: Planner) -> None:
    """A reader of a broken product would be told that it never was."""
    broken = replace(
        shown, id="broken", namespace=replace(shown.namespace, unavailable={("lab", "broken"): "a file is missing."})
    )
    with pytest.raises(FlightmeshError) as caught:
        planner.prepare(broken, select_all(broken, ("lab", "broken", 'p"q')))
    assert caught.value.code is ErrorCode.UNAVAILABLE


def test_a_model_names_what_it_reads() -> None:
    """A model would be built before what it reads."""
    sql = "WITH x AS (FROM tms.legs) SELECT * FROM x JOIN carriers USING (id) JOIN tms.legs USING (id)"
    assert model_references(sql, limits=Limits()) == (("tms", "legs"), ("carriers",))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM other",
        "SELECT * FROM legs",
        "FROM read_csv('x')",
        "COPY tms.legs TO 'x'",
        "FROM tms.legs, duckdb_tables",
    ],
)
def test_a_model_reads_its_declared_inputs_alone(sql: str) -> None:
    """A model would read files or another product's tables at build time, as the server."""
    relations: list[tuple[str, ...]] = [("tms", "legs")]
    assert plan_model("SELECT * FROM tms.legs", relations=relations, limits=Limits()).sql == "SELECT * FROM tms.legs"
    with pytest.raises(FlightmeshError):
        plan_model(sql, relations=relations, limits=Limits())


def test_the_binder_is_that_of_the_surface(snapshot: Snapshot, shown: Surface) -> None:
    """A reader's statement would bind against another reader's names."""
    asked: list[str] = []

    def binder_of(entry: Surface) -> Twin:
        asked.append(entry.id)
        return Twin(entry.twin_ddl)

    maker: Callable[[Surface], Twin] = binder_of
    Planner(Limits(), maker).prepare(shown, "SELECT 1 FROM vault")
    assert asked == [shown.id]
    analyst = surface(snapshot, Reader("a", frozenset({"analyst"}), {}), mask_key=b"k" * 32)
    with pytest.raises(FlightmeshError):
        Planner(Limits(), maker).prepare(analyst, "SELECT id FROM samples")
    assert asked[-1] == analyst.id


def smuggled(body: str) -> str:
    """A statement whose first string opens where the parser's shortened offsets put the parameter."""
    return "SELECT" + "\u00a0" * (body.index("?") - body.index("'")) + body


def test_a_string_cannot_become_code(planner: Planner, shown: Surface) -> None:
    """With spaces of Unicode before it, a parameter's type was once written over the quote of a string, and the
    string's content ran without having passed the gate.
    """
    text = smuggled("1 AS a, ' , (SELECT string_agg(sql) FROM duckdb_views()) AS leak -- ' AS b, ? || '' AS c")
    prepared = planner.prepare(shown, text)
    typed = planner.typed(prepared, pa.schema([("0", pa.string())]))
    assert typed.schema.names == ["a", "b", "c"]
    assert typed.sql.endswith("-- ' AS b, (CAST($1 AS VARCHAR)) || '' AS c")


def test_what_runs_has_passed_the_gate_itself(planner: Planner, shown: Surface) -> None:
    """If giving types could change a statement, the changed one would run unseen: a hostile type name stands for
    whatever might.
    """
    prepared = planner.prepare(shown, "SELECT ? || '' AS a")
    for hostile in ("VARCHAR)), (stats(1", "VARCHAR)) FROM duckdb_views(), (SELECT (1", "VARCHAR)) FROM vault --"):
        with pytest.raises(FlightmeshError):
            planner._bind_typed(prepared, (0,), [hostile])


def test_long_statements_are_planned_and_not_kept(planner: Planner, shown: Surface, binder: Counting) -> None:
    """A few thousand texts of 200 kB, typed or not, would take the server's memory for one caller."""
    text = f"SELECT ? AS n, '{'x' * Limits().plan_cache_characters_max}' AS filler"
    bound = pa.schema([("1", pa.int64())])
    for _ in range(2):
        assert planner.typed(planner.prepare(shown, text), bound).schema.field("n").type == pa.int64()
    assert (len(planner._prepared), len(planner._typed)) == (0, 0)


OWN = temporary("own", "id BIGINT, note VARCHAR")
HELD = Scope(temporaries={"own": OWN})


def test_a_table_of_the_session_binds_and_is_planned(planner: Planner, shown: Surface) -> None:
    """People join their own rows to a port: types, parameters and the table itself arrive at the engine."""
    sql = "SELECT o.note, s.mass FROM own o JOIN lab.samples.samples s USING (id) WHERE o.note = ?"
    prepared = planner.prepare(shown, sql, HELD)
    assert prepared.schema == pa.schema([("note", pa.string()), ("mass", pa.int64())])
    assert prepared.parameters.types == [pa.string()]
    values = pa.record_batch([pa.array(["x"])], names=["1"])
    plan = planner.plan(planner.typed(prepared, values.schema), values)
    assert (plan.temporaries, plan.is_catalogue, plan.parameters) == ((OWN,), False, ("x",))


def test_a_plan_of_one_session_is_not_anothers(planner: Planner, shown: Surface) -> None:
    """Two sessions call different tables by one name, and one replaces its table: no plan of the other is used."""
    first = planner.prepare(shown, "SELECT * FROM own", HELD)
    other = Scope(temporaries={"own": temporary("own", "n DOUBLE", version="2")})
    assert first.schema.names == ["id", "note"]
    assert planner.prepare(shown, "SELECT * FROM own", other).schema == pa.schema([("n", pa.float64())])
    assert planner.prepare(shown, "SELECT * FROM own", HELD) == first
    assert planner.is_prepared(shown, "SELECT * FROM own", HELD)
    for nobody in (Scope(), Scope("lab", "samples")):
        assert not planner.is_prepared(shown, "SELECT * FROM own", nobody)
        with pytest.raises(FlightmeshError) as caught:
            planner.prepare(shown, "SELECT * FROM own", nobody)
        assert caught.value.code is ErrorCode.NOT_FOUND


def always(rows: pa.Table) -> Callable[[], pa.Table]:
    return lambda: rows


def test_kept_plans_keep_no_rows(planner: Planner, shown: Surface) -> None:
    """A dropped table's file would stay on disk, uncounted, until thousands of other statements came along."""
    rows = pa.table({"n": pa.array([1], pa.int64())})
    gone = weakref.ref(rows)
    scope = Scope(temporaries={"t": Temporary("t", "1", (("n", "BIGINT"),), rows.schema, 1, always(rows))})
    bound = pa.record_batch([pa.array([1])], names=["1"])
    for sql, values in (("SELECT n FROM t", None), ("SELECT n + ? FROM t", bound), ("DESCRIBE t", None)):
        typed = planner.typed(planner.prepare(shown, sql, scope), None if values is None else values.schema)
        assert planner.plan(typed, values).temporaries[0].open() is rows
        assert planner.is_prepared(shown, sql, scope)
    del rows, scope, typed
    assert gone() is None


def test_what_arrow_has_not_is_text_beside_a_parameter(planner: Planner, shown: Surface) -> None:
    """A parameter whose type is open must not bring back DuckDB's inner bytes, or -1 for the largest UHUGEINT."""
    values = pa.record_batch([pa.array([5])], names=["1"])
    for sql in ("SELECT ? AS a, '101'::BIT AS b", "SELECT ? + 1 AS a, 3::UHUGEINT AS b"):
        typed = planner.typed(planner.prepare(shown, sql), values.schema)
        assert typed.schema == pa.schema([("a", pa.int64()), ("b", pa.string())])
        assert "CAST(c1 AS VARCHAR)" in planner.plan(typed, values).sql


def test_what_is_wrapped_may_end_in_a_semicolon(planner: Planner, shown: Surface) -> None:
    """People end statements so; in brackets it would not parse."""
    plan = planner.plan(planner.typed(planner.prepare(shown, "SELECT '101'::BIT AS b; -- done"), None), None)
    assert plan.sql.startswith("SELECT CAST(c0 AS VARCHAR)")
    sql, table = "SELECT id FROM lab.samples.samples; -- all", next(iter(shown.tables))
    prepared = planner.prepare(shown, sql)
    assert shown.tables[table].shown.rows == 3
    for part in parts(prepared, sql, 2, 1):
        assert planner.prepare(shown, part).schema.names == ["id"]


def test_a_question_to_the_catalogue_is_one_part(planner: Planner, shown: Surface) -> None:
    """Clients that read several endpoints ask the catalogue too."""
    sql = "SELECT * FROM information_schema.tables"
    assert parts(planner.prepare(shown, sql), sql, 4, 1) == (sql,)


def test_typed_plans_keep_to_their_session_too(planner: Planner, shown: Surface) -> None:
    """The second cache, of texts with types, would give one session the result schema of another's table."""
    bound = pa.schema([("1", pa.int64())])
    sql = "SELECT *, ? AS p FROM own"
    other = Scope(temporaries={"own": temporary("own", "n DOUBLE", version="2")})
    assert planner.typed(planner.prepare(shown, sql, HELD), bound).schema.names == ["id", "note", "p"]
    assert planner.typed(planner.prepare(shown, sql, other), bound).schema.names == ["n", "p"]


def test_a_default_decides_between_schemas_as_the_engine_does(planner: Planner, shown: Surface) -> None:
    """Two schemas with tables of one name: what is approved must be what the engine finds, whatever else is named."""
    tables = {f"{c}.{s}.{t}": (c, s, t) for c, s in (("a", "x"), ("b", "y")) for t in ("shared", f"only_{s}")}
    ddl = (
        *(f"ATTACH ':memory:' AS {catalog}" for catalog in "ab"),
        *("CREATE SCHEMA a.x", "CREATE SCHEMA b.y"),
        *(f"CREATE TABLE {name} (from_{name[0]} INT)" for name in tables),
    )
    two = replace(shown, id="two", namespace=replace(shown.namespace, paths=tuple(tables.values())))
    twin = Twin(ddl)
    try:
        own = Planner(Limits(), lambda _: Counting(twin))
        for scope, column in ((Scope("a", "x"), "from_a"), (Scope("b", "y"), "from_b"), (Scope("b"), "from_b")):
            for sql in (
                "FROM shared",
                "SELECT s.* FROM only_x, only_y, shared s",
                "SELECT s.* FROM shared s, only_y, only_x",
            ):
                prepared = own.prepare(two, sql, scope)
                assert prepared.schema.names == [column], (sql, scope)
                path = next(path for path in prepared.guarded.resolved.relations if path[2] == "shared")
                assert path[0] == column[-1]
    finally:
        twin.close()

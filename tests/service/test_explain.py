"""``query.explain``: what it tells is what is done, and nothing that a policy hides."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flightmesh.config import Limits
from flightmesh.engine.explain import Explainer
from flightmesh.engine.scans import Scans
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.planner.scope import PUBLIC, Scope
from flightmesh.planner.surface import Surface
from flightmesh.service.admission import Admission
from flightmesh.service.authn import Principal
from flightmesh.service.explain import Explanation, Explanations
from flightmesh.service.generations import Generations
from flightmesh.service.sessions import Session
from flightmesh.sources.naming import Dataset
from flightmesh.sources.registry import Sources
from tests.planner.live_product import KEPT, MASK_KEY, RAW, TMS, Mesh, mesh, write_product
from tests.temporaries import temporary

Explain = Callable[..., Explanation]
COLUMNS = {"id": "BIGINT", "site": "VARCHAR"}
OWN = temporary("own", "id BIGINT, note VARCHAR")


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Mesh]:
    """A product with a live port, one that joins a live with a kept table, and a kept one."""
    models = {
        "samples": "{from: raw}",
        "both": "{sql: 'SELECT r.id, r.site FROM raw r JOIN kept k USING (id)'}",
        "legs": "{from: tms.legs}",
        "old": "{from: kept}",
    }
    folder = write_product(
        tmp_path / "p",
        [RAW, KEPT, TMS],
        models,
        ports={"samples": COLUMNS, "both": COLUMNS, "legs": COLUMNS, "old": {"id": "BIGINT", "v": "BIGINT"}},
        policies=(
            "{grant: read, port: '*', to: ['role:head', 'role:lab']}",
            "{rows: \"site = 'north'\", of: samples, for: 'role:lab'}",
            "{mask: {column: site, with: drop}, of: legs, unless: 'role:head'}",
        ),
    )
    with mesh(folder, tmp_path / "state") as found:
        yield found


@pytest.fixture
def explain(made: Mesh) -> Explain:
    """Explains a statement to a user with a role."""
    limits = Limits()
    generations = Generations(
        made.snapshot,
        mask_key=MASK_KEY,
        limits=limits,
        clock=time.time,
        on_lease=lambda *_: None,
        find=lambda _generation: made.snapshot,
    )

    def scope(session: Session, _surface: Surface, _transaction: str | None) -> Scope:
        return Scope(temporaries={"own": OWN}) if session.principal.name == "ann" else PUBLIC

    scans = Scans(Sources(), None)  # type: ignore[arg-type]  # no Polars model is run here
    explanations = Explanations(
        generations, made.planner, Explainer(made.engine, scans).reads, Admission(limits), limits, scope
    )

    def explained(sql: str, role: str = "head", name: str = "ann") -> Explanation:
        session = Session("s", Principal(name, frozenset({role})), 0, 0, None, None)
        found = explanations.explain(session, sql)
        assert len(explanations.text(session, sql, None).splitlines()) >= 2
        return found

    return explained


def test_a_live_port_tells_its_source(explain: Explain) -> None:
    """People see which source is asked for what, where the rows come from, and that they are of now."""
    found = explain("SELECT id FROM lab.samples.samples WHERE site = 'north'")
    assert (found.engine, found.columns, found.pushed_whole) == ("duckdb", (("id", "int64"),), False)
    assert found.reason is not None
    (relation,), (source,) = found.relations, found.sources
    assert (relation.table, relation.is_live, relation.read_at, relation.stale) == (
        "lab.samples.samples",
        True,
        None,
        None,
    )
    assert relation.upstream == (Dataset("flightmesh:lab.samples", "raw:data/raw.csv"),)
    assert (source.source, source.kind, source.table) == ("raw", "csv", "raw")
    assert "site" in source.pushed
    assert "north" in source.pushed


def test_a_kept_port_tells_its_age(explain: Explain) -> None:
    """Rows that were read when the product was built say when; no source is asked, so there is no reason either."""
    found = explain("SELECT * FROM lab.samples.old")
    (relation,) = found.relations
    assert not relation.is_live
    assert relation.read_at is not None
    assert relation.read_at.endswith("+00:00")
    assert (found.sources, found.reason, found.pushed_whole) == ((), None, False)


def test_a_policy_is_not_read_out(explain: Explain) -> None:
    """What a source is asked for a reader under a row filter holds the filter's values: he is told of neither."""
    found = explain("SELECT id FROM lab.samples.samples WHERE id = 1", role="lab")
    assert "north" not in str(found)
    (relation,), (source,) = found.relations, found.sources
    assert relation.policy == ("Only rows that a row filter lets through.",)
    assert source.pushed == "not shown: a policy is part of it"
    assert (source.left, source.pruned) == ((), None)


def test_a_column_that_is_not_there_is_not_named(explain: Explain) -> None:
    """A model may filter by a column that the policy drops: the text for the source would tell its name."""
    (open_to_all,) = explain("SELECT id FROM lab.samples.legs").sources
    assert open_to_all.pushed.startswith("SELECT")
    found = explain("SELECT id FROM lab.samples.legs", role="lab")
    assert [source.pushed for source in found.sources] == ["not shown: a policy is part of it"]
    assert "site" not in str(found)


def test_two_sources_are_both_told(explain: Explain) -> None:
    """A join across sources shows each read, and why no database answers it alone."""
    found = explain("SELECT count(*) AS c FROM lab.samples.samples a JOIN lab.samples.legs b USING (id)")
    assert sorted((source.source, source.kind) for source in found.sources) == [("raw", "csv"), ("tms", "sqlite")]
    assert found.reason == "it reads several sources: raw, tms"


def test_live_and_kept_ports_in_one_statement(explain: Explain) -> None:
    """The reason says what keeps the statement here."""
    found = explain("SELECT count(*) AS c FROM lab.samples.samples JOIN lab.samples.old USING (id)")
    assert found.reason == "it also reads ports whose rows are kept here"
    assert [relation.is_live for relation in found.relations] == [True, False]


def test_nothing_is_read(explain: Explain, made: Mesh) -> None:
    """Explaining works while the source is down; it says what is not known."""
    product = next(iter(made.snapshot.products.values()))
    assert product.live is not None
    (product.live.folder / "data" / "raw.csv").unlink()
    found = explain("SELECT id FROM lab.samples.samples")
    assert [source.source for source in found.sources] == ["raw"]


def test_a_plan_that_is_kept_is_told(explain: Explain) -> None:
    """The second explanation of a statement finds its plan."""
    sql = "SELECT count(*) AS c FROM lab.samples.legs"
    assert [explain(sql).is_plan_cached, explain(sql).is_plan_cached] == [False, True]


def test_parameters_count_as_null(explain: Explain) -> None:
    """A statement with parameters is explained before anybody binds values."""
    assert explain("SELECT id FROM lab.samples.samples WHERE id = $1").columns == (("id", "int64"),)


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT * FROM lab.samples.nothing", ErrorCode.NOT_FOUND),
        ("SELEC 1", ErrorCode.INVALID),
        ("DELETE FROM lab.samples.samples", None),
    ],
)
def test_what_cannot_be_run_cannot_be_explained(explain: Explain, sql: str, code: ErrorCode | None) -> None:
    """The refusals are those of running it: an explanation is no way round the gate."""
    with pytest.raises(FlightmeshError) as raised:
        explain(sql)
    assert code in (None, raised.value.code)


def test_other_products_do_not_exist(explain: Explain) -> None:
    """A principal without a grant is told what he is told everywhere: that there is no such table."""
    with pytest.raises(FlightmeshError) as raised:
        explain("SELECT * FROM lab.samples.samples", role="visitor")
    assert raised.value.code is ErrorCode.NOT_FOUND


def test_a_table_of_ones_own_is_explained_as_what_it_is(explain: Explain) -> None:
    """Whoever joins own rows to a port asks why it is slow too; the table is no port, so it has no policy to tell."""
    found = explain("SELECT o.note FROM own o JOIN lab.samples.old USING (id)")
    assert [relation.table for relation in found.relations] == ["lab.samples.old"]
    assert found.columns == (("note", "string"),)
    with pytest.raises(FlightmeshError) as raised:
        explain("SELECT * FROM own", name="bob")
    assert raised.value.code is ErrorCode.NOT_FOUND


def test_a_live_port_beside_a_table_of_ones_own_is_not_pushed_whole(explain: Explain) -> None:
    """A database does not have the session's rows: the statement runs here, and says so."""
    found = explain("SELECT count(*) AS c FROM own JOIN lab.samples.legs USING (id)")
    assert (found.engine, found.pushed_whole) == ("duckdb", False)
    assert [source.source for source in found.sources] == ["tms"]
    assert found.reason

"""``flightmesh.planner.resolve``: a name means one visible port, or does not exist."""

from __future__ import annotations

import pytest

from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.planner.resolve import Namespace, Resolved, resolve
from flightmesh.planner.scope import Scope
from flightmesh.planner.statement import parse
from tests.temporaries import temporary

PATHS = (
    ("air", "flights", "flights"),
    ("air", "flights", "delays"),
    ("lab", "trials", "arms"),
    ("lab", "air", "delays"),
)
NAMESPACE = Namespace(PATHS, unavailable={("lab", "broken"): "a file is missing."})


def _resolve(
    sql: str, namespace: Namespace = NAMESPACE, *, catalog: str | None = None, schema: str | None = None
) -> Resolved:
    return resolve(parse(sql, limits=Limits()), namespace, Scope(catalog, schema))


def _refusal(sql: str, namespace: Namespace = NAMESPACE, **default: str) -> FlightmeshError:
    with pytest.raises(FlightmeshError) as caught:
        _resolve(sql, namespace, **default)
    return caught.value


@pytest.mark.parametrize(
    ("written", "path", "search"),
    [
        ("lab.trials.arms", PATHS[2], ()),
        ("LAB.Trials.ARMS", PATHS[2], ()),
        ('"lab"."trials"."arms"', PATHS[2], ()),
        ("trials.arms", PATHS[2], ('"lab"."trials"',)),
        ("arms", PATHS[2], ('"lab"."trials"',)),
        ("flights", PATHS[0], ('"air"."flights"',)),
        ("air.delays", PATHS[3], ('"lab"."air"',)),
    ],
)
def test_a_name_means_the_one_port_that_it_fits(written: str, path: tuple[str, ...], search: tuple[str, ...]) -> None:
    """A reader would have to write three parts always, or would read another port than named."""
    found = _resolve(f"SELECT * FROM {written}")
    assert found.relations == (path,)
    assert found.search_path == search


def test_a_short_name_of_two_ports_is_refused_not_guessed() -> None:
    """A reader would get figures of the product that happens to come first."""
    refusal = _refusal("SELECT * FROM delays")
    assert refusal.code is ErrorCode.INVALID
    assert str(refusal) == (
        "The name delays means several tables (line 1, column 15). Write air.flights.delays, for example."
    )


def test_a_session_default_settles_it() -> None:
    """A client that has set its catalogue would still have to write it."""
    assert _resolve("FROM delays", catalog="lab").relations == (PATHS[3],)
    assert _resolve("FROM delays", catalog="air", schema="flights").relations == (PATHS[1],)
    assert _refusal("FROM delays", catalog="nowhere").code is ErrorCode.INVALID


@pytest.mark.parametrize(
    "written", ["secret", "lab.trials.secret", "nowhere.at.all", '"lab.trials.arms"', "a.lab.trials.arms"]
)
def test_what_is_not_there_is_not_found(written: str) -> None:
    """An answer other than not_found would tell that something is there."""
    refusal = _refusal(f"SELECT 1 FROM {written}")
    assert refusal.code is ErrorCode.NOT_FOUND
    assert str(refusal).startswith(f"There is no table {written.replace(chr(34), '')} (line 1, column 15).")


def test_the_hint_names_what_may_be_read_in_full() -> None:
    """A typo would have to be found by reading the catalogue; a hint without catalogue could not be pasted."""
    assert _refusal("FROM arns").hint == "Did you mean lab.trials.arms?"
    assert _refusal("FROM lab.trials.army").hint == "Did you mean lab.trials.arms?"
    assert _refusal("FROM zzz").hint == "The catalogue lists what you may read."
    assert _refusal("FROM arms", Namespace(())).hint == "The catalogue lists what you may read."


def test_an_unavailable_product_says_why() -> None:
    """An operator's mistake would look like a table that never was."""
    refusal = _refusal("FROM lab.broken.t")
    assert refusal.code is ErrorCode.UNAVAILABLE
    assert str(refusal) == "The product lab.broken is not available: a file is missing."
    assert _refusal("FROM lab.brokes.t").code is ErrorCode.NOT_FOUND


def test_a_strict_namespace_takes_whole_paths_only() -> None:
    """A model would read another source's table by a short name."""
    strict = Namespace((("raw",), ("db", "sites")), is_strict=True)
    assert _resolve("FROM raw, db.sites", strict).relations == (("raw",), ("db", "sites"))
    assert _refusal("FROM sites", strict).code is ErrorCode.NOT_FOUND


def test_letters_are_folded_as_the_engine_folds_them() -> None:
    """A name that Python thinks equal and DuckDB does not would be approved as one table and read as another."""
    namespace = Namespace((("d", "s", "straße"), ("d", "s", "kelvin")))
    assert _resolve("FROM STRAßE", namespace).relations == (("d", "s", "straße"),)
    for other in ("STRASSE", "\u212aelvin"):
        assert _refusal(f"FROM {other}", namespace).code is ErrorCode.NOT_FOUND


def test_long_names_are_cut_in_the_answer() -> None:
    """An answer as long as the question would be more than a client is sent."""
    assert len(str(_refusal("FROM " + "n" * 50_000))) < 500


OWN = temporary("Arms", "n BIGINT")
OTHER = temporary("mine", "n BIGINT")
HELD = {"arms": OWN, "mine": OTHER}


def _held(sql: str, catalog: str | None = None, schema: str | None = None) -> Resolved:
    return resolve(parse(sql, limits=Limits()), NAMESPACE, Scope(catalog, schema, HELD))


@pytest.mark.parametrize("written", ["arms", "ARMS", '"arms"', "temp.arms", "temp.main.arms", '"temp"."main"."Arms"'])
@pytest.mark.parametrize("default", [(None, None), ("lab", None), ("lab", "trials")])
def test_ones_own_table_comes_before_a_port_of_its_name(written: str, default: tuple[str | None, str | None]) -> None:
    """As in DuckDB, which looks into ``temp`` first: what is approved must be what is read."""
    found = _held(f"SELECT * FROM {written}", *default)
    assert found.relations == (("temp", "main", "Arms"),)
    assert found.temporaries == (OWN,)


@pytest.mark.parametrize("written", ["trials.arms", "lab.trials.arms"])
def test_a_port_keeps_its_longer_names(written: str) -> None:
    """A table of one's own would hide the product's."""
    found = _held(f"SELECT * FROM {written}")
    assert found.relations == (PATHS[2],)
    assert found.temporaries == ()


def test_only_what_is_read_is_handed_on() -> None:
    """The engine would open every table of the session for every statement; the catalogue is asked for all of them."""
    assert _held("FROM mine m1, mine m2, lab.trials.arms").temporaries == (OTHER,)
    assert _held("SELECT 1").temporaries == ()
    assert _held("SHOW TABLES").temporaries == (OWN, OTHER)
    assert _held("SELECT table_name FROM information_schema.tables").temporaries == (OWN, OTHER)
    assert _held("DESCRIBE mine").temporaries == (OWN, OTHER)
    assert _held("SUMMARIZE mine").temporaries == (OTHER,)


@pytest.mark.parametrize("written", ["temp.main.theirs", "temp.theirs", "theirs", "temp.main.delays", "main.arms"])
def test_what_the_session_does_not_hold_is_not_found(written: str) -> None:
    """Tables of others, and the place of temporary tables as a name for ports, do not exist."""
    with pytest.raises(FlightmeshError) as caught:
        _held(f"SELECT 1 FROM {written}")
    assert caught.value.code is ErrorCode.NOT_FOUND


def test_a_cte_is_no_table_of_ones_own() -> None:
    """The name of a CTE hides the table, here as in the engine."""
    found = _held("WITH arms AS (SELECT 1 AS n) SELECT * FROM arms")
    assert (found.relations, found.temporaries) == ((), ())


def test_the_default_comes_first_on_the_search_path() -> None:
    """A short name of the default schema was approved as its table and read from another schema on the path."""
    sql = "SELECT * FROM arms, delays"
    paths = (("lab", "trials", "arms"), ("lab", "trials", "delays"), ("air", "x", "other"), ("air", "x", "delays"))
    found = resolve(parse("SELECT * FROM other, delays", limits=Limits()), Namespace(paths), Scope("lab", "trials"))
    assert found.relations == (("air", "x", "other"), ("lab", "trials", "delays"))
    assert found.search_path == ('"lab"."trials"', '"air"."x"')
    assert _resolve(sql, catalog="air", schema="flights").search_path[0] == '"air"."flights"'


def test_a_default_stands_on_the_path_of_every_statement() -> None:
    """``current_schema()`` would not tell what was set."""
    assert _resolve("SELECT 1", catalog="lab", schema="trials").search_path == ('"lab"."trials"',)
    assert _resolve("SELECT 1", catalog="lab").search_path == ('"lab"."main"',)
    assert _resolve("SELECT 1").search_path == ()

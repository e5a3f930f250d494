"""``flightmesh.planner.resolve``: a name means one visible port, or does not exist."""

from __future__ import annotations

import pytest

from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.planner.resolve import Namespace, Resolved, resolve
from flightmesh.planner.statement import parse

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
    return resolve(parse(sql, limits=Limits()), namespace, catalog=catalog, schema=schema)


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

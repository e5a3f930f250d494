"""``flightmesh.planner.guard``: nothing gets past that the gate refused or that another Surface holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flightmesh.catalog.snapshot import Snapshot
from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.planner.guard import guard
from flightmesh.planner.masks import Reader
from flightmesh.planner.resolve import Namespace, Resolved, resolve
from flightmesh.planner.scope import Scope
from flightmesh.planner.statement import parse
from flightmesh.planner.surface import Surface, surface
from tests.temporaries import temporary


@pytest.fixture
def shown(snapshot: Snapshot) -> Surface:
    """What a head of the laboratory sees."""
    return surface(snapshot, Reader("a", frozenset({"head"}), {}), mask_key=b"k" * 32)


def _resolved(sql: str, namespace: Namespace) -> Resolved:
    return resolve(parse(sql, limits=Limits()), namespace)


def test_an_allowed_statement_passes_with_its_surface(shown: Surface) -> None:
    """The approval would be of something else than what runs."""
    resolved = _resolved("SELECT upper(site) FROM samples", shown.namespace)
    approved = guard(resolved, shown)
    assert approved.resolved is resolved
    assert approved.surface is shown


def test_the_first_refusal_is_the_answer(shown: Surface) -> None:
    """A refused construct would run."""
    with pytest.raises(FlightmeshError) as caught:
        guard(_resolved("SELECT stats(site) FROM samples", shown.namespace), shown)
    assert caught.value.code is ErrorCode.INVALID
    assert str(caught.value).startswith("The function stats is not allowed (line 1, column 8).")


def test_a_statement_of_another_surface_does_not_pass(shown: Surface) -> None:
    """A statement resolved for one reader would run for another."""
    foreign = Namespace((("lab", "samples", "other"),))
    with pytest.raises(FlightmeshError) as caught:
        guard(_resolved("FROM other", foreign), shown)
    assert caught.value.code is ErrorCode.INTERNAL


def test_a_table_of_the_session_passes(shown: Surface) -> None:
    """People could not read what they have brought."""
    scope = Scope(temporaries={"own": temporary("own")})
    resolved = resolve(parse("SELECT * FROM own JOIN samples ON true", limits=Limits()), shown.namespace, scope)
    assert guard(resolved, shown).resolved is resolved


def test_a_temporary_table_of_nobody_does_not_pass(shown: Surface) -> None:
    """A path below ``temp`` that the statement's own session does not hold is no port, so it may not be read."""
    scope = Scope(temporaries={"own": temporary("own")})
    resolved = resolve(parse("SELECT * FROM own", limits=Limits()), shown.namespace, scope)
    for stolen in (replace(resolved, temporaries=()), replace(resolved, temporaries=(temporary("other"),))):
        with pytest.raises(FlightmeshError) as caught:
            guard(stolen, shown)
        assert caught.value.code is ErrorCode.INTERNAL

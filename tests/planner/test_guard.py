"""``flightmesh.planner.guard``: nothing gets past that the gate refused or that another Surface holds."""

from __future__ import annotations

import pytest

from flightmesh.catalog.snapshot import Snapshot
from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.planner.guard import guard
from flightmesh.planner.masks import Reader
from flightmesh.planner.resolve import Namespace, Resolved, resolve
from flightmesh.planner.statement import parse
from flightmesh.planner.surface import Surface, surface


@pytest.fixture
def shown(snapshot: Snapshot) -> Surface:
    """What a head of the laboratory sees."""
    return surface(snapshot, Reader("a", frozenset({"head"}), {}), mask_key=b"k" * 32)


def _resolved(sql: str, namespace: Namespace) -> Resolved:
    return resolve(parse(sql, limits=Limits()), namespace, catalog=None, schema=None)


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

"""Tests of flightmesh.config.limits."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from flightmesh.config.limits import CEILINGS, ORDERED, Limits, contradictions


def test_the_defaults_agree() -> None:
    """A server without configuration must start."""
    assert list(contradictions(Limits())) == []


@pytest.mark.parametrize(("lower", "upper"), ORDERED)
def test_each_order_is_held(lower: str, upper: str) -> None:
    """Every pair in the table is really checked."""
    broken = replace(Limits(), **{lower: getattr(Limits(), upper) + 1})
    assert lower in [name for name, _ in contradictions(broken)]


@pytest.mark.parametrize("name", CEILINGS)
def test_each_ceiling_is_held(name: str) -> None:
    """Above these the server or stock clients break, whoever asked for it."""
    assert name in [found for found, _ in contradictions(replace(Limits(), **{name: CEILINGS[name] + 1}))]


def test_every_name_ends_in_its_unit() -> None:
    """A reader of ``limits.drain_s`` need not look up the unit."""
    assert [f.name for f in fields(Limits) if not f.name.endswith(("_s", "_max", "_rows_min"))] == []


def test_one_principal_can_read_200_times_at_once() -> None:
    """200 concurrent reads of one anonymous principal are promised."""
    assert min(Limits().queries_max, Limits().queries_per_principal_max) >= 200

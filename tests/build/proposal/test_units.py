"""Units by names."""

from __future__ import annotations

import pytest

from flightmesh.build.proposal.units import name_parts, quantity_of, unit_of


@pytest.mark.parametrize(
    ("name", "sql_type", "unit"),
    [
        ("weight_kg", "INTEGER", "kilograms"),
        ("maxTempC", "DOUBLE", "degrees Celsius"),
        ("latency_ms", "BIGINT", "milliseconds"),
        ("price_usd", "DECIMAL(10,2)", "US dollars"),
        ("route_km", "FLOAT", "kilometres"),
        ("plan_c", "INTEGER", None),
        ("name_kg", "VARCHAR", None),
        ("km", "DOUBLE", None),
        ("temp", "DOUBLE", None),
    ],
)
def test_a_unit_is_told_by_the_end_of_a_name(name: str, sql_type: str, unit: str | None) -> None:
    """A wrong unit in a contract is worse than none."""
    assert unit_of(name, sql_type) == unit


def test_a_quantity_without_its_unit_is_asked_for() -> None:
    """The author is to be reminded of the unit where the name gives the quantity alone."""
    assert quantity_of("dep_delay", "SMALLINT") == "a delay"
    assert quantity_of("temp", "DOUBLE") == "a temperature"
    assert quantity_of("temp", "VARCHAR") is None


def test_names_are_split_into_words() -> None:
    """Both ways of writing a name are met in one folder."""
    assert name_parts("customerId") == name_parts("CUSTOMER_ID") == name_parts("customer-id") == ["customer", "id"]

"""The values that messages are: session options in particular, which are a choice of types."""

from __future__ import annotations

import pytest

from flightmesh.flightsql.messages import CommandGetTables, SessionOptionValue, SessionValue, StringListValue


@pytest.mark.parametrize("value", [None, "", "x", True, False, 0, -7, 1.5, (), ("a", "b")])
def test_session_value_comes_back_with_its_type(value: SessionValue) -> None:
    """A session option set to true is not read back as 1, nor an empty list as unset."""
    read = SessionOptionValue.of(value).value
    assert read == value
    assert type(read) is type(value)


def test_session_value_sets_one_field_only() -> None:
    """Exactly one member of the standard's choice is on the wire."""
    assert SessionOptionValue.of(("a",)) == SessionOptionValue(string_list_value=StringListValue(("a",)))
    assert SessionOptionValue.of(True) == SessionOptionValue(bool_value=True)


def test_absent_fields_have_the_standards_defaults() -> None:
    """No pattern narrows nothing: None is not the empty pattern."""
    assert CommandGetTables() == CommandGetTables(None, None, None, (), False)

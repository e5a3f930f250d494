"""``flightmesh.planner.statement``: the first stage keeps the text and the server's caps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.planner.statement import parse


def test_the_text_is_kept_as_written() -> None:
    """Positions in errors would point into another text than the user's."""
    text = " select  é FROM d.s.t -- x"
    statement = parse(text, limits=Limits())
    assert statement.text == text
    assert [reference.path for reference in statement.survey.relations] == [("d", "s", "t")]


def test_the_limits_are_the_servers() -> None:
    """An operator's lower bound would have no effect."""
    parse("SELECT ((1))", limits=Limits())
    for limits in (replace(Limits(), sql_bytes_max=5), replace(Limits(), bracket_depth_max=1)):
        with pytest.raises(FlightmeshError) as caught:
            parse("SELECT ((1))", limits=limits)
        assert caught.value.code is ErrorCode.INVALID

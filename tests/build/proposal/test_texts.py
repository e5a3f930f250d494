"""CSV files that say NULL in words, and numbers that are codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from flightmesh.build.proposal.inputs import gather
from flightmesh.build.proposal.texts import with_exact_types


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a,b\n1,x\n2,y\n", {}),
        ("a,b\n1,x\nNA,y\n", {"null_values": ["", "NA"]}),
        ("a,b\n2024-01-01,x\nNULL,y\n", {"null_values": ["", "NULL"]}),
        ("a,b\nNA,x\nDE,y\n", {}),
        ("zip,n\n01234,1\n98765,2\n", {"types": {"zip": "string"}}),
        ("zip,n\n01234,1\nNA,2\n", {"null_values": ["", "NA"], "types": {"zip": "string"}}),
        ("t\n0\n10\n", {}),
    ],
)
def test_what_a_csv_source_has_to_be_told(tmp_path: Path, content: str, expected: dict[str, object]) -> None:
    """A postal code without its zero is another one, and Namibia is not nothing."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "t.csv").write_text(content)
    (tmp_path / "out").mkdir()
    (given,) = gather([str(tmp_path / "in" / "t.csv")], tmp_path / "out").inputs
    found = with_exact_types(given, tmp_path / "out").spec
    assert {key: found[key] for key in found if key not in ("type", "path")} == expected

"""What Delta and Iceberg tables have in common."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import Any

import pytest

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.model import Source
from flightmesh.sources.kinds import open_source
from flightmesh.sources.lakehouse import open_table, reading
from flightmesh.sources.secrets import Secrets


def test_a_time_is_one_instant(tmp_path: Path) -> None:
    """A time without a zone would be another version on another machine."""
    spec = Source(type="delta", path="t", timestamp="2026-01-31T12:00:00+01:00")
    _, pin = open_table(tmp_path, "s", spec, Secrets())
    assert pin.time == dt.datetime(2026, 1, 31, 11, tzinfo=dt.UTC)
    assert pin.version is None


@pytest.mark.parametrize("kind", ["delta", "iceberg"])
@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"path": "t", "timestamp": "2026-01-31"}, "is not a time with a zone"),
        ({"path": "t", "timestamp": "yesterday"}, "is not a time with a zone"),
        ({"path": "t", "timestamp": "2026-01-31T12:00:00Z", "version": 1}, "version and timestamp are both given"),
        ({"path": "../t"}, "leaves the product's folder"),
        ({}, "needs a path"),
    ],
)
def test_what_is_wrong_in_the_manifest_is_said_at_once(
    tmp_path: Path, kind: str, keys: dict[str, Any], message: str
) -> None:
    """It would be found when the table is read, or never."""
    with pytest.raises(FlightmeshError, match=message) as caught:
        open_source(tmp_path, "s", Source.model_validate({"type": kind, **keys}))
    assert caught.value.code is ErrorCode.INVALID


@pytest.mark.parametrize(("kind", "library"), [("delta", "deltalake"), ("iceberg", "pyiceberg")])
def test_a_missing_library_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, library: str
) -> None:
    """Who installed the server without extras would see a traceback."""
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    found = open_source(tmp_path, "s", Source.model_validate({"type": kind, "path": "t"})).tables[("s",)]
    with pytest.raises(FlightmeshError) as caught:
        found.schema()
    assert caught.value.code is ErrorCode.UNSUPPORTED
    assert caught.value.message.endswith(f"tables need the package {library}, which is not installed.")
    assert caught.value.hint == f"pip install 'flightmesh[{kind}]'."


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError("/home/me/t"), ErrorCode.UNAVAILABLE),
        (FileNotFoundError("/home/me/t"), ErrorCode.UNAVAILABLE),
        (KeyError("/home/me/t"), ErrorCode.INVALID),
    ],
)
def test_a_librarys_error_shows_no_path(tmp_path: Path, error: Exception, code: ErrorCode) -> None:
    """Libraries name files by their address."""
    place, _ = open_table(tmp_path, "s", Source(type="delta", path="t"), Secrets())
    with pytest.raises(FlightmeshError) as caught, reading(place, "Delta", "deltalake"):
        raise error
    assert caught.value.code is code
    assert "/home" not in str(caught.value)

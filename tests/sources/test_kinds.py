"""The table of kinds."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.model import Source
from flightmesh.sources.base import SourceHandle
from flightmesh.sources.kinds import open_source
from flightmesh.sources.secrets import Secrets


def test_a_kind_opens_by_its_name(tmp_path: Path) -> None:
    """A row of the table would point to the wrong reader."""
    (tmp_path / "w.csv").write_text("a\n1\n")
    tables = open_source(tmp_path, "w", Source(type="csv", path="w.csv")).tables
    assert tables[("w",)].read().read_all() == pa.table({"a": [1]})


def test_what_is_not_active_says_so(tmp_path: Path) -> None:
    """A source that is accepted and not read would be an empty port."""
    with pytest.raises(FlightmeshError, match="not active yet") as caught:
        open_source(tmp_path, "w", Source(type="csv", path="w.csv"), kinds={})
    assert caught.value.code is ErrorCode.UNSUPPORTED


def test_a_new_kind_is_a_new_row(tmp_path: Path) -> None:
    """Plug-ins could not bring kinds of their own."""

    def nothing(folder: Path, name: str, spec: Source, secrets: Secrets) -> SourceHandle:
        return SourceHandle(name, {})

    assert open_source(tmp_path, "n", Source(type="delta", path="x"), kinds={"delta": nothing}).tables == {}

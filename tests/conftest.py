"""What every test stands on: reproducible properties, no settings from outside, and in CI no skipped test."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

# Derandomised: the same commit gives the same verdict. No deadline: two cores may be shared with other runs.
settings.register_profile("flightmesh", derandomize=True, deadline=None, database=None, print_blob=True)
settings.load_profile("flightmesh")


def pytest_configure() -> None:
    """Forgets the caller's own server settings, so that a test means the same in every shell."""
    for name in [name for name in os.environ if name.startswith("FLIGHTMESH_") and name != "FLIGHTMESH_CI"]:
        del os.environ[name]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The report of the test; with FLIGHTMESH_CI set, a skipped test is a failed one: CI has to have everything."""
    report = yield
    if os.environ.get("FLIGHTMESH_CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped in CI: {call.excinfo.value if call.excinfo else 'no reason'}"
    return report


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """An empty state directory of the test's own."""
    directory = tmp_path / "state"
    directory.mkdir()
    return directory


# --- Fixtures shared by several rooms ---------------------------------------------------------------------------------

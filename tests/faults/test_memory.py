"""A result larger than memory should be, and a reader slower than the engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# 50 million rows of six columns: over 2 GB if anybody kept them.
LARGE = """
    SELECT p.*, r.range AS r, r.range * p.n AS product, r.range + 0.5 AS half, 'reading ' || p.n AS name
    FROM lab.readings.points p, range(25000) r
"""
GROWTH_BYTES_MAX = 600_000_000


@pytest.mark.parametrize("readers", [1, 4])
def test_a_slow_reader_costs_no_memory(
    start: Callable[..., Any], make_lab: Callable[..., Any], reader: Callable[..., Any], readers: int
) -> None:
    """Somebody reads a large result over a thin line: the server holds a few batches of it, not the result."""
    with start(products=[make_lab().folder]) as served:
        before = _resident_bytes(served.process.pid)
        slow = [reader(served.uri, LARGE, "slow") for _ in range(readers)]
        for one in slow:
            one.told("batch")
        most = 0
        for _ in range(60):
            time.sleep(0.1)
            most = max(most, _resident_bytes(served.process.pid))
        for one in slow:
            assert one.process.poll() is None
            one.process.kill()
    print(f"{readers} slow readers: {(most - before) / 1e6:.0f} MB over {before / 1e6:.0f} MB")
    assert most - before < GROWTH_BYTES_MAX


def _resident_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))

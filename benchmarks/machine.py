"""Where and with what a run was made: versions, cores, memory. No names of hosts and no paths."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path

_DISTRIBUTIONS = ("flightmesh", "duckdb", "pyarrow", "adbc-driver-flightsql", "tpchgen-cli")


def machine() -> Mapping[str, object]:
    """Cores that this process may use, the machine's memory in GiB, its architecture and system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(memory / (1 << 30), 1),
        "architecture": platform.machine(),
        "system": platform.system(),
    }


def versions() -> Mapping[str, str]:
    """Versions of Python, of what is measured and of what it is measured with, and this checkout's commit."""
    found = {name: importlib.metadata.version(name) for name in _DISTRIBUTIONS}
    return {"python": platform.python_version(), **found, "commit": _commit()}


def _commit() -> str:
    """Short name of the commit, ``+`` behind it when files differ from it; ``unknown`` outside a checkout."""
    command = ["git", "describe", "--always", "--exclude=*", "--dirty=+"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()

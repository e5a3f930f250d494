"""Fourth stage: an approved statement to the Plan that an engine runs. Only here is a ``Plan`` made."""

from __future__ import annotations

from collections.abc import Sequence

from flightmesh.engine.base import Plan
from flightmesh.planner.guard import Guarded


def route(guarded: Guarded, *, sql: str, values: Sequence[object], batch_rows: int) -> Plan:
    """The plan. ``sql`` is the approved text, its parameters replaced by typed ones (``planner/parameters.py``)."""
    return Plan(
        engine="duckdb",
        instance=guarded.surface.instance,
        sql=sql,
        parameters=tuple(values),
        search_path=guarded.resolved.search_path,
        batch_rows=batch_rows,
    )

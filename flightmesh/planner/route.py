"""Fourth stage: an approved statement to the Plan that an engine runs. Only here is a ``Plan`` made."""

from __future__ import annotations

from collections.abc import Sequence

from flightmesh.engine.base import Plan, RemoteQuery
from flightmesh.planner.guard import Guarded


def route(
    guarded: Guarded,
    *,
    sql: str,
    values: Sequence[object],
    batch_rows: int,
    scans: tuple[str, ...] = (),
    remote: RemoteQuery | None = None,
) -> Plan:
    """The plan. ``sql`` is the approved text, its parameters replaced by typed ones (``planner/parameters.py``).

    A statement that its one database answers whole (``remote``) goes there, every other to DuckDB.
    """
    return Plan(
        engine="duckdb" if remote is None else "remote",
        instance=guarded.surface.instance,
        sql=sql,
        parameters=tuple(values),
        search_path=guarded.resolved.search_path,
        batch_rows=batch_rows,
        scans=scans,
        remote=remote,
    )

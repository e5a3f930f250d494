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

    A statement that its one database answers whole (``remote``) goes there, every other to DuckDB; a question to the
    catalogue to the instance that holds names and no rows.
    """
    surface = guarded.surface
    is_catalogue = guarded.resolved.statement.is_catalogue
    return Plan(
        engine="duckdb" if remote is None else "remote",
        instance=surface.catalogue if is_catalogue else surface.instance,
        sql=sql,
        parameters=tuple(values),
        search_path=guarded.resolved.search_path,
        batch_rows=batch_rows,
        scans=scans,
        remote=remote,
        temporaries=guarded.resolved.temporaries,
        is_catalogue=is_catalogue,
    )

"""Third stage: a resolved statement is approved against the Surface of one role set. Only here is a ``Guarded`` made.

``route`` takes nothing else, so there is no way to the engines that goes around this page.
"""

from __future__ import annotations

from dataclasses import dataclass

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.planner.resolve import Resolved
from flightmesh.planner.scope import path_of
from flightmesh.planner.surface import Surface


@dataclass(frozen=True, slots=True)
class Guarded:
    """A statement that consists of allowed parts and reads only relations of this Surface."""

    resolved: Resolved
    surface: Surface


def guard(resolved: Resolved, surface: Surface) -> Guarded:
    """The approved statement; INVALID, with place and help, for the first construct that the gate refuses."""
    refusals = resolved.statement.survey.refusals
    if refusals:
        raise refusals[0]
    own = map(path_of, resolved.temporaries)
    if not set(resolved.relations) <= {*surface.namespace.paths, *own}:
        # No assert: an optimised interpreter would leave it out.
        raise FlightmeshError(ErrorCode.INTERNAL, "A relation was resolved against another namespace.")
    return Guarded(resolved, surface)

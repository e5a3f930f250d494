"""The order in which models are built, and the cycle that prevents it. Pure functions over names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.model import Model, Union


def model_inputs(model: Model) -> tuple[str, ...]:
    """What a low-code or Python model reads, in order, without repetitions: sources, ``source.table`` or models.

    Empty for a SQL model: what that reads only a SQL parser can tell.
    """
    start = () if model.from_ is None else (model.from_,)
    added = appended(model)
    joined = tuple(step.from_ for step in model.join)
    looked_up = tuple(step.from_ for step in model.lookup)
    return tuple(dict.fromkeys((*start, *added, *joined, *looked_up, *model.inputs)))


def appended(model: Model) -> tuple[str, ...]:
    """The relations whose rows a low-code model adds to those it starts from."""
    if isinstance(model.union, Union):
        return model.union.from_
    return model.union or ()


def find_cycle(edges: Mapping[str, Iterable[str]]) -> tuple[str, ...] | None:
    """One cycle, first name repeated at the end, each name followed by one that it reads; None when there is none.

    ``edges`` maps a name to the names it reads.
    """
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        # graphlib lists each name before the one that reads it.
        found = list(reversed(error.args[1]))[:-1]
        first = found.index(min(found))
        return (*found[first:], *found[:first], found[first])
    return None


def order(models: Iterable[str], edges: Mapping[str, Iterable[str]]) -> list[str]:
    """The models so that each stands after all it reads. INVALID, naming the cycle, when there is no such order.

    ``edges`` maps a model to what it reads; names that are not models (sources) are left out of the answer.
    """
    names = list(models)
    known = set(names)
    graph = {name: [other for other in edges.get(name, ()) if other in known] for name in names}
    cycle = find_cycle(graph)
    if cycle is not None:
        raise FlightmeshError(ErrorCode.INVALID, cycle_sentence(cycle), hint="Cut one of these references.")
    return list(TopologicalSorter(graph).static_order())


def cycle_sentence(cycle: tuple[str, ...]) -> str:
    """The sentence that names a cycle."""
    return f"Models read each other in a circle: {' -> '.join(cycle)}."

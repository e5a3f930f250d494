"""Row filters against the columns of their ports, before anybody reads through them.

A filter that does not bind would take every port away from the roles it is for, at their first statement.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from flightmesh.catalog.snapshot import DataColumn
from flightmesh.config import Limits
from flightmesh.engine.workshop import Bounds, Workshop
from flightmesh.errors import FlightmeshError
from flightmesh.names import quote
from flightmesh.planner.masks import filter_probe
from flightmesh.planner.pipeline import plan_model
from flightmesh.product.document import Document
from flightmesh.product.model import DataProduct, RowFilter
from flightmesh.product.problems import Problem

# A place in our statement around the predicate would mislead: the problem names the predicate's own.
_PLACE = re.compile(r" \(line \d+, column \d+\)")


def filter_problems(
    product: DataProduct, document: Document, ports: Mapping[str, Sequence[DataColumn]], *, limits: Limits
) -> list[Problem]:
    """What is wrong with the product's row filters; filters of ports without columns here are left out."""
    filters = [
        (index, policy)
        for index, policy in enumerate(product.policies)
        if isinstance(policy, RowFilter) and ports.get(policy.of)
    ]
    if not filters:
        return []
    problems = []
    with Workshop(Bounds(threads=1)) as workshop:
        for port in sorted({policy.of for _, policy in filters}):
            workshop.view(port, plan_model(_without_rows(ports[port]), relations=[], limits=limits))
        for index, policy in filters:
            try:
                probe = filter_probe(policy.rows, policy.of, limits=limits)
                workshop.run(plan_model(probe, relations=[(policy.of,)], limits=limits)).close()
            except FlightmeshError as error:
                fact = _PLACE.sub("", error.message)
                problems.append(document.problem(["policies", index, "rows"], fact, error.hint))
    return problems


def _without_rows(columns: Sequence[DataColumn]) -> str:
    """A relation with these columns and no rows."""
    listed = ", ".join(f"CAST(NULL AS {column.sql_type}) AS {quote(column.name)}" for column in columns)
    return f"SELECT {listed} LIMIT 0"

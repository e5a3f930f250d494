"""Row filters and constant masks against the columns of their ports, before anybody reads through them.

One that does not bind, or has no value of the right type, would take the port away from the roles it is for, at their
first statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from flightmesh.catalog.snapshot import DataColumn
from flightmesh.config import Limits
from flightmesh.engine.workshop import Bounds, Workshop
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import fold, quote
from flightmesh.planner.masks import filter_probe, mask_expression
from flightmesh.planner.pipeline import plan_model
from flightmesh.product.contract import DataContract
from flightmesh.product.document import Document
from flightmesh.product.model import ColumnMask, DataProduct, RowFilter
from flightmesh.product.policy import Mask, covers, mask_of
from flightmesh.product.problems import Problem

# A place in our statement around the predicate would mislead: the problem names the predicate's own.
_PLACE = re.compile(r" \(line \d+, column \d+\)")


def policy_problems(
    product: DataProduct,
    document: Document,
    ports: Mapping[str, Sequence[DataColumn]],
    contracts: Mapping[str, DataContract],
    *,
    limits: Limits,
) -> list[Problem]:
    """What is wrong with the product's row filters and masks; those of ports without columns here are left out."""
    filters = [
        (index, policy)
        for index, policy in enumerate(product.policies)
        if isinstance(policy, RowFilter) and ports.get(policy.of)
    ]
    masks = list(_masks(product, ports, contracts))
    if not filters and not masks:
        return []
    problems = []
    with Workshop(Bounds(threads=1)) as workshop:
        for port in sorted({policy.of for _, policy in filters}):
            workshop.view(port, plan_model(_without_rows(ports[port]), relations=[], limits=limits))
        for index, policy in filters:
            try:
                _try_filter(workshop, policy, limits)
            except FlightmeshError as error:
                fact = _PLACE.sub("", error.message)
                problems.append(document.problem(["policies", index, "rows"], fact, error.hint))
        for index, mask, column in masks:
            try:
                # Run on one row, so that a constant is really cast.
                row = f"SELECT CAST(NULL AS {column.sql_type}) AS {quote(column.name)}"
                statement = f"SELECT {mask_expression(column, mask, b'')} FROM ({row})"
                workshop.run(plan_model(statement, relations=[], limits=limits)).read_all()
            except FlightmeshError:
                hint = "A mask never changes a column's type."
                problems.append(document.problem(["policies", index, "mask", "with"], _misfit(mask, column), hint))
    return problems


def _misfit(mask: Mask, column: DataColumn) -> str:
    if mask.kind == "constant":
        return f"The constant {mask.argument!r} is no {column.sql_type}, the type of {column.name}."
    return f"The mask {mask.kind} does not fit {column.sql_type}, the type of {column.name}."


def _try_filter(workshop: Workshop, policy: RowFilter, limits: Limits) -> None:
    """FlightmeshError unless the predicate binds and is true or false. A filter takes other values for truth too, and
    fails at those that it cannot.
    """
    probe = filter_probe(policy.rows, policy.of, limits=limits)
    with workshop.run(plan_model(probe, relations=[(policy.of,)], limits=limits)) as reader:
        if not pa.types.is_boolean(reader.schema.types[0]):
            message = "A row filter must be a condition, true or false for each row."
            raise FlightmeshError(ErrorCode.INVALID, message, hint="Compare with a value: vip = 'yes'.")


def _masks(
    product: DataProduct, ports: Mapping[str, Sequence[DataColumn]], contracts: Mapping[str, DataContract]
) -> Iterator[tuple[int, Mask, DataColumn]]:
    """Each mask that shows something, with its policy's number and the column that it covers."""
    for index, policy in enumerate(product.policies):
        if not isinstance(policy, ColumnMask):
            continue
        for port, contract in contracts.items():
            covered = {fold(c.name) for c in contract.columns if policy.of in (None, port) and covers(policy.mask, c)}
            masks = [(mask_of(policy.mask, c.name), c) for c in ports.get(port, ()) if fold(c.name) in covered]
            yield from ((index, mask, column) for mask, column in masks if mask.kind != "drop")


def _without_rows(columns: Sequence[DataColumn]) -> str:
    """A relation with these columns and no rows."""
    listed = ", ".join(f"CAST(NULL AS {column.sql_type}) AS {quote(column.name)}" for column in columns)
    return f"SELECT {listed} LIMIT 0"

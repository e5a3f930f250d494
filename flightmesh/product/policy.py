"""Questions on the policies of a product: who may read a port, which rows, and how its columns look. Data in, data out,
no SQL.

Deny by default. Grants add up: each subject through which somebody holds a grant is a way to the port of its own, with
its own filters and masks; the planner unites what the ways let through. ``user=None`` is somebody who has not signed
in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import fold
from flightmesh.product.contract import ContractColumn
from flightmesh.product.model import ColumnMask, DataProduct, Grant, MaskBy, MaskRule, Policy, RowFilter

SubjectKind = Literal["role", "user", "signed_in", "anonymous"]
MaskKind = Literal["drop", "null", "constant", "hmac", "first", "band", "year", "month"]

# Several masks on one column: the one that tells least wins. The last four are equals; two of them that differ never
# pass the loading.
STRICTNESS: tuple[MaskKind, ...] = ("drop", "null", "constant", "hmac", "first", "band", "year", "month")

_NAMED = re.compile(r"(role|user):([^\s:*\x00-\x1f][^\s\x00-\x1f]*)")


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """Whom a grant is made to. ``name`` is empty for anyone signed in and for anonymous."""

    kind: SubjectKind
    name: str = ""

    def __str__(self) -> str:
        fixed = {"signed_in": "*", "anonymous": "anonymous"}
        return fixed.get(self.kind) or f"{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class Mask:
    """How one column looks. ``argument`` is the band's width, the number of first characters or the constant; else
    None.
    """

    column: str
    kind: MaskKind
    argument: str | int | float | bool | None = None


def subject(text: str) -> Subject:
    """The subject that the text names; INVALID unless it is role:NAME, user:NAME, * or anonymous."""
    if text == "*":
        return Subject("signed_in")
    if text == "anonymous":
        return Subject("anonymous")
    match = _NAMED.fullmatch(text)
    if match is None:
        raise FlightmeshError(
            ErrorCode.INVALID,
            f"{text!r} names nobody.",
            hint='Write role:NAME, user:NAME, "*" (anyone signed in) or anonymous.',
        )
    return Subject("role" if match[1] == "role" else "user", match[2])


def texts(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """One text or several, as several."""
    return (value,) if isinstance(value, str) else value


def granting(product: DataProduct, port: str, *, roles: frozenset[str], user: str | None) -> tuple[str, ...]:
    """The subjects that this principal is and that hold a grant to read the port, sorted; none means: it does not
    exist.
    """
    held = _held(roles, user)
    found = {to for grant in _read_grants(product, port) for to in texts(grant.to) if to in held}
    return tuple(sorted(found))


def granted(product: DataProduct, port: str) -> frozenset[str]:
    """Every subject that holds a grant to read the port."""
    return frozenset(to for grant in _read_grants(product, port) for to in texts(grant.to))


def filters(product: DataProduct, port: str, grant_subject: str, roles: frozenset[str]) -> tuple[str, ...]:
    """The predicates that all bind the rows read through this grant, in the order of the file. None: every row."""
    about = (policy for policy in product.policies if isinstance(policy, RowFilter) and policy.of == port)
    return tuple(dict.fromkeys(policy.rows for policy in about if _binds(policy, grant_subject, roles)))


def masks(
    product: DataProduct,
    port: str,
    contract_columns: Iterable[ContractColumn],
    grant_subject: str,
    roles: frozenset[str],
) -> tuple[Mask, ...]:
    """The mask of each masked column read through this grant, at most one for each, in the order of the columns."""
    bound = [
        policy
        for policy in product.policies
        if isinstance(policy, ColumnMask) and policy.of in (None, port) and _binds(policy, grant_subject, roles)
    ]
    strictest = (_strictest(_of_column(bound, column)) for column in contract_columns)
    return tuple(mask for mask in strictest if mask is not None)


def covers(rule: MaskRule, column: ContractColumn) -> bool:
    """Whether the rule is about this column, by its name or by a tag."""
    if rule.column is not None:
        return fold(rule.column) == fold(column.name)
    return rule.tag in column.tags


def mask_of(rule: MaskRule, column: str) -> Mask:
    """The mask that the rule puts on the column."""
    if not isinstance(rule.with_, MaskBy):
        return Mask(column, rule.with_)
    if rule.with_.band is not None:
        return Mask(column, "band", rule.with_.band)
    if rule.with_.first is not None:
        return Mask(column, "first", rule.with_.first)
    return Mask(column, "constant", rule.with_.constant)


def _held(roles: frozenset[str], user: str | None) -> frozenset[str]:
    if user is None:
        return frozenset({"anonymous"})
    return frozenset({"*", f"user:{user}", *(f"role:{role}" for role in roles)})


def _read_grants(product: DataProduct, port: str) -> Iterator[Grant]:
    for policy in product.policies:
        if isinstance(policy, Grant) and policy.grant == "read" and policy.port in ("*", port):
            yield policy


def _binds(policy: Policy, grant_subject: str, roles: frozenset[str]) -> bool:
    """Whether a filter or mask binds what is read through the grant: for all or for this subject, and not lifted."""
    assert isinstance(policy, RowFilter | ColumnMask)
    if policy.for_ not in (None, grant_subject):
        return False
    return not any(lifting.removeprefix("role:") in roles for lifting in texts(policy.unless))


def _of_column(policies: Iterable[ColumnMask], column: ContractColumn) -> list[Mask]:
    return [mask_of(policy.mask, column.name) for policy in policies if covers(policy.mask, column)]


def _strictest(found: list[Mask]) -> Mask | None:
    return min(found, key=lambda mask: STRICTNESS.index(mask.kind), default=None)

"""Whether the policies of a manifest mean what they seem to mean: their ports, subjects, columns and masks exist and
fit together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

from flightmesh.errors import FlightmeshError
from flightmesh.names import did_you_mean, fold
from flightmesh.product.contract import ContractColumn, DataContract
from flightmesh.product.document import Step
from flightmesh.product.draft import Draft
from flightmesh.product.model import ColumnMask, Grant, MaskBy, RowFilter
from flightmesh.product.physical_types import logical_type
from flightmesh.product.policy import STRICTNESS, Mask, covers, mask_of, subject, texts
from flightmesh.product.problems import Problem
from flightmesh.product.words import one_of, place

# The logical types of ODCS whose columns a mask can change without changing their type; None: all.
_FITS: Mapping[str, tuple[str, ...] | None] = {
    "drop": None, "null": None, "constant": None, "hmac": ("string",), "first": ("string",),
    "band": ("number", "integer"), "year": ("date", "timestamp"), "month": ("date", "timestamp"),
}  # fmt: skip
_EQUALS = STRICTNESS[STRICTNESS.index("first") :]
Contracts = Mapping[str, DataContract]


def check_policies(draft: Draft, contracts: Contracts) -> Iterator[Problem]:
    """All that is wrong with the policies. ``contracts`` holds those that could be read, by port."""
    for index, policy in draft.policies:
        if isinstance(policy, Grant):
            yield from _grant(draft, index, policy)
        else:
            yield from _restriction(draft, index, policy)
        if isinstance(policy, ColumnMask):
            yield from _mask(draft, index, policy, contracts)
    yield from _conflicts(draft, contracts)


def policy_notices(draft: Draft) -> Iterator[Problem]:
    """What is allowed and probably not meant: ports that nobody can read, restrictions that a second grant walks
    around.
    """
    read = [policy for _, policy in draft.policies if isinstance(policy, Grant) and policy.grant == "read"]
    open_to_all = {policy.port for policy in read if "*" in texts(policy.to)}
    for port in draft.ports or ():
        if not any(policy.port in (port, "*") for policy in read):
            hint = "Add a policy such as {grant: read, port: " + port + ', to: "role:NAME"}.'
            yield draft.document.problem(["ports", port], f"Nobody may read the port {port}.", hint, key=True)
    for index, policy in draft.policies:
        if isinstance(policy, Grant) or policy.for_ is None:
            continue
        if {policy.of, "*"} & open_to_all or (policy.of is None and open_to_all):
            message = f"This binds {policy.for_} alone, and the port is also granted to everyone signed in."
            hint = 'Whoever holds the role reads through "*" without it.'
            yield draft.document.problem(["policies", index, "for"], message, hint)


def _grant(draft: Draft, index: int, policy: Grant) -> Iterator[Problem]:
    steps: list[Step] = ["policies", index]
    needed, other = ("port", "algorithm") if policy.grant == "read" else ("algorithm", "port")
    if getattr(policy, needed) is None:
        message = f"{place(steps)}: grant {policy.grant} needs the key {needed}."
        yield draft.document.problem(steps, message, key=True)
    if getattr(policy, other) is not None:
        message = f"{place([*steps, other])} does not apply to grant {policy.grant}."
        yield draft.document.problem([*steps, other], message, key=True)
    if policy.port not in (None, "*"):
        yield from _port(draft, [*steps, "port"], policy.port)
    if not texts(policy.to):
        yield draft.document.problem([*steps, "to"], f"{place([*steps, 'to'])} names nobody.")
    for path, text in _each(policy.to, [*steps, "to"]):
        try:
            subject(text)
        except FlightmeshError as error:
            yield draft.document.problem(path, f"{place(path)}: {error.message}", error.hint)


def _restriction(draft: Draft, index: int, policy: RowFilter | ColumnMask) -> Iterator[Problem]:
    steps: list[Step] = ["policies", index]
    if policy.of is not None:
        yield from _port(draft, [*steps, "of"], policy.of)
    if isinstance(policy, RowFilter) and not policy.rows.strip():
        yield draft.document.problem([*steps, "rows"], f"{place([*steps, 'rows'])} is empty.", "Write a SQL predicate.")
    roles = [] if policy.for_ is None else [([*steps, "for"], policy.for_)]
    for path, text in [*roles, *_each(policy.unless, [*steps, "unless"])]:
        if not _is_role(text):
            message = f"{place(path)}: {text!r} is not a role."
            yield draft.document.problem(path, message, "Write role:NAME.")
    is_port = policy.of is None or policy.of in (draft.ports or ())
    if policy.for_ is not None and is_port and _is_role(policy.for_):
        yield from _bound_grant(draft, [*steps, "for"], policy.for_, policy.of)


def _bound_grant(draft: Draft, path: list[Step], role: str, port: str | None) -> Iterator[Problem]:
    """A restriction of a role binds what is read through the role's own grant: without one it restricts nothing."""
    is_whole = len(draft.policies) == len(draft.document.value.get("policies", ()))
    granted = [p for _, p in draft.policies if isinstance(p, Grant) and p.grant == "read" and role in texts(p.to)]
    if is_whole and not any(port is None or grant.port in ("*", port) for grant in granted):
        to = "a port" if port is None else f"the port {port}"
        roles = {to for _, p in draft.policies if isinstance(p, Grant) for to in texts(p.to) if to.startswith("role:")}
        message = f"{place(path)}: no policy grants {to} to {role}, so this restricts nobody."
        yield draft.document.problem(path, message, did_you_mean(role, roles - {role}) or "Grant it, or remove this.")


def _port(draft: Draft, path: list[Step], name: str) -> Iterator[Problem]:
    if draft.ports is not None and name not in draft.ports:
        message = f"{place(path)}: there is no port {name}."
        yield draft.document.problem(path, message, did_you_mean(name, draft.ports))


def _mask(draft: Draft, index: int, policy: ColumnMask, contracts: Contracts) -> Iterator[Problem]:
    steps: list[Step] = ["policies", index, "mask"]
    rule = policy.mask
    if (rule.column is None) == (rule.tag is None):
        message = f"{place(steps)} needs exactly one of column and tag."
        yield draft.document.problem(steps, message, key=True)
        return
    if isinstance(rule.with_, MaskBy) and not _is_one(rule.with_):
        path = [*steps, "with"]
        message = f"{place(path)} needs exactly one of band, first and constant."
        hint = "For no value at all write with: null." if "constant" in rule.with_.model_fields_set else None
        yield draft.document.problem(path, message, hint, key=True)
        return
    masked = list(_masked(draft, policy, contracts))
    if not masked and _is_known(draft, policy, contracts):
        yield _no_column(draft, steps, policy, contracts)
    for port, column in masked:
        yield from _fit(draft, [*steps, "with"], port, column, mask_of(rule, column.name))


def _is_one(by: MaskBy) -> bool:
    return len(by.model_fields_set) == 1 and getattr(by, next(iter(by.model_fields_set))) is not None


def _masked(draft: Draft, policy: ColumnMask, contracts: Contracts) -> Iterator[tuple[str, ContractColumn]]:
    """The columns that the policy is about, with their ports."""
    for port, contract in contracts.items():
        if policy.of in (None, port):
            yield from ((port, column) for column in contract.columns if covers(policy.mask, column))


def _is_known(draft: Draft, policy: ColumnMask, contracts: Contracts) -> bool:
    """Whether the contracts of all ports that the policy is about could be read."""
    if policy.of is not None:
        return policy.of in contracts
    return draft.ports is not None and set(draft.ports) == set(contracts)


def _no_column(draft: Draft, steps: list[Step], policy: ColumnMask, contracts: Contracts) -> Problem:
    where = "any contract" if policy.of is None else f"the contract of {policy.of}"
    columns = [c for port, contract in contracts.items() if policy.of in (None, port) for c in contract.columns]
    if policy.mask.column is not None:
        message = f"{place([*steps, 'column'])}: there is no column {policy.mask.column} in {where}."
        hint = did_you_mean(policy.mask.column, [column.name for column in columns])
        return draft.document.problem([*steps, "column"], message, hint)
    message = f"{place([*steps, 'tag'])}: no column in {where} carries the tag {policy.mask.tag}."
    tags = {tag for column in columns for tag in column.tags}
    return draft.document.problem([*steps, "tag"], message, did_you_mean(str(policy.mask.tag), tags))


def _fit(draft: Draft, path: list[Step], port: str, column: ContractColumn, mask: Mask) -> Iterator[Problem]:
    logical = _logical(column)
    fitting = _constant_fits(mask.argument) if mask.kind == "constant" else _FITS[mask.kind]
    if fitting is not None and logical is not None and logical not in fitting:
        message = f"The mask {mask.kind} does not fit {port}.{column.name}, which is {logical}."
        hint = f"It fits {one_of(fitting)}. A mask never changes a column's type."
        yield draft.document.problem(path, message, hint)


def _constant_fits(constant: object) -> tuple[str, ...]:
    if isinstance(constant, bool):
        return ("boolean",)
    if isinstance(constant, int):
        return ("integer", "number")
    return ("number",) if isinstance(constant, float) else ("string", "date", "timestamp", "time")


def _logical(column: ContractColumn) -> str | None:
    if column.logical_type is not None or column.physical_type is None:
        return column.logical_type
    return logical_type(column.physical_type)


def _conflicts(draft: Draft, contracts: Contracts) -> Iterator[Problem]:
    """Two masks of equal strength that would meet on one column: neither is stricter, so the author has to choose."""
    masks = [(index, policy) for index, policy in draft.policies if isinstance(policy, ColumnMask)]
    usable = [(i, p) for i, p in masks if not isinstance(p.mask.with_, MaskBy) or _is_one(p.mask.with_)]
    for (first, one), (second, other) in combinations(usable, 2):
        if not _can_meet(one, other) or not _are_equals(mask_of(one.mask, ""), mask_of(other.mask, "")):
            continue
        shared = {(p, fold(c.name)) for p, c in _masked(draft, one, contracts)} & {
            (p, fold(c.name)) for p, c in _masked(draft, other, contracts)
        }
        for port, column in sorted(shared):
            line = draft.document.mark(["policies", first], key=True).line
            message = f"Two masks of equal strength meet on {port}.{column}; the other is in line {line}."
            yield draft.document.problem(["policies", second, "mask", "with"], message, "Keep one of them.")


def _can_meet(one: ColumnMask, other: ColumnMask) -> bool:
    return one.for_ is None or other.for_ is None or one.for_ == other.for_


def _are_equals(one: Mask, other: Mask) -> bool:
    if one == other:
        return False
    return one.kind == other.kind == "constant" or (one.kind in _EQUALS and other.kind in _EQUALS)


def _is_role(text: str) -> bool:
    try:
        return subject(text).kind == "role"
    except FlightmeshError:
        return False


def _each(value: str | tuple[str, ...], path: list[Step]) -> Iterator[tuple[list[Step], str]]:
    """Each text with its place."""
    if isinstance(value, str):
        yield path, value
    else:
        yield from (([*path, index], text) for index, text in enumerate(value))

"""Policies of a port to SQL: which rows a reader sees, and how each column looks to it.

Each grant that a reader holds is a way to the port with its own filters and masks; the reader sees the union of the
ways. A row is visible when some way lets it through. In a visible row a column looks as the most open way that lets
this row through shows it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from flightmesh.catalog.snapshot import DataColumn, PortData, ProductSnapshot
from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import ProductName, fold, literal, quote
from flightmesh.planner.statement import parse
from flightmesh.product import policy
from flightmesh.product.policy import STRICTNESS, Mask

Scalar = str | int | float | bool
_INTEGERS = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"}
)
# Quoted parts are matched first, so that ":user.x" inside a string stays text.
_ATTRIBUTE = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|:user\.([A-Za-z_][A-Za-z0-9_]*)""")
# An IN list that is open where the text ends, with whatever stands in it so far.
_IN_LIST = re.compile(r"\bIN\s*\([^()]*$", re.IGNORECASE)
_BLOCK_BYTES = 64  # SHA-256's block, for HMAC (RFC 2104).


@dataclass(frozen=True, slots=True)
class Reader:
    """What of a principal decides its view: the user's name (None when not signed in), roles, and attributes for row
    filters.
    """

    user: str | None
    roles: frozenset[str]
    attributes: Mapping[str, Scalar | tuple[Scalar, ...]]


@dataclass(frozen=True, slots=True)
class Visible:
    """A port as one reader sees it: columns with the expression that masks each (None: as it is), and the row
    predicate (None: all).
    """

    columns: tuple[tuple[DataColumn, str | None], ...]
    predicate: str | None


@dataclass(frozen=True, slots=True)
class _Way:
    """One grant: the rows it lets through (None: all) and its masks by folded column name."""

    predicate: str | None
    masks: Mapping[str, Mask]


def visible(product: ProductSnapshot, port: PortData, reader: Reader, *, mask_key: bytes) -> Visible | None:
    """The port as the reader sees it; None when no grant lets the reader see it."""
    subjects = policy.granting(product.product, port.name, roles=reader.roles, user=reader.user)
    if not subjects:
        return None
    ways = [_way(product, port, subject, reader) for subject in subjects]
    key = product_key(mask_key, product.name)
    columns = [(column, _shown(column, ways, key)) for column in port.columns]
    predicates = [way.predicate for way in ways]
    return Visible(
        tuple((column, expression) for column, (is_shown, expression) in columns if is_shown),
        None if None in predicates else " OR ".join(f"({predicate})" for predicate in dict.fromkeys(predicates)),
    )


def filter_probe(predicate: str, relation: str, *, limits: Limits) -> str:
    """A statement that binds if the row filter fits the relation, and reads no row of it; its column has the filter's
    type.

    INVALID when the predicate is not one expression over the relation's own columns. Attributes of users are NULL.
    """
    plain = _with_attributes(predicate, None)
    # One expression is whole between brackets of any kind; "a) OR (b" is not, and would undo the filters beside it.
    parse(f"SELECT [\n{plain}\n]", limits=limits)
    text = f"SELECT (\n{plain}\n) AS holds FROM {quote(relation)} WHERE (\n{plain}\n) LIMIT 0"
    statement = parse(text, limits=limits)
    if statement.survey.refusals:
        raise statement.survey.refusals[0]
    reads = [reference.path for reference in statement.survey.relations]
    if reads != [(relation,)] or statement.survey.parameters or statement.is_catalogue:
        raise FlightmeshError(
            ErrorCode.INVALID, "A row filter may read only the columns of its port.", hint="Join in the model instead."
        )
    return text


def mask_expression(column: DataColumn, mask: Mask, key: bytes) -> str:
    """SQL of the masked column, of the column's own type. ``drop`` shows NULL where another way keeps the column."""
    name = quote(column.name)
    match mask.kind:
        case "drop" | "null":
            inner = "NULL"
        case "constant":
            inner = _literal(mask.argument) if mask.argument is not None else "NULL"
        case "hmac":
            inner = _hmac(name, key)
        case "first":
            inner = f"left({name}, {int(mask.argument or 0)})"
        case "band":
            inner = _band(name, column.sql_type, mask.argument)
        case "year" | "month":
            inner = f"date_trunc({literal(mask.kind)}, {name})"
    # TRY: the lower bound of the lowest band may lie outside the type; one such row must not take the port away.
    cast = "TRY_CAST" if mask.kind == "band" else "CAST"
    return f"{cast}({inner} AS {column.sql_type})"


def _way(product: ProductSnapshot, port: PortData, subject: str, reader: Reader) -> _Way:
    filters = policy.filters(product.product, port.name, subject, reader.roles)
    contract = product.contracts[port.name].columns
    masks = policy.masks(product.product, port.name, contract, subject, reader.roles)
    return _Way(
        " AND ".join(f"(\n{_with_attributes(text, reader.attributes)}\n)" for text in filters) or None,
        {fold(mask.column): mask for mask in masks},
    )


def _shown(column: DataColumn, ways: list[_Way], key: bytes) -> tuple[bool, str | None]:
    """Whether the column is visible, and its masking expression."""
    masks = [way.masks.get(fold(column.name)) for way in ways]
    if all(mask is not None and mask.kind == "drop" for mask in masks):
        return False, None
    if any(mask is None and way.predicate is None for mask, way in zip(masks, ways, strict=True)):
        return True, None
    if len(set(masks)) == 1:
        return True, None if masks[0] is None else mask_expression(column, masks[0], key)
    cases: list[str] = []
    for mask, way in sorted(zip(masks, ways, strict=True), key=_openness):
        look = quote(column.name) if mask is None else mask_expression(column, mask, key)
        if way.predicate is None:
            return True, f"CASE {' '.join(cases)} ELSE {look} END" if cases else look
        cases.append(f"WHEN {way.predicate} THEN {look}")
    return True, f"CASE {' '.join(cases)} END"


def _openness(way: tuple[Mask | None, _Way]) -> int:
    """Sorts the most telling look first, so that CASE takes it where its rows allow."""
    mask = way[0]
    return -len(STRICTNESS) if mask is None else -STRICTNESS.index(mask.kind)


def _with_attributes(predicate: str, attributes: Mapping[str, Scalar | tuple[Scalar, ...]] | None) -> str:
    """The predicate with the user's attributes as literals. FALSE when one is missing: an unknown attribute shows
    nothing.

    ``attributes=None`` puts NULL everywhere, for checking the text.
    """
    missing = False

    def rendered(match: re.Match[str]) -> str:
        nonlocal missing
        if match[1] is None:
            return match[0]
        value = None if attributes is None else attributes.get(match[1])
        missing = missing or (attributes is not None and value is None)
        if isinstance(value, tuple) and not _is_listed(predicate, match):
            missing = True  # Several values where one is compared: that shows nothing, and would not bind.
            return "NULL"
        values = value if isinstance(value, tuple) else (value,)
        return ", ".join("NULL" if item is None else _literal(item) for item in values) or "NULL"

    text = _ATTRIBUTE.sub(rendered, predicate)
    return "FALSE" if missing else text


def _is_listed(predicate: str, place: re.Match[str]) -> bool:
    """Whether the attribute stands in an IN list, where several values may stand."""
    return _IN_LIST.search(predicate[: place.start()]) is not None


def _literal(value: Scalar) -> str:
    """The value between brackets: bare, a negative number after a minus would make the rest of the line a comment."""
    return f"({_bare_literal(value)})"


def _bare_literal(value: Scalar) -> str:
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, str):
        return literal(value)
    return f"CAST({literal(repr(value))} AS DOUBLE)" if isinstance(value, float) else str(value)


def _band(name: str, sql_type: str, width: Scalar | None) -> str:
    """Lower bound of the band that holds the value: floor(x / n) * n, in whole numbers where both are whole."""
    step = _literal(width if width is not None else 1)
    if sql_type in _INTEGERS and isinstance(width, int):
        # HUGEINT: the width and the bound may lie outside the column's own type. % keeps the sign of its left side;
        # adding the width and taking it again makes the rest non-negative.
        wide = f"CAST({name} AS HUGEINT)"
        return f"{wide} - ((({wide} % {step}) + {step}) % {step})"
    return f"floor({name} / {step}) * {step}"


def _hmac(name: str, key: bytes) -> str:
    """HMAC-SHA256 (RFC 2104) of the text, as hexadecimal digits."""
    padded = key.ljust(_BLOCK_BYTES, b"\0")
    inner, outer = (_blob(bytes(byte ^ pad for byte in padded)) for pad in (0x36, 0x5C))
    return f"sha256({outer} || unhex(sha256({inner} || encode({name}))))"


def _blob(data: bytes) -> str:
    return "unhex(" + literal(data.hex()) + ")"


def product_key(mask_key: bytes, product: ProductName) -> bytes:
    """The key under which a product's text is pseudonymised: one product's pseudonyms tell nothing about another's."""
    return hashlib.sha256(mask_key + str(product).encode()).digest()

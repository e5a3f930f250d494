"""Names of products, tables and columns: parsing, folding, quoting and the nearest right name.

DuckDB folds identifiers over ASCII only; so do we, so that two names are equal here exactly when they are equal there.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from flightmesh.errors import ErrorCode, FlightmeshError

RESERVED_DOMAINS = frozenset({"main", "memory", "temp", "system", "information_schema", "pg_catalog", "flightmesh"})

# Every database of the engine has these already.
RESERVED_SCHEMAS = frozenset({"main", "temp", "information_schema", "pg_catalog"})

_PLAIN = re.compile(r"[a-z][a-z0-9_]{0,62}")
_UPPER_TO_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def fold(name: str) -> str:
    """The name in the case in which names are compared: ASCII letters lowered, all else kept."""
    return name.translate(_UPPER_TO_LOWER)


def folded(path: Iterable[str]) -> tuple[str, ...]:
    """The parts of a path in the case in which names are compared."""
    return tuple(map(fold, path))


def quote(name: str) -> str:
    """The name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """The text as a SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name most like the word, or None when none is like it."""
    folded = {fold(name): name for name in known}
    found = difflib.get_close_matches(fold(word), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """One sentence of help for a mistyped name, or None."""
    name = nearest(word, known)
    return None if name is None else f"Did you mean {name}?"


def is_plain(name: str) -> bool:
    """Whether the name may name a domain, a product, a port, a model or a source."""
    return _PLAIN.fullmatch(name) is not None


@dataclass(frozen=True, slots=True, order=True)
class ProductName:
    """``<domain>.<name>``: the Flight SQL catalogue and schema of a product."""

    domain: str
    name: str

    @classmethod
    def parse(cls, text: str) -> ProductName:
        """The name of a product; INVALID unless it is two plain names joined by a dot, the first not reserved."""
        domain, _, name = text.partition(".")
        if not (is_plain(domain) and is_plain(name)):
            raise FlightmeshError(
                ErrorCode.INVALID,
                f"{text!r} does not name a product.",
                hint="Write domain.name: lower-case letters, digits and underscores, starting with a letter.",
            )
        if domain in RESERVED_DOMAINS:
            raise FlightmeshError(ErrorCode.INVALID, f"The domain name {domain!r} is reserved.", hint="Choose another.")
        if name in RESERVED_SCHEMAS:
            raise FlightmeshError(ErrorCode.INVALID, f"The product name {name!r} is reserved.", hint="Choose another.")
        return cls(domain, name)

    def __str__(self) -> str:
        return f"{self.domain}.{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class TableName:
    """Catalogue (domain), schema (product) and table (port), as Flight SQL clients see them."""

    catalog: str
    schema: str
    table: str

    @property
    def product(self) -> ProductName:
        return ProductName(self.catalog, self.schema)

    @property
    def sql(self) -> str:
        """The fully qualified, quoted name."""
        return ".".join(map(quote, (self.catalog, self.schema, self.table)))

    def __str__(self) -> str:
        return f"{self.catalog}.{self.schema}.{self.table}"

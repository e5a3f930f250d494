"""Names of column types as DuckDB spells them: one spelling for each type, and the logical types of ODCS that each
fits.

Only names are compared here; no engine is asked.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(r'\s*("(?:[^"]|"")*"|\'(?:[^\']|\'\')*\'|[A-Za-z_][A-Za-z_0-9]*|[0-9]+|.)', re.DOTALL)

# Longer text is not read as a type: nested types are read by recursion.
_TYPE_CHARS_MAX = 4000

_ALIASES = {
    "TEXT": "VARCHAR", "STRING": "VARCHAR", "CHAR": "VARCHAR", "BPCHAR": "VARCHAR", "NVARCHAR": "VARCHAR",
    "INT": "INTEGER", "INT4": "INTEGER", "SIGNED": "INTEGER", "INTEGRAL": "INTEGER", "INT32": "INTEGER",
    "LONG": "BIGINT", "INT8": "BIGINT", "INT64": "BIGINT", "OID": "BIGINT",
    "SHORT": "SMALLINT", "INT2": "SMALLINT", "INT16": "SMALLINT", "INT1": "TINYINT",
    "INT128": "HUGEINT", "UINT8": "UTINYINT", "UINT16": "USMALLINT", "UINT32": "UINTEGER", "UINT64": "UBIGINT",
    "UINT128": "UHUGEINT",
    "FLOAT8": "DOUBLE", "FLOAT64": "DOUBLE", "FLOAT4": "FLOAT", "FLOAT32": "FLOAT", "REAL": "FLOAT",
    "NUMERIC": "DECIMAL", "DEC": "DECIMAL",
    "BOOL": "BOOLEAN", "LOGICAL": "BOOLEAN",
    "BYTEA": "BLOB", "BINARY": "BLOB", "VARBINARY": "BLOB", "BYTES": "BLOB",
    "TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE", "TIMETZ": "TIME WITH TIME ZONE",
    "DATETIME": "TIMESTAMP", "TIMESTAMP_US": "TIMESTAMP", "GUID": "UUID", "BITSTRING": "BIT", "ROW": "STRUCT",
}  # fmt: skip
_PHRASES = {
    ("DOUBLE", "PRECISION"): "DOUBLE",
    ("CHARACTER", "VARYING"): "VARCHAR",
    ("TIMESTAMP", "WITHOUT", "TIME", "ZONE"): "TIMESTAMP",
    ("TIMESTAMP", "WITH", "TIME", "ZONE"): "TIMESTAMP WITH TIME ZONE",
    ("TIME", "WITHOUT", "TIME", "ZONE"): "TIME",
    ("TIME", "WITH", "TIME", "ZONE"): "TIME WITH TIME ZONE",
}
_INTEGERS = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"}
    | {"BIGNUM", "VARINT"}
)
_LOGICAL = {
    "VARCHAR": "string", "UUID": "string", "ENUM": "string", "BLOB": "string", "BIT": "string", "JSON": "string",
    "DATE": "date", "TIME": "time", "TIME WITH TIME ZONE": "time", "TIME_NS": "time",
    "TIMESTAMP": "timestamp", "TIMESTAMP WITH TIME ZONE": "timestamp", "TIMESTAMP_S": "timestamp",
    "TIMESTAMP_MS": "timestamp", "TIMESTAMP_NS": "timestamp",
    "BOOLEAN": "boolean", "DOUBLE": "number", "FLOAT": "number", "DECIMAL": "number",
    "STRUCT": "object", "MAP": "map",
}  # fmt: skip


def normalised(sql_type: str) -> str:
    """The one spelling of a DuckDB type; text that is no type comes back folded, so that it equals only itself."""
    if len(sql_type) > _TYPE_CHARS_MAX:
        return sql_type.upper()
    parser = _Types(_TOKEN.findall(sql_type.strip()))
    return parser.type() + parser.rest()


def logical_type(sql_type: str) -> str | None:
    """The ODCS logical type that a DuckDB type has, or None for a type that is not known here."""
    name = normalised(sql_type)
    if name.endswith("]"):
        return "array"
    head, _, arguments = name.partition("(")
    if head in _INTEGERS or (head == "DECIMAL" and arguments.endswith(",0)")):
        return "integer"
    return _LOGICAL.get(head)


def fits(sql_type: str, logical: str) -> bool:
    """Whether a DuckDB type may carry an ODCS logical type. Types and logical types not known here fit."""
    found = logical_type(sql_type)
    if found is None or found == logical:
        return True
    return (found, logical) in {("integer", "number"), ("array", "vector"), ("object", "map"), ("string", "object")}


class _Types:
    """Reads one type from tokens: name or phrase, arguments in brackets, then any number of ``[]``."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0

    def type(self) -> str:
        name = self._name()
        if self._peek() == "(":
            name += self._arguments(name)
        if name == "DECIMAL":
            name = "DECIMAL(18,3)"
        while self._peek() == "[":
            name += self._until("]")
        return name

    def rest(self) -> str:
        left, self._at = self._tokens[self._at :], len(self._tokens)
        return (" " + " ".join(left).upper()) if left else ""

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def _name(self) -> str:
        for phrase, name in _PHRASES.items():
            if tuple(word.upper() for word in self._tokens[self._at : self._at + len(phrase)]) == phrase:
                self._at += len(phrase)
                return name
        word = self._next().upper()
        return _ALIASES.get(word, word)

    def _arguments(self, name: str) -> str:
        if name in ("STRUCT", "UNION", "MAP"):
            return self._nested(is_named=name != "MAP")
        text = self._until(")")
        if name == "DECIMAL" and "," not in text:
            text = text[:-1] + ",0)"
        # DuckDB keeps no length of text.
        return "" if name == "VARCHAR" else text

    def _nested(self, *, is_named: bool) -> str:
        self._next()
        parts = []
        while self._peek() not in ("", ")"):
            field = self._next().strip('"').lower() + " " if is_named else ""
            parts.append(field + self.type())
            if self._peek() != ",":
                break
            self._next()
        closing = self._until(")")
        return f"({','.join(parts)}{closing}"

    def _until(self, closing: str) -> str:
        taken = []
        while (token := self._next()) not in ("", closing):
            taken.append(token)
        return "".join([*taken, closing])

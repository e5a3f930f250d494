"""How a CSV file must be read so that nothing of it is lost: words that stand for NULL, codes with leading zeros."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from flightmesh.build.proposal.inputs import Input
from flightmesh.sources.base import SourceTable

# Larger files are read as the source reads them; the second pass would cost as much as the first.
LOOKED_AT_BYTES_MAX = 1 << 26
NULL_WORDS = ("NA", "N/A", "n/a", "NULL", "null", "None", "nan", "NaN", "\\N", "-", "?")
_NOT_EMPTY = 1


def with_exact_types(given: Input, folder: Path) -> Input:
    """The CSV source with ``null_values`` where words keep a column from being numbers or times, and ``types`` where
    digits are codes.
    """
    is_text = given.spec["type"] == "csv"
    if not is_text or (folder / str(given.spec["path"])).stat().st_size > LOOKED_AT_BYTES_MAX:
        return given
    schema = _table(given, folder).schema()
    texts = _table(given.naming("types", dict.fromkeys(schema.names, "string")), folder).read().read_all()
    words: list[str] = []
    for field in schema:
        if pa.types.is_string(field.type):
            words += [word for word in _null_words(texts[field.name]) if word not in words]
    if words:
        given = given.naming("null_values", ["", *words])
        schema = _table(given, folder).schema()
    codes = [f.name for f in schema if pa.types.is_integer(f.type) and _has_leading_zeros(texts[f.name])]
    return given.naming("types", dict.fromkeys(codes, "string"))


def _table(given: Input, folder: Path) -> SourceTable:
    return next(iter(given.opened(folder).tables.values()))


def _null_words(column: pa.ChunkedArray) -> list[str]:
    """The words for NULL in a column that holds nothing but them and numbers or times."""
    values = pc.unique(column).drop_null()
    is_word = pc.is_in(values, pa.array(NULL_WORDS))
    rest = values.filter(pc.invert(is_word))
    if len(rest) < _NOT_EMPTY or len(rest) == len(values):
        return []
    for kind in (pa.float64(), pa.timestamp("us"), pa.date32()):
        try:
            pc.cast(rest, kind)
        except pa.ArrowInvalid:
            continue
        return sorted(values.filter(is_word).to_pylist())
    return []


def _has_leading_zeros(column: pa.ChunkedArray) -> bool:
    return bool(pc.any(pc.match_substring_regex(column, r"^[+-]?0[0-9]")).as_py())

"""The manifest's format, told from the types that read it: a JSON Schema for editors and a page for people."""

from __future__ import annotations

import inspect
import json
import re
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic.fields import FieldInfo

from flightmesh.product.inactive import ACTIVE_SOURCES, activity
from flightmesh.product.model import DataProduct, Source, Strict
from flightmesh.product.schema import Pattern, key_of, places
from flightmesh.product.source_checks import keys_of
from flightmesh.product.words import one_of

_WORDS = {str: "text", bool: "true or false", int: "whole number", float: "number", type(None): "nothing"}
_PART = "mapping, see below"
_HEAD = """# product.yaml

Generated from the types that read the file; `flightmesh check` says the same with line and column. Keys that are not
listed here are errors. YAML 1.2: `on` and `yes` are text, dates are text, repeated keys are errors.
"""

_SOURCES_HEAD = """# Kinds of sources

Generated from the table of kinds and the types that read the manifest. How sources behave, with examples, is told in
[Sources](../sources.md).
"""
_KINDS = {
    "parquet": "Parquet files: one, a folder, a pattern, or objects of a store. Filters prune partitions, files "
    "and row groups; columns that are not needed are not read.",
    "csv": "CSV files in UTF-8 with a header line, plain or compressed (`.gz`, `.zst`, `.bz2`). Types are "
    "inferred from all values of files up to 1 GiB, from the beginning of larger ones.",
    "json": "JSON files, plain or compressed: an object a line, or one array of objects.",
    "arrow": "Arrow IPC files and streams.",
    "sqlite": "A SQLite file. Types follow from the values that each column holds. Reads see one state of the file.",
    "postgres": "PostgreSQL tables and views of one schema, read-only. Whole statements are pushed where the "
    "answer is proven equal.",
    "flightsql": "Any Flight SQL server that speaks DuckDB's SQL, another flightmesh among them. `options:` may "
    "hold `token`, or `username` and `password`, and `tls_root_certs`.",
    "adbc": "Any ADBC driver by its name, with its own options. The option `dialect` (postgres, duckdb, "
    "sqlite) says whose SQL it reads; without it columns alone are pushed.",
    "delta": "Delta Lake tables, pinned by `version` or `timestamp`, else the newest. Needs `pip install "
    "'flightmesh[delta]'`.",
    "iceberg": "Iceberg tables by their folder or one metadata file, pinned by `version` (a snapshot's id) or "
    "`timestamp`. Needs `pip install 'flightmesh[iceberg]'`.",
}
# Keys that some kinds take, and the ones that no active kind takes.
_SPECIAL_KEYS = frozenset({*(key for kind in ACTIVE_SOURCES for key in keys_of(kind)), "port", "schema_drift"})


def json_schema() -> dict[str, Any]:
    """The JSON Schema of ``product.yaml``. It checks shape; names, references and files only ``check`` can judge."""
    schema: dict[str, Any] = _any_of(DataProduct.model_json_schema())
    # ``with: null`` is how the author writes the mask of that name.
    schema["$defs"]["MaskRule"]["properties"]["with"]["anyOf"].append({"type": "null"})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def reference_markdown() -> str:
    """The reference page: every place of the file with its keys, their types, defaults and whether they are active."""
    return "\n".join([_HEAD, *(line for pattern, kind in places().items() for line in _section(pattern, kind))])


def sources_markdown() -> str:
    """The page of sources: every kind with what it is and the keys that it takes."""
    of_all = [key for key in Source.model_fields if key_of(Source, key) not in _SPECIAL_KEYS]
    lines = [_SOURCES_HEAD, "| key of every source | value | default | meaning |", "|---|---|---|---|"]
    lines += [_row(Source, name) for name in of_all if name != "type"]
    for kind in ACTIVE_SOURCES:
        lines += ["", f"## {kind}", "", _KINDS[kind], "", "| key | value | default | meaning |", "|---|---|---|---|"]
        keys = keys_of(kind)
        lines += [_row(Source, name) for name in Source.model_fields if key_of(Source, name) in keys]
    return "\n".join([*lines, ""])


def _row(kind: type[Strict], name: str) -> str:
    field = kind.model_fields[name]
    hint = get_type_hints(kind, include_extras=True)[name]
    cells = (f"`{key_of(kind, name)}`", _type(hint), _default(field), _sentences(field.description or ""))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _any_of(schema: Any) -> Any:
    """Alternatives overlap (a whole number is a number), which ``oneOf`` would refuse."""
    if isinstance(schema, dict):
        return {("anyOf" if key == "oneOf" else key): _any_of(value) for key, value in schema.items()}
    return [_any_of(item) for item in schema] if isinstance(schema, list) else schema


def _section(pattern: Pattern, kind: type[Strict]) -> Iterator[str]:
    yield f"## {_title(pattern)}\n"
    yield f"{_sentences(inspect.getdoc(kind) or '')}\n"
    yield "| key | value | default | active | meaning |"
    yield "|---|---|---|---|---|"
    hints = get_type_hints(kind, include_extras=True)
    for name, field in kind.model_fields.items():
        key = key_of(kind, name)
        path = tuple("*" if step == "[]" else step for step in (*pattern, key) if not step.startswith("<"))
        cells = (f"`{key}`", _type(hints[name]), _default(field), _active(path), _sentences(field.description or ""))
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""


def _title(pattern: Pattern) -> str:
    if not pattern:
        return "The file"
    text = ""
    for step in pattern:
        text += {"*": ".NAME", "[]": "[]"}.get(step, f" {step[1:-1]}" if step.startswith("<") else f".{step}")
    return f"`{re.sub(r' by$', '', text.lstrip('.'))}`"


def _sentences(text: str) -> str:
    return " ".join(text.replace("``", "`").split())


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0])
    if origin is Literal:
        return one_of(f"`{word}`" for word in arguments)
    if origin in (Union, types.UnionType):
        return one_of(dict.fromkeys(_type(each) for each in arguments if each is not type(None)))
    if origin is tuple:
        return f"list of {_plural(_type(arguments[0]))}"
    if origin is Mapping:
        return f"mapping of names to {_plural(_type(arguments[1]))}"
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        return _PART
    return _WORDS.get(annotation, "anything")


def _plural(kind: str) -> str:
    return {_PART: "mappings, see below", "text": "texts"}.get(kind, kind)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return "" if field.default in (None, (), {}) else f"`{json.dumps(field.default)}`"


def _active(path: Pattern) -> str:
    active = activity(path)
    if active is None:
        return "yes"
    return f"{one_of(f'`{word}`' for word in active)} only" if active else "not yet"

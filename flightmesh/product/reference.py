"""The manifest's format, told from the types that read it: a JSON Schema for editors and a page for people."""

from __future__ import annotations

import inspect
import json
import re
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic.fields import FieldInfo

from flightmesh.product.inactive import activity
from flightmesh.product.model import DataProduct, Strict
from flightmesh.product.schema import Pattern, key_of, places
from flightmesh.product.words import one_of

_WORDS = {str: "text", bool: "true or false", int: "whole number", float: "number", type(None): "nothing"}
_PART = "mapping, see below"
_HEAD = """# product.yaml

Generated from the types that read the file; `flightmesh check` says the same with line and column. Keys that are not
listed here are errors. YAML 1.2: `on` and `yes` are text, dates are text, repeated keys are errors.
"""


def json_schema() -> dict[str, Any]:
    """The JSON Schema of ``product.yaml``. It checks shape; names, references and files only ``check`` can judge."""
    schema: dict[str, Any] = _any_of(DataProduct.model_json_schema())
    # ``with: null`` is how the author writes the mask of that name.
    schema["$defs"]["MaskRule"]["properties"]["with"]["anyOf"].append({"type": "null"})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def reference_markdown() -> str:
    """The reference page: every place of the file with its keys, their types, defaults and whether they are active."""
    return "\n".join([_HEAD, *(line for pattern, kind in places().items() for line in _section(pattern, kind))])


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

"""The Open Data Contract Standard's own JSON Schema, and its verdicts in plain words at a line and column.

The schema comes from the wheel of the standard; this module adds no rule to it. Two things it says wrongly are left
out: a key called unknown although it is known there (the schema judges a part by its siblings), and keys demanded of a
column without ``logicalType``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, cast

import jsonschema_rs

from flightmesh.names import did_you_mean
from flightmesh.product.document import Document, Step
from flightmesh.product.problems import Problem, in_order
from flightmesh.product.words import found, one_of, place

_TYPES = {
    "string": "text", "number": "a number", "integer": "a whole number", "boolean": "true or false",
    "object": "a mapping", "array": "a list", "null": "nothing",
}  # fmt: skip
_ENUM_SHOWN_MAX = 12

# JSON, as the standard's schema is written.
Schema = Mapping[str, Any]


def violations(document: Document) -> list[Problem]:
    """Every way in which the document breaks the standard, by place."""
    problems: list[Problem] = []
    for error in _validator().iter_errors(document.value):
        problems += _translate(error, document)
    return list(in_order(problems))


@cache
def _schema() -> Schema:
    text = files("open_data_contract_standard").joinpath("schema.json").read_text(encoding="utf-8")
    return cast(Schema, json.loads(text))


@cache
def _validator() -> Any:
    # jsonschema_rs types its validators as a union of one class per draft.
    return jsonschema_rs.validator_for(dict(_schema()))


def _translate(error: Any, document: Document) -> Iterator[Problem]:
    """The problems behind one verdict; none when the verdict is one of the schema's own mistakes."""
    path: list[Step] = list(error.instance_path)
    kind = error.kind.as_dict()
    if _is_vacuous(error, document):
        return
    match error.kind.name:
        case "additionalProperties" | "unevaluatedProperties":
            yield from _unknown_keys(error, kind["unexpected"], path, document)
        case "required":
            name = kind["property"]
            yield document.problem(path, f"The key {place([*path, name])} is missing.", key=True)
        case "type":
            yield _wrong_type(kind["types"], path, document)
        case "enum" | "const":
            yield _wrong_word(kind, path, document)
        case "anyOf" | "oneOf":
            yield from _no_alternative(kind.get("context") or [], path, document)
        case _:
            message = f"{place(path) or 'The file'}: {error.message}"
            yield document.problem(path, message if message.endswith(".") else message + ".")


def _is_vacuous(error: Any, document: Document) -> bool:
    if "then" not in error.schema_path:
        return False
    node = document.find(error.instance_path)
    return node is not None and isinstance(node.value, dict) and "logicalType" not in node.value


def _unknown_keys(error: Any, names: Iterable[str], path: list[Step], document: Document) -> Iterator[Problem]:
    known = _known_keys(error.schema_path, document, path)
    for name in names:
        if name not in known:
            where = f" in {place(path)}" if path else ""
            yield document.problem([*path, name], f"Unknown key {name}{where}.", did_you_mean(name, known), key=True)


def _wrong_type(types: Sequence[str], path: list[Step], document: Document) -> Problem:
    node = document.find(path)
    value, text = (None, None) if node is None else (node.value, node.text)
    expected = one_of(_TYPES.get(name, name) for name in types)
    hint = f'Put it in quotes: "{text}".' if "string" in types and isinstance(value, int | float) else None
    name = place(path) or "The file"
    return document.problem(path, f"{name} must be {expected}, found {found(value, text)}.", hint)


def _wrong_word(kind: Mapping[str, Any], path: list[Step], document: Document) -> Problem:
    words = [str(word) for word in kind.get("options", [kind.get("expected_value")])]
    node = document.find(path)
    value, text = (None, None) if node is None else (node.value, node.text)
    shown = f" must be {one_of(words)}," if len(words) <= _ENUM_SHOWN_MAX else " is not one of the standard's words,"
    hint = did_you_mean(value, words) if isinstance(value, str) else None
    return document.problem(path, f"{place(path)}{shown} found {found(value, text)}.", hint)


def _no_alternative(branches: Sequence[Sequence[Any]], path: list[Step], document: Document) -> Iterator[Problem]:
    """The problems of the alternative that was evidently meant; else what the alternatives ask for, in one sentence."""
    fitting = [branch for branch in branches if not any(_is_other_type(error, path) for error in branch)]
    if len(fitting) == 1:
        for error in fitting[0]:
            yield from _translate(error, document)
        return
    kinds = [error.kind.as_dict() for branch in branches for error in branch]
    if not fitting and kinds:
        yield _wrong_type([name for kind in kinds for name in kind.get("types", ())], path, document)
        return
    needed = [kind["property"] for kind in kinds if "property" in kind]
    message = f"{place(path)} fits none of the forms that the standard allows."
    if needed and len(needed) == len(kinds):
        message = f"{place(path)} needs exactly one of {one_of(dict.fromkeys(needed))}."
    yield document.problem(path, message, key=True)


def _is_other_type(error: Any, path: list[Step]) -> bool:
    return error.kind.name == "type" and list(error.instance_path) == path


def _known_keys(schema_path: Sequence[Step], document: Document, path: list[Step]) -> set[str]:
    node: Any = _schema()
    for step in list(schema_path)[:-1]:
        node = _target(node)
        node = node[int(step)] if isinstance(node, list) else node.get(step, {})
    return set(_properties(node, 0))


def _properties(schema: Any, depth: int) -> Iterator[str]:
    """The keys that a part of the schema knows: its own and those of what it refers to or combines."""
    if not isinstance(schema, dict) or depth > 8:
        return
    yield from schema.get("properties", ())
    if "$ref" in schema:
        yield from _properties(_referred(schema["$ref"]), depth + 1)
    for word in ("allOf", "anyOf", "oneOf"):
        for part in schema.get(word, ()):
            yield from _properties(part, depth + 1)
    for word in ("if", "then", "else"):
        yield from _properties(schema.get(word), depth + 1)


def _target(node: Any) -> Any:
    return _referred(node["$ref"]) if isinstance(node, dict) and set(node) == {"$ref"} else node


def _referred(reference: str) -> Any:
    node: Any = _schema()
    for step in reference.removeprefix("#/").split("/"):
        node = node.get(step, {})
    return node

"""The shape of a manifest: a document against the types of ``model.py``, and every mismatch in plain words at its line
and column.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import Tag, ValidationError

from flightmesh.names import did_you_mean, nearest
from flightmesh.product.document import Document, Step
from flightmesh.product.durations import EXAMPLES
from flightmesh.product.model import POLICY_TAGS, DataProduct, Strict
from flightmesh.product.problems import Problem
from flightmesh.product.words import found, one_of, place

# A path with "*" for any key, "[]" for any index, and pydantic's tags of alternatives.
Pattern = tuple[str, ...]
Part = TypeVar("Part", bound=Strict)

_POLICY_WORDS = ", ".join(POLICY_TAGS)
_TAG = re.compile(r"<[a-z]+>")
_EXPECTED = {
    "string_type": "text", "int_type": "a whole number", "float_type": "a number", "bool_type": "true or false",
    "tuple_type": "a list", "dict_type": "a mapping", "mapping_type": "a mapping", "model_type": "a mapping",
    "greater_than": "more than {gt}", "greater_than_equal": "at least {ge}", "less_than_equal": "at most {le}",
}  # fmt: skip


def validate(document: Document) -> tuple[DataProduct | None, list[Problem]]:
    """The product that the document describes, or None and everything about its shape that is wrong."""
    try:
        return read_part(DataProduct, document.value), []
    except ValidationError as error:
        return None, list(_translated(error, document))


def read_part(kind: type[Part], value: object) -> Part:
    """The part of a manifest with this value. pydantic's ValidationError when it has another shape."""
    return kind.model_validate(_immutable(value), by_alias=True, by_name=False)


@cache
def places() -> Mapping[Pattern, type[Strict]]:
    """Every place of a manifest that holds a mapping with fixed keys, in the order of the format."""
    return dict(_walk(DataProduct, ()))


def key_of(kind: type[Strict], name: str) -> str:
    """The key in the file for a field of the type."""
    alias = kind.model_fields[name].validation_alias
    return alias if isinstance(alias, str) else name


def keys(kind: type[Strict]) -> tuple[str, ...]:
    """The keys that a place of this type knows."""
    return tuple(key_of(kind, name) for name in kind.model_fields)


def _walk(annotation: Any, path: Pattern) -> Iterator[tuple[Pattern, type[Strict]]]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        tags = tuple(str(extra.tag) for extra in arguments[1:] if isinstance(extra, Tag))
        yield from _walk(arguments[0], path + tags)
    elif origin in (Union, types.UnionType):
        for argument in arguments:
            yield from _walk(argument, path)
    elif origin in (tuple, Mapping):
        inner, step = (arguments[0], "[]") if origin is tuple else (arguments[1], "*")
        yield from _walk(inner, (*path, step))
    elif isinstance(annotation, type) and issubclass(annotation, Strict):
        yield path, annotation
        hints = get_type_hints(annotation, include_extras=True)
        for name in annotation.model_fields:
            yield from _walk(hints[name], (*path, key_of(annotation, name)))


def _immutable(value: object) -> object:
    """Lists as tuples: the types of a manifest are immutable, and strict about it."""
    if isinstance(value, list):
        return tuple(_immutable(item) for item in value)
    if isinstance(value, dict):
        return {key: _immutable(item) for key, item in value.items()}
    return value


def _translated(error: ValidationError, document: Document) -> Iterator[Problem]:
    details = error.errors(include_url=False, include_context=True)
    misspelt = {(entry["loc"][:-1], _suggestion(entry["loc"])) for entry in details if _is_unknown(entry)}
    for entry in details:
        location = entry["loc"]
        if entry["type"] == "missing" and (location[:-1], location[-1]) in misspelt:
            continue
        yield _problem(entry, document)


def _is_unknown(entry: Any) -> bool:
    return bool(entry["type"] == "extra_forbidden")


def _problem(entry: Any, document: Document) -> Problem:
    """One entry of pydantic's list, whose keys are fixed by pydantic: type, loc, msg, input, ctx."""
    path = _steps(entry["loc"])
    if _is_unknown(entry):
        return _unknown_key(entry["loc"], path, document)
    if entry["type"] == "missing":
        return document.problem(path[:-1], f"The key {place(path)} is missing.", key=True)
    if entry["type"] == "shape" and isinstance(entry["input"], dict) and _policy_hint(path):
        message = f"{place(path)} has none of the keys {_POLICY_WORDS}."
        return document.problem(path, message, _policy_hint(path), key=True)
    node = document.find(path)
    value, text = entry["input"], None if node is None else node.text
    expected, hint = _expectation(entry, path, text)
    return document.problem(path, f"{place(path)} must be {expected}, found {found(value, text)}.", hint)


def _expectation(entry: Any, path: list[Step], text: str | None) -> tuple[str, str | None]:
    """What should have stood at the place, and a hint."""
    value, context = entry["input"], entry.get("ctx", {})
    if entry["type"] == "literal_error":
        words = re.findall(r"'([^']*)'", context["expected"])
        return one_of(words), did_you_mean(value, words) if isinstance(value, str) else None
    if entry["type"] == "shape":
        return entry["msg"], _policy_hint(path)
    expected = _EXPECTED.get(entry["type"], "").format(**context)
    if expected == "text" and path == ["version"] and text is not None:
        return expected, f'Write three numbers in quotes, such as "{_three_numbers(text)}".'
    if expected == "text" and path[0] == "sources" and path[-1] in ("timeout", "every"):
        return "a length of time", EXAMPLES
    if expected == "text" and isinstance(value, int | float):
        return expected, f'Put it in quotes: "{text}".'
    if value is None and expected in ("a mapping", "a list"):
        return expected, f"Write {'{}' if expected == 'a mapping' else '[]'} for none."
    return expected or f"valid ({entry['msg']})", None


def _policy_hint(path: list[Step]) -> str | None:
    if path[:1] == ["policies"] and len(path) == 2:
        return "Each policy is one grant, one row filter (rows) or one column mask (mask)."
    return None


def _three_numbers(text: str) -> str:
    parts = text.split(".") if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else ["1"]
    return ".".join([*parts, "0", "0"][:3])


def _unknown_key(location: Iterable[Any], path: list[Step], document: Document) -> Problem:
    location = tuple(location)
    where = f" in {place(path[:-1])}" if len(path) > 1 else ""
    other = POLICY_TAGS.keys() & {path[-1]}
    if path[0] == "policies" and len(path) == 3 and other:
        message = f"The key {path[-1]} begins another policy{where}."
        return document.problem(path, message, "Make two policies of it.", key=True)
    hint = did_you_mean(str(path[-1]), _known(location[:-1]))
    return document.problem(path, f"Unknown key {path[-1]}{where}.", hint or _all_known(location[:-1]), key=True)


def _all_known(location: tuple[Any, ...]) -> str | None:
    known = _known(location)
    return f"Known here: {', '.join(known)}." if 0 < len(known) <= 12 else None


def _suggestion(location: tuple[Any, ...]) -> str | None:
    return nearest(str(location[-1]), _known(location[:-1]))


def _known(location: tuple[Any, ...]) -> tuple[str, ...]:
    """The keys known at a location of pydantic's."""
    for pattern, kind in places().items():
        if len(pattern) == len(location) and all(_is_step(p, step) for p, step in zip(pattern, location, strict=True)):
            return keys(kind)
    return ()


def _is_step(word: str, step: str | int) -> bool:
    return word == step or word == ("[]" if isinstance(step, int) else "*")


def _steps(location: Iterable[str | int]) -> list[Step]:
    """The location without pydantic's tags."""
    return [step for step in location if not (isinstance(step, str) and _TAG.fullmatch(step))]

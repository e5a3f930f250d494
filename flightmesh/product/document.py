"""YAML 1.2 text into plain values that remember where they stood.

The values are those of JSON: text, numbers, true and false, nothing, lists and mappings with text keys. Dates stay
text, ``on`` and ``yes`` stay text, and tags of other programs are refused, so that a file means one thing whoever reads
it. The parser's events are read one by one, without recursion, under fixed bounds: hostile text ends in a ``Problem``,
never in another exception.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent as CollectionEnd,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from flightmesh.product.problems import Problem

BYTES_MAX = 1_000_000
DEPTH_MAX = 50
NODES_MAX = 100_000
# JSON escapes a character outside of the first plane in two halves; one alone no file, message or log can hold.
_HALF = re.compile("[\ud800-\udfff]")

# A step of a path into a document: the key of a mapping or the index in a list.
Step = str | int
Steps = Sequence[Step]

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_INT_BOUND = 2**63


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; line and column count from 1."""

    line: int
    column: int


START = Mark(1, 1)


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its place. ``text`` is how a scalar is written in the file; ``keys`` holds the places of a mapping's
    keys.
    """

    value: Any  # whatever the author wrote; the schema says later what it should have been
    mark: Mark
    size: int
    text: str | None
    children: Mapping[Step, Node]
    keys: Mapping[Step, Mark]


@dataclass(frozen=True, slots=True)
class Document:
    """One file of a product: its values, and the places of all of them."""

    file: str
    root: Node

    @property
    def value(self) -> Mapping[str, Any]:
        return cast(Mapping[str, Any], self.root.value)

    def find(self, path: Steps) -> Node | None:
        """The node at the path, or None."""
        node: Node | None = self.root
        for step in path:
            node = node.children.get(step) if node is not None else None
        return node

    def mark(self, path: Steps, *, key: bool = False) -> Mark:
        """Where the value at the path stands (or its key), else the nearest place above that exists."""
        node, found = self.root, START
        for step in path:
            if step not in node.children:
                return found
            found = node.keys[step]
            node = node.children[step]
        return found if key or not path else node.mark

    def marks(self, path: Steps) -> frozenset[Mark]:
        """Every place at and below the path: those of its keys and of its values. Empty when there is no such path."""
        node = self.find(path)
        if node is None:
            return frozenset()
        found, waiting = {self.mark(path, key=True)}, [node]
        while waiting:
            node = waiting.pop()
            found |= {node.mark, *node.keys.values()}
            waiting += node.children.values()
        return frozenset(found)

    def text(self, path: Steps) -> str | None:
        """How the scalar at the path is written in the file, or None when there is none."""
        node = self.find(path)
        return None if node is None else node.text

    def problem(self, path: Steps, message: str, hint: str | None = None, *, key: bool = False) -> Problem:
        """A problem at the value at the path, or at its key."""
        mark = self.mark(path, key=key)
        return Problem(self.file, mark.line, mark.column, message, hint)


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not been read yet."""

    mark: Mark
    is_mapping: bool
    anchor: str | None
    children: dict[Step, Node]
    keys: dict[Step, Mark]
    key: str | None = None
    key_mark: Mark = START
    is_repeated: bool = False
    size: int = 1


class _Refused(Exception):  # noqa: N818 -- carries a problem out of the loop below and never leaves this module
    def __init__(self, mark: Mark, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.mark, self.message, self.hint = mark, message, hint


def read(folder: Path, file: str) -> tuple[Document | None, list[Problem]]:
    """The document in a file of the folder and what is wrong with its YAML. None when nothing of it can be used."""
    try:
        with (folder / file).open("rb") as stream:
            data = stream.read(BYTES_MAX + 1)
    except (OSError, ValueError) as reason:
        known = isinstance(reason, FileNotFoundError)
        return None, [Problem(file, 1, 1, f"The file {'is missing' if known else 'cannot be read'}.")]
    return parse(data, file)


def parse(data: bytes, file: str) -> tuple[Document | None, list[Problem]]:
    """As ``read``, for bytes at hand. A repeated key is a problem and does not stop the reading; its first value
    counts.
    """
    composer = _Composer(file)
    try:
        root = composer.compose(_decode(data))
    except _Refused as refused:
        composer.report(refused.mark, refused.message, refused.hint)
        return None, composer.problems
    return Document(file, root), composer.problems


def _decode(data: bytes) -> str:
    if len(data) > BYTES_MAX:
        raise _Refused(START, f"The file is larger than {BYTES_MAX:,} bytes.", "Keep data out of it.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", "replace")
        mark = Mark(before.count("\n") + 1, len(before) - before.rfind("\n"))
        message = f"The byte 0x{error.object[error.start]:02X} is not UTF-8."
    raise _Refused(mark, message, "Save the file as UTF-8.")


class _Composer:
    """Builds nodes from the parser's events and collects what need not stop it."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._anchors: dict[str, Node | None] = {}
        self._stack: list[_Open] = []
        self._nodes = 0
        self._root: Node | None = None
        self.problems: list[Problem] = []

    def report(self, mark: Mark, message: str, hint: str | None = None) -> None:
        self.problems.append(Problem(self._file, mark.line, mark.column, message, hint))

    def compose(self, text: str) -> Node:
        """The root of the one document in the text, a mapping."""
        documents = 0
        for event in _events(text):
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _Refused(_mark(event), "A second document begins here.", "Keep one document in a file.")
            else:
                self._take(event)
        root = self._root
        if root is None or (root.value is None and not root.text):
            raise _Refused(START, "The file is empty.")
        if not isinstance(root.value, dict):
            found = "a list" if isinstance(root.value, list) else "a single value"
            raise _Refused(root.mark, f"The file must be a mapping of keys to values, found {found}.")
        return root

    def _take(self, event: Event) -> None:
        if isinstance(event, CollectionEnd):
            self._close()
        elif isinstance(event, MappingStartEvent | SequenceStartEvent):
            self._open(event)
        elif isinstance(event, AliasEvent):
            self._alias(event)
        elif isinstance(event, ScalarEvent):
            self._scalar(event)

    def _open(self, event: MappingStartEvent | SequenceStartEvent) -> None:
        mark = _mark(event)
        if self._awaits_key():
            raise _Refused(
                mark, "A key must be text, found a list or a mapping.", "Quote text that begins with [ or {."
            )
        if len(self._stack) == DEPTH_MAX:
            raise _Refused(mark, f"The file nests deeper than {DEPTH_MAX} levels.")
        _refuse_tag(event, mark)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._stack.append(_Open(mark, isinstance(event, MappingStartEvent), event.anchor, {}, {}))

    def _close(self) -> None:
        done = self._stack.pop()
        value: Any  # a mapping or a list of whatever the author wrote
        if done.is_mapping:
            value = {key: node.value for key, node in done.children.items()}
        else:
            value = [node.value for node in done.children.values()]
        node = Node(value, done.mark, done.size, None, done.children, done.keys)
        if done.anchor is not None:
            self._anchors[done.anchor] = node
        self._add(node)

    def _alias(self, event: AliasEvent) -> None:
        mark, name = _mark(event), cast(str, event.anchor)
        if name not in self._anchors:
            raise _Refused(mark, f"The alias *{name} has no anchor &{name} before it.")
        node = self._anchors[name]
        if node is None:
            raise _Refused(mark, f"The alias *{name} stands inside of what it names.")
        if self._awaits_key():
            raise _Refused(mark, "A key must be text, found an alias.")
        self._add(Node(node.value, mark, node.size, node.text, node.children, node.keys))

    def _scalar(self, event: ScalarEvent) -> None:
        mark, text = _mark(event), cast(str, event.value)
        _refuse_tag(event, mark)
        if _HALF.search(text):
            text = _whole(text, mark)
        if self._awaits_key():
            self._key(text, mark)
            return
        value = text
        if event.style is None and event.ctag is None:
            value = self._plain(text, mark)
            if not text and self._stack and self._stack[-1].is_mapping:
                mark = self._stack[-1].key_mark
        node = Node(value, mark, 1, text, {}, {})
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        self._add(node)

    def _key(self, text: str, mark: Mark) -> None:
        parent = self._stack[-1]
        if text == "<<":
            raise _Refused(mark, "Merge keys (<<) are not part of YAML 1.2.", "Write the keys out.")
        parent.key, parent.key_mark, parent.is_repeated = text, mark, text in parent.children
        if parent.is_repeated:
            self.report(mark, f"The key {text} occurs twice.", f"It first stands in line {parent.keys[text].line}.")

    def _add(self, node: Node) -> None:
        self._nodes += node.size
        if self._nodes > NODES_MAX:
            raise _Refused(node.mark, f"The file holds more than {NODES_MAX:,} values, aliases written out.")
        if not self._stack:
            self._root = node
            return
        parent = self._stack[-1]
        parent.size += node.size
        step: Step = parent.key if parent.key is not None else len(parent.children)
        if not parent.is_repeated:
            parent.children[step] = node
            parent.keys[step] = parent.key_mark if parent.is_mapping else node.mark
        parent.key, parent.is_repeated = None, False

    def _awaits_key(self) -> bool:
        return bool(self._stack) and self._stack[-1].is_mapping and self._stack[-1].key is None

    def _plain(self, text: str, mark: Mark) -> Any:
        """The value of an unquoted scalar by the core schema of YAML 1.2."""
        if _NULL.fullmatch(text):
            return None
        if _BOOL.fullmatch(text):
            return text[0] in "tT"
        if _INT.fullmatch(text):
            return self._bounded(text, mark)
        if _FLOAT.fullmatch(text):
            number = float(text)
            return number if math.isfinite(number) else self._out_of_range(text, mark)
        return self._out_of_range(text, mark) if _NOT_FINITE.fullmatch(text) else text

    def _bounded(self, text: str, mark: Mark) -> int:
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        number = int(text, base) if len(text) <= 64 else _INT_BOUND
        return number if -_INT_BOUND <= number < _INT_BOUND else self._out_of_range(text, mark)

    def _out_of_range(self, text: str, mark: Mark) -> int:
        self.report(mark, f"The number {text[:40]} is not finite or too large.", "Put it in quotes if it is text.")
        return 0


def _events(text: str) -> Iterator[Event]:
    """The parser's events; whatever it refuses becomes a ``_Refused`` in plain words."""
    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except MarkedYAMLError as error:
        raise _syntax(error) from None
    except ReaderError as error:
        before = text[: error.position]
        mark = Mark(before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise _Refused(mark, f"The character U+{ord(text[error.position]):04X} may not stand in YAML.") from None
    except (ValueError, OverflowError, IndexError, AssertionError, RecursionError) as error:
        # The scanner lets these out on broken escapes and the like, without a place.
        raise _Refused(
            START, f"Not valid YAML ({type(error).__name__}).", "Look for a broken escape in quotes."
        ) from None


def _syntax(error: MarkedYAMLError) -> _Refused:
    problem, context = error.problem or "", error.context or ""
    at = error.problem_mark or error.context_mark
    mark = START if at is None else Mark(at.line + 1, at.column + 1)
    if "\\t" in problem:
        return _Refused(mark, "A tab stands where spaces are needed.", "Indent with spaces.")
    if "quoted scalar" in context and "unexpected end" in problem and error.context_mark is not None:
        mark = Mark(error.context_mark.line + 1, error.context_mark.column + 1)
        return _Refused(mark, "The quote opened here is never closed.")
    if "<block end>" in problem:
        look = "Look above for a quote that is not closed, a missing colon, or a line indented by other steps."
        return _Refused(mark, "Not valid YAML: this does not fit what stands before it.", look)
    began = error.context_mark
    hint = f"It belongs to what begins in line {began.line + 1}." if began is not None and context else None
    return _Refused(mark, f"Not valid YAML: {problem.strip().rstrip('.')}.", hint)


def _whole(text: str, mark: Mark) -> str:
    """The text with halves of characters put together."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        hint = "Write the character itself."
    raise _Refused(mark, "An escape stands for half of a character.", hint)


def _refuse_tag(event: Any, mark: Mark) -> None:
    tag = None if event.ctag is None else str(event.ctag)
    if tag is not None and tag not in ("!", "tag:yaml.org,2002:str"):
        raise _Refused(mark, f"The tag {tag} is not allowed.", "Write the value without a tag.")


def _mark(event: Event) -> Mark:
    at = event.start_mark
    return Mark(at.line + 1, at.column + 1)

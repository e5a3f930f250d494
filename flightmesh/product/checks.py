"""What the shape of a manifest cannot say: names, references, files and ports that fit together.

Every check yields problems and none stops another. Files are looked for and their names compared; only a Python model's
file is parsed, to find the function, and nothing is ever executed.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from flightmesh.errors import FlightmeshError
from flightmesh.names import ProductName, did_you_mean, is_plain
from flightmesh.product.contract import DataContract
from flightmesh.product.document import Step
from flightmesh.product.draft import Draft
from flightmesh.product.graph import cycle_sentence, find_cycle, model_inputs
from flightmesh.product.inactive import ACTIVE_SOURCES
from flightmesh.product.model import Model, Port, Source
from flightmesh.product.problems import Problem
from flightmesh.product.words import one_of, place

LOW_CODE = ("keep", "cast", "filter", "derive", "dedupe", "join", "lookup", "aggregate")

_SOURCE_KEYS = {"parquet": {"path"}, "csv": {"path", "types", "null_values", "delimiter"}, "sqlite": {"path", "tables"}}
_KEYS_OF_SOME_SOURCES = {"path", "uri", "tables", "types", "null_values", "delimiter", "port"}
_IDENTIFIER = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_SEMVER = re.compile(
    r"(?:(?:0|[1-9][0-9]*)\.){2}(?:0|[1-9][0-9]*)"
    rf"(?:-{_IDENTIFIER}(?:\.{_IDENTIFIER})*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
_CODE = re.compile(r"(?P<file>.+\.py):(?P<function>[A-Za-z_][A-Za-z_0-9]*)")
_CODE_BYTES_MAX = 1_000_000
_NAME_RULE = "Use lower-case letters, digits and underscores, starting with a letter, at most 63 in all."


def check(draft: Draft) -> Iterator[Problem]:
    """All that is wrong with the manifest beyond its shape, policies and contracts aside."""
    yield from _identity(draft)
    yield from _names(draft)
    for name, source in (draft.sources or {}).items():
        if source is not None and source.type in ACTIVE_SOURCES:
            yield from _source(draft, name, source)
    for name, model in (draft.models or {}).items():
        if model is not None:
            yield from _model(draft, name, model)
    yield from _cycle(draft)
    for name, port in (draft.ports or {}).items():
        if port is not None:
            yield from _port(draft, name, port)


def check_contract(draft: Draft, name: str, contract: DataContract) -> Iterator[Problem]:
    """Whether the contract of the port is about that port."""
    assert contract.document is not None
    if contract.table == name:
        return
    ports = list(draft.ports or ())
    path: list[Step] = ["schema", 0, "name"]
    if contract.table in ports:
        message = f"This contract describes the port {contract.table}, and the port {name} names it as its own."
        yield contract.document.problem(path, message, f"Give {name} a contract of its own.")
    else:
        message = f"The product has no port {contract.table}."
        yield contract.document.problem(path, message, did_you_mean(contract.table, ports) or f"Write {name}.")


def outside(folder: Path, file: str) -> str | None:
    """Why a file named in the manifest may not be read, or None when it lies in the product's folder."""
    if not file or any(ord(char) < 32 for char in file):
        return "does not name a file"
    parts = PurePosixPath(file).parts
    if file.startswith(("/", "~")) or "\\" in file or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", file):
        return "is not a path relative to the product's folder"
    if ".." in parts:
        return "leads out of the product's folder"
    try:
        inside = (folder / file).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a circle of links, a name too long
        return "cannot be followed"
    return None if inside else "leads out of the product's folder through a link"


def _identity(draft: Draft) -> Iterator[Problem]:
    document = draft.document
    name, version = document.value.get("product"), document.value.get("version")
    if isinstance(name, str):
        try:
            ProductName.parse(name)
        except FlightmeshError as error:
            yield document.problem(["product"], error.message, error.hint)
    if isinstance(version, str) and _SEMVER.fullmatch(version) is None:
        yield document.problem(["version"], f"{version!r} is not a semantic version.", "Write it as 2.1.0.")


def _names(draft: Draft) -> Iterator[Problem]:
    for section, parts in (("sources", draft.sources), ("models", draft.models), ("ports", draft.ports)):
        for name in parts or ():
            if not is_plain(name):
                message = f"{name[:80]!r} cannot be the name of a {section[:-1]}."
                yield draft.document.problem([section, name], message, _NAME_RULE, key=True)
    for name in (draft.sources or {}).keys() & (draft.models or {}).keys():
        line = draft.document.mark(["sources", name], key=True).line
        message = f"{name} is a source (line {line}) and a model."
        yield draft.document.problem(["models", name], message, "Rename one of them.", key=True)


def _source(draft: Draft, name: str, source: Source) -> Iterator[Problem]:
    steps: list[Step] = ["sources", name]
    allowed = _SOURCE_KEYS[source.type]
    for key in sorted((source.model_fields_set & _KEYS_OF_SOME_SOURCES) - allowed):
        message = f"{place([*steps, key])} does not apply to a source of type {source.type}."
        yield draft.document.problem([*steps, key], message, f"It takes {', '.join(sorted(allowed))}.", key=True)
    if source.path is None:
        yield draft.document.problem(steps, f"{place(steps)} needs a path.", key=True)
    else:
        yield from _file(draft, [*steps, "path"], source.path)
    if source.type == "sqlite" and not source.tables:
        message = f"{place(steps)} needs tables."
        yield draft.document.problem(steps, message, f"List them; models read them as {name}.TABLE.", key=True)
    for index, table in enumerate(source.tables):
        if table in source.tables[:index]:
            yield draft.document.problem([*steps, "tables", index], f"The table {table} is listed twice.")
    if len(source.delimiter) != 1:
        message = f"{place([*steps, 'delimiter'])} must be one character."
        yield draft.document.problem([*steps, "delimiter"], message)


def _file(draft: Draft, steps: list[Step], file: str) -> Iterator[Problem]:
    """Problems with a file that the manifest names at the place."""
    reason = outside(draft.folder, file)
    if reason is not None:
        yield draft.document.problem(steps, f"{place(steps)}: {file!r} {reason}.", "Keep files below product.yaml.")
    elif not (draft.folder / file).is_file():
        hint = "Patterns are not active yet." if "*" in file else _near_file(draft.folder, file)
        yield draft.document.problem(steps, f"{place(steps)}: there is no file {file}.", hint)


def _near_file(folder: Path, file: str) -> str | None:
    names = [path.relative_to(folder).as_posix() for path in sorted((folder / file).parent.glob("*"))[:1000]]
    return did_you_mean(file, names)


def _model(draft: Draft, name: str, model: Model) -> Iterator[Problem]:
    steps: list[Step] = ["models", name]
    given = {"from": model.from_, "sql": model.sql, "python": model.python}
    kinds = [kind for kind, value in given.items() if value is not None]
    if len(kinds) != 1:
        says = f"has {' and '.join(kinds)}" if kinds else "has none"
        message = f"{place(steps)} needs exactly one of from, sql and python, and {says}."
        yield draft.document.problem(steps, message, key=True)
    elif kinds != ["from"]:
        yield from _misplaced(draft, steps, model, LOW_CODE, f"a model with {kinds[0]}", "from")
    if model.python is None:
        yield from _misplaced(draft, steps, model, ("inputs",), "a model without python", "python")
    else:
        yield from _code(draft, [*steps, "python"], model.python)
    if draft.is_named:
        yield from _references(draft, steps, model)


def _misplaced(
    draft: Draft, steps: list[Step], model: Model, keys: tuple[str, ...], where: str, belongs: str
) -> Iterator[Problem]:
    for key in keys:
        if key in model.model_fields_set:
            message = f"{place([*steps, key])} does not apply to {where}."
            yield draft.document.problem([*steps, key], message, f"It belongs to a model with {belongs}.", key=True)


def _references(draft: Draft, steps: list[Step], model: Model) -> Iterator[Problem]:
    places: list[tuple[list[Step], str]] = []
    if model.from_ is not None:
        places.append(([*steps, "from"], model.from_))
    places += [([*steps, "join", index, "from"], step.from_) for index, step in enumerate(model.join)]
    places += [([*steps, "lookup", index, "from"], step.from_) for index, step in enumerate(model.lookup)]
    places += [([*steps, "inputs", index], name) for index, name in enumerate(model.inputs)]
    for path, name in places:
        if not _exists(draft, name):
            message = f"{place(path)}: there is no source or model {name}."
            yield draft.document.problem(path, message, _nearest_address(draft, name))


def _exists(draft: Draft, name: str) -> bool:
    sources = draft.sources or {}
    owner = name.partition(".")[0]
    # The tables of a source of the wrong shape are not known.
    is_unknown = owner in sources and sources[owner] is None
    return is_unknown or name in draft.addresses()


def _nearest_address(draft: Draft, name: str) -> str | None:
    owner, _, table = name.partition(".")
    source = (draft.sources or {}).get(owner)
    if source is None:
        return did_you_mean(name, draft.addresses())
    if not source.tables:
        return f"The source {owner} has no tables: write {owner}."
    near = did_you_mean(name, {f"{owner}.{each}" for each in source.tables}) if table else None
    return near or f"Write {one_of(f'{owner}.{each}' for each in source.tables[:8])}."


def _code(draft: Draft, steps: list[Step], reference: str) -> Iterator[Problem]:
    match = _CODE.fullmatch(reference)
    if match is None:
        message = f"{place(steps)}: {reference!r} does not name a function."
        yield draft.document.problem(steps, message, "Write path/to/file.py:function.")
        return
    before = list(_file(draft, steps, match["file"]))
    yield from before or _function(draft, steps, match["file"], match["function"])


def _function(draft: Draft, steps: list[Step], file: str, function: str) -> Iterator[Problem]:
    try:
        with (draft.folder / file).open("rb") as stream, warnings.catch_warnings(action="ignore"):
            tree = ast.parse(stream.read(_CODE_BYTES_MAX))
    except SyntaxError as error:
        message = f"Not valid Python: {error.msg}."
        yield Problem(file, max(error.lineno or 1, 1), max(error.offset or 1, 1), message)
        return
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        yield draft.document.problem(steps, f"{place(steps)}: {file} cannot be read ({type(error).__name__}).")
        return
    names = {name for statement in tree.body for name in _bound(statement)}
    if function not in names:
        message = f"{place(steps)}: {file} has no function {function}."
        yield draft.document.problem(steps, message, did_you_mean(function, names))


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement at the top of a file binds."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign):
        yield from (target.id for target in statement.targets if isinstance(target, ast.Name))
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in statement.names)


def _cycle(draft: Draft) -> Iterator[Problem]:
    models: Mapping[str, Model | None] = draft.models or {}
    # A name that is a source as well has a problem of its own.
    only_models = models.keys() - (draft.sources or {}).keys()
    edges = {
        name: [other for other in model_inputs(model) if other in only_models]
        for name, model in models.items()
        if model is not None
    }
    cycle = find_cycle(edges)
    if cycle is not None:
        hint = "Cut one of these references."
        yield draft.document.problem(["models", cycle[0]], cycle_sentence(cycle), hint, key=True)


def _port(draft: Draft, name: str, port: Port) -> Iterator[Problem]:
    steps: list[Step] = ["ports", name]
    yield from _file(draft, [*steps, "contract"], port.contract)
    if draft.models is None or port.model in draft.models:
        return
    message = f"{place([*steps, 'model'])}: there is no model {port.model}."
    hint = did_you_mean(port.model, draft.models)
    if port.model.partition(".")[0] in (draft.sources or {}):
        hint = f"A port shows a model: make one with from: {port.model}."
    yield draft.document.problem([*steps, "model"], message, hint)

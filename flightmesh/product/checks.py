"""What the shape of a manifest cannot say: names, references, files and ports that fit together.

Every check yields problems and none stops another. Files are looked for and their names compared; only a Python model's
file is parsed, to find the function, and nothing is ever executed.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Mapping

from flightmesh.errors import FlightmeshError
from flightmesh.names import ProductName, did_you_mean, is_plain
from flightmesh.product.contract import DataContract
from flightmesh.product.document import Step
from flightmesh.product.draft import Draft
from flightmesh.product.graph import appended, cycle_sentence, find_cycle, model_inputs
from flightmesh.product.inactive import ACTIVE_SOURCES
from flightmesh.product.model import Model, Port, Union
from flightmesh.product.paths import file_problems
from flightmesh.product.problems import Problem
from flightmesh.product.source_checks import check_source, is_listed_at_build
from flightmesh.product.words import one_of, place

LOW_CODE = (
    "union",
    "keep",
    "cast",
    "filter",
    "derive",
    "dedupe",
    "latest",
    "unpivot",
    "join",
    "lookup",
    "window",
    "rank",
    "aggregate",
    "pivot",
)

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
            yield from check_source(draft, name, source)
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
    at: list[Step] = ["union", "from"] if isinstance(model.union, Union) else ["union"]
    places += [([*steps, *at, index], name) for index, name in enumerate(appended(model))]
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
    if owner not in sources:
        return name in draft.addresses()
    source = sources[owner]
    # The tables of a source of the wrong shape are not known, those of a database without tables: only to itself.
    is_unknown = source is None or (is_listed_at_build(source) and name != owner)
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
    before = list(file_problems(draft, steps, match["file"]))
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
    yield from file_problems(draft, [*steps, "contract"], port.contract)
    if draft.models is None or port.model in draft.models:
        return
    message = f"{place([*steps, 'model'])}: there is no model {port.model}."
    hint = did_you_mean(port.model, draft.models)
    if port.model.partition(".")[0] in (draft.sources or {}):
        hint = f"A port shows a model: make one with from: {port.model}."
    yield draft.document.problem([*steps, "model"], message, hint)

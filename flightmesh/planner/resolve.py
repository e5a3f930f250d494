"""Second stage: every relation of a statement to the one public name it means.

Names resolve as DuckDB will resolve them, but a name that could mean two ports is refused instead of taking the
first. What the namespace does not hold does not exist: the answer and its hint are the same for a hidden name and for
a name nobody ever used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flightmesh.engine.base import Temporary
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import fold, nearest, quote
from flightmesh.planner.scope import PUBLIC, Scope, path_of
from flightmesh.planner.statement import Statement
from flightmesh.sql.gate import RelationRef, position

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Namespace:
    """The relations one reader may name, as full paths, and why some products cannot be read now.

    ``is_strict`` takes full paths only; otherwise a trailing part of a path is enough when it fits one path alone.
    """

    paths: tuple[Path, ...]
    unavailable: Mapping[Path, str] = field(default_factory=dict)
    is_strict: bool = False


@dataclass(frozen=True, slots=True)
class Resolved:
    """A statement with the full path of each relation that it reads, and the search path that gives short names this
    meaning. ``temporaries`` are the session's own tables among them; of a question to the catalogue, all of them.
    """

    statement: Statement
    relations: tuple[Path, ...]
    search_path: tuple[str, ...]
    temporaries: tuple[Temporary, ...] = ()


def resolve(statement: Statement, namespace: Namespace, scope: Scope = PUBLIC) -> Resolved:
    """The statement with its relations found; NOT_FOUND, INVALID (ambiguous) or UNAVAILABLE for the first not."""
    survey = statement.survey
    default: Path = tuple(part for part in (scope.catalog, scope.schema) if part is not None)
    own: dict[str, Temporary] = {}
    search: list[Path] = [default if len(default) == 2 else (*default, "main")] if scope.catalog else []

    def found(reference: RelationRef) -> Path:
        table = scope.temporary(reference.path)
        if table is not None:
            own[table.name] = table
            return path_of(table)
        path = _find(statement, reference, namespace, default)
        if len(reference.path) < len(path):
            search.append(path[:-1])
        return path

    relations = tuple(map(found, survey.relations))
    for reference in survey.described:
        found(reference)
    # What a name means by default comes first, as it does in _find.
    search.sort(key=lambda path: path[: len(default)] != default)
    names = dict.fromkeys(".".join(map(quote, path)) for path in search)
    temporaries = scope.temporaries.values() if statement.is_catalogue else own.values()
    return Resolved(statement, relations, tuple(names), tuple(temporaries))


def _find(statement: Statement, reference: RelationRef, namespace: Namespace, default: Path) -> Path:
    written = tuple(map(fold, reference.path))
    found = [path for path in namespace.paths if _means(written, path, namespace.is_strict)]
    if len(found) > 1:
        preferred = [path for path in found if path[: len(default)] == default]
        found = preferred if default and len(preferred) == 1 else found
    if len(found) == 1:
        return found[0]
    shown, where = ".".join(reference.path), position(statement.text, reference.offset)
    if found:
        raise FlightmeshError(
            ErrorCode.INVALID,
            f"The name {shown} means several tables{where}.",
            hint=f"Write {'.'.join(found[0])}, for example.",
        )
    for product, reason in namespace.unavailable.items():
        if len(written) >= len(product) and written[: len(product)] == product:
            raise FlightmeshError(ErrorCode.UNAVAILABLE, f"The product {'.'.join(product)} is not available: {reason}")
    raise not_found(shown, namespace, where)


def not_found(shown: str, namespace: Namespace, where: str = "") -> FlightmeshError:
    """The answer for a name that the namespace does not hold."""
    known = [".".join(path) for path in namespace.paths]
    close = nearest(shown, known) or nearest(shown.rpartition(".")[2], [path[-1] for path in namespace.paths])
    # A short name is shown in full, so that the hint can be pasted.
    full = next((name for name in known if close is not None and (name == close or name.endswith("." + close))), None)
    hint = f"Did you mean {full}?" if full else "The catalogue lists what you may read."
    return FlightmeshError(ErrorCode.NOT_FOUND, f"There is no table {shown[:200]}{where}.", hint=hint)


def _means(written: Path, path: Path, is_strict: bool) -> bool:
    folded = tuple(map(fold, path))
    return written == folded or (not is_strict and len(written) < len(path) and folded[-len(written) :] == written)

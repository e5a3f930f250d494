"""What is wrong with the files of a product, and where: the values that ``check`` prints and that refuse a product."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flightmesh.errors import ErrorCode, FlightmeshError


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or worth knowing, at one place of one file.

    ``file`` is relative to the product's folder; ``line`` and ``column`` count from 1.
    """

    file: str
    line: int
    column: int
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}:{self.column}: {self.message}"
        return f"{text} {self.hint}" if self.hint else text


class ProductProblems(FlightmeshError):  # noqa: N818 -- it is a list of problems; the family name is on its base
    """A product that cannot be served. INVALID, with every problem of every file, sorted by place."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = in_order(problems)
        count = len(self.problems)
        first = f" First: {self.problems[0]}" if self.problems else ""
        super().__init__(ErrorCode.INVALID, f"The product has {count} problem{'' if count == 1 else 's'}.{first}")

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))

    def __reduce__(self) -> tuple[object, ...]:
        return (ProductProblems, (self.problems,))


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """The problems without repetitions, by place: the manifest first, then the other files by name."""
    return tuple(sorted(dict.fromkeys(problems), key=_place))


def _place(problem: Problem) -> tuple[bool, str, int, int]:
    return (problem.file != "product.yaml", problem.file, problem.line, problem.column)

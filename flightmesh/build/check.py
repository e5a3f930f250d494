"""``check``: everything that can be said about a product's folder without reading its data, all at once and with
places.

The manifest and contracts are read, source schemas taken, every SQL model bound on empty tables, every Python model
run on empty frames for its schema, and the contracts compared with what comes out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from flightmesh.build.filters import policy_problems
from flightmesh.build.lowcode import LowCodeFaults
from flightmesh.build.models import PLACE, Making, Relation, as_sql, load, make_model, reads_of
from flightmesh.build.pipeline import BuildBounds
from flightmesh.catalog.snapshot import DataColumn
from flightmesh.engine.workshop import Workshop
from flightmesh.errors import FlightmeshError
from flightmesh.names import RESERVED_DOMAINS
from flightmesh.product.contract import DataContract, compare
from flightmesh.product.document import Document, Mark, Step
from flightmesh.product.graph import cycle_sentence, find_cycle, order
from flightmesh.product.manifest import examine
from flightmesh.product.model import DataProduct
from flightmesh.product.problems import Problem, in_order
from flightmesh.sources.base import SourceTable
from flightmesh.sources.kinds import open_source


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What is wrong, what is worth knowing, and the columns of each port whose model can be made.

    ``product`` is None when the manifest does not tell its name.
    """

    product: str | None
    problems: tuple[Problem, ...]
    notices: tuple[Problem, ...]
    ports: Mapping[str, tuple[DataColumn, ...]]


def check_product(folder: Path, *, bounds: BuildBounds | None = None) -> CheckReport:
    """The report on the product in the folder. Never raises for what its authors wrote."""
    found = examine(folder)
    if found.product is None or found.document is None:
        return CheckReport(None, found.problems, found.notices, {})
    with (
        TemporaryDirectory(prefix="flightmesh-check-") as scratch,
        Workshop((bounds or BuildBounds()).workshop) as shop,
    ):
        check = _Check(
            folder, found.product, found.document, found.problems, shop, Path(scratch), bounds or BuildBounds()
        )
        check.sources()
        check.models()
        ports = check.ports(found.contracts)
    # What the manifest's own checks found at a place is not told again in other words.
    told = {(problem.file, problem.line, problem.column) for problem in found.problems}
    more = [p for p in check.problems if (p.file, p.line, p.column) not in told]
    return CheckReport(found.product.product, in_order([*found.problems, *more]), found.notices, ports)


class _Check:
    """One check: a workshop in memory, the relations that exist in it so far, and the problems found."""

    def __init__(
        self,
        folder: Path,
        product: DataProduct,
        document: Document,
        told: Collection[Problem],
        workshop: Workshop,
        scratch: Path,
        bounds: BuildBounds,
    ) -> None:
        self.product = product
        self.document = document
        self.told = {Mark(problem.line, problem.column) for problem in told if problem.file == document.file}
        self.told_files = {problem.file for problem in told} - {document.file}
        self.workshop = workshop
        self.folder = folder
        self.scratch = scratch
        self.bounds = bounds
        self.problems: list[Problem] = []
        self.offered: list[Relation] = []
        self.made: set[Relation] = set()

    def sources(self) -> None:
        """An empty table for each table of each source that can be opened."""
        for name, source in self.product.sources.items():
            offered: list[Relation] = [(name, table) for table in source.tables] or [(name,)]
            if self.is_told("sources", name):
                self.offered += offered
                continue
            if name in RESERVED_DOMAINS:
                self.report(["sources", name], f"The source name {name} is reserved.", "Choose another.")
                continue
            try:
                tables = open_source(self.folder, name, source).tables
            except FlightmeshError as error:
                self.report(["sources", name], error.message, error.hint)
                self.offered += offered
                continue
            for path, table in tables.items():
                self.offered.append(path)
                self.source_table(path, table)

    def source_table(self, path: Relation, table: SourceTable) -> None:
        try:
            load(self.workshop, path, pa.RecordBatchReader.from_batches(table.schema(), []))
            self.made.add(path)
        except FlightmeshError as error:
            self.report(["sources", path[0]], error.message, error.hint)

    def models(self) -> None:
        """Every model whose inputs could be made, in order."""
        reads = {}
        for name, model in self.product.models.items():
            if self.is_told("models", name) or (model.python or "").rpartition(":")[0] in self.told_files:
                continue
            try:
                reads[name] = reads_of(self.product, name, self.offered, limits=self.bounds.limits)
            except FlightmeshError as error:
                self.model_error(name, error)
        edges = {name: [path[0] for path in paths if (path[0],) == path] for name, paths in reads.items()}
        cycle = find_cycle({name: [other for other in edges[name] if other in reads] for name in reads})
        while cycle is not None:
            self.report(["models", cycle[0]], cycle_sentence(cycle), "Cut one of these references.")
            for name in cycle:
                reads.pop(name, None)
            cycle = find_cycle({name: [other for other in edges[name] if other in reads] for name in reads})
        for name in order(reads, edges):
            if all(path in self.made for path in reads[name]):
                self.model(name)

    def model(self, name: str) -> None:
        making = self.making()
        try:
            make_model(making, name, is_table=False)
            self.made.add((name,))
        except LowCodeFaults as faults:
            for fault in faults.faults:
                self.report(["models", name, *fault.steps], fault.message, fault.hint)
        except FlightmeshError as error:
            self.model_error(name, error)

    def making(self) -> Making:
        relations = [*self.offered, *((name,) for name in self.product.models)]
        bounds = self.bounds
        return Making(
            self.workshop, self.folder, self.product, relations, self.scratch, bounds.limits, bounds.polars, is_dry=True
        )

    def ports(self, contracts: Mapping[str, DataContract]) -> dict[str, tuple[DataColumn, ...]]:
        """The columns of the ports, compared with their contracts."""
        found = {}
        for name, port in self.product.ports.items():
            if (port.model,) in self.made:
                columns = self.workshop.columns((port.model,))
                found[name] = tuple(DataColumn(column, sql_type) for column, sql_type in columns)
                if name in contracts:
                    self.problems += compare(contracts[name], columns)
        self.problems += policy_problems(self.product, self.document, found, contracts, limits=self.bounds.limits)
        return found

    def model_error(self, name: str, error: FlightmeshError) -> None:
        """The error at the place in product.yaml that the place in the SQL stands for."""
        place = PLACE.search(error.message)
        message = PLACE.sub("", error.message).removeprefix(f"Model {name}: ")
        model = self.product.models[name]
        if place is None or model.python is not None:
            self.report(
                ["models", name, *(["python"] if model.python else ["sql"] if model.sql else [])], message, error.hint
            )
        elif model.sql is not None:
            self.report_in_text(["models", name, "sql"], int(place[1]), int(place[2]), message, error.hint)
        else:
            places = as_sql(self.making(), name).places
            steps = places[min(int(place[1]), len(places)) - 1]
            self.report(["models", name, *steps], message, error.hint)

    def report_in_text(self, path: list[Step], line: int, column: int, message: str, hint: str | None) -> None:
        """A problem inside a text: in a block (``|``) lines are lines of the file, behind its indentation."""
        mark = self.document.mark(path)
        lines = (self.folder / self.document.file).read_text().splitlines()
        opening = lines[mark.line - 1][mark.column - 1 :]
        text = self.document.text(path) or ""
        if opening.startswith("|"):
            indent = _indent(lines[mark.line :]) - _indent(text.splitlines())
            self.problems.append(Problem(self.document.file, mark.line + line, indent + column, message, hint))
        elif line == 1 and not opening.startswith(">"):
            quoted = opening[:1] in ("'", '"')
            self.problems.append(
                Problem(self.document.file, mark.line, mark.column + quoted + column - 1, message, hint)
            )
        else:
            self.report(path, message, hint)

    def is_told(self, section: str, name: str) -> bool:
        """Whether the manifest's own checks found something wrong with this source or model: what is built on it
        would be told in other words, or cannot be tried at all.
        """
        return not self.told.isdisjoint(self.document.marks([section, name]))

    def report(self, path: list[Step], message: str, hint: str | None) -> None:
        self.problems.append(self.document.problem(path, message, hint))


def _indent(lines: Iterable[str]) -> int:
    """The spaces before the first line that is not empty."""
    first = next((line for line in lines if line.strip()), "")
    return len(first) - len(first.lstrip(" "))

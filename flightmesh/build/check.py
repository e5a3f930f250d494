"""``check``: everything that can be said about a product's folder without reading its data, all at once and with
places.

The manifest and contracts are read, source schemas taken, every SQL model bound on empty tables, every Python model
run on empty frames for its schema, and the contracts compared with what comes out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from flightmesh.build.filters import policy_problems
from flightmesh.build.lowcode import LowCode, LowCodeFaults
from flightmesh.build.models import PLACE, Making, as_sql, load, make_model, reads_of, shape, written_in
from flightmesh.build.pipeline import BuildBounds
from flightmesh.catalog.snapshot import DataColumn, Relation
from flightmesh.engine.workshop import Workshop
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import RESERVED_DOMAINS, fold
from flightmesh.product.contract import DataContract, compare
from flightmesh.product.document import Document, Mark, Step
from flightmesh.product.graph import cycle_sentence, find_cycle, order
from flightmesh.product.manifest import examine
from flightmesh.product.model import DataProduct
from flightmesh.product.problems import Problem, in_order
from flightmesh.sources.base import SourceTable
from flightmesh.sources.registry import SourceRef


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What is wrong, what is worth knowing, the columns of each port whose model can be made, and the SQL of each
    low-code model that can be made.

    ``product`` is None when the manifest does not tell its name.
    """

    product: str | None
    problems: tuple[Problem, ...]
    notices: tuple[Problem, ...]
    ports: Mapping[str, tuple[DataColumn, ...]]
    sql: Mapping[str, str] = field(default_factory=dict)


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
    return CheckReport(found.product.product, in_order([*found.problems, *more]), found.notices, ports, check.sql)


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
        # Sources whose tables are not all known: what is built on them is not told of once more.
        self.unread: set[str] = set()
        self.sql: dict[str, str] = {}
        self.live: set[str] = set()

    def sources(self) -> None:
        """An empty table for each table of each source that can be opened."""
        for name, source in self.product.sources.items():
            offered: list[Relation] = [(name, table) for table in source.tables] or [(name,)]
            if self.is_told("sources", name):
                self.unread.add(fold(name))
                self.offered += offered
                continue
            if name in RESERVED_DOMAINS:
                self.report(["sources", name], f"The source name {name} is reserved.", "Choose another.")
                continue
            try:
                tables = self.bounds.sources.open(SourceRef(self.product.product, name, self.folder, source)).tables
                found = dict(tables)
            except FlightmeshError as error:
                self.report(["sources", name], error.message, error.hint)
                self.unread.add(fold(name))
                self.offered += offered
                continue
            for path, table in found.items():
                self.offered.append(path)
                if not self.source_table(path, table):
                    self.unread.add(fold(name))
                    break  # A source that cannot be reached is told of once, and waited for once.

    def source_table(self, path: Relation, table: SourceTable) -> bool:
        """Whether the table's columns could be taken, or are wrong in a way of this table alone."""
        try:
            if self.product.sources[path[0]].mode == "live":
                shape(self.workshop, path, table.schema())
            else:
                load(self.workshop, path, pa.RecordBatchReader.from_batches(table.schema(), []))
            self.made.add(path)
        except FlightmeshError as error:
            self.report(["sources", path[0]], error.message, error.hint)
            return error.code is ErrorCode.INVALID
        return True

    def models(self) -> None:
        """Every model whose inputs could be made, in order."""
        reads = {}
        for name, model in self.product.models.items():
            if self.is_told("models", name) or (model.python or "").rpartition(":")[0] in self.told_files:
                continue
            try:
                written = written_in(self.product, name, limits=self.bounds.limits)
                if any(fold(path[0]) in self.unread for path in written):
                    continue
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
            if any(self.is_live(path) for path in reads[name]):
                self.live.add(name)
            if all(path in self.made for path in reads[name]):
                self.model(name)

    def model(self, name: str) -> None:
        making = self.making()
        try:
            make_model(making, name, is_table=False)
            self.made.add((name,))
            if self.product.models[name].from_ is not None:
                self.sql[name] = _shown(as_sql(making, name, is_live=name in self.live))
        except LowCodeFaults as faults:
            for fault in faults.faults:
                self.report(["models", name, *fault.steps], fault.message, fault.hint)
        except FlightmeshError as error:
            self.model_error(name, error)

    def is_live(self, path: Relation) -> bool:
        """Whether the relation is a table of a live source, or a model over one."""
        source = self.product.sources.get(path[0])
        return path[0] in self.live if source is None else source.mode == "live"

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


def _shown(text: LowCode) -> str:
    """The model's SQL, and that which finds what its look-ups cannot."""
    checks = (f"\n-- Keys without exactly one match in {each.relation}:\n{each.sql}" for each in text.lookups)
    return text.sql + "".join(checks)


def _indent(lines: Iterable[str]) -> int:
    """The spaces before the first line that is not empty."""
    first = next((line for line in lines if line.strip()), "")
    return len(first) - len(first.lstrip(" "))

"""``init``: from files, a database or a contract to the folder of a product that passes ``check`` and can be served.

Everything is made in a folder aside and moved into place at the end: what fails leaves nothing behind.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from flightmesh.build.check import check_product
from flightmesh.build.models import Making, make_model
from flightmesh.build.pipeline import BuildBounds
from flightmesh.build.proposal.contracts import contract_text, wide_columns, wide_text
from flightmesh.build.proposal.facts import Table, Wide, words
from flightmesh.build.proposal.given import Promise, promised, read_promises, template
from flightmesh.build.proposal.inputs import DATA, TABLES_MAX, Gathered, Input, gather, secrets_of, stem_of
from flightmesh.build.proposal.keys import with_key, with_links
from flightmesh.build.proposal.manifest import About, contract_file, manifest_text
from flightmesh.build.proposal.naming import free_name, plain_name
from flightmesh.build.proposal.reading import Bench, described, read_table
from flightmesh.build.proposal.readme import readme_text, variables
from flightmesh.build.proposal.texts import with_exact_types
from flightmesh.build.proposal.wide import wide_of
from flightmesh.catalog.snapshot import Relation
from flightmesh.engine.workshop import Workshop
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import ProductName
from flightmesh.product.manifest import MANIFEST, examine
from flightmesh.product.problems import ProductProblems
from flightmesh.sources.base import ForeignKey, SourceTable
from flightmesh.sources.registry import Sources

README = "README.md"

# As a folder made by hand; mkdtemp makes its own for one user alone.
_FOLDER_MODE = 0o755


@dataclass(frozen=True, slots=True)
class PortReport:
    """A port of the new product. ``rows`` are those that were read: all of them when ``is_whole``."""

    name: str
    rows: int
    is_whole: bool
    columns: int
    key: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class PersonalReport:
    """A column that probably tells of persons, and why."""

    port: str
    column: str
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class InitReport:
    """What was drawn up. ``variables`` are those that the server needs; ``notes`` what was left out or decided.

    ``masked`` says whether the author accepted the proposed mask.
    """

    product: str
    folder: Path
    ports: tuple[PortReport, ...]
    wide: str | None
    personal: tuple[PersonalReport, ...]
    masked: bool
    variables: tuple[str, ...]
    notes: tuple[str, ...]


Accepts = Callable[[Sequence[PersonalReport]], bool]


def init_product(
    folder: Path,
    sources: Sequence[str],
    name: str,
    *,
    progress: Callable[[str], None] = lambda _text: None,
    bounds: BuildBounds | None = None,
    about: About | None = None,
    accepts: Accepts = lambda _found: False,
) -> InitReport:
    """Draws up a product in a folder that does not exist or is empty. ``accepts`` decides on the proposed masks.

    Errors: INVALID for a folder that holds something, for names and sources that are none; what the sources raise.
    """
    product = ProductName.parse(name)
    if not sources:
        raise FlightmeshError(ErrorCode.INVALID, "There is nothing to start from.", hint="Name a source with --from.")
    with _made_aside(folder) as aside, ExitStack() as closing:
        progress("collecting sources")
        gathered = gather(sources, aside)
        limited = bounds or BuildBounds()
        opened = Sources(secrets_of(gathered.inputs))
        closing.callback(opened.close)
        limited = replace(limited, sources=opened)
        scratch = closing.enter_context(tempfile.TemporaryDirectory(prefix="flightmesh-init-"))
        workshop = closing.enter_context(Workshop(limited.workshop, spill=Path(scratch) / "spill"))
        drawing = _Drawing(product, aside, Bench(workshop, limited.limits), progress)
        drawing.read(gathered)
        return _write(drawing, folder, limited, about or About(), accepts, Path(scratch))


@dataclass(slots=True)
class _Drawing:
    """A product under way: what has been read so far. ``given`` are contracts that came with the sources,
    ``empty`` the files made for those without a source."""

    product: ProductName
    folder: Path
    bench: Bench
    progress: Callable[[str], None]
    inputs: list[Input] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    declared: dict[Relation, Sequence[ForeignKey]] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)

    def read(self, gathered: Gathered) -> None:
        """Reads all tables, finds their keys and links, and puts those of a contract under it."""
        promises = read_promises(gathered.contracts, self.bench)
        taken = {each.name for each in gathered.inputs}
        for each in gathered.inputs:
            self.source(each, taken)
        self.tables = list(with_links(self.bench, self.tables, self.declared))
        for promise in promises:
            self.promise(promise, taken)
        if self.empty:
            files = f"{self.empty[0]} holds" if len(self.empty) == 1 else f"{len(self.empty)} files below {DATA}/ hold"
            self.notes.append(f"{files} the header alone: put rows below it.")
        if not self.tables:
            raise FlightmeshError(ErrorCode.INVALID, "The sources hold no table.", hint=" ".join(self.notes) or None)

    def source(self, given: Input, taken: Collection[str]) -> None:
        """Reads the tables of one source. A table of a database that cannot be served is left out, with a note."""
        given = with_exact_types(given, self.folder)
        if "null_values" in given.spec:
            listed = words(repr(word) for word in given.spec["null_values"] if word)  # type: ignore[attr-defined]
            self.notes.append(f"In {given.origin}, {listed} was taken for no value in every column.")
        handle = given.opened(self.folder)
        try:
            paths = list(handle.tables)
            if len(paths) > TABLES_MAX:
                last = paths[TABLES_MAX - 1][-1]
                self.notes.append(f"{given.origin} has {len(paths)} tables; those after {last} are left out.")
            kept = [path for path in paths[:TABLES_MAX] if self.table(given, path, handle.tables[path], taken)]
        finally:
            handle.close()
        if not kept:
            self.notes.append(f"{given.origin} holds no table.")
        else:
            self.inputs.append(given.naming("tables", [path[-1] for path in kept if len(path) > 1]))

    def table(self, given: Input, path: Relation, table: SourceTable, taken: Collection[str]) -> bool:
        """Reads one table; whether it becomes a port."""
        is_named = len(path) > 1
        title = path[-1] if is_named else stem_of(Path(given.origin))
        if given.spec["type"] == "flightsql":
            title = title.rpartition(".")[2] or title  # Such servers name tables by catalogue and schema as well.
        self.progress(f"reading {given.origin}" + (f": {title}" if is_named else ""))
        port = free_name(plain_name(title, "table"), {*taken, *(other.port for other in self.tables)})
        try:
            known = described(table)
            read = read_table(self.bench, port, title, path, table, known, is_live=given.is_live)
        except FlightmeshError as error:
            if not is_named or error.code not in (ErrorCode.INVALID, ErrorCode.UNSUPPORTED):
                raise
            self.notes.append(f"The table {title} of {given.origin} is left out: {error.message}")
            return False
        self.tables.append(with_key(self.bench, read))
        self.declared[path] = known.foreign_keys
        return True

    def promise(self, promise: Promise, taken: set[str]) -> None:
        """Puts the table that the contract describes under it; without such a table, a file to be filled."""
        wanted = {plain_name(name, "table") for name in (promise.table, promise.physical) if name}
        index = next((i for i, t in enumerate(self.tables) if t.port in wanted and t.port not in self.given), None)
        if index is None:
            ports = {*taken, *(other.port for other in self.tables)}
            source, table, text = template(promise, self.folder, ports, self.product)
            ((path, opened),) = source.opened(self.folder).tables.items()
            self.bench.load(path, opened, is_live=False)
            taken.add(source.name)
            self.inputs.append(source)
            self.tables.append(table)
            self.empty.append(str(source.spec["path"]))
        else:
            table, text = promised(promise, self.tables[index], self.product)
            self.tables[index] = table
            self.tables = [_without_lost_links(each, table) for each in self.tables]
        self.given[table.port] = text


def _without_lost_links(table: Table, target: Table) -> Table:
    """The table without links to columns that the target no longer has."""
    kept = tuple(n for n in table.links if n.port != target.port or set(n.referenced) <= set(target.names))
    return replace(table, links=kept, near=tuple(n for n in table.near if n.port != target.port))


def _write(
    drawing: _Drawing, folder: Path, bounds: BuildBounds, about: About, accepts: Accepts, scratch: Path
) -> InitReport:
    """Writes the files of the product, and checks them."""
    tables, aside, product = drawing.tables, drawing.folder, drawing.product
    wide = wide_of(tables, [*(table.port for table in tables), *(each.name for each in drawing.inputs)])
    personal = tuple(_personal(tables))
    masked = bool(personal) and accepts(personal)
    manifest = manifest_text(product, about, drawing.inputs, tables, wide, is_accepted=masked)
    (aside / MANIFEST).write_text(manifest, encoding="utf-8")
    drawing.progress("making models")
    columns = _model_columns(drawing, bounds, scratch)
    (aside / "contracts").mkdir()
    by_port = {table.port: table for table in tables}
    for table in tables:
        text = drawing.given.get(table.port) or contract_text(
            product, table, dict(columns[table.port]), is_accepted=masked
        )
        (aside / contract_file(table.port)).write_text(text, encoding="utf-8")
    if wide is not None:
        found = wide_columns(wide, by_port, columns[wide.port])
        text = wide_text(product, wide, found, by_port[wide.fact], is_accepted=masked)
        (aside / contract_file(wide.port)).write_text(text, encoding="utf-8")
    readme = readme_text(product, drawing.inputs, tables, wide, drawing.notes, is_accepted=masked)
    (aside / README).write_text(readme, encoding="utf-8")
    drawing.progress("checking")
    report = check_product(aside, bounds=bounds)
    if report.problems:
        raise ProductProblems(report.problems)
    return InitReport(
        str(product), folder, tuple(_ports(tables, wide, columns)), wide.port if wide else None, personal, masked,
        tuple(variables(drawing.inputs)), (*drawing.notes, *(wide.left_out if wide else ())),
    )  # fmt: skip


def _model_columns(drawing: _Drawing, bounds: BuildBounds, scratch: Path) -> dict[str, tuple[tuple[str, str], ...]]:
    """The columns of every model, each made over the rows that were read."""
    found = examine(drawing.folder)
    if found.product is None:
        raise ProductProblems(found.problems)
    workshop, models = drawing.bench.workshop, found.product.models
    relations = [*drawing.bench.relations, *((name,) for name in models)]
    making = Making(
        workshop, drawing.folder, found.product, relations, scratch, bounds.limits, bounds.polars, is_dry=True
    )
    for name in models:
        make_model(making, name, is_table=False)
    return {name: workshop.columns((name,)) for name in models}


def _personal(tables: Sequence[Table]) -> Iterator[PersonalReport]:
    for table in tables:
        for column in table.columns:
            if column.personal is not None:
                yield PersonalReport(table.port, column.name, column.personal.kind, column.personal.reason)


def _ports(
    tables: Sequence[Table], wide: Wide | None, columns: Mapping[str, Sequence[tuple[str, str]]]
) -> Iterator[PortReport]:
    for table in tables:
        yield PortReport(
            table.port, table.rows, table.is_whole, len(columns[table.port]), table.key, ".".join(table.source)
        )
    if wide is not None:
        fact = next(table for table in tables if table.port == wide.fact)
        yield PortReport(wide.port, fact.rows, fact.is_whole, len(columns[wide.port]), fact.key, wide.fact)


@contextmanager
def _made_aside(folder: Path) -> Iterator[Path]:
    """A folder beside the one that is wanted; moved there when the block ends well, removed when it does not."""
    target = folder.absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FlightmeshError(ErrorCode.INVALID, f"{folder} is not empty.", hint="Name a folder that is new or empty.")
    try:
        before = _missing(target.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise FlightmeshError(ErrorCode.UNAVAILABLE, f"{folder} cannot be written: {error.strerror}.") from error
    try:
        yield aside
        aside.chmod(_FOLDER_MODE)
        _move(aside, target)
        before = []
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        for parent in before:
            parent.rmdir()


def _missing(folder: Path) -> list[Path]:
    """The folder and those above it that do not exist, innermost first."""
    return [each for each in (folder, *folder.parents) if not each.exists()]


def _move(aside: Path, target: Path) -> None:
    """Puts the folder in its place; into an empty one file by file, since it may be somebody's working folder."""
    if not target.exists():
        aside.rename(target)
        return
    for each in sorted(aside.iterdir(), key=lambda path: path.name == MANIFEST):
        each.rename(target / each.name)

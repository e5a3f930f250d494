"""A product's build: from a loaded bundle to an immutable snapshot folder, made aside and moved into place whole.

Equal input gives the snapshot that is already there. What fails leaves nothing behind, and nothing of it is published.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from flightmesh.build.filters import policy_problems
from flightmesh.build.identity import bundle_id, code_id, snapshot_id, tools
from flightmesh.build.models import Making, Recipe, live_model, load, make_model, recipe, shape
from flightmesh.build.renewal import Renewal
from flightmesh.catalog.durable import move_whole, staging_folder, taken_away
from flightmesh.catalog.records import (
    DATABASE,
    RECORD,
    FileRecord,
    PortRecord,
    SnapshotRecord,
    encode_snapshot,
    product_snapshot,
    read_snapshot,
    snapshot_folder,
)
from flightmesh.catalog.snapshot import DataColumn, LivePart, LiveRelation, ProductSnapshot, Relation
from flightmesh.config import Limits
from flightmesh.engine.polars import PolarsBounds
from flightmesh.engine.workshop import Bounds, Workshop, export_parquet
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import RESERVED_DOMAINS, ProductName
from flightmesh.product.contract import DataContract, compare
from flightmesh.product.model import Bundle, DataProduct
from flightmesh.product.problems import Problem, ProductProblems
from flightmesh.sources.base import LiveTable, SourceTable
from flightmesh.sources.registry import SourceRef, Sources

# Called with the product's name and what is being done for it.
Progress = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class BuildBounds:
    """What building one product may use of the machine."""

    workshop: Bounds = field(default_factory=Bounds)
    polars: PolarsBounds = field(default_factory=PolarsBounds)
    limits: Limits = field(default_factory=Limits)
    sources: Sources = field(default_factory=Sources, compare=False)
    renewal: Renewal = field(default_factory=Renewal, compare=False)


class SourceFailed(FlightmeshError):  # noqa: N818 -- the family name is on its base
    """What went wrong with one source, named."""

    def __init__(self, source: str, error: FlightmeshError) -> None:
        self.source = source
        super().__init__(error.code, error.message, hint=error.hint)

    def __reduce__(self) -> tuple[object, ...]:
        return (SourceFailed, (self.source, FlightmeshError(self.code, self.message, hint=self.hint)))


@contextmanager
def _reading(source: str) -> Iterator[None]:
    try:
        yield
    except FlightmeshError as error:
        raise SourceFailed(source, error) from error


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the build of a product starts from, and the identity that follows from it.

    ``live`` are the columns of the live sources' tables that the recipe reads.
    """

    tables: Mapping[Relation, SourceTable]
    live: Mapping[Relation, LiveRelation]
    recipe: Recipe
    fingerprints: Mapping[str, str]
    code: str
    snapshot_id: str


@dataclass(frozen=True, slots=True)
class Work:
    """A build under way: the workshop, whose output is a file in the staging folder, and what to put into it."""

    bundle: Bundle
    inputs: Inputs
    workshop: Workshop
    making: Making
    folder: Path
    bounds: BuildBounds
    progress: Callable[[str], None]


def build_product(
    bundle: Bundle,
    *,
    state: Path,
    progress: Progress,
    bounds: BuildBounds | None = None,
    before: ProductSnapshot | None = None,
) -> ProductSnapshot:
    """The product's snapshot: the one that is there for this input, else a new one below ``state``.

    ``before`` is what was published last of the product; while its authors change nothing, columns that a live source
    has gained since are left out.

    Errors: INVALID or UNAVAILABLE for sources and models, ProductProblems where columns break a contract.
    """
    bounds = bounds or BuildBounds()
    name = ProductName.parse(bundle.product.product)
    inputs = take_inputs(bundle, bounds, before)
    folder = snapshot_folder(state, name, inputs.snapshot_id)
    record = read_snapshot(folder)
    if record is None:
        _build(bundle, inputs, folder, state, progress, bounds)
        record = read_snapshot(folder)
        assert record is not None
        bounds.renewal.done(str(name))
    else:
        progress(str(name), "snapshot is up to date")
    found = product_snapshot(name, bundle.product, bundle.contracts, folder, record, bundle_id(bundle))
    _check_ports(bundle, {port: data.columns for port, data in found.ports.items()}, bounds.limits)
    for port in record.ports:
        if port.parquet is not None:
            _check_required(bundle.contracts[port.name], port.name, port.nulls)
    # Equal content may lie in another folder now.
    live = None if found.live is None else replace(found.live, folder=bundle.folder)
    return replace(found, live=live)


def take_inputs(bundle: Bundle, bounds: BuildBounds, before: ProductSnapshot | None = None) -> Inputs:
    """The opened sources, the recipe, and the fingerprints of what the recipe reads."""
    product = bundle.product
    tables = open_sources(bundle.folder, product, bounds.sources)
    is_live = {name for name, source in product.sources.items() if source.mode == "live"}
    live_tables = {path for path in tables if path[0] in is_live}
    made = recipe(product, tables, limits=bounds.limits, live_tables=live_tables)
    used = sorted(path for path in made.relations if path in tables)
    live, prints = {}, {}
    for path in used:
        with _reading(path[0]):
            if path in live_tables:
                found = _live_relation(bundle, path, tables[path], bounds.sources)
                live[path] = _as_published(found, path, bundle, before)
                prints[".".join(path)] = _live_print(live[path])
            else:
                prints[".".join(path)] = bounds.renewal.fingerprint(product, path, tables[path])
    code = code_id(bundle)
    return Inputs(tables, live, made, prints, code, snapshot_id(product, made, sources=prints, code=code))


def _live_relation(bundle: Bundle, path: Relation, table: SourceTable, sources: Sources) -> LiveRelation:
    spec = bundle.product.sources[path[0]]
    if not isinstance(table, LiveTable):
        hint = "Use mode: snapshot."
        raise FlightmeshError(ErrorCode.INVALID, f"Source {path[0]}: {spec.type} cannot be read live.", hint=hint)
    database = sources.open(SourceRef(bundle.product.product, path[0], bundle.folder, spec)).database
    if database is None:
        return LiveRelation(table.schema())
    return LiveRelation(table.schema(), database.dialect, database.relation(path), database.plain_columns(path))


def _as_published(found: LiveRelation, path: Relation, bundle: Bundle, before: ProductSnapshot | None) -> LiveRelation:
    """The table as it was published before, if all of its columns are still there; as it is found otherwise."""
    if before is None or before.live is None or before.bundle_id != bundle_id(bundle):
        return found
    published = before.live.tables.get(path)
    if published is None or not set(published.schema).issubset(found.schema):
        return found
    return replace(found, schema=published.schema)


def _live_print(table: LiveRelation) -> str:
    """Of a table that is read when it is queried only the columns are published."""
    names = json.dumps([table.dialect, table.remote, sorted(table.plain)]).encode()
    return "live:" + hashlib.sha256(names + table.schema.serialize()).hexdigest()


def open_sources(folder: Path, product: DataProduct, sources: Sources) -> dict[Relation, SourceTable]:
    """All tables of all sources by the path under which models name them."""
    tables: dict[Relation, SourceTable] = {}
    for name, source in product.sources.items():
        if name in RESERVED_DOMAINS:
            raise FlightmeshError(ErrorCode.INVALID, f"The source name {name} is reserved.", hint="Choose another.")
        with _reading(name):
            tables |= sources.open(SourceRef(product.product, name, folder, source)).tables
    return tables


def load_sources(work: Work) -> None:
    """Load what the models read, each table whole and in its order; of live ones the columns alone."""
    for path, table in work.inputs.tables.items():
        if path in work.inputs.recipe.relations:
            if path in work.inputs.live:
                shape(work.workshop, path, work.inputs.live[path].schema)
                continue
            work.progress(f"loading {'.'.join(path)}")
            with _reading(path[0]):
                load(work.workshop, path, table.read())
            if table.fingerprint() not in (None, work.inputs.fingerprints[".".join(path)]):
                raise FlightmeshError(
                    ErrorCode.UNAVAILABLE, f"{'.'.join(path)} changed while it was read.", hint="Reload."
                )


def make_models(work: Work) -> None:
    """Make the models in order."""
    made = work.inputs.recipe
    for name in made.order:
        if name in made.live:
            make_model(replace(work.making, is_dry=True), name, is_table=False)
        else:
            work.progress(f"building model {name}")
            make_model(work.making, name, is_table=name in made.tables)


def check_contracts(work: Work) -> None:
    """Compare contracts and policies with the models' columns, before anything is written."""
    ports = work.bundle.product.ports
    columns = {name: _columns(work.workshop, port.model) for name, port in ports.items()}
    _check_ports(work.bundle, columns, work.bounds.limits)


def write_ports(work: Work) -> None:
    """Write the ports' rows, and what live models need: one database, and one Parquet file per port."""
    live = _live_part(work)
    ports = [_write_port(work, name) for name in work.bundle.product.ports]
    work.workshop.finish()
    for record in ports:
        if record.parquet is not None:
            target = work.folder / record.parquet
            export_parquet(work.folder / DATABASE, table=record.table, target=target, bounds=work.bounds.workshop)
    written = [DATABASE, *(record.parquet for record in ports if record.parquet is not None)]
    snapshot = SnapshotRecord(
        work.bundle.product.product,
        work.inputs.snapshot_id,
        tuple(ports),
        tuple(_file(work.folder / name) for name in written),
        work.inputs.fingerprints,
        work.inputs.code,
        tools(),
        built_at=time.time(),
        live=live,
    )
    (work.folder / RECORD).write_bytes(encode_snapshot(snapshot))


def _write_port(work: Work, name: str) -> PortRecord:
    model = work.bundle.product.ports[name].model
    columns = _columns(work.workshop, model)
    if model in work.inputs.recipe.live:
        return PortRecord(name, model, None, columns, None, {})
    work.progress(f"writing port {name}")
    rows = work.workshop.keep((model,), name)
    nulls = work.workshop.nulls(name, [column.name for column in columns])
    return PortRecord(name, name, rows, columns, f"{name}.parquet", nulls)


def _live_part(work: Work) -> LivePart | None:
    """What is computed when it is read, with the rows that it needs written; None when nothing is."""
    made = work.inputs.recipe
    if not made.live:
        return None
    kept = {}
    for index, relation in enumerate(made.kept(work.inputs.live)):
        # No port has such a name.
        kept[relation] = f"kept {index}"
        work.progress(f"keeping {'.'.join(relation)}")
        work.workshop.keep(relation, kept[relation])
    models = tuple(live_model(work.making, name, made.reads[name]) for name in made.order if name in made.live)
    return LivePart(work.bundle.folder, work.inputs.live, models, kept, work.folder / DATABASE if kept else None)


STAGES: tuple[Callable[[Work], None], ...] = (load_sources, make_models, check_contracts, write_ports)


def _build(bundle: Bundle, inputs: Inputs, folder: Path, state: Path, progress: Progress, bounds: BuildBounds) -> None:
    """Run the stages in a staging folder and move the result into place."""
    name = bundle.product.product
    with ExitStack() as stack:
        staging, scratch = stack.enter_context(staging_folder(state)), stack.enter_context(staging_folder(state))
        workshop = stack.enter_context(Workshop(bounds.workshop, output=staging / DATABASE, spill=scratch / "spill"))
        relations = [*inputs.tables, *((model,) for model in inputs.recipe.order)]
        making = Making(
            workshop, bundle.folder, bundle.product, relations, scratch, bounds.limits, bounds.polars, is_dry=False
        )
        work = Work(bundle, inputs, workshop, making, staging, bounds, lambda text: progress(name, text))
        for stage in STAGES:
            stage(work)
        if folder.exists():
            # It is there and not whole: its files were changed after they were published.
            stack.enter_context(taken_away(folder, state))
        move_whole(staging, folder)


def _check_ports(bundle: Bundle, columns: Mapping[str, tuple[DataColumn, ...]], limits: Limits) -> None:
    problems: list[Problem] = []
    if bundle.document is not None:
        problems += policy_problems(bundle.product, bundle.document, columns, bundle.contracts, limits=limits)
    for port, contract in bundle.contracts.items():
        problems += compare(contract, [(column.name, column.sql_type) for column in columns[port]])
    if problems:
        raise ProductProblems(problems)


def _check_required(contract: DataContract, port: str, nulls: Mapping[str, int]) -> None:
    """Refuses a port with NULL in a column that its contract calls required: clients are told that there is none."""
    required = [column.name for column in contract.columns if column.required and nulls[column.name]]
    broken = [f"{name} ({nulls[name]} rows)" for name in required]
    if broken:
        raise FlightmeshError(
            ErrorCode.INVALID,
            f"Port {port} holds NULL in columns that its contract calls required: {', '.join(broken)}.",
            hint="Filter or fill them in the model, or let the contract say required: false.",
        )


def _columns(workshop: Workshop, model: str) -> tuple[DataColumn, ...]:
    return tuple(DataColumn(name, sql_type) for name, sql_type in workshop.columns((model,)))


def _file(path: Path) -> FileRecord:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return FileRecord(path.name, path.stat().st_size, digest)

"""A product's build: from a loaded bundle to an immutable snapshot folder, made aside and moved into place whole.

Equal input gives the snapshot that is already there. What fails leaves nothing behind, and nothing of it is published.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from flightmesh.build.filters import policy_problems
from flightmesh.build.identity import bundle_id, code_id, snapshot_id, tools
from flightmesh.build.models import Making, Recipe, Relation, load, make_model, recipe
from flightmesh.catalog.durable import move_whole, staging_folder, taken_away
from flightmesh.catalog.records import (
    DATABASE,
    RECORD,
    FileRecord,
    PortRecord,
    SnapshotRecord,
    encode_snapshot,
    port_data,
    read_snapshot,
    snapshot_folder,
)
from flightmesh.catalog.snapshot import DataColumn, ProductSnapshot
from flightmesh.config import Limits
from flightmesh.engine.polars import PolarsBounds
from flightmesh.engine.workshop import Bounds, Workshop, export_parquet
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import RESERVED_DOMAINS, ProductName
from flightmesh.product.contract import DataContract, compare
from flightmesh.product.model import Bundle, DataProduct
from flightmesh.product.problems import Problem, ProductProblems
from flightmesh.sources.base import SourceTable
from flightmesh.sources.kinds import open_source

# Called with the product's name and what is being done for it.
Progress = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class BuildBounds:
    """What building one product may use of the machine."""

    workshop: Bounds = field(default_factory=Bounds)
    polars: PolarsBounds = field(default_factory=PolarsBounds)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the build of a product starts from, and the identity that follows from it."""

    tables: Mapping[Relation, SourceTable]
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
    bundle: Bundle, *, state: Path, progress: Progress, bounds: BuildBounds | None = None
) -> ProductSnapshot:
    """The product's snapshot: the one that is there for this input, else a new one below ``state``.

    Errors: INVALID or UNAVAILABLE for sources and models, ProductProblems where columns break a contract.
    """
    bounds = bounds or BuildBounds()
    name = ProductName.parse(bundle.product.product)
    inputs = take_inputs(bundle, bounds.limits)
    folder = snapshot_folder(state, name, inputs.snapshot_id)
    record = read_snapshot(folder)
    if record is None:
        _build(bundle, inputs, folder, state, progress, bounds)
        record = read_snapshot(folder)
        assert record is not None
    else:
        progress(str(name), "snapshot is up to date")
    ports = port_data(folder, record)
    _check_ports(bundle, {port: data.columns for port, data in ports.items()}, bounds.limits)
    for port in record.ports:
        _check_required(bundle.contracts[port.name], port.name, port.nulls)
    return ProductSnapshot(name, bundle.product, bundle.contracts, ports, inputs.snapshot_id, bundle_id(bundle))


def take_inputs(bundle: Bundle, limits: Limits) -> Inputs:
    """The opened sources, the recipe, and the fingerprints of what the recipe reads."""
    tables = open_sources(bundle.folder, bundle.product)
    made = recipe(bundle.product, tables, limits=limits)
    prints = {".".join(path): tables[path].fingerprint() for path in sorted(made.relations) if path in tables}
    code = code_id(bundle)
    return Inputs(tables, made, prints, code, snapshot_id(bundle.product, made, sources=prints, code=code))


def open_sources(folder: Path, product: DataProduct) -> dict[Relation, SourceTable]:
    """All tables of all sources by the path under which models name them."""
    tables: dict[Relation, SourceTable] = {}
    for name, source in product.sources.items():
        if name in RESERVED_DOMAINS:
            raise FlightmeshError(ErrorCode.INVALID, f"The source name {name} is reserved.", hint="Choose another.")
        tables |= open_source(folder, name, source).tables
    return tables


def load_sources(work: Work) -> None:
    """Load what the models read, each table whole and in its order."""
    for path, table in work.inputs.tables.items():
        if path in work.inputs.recipe.relations:
            work.progress(f"loading {'.'.join(path)}")
            load(work.workshop, path, table.read())
            if table.fingerprint() != work.inputs.fingerprints[".".join(path)]:
                raise FlightmeshError(
                    ErrorCode.UNAVAILABLE, f"{'.'.join(path)} changed while it was read.", hint="Reload."
                )


def make_models(work: Work) -> None:
    """Make the models in order."""
    for name in work.inputs.recipe.order:
        work.progress(f"building model {name}")
        make_model(work.making, name, is_table=name in work.inputs.recipe.tables)


def check_contracts(work: Work) -> None:
    """Compare contracts and policies with the models' columns, before anything is written."""
    ports = work.bundle.product.ports
    columns = {name: _columns(work.workshop, port.model) for name, port in ports.items()}
    _check_ports(work.bundle, columns, work.bounds.limits)


def write_ports(work: Work) -> None:
    """Write the ports' rows: one database, and one Parquet file per port."""
    ports: list[PortRecord] = []
    for name, port in work.bundle.product.ports.items():
        work.progress(f"writing port {name}")
        rows = work.workshop.keep((port.model,), name)
        columns = _columns(work.workshop, port.model)
        nulls = work.workshop.nulls(name, [column.name for column in columns])
        ports.append(PortRecord(name, name, rows, columns, f"{name}.parquet", nulls))
    work.workshop.finish()
    for record in ports:
        target = work.folder / record.parquet
        export_parquet(work.folder / DATABASE, table=record.table, target=target, bounds=work.bounds.workshop)
    files = tuple(_file(work.folder / name) for name in [DATABASE, *(record.parquet for record in ports)])
    snapshot = SnapshotRecord(
        work.bundle.product.product,
        work.inputs.snapshot_id,
        tuple(ports),
        files,
        work.inputs.fingerprints,
        work.inputs.code,
        tools(),
    )
    (work.folder / RECORD).write_bytes(encode_snapshot(snapshot))


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

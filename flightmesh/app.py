"""The composition root: a Config becomes store, engine, services and doors.

Nothing else constructs them, and nothing but wiring is done here.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from flightmesh.build.catalog import find_products, load_catalog
from flightmesh.build.check import check_product
from flightmesh.build.pipeline import BuildBounds
from flightmesh.build.proposal.manifest import About
from flightmesh.build.proposal.product import InitReport, PersonalReport, init_product
from flightmesh.build.renewal import Renewal
from flightmesh.catalog.snapshot import Snapshot
from flightmesh.catalog.store import Store
from flightmesh.catalog.temporary import SessionFiles
from flightmesh.config import Config, check_listener, signing_key
from flightmesh.engine.base import Engines
from flightmesh.engine.duckdb import DuckDBEngine, engine_version
from flightmesh.engine.explain import Explainer
from flightmesh.engine.polars import PolarsBounds
from flightmesh.engine.polars_live import PolarsWorkers
from flightmesh.engine.remote import RemoteEngine
from flightmesh.engine.scans import Scans
from flightmesh.engine.workshop import Bounds
from flightmesh.flight.actions import Services
from flightmesh.flight.listeners import Listener, check_address, listeners, uris
from flightmesh.flight.metadata import MetadataAnswers
from flightmesh.flight.middleware import CertificateSessions, SessionMiddlewareFactory
from flightmesh.flight.server import FlightServer
from flightmesh.flight.status import no_tracebacks
from flightmesh.flight.watcher import Watcher
from flightmesh.flightsql.handles import Signer
from flightmesh.flightsql.sqlinfo import SqlInfo, Value, default_sql_info
from flightmesh.planner.pipeline import Planner
from flightmesh.planner.surface import catalogue_key
from flightmesh.product.policy import granting
from flightmesh.service import accounts
from flightmesh.service.admission import Admission
from flightmesh.service.authn import Authn
from flightmesh.service.bindings import Bindings
from flightmesh.service.control import Control, ServerRecord
from flightmesh.service.explain import Explanations
from flightmesh.service.generations import Generations
from flightmesh.service.node import Loaded, Node, record_of
from flightmesh.service.products import Products
from flightmesh.service.queries import Queries
from flightmesh.service.running import RunningQueries
from flightmesh.service.sessions import Sessions
from flightmesh.service.statements import Statements
from flightmesh.service.temporary import Temporaries
from flightmesh.service.updates import Updates
from flightmesh.sources.registry import Sources
from flightmesh.sources.secrets import Secrets

# What ``flightmesh init`` is; the command line composes through this module.
__all__ = [
    "About",
    "Application",
    "CheckResult",
    "InitReport",
    "PersonalReport",
    "Ready",
    "add_user",
    "check",
    "create_token",
    "init_product",
    "remove_user",
    "request_reload",
    "revoke_token",
    "running",
    "serve",
]

log = logging.getLogger(__name__)

SWEEP_S = 5.0
_CUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Ready:
    """A server that answers: its address (``mtls_uri``: for callers with certificates), what it serves, what it cannot
    serve and why, and how long the start took.

    ``public`` are the tables that callers without credentials may read; none unless ``anonymous`` lets them in.
    """

    uri: str
    mtls_uri: str | None
    products: tuple[str, ...]
    tables: tuple[str, ...]
    public: tuple[str, ...]
    unavailable: Mapping[str, str]
    seconds: float
    anonymous: bool


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What ``check`` found in one product folder; ``sql`` is that of its low-code models."""

    folder: Path
    product: str | None
    problems: tuple[str, ...]
    notices: tuple[str, ...]
    ports: tuple[str, ...]
    sql: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Application:
    """A server that answers, with what its operator may do to it."""

    servers: tuple[FlightServer, ...]
    node: Node
    engine: DuckDBEngine
    watcher: Watcher
    ready: Ready
    drain_s: float

    def stop(self) -> bool:
        """Refuses new calls, lets running ones end, cuts those that outstay ``drain_s``; whether all ended."""
        draining = [
            threading.Thread(target=server.shutdown, name="flightmesh-drain", daemon=True) for server in self.servers
        ]
        for thread in draining:
            thread.start()
        if _are_alive(draining, self.drain_s):
            self.watcher.cut_all()
            return not _are_alive(draining, _CUT_S)
        return True


def _are_alive(threads: Sequence[threading.Thread], timeout_s: float) -> bool:
    """Whether one of the threads is still alive after this time."""
    until = time.monotonic() + timeout_s
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return any(thread.is_alive() for thread in threads)


@contextmanager
def running(
    config: Config, *, on_progress: Callable[[str], None], stopped: Callable[[], bool] = lambda: False
) -> Iterator[Application]:
    """A server that answers while the block runs; the caller stops it. ``stopped`` says whether to give up loading."""
    started = time.monotonic()
    check_listener(config)
    check_address(config)
    find_products(config.products)  # Before there is a state directory: a mistyped folder leaves nothing behind.
    with ExitStack() as closing:
        closing.enter_context(no_tracebacks())
        store = closing.enter_context(Store(config.state))
        Control(config.state).clear()
        sources = Sources(Secrets(folder=config.secrets), sources_max=config.limits.sources_max)
        closing.callback(sources.close)
        workers = PolarsWorkers(workers_max=config.limits.polars_workers_max, bounds=_polars_bounds(config, stopped))
        closing.callback(workers.close)
        scans = Scans(sources, workers)
        engine = _engine(config, scans)
        closing.callback(engine.close)
        watcher = Watcher(poll_s=config.limits.cancel_poll_s, stall_s=config.limits.stream_stall_s)
        closing.callback(watcher.close)
        world = _World(config, store, sources, scans, engine, Renewal(config.state / "renewals.json"))
        application = _wire(world, watcher, _Loading(on_progress, stopped), started)
        yield application


class _Signals:
    """What the process has been told. Without a lock of Python's: a handler runs in the thread that may hold it."""

    def __init__(self) -> None:
        self.stop = False
        self._told: queue.SimpleQueue[int] = queue.SimpleQueue()

    def receive(self, number: int, _frame: object) -> None:
        self.stop = self.stop or number != signal.SIGHUP
        self._told.put(number)

    def reload_within(self, timeout_s: float) -> bool:
        """Waits for a signal; whether the products are to be loaded, once for all that has been told by then."""
        try:
            told = {self._told.get(timeout=timeout_s)}
            while not self._told.empty():
                told.add(self._told.get_nowait())
        except queue.Empty:
            return False
        return told == {signal.SIGHUP}


class _Stopped(BaseException):
    """The server was told to stop while it loaded. No Exception: nobody on the way may take it for a failed product."""


@dataclass(frozen=True, slots=True)
class _Loading:
    """Whom to tell how loading goes, and whether to give it up."""

    on_progress: Callable[[str], None]
    stopped: Callable[[], bool]

    def progress(self, product: str, text: str) -> None:
        self.check()
        self.on_progress(f"{product}: {text}")

    def check(self) -> None:
        if self.stopped():
            raise _Stopped


def serve(config: Config, *, on_progress: Callable[[str], None], on_ready: Callable[[Ready], None]) -> int:
    """Serves until SIGTERM or SIGINT; SIGHUP reloads. Returns the process's exit code."""
    signals = _Signals()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signals.receive)
    with suppress(_Stopped), running(config, on_progress=on_progress, stopped=lambda: signals.stop) as application:
        on_ready(application.ready)
        while not signals.stop:
            if signals.reload_within(SWEEP_S):
                with suppress(_Stopped):
                    application.node.reload()
            else:
                with suppress(_Stopped):
                    application.node.reload_if_due()
            application.node.sweep()
        _end(application)
    return 0


def _end(application: Application) -> None:
    """Stops the server, and the process with it when calls outstay everything."""
    if not application.stop():
        log.error("serve.stop: calls are still running; leaving them")
        logging.shutdown()
        os._exit(0)


@dataclass(frozen=True, slots=True)
class _World:
    """What a server stands on: its configuration, its store, and what it holds open."""

    config: Config
    store: Store
    sources: Sources
    scans: Scans
    engine: DuckDBEngine
    renewal: Renewal


def check(folders: Sequence[Path]) -> list[CheckResult]:
    """What is wrong with the products in these folders, without reading their data."""
    results = []
    for folder in find_products(folders):
        report = check_product(folder)
        results.append(
            CheckResult(
                folder,
                report.product,
                tuple(map(str, report.problems)),
                tuple(map(str, report.notices)),
                tuple(report.ports),
                report.sql,
            )
        )
    return results


def request_reload(state: Path, *, timeout_s: float, renews: bool = False) -> ServerRecord:
    """Makes the server that runs on the state directory reload; what it serves now, and what it cannot."""
    return Control(state).reload(timeout_s, renews=renews)


def add_user(config_file: Path, name: str, roles: Sequence[str], password: str, *, replace: bool = False) -> None:
    """Adds a user to the config file."""
    accounts.add_user(config_file, name, roles, password, replace=replace)


def remove_user(config_file: Path, name: str) -> None:
    """Removes a user and the user's tokens from the config file."""
    accounts.remove_user(config_file, name)


def create_token(config_file: Path, name: str, expires: str | None) -> str:
    """A new API token of the user; its text is shown this once."""
    return accounts.create_token(config_file, name, None if expires is None else accounts.parse_duration(expires))


def revoke_token(config_file: Path, token: str) -> str:
    """Revokes a token by its id or its text; the id."""
    return accounts.revoke_token(config_file, token)


@dataclass(frozen=True, slots=True)
class _Core:
    """The services behind the doors, with what a node keeps in step."""

    generations: Generations
    planner: Planner
    temporaries: Temporaries
    bindings: Bindings
    services: Services


def _wire(world: _World, watcher: Watcher, loading: _Loading, started: float) -> Application:
    config, store, engine = world.config, world.store, world.engine

    def load(previous: Snapshot | None) -> Loaded:
        return _load(world, loading, previous)

    # What was served last lends a product that cannot be read now its policy: hidden stays hidden.
    loaded = load(store.current())
    key = signing_key(config)
    core = _core(world, loaded.snapshot, key)
    servers = _servers(config, core, watcher, key)
    addresses = uris(config, [server.port for server in servers])

    def forget(surfaces: Collection[str]) -> None:
        core.planner.forget(surfaces)
        engine.retire([*surfaces, *map(catalogue_key, surfaces)])

    node = Node(
        store=store,
        generations=core.generations,
        load=load,
        forget=forget,
        control=Control(config.state),
        record=record_of(loaded, pid=os.getpid(), uri=addresses[0]),
        limits=config.limits,
        sweeps=(core.temporaries.sweep, core.bindings.sweep),
    )
    node.start()
    return Application(
        servers, node, engine, watcher, _ready(config, loaded, addresses, started), config.limits.drain_s
    )


def _load(world: _World, loading: _Loading, previous: Snapshot | None) -> Loaded:
    """The products as they are now, published."""
    store, left_out = world.store, dict[str, str]()
    folders, bounds = find_products(world.config.products), _build_bounds(world, loading.stopped)
    control = Control(world.config.state)
    is_forced = control.takes_renewal()
    world.renewal.begin(is_forced=is_forced)
    with ExitStack() as unfulfilled, store.building():
        if is_forced:
            unfulfilled.callback(control.asks_renewal)
        snapshot = load_catalog(
            folders, store, loading.progress, previous=previous, bounds=bounds, leave_out=left_out.__setitem__
        )
        loading.check()  # A model that was cut short would be published as a failure.
        store.publish(snapshot)
        if not any(product.stale for product in snapshot.products.values()) and not any(
            entry.is_passing for entry in snapshot.unavailable.values()
        ):
            unfulfilled.pop_all()
    return Loaded(snapshot, left_out)


def _core(world: _World, snapshot: Snapshot, key: bytes) -> _Core:
    store, config, limits, clock = world.store, world.config, world.config.limits, time.time
    generations = Generations(snapshot, mask_key=key, limits=limits, clock=clock, on_lease=store.lease, find=store.load)
    planner, admission, running_queries = (
        Planner(limits, generations.twin),
        Admission(limits),
        RunningQueries(config.admin_roles),
    )
    temporaries = Temporaries(SessionFiles(config.state / "sessions"), limits, clock)
    bindings = Bindings(limits, clock, config.state / "bindings")
    sessions = Sessions(limits)
    statements = Statements(
        generations=generations,
        planner=planner,
        engine=Engines({"duckdb": world.engine, "remote": RemoteEngine(world.sources, world.engine)}),
        admission=admission,
        temporaries=temporaries,
    )
    reads = Explainer(world.engine, world.scans).reads
    explanations = Explanations(generations, planner, reads, admission, limits, statements.scope)
    updates = Updates(
        statements=statements,
        temporaries=temporaries,
        sessions=sessions,
        running=running_queries,
        explanations=explanations,
        limits=limits,
    )
    queries = Queries(
        generations=generations,
        statements=statements,
        updates=updates,
        running=running_queries,
        bindings=bindings,
        signer=Signer(key),
        limits=limits,
        clock=clock,
    )
    products = Products(generations, planner, limits)
    services = Services(queries, updates, running_queries, sessions, products, explanations)
    return _Core(generations, planner, temporaries, bindings, services)


def _servers(config: Config, core: _Core, watcher: Watcher, key: bytes) -> tuple[FlightServer, ...]:
    """The listener for all, and one for callers with certificates where there is to be one."""
    services = core.services
    authn = Authn(
        config.accounts,
        allows_anonymous=config.allows_anonymous,
        signer=Signer(key),
        limits=config.limits,
        config_file=config.config_file,
    )
    metadata = MetadataAnswers(services.products, services.updates, _server_info(config))

    def server(listener: Listener, middleware: SessionMiddlewareFactory | CertificateSessions) -> FlightServer:
        return FlightServer(
            listener,
            services=services,
            metadata=metadata,
            middleware=middleware,
            watcher=watcher,
            limits=config.limits,
        )

    first, *others = listeners(config)
    return (
        server(first, SessionMiddlewareFactory(authn, services.sessions, has_tls=config.has_tls)),
        *(server(other, CertificateSessions(authn, services.sessions)) for other in others),
    )


def _ready(config: Config, loaded: Loaded, addresses: Sequence[str], started: float) -> Ready:
    record = record_of(loaded, pid=os.getpid(), uri=addresses[0])
    tables = [
        (f"{name}.{port}", product.product, port)
        for name, product in sorted(loaded.snapshot.products.items())
        for port in product.ports
    ]
    public = [table for table, product, port in tables if granting(product, port, roles=frozenset(), user=None)]
    return Ready(
        uri=addresses[0],
        mtls_uri=addresses[1] if len(addresses) > 1 else None,
        products=record.products,
        tables=tuple(table for table, _, _ in tables),
        public=tuple(public) if config.allows_anonymous else (),
        unavailable=record.unavailable,
        seconds=round(time.monotonic() - started, 3),
        anonymous=config.allows_anonymous,
    )


def _engine(config: Config, scans: Scans) -> DuckDBEngine:
    return DuckDBEngine(
        threads=config.threads,
        memory_bytes=config.memory_limit,
        spill=config.state / "spill",
        spill_bytes=config.limits.spill_bytes_max,
        instances_max=config.limits.engine_instances_max,
        open_scan=scans.open,
    )


def _polars_bounds(config: Config, stopped: Callable[[], bool]) -> PolarsBounds:
    return PolarsBounds(seconds=config.limits.model_timeout_s, threads=config.threads, stopped=stopped)


def _build_bounds(world: _World, stopped: Callable[[], bool]) -> BuildBounds:
    config = world.config
    return BuildBounds(
        workshop=Bounds(threads=config.threads, memory_bytes=config.memory_limit),
        polars=_polars_bounds(config, stopped),
        limits=config.limits,
        sources=world.sources,
        renewal=world.renewal,
    )


def _server_info(config: Config) -> Mapping[SqlInfo, Value]:
    return default_sql_info(
        server_version=importlib.metadata.version("flightmesh"),
        duckdb_version=engine_version(),
        arrow_version=importlib.metadata.version("pyarrow"),
        prepared_ttl_s=config.limits.prepared_ttl_s,
        transaction_ttl_s=config.limits.transaction_ttl_s,
        statement_bytes_max=config.limits.sql_bytes_max,
    )

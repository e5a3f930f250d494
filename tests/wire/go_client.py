"""Go's ADBC: the Flight SQL driver as a Go program uses it, through a bridge built of tests/wire/go.

Compiler cache, modules and program go to FLIGHTMESH_WIRE_CACHE or ``.wire`` of the checkout: nothing is put elsewhere.
Keys and type information are left out: the driver sends no command for them.
"""

from __future__ import annotations

import atexit
import base64
import functools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from tests.wire.bridge import Bridge, cache, digest, make, run
from tests.wire.client import FEATURES, Login, Result

_SOURCES = Path(__file__).parent / "go"
_MODULES = (_SOURCES / "go.mod", _SOURCES / "go.sum")
_MODULE = _MODULES[0].read_text()
_PROGRAM = "program"

NAME = "Go ADBC"
VERSION = re.findall(r"^\s*github\.com/apache/arrow-adbc/go/adbc v(\S+)", _MODULE, re.MULTILINE)[0]
CAN = frozenset(FEATURES) - {"primary_keys", "foreign_keys", "type_info"}

_CATALOG, _SCHEMA = "adbc.connection.catalog", "adbc.connection.db_schema"
_AUTOCOMMIT = "adbc.connection.autocommit"
# The depths of GetObjects.
_COLUMNS, _CATALOGS, _SCHEMAS, _TABLES = range(4)


def missing() -> str | None:
    """Why the client cannot be run here; None if it can."""
    needed = tuple(map(int, re.findall(r"^go (\d+)\.(\d+)", _MODULE, re.MULTILINE)[0]))
    if shutil.which("go") is None:
        return f"needs Go {needed[0]}.{needed[1]} or newer"
    # Not the toolchain that another go.mod asks for, which would be fetched.
    local = {**os.environ, "GOTOOLCHAIN": "local"}
    told = subprocess.run(["go", "env", "GOVERSION"], env=local, capture_output=True, text=True, check=False).stdout
    found = re.match(r"go(\d+)\.(\d+)", told)
    if found is None or tuple(map(int, found.groups())) < needed:
        return f"needs Go {needed[0]}.{needed[1]} or newer, and has {told.strip()}"
    return None


def connect(login: Login, folder: Path, *, cookies: bool = False) -> GoClient:
    """A connection that has signed in. Cookies are kept if asked: the driver does not by default."""
    options = {"uri": login.uri}
    if login.token is not None:
        options["adbc.flight.sql.authorization_header"] = f"Bearer {login.token}"
    elif login.user is not None:
        options |= {"username": login.user, "password": login.password or ""}
    if cookies:
        options["adbc.flight.sql.rpc.with_cookie_middleware"] = "true"
    options |= {f"adbc.flight.sql.rpc.call_header.{name}": value for name, value in login.options.items()}
    return GoClient(options)


@functools.cache
def _bridge() -> Bridge:
    """The one process of this test run, built first if its sources have changed."""
    with cache("go") as folder:
        sources = [*_MODULES, *sorted(_SOURCES.glob("*.go"))]
        built = make(folder / f"program-{digest(sources)}", lambda target: _build(_SOURCES, target, folder))
    bridge = Bridge([built / _PROGRAM], folder / "bridge.log")
    atexit.register(bridge.stop)
    return bridge


def build(sources: Path, target: Path) -> None:
    """Builds ``target/program`` of the Go files of a folder, with the bridge's own modules."""
    for module in _MODULES:
        shutil.copy(module, sources)
    with cache("go") as folder:
        _build(sources, target, folder)


def _build(sources: Path, target: Path, folder: Path) -> None:
    places = {"GOPATH": folder / "path", "GOMODCACHE": folder / "modules", "GOCACHE": folder / "compiled"}
    # Modules that can be deleted like any file, and the toolchain that is here, or none.
    settings = {"GOFLAGS": "-mod=readonly -modcacherw -buildvcs=false", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    environment = {**{name: str(place) for name, place in places.items()}, **settings}
    run("go", "build", "-trimpath", "-o", target / _PROGRAM, ".", folder=sources, environment=environment)


class GoClient:
    """See ``client.Client``."""

    name = NAME
    can = CAN

    def __init__(self, options: Mapping[str, str]) -> None:
        self._connection = _bridge().ask("open", options=options)

    def ask(self, op: str, **members: Any) -> Any:  # Any: what JSON carries
        """The answer of an operation of main.go."""
        return _bridge().ask(op, connection=self._connection, **members)

    def close(self) -> None:
        self.ask("close")

    # Statements -------------------------------------------------------------------------------------------------------

    def query(self, sql: str, parameters: Sequence[Any] = (), named: Mapping[str, Any] | None = None) -> Result:
        return _result(self.ask("query", sql=sql, data=_bound([parameters], named)))

    def types(self, sql: str) -> tuple[str, ...]:
        """The Arrow types of a statement's columns, as Go writes them."""
        return tuple(self.ask("query", sql=sql)["types"])

    def update(self, sql: str, rows: Sequence[Sequence[Any]] = ()) -> int:
        return int(self.ask("update", sql=sql, data=_bound(rows, None)))

    def count(self, sql: str) -> int:
        return int(self.ask("count", sql=sql))

    def columns_of(self, sql: str, *, prepare: bool = False) -> tuple[str, ...]:
        return tuple(self.ask("schema", sql=sql, prepare=prepare)["columns"])

    def parameter_types(self, sql: str) -> tuple[str, ...]:
        return tuple(self.ask("parameter_types", sql=sql)["types"])

    def cancel_running(self, sql: str) -> float:
        return float(self.ask("cancel", sql=sql, after=0.5))

    def partitions(self, sql: str) -> Result:
        return _result(self.ask("read_partitions", partitions=self.ask("partitions", sql=sql)))

    # Metadata ---------------------------------------------------------------------------------------------------------

    def catalogs(self) -> tuple[str, ...]:
        return tuple(catalog for catalog, _ in self._objects(_CATALOGS))

    def schemas(self, catalog: str | None = None, pattern: str | None = None) -> tuple[tuple[str, str], ...]:
        found = self._schemas(_SCHEMAS, catalog, schema=pattern)
        return tuple((catalog, schema["db_schema_name"]) for catalog, schema in found)

    def tables(
        self,
        catalog: str | None = None,
        schema: str | None = None,
        table: str | None = None,
        types: Sequence[str] = (),
    ) -> tuple[tuple[str, str, str, str], ...]:
        found = self._schemas(_TABLES, catalog, schema=schema, table=table, types=list(types))
        return tuple(
            (catalog, schema["db_schema_name"], table["table_name"], table["table_type"])
            for catalog, schema in found
            for table in schema["db_schema_tables"] or ()
        )

    def columns(self, catalog: str, schema: str, table: str) -> tuple[Mapping[str, Any], ...]:
        found = self._schemas(_COLUMNS, catalog, schema=schema, table=table)
        return tuple(
            _column(column)
            for _, schema in found
            for table in schema["db_schema_tables"] or ()
            for column in table["table_columns"] or ()
        )

    def table_columns(self, catalog: str | None, schema: str | None, table: str) -> Mapping[str, str]:
        """The Arrow type of each column, by the driver's GetTableSchema."""
        found = self.ask("table_schema", catalog=catalog, schema=schema, table=table)
        return dict(zip(found["columns"], found["types"], strict=True))

    def table_types(self) -> tuple[str, ...]:
        return tuple(kind for (kind,) in self.ask("table_types")["rows"])

    def primary_keys(self, catalog: str, schema: str, table: str) -> tuple[str, ...]:
        raise NotImplementedError("the driver leaves constraints out")

    def foreign_keys(self, catalog: str, schema: str, table: str) -> int:
        raise NotImplementedError("the driver leaves constraints out")

    def type_info(self) -> tuple[str, ...]:
        raise NotImplementedError("ADBC has no call for it")

    def info(self) -> Mapping[str, Any]:
        said: Mapping[str, Any] = self.ask("info")
        return {"name": said["VendorName"], "version": said["VendorVersion"], **said}

    def _objects(self, depth: int, catalog: str | None = None, **filters: Any) -> Iterator[tuple[str, list[Any]]]:
        for name, schemas in self.ask("objects", depth=depth, catalog=catalog, **filters)["rows"]:
            yield name, schemas or []

    def _schemas(self, depth: int, catalog: str | None, **filters: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for name, schemas in self._objects(depth, catalog, **filters):
            for schema in schemas:
                yield name, schema

    # Sessions, transactions, own rows ---------------------------------------------------------------------------------

    def ingest(self, table: str, data: pa.Table, mode: str, *, temporary: bool = True) -> int:
        options = {
            "adbc.ingest.target_table": table,
            "adbc.ingest.mode": f"adbc.ingest.mode.{mode}",
            "adbc.ingest.temporary": str(temporary).lower(),
        }
        return int(self.ask("ingest", options=options, data=_stream(data)))

    def begin(self) -> None:
        self._set(_AUTOCOMMIT, "false")

    def commit(self) -> None:
        self.ask("commit")
        self._set(_AUTOCOMMIT, "true")

    def rollback(self) -> None:
        self.ask("rollback")
        self._set(_AUTOCOMMIT, "true")

    def set_session(self, catalog: str | None = None, schema: str | None = None) -> None:
        for key, value in ((_CATALOG, catalog), (_SCHEMA, schema)):
            if value is not None:
                self._set(key, value)

    def session(self) -> tuple[str | None, str | None]:
        return self.ask("get", key=_CATALOG), self.ask("get", key=_SCHEMA)

    def _set(self, key: str, value: str) -> None:
        self.ask("set", key=key, value=value)


def _bound(rows: Sequence[Sequence[Any]], named: Mapping[str, Any] | None) -> str:
    """Rows of parameters as a batch of their own, under their numbers or names; empty text without parameters."""
    columns = {name: [value] for name, value in named.items()} if named else _by_number(rows)
    return _stream(pa.table(columns)) if columns else ""


def _by_number(rows: Sequence[Sequence[Any]]) -> dict[str, list[Any]]:
    return {str(number): list(column) for number, column in enumerate(zip(*rows, strict=True), start=1)}


def _stream(data: pa.Table) -> str:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, data.schema) as writer:
        writer.write_table(data)
    return base64.b64encode(sink.getvalue().to_pybytes()).decode()


def _result(table: Mapping[str, Any]) -> Result:
    return Result(tuple(table["columns"]), tuple(map(tuple, table["rows"] or ())))


def _column(told: Mapping[str, Any]) -> Mapping[str, Any]:
    known = {"type_name": told["xdbc_type_name"], "size": told["xdbc_column_size"], "remarks": told["remarks"]}
    if told["xdbc_nullable"] is not None:
        known["nullable"] = told["xdbc_nullable"] == 1
    return {"name": told["column_name"], **{name: value for name, value in known.items() if value is not None}}

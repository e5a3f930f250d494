"""The two Java clients of the wire suite: the official JDBC driver and the Flight SQL client of Arrow's own.

Each is driven by a bridge, a JVM that serves any number of connections (tests/wire/java). Its libraries are fetched by
Maven and its sources compiled once, into FLIGHTMESH_WIRE_CACHE or ``.wire`` of the checkout: nothing is put elsewhere.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import math
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from tests.wire.bridge import Bridge, cache, digest, make, run
from tests.wire.client import FEATURES, Client, Login, Refused, Result

_SOURCES = Path(__file__).parent / "java"
_NEEDED = {"java": "openjdk-17-jdk-headless", "javac": "openjdk-17-jdk-headless", "mvn": "maven"}
# What the pages tell every user: Arrow reaches for memory that Java keeps closed, and dates are of one time zone.
OPTIONS = ("--add-opens=java.base/java.nio=ALL-UNNAMED", "-Duser.timezone=UTC")
# A JVM that starts quickly and leaves nothing behind.
_JVM = (
    *("-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Dfile.encoding=UTF-8"),
    *OPTIONS,
)


def missing() -> str | None:
    """Why the Java clients cannot be run here; None if they can."""
    absent = [package for program, package in _NEEDED.items() if shutil.which(program) is None]
    return f"needs a JDK and Maven (apt-get install {' '.join(dict.fromkeys(absent))})" if absent else None


@functools.cache
def install() -> tuple[Path, Path]:
    """The folders of the libraries and of the compiled classes, made if they are not there yet."""
    pom, sources = _SOURCES / "pom.xml", sorted(_SOURCES.glob("*.java"))
    with cache("java") as folder:
        maven = ("mvn", "-q", "-B", "-f", pom, f"-Dmaven.repo.local={folder / 'repository'}")

        def fetch(new: Path) -> None:
            run(*maven, "dependency:copy-dependencies", f"-DoutputDirectory={new}", folder=folder)

        def compile_(new: Path) -> None:
            run("javac", "-cp", f"{jars}/*", "-d", new, *sources, folder=folder)

        jars = make(folder / f"jars-{digest([pom])}", fetch)
        classes = make(folder / f"classes-{digest([pom, *sources])}", compile_)
    return jars, classes


def _bridge(main: str, class_path: Sequence[Path], scratch: Path) -> Bridge:
    path = ":".join(str(place) for place in class_path)
    command = ("java", *_JVM, f"-Djava.io.tmpdir={scratch}", "-cp", path, main)
    bridge = Bridge(command, scratch / f"{main}.log")
    atexit.register(bridge.stop)
    return bridge


@functools.cache
def jdbc_bridge() -> Bridge:
    """The one JVM of this process with nothing but the JDBC driver's own jar, as its users have it."""
    jars, classes = install()
    (driver,) = jars.glob("flight-sql-jdbc-driver-*.jar")
    return _bridge("JdbcBridge", [driver, classes], classes.parent)


@functools.cache
def _flight_sql_bridge() -> Bridge:
    jars, classes = install()
    libraries = [jar for jar in sorted(jars.glob("*.jar")) if "jdbc" not in jar.name]
    return _bridge("FlightSqlBridge", [classes, *libraries], classes.parent)


# --------------------------------------------------------------------------------------------------------------- values


def parameter(value: Any) -> tuple[str, str | None]:
    """The JDBC setter that fits the value, and the value's text. ``setWhole`` and ``setReal`` stand for the setter of
    the parameter's own type, which JDBC's users choose by it.
    """
    if value is None:
        return "setNull", None
    for kind, setter, text in _SETTERS:
        if isinstance(value, kind):
            return setter(value) if callable(setter) else setter, text(value)
    raise AssertionError(f"no setter for {type(value)}")


def _timestamp(value: datetime) -> str:
    return "setTimestamp" if value.tzinfo is None else "setInstant"


# What Java calls what is no number.
_JAVA = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
# bool before int and datetime before date, whose subclasses they are.
_SETTERS: tuple[tuple[type, str | Callable[[Any], str], Callable[[Any], str]], ...] = (
    (bool, "setBoolean", lambda value: str(value).lower()),
    (int, "setWhole", str),
    (float, "setReal", lambda value: str(value) if math.isfinite(value) else _JAVA[str(value)]),
    (Decimal, "setBigDecimal", lambda value: format(value, "f")),
    (str, "setString", str),
    (bytes, "setBytes", bytes.hex),
    (datetime, _timestamp, lambda value: value.isoformat().replace("+00:00", "Z")),
    (date, "setDate", date.isoformat),
    (time, "setTime", time.isoformat),
)


def _parameters(values: Iterable[Any]) -> list[tuple[str, str | None]]:
    return [parameter(value) for value in values]


def _result(table: Mapping[str, Any]) -> Result:
    return Result(tuple(table["columns"]), tuple(tuple(row) for row in table["rows"]))


def _picked(table: Mapping[str, Any], *names: str) -> tuple[tuple[Any, ...], ...]:
    """The rows of some columns, which are asked for by name as drivers do. Of no rows JDBC tells no columns."""
    if not table["rows"]:
        return ()
    places = [table["columns"].index(name) for name in names]
    return tuple(tuple(row[place] for place in places) for row in table["rows"])


# ----------------------------------------------------------------------------------------------------------------- JDBC


class Jdbc:
    """A connection of the JDBC driver. JDBC has no parameters by name, no ingest and no partitions. It has more than
    this driver passes on: commit, rollback, setCatalog and setSchema send nothing, getTypeInfo is empty unasked.
    """

    name = "JDBC"
    can = frozenset(FEATURES) - {"named", "ingest", "transactions", "partitions", "type_info", "session"}

    def __init__(self, login: Login) -> None:
        scheme, _, address = login.uri.partition("://")
        properties = {"useEncryption": str(scheme.endswith("tls")).lower(), **login.options}
        if scheme.endswith("tls"):
            properties["disableCertificateVerification"] = "true"
        given = {"user": login.user, "password": login.password, "token": login.token}
        properties |= {name: value for name, value in given.items() if value is not None}
        self.bridge = jdbc_bridge()
        url = f"jdbc:arrow-flight-sql://{address.rstrip('/')}"
        self._connection = self.bridge.ask("open", url=url, properties=properties)

    def ask(self, op: str, **members: Any) -> Any:
        return self.bridge.ask(op, connection=self._connection, **members)

    def metadata(self, method: str, *arguments: Any) -> Any:
        """The answer of a method of DatabaseMetaData."""
        return self.ask("metadata", method=method, arguments=arguments)

    def close(self) -> None:
        self.ask("close")

    def query(self, sql: str, parameters: Sequence[Any] = (), named: Mapping[str, Any] | None = None) -> Result:
        return _result(self.ask("query", sql=sql, parameters=_parameters(parameters)))

    def update(self, sql: str, rows: Sequence[Sequence[Any]] = ()) -> int:
        return int(self.ask("update", sql=sql, rows=[_parameters(row) for row in rows]))

    def count(self, sql: str) -> int:
        return int(self.ask("count", sql=sql))

    def columns_of(self, sql: str) -> tuple[str, ...]:
        return tuple(self.ask("describe", sql=sql)["columns"])

    def parameter_types(self, sql: str) -> tuple[str, ...]:
        return tuple(self.ask("describe", sql=sql)["parameters"])

    def catalogs(self) -> tuple[str, ...]:
        return tuple(name for (name,) in _picked(self.metadata("getCatalogs"), "TABLE_CAT"))

    def schemas(self, catalog: str | None = None, pattern: str | None = None) -> tuple[tuple[str, str], ...]:
        rows = _picked(self.metadata("getSchemas", catalog, pattern), "TABLE_CATALOG", "TABLE_SCHEM")
        return tuple((catalog, schema) for catalog, schema in rows)

    def tables(
        self,
        catalog: str | None = None,
        schema: str | None = None,
        table: str | None = None,
        types: Sequence[str] = (),
    ) -> tuple[tuple[str, str, str, str], ...]:
        rows = self.metadata("getTables", catalog, schema, table, list(types) or None)
        names = _picked(rows, "TABLE_CAT", "TABLE_SCHEM", "TABLE_NAME", "TABLE_TYPE")
        return tuple((row[0], row[1], row[2], row[3]) for row in names)

    def columns(self, catalog: str, schema: str, table: str) -> tuple[Mapping[str, Any], ...]:
        rows = self.metadata("getColumns", catalog, schema, table, None)
        names = ("COLUMN_NAME", "TYPE_NAME", "COLUMN_SIZE", "NULLABLE", "REMARKS")
        return tuple(
            {"name": name, "type_name": kind, "size": size, "nullable": nullable == 1, "remarks": remarks}
            for name, kind, size, nullable, remarks in _picked(rows, *names)
        )

    def table_types(self) -> tuple[str, ...]:
        return tuple(name for (name,) in _picked(self.metadata("getTableTypes"), "TABLE_TYPE"))

    def primary_keys(self, catalog: str, schema: str, table: str) -> tuple[str, ...]:
        keys = _picked(self.metadata("getPrimaryKeys", catalog, schema, table), "KEY_SEQ", "COLUMN_NAME")
        return tuple(name for _, name in sorted(keys))

    def foreign_keys(self, catalog: str, schema: str, table: str) -> int:
        place = (catalog, schema, table)
        answers = [self.metadata(method, *place) for method in ("getImportedKeys", "getExportedKeys")]
        answers.append(self.metadata("getCrossReference", *place, *place))
        return sum(len(answer["rows"]) for answer in answers)

    def type_info(self) -> tuple[str, ...]:
        return tuple(name for (name,) in _picked(self.metadata("getTypeInfo"), "TYPE_NAME"))

    def info(self) -> Mapping[str, Any]:
        name, version = self.metadata("getDatabaseProductName"), self.metadata("getDatabaseProductVersion")
        return {"name": name, "version": version, "read_only": self.metadata("isReadOnly")}

    def ingest(self, table: str, data: pa.Table, mode: str, *, temporary: bool = True) -> int:
        raise NotImplementedError("JDBC has no call for it")

    def begin(self) -> None:
        self.ask("connection", method="setAutoCommit", arguments=[False])

    def commit(self) -> None:
        self.ask("connection", method="commit")

    def rollback(self) -> None:
        self.ask("connection", method="rollback")

    def set_session(self, catalog: str | None = None, schema: str | None = None) -> None:
        for method, value in (("setCatalog", catalog), ("setSchema", schema)):
            if value is not None:
                self.ask("connection", method=method, arguments=[value])

    def session(self) -> tuple[str | None, str | None]:
        return self.ask("connection", method="getCatalog"), self.ask("connection", method="getSchema")

    def cancel_running(self, sql: str) -> float:
        return float(self.ask("cancel", sql=sql))

    def partitions(self, sql: str) -> Result:
        raise NotImplementedError("JDBC has no call for it")


# ------------------------------------------------------------------------------------------------ the Flight SQL client

_MODES = {
    "create": ("CREATE", "FAIL"),
    "append": ("FAIL", "APPEND"),
    "replace": ("CREATE", "REPLACE"),
    "create_append": ("CREATE", "APPEND"),
}


class JavaFlightSql:
    """A connection of FlightSqlClient, which has a call for everything that Flight SQL has. Its executeIngest takes
    every type but dictionaries, so that it does not bring rows of any type.
    """

    name = "Java FlightSqlClient"
    can = frozenset(FEATURES)

    def __init__(self, login: Login, folder: Path) -> None:
        self.bridge = _flight_sql_bridge()
        self._folder = folder
        self._files = itertools.count()
        uri = login.uri.replace("grpc://", "grpc+tcp://")
        given = {"user": login.user, "password": login.password, "token": login.token}
        self._connection = self.bridge.ask("open", uri=uri, headers=dict(login.options), **given)

    def ask(self, op: str, **members: Any) -> Any:
        return self.bridge.ask(op, connection=self._connection, **members)

    def listed(self, method: str, *columns: str, **filters: Any) -> tuple[tuple[Any, ...], ...]:
        """Columns of the rows of a metadata call; the filters are catalog, schema, table, types."""
        return _picked(self.ask("list", method=method, **filters), *columns)

    def close(self) -> None:
        self.ask("close")

    def query(self, sql: str, parameters: Sequence[Any] = (), named: Mapping[str, Any] | None = None) -> Result:
        by_name = {name: parameter(value) for name, value in (named or {}).items()}
        return _result(self.ask("query", sql=sql, parameters=_parameters(parameters), named=by_name))

    def update(self, sql: str, rows: Sequence[Sequence[Any]] = ()) -> int:
        return int(self.ask("update", sql=sql, rows=[_parameters(row) for row in rows]))

    def count(self, sql: str) -> int:
        return int(self.ask("count", sql=sql))

    def columns_of(self, sql: str) -> tuple[str, ...]:
        return tuple(self.ask("columns", sql=sql))

    def parameter_types(self, sql: str) -> tuple[str, ...]:
        return tuple(self.ask("parameters", sql=sql))

    def catalogs(self) -> tuple[str, ...]:
        return tuple(name for (name,) in self.listed("getCatalogs", "catalog_name"))

    def schemas(self, catalog: str | None = None, pattern: str | None = None) -> tuple[tuple[str, str], ...]:
        rows = self.listed("getSchemas", "catalog_name", "db_schema_name", catalog=catalog, schema=pattern)
        return tuple((catalog, schema) for catalog, schema in rows)

    def tables(
        self,
        catalog: str | None = None,
        schema: str | None = None,
        table: str | None = None,
        types: Sequence[str] = (),
    ) -> tuple[tuple[str, str, str, str], ...]:
        names = ("catalog_name", "db_schema_name", "table_name", "table_type")
        rows = self.listed("getTables", *names, catalog=catalog, schema=schema, table=table, types=list(types))
        return tuple((row[0], row[1], row[2], row[3]) for row in rows)

    def columns(self, catalog: str, schema: str, table: str) -> tuple[Mapping[str, Any], ...]:
        return tuple(self.ask("fields", catalog=catalog, schema=schema, table=table))

    def table_types(self) -> tuple[str, ...]:
        return tuple(name for (name,) in self.listed("getTableTypes", "table_type"))

    def primary_keys(self, catalog: str, schema: str, table: str) -> tuple[str, ...]:
        filters = {"catalog": catalog, "schema": schema, "table": table}
        return tuple(
            name for _, name in sorted(self.listed("getPrimaryKeys", "key_sequence", "column_name", **filters))
        )

    def foreign_keys(self, catalog: str, schema: str, table: str) -> int:
        filters = {"catalog": catalog, "schema": schema, "table": table}
        methods = ("getImportedKeys", "getExportedKeys", "getCrossReference")
        return sum(len(self.listed(method, "fk_column_name", **filters)) for method in methods)

    def type_info(self) -> tuple[str, ...]:
        return tuple(name for (name,) in self.listed("getXdbcTypeInfo", "type_name"))

    def info(self) -> Mapping[str, Any]:
        """Name and version (SqlInfo 0 and 1), whether it is read-only (3) and what it says of transactions (8)."""
        told = dict(self.listed("getSqlInfo", "info_name", "value"))
        return {"name": told[0], "version": told[1], "read_only": told[3], "transactions": told[8]}

    def ingest(self, table: str, data: pa.Table, mode: str, *, temporary: bool = True) -> int:
        file = self._folder / f"ingest-{os.getpid()}-{id(self)}-{next(self._files)}.arrows"
        with pa.ipc.new_stream(file, data.schema) as writer:
            writer.write_table(data)
        if_not_exist, if_exists = _MODES[mode]
        options = {"if_not_exist": if_not_exist, "if_exists": if_exists, "temporary": temporary}
        return int(self.ask("ingest", table=table, file=str(file), **options))

    def begin(self) -> None:
        self.ask("transaction", method="begin")

    def commit(self) -> None:
        self.ask("transaction", method="commit")

    def rollback(self) -> None:
        self.ask("transaction", method="rollback")

    def set_session(self, catalog: str | None = None, schema: str | None = None) -> None:
        values = {name: value for name, value in (("catalog", catalog), ("schema", schema)) if value is not None}
        errors = self.ask("set_session", values=values)
        if errors:
            raise Refused(f"session options refused: {errors}")

    def session(self) -> tuple[str | None, str | None]:
        values = self.ask("session")
        return values.get("catalog"), values.get("schema")

    def cancel_running(self, sql: str) -> float:
        return float(self.ask("cancel", sql=sql))

    def partitions(self, sql: str) -> Result:
        return _result(self.ask("query", sql=sql))


# ------------------------------------------------------------------------------------------------------ what is offered


@dataclass(frozen=True, slots=True)
class Driver:
    """A client of the wire suite, with the names that its other clients have as modules."""

    NAME: str
    CAN: frozenset[str]
    connect: Callable[[Login, Path], Client]
    VERSION: str
    missing: Callable[[], str | None] = missing


_VERSION = re.findall(r"<arrow.version>(.+)</arrow.version>", (_SOURCES / "pom.xml").read_text())[0]
JDBC = Driver(Jdbc.name, Jdbc.can, lambda login, folder: Jdbc(login), _VERSION)
JAVA_FLIGHT_SQL = Driver(JavaFlightSql.name, JavaFlightSql.can, JavaFlightSql, _VERSION)


if __name__ == "__main__":
    print(*install(), sep="\n")

"""Databases behind ADBC drivers by name, with the driver that is at hand: PostgreSQL's."""

from __future__ import annotations

import pyarrow as pa
import pytest

from flightmesh.errors import ErrorCode
from flightmesh.sources.adbc import find_driver
from flightmesh.sources.base import Narrowing
from flightmesh.sources.predicate import AllOf, Compare, IsNull
from tests.postgres import Postgres
from tests.sources.live import failure, fetched, opened, table


@pytest.fixture
def keys(postgres: Postgres) -> dict[str, object]:
    """The keys of a source over a table in a schema of its own."""
    postgres.run("DROP SCHEMA IF EXISTS plain CASCADE", "CREATE SCHEMA plain")
    postgres.run("CREATE TABLE plain.t (a int8, b text, c float8)")
    postgres.run("INSERT INTO plain.t VALUES (1, 'x', 0.5), (2, NULL, 1.5), (3, 'Z', NULL)")
    return {"type": "adbc", "driver": "adbc_driver_postgresql", "uri": postgres.uri}


@pytest.mark.postgres
def test_an_unknown_dialect_gets_what_means_the_same_everywhere(keys: dict[str, object]) -> None:
    """A database that compares text without case would keep back rows, or one without LIMIT refuse the statement."""
    where = AllOf((Compare("a", ">", pa.scalar(1)), Compare("b", "=", pa.scalar("Z")), IsNull("c")))
    with opened(keys) as handle:
        found = table(handle, "plain.t")
        told = found.pushed(Narrowing(("b",), where, 1))
        assert told.text == 'SELECT "b" FROM "plain"."t" WHERE "a" > 1 AND "c" IS NULL'
        assert told.left == ("b = ...: the source does not compare the column as the engine does.",)
        assert fetched(found, "b", where=where, limit=1)["b"].to_pylist() == ["Z"]
        assert handle.database is None


@pytest.mark.postgres
def test_tables_are_listed_and_read(keys: dict[str, object]) -> None:
    """A source without tables: in the manifest would have none."""
    with opened(keys) as handle:
        assert ("tms", "postgres.plain.t") in list(handle.tables)
        found = handle.tables[("tms", "postgres.plain.t")]
        assert found.schema() == pa.schema([("a", pa.int64()), ("b", pa.string()), ("c", pa.float64())])
        assert found.read().read_all().to_pylist()[1] == {"a": 2, "b": None, "c": 1.5}
        assert found.fingerprint() is None
        fetch = table(handle, "postgres.plain.t").fetch(Narrowing(()), pa.schema([]))
        assert sum(batch.num_rows for batch in fetch.reader) == 3


@pytest.mark.postgres
def test_with_a_dialect_whole_queries_are_taken(keys: dict[str, object]) -> None:
    """A product over such a database would fetch tables to count them."""
    with opened({**keys, "schema": "plain", "options": {"dialect": "postgres"}}) as handle:
        assert handle.database is not None
        assert (handle.database.dialect, handle.database.relation(("tms", "t"))) == ("postgres", ("plain", "t"))
        rows = handle.database.query('SELECT sum("a") AS s FROM "plain"."t"', pa.schema([("s", pa.int32())]))
        assert rows.reader.read_all().to_pylist() == [{"s": 6}]


@pytest.mark.postgres
def test_postgres_by_name(postgres: Postgres) -> None:
    """A dialect's literals would not be understood, or text ordered by language would lose rows."""
    postgres.run("DROP TABLE IF EXISTS byname", "CREATE TABLE byname (t text, f float8, d date)")
    postgres.run("INSERT INTO byname VALUES ('a', 'NaN', '2026-01-01'), ('B', 1, NULL)")
    keys = {"type": "adbc", "driver": "adbc_driver_postgresql", "uri": postgres.uri, "schema": "public"}
    with opened({**keys, "options": {"dialect": "postgres"}}) as handle:
        assert ("tms", "byname") in list(handle.tables)
        found = table(handle, "byname")
        where = AllOf((Compare("f", ">", pa.scalar(2.0)), Compare("t", "<", pa.scalar("b"))))
        told = found.pushed(Narrowing(None, where, 1))
        assert told.text == """SELECT "t", "f", "d" FROM "public"."byname" WHERE "f" > '2.0'::float8"""
        assert fetched(found, "t", where=where)["t"].to_pylist() == ["a"]
        schema = found.schema()
        postgres.run("ALTER TABLE byname DROP COLUMN d")
        error = failure(lambda: fetched(found, schema=schema))
        assert error.message == "Source tms: table byname has no column d any more."
        postgres.run("ALTER TABLE byname ADD d text", "UPDATE byname SET d = 'soon'")
        error = failure(lambda: fetched(found, schema=schema))
        assert error.message == "Source tms: column d of table byname is now string, it was date32[day]."


def test_a_driver_is_named_and_never_a_path() -> None:
    """A manifest could load any native code on the machine."""
    error = failure(lambda: find_driver("tms", "../evil.so"))
    assert (error.code, error.message) == (ErrorCode.INVALID, "Source tms: '../evil.so' is not the name of a driver.")
    assert failure(lambda: find_driver("tms", None)).code is ErrorCode.INVALID
    assert find_driver("tms", "adbc_driver_postgresql").endswith("libadbc_driver_postgresql.so")
    assert find_driver("tms", "snowflake") == "snowflake"


@pytest.mark.postgres
def test_an_unknown_dialect_is_refused(keys: dict[str, object]) -> None:
    """Statements would be written in no database's language."""
    assert failure(lambda: opened({**keys, "options": {"dialect": "klingon"}}).__enter__()).code is ErrorCode.INVALID


@pytest.mark.postgres
def test_a_driver_that_is_not_there_is_named_and_no_path(keys: dict[str, object]) -> None:
    """The author would get the loader's search paths, cut in the middle of a word."""
    with opened({**keys, "driver": "adbc_driver_frob_nix"}) as handle:
        error = failure(lambda: list(handle.tables))
    assert (error.code, error.message) == (
        ErrorCode.INVALID,
        "Source tms: the driver adbc_driver_frob_nix cannot be loaded.",
    )
    assert error.hint == "Install its package: pip install adbc-driver-frob-nix"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"options": {"driver": "/tmp/x.so"}}, "Source tms: the option driver is not for a manifest to give."),
        ({"options": {"Entrypoint": "abort"}}, "Source tms: the option Entrypoint is not for a manifest to give."),
        ({"options": {"profile": "/tmp/x.toml"}}, "Source tms: the option profile is not for a manifest to give."),
        ({"options": {"uri": "profile://x"}}, "Source tms: the option uri is not for a manifest to give."),
        ({"uri": "Profile:///tmp/x.toml"}, "Source tms: its uri names a profile, a file of the machine."),
        ({"driver": "adbc_driver_sqlite"}, "Source tms: the driver adbc_driver_sqlite opens any file of the machine."),
        (
            {"type": "flightsql", "uri": "grpc://h:1", "options": {"profile": "x"}},
            "Source tms: the option profile is not for a manifest to give.",
        ),
    ],
)
def test_a_manifest_does_not_choose_what_is_loaded(changed: dict[str, object], message: str) -> None:
    """An author would run any library of the machine in the server, or read any file as a database."""
    spec = {"type": "adbc", "driver": "adbc_driver_postgresql", "uri": "postgresql://h/d", **changed}
    error = failure(lambda: opened(spec).__enter__())
    assert (error.code, error.message) == (ErrorCode.INVALID, message)


@pytest.mark.postgres
def test_text_that_is_not_utf8_is_told(own_encoding: dict[str, object]) -> None:
    """The engine would stop the whole server over such a text, with any driver."""
    with opened({**own_encoding, "type": "adbc", "driver": "adbc_driver_postgresql"}) as handle:
        error = failure(lambda: fetched(table(handle, "t")))
    assert (error.code, error.message) == (ErrorCode.UNAVAILABLE, "Source tms: sends text that is not UTF-8.")


@pytest.fixture
def own_encoding(postgres: Postgres) -> dict[str, object]:
    """The keys of a database whose text has no encoding."""
    created = "CREATE DATABASE adbc_bytes ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE 'C' LOCALE_PROVIDER libc"
    postgres.run("DROP DATABASE IF EXISTS adbc_bytes", created)
    fill = r"INSERT INTO t VALUES (convert_from('\xfffe', 'SQL_ASCII')), ('ok')"
    postgres.run("CREATE TABLE t (a text)", fill, database="adbc_bytes")
    return {"uri": postgres.uri_of("adbc_bytes")}

"""SQLAlchemy with the published GizmoSQL dialect, driven by lines of JSON. Runs in the dialect's own environment."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

import sqlalchemy as sa  # type: ignore[import-not-found,unused-ignore]  # another environment's
from adbc_driver_flightsql import dbapi

from tests.wire import values
from tests.wire.dialects import lines

_T = TypeVar("_T")
# As docs/clients/sqlalchemy.md tells: the dialect looks for the types that it does not know in this module.
setattr(sa.types, "TIMESTAMP WITH TIME ZONE", sa.TIMESTAMP(timezone=True))
# Literals and quoted names stay; a bare question mark is a position and $name a name, both of which SQLAlchemy calls
# :name. Other colons are escaped, as its documentation asks for.
_TOKEN = re.compile(r"""(?P<kept>'(?:[^']|'')*'|"(?:[^"]|"")*")|(?P<place>\?)|\$(?P<name>[A-Za-z_]\w*)|(?P<colon>:)""")


class SqlAlchemyBridge:
    """One engine and one connection, on which each call commits unless a transaction was begun."""

    _engine: Any  # SQLAlchemy has types, but not in the environment of the checks
    _connection: Any

    def __init__(self) -> None:
        self._begun = False

    def connect(
        self, uri: str, user: str | None, password: str | None, token: str | None, options: Mapping[str, str]
    ) -> None:
        host = uri.removeprefix("grpc://")
        if token is None:
            who = f"{user}:{password}@" if user else ""
            self._engine = sa.create_engine(f"gizmosql://{who}{host}?{urlencode(options)}")
        else:
            self._engine = sa.create_engine("gizmosql://", creator=lambda: _by_token(uri, token, options))
        self._connection = self._engine.connect()

    def close(self) -> None:
        self._connection.close()
        self._engine.dispose()

    def query(self, sql: str, parameters: Sequence[Any], named: Mapping[str, Any] | None) -> Mapping[str, Any]:
        given = dict(named) if named else _by_place(parameters)
        return self._done(lambda: _shown(self._connection.execute(sa.text(_text(sql)), given)))

    def count(self, sql: str) -> int:
        def read() -> int:
            streaming = self._connection.execution_options(stream_results=True)
            return sum(len(part) for part in streaming.execute(sa.text(_text(sql))).partitions(10_000))

        return self._done(read)

    def update(self, sql: str, rows: Sequence[Sequence[Any]]) -> int:
        given = [_by_place(row) for row in rows]
        return self._done(lambda: _counted(self._connection.execute(sa.text(_text(sql)), given or None)))

    def schemas(self) -> Sequence[str]:
        return self._done(lambda: list(sa.inspect(self._connection).get_schema_names()))

    def tables(self, schema: str) -> Mapping[str, Sequence[str]]:
        def listed() -> Mapping[str, Sequence[str]]:
            inspector = sa.inspect(self._connection)
            return {"TABLE": inspector.get_table_names(schema), "VIEW": inspector.get_view_names(schema)}

        return self._done(listed)

    def has_table(self, schema: str, table: str) -> bool:
        return self._done(lambda: bool(sa.inspect(self._connection).has_table(table, schema)))

    def columns(self, schema: str, table: str) -> Sequence[Mapping[str, Any]]:
        found = self._done(lambda: sa.inspect(self._connection).get_columns(table, schema))
        return [
            {"name": one["name"], "nullable": one["nullable"]}
            | ({"remarks": one["comment"]} if one.get("comment") else {})
            for one in found
        ]

    def primary_keys(self, schema: str, table: str) -> Sequence[str]:
        # The dialect answers None where there is no key.
        key = self._done(lambda: sa.inspect(self._connection).get_pk_constraint(table, schema)) or {}
        return list(key.get("constrained_columns", ()))

    def foreign_keys(self, schema: str, table: str) -> int:
        return self._done(lambda: len(sa.inspect(self._connection).get_foreign_keys(table, schema)))

    def counted_by(self, schema: str, table: str, column: str) -> Mapping[str, Any]:
        """Reflects a table and counts its rows per value of a column, by a statement that SQLAlchemy makes."""
        reflected = sa.Table(table, sa.MetaData(), schema=schema, autoload_with=self._engine)
        by = reflected.c[column]
        statement = sa.select(by, sa.func.count().label("rows")).group_by(by).order_by(by)
        return self._done(lambda: _shown(self._connection.execute(statement)))

    def own_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> Sequence[int]:
        """Makes a temporary table of SQLAlchemy's own, writes the rows, alters one and deletes one: the counts."""
        columns: list[Any] = [sa.Column("a", sa.BigInteger), sa.Column("b", sa.String)]
        table = sa.Table(name, sa.MetaData(), *columns, prefixes=["TEMPORARY"])

        def made() -> Sequence[int]:
            table.create(self._connection)
            first = table.c.a == rows[0]["a"]
            done = [
                self._connection.execute(sa.insert(table), list(rows)),
                self._connection.execute(sa.update(table).where(first).values(b="altered")),
                self._connection.execute(sa.delete(table).where(sa.not_(first))),
            ]
            return [one.rowcount for one in done]

        return self._done(made)

    def begin(self) -> None:
        self._begun = True

    def commit(self) -> None:
        self._begun = False
        self._connection.commit()

    def rollback(self) -> None:
        self._begun = False
        self._connection.rollback()

    def _done(self, call: Callable[[], _T]) -> _T:
        """The call's value; what it did is committed, or undone where it failed."""
        try:
            value = call()
        except BaseException:
            if not self._begun:
                self._connection.rollback()
            raise
        if not self._begun:
            self._connection.commit()
        return value


def _by_token(uri: str, token: str, options: Mapping[str, str]) -> Any:  # Any: the driver's connection is untyped
    """A connection of the driver below the dialect, whose URL has no place for a token."""
    headers = {f"adbc.flight.sql.rpc.call_header.{name}": value for name, value in options.items()}
    return dbapi.connect(uri, db_kwargs={"adbc.flight.sql.authorization_header": f"Bearer {token}", **headers})


def _text(sql: str) -> str:
    places = iter(range(1_000_000))

    def put(found: re.Match[str]) -> str:
        if found["place"]:
            return f":p{next(places)}"
        if found["name"]:
            return f":{found['name']}"
        return found[0].replace(":", r"\:")

    return _TOKEN.sub(put, sql)


def _by_place(row: Sequence[Any]) -> dict[str, Any]:
    return {f"p{number}": value for number, value in enumerate(row)}


def _shown(result: Any) -> Mapping[str, Any]:
    if not result.returns_rows:
        return {"columns": (), "rows": ()}
    shown = values.of_rows(tuple(result.keys()), result.fetchall())
    return {"columns": shown.columns, "rows": shown.rows}


def _counted(result: Any) -> int:
    """The count as a user finds it: the driver's, or the one row that a statement of text returns, if any."""
    return int(result.scalar() or 0) if result.returns_rows else int(result.rowcount)


if __name__ == "__main__":
    # ValueError: a value that the driver cannot make of what it got, such as an instant in nanoseconds.
    lines.answer(SqlAlchemyBridge, (sa.exc.SQLAlchemyError, dbapi.Error, ValueError))

"""``clinical.trials`` answers each reader exactly as its policy says, by every way in.

The figures are those of ``tests/products/expected.json``, counted from the raw file without any of our code.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pyarrow.ipc
import pytest

import flightmesh
from flightmesh.flightsql import messages as m
from flightmesh.flightsql.codec import pack

EXPECTED = json.loads((Path(__file__).parents[1] / "products" / "expected.json").read_text())
PATIENTS = EXPECTED["patients"]["roles"]
PORT = ("clinical", "trials", "patients")
NAME = ".".join(PORT)
# User of the fixture to the key of expected.json.
READERS = {"steward": "steward", "analyst": "analyst", "site": "site", "both": "analyst+site"}
STRANGERS = (None, "nobody")
EVERYBODY = (*READERS, *STRANGERS)


def _check(table: pa.Table, user: str) -> None:
    """All columns, rows, sums, NULLs and ages of the port as the user sees it."""
    expected = PATIENTS[READERS[user]]
    assert table.column_names == expected["columns"]
    assert table.num_rows == expected["rows"]
    not_null = {name: table.num_rows - table[name].null_count for name in table.column_names}
    assert not_null == expected["not_null"]
    for column, total in expected["sums"].items():
        assert sum(filter(None, table[column].to_pylist())) == pytest.approx(total, rel=1e-12), column
    assert sorted(map(list, Counter(table["age"].to_pylist()).items())) == expected["ages"]


@pytest.mark.parametrize("user", READERS)
def test_a_reader_sees_the_same_patients_by_every_way(server: Any, calling: Any, user: str) -> None:
    """A way in with a policy of its own would show a site other sites' patients, or an analyst who they are."""
    select = f"SELECT * FROM {NAME}"
    with calling(server, user) as caller:
        for table in (
            caller.sql(select),
            caller.direct(select),
            caller.prepared(select),
            caller.path(*PORT),
            caller.path(NAME),
            caller.sql("FROM patients"),
            caller.sql(f"WITH p AS (FROM {NAME}) SELECT * FROM p"),
        ):
            _check(table, user)


@pytest.mark.parametrize("user", READERS)
def test_the_stock_driver_sees_the_same_patients(server: Any, user: str) -> None:
    """A user of the ADBC driver would see more, or less, than a user of Flight."""
    with server.adbc(user) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {NAME}")
        _check(cursor.fetch_arrow_table(), user)
        cursor.execute(f"SELECT count(*) FROM {NAME} WHERE symptom = ?", parameters=(0,))
        assert cursor.fetchone() == ((0,) if user == "site" else (1769,))
        cursor.adbc_prepare(f"SELECT * FROM {NAME} WHERE days >= ?")
        cursor.execute(f"SELECT * FROM {NAME} WHERE days >= ?", parameters=(0,))
        _check(cursor.fetch_arrow_table(), user)


@pytest.mark.parametrize("user", READERS)
def test_our_client_sees_the_same_patients(server: Any, user: str) -> None:
    """A user of the Python client would see more, or less, than others."""
    with flightmesh.connect(server.uri, server.tokens[user]) as client:
        _check(client.table(NAME).arrow(), user)
        _check(client.sql(f"SELECT * FROM {NAME} WHERE days >= ?", [0]).arrow(), user)
        assert client.table(NAME, columns=["age"], where="symptom = 0").arrow().num_rows == (
            0 if user == "site" else 1769
        )
        ports = {port.table: port for product in client.products() for port in product.ports}
        assert [column.name for column in ports[NAME].columns] == PATIENTS[READERS[user]]["columns"]


@pytest.mark.parametrize("user", STRANGERS)
def test_who_has_no_grant_meets_a_port_that_does_not_exist(
    server: Any, calling: Any, refusal: type[Exception], user: str | None
) -> None:
    """A stranger would learn that patients are kept here."""
    with calling(server, user) as caller:
        ways: tuple[Callable[[str], object], ...] = (
            lambda port: caller.sql(f"SELECT * FROM clinical.trials.{port}"),
            lambda port: caller.schema(f"SELECT count(*) FROM clinical.trials.{port}"),
            lambda port: caller.direct(f"SELECT * FROM {port}"),
            lambda port: caller.prepared(f"SELECT * FROM trials.{port}"),
            lambda port: caller.path("clinical", "trials", port),
            lambda port: caller.path(f"clinical.trials.{port}"),
        )
        for way in ways:
            with pytest.raises(refusal) as hidden:
                way("patients")
            with pytest.raises(refusal) as free:
                way("quatients")
            assert str(hidden.value).startswith("not_found: ")
            assert str(hidden.value) == str(free.value).replace("quatients", "patients")
            with pytest.raises(refusal) as near:
                way("patient")
            assert "patients" not in str(near.value)
        assert [name for name in _names(caller) if name[0] == "clinical"] == [("clinical", "trials", "arms")]
        cards = [json.loads(body) for body in caller.act("catalog.list")]
        # "patients" alone is a column of the port that everybody may read.
        assert [port["table"] for card in cards for port in card["ports"] if "clinical" in port["table"]] == [
            "clinical.trials.arms"
        ]
        assert not any(b"patients" in body for body in _ports_of(caller.flights()))


@pytest.mark.parametrize("user", EVERYBODY)
def test_the_summary_per_arm_is_everybodys(server: Any, calling: Any, user: str | None) -> None:
    """A filter on patients would change a figure that its author counts over all of them."""
    with calling(server, user) as caller:
        rows = caller.path("clinical", "trials", "arms").to_pylist()
    assert sorted(rows, key=lambda row: row["arms"]) == EXPECTED["arms"]["all"]


@pytest.mark.parametrize("user", READERS)
def test_the_metadata_commands_show_what_the_reader_sees(server: Any, calling: Any, user: str) -> None:
    """A catalogue browser would show an analyst the dropped column, its comment, or a key that is none any more."""
    expected = PATIENTS[READERS[user]]["columns"]
    with calling(server, user) as caller:
        tables = caller.command(m.CommandGetTables(include_schema=True)).to_pylist()
        mine = {(row["catalog_name"], row["db_schema_name"], row["table_name"]): row for row in tables}
        schema = pyarrow.ipc.read_schema(pa.py_buffer(mine[PORT]["table_schema"]))
        assert [(field.name, field.type) for field in schema] == [
            (field.name, field.type) for field in caller.path(*PORT).schema
        ]
        assert schema.names == expected
        if user == "analyst":
            assert "pidnum" not in str(tables) + str(schema)
        keys = caller.command(m.CommandGetPrimaryKeys(table="patients", catalog="clinical", db_schema="trials"))
        # A key column that is dropped, for all rows or some, is no key.
        assert keys["column_name"].to_pylist() == (["pidnum"] if user in ("steward", "site") else [])
        listed = [json.loads(body) for body in caller.act("catalog.list")]
        columns = [
            [column["name"] for column in port["columns"]]
            for card in listed
            for port in card["ports"]
            if port["table"] == NAME
        ]
        assert columns == [expected]
        assert PORT in _names(caller)


@pytest.mark.parametrize("user", EVERYBODY)
def test_the_listings_agree(server: Any, calling: Any, user: str | None) -> None:
    """One listing would name what another hides."""
    with calling(server, user) as caller:
        listed = sorted(tuple(part.decode() for part in info.descriptor.path) for info in caller.flights())
        assert listed == _names(caller)
        cards = [json.loads(body) for body in caller.act("catalog.list")]
        assert sorted(tuple(port["table"].split(".")) for card in cards for port in card["ports"]) == listed
        schemas = caller.command(m.CommandGetDbSchemas()).to_pylist()
        assert sorted({path[:2] for path in listed}) == sorted(
            (row["catalog_name"], row["db_schema_name"]) for row in schemas
        )
        for info in caller.flights():
            table = caller.fetch(info.endpoints[0].ticket.ticket)
            assert table.schema.equals(info.schema)


def test_two_roles_see_each_cell_by_the_most_open_way(server: Any, calling: Any) -> None:
    """A user with two roles would lose what one of them shows, or see in a hidden row what neither shows."""
    with calling(server, "both") as caller, calling(server, "steward") as steward:
        seen = caller.sql(f"SELECT * FROM {NAME} ORDER BY ALL").to_pylist()
        whole = steward.sql(f"SELECT * FROM {NAME}").to_pylist()
    expected = [row if row["symptom"] == 1 else {**row, "pidnum": None, "age": row["age"] // 5 * 5} for row in whole]
    assert _bag(seen) == _bag(expected)


def test_a_band_cannot_be_undone_by_asking_for_a_single_age(server: Any, calling: Any) -> None:
    """An analyst would find an age by comparing, casting, joining or grouping instead of reading it."""
    with calling(server, "analyst") as caller:
        for predicate in (
            "age = 37",
            "age % 5 <> 0",
            "age BETWEEN 36 AND 39",
            "age::VARCHAR LIKE '%7'",
            "age + 0 = 37",
        ):
            counted = caller.sql(f"SELECT count(*) AS n FROM {NAME} WHERE {predicate}")
            assert counted["n"].to_pylist() == [0], predicate
        joined = caller.sql(f"SELECT count(*) AS n FROM {NAME} JOIN range(10, 80) r(a) ON a = age WHERE a % 5 <> 0")
        assert joined["n"].to_pylist() == [0]


@pytest.mark.parametrize("thief", ["steward", "both", "nobody", None])
def test_what_one_user_holds_is_refused_to_another(
    server: Any, calling: Any, refusal: type[Exception], thief: str | None
) -> None:
    """A ticket in a log or a URL would carry its owner's rights to whoever finds it, the more powerful included."""
    select = f"SELECT * FROM {NAME}"
    with calling(server, "site") as owner, calling(server, thief) as other:
        ticket = owner.info(fl.FlightDescriptor.for_path(*PORT)).endpoints[0].ticket.ticket
        handle = owner.prepare(select)
        command = m.CommandPreparedStatementQuery(handle)
        attempts: tuple[Callable[[], object], ...] = (
            lambda: other.fetch(ticket),
            lambda: other.command(command),
            lambda: other.fetch(pack(command)),
        )
        for attempt in attempts:
            with pytest.raises(refusal) as refused:
                attempt()
            assert str(refused.value).startswith("unauthenticated: ")
            assert "site" not in str(refused.value)
        _check(owner.fetch(ticket), "site")
        _check(owner.command(command), "site")


def _names(caller: Any) -> list[tuple[str, ...]]:
    rows = caller.command(m.CommandGetTables(include_schema=False)).to_pylist()
    names = [(row["catalog_name"], row["db_schema_name"], row["table_name"]) for row in rows]
    return sorted(names)


def _ports_of(infos: Iterable[fl.FlightInfo]) -> list[bytes]:
    return [part for info in infos for part in info.descriptor.path]


def _bag(rows: Iterable[dict[str, Any]]) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(row.values()) for row in rows)

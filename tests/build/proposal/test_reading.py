"""What is counted in the rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pyarrow as pa

from flightmesh.build.proposal.facts import Table
from flightmesh.build.proposal.reading import ROWS_READ_MAX, Bench, is_identifying, read_table
from flightmesh.sources.base import Description, Fetch, Narrowing, Pushed
from tests.build.proposal.conftest import InMemory

Read = Callable[[str, Mapping[str, object]], Table]


class Live(InMemory):
    """A table that is read in parts, and remembers what it was asked for."""

    asked: Narrowing | None = None

    def pushed(self, narrowing: Narrowing) -> Pushed:
        return Pushed("")

    def fetch(self, narrowing: Narrowing, schema: pa.Schema) -> Fetch:
        self.asked = narrowing
        return Fetch(self.rows.slice(0, narrowing.limit).to_reader(), lambda: None, lambda: None)


def test_columns_are_counted(read: Read) -> None:
    """NULLs, distinct values and enumerations go into the contract: they must be those of the rows."""
    table = read("t", {"id": list(range(60)), "kind": ["a", "b", None] * 20, "free": [f"text {n}" for n in range(60)]})
    assert (table.rows, table.is_whole) == (60, True)
    assert [(c.nulls, c.is_unique, c.required) for c in table.columns] == [
        (0, True, True),
        (20, False, False),
        (0, False, True),
    ]
    assert table.column("kind").values == ("a", "b")
    assert table.column("free").values == ()


def test_few_rows_make_no_enumeration(read: Read) -> None:
    """Three rows say nothing about what the fourth may hold."""
    assert read("t", {"kind": ["a", "b", "b"]}).column("kind").values == ()


def test_personal_values_are_never_listed(read: Read) -> None:
    """The contract is public: an enumeration would publish what the mask is to hide."""
    column = read("t", {"ref": ["ada@example.org", "grace@example.org"] * 20}).column("ref")
    assert column.personal is not None
    assert column.values == ()


def test_columns_of_every_type_are_read(read: Read) -> None:
    """A nested column must not stop its table."""
    table = read(
        "t",
        {
            "nothing": pa.nulls(3),
            "list": [[1], [], None],
            "struct": [{"a": 1}, None, {"a": 2}],
            "blob": [b"a", b"b", None],
            "coded": pa.array(["x", "y", "x"]).dictionary_encode(),
        },
    )
    assert table.model == {"from": "t_file", "cast": {"nothing": "VARCHAR"}}
    assert [column.sql_type for column in table.columns][1:] == ["BIGINT[]", "STRUCT(a BIGINT)", "BLOB", "VARCHAR"]


def test_an_empty_table_promises_nothing(read: Read) -> None:
    """No row is NULL in an empty table, and the first row may be."""
    table = read("t", {"id": pa.array([], pa.int64())})
    assert (table.rows, table.column("id").required, table.column("id").is_unique) == (0, False, False)


def test_a_live_table_is_read_up_to_a_bound_and_promises_what_the_database_does(bench: Bench) -> None:
    """A table of a billion rows must not be copied to draw up a product."""
    live = Live(pa.table({"id": range(ROWS_READ_MAX + 5), "v": [1] * (ROWS_READ_MAX + 5)}))
    table = read_table(bench, "t", "t", ("db", "t"), live, Description(required=frozenset({"v"})), is_live=True)
    assert live.asked == Narrowing(limit=ROWS_READ_MAX)
    assert (table.rows, table.is_whole) == (ROWS_READ_MAX, False)
    assert [(c.required, c.values) for c in table.columns] == [(False, ()), (True, ())]


def test_a_dot_in_a_name_is_no_separator(bench: Bench) -> None:
    """``from: db.a.b`` would be looked for in another place."""
    rows = InMemory(pa.table({"x": [1]}))
    table = read_table(bench, "a_b", "a.b", ("db", "a.b"), rows, Description(), is_live=False)
    assert table.model == {"sql": 'SELECT * FROM "db"."a.b"'}


def test_names_that_identify() -> None:
    """``paid`` ends like an identifier and is none."""
    assert all(map(is_identifying, ["id", "customer_id", "customerId", "o_orderkey", "sku", "iata_code"]))
    assert not any(map(is_identifying, ["name", "aid", "key_figure"]))

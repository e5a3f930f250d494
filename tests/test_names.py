"""Names must fold, quote and compare as DuckDB does, or what resolves here would mean something else there."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given, strategies as st

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import (
    RESERVED_DOMAINS,
    ProductName,
    TableName,
    did_you_mean,
    fold,
    is_plain,
    literal,
    nearest,
    quote,
)

CONNECTION = duckdb.connect()
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(TEXT)
def test_a_quoted_name_is_one_identifier_to_duckdb(name: str) -> None:
    """A name that broke out of its quotes would be SQL injection into the secure views."""
    assert CONNECTION.sql(f"SELECT 1 AS {quote(name)}").columns == [name]


@given(TEXT)
def test_a_literal_is_one_string_to_duckdb(text: str) -> None:
    """A user's attribute that broke out of its literal would rewrite the row filter."""
    assert CONNECTION.sql(f"SELECT {literal(text)}").fetchall() == [(text,)]


@pytest.mark.parametrize(("one", "other"), [("Ab", "aB"), ("É", "é"), ("\u0131", "i"), ("\u212a", "k")])
def test_names_are_equal_here_exactly_when_duckdb_finds_them_equal(one: str, other: str) -> None:
    """Folding more than ASCII would let a statement resolve to a port that DuckDB does not take it for."""
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE t ({quote(one)} INTEGER)")
        try:
            connection.execute(f"SELECT {quote(other)} FROM t")
            is_equal = True
        except duckdb.BinderException:
            is_equal = False
    assert (fold(one) == fold(other)) is is_equal


@pytest.mark.parametrize("text", ["aviation", "a.b.c", "A.b", "a.", ".b", "a b.c", "1a.b", "", "a.b\n"])
def test_what_does_not_name_a_product_is_refused(text: str) -> None:
    """Product names become catalogues and schemas on the wire: anything else would need quoting at every client."""
    with pytest.raises(FlightmeshError) as caught:
        ProductName.parse(text)
    assert caught.value.code is ErrorCode.INVALID


@pytest.mark.parametrize("domain", sorted(RESERVED_DOMAINS))
def test_reserved_domains_are_refused(domain: str) -> None:
    """A product in the domain `main` or `temp` would hide behind, or take the place of, the engine's own catalogues."""
    with pytest.raises(FlightmeshError, match="reserved"):
        ProductName.parse(f"{domain}.x")


def test_the_nearest_name_is_given_as_it_is_written() -> None:
    """A hint is pasted back: it must be the known name, not the folded one."""
    assert nearest("CARIER", ["Carrier", "origin"]) == "Carrier"
    assert did_you_mean("zzzz", ["carrier"]) is None
    assert did_you_mean("carier", ["carrier"]) == "Did you mean carrier?"


def test_a_table_knows_its_product_and_its_sql() -> None:
    """The three parts are what Flight SQL clients see as catalogue, schema and table."""
    name = TableName("aviation", "flights", "daily_delays")
    assert (str(name), name.sql) == ("aviation.flights.daily_delays", '"aviation"."flights"."daily_delays"')
    assert name.product == ProductName.parse("aviation.flights")
    assert is_plain(name.table)
    assert not is_plain("Daily")

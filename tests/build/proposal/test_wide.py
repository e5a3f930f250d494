"""The wide model, on tables described by hand."""

from __future__ import annotations

from flightmesh.build.proposal.facts import Column, Link, Table
from flightmesh.build.proposal.wide import COLUMNS_MAX, DEPTH_MAX, wide_of


def table(port: str, columns: str, *links: Link, rows: int = 10) -> Table:
    named = tuple(Column(name, "INTEGER") for name in columns.split())
    return Table(port, (port,), port, False, rows, True, named, {"from": port}, links=links)


def link(columns: str, port: str, referenced: str) -> Link:
    return Link(tuple(columns.split()), port, tuple(referenced.split()), is_declared=True)


def taken(tables: list[Table]) -> dict[str, list[str]]:
    """The columns that each join of the wide model takes, by the path that it stands for."""
    wide = wide_of(tables, [each.port for each in tables])
    assert wide is not None
    return {" ".join(join.path[1:]): list(join.take) for join in wide.joins}


def test_without_links_there_is_no_wide_model() -> None:
    """A join by guess would multiply rows."""
    assert wide_of([table("a", "id"), table("b", "id")], ["a", "b"]) is None


def test_a_chain_is_followed_to_the_bound() -> None:
    """The columns of a far table are named after it, and end at the bound."""
    chain = [table(f"t{n}", f"id next v{n}", link("next", f"t{n + 1}", "id")) for n in range(DEPTH_MAX + 1)]
    found = taken([*chain, table(f"t{DEPTH_MAX + 1}", "id v")])
    assert found == {
        "t1": ["t1_next", "t1_v1"],
        "t1 t2": ["t2_next", "t2_v2"],
        "t1 t2 t3": ["t3_next", "t3_v3"],
    }


def test_two_keys_to_one_table_are_told_apart() -> None:
    """Without their own names home and away would overwrite each other."""
    match = table("match", "id home_team_id away_team_id", link("home_team_id", "team", "id"),
                  link("away_team_id", "team", "id"))  # fmt: skip
    team = table("team", "id name city_id", link("city_id", "city", "id"))
    wide = wide_of([match, team, table("city", "id name")], [])
    assert wide is not None
    assert [list(join.take) for join in wide.joins] == [
        ["home_team_name", "home_team_city_id"],
        ["away_team_name", "away_team_city_id"],
        ["home_team_city_name"],
        ["away_team_city_name"],
    ]


def test_a_row_is_joined_once_however_it_is_reached() -> None:
    """line -> stock -> product is the product of line -> product: twice the columns would say nothing more."""
    line = table("line", "id product place", link("product", "product", "id"), link("product place", "stock", "p w"))
    stock = table("stock", "p w left", link("p", "product", "id"), link("w", "place", "id"))
    tables = [line, stock, table("product", "id name"), table("place", "id name")]
    assert taken(tables) == {
        "product": ["product_name"],
        "stock": ["stock_w", "stock_left"],
        "stock place": ["place_name"],
    }


def test_a_diamond_over_different_rows_is_joined_twice() -> None:
    """The supplier of a product and the owner of its brand are two rows."""
    product = table("product", "id supplier brand", link("supplier", "supplier", "id"), link("brand", "brand", "id"))
    brand = table("brand", "id owner", link("owner", "supplier", "id"))
    assert taken([product, brand, table("supplier", "id name")]) == {
        "supplier": ["supplier_name"],
        "brand": ["brand_owner"],
        "brand supplier": ["brand_supplier_name"],
    }


def test_circles_end() -> None:
    """Tables that point to themselves and to each other must not be joined for ever."""
    person = table("person", "id boss unit", link("boss", "person", "id"), link("unit", "unit", "id"))
    unit = table("unit", "id head", link("head", "person", "id"))
    assert taken([person, unit]) == {"unit": ["unit_head"]}


def test_the_fact_is_the_table_with_most_paths_then_most_rows() -> None:
    """A wide table of a look-up table would be of no use."""
    a = table("a", "id b", link("b", "b", "id"), rows=5)
    c = table("c", "id b", link("b", "b", "id"), rows=50)
    wide = wide_of([a, c, table("b", "id v")], ["a", "b", "c", "c_wide"])
    assert wide is not None
    assert (wide.fact, wide.port) == ("c", "c_wide_2")


def test_what_does_not_fit_is_left_out_whole_and_said() -> None:
    """A port of thousands of columns cannot be read by anybody, and silence would pass for completeness."""
    big = table("big", " ".join(["id", *(f"v{n}" for n in range(COLUMNS_MAX))]))
    fact = table("fact", "id big small", link("big", "big", "id"), link("small", "small", "id"))
    wide = wide_of([fact, big, table("small", "id name")], [])
    assert wide is not None
    assert [join.port for join in wide.joins] == ["small"]
    assert wide.left_out == (f"fact -> big: more than {COLUMNS_MAX} columns or 60 joins",)


def test_names_never_collide() -> None:
    """Two columns of one name cannot be served."""
    fact = table("fact", "id unit_name unit", link("unit", "unit", "id"))
    assert taken([fact, table("unit", "id name NAME2 name2x")]) == {
        "unit": ["unit_name_2", "unit_NAME2", "unit_name2x"]
    }

"""``flightmesh.planner.masks``: what a reader sees is the union of the reader's ways to a port, cell by cell."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, strategies as st

from flightmesh.catalog.snapshot import DataColumn, PortData, ProductSnapshot
from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import ProductName, quote
from flightmesh.planner import masks
from flightmesh.planner.masks import Reader, Visible, filter_probe, mask_expression, product_key, visible
from flightmesh.product.contract import ContractColumn, DataContract
from flightmesh.product.model import DataProduct
from flightmesh.product.policy import Mask

KEY = b"k" * 32
COLUMNS = (DataColumn("k", "INTEGER"), DataColumn("t", "VARCHAR"), DataColumn("N", "BIGINT"))
ROWS: tuple[tuple[Any, ...], ...] = ((1, "ab", 7), (2, None, -7), (None, "çd", None), (3, "", 10), (4, "x'y", 0))
ROLES = ("r0", "r1", "r2")


@pytest.fixture(scope="module")
def base() -> Iterator[duckdb.DuckDBPyConnection]:
    """The port's rows, whole."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute('CREATE TABLE base (k INTEGER, t VARCHAR, "N" BIGINT)')
        connection.executemany("INSERT INTO base VALUES (?, ?, ?)", [list(row) for row in ROWS])
        yield connection


def _product(policies: list[dict[str, Any]]) -> tuple[ProductSnapshot, PortData]:
    manifest = {
        "flightmesh": "v1",
        "product": "lab.x",
        "version": "1.0.0",
        "title": "t",
        "owner": {"team": "a"},
        "sources": {"a": {"type": "csv", "path": "a.csv"}},
        "models": {"p": {"from": "a"}},
        "ports": {"p": {"model": "p", "contract": "c.yaml"}},
        "policies": tuple(policies),
    }
    contract = DataContract("c", "1.0.0", "active", "p", None, None, tuple(map(_promise, COLUMNS)), {})
    port = PortData("p", COLUMNS, len(ROWS), Path("p.parquet"), Path("p.duckdb"), "p")
    product = DataProduct.model_validate(manifest)
    return ProductSnapshot(ProductName("lab", "x"), product, {"p": contract}, {"p": port}, "s", "b"), port


def _promise(column: DataColumn) -> ContractColumn:
    return ContractColumn(column.name, None, column.sql_type, False, False, None, None, None, None, frozenset())


def _visible(policies: list[dict[str, Any]], *roles: str, **attributes: Any) -> Visible | None:
    return visible(*_product(policies), Reader("ann", frozenset(roles), attributes), mask_key=KEY)


def _read(base: duckdb.DuckDBPyConnection, shown: Visible | None) -> Counter[tuple[Any, ...]]:
    assert shown is not None
    columns = ", ".join(expression or quote(column.name) for column, expression in shown.columns)
    where = f" WHERE {shown.predicate}" if shown.predicate else ""
    return Counter(base.sql(f"SELECT {columns} FROM base{where}").fetchall())


GRANT = {"grant": "read", "port": "p", "to": ("role:r0", "role:r1")}


def test_without_a_grant_there_is_no_port() -> None:
    """Whoever was forgotten in the policies would see everything."""
    assert _visible([]) is None
    assert _visible([GRANT], "r2") is None
    assert _visible([{"rows": "true", "of": "p"}], "r0") is None
    product, port = _product([{"grant": "read", "port": "p", "to": ("*",)}])
    assert visible(product, port, Reader(None, frozenset({"r0"}), {}), mask_key=KEY) is None


def test_a_comment_in_a_filter_ends_with_it(base: duckdb.DuckDBPyConnection) -> None:
    """A comment would swallow the filter that follows it, or the view."""
    shown = _visible([GRANT, {"rows": "k > 1 -- not the first", "of": "p"}, {"rows": "k < 4", "of": "p"}], "r0")
    assert sorted(row[0] for row in _read(base, shown)) == [2, 3]


def test_a_row_whose_filter_is_null_is_hidden(base: duckdb.DuckDBPyConnection) -> None:
    """A row with a missing value in the filtered column would be everybody's."""
    assert _read(base, _visible([GRANT, {"rows": "k > 1", "of": "p"}], "r0")) == Counter(
        [row for row in ROWS if row[0] is not None and row[0] > 1]
    )


@pytest.mark.parametrize(
    ("attributes", "ks"),
    [
        ({"k": 2}, [2]),
        ({"k": (1, 3)}, [1, 3]),
        ({"k": ()}, []),
        ({}, []),
        ({"other": 1}, []),
        ({"k": "2) OR (1=1"}, None),
    ],
)
def test_attributes_are_values_never_sql(base: duckdb.DuckDBPyConnection, attributes: dict[str, Any], ks: Any) -> None:
    """An attribute from a token would widen its user's filter; a missing one would lift it."""
    shown = _visible([GRANT, {"rows": "k IN (:user.k)", "of": "p"}], "r0", **attributes)
    if ks is None:
        with pytest.raises(duckdb.ConversionException):
            _read(base, shown)
    else:
        assert sorted(row[0] for row in _read(base, shown)) == ks


def test_text_that_looks_like_an_attribute_is_text(base: duckdb.DuckDBPyConnection) -> None:
    """A filter that compares with such a text would be rewritten."""
    shown = _visible([GRANT, {"rows": "t <> ':user.k' AND t = :user.t", "of": "p"}], "r0", t="x'y")
    assert [row[1] for row in _read(base, shown)] == ["x'y"]


MASKS: dict[str, Any] = {
    "k": ("drop", "null", {"band": 2}),
    "t": ("drop", "null", {"constant": "-"}, {"first": 1}),
    "N": ("drop", "null", {"constant": 5}, {"band": 4}),
}
FILTERS: dict[str, Callable[[tuple[Any, ...]], bool]] = {
    "k > 1": lambda row: row[0] is not None and row[0] > 1,
    "t IS NOT NULL": lambda row: row[1] is not None,
    "N >= 0": lambda row: row[2] is not None and row[2] >= 0,
}
OPENNESS = ("drop", "null", "constant", "first", "band", "none")
_for = st.sampled_from((None, *(f"role:{role}" for role in ROLES)))
_unless = st.lists(st.sampled_from([f"role:{role}" for role in ROLES]), max_size=1).map(tuple)


def _rule(content: dict[str, Any], for_: str | None, unless: tuple[str, ...]) -> dict[str, Any]:
    return {**content, "of": "p", **({"for": for_} if for_ else {}), "unless": unless}


_policies = st.lists(
    st.one_of(
        st.builds(lambda to: {"grant": "read", "port": "p", "to": to}, st.sampled_from([f"role:{r}" for r in ROLES])),
        st.builds(lambda rows, f, u: _rule({"rows": rows}, f, u), st.sampled_from(sorted(FILTERS)), _for, _unless),
        st.sampled_from([(column, mask) for column, masks in MASKS.items() for mask in masks]).flatmap(
            lambda pair: st.builds(
                lambda f, u: _rule({"mask": {"column": pair[0], "with": pair[1]}}, f, u), _for, _unless
            )
        ),
    ),
    max_size=9,
)


@given(_policies, st.frozensets(st.sampled_from(ROLES)))
def test_every_cell_is_as_its_most_open_way_shows_it(
    base: duckdb.DuckDBPyConnection, policies: list[dict[str, Any]], roles: frozenset[str]
) -> None:
    """A reader with several roles would lose what one shows, or see what none does. Against a slow, obvious twin."""
    shown = _visible(policies, *roles)
    ways = [way for way in (_way(policies, role, roles) for role in sorted(roles)) if way is not None]
    assert (shown is None) == (not ways)
    if shown is None:
        return
    names = [column.name for column in COLUMNS if any(masks.get(column.name) != "drop" for _, masks in ways)]
    assert [column.name for column, _ in shown.columns] == names
    if names:
        expected = (_row(row, ways, names) for row in ROWS)
        assert _read(base, shown) == Counter(row for row in expected if row is not None)


def _way(policies: list[dict[str, Any]], role: str, roles: frozenset[str]) -> tuple[list[str], dict[str, Any]] | None:
    """Filters and masks of what is read through one role's grant; None when the role has none."""
    subject = f"role:{role}"
    if not any(policy.get("to") == subject for policy in policies):
        return None
    binding = [
        policy
        for policy in policies
        if "grant" not in policy
        and policy.get("for", subject) == subject
        and not any(lifting.removeprefix("role:") in roles for lifting in policy["unless"])
    ]
    masks: dict[str, Any] = {}
    for policy in binding:
        if "mask" in policy:
            column, new = policy["mask"]["column"], policy["mask"]["with"]
            masks[column] = min((masks.get(column, "none"), new), key=_open)
    return [policy["rows"] for policy in binding if "rows" in policy], masks


def _open(mask: Any) -> int:
    return OPENNESS.index(mask if isinstance(mask, str) else next(iter(mask)))


def _row(row: tuple[Any, ...], ways: list[tuple[list[str], dict[str, Any]]], names: list[str]) -> Any:
    """The row as it looks; None when no way lets it through."""
    through = [masks for filters, masks in ways if all(FILTERS[rows](row) for rows in filters)]
    if not through:
        return None
    cells = dict(zip((column.name for column in COLUMNS), row, strict=True))
    return tuple(_look(cells[name], max((masks.get(name, "none") for masks in through), key=_open)) for name in names)


def _look(value: Any, mask: Any) -> Any:
    if mask == "none" or (value is None and mask != {"constant": "-"} and mask != {"constant": 5}):
        return value
    if isinstance(mask, str):
        return None
    [(kind, argument)] = mask.items()
    return {
        "constant": lambda: argument,
        "first": lambda: value[:argument],
        "band": lambda: value // argument * argument,
    }[kind]()


@pytest.mark.parametrize(
    ("sql_type", "mask", "value", "looks"),
    [
        ("BIGINT", Mask("c", "band", 5), "37", 35),
        ("BIGINT", Mask("c", "band", 5), "-1", -5),
        ("INTEGER", Mask("c", "band", 1), "2147483647", 2147483647),
        ("DOUBLE", Mask("c", "band", 0.5), "1.7", 1.5),
        ("DECIMAL(5,2)", Mask("c", "band", 10), "19.99", 10),
        ("DATE", Mask("c", "year"), "'2013-07-04'", "2013-01-01"),
        ("TIMESTAMP", Mask("c", "month"), "'2013-07-04 12:00:00'", "2013-07-01 00:00:00"),
        ("VARCHAR", Mask("c", "first", 2), "'çdé'", "çd"),
        ("VARCHAR", Mask("c", "first", 0), "'x'", ""),
        ("VARCHAR", Mask("c", "constant", "it's"), "'x'", "it's"),
        ("BOOLEAN", Mask("c", "constant", False), "true", False),
        ("DATE", Mask("c", "null"), "'2013-07-04'", None),
        ("BIGINT", Mask("c", "drop"), "1", None),
    ],
    ids=str,
)
def test_a_mask_keeps_the_type(
    base: duckdb.DuckDBPyConnection, sql_type: str, mask: Mask, value: str, looks: object
) -> None:
    """A masked column would break every consumer that knows its type."""
    expression = mask_expression(DataColumn("c", sql_type), mask, KEY)
    relation = base.sql(f"SELECT {expression} AS m FROM (SELECT CAST({value} AS {sql_type}) AS c)")
    assert str(relation.types[0]) == sql_type
    [(found,)] = relation.fetchall()
    assert found == looks if not isinstance(looks, str) else str(found) == looks


@pytest.mark.parametrize("text", ["", "ann", "é\U0001f512", "x" * 300])
def test_a_pseudonym_is_rfc_2104_under_a_key_of_the_product(base: duckdb.DuckDBPyConnection, text: str) -> None:
    """A pseudonym would be a plain hash, which anybody can look up, or join two products."""
    key = product_key(KEY, ProductName("lab", "x"))
    expression = mask_expression(DataColumn("c", "VARCHAR"), Mask("c", "hmac"), key)
    [(found,)] = base.sql(f"SELECT {expression} FROM (SELECT $1 AS c)", params=[text]).fetchall()
    assert found == hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    assert key != product_key(KEY, ProductName("lab", "y"))
    assert base.sql(f"SELECT {expression} FROM (SELECT NULL::VARCHAR AS c)").fetchall() == [(None,)]


@pytest.mark.parametrize(
    "predicate", ["k > 1", "t IN (:user.sites)", "t LIKE 'a;b'", "k = 1 OR k IS NULL", "(k) = (1)", "k > 1 -- more"]
)
def test_a_filter_over_the_ports_columns_passes(predicate: str) -> None:
    """An author could not write an ordinary filter."""
    probe = filter_probe(predicate, "port", limits=Limits())
    assert probe.endswith(" LIMIT 0")


@pytest.mark.parametrize(
    "predicate",
    [
        "true) UNION SELECT (1",
        "true) OR (true",
        "k IN (SELECT k FROM other)",
        "EXISTS (FROM port)",
        "k = ?",
        "k = $x",
        "stats(k) = 'x'",
        "k = getvariable('x')",
        "true; DROP TABLE port",
        "true) GROUP BY (k",
        "true) LIMIT (1",
        "true] OR [true",
        "/* true",
    ],
)
def test_a_filter_that_is_more_than_one_expression_is_refused(predicate: str) -> None:
    """A filter would open more rows than its text says, or read another table."""
    with pytest.raises(FlightmeshError) as caught:
        filter_probe(predicate, "port", limits=Limits())
    assert caught.value.code is ErrorCode.INVALID


@pytest.mark.parametrize(
    ("predicate", "attributes", "rows"),
    [
        ("n >= 0-:user.depth AND n < 3", {"depth": -2}, [2]),
        ("n = :user.depth", {"depth": -2}, []),
        ("n IN (:user.ns)", {"ns": (1, 2)}, [1, 2]),
        ("n IN (7, :user.ns)", {"ns": (1, 2)}, [1, 2]),
        ("n = :user.ns", {"ns": (1, 2)}, []),
        ("n = :user.missing OR n = 1", {}, []),
        ("n IN (:user.ns)", {"ns": ()}, []),
    ],
)
def test_attributes_stay_values_wherever_they_stand(
    predicate: str, attributes: dict[str, int | tuple[int, ...]], rows: list[int]
) -> None:
    """A negative number after a minus once turned the rest of the filter into a comment, and showed every row."""
    text = masks._with_attributes(predicate, attributes)
    with duckdb.connect() as connection:
        shown = connection.sql(f"SELECT n FROM range(5) t(n) WHERE (\n{text}\n) ORDER BY n").fetchall()
    assert [n for (n,) in shown] == rows


@pytest.mark.parametrize(("value", "band"), [(-128, None), (-100, -100), (127, 100), (0, 0), (None, None)])
def test_a_band_wider_than_the_type_breaks_no_row(value: int | None, band: int | None) -> None:
    """A width of 100 overflowed in a TINYINT column: every read of the port failed."""
    column = DataColumn("x", "TINYINT")
    expression = mask_expression(column, Mask("x", "band", 100), b"k" * 32)
    with duckdb.connect() as connection:
        found = connection.sql(f"SELECT {expression} FROM (SELECT CAST($1 AS TINYINT) AS x)", params=[value]).fetchall()
    assert found == [(band,)]

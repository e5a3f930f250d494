"""TPC-H as a product, asked through stock drivers: all 22 answers are those of DuckDB over the same files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest

from benchmarks.tpch import ROLE, TABLES, make_product
from tests.tpch.queries import QUERIES
from tests.wire import java_client, values
from tests.wire.client import Client, Login

if TYPE_CHECKING:
    from tests.conftest import ServedBy

# How far apart two sums of the same floating-point numbers in another order may be.
_RELATIVE = 1e-9
# A user of the tests' servers; its role is of the same name.
_USER = "analyst"


@dataclass
class Tpch:
    """A server that serves the tables, and DuckDB alone over the product's own files."""

    server: ServedBy
    alone: duckdb.DuckDBPyConnection
    folder: Path
    wanted: dict[int, pa.Table] = field(default_factory=dict)

    def answer(self, number: int) -> pa.Table:
        """DuckDB's own answer to the query."""
        if number not in self.wanted:
            self.wanted[number] = self.alone.sql(QUERIES[number]).to_arrow_table()
        return self.wanted[number]


def _serving(folder: Path, scale: float) -> Iterator[Tpch]:
    from tests.conftest import serving

    product = make_product(folder, scale)
    manifest = product / "product.yaml"
    manifest.write_text(manifest.read_text().replace(f"role:{ROLE}", f"role:{_USER}"))
    with serving(folder / "server", products=[product]) as server, duckdb.connect() as alone:
        assert server.ready["unavailable"] == {}
        for name in TABLES:
            alone.execute(f"CREATE VIEW {name} AS FROM read_parquet('{product / 'data' / name}.parquet')")
        yield Tpch(server, alone, folder)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tpch]:
    """Scale factor 0.01, for every run of the suite."""
    yield from _serving(tmp_path_factory.mktemp("tpch_small"), 0.01)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tpch]:
    """Scale factor 0.1, as the issue asks."""
    yield from _serving(tmp_path_factory.mktemp("tpch_large"), 0.1)


@pytest.fixture(scope="module")
def jdbc(large: Tpch) -> Iterator[Client]:
    """A connection of the JDBC driver to the larger one."""
    connection = java_client.JDBC.connect(Login(large.server.uri, token=large.server.tokens[_USER]), large.folder)
    yield connection
    connection.close()


def _check_adbc(tpch: Tpch, number: int) -> None:
    with tpch.server.adbc(_USER) as connection, connection.cursor() as cursor:
        found = cursor.execute(QUERIES[number]).fetch_arrow_table()
    wanted = tpch.answer(number)
    assert found.schema.names == wanted.schema.names
    assert found.schema.types == wanted.schema.types
    _assert_same(values.of_table(found).rows, values.of_table(wanted).rows)


def _assert_same(found: tuple[tuple[Any, ...], ...], wanted: tuple[tuple[Any, ...], ...]) -> None:
    """The same rows; those that a query's ORDER BY leaves equal may stand either way."""
    assert len(found) == len(wanted)
    for have, want in zip(sorted(found, key=_place), sorted(wanted, key=_place), strict=True):
        assert len(have) == len(want)
        assert all(map(_equal, have, want)), (have, want)


def _place(row: tuple[Any, ...]) -> list[str]:
    # Floating-point numbers roughly: their last digits must not decide over the order.
    return [f"{value:.6g}" if isinstance(value, float) else str(value) for value in row]


def _equal(have: object, want: object) -> bool:
    if isinstance(have, float) and isinstance(want, float):
        return math.isclose(have, want, rel_tol=_RELATIVE)
    return type(have) is type(want) and have == want


@pytest.mark.client
@pytest.mark.parametrize("number", list(QUERIES))
def test_adbc_answers_as_duckdb(small: Tpch, number: int) -> None:
    """People could not trust what a product answers through the driver that they have."""
    _check_adbc(small, number)


@pytest.mark.client
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", list(QUERIES))
def test_adbc_answers_as_duckdb_at_a_tenth(large: Tpch, number: int) -> None:
    """The same where results and plans have many batches."""
    _check_adbc(large, number)


@pytest.mark.clients
@pytest.mark.timeout(600)
@pytest.mark.skipif(java_client.missing() is not None, reason=java_client.missing() or "")
@pytest.mark.parametrize("number", list(QUERIES))
def test_jdbc_answers_as_duckdb(large: Tpch, jdbc: Client, number: int) -> None:
    """The same for the tools written in Java, which read every value by getObject."""
    found, wanted = jdbc.query(QUERIES[number]), values.of_table(large.answer(number))
    assert found.columns == wanted.columns
    _assert_same(found.rows, wanted.rows)


@pytest.mark.client
def test_the_answers_have_rows(small: Tpch) -> None:
    """Twenty-two empty answers would be equal, too."""
    assert sum(small.answer(number).num_rows > 0 for number in QUERIES) >= 20

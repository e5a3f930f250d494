"""TPC-H in PostgreSQL, read live: all 22 answers are those of DuckDB over its own tables, and the page says truly which
statements PostgreSQL answers whole.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from tests.live.conftest import Live, live_server, write_product
from tests.postgres import Postgres
from tests.tpch.data import load_duckdb, load_postgres, tpch_tables
from tests.tpch.queries import QUERIES

PAGE = Path(__file__).parents[2] / "docs/pushdown.md"
_TABLE = re.compile(r"(?<=<!-- tpch -->\n).*?(?=<!-- /tpch -->)", re.DOTALL)


class Tpch:
    """Both sides: the live server and DuckDB alone."""

    def __init__(self, live: Live, alone: duckdb.DuckDBPyConnection) -> None:
        self.live = live
        self.alone = alone


def _serving(postgres: Postgres, folder: Path, scale: float) -> Iterator[Tpch]:
    tables = tpch_tables(scale, folder / "tables")
    database = f"tpch_{str(scale).replace('.', '_')}"
    load_postgres(postgres, database, tables)
    with duckdb.connect() as alone:
        load_duckdb(alone, tables)
        columns = {name: {row[0]: row[1] for row in alone.execute(f"DESCRIBE {name}").fetchall()} for name in tables}
        product = write_product(
            folder / "product",
            "bench.tpch",
            f'pg: {{type: postgres, uri: "{postgres.uri_of(database)}", mode: live, timeout: 120s}}',
            "\n".join(f"{name}: {{from: pg.{name}}}" for name in tables),
            columns,
        )
        with live_server(folder, product) as live:
            assert not live.application.ready.unavailable
            yield Tpch(live, alone)
    postgres.run(f"DROP DATABASE {database} WITH (FORCE)")


@pytest.fixture(scope="module")
def small(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tpch]:
    """Scale factor 0.01, for every run of the suite."""
    yield from _serving(postgres, tmp_path_factory.mktemp("tpch_small"), 0.01)


@pytest.fixture(scope="module")
def large(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tpch]:
    """Scale factor 0.1, as the issue asks."""
    yield from _serving(postgres, tmp_path_factory.mktemp("tpch_large"), 0.1)


def _check(tpch: Tpch, number: int) -> None:
    sql = QUERIES[number]
    found, wanted = tpch.live.table(sql), tpch.alone.sql(sql).to_arrow_table()
    assert found.schema.names == wanted.schema.names
    assert found.schema.types == wanted.schema.types
    assert found.num_rows == wanted.num_rows
    for have, want in zip(_ordered(found), _ordered(wanted), strict=True):
        assert len(have) == len(want)
        assert all(map(_equal, have, want)), (have, want)


def _ordered(table: pa.Table) -> list[tuple[object, ...]]:
    """The rows in an order of their own: rows that a query's ORDER BY leaves equal may stand either way."""
    rows = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return sorted(rows, key=lambda row: [_rough(value) for value in row])


def _rough(value: object) -> tuple[str, object]:
    return ("", f"{value:.6g}") if isinstance(value, float) else (type(value).__name__, value)


def _equal(have: object, want: object) -> bool:
    if isinstance(have, float) and isinstance(want, float):
        return math.isclose(have, want, rel_tol=1e-9)
    return type(have) is type(want) and have == want


@pytest.mark.postgres
@pytest.mark.parametrize("number", list(QUERIES))
def test_every_answer_is_duckdbs(small: Tpch, number: int) -> None:
    """People could not trust what a live port answers."""
    _check(small, number)


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", list(QUERIES))
def test_every_answer_is_duckdbs_at_a_tenth(large: Tpch, number: int) -> None:
    """The same where the database's plans are others and streams have many batches."""
    _check(large, number)


@pytest.mark.postgres
def test_the_page_says_what_is_pushed(small: Tpch) -> None:
    """Whoever decides on a live source by this page would decide wrongly."""
    lines = ["| query | pushed whole | why not |\n", "|---|---|---|\n"]
    for number, sql in QUERIES.items():
        explained = small.live.client.sql(sql).explain()
        lines.append(f"| Q{number} | {'yes' if explained.pushed_whole else 'no'} | {explained.reason or ''} |\n")
    table, text = "".join(lines), PAGE.read_text()
    if os.environ.get("REWRITE_GOLDEN"):
        PAGE.write_text(_TABLE.sub(lambda _: table, text))
    assert table == "".join(_TABLE.findall(PAGE.read_text()))

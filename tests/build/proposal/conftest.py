"""A bench, and small files as people have them, for the tests of drawing up products."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flightmesh.build.proposal.facts import Table
from flightmesh.build.proposal.reading import Bench, described, read_table
from flightmesh.config import Limits
from flightmesh.engine.workshop import Bounds, Workshop


class InMemory:
    """A table of a source, held in memory."""

    def __init__(self, rows: pa.Table) -> None:
        self.rows = rows

    def schema(self) -> pa.Schema:
        return self.rows.schema

    def read(self) -> pa.RecordBatchReader:
        return self.rows.to_reader()

    def fingerprint(self) -> None:
        return None


@pytest.fixture
def bench() -> Iterator[Bench]:
    """An empty workshop and questions to it."""
    with Workshop(Bounds(threads=1)) as workshop:
        yield Bench(workshop, Limits())


@pytest.fixture
def read(bench: Bench) -> Callable[..., Table]:
    """``read("orders", {"id": [1, 2]})``: what is known of a table with these rows."""

    def call(name: str, rows: dict[str, object]) -> Table:
        table = InMemory(pa.table(rows))
        return read_table(bench, name, name, (f"{name}_file",), table, described(table), is_live=False)

    return call


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with customers (CSV by semicolons), orders (CSV), products (Parquet) and something else."""
    folder = tmp_path / "exports"
    folder.mkdir()
    customers = ["id;name;email;zip;joined"]
    customers += [f"{n};Person {n};p{n}@example.org;0{1000 + n};2024-01-{1 + n % 28:02}" for n in range(1, 41)]
    (folder / "Customers.csv").write_text("\n".join(customers) + "\n")
    orders = ["order_id,customer_id,sku,weight_kg,state,note"]
    orders += [
        f"{n},{1 + n % 40},S{n % 5},{n / 4 if n % 9 else 'NA'},{['open', 'paid'][n % 2]}," for n in range(1, 201)
    ]
    (folder / "orders.csv").write_text("\n".join(orders) + "\n")
    products = pa.table({"sku": [f"S{n}" for n in range(5)], "price_usd": [1.5, 2.5, 3.5, 4.5, 5.5]})
    pq.write_table(products, folder / "products.parquet")
    (folder / "notes.txt").write_text("not data")
    return folder

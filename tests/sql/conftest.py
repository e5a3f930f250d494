"""Tables that stand in DuckDB and in PostgreSQL, for the tests of pushed statements."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres import Postgres
from tests.sql.both_engines import BothEngines, both_engines, hostile_table
from tests.sql.random_queries import random_tables


@pytest.fixture(scope="session")
def both(postgres: Postgres) -> Iterator[BothEngines]:
    """The hostile table ``h`` and the random tables ``t1`` and ``t2``, in both engines."""
    with both_engines(postgres, "both_engines", {"h": hostile_table(), **random_tables()}) as engines:
        yield engines

"""The hidden-row oracle: what a policy hides has no influence on any answer.

Random statements run twice: as a reader through the secure view of ``clinical.trials.patients``, and over a plain
table that holds only what the reader may see, built here from the raw file. Both give the same rows, or both fail.
Most run in-process on the server's own planner and engine; a sample goes over the wire.
"""

from __future__ import annotations

import csv
import gzip
import random
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from flightmesh.build.catalog import find_products, load_catalog
from flightmesh.build.pipeline import BuildBounds
from flightmesh.catalog.store import Store
from flightmesh.config import Limits
from flightmesh.engine.duckdb import DuckDBEngine
from flightmesh.engine.twin import Twin
from flightmesh.engine.workshop import Bounds
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.planner.masks import Reader
from flightmesh.planner.pipeline import Planner
from flightmesh.planner.surface import surface

PRODUCT = Path(__file__).parents[2] / "products" / "clinical_trials"
ARMS = ("zidovudine", "zidovudine + didanosine", "zidovudine + zalcitabine", "didanosine")
READERS = ("site", "analyst")
IN_PROCESS, ON_THE_WIRE = 1_000, 200
Answer = Counter[tuple[Any, ...]] | None  # None: the statement failed
Run = Callable[[str], pa.Table]

NUMBERS = ("age", "wtkg", "karnof", "preanti", "symptom", "cd40", "cd420", "cd496", "cd80", "cens", "days", "arms")
KEYS = ("age", "karnof", "symptom", "arms", "arm_name", "gender", "strat")


class Author:
    """Writes statements over ``clinical.trials.patients``. One seed, one sequence of statements."""

    def __init__(self, seed: int, *, has_pidnum: bool) -> None:
        self._random = random.Random(seed)
        # An analyst's rows are all visible; what hides is the age behind its band, so that is asked for most.
        self._numbers = (*NUMBERS, "pidnum") if has_pidnum else (*NUMBERS, *("age",) * 5)

    def statement(self) -> str:
        forms = (
            self._rows,
            self._groups,
            self._self_join,
            self._windows,
            self._subquery,
            self._set_operation,
            self._cte,
            self._top,
            self._probe,
            self._probe,
            self._probe,
            self._aggregate,
        )
        return self._random.choice(forms)()

    def _pick(self, *choices: str) -> str:
        return self._random.choice(choices)

    def _column(self, table: str = "p") -> str:
        return f"{table}.{self._random.choice(self._numbers)}"

    def _constant(self) -> str:
        return self._pick("0", "1", "5", "37", "100", "300", "933", "10056", "NULL", "-1", "2.5", "1e300")

    def _number(self, depth: int = 2, table: str = "p") -> str:
        if depth == 0 or self._random.random() < 0.3:
            return self._column(table) if self._random.random() < 0.7 else self._constant()
        left, right = self._number(depth - 1, table), self._number(depth - 1, table)
        return self._pick(
            f"({left} {self._pick('+', '-', '*', '/', '//', '%')} {right})",
            f"(1 // ({self._column(table)} - {self._constant()}))",
            f"CASE WHEN {self._predicate(0, table)} THEN {left} ELSE {right} END",
            f"CAST({left} AS {self._pick('TINYINT', 'SMALLINT', 'UTINYINT', 'DECIMAL(4,1)', 'FLOAT', 'HUGEINT')})",
            f"TRY_CAST({left} AS TINYINT)",
            f"CAST(left(CAST({self._column(table)} AS VARCHAR), 2) AS TINYINT)",
            f"coalesce({left}, {right})",
            f"greatest({left}, {right})",
            f"length({table}.arm_name) + {left}",
            f"sqrt({left})",
            f"ln({left})",
            f"hash({left}) % 7",
        )

    def _predicate(self, depth: int = 2, table: str = "p") -> str:
        if depth == 0 or self._random.random() < 0.3:
            operator = self._pick("=", "<>", "<", ">=", "IS DISTINCT FROM")
            return f"{self._column(table)} {operator} {self._constant()}"
        inner = self._predicate(depth - 1, table)
        return self._pick(
            f"{self._number(1, table)} {self._pick('<', '>', '=')} {self._number(1, table)}",
            f"({inner} AND {self._predicate(depth - 1, table)})",
            f"({inner} OR {self._predicate(depth - 1, table)})",
            f"NOT ({inner})",
            f"{self._column(table)} IS NULL",
            f"{self._column(table)} IN ({self._constant()}, {self._constant()}, 20, 30)",
            f"{table}.arm_name LIKE '{self._pick('%d', 'z%', '%+%')}'",
            f"{self._column(table)} IN (SELECT {self._column('q')} FROM patients q WHERE {self._predicate(0, 'q')})",
            f"EXISTS (FROM patients q WHERE q.days = {table}.days AND q.cd40 > {self._column(table)})",
            f"{self._column(table)} > (SELECT {self._pick('avg', 'min', 'max', 'median')}({self._column('q')}) "
            "FROM patients q)",
        )

    def _fold(self, table: str = "p") -> str:
        argument = self._number(1, table)
        return self._pick(
            "count(*)",
            f"count({argument})",
            f"sum({argument})",
            f"avg({argument})",
            f"min({argument})",
            f"max({argument})",
            f"count(DISTINCT {argument})",
            f"median({self._column(table)})",
            f"stddev({self._column(table)})",
            f"quantile_disc({self._column(table)}, 0.9)",
            f"bool_or({self._predicate(1, table)})",
            f"count(*) FILTER (WHERE {self._predicate(1, table)})",
            f"string_agg(DISTINCT {table}.arm_name, ',' ORDER BY {table}.arm_name)",
            f"list_sort(list(DISTINCT {self._column(table)}))",
        )

    def _rows(self) -> str:
        return (
            f"SELECT {self._pick('', 'DISTINCT ')}{self._number()} AS a, {self._column()} AS b "
            f"FROM patients p WHERE {self._predicate()}"
        )

    def _groups(self) -> str:
        key = self._pick(*KEYS)
        return (
            f"SELECT p.{key}, {self._fold()} AS f, {self._fold()} AS g FROM patients p WHERE {self._predicate(1)} "
            f"GROUP BY {self._pick(f'p.{key}', f'ROLLUP (p.{key})', 'ALL')} HAVING {self._fold()} IS NOT NULL"
        )

    def _self_join(self) -> str:
        kind = self._pick("JOIN", "LEFT JOIN", "FULL JOIN", "SEMI JOIN", "ANTI JOIN")
        both = kind not in ("SEMI JOIN", "ANTI JOIN")
        return (
            f"SELECT {self._fold()} AS f{', ' + self._fold('q') + ' AS g' if both else ''} FROM patients p "
            f"{kind} patients q ON p.days = q.days AND {self._predicate(0, 'q')} WHERE {self._predicate(1)}"
        )

    def _windows(self) -> str:
        order = ", ".join(f"p.{name}" for name in dict.fromkeys(self._numbers))
        call = self._pick(
            "row_number()", "rank()", "count(*)", f"lag({self._column()})", f"first({self._column()})", "ntile(4)"
        )
        return (
            f"SELECT {call} OVER (PARTITION BY p.{self._pick(*KEYS)} ORDER BY {order}) AS w, {self._column()} AS b "
            f"FROM patients p QUALIFY w {self._pick('<', '>=')} {self._pick('2', '5', '90')}"
        )

    def _subquery(self) -> str:
        return (
            f"SELECT {self._fold('s')} AS f FROM (SELECT *, {self._number(1)} AS x FROM patients p "
            f"WHERE {self._predicate(1)}) s WHERE s.x {self._pick('>', '<', '=')} {self._constant()}"
        )

    def _set_operation(self) -> str:
        operation = self._pick("UNION", "UNION ALL", "EXCEPT", "INTERSECT")
        return (
            f"SELECT {self._column()} AS a FROM patients p WHERE {self._predicate(1)} {operation} "
            f"SELECT {self._column('q')} FROM patients q WHERE {self._predicate(1, 'q')}"
        )

    def _cte(self) -> str:
        return (
            f"WITH c AS {self._pick('', 'MATERIALIZED ')}(SELECT p.*, {self._number(1)} AS x FROM patients p), "
            f"patients AS (FROM c p WHERE {self._predicate(1)}) SELECT {self._fold()} AS f FROM patients p"
        )

    def _top(self) -> str:
        return (
            f"SELECT {self._column()} AS a, {self._number(1)} AS b FROM patients p WHERE {self._predicate(1)} "
            f"ORDER BY ALL LIMIT {self._pick('1', '7', '(SELECT count(*) // 9 FROM patients)')} "
            f"OFFSET {self._pick('0', '3')}"
        )

    def _probe(self) -> str:
        """Fails on a value that the reader may or may not see, which is how a hidden row would make itself felt."""
        value, column = self._pick("0", "1", "10056", "37", "3"), self._column()
        trap = self._pick(
            f"CASE WHEN {column} = {value} THEN error('seen') ELSE 1 END",
            f"CAST(CASE WHEN {column} = {value} THEN 'x' ELSE '1' END AS INTEGER)",
            f"CAST({column} * 1000000000000000 AS INTEGER)",
            f"CAST(CASE WHEN {column} = {value} THEN 9999 ELSE 1 END AS TINYINT)",
            f"sqrt(CASE WHEN {column} = {value} THEN -1 ELSE 1 END)",
            "CASE WHEN p.symptom = 0 THEN error('seen') ELSE 1 END",
            "CASE WHEN p.age % 5 > 0 THEN error('seen') ELSE 1 END",
        )
        return self._pick(
            f"SELECT {trap} AS a FROM patients p",
            f"SELECT count(*) AS n FROM patients p WHERE {trap} = 1",
            f"SELECT sum({trap}) AS n FROM patients p",
            f"SELECT max({trap}) AS n FROM patients p GROUP BY p.arms",
            f"SELECT count(*) AS n FROM patients p JOIN patients q ON q.days = p.days * {trap}",
            f"SELECT {trap} AS a FROM patients p ORDER BY {trap} LIMIT 1",
        )

    def _aggregate(self) -> str:
        return f"SELECT {self._fold()} AS f, {self._fold()} AS g FROM patients p WHERE {self._predicate()}"


def _patients() -> list[dict[str, Any]]:
    with gzip.open(PRODUCT / "data" / "actg175.csv.gz", "rt", newline="") as file:
        rows = [{name: _value(name, text) for name, text in row.items()} for row in csv.DictReader(file)]
    return [{**row, "arm_name": ARMS[int(row["arms"] or 0)]} for row in rows]


def _value(name: str, text: str) -> int | float | None:
    if text in ("", "NA"):
        return None
    return float(text) if name == "wtkg" else int(text)


def _visible(user: str) -> list[dict[str, Any]]:
    """What the policy of the product says in words, in plain Python."""
    if user == "site":
        return [row for row in _patients() if row["symptom"] == 1]
    banded = ({**row, "age": row["age"] // 5 * 5} for row in _patients())
    return [{name: value for name, value in row.items() if name != "pidnum"} for row in banded]


def _run(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    return connection.sql(sql).to_arrow_table()


@pytest.fixture(scope="module")
def reference() -> Iterator[dict[str, Run]]:
    """For each reader, a database that holds only what the reader may see."""
    connections = {user: duckdb.connect(config={"threads": "1"}) for user in READERS}
    for user, connection in connections.items():
        rows = pa.Table.from_pylist(_visible(user))
        connection.register("rows", rows)
        connection.execute("CREATE TABLE patients AS FROM rows")
    yield {user: partial(_run, connection) for user, connection in connections.items()}
    for connection in connections.values():
        connection.close()


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Run]]:
    """For each reader, the server's planner and engine in this process."""
    folder, limits = tmp_path_factory.mktemp("oracle"), Limits()
    bounds = BuildBounds(workshop=Bounds(threads=1, memory_bytes=1 << 29), limits=limits)
    engine = DuckDBEngine(threads=1, memory_bytes=1 << 29, spill=folder / "spill", spill_bytes=1 << 30, instances_max=4)
    with Store(folder / "state") as store:
        with store.building():
            snapshot = load_catalog(find_products([PRODUCT]), store, lambda *_: None, previous=None, bounds=bounds)
        shown = {user: surface(snapshot, Reader(user, frozenset({user}), {}), mask_key=b"k" * 32) for user in READERS}
        twins = {entry.id: Twin(entry.twin_ddl) for entry in shown.values()}
        planner = Planner(limits, lambda entry: twins[entry.id])

        def run(user: str, sql: str) -> pa.Table:
            prepared = planner.prepare(shown[user], sql)
            execution = engine.execute(planner.plan(planner.typed(prepared, None), None))
            try:
                return execution.start().read_all()
            finally:
                execution.close()

        yield {user: partial(run, user) for user in READERS}
        engine.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("user", READERS)
def test_hidden_rows_and_masked_values_have_no_influence(
    views: dict[str, Run], reference: dict[str, Run], user: str
) -> None:
    """A reader would work out hidden rows from counts, orders or errors that they cause."""
    seen = _compare(user, IN_PROCESS // len(READERS), seed=20_130_101, run=views[user], reference=reference[user])
    # Statements that all fail, or that all find nothing, would prove nothing.
    assert seen["rows"] > 300
    assert seen["failed"] > 20


@pytest.mark.parametrize("user", READERS)
def test_the_oracle_would_notice_a_hidden_row(reference: dict[str, Run], user: str) -> None:
    """Statements that ask nothing of the hidden rows would pass over any leak."""
    author, differing = Author(20_130_101, has_pidnum=user == "site"), 0
    with duckdb.connect(config={"threads": "1"}) as connection:
        rows = pa.Table.from_pylist(_patients())
        connection.register("rows", rows)
        connection.execute("CREATE TABLE patients AS FROM rows")
        for _ in range(200):
            sql = author.statement()
            leaked = _answer(partial(_run, connection), sql, duckdb.Error)
            differing += leaked != _answer(reference[user], sql, duckdb.Error)
    assert differing > 40


@pytest.mark.parametrize("user", READERS)
def test_nor_have_they_over_the_wire(
    server: Any, calling: Any, refusal: type[Exception], reference: dict[str, Run], user: str
) -> None:
    """What holds in the engine would be lost on the way: in tickets, streams or errors."""
    with calling(server, user) as caller:
        _compare(user, ON_THE_WIRE // len(READERS), seed=7, run=caller.sql, reference=reference[user], fails=refusal)


def _compare(
    user: str, statements: int, *, seed: int, run: Run, reference: Run, fails: type[Exception] = FlightmeshError
) -> Counter[str]:
    author = Author(seed, has_pidnum=user == "site")
    seen: Counter[str] = Counter()
    for _ in range(statements):
        sql = author.statement()
        expected = _answer(reference, sql, duckdb.Error)
        found = _answer(run, sql, (fails, pa.ArrowException))
        assert found == expected, f"{user}: {sql}"
        seen["failed" if found is None else "rows" if found else "empty"] += 1
    return seen


def _answer(run: Run, sql: str, fails: type[Exception] | tuple[type[Exception], ...]) -> Answer:
    try:
        table = run(sql)
    except fails as error:
        if getattr(error, "code", None) is ErrorCode.INTERNAL or str(error).startswith("internal"):
            raise  # A failure that nobody expected is no answer to compare.
        return None
    return Counter(tuple(map(_plain, row.values())) for row in table.to_pylist())


def _plain(value: Any) -> Any:
    """Floats to nine digits (sums of floats depend on their order), NaN equal to itself, lists hashable."""
    if isinstance(value, float):
        return f"{value:.9g}"
    return tuple(map(_plain, value)) if isinstance(value, list) else value

"""What a statement will ask of its sources is found out on stand-ins: nothing is read, and it ends in time."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from flightmesh.engine.base import Attachment, InstanceSpec, Plan
from flightmesh.engine.rehearsal import INSTANCES_MAX, Asked, Rehearsals, wanted
from flightmesh.sources.base import Narrowing
from flightmesh.sources.predicate import Compare
from tests.engine.shelf import instance, plan, scan_of
from tests.temporaries import temporary

LEGS = pa.schema([("id", pa.int64()), ("carrier", pa.string()), ("delay", pa.int32())])
SPEC = instance("legs", "CREATE VIEW legs AS SELECT * FROM temp.main.scan_1", scan_1=scan_of(LEGS, "tms", "legs"))


@pytest.fixture
def rehearsals() -> Iterator[Rehearsals]:
    """Rehearsals of a quarter of a second, closed afterwards."""
    made = Rehearsals()
    yield made
    made.close()


def test_what_is_asked_is_told_without_a_source(rehearsals: Rehearsals) -> None:
    """``explain`` shows what a source would be asked, though the source may be down: there is none here at all."""
    found = rehearsals.rehearse(plan("SELECT id FROM legs WHERE carrier = $1 ORDER BY id", SPEC, "EV"))
    assert found == (Asked("scan_1", Narrowing(("id", "carrier"), Compare("carrier", "=", pa.scalar("EV")))),)


def test_a_self_join_asks_twice(rehearsals: Rehearsals) -> None:
    """Each read of a relation is told of, with filters of its own."""
    found = rehearsals.rehearse(plan("SELECT 1 AS one FROM legs a JOIN legs b USING (id) WHERE a.delay = 7", SPEC))
    assert [asked.scan for asked in found] == ["scan_1", "scan_1"]
    assert sorted(asked.narrowing.predicate is None for asked in found) == [False, True]


def test_kept_tables_stand_in_with_one_row(rehearsals: Rehearsals, tmp_path: Path) -> None:
    """A join with a large kept table is rehearsed on its first row, and the file is left as it is."""
    path = tmp_path / "data.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE kept AS SELECT range AS id FROM range(1000)")
    before = path.read_bytes()
    ddl = (
        "CREATE VIEW legs AS SELECT * FROM temp.main.scan_1",
        "CREATE VIEW kept AS SELECT * FROM hidden.main.kept",
    )
    spec = InstanceSpec("kept", (Attachment(path, "hidden"),), ddl, {"scan_1": scan_of(LEGS, "tms", "legs")})
    found = rehearsals.rehearse(plan("SELECT count(*) AS c FROM legs JOIN kept USING (id)", spec))
    assert [asked.narrowing.columns for asked in found] == [("id",)]
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT sum(range * id) AS s FROM legs, range(10000000000)",
        "SELECT count(*) AS c FROM range(10000000000), legs",
        "SELECT range FROM legs, range(10000000000)",
        "SELECT range FROM legs, range(3000000)",
        "SELECT range FROM legs, range(15000000)",
    ],
)
def test_a_rehearsal_is_cut_short(rehearsals: Rehearsals, sql: str) -> None:
    """A statement may compute for hours on one row, or make many of it: the rehearsal may take neither time nor
    memory.
    """
    rehearsals.rehearse(plan("SELECT id FROM legs", SPEC))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic()
    rehearsals.rehearse(plan(sql, SPEC))
    assert time.monotonic() - start < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_a_statement_that_fails_tells_what_was_asked_before(rehearsals: Rehearsals) -> None:
    """An error of the statement is the statement's matter; a rehearsal is a hint and raises nothing."""
    found = rehearsals.rehearse(plan("SELECT error('no') AS e FROM legs", SPEC))
    assert [asked.scan for asked in found] in (["scan_1"], [])
    assert rehearsals.rehearse(plan("SELECT nothing FROM legs", SPEC)) == ()


def test_a_plan_without_scans_is_not_rehearsed(rehearsals: Rehearsals) -> None:
    """Statements over kept rows alone must not pay for this."""
    assert rehearsals.rehearse(Plan("duckdb", SPEC, "SELECT 1 AS one", (), (), 1_024)) == ()
    assert rehearsals._instances == {}


def test_a_table_of_the_session_stands_in_with_one_row(rehearsals: Rehearsals) -> None:
    """A join of own rows with a live port is explained, and opened ahead of time, like others; no row is opened."""
    own = temporary("own", "id BIGINT, note VARCHAR")
    object.__setattr__(own, "open", None)
    asked = replace(plan("SELECT count(*) AS c FROM legs JOIN own USING (id)", SPEC), temporaries=(own,))
    assert [each.narrowing.columns for each in rehearsals.rehearse(asked)] == [("id",)]
    assert rehearsals.rehearse(replace(asked, temporaries=())) == ()


def test_stand_ins_are_bounded_and_forgotten(rehearsals: Rehearsals) -> None:
    """One stand-in per role set would fill the memory of a server of many; those of a retired instance go."""
    for number in range(INSTANCES_MAX + 2):
        spec = InstanceSpec(f"key {number}", (), SPEC.ddl, SPEC.scans)
        assert len(rehearsals.rehearse(plan("SELECT id FROM legs", spec))) == 1
    assert len(rehearsals._instances) == INSTANCES_MAX
    rehearsals.forget([f"key {INSTANCES_MAX + 1}", "unknown"])
    assert len(rehearsals._instances) == INSTANCES_MAX - 1
    rehearsals.close()
    assert rehearsals._instances == {}


def test_every_type_has_a_stand_in(rehearsals: Rehearsals) -> None:
    """A table with a column of an unusual type is explained like others."""
    kinds = [
        pa.bool_(), pa.int8(), pa.uint64(), pa.float32(), pa.float64(), pa.decimal128(38, 38), pa.string(),
        pa.large_string(), pa.binary(), pa.large_binary(), pa.date32(), pa.date64(), pa.time32("s"), pa.time64("ns"),
        pa.timestamp("s"), pa.timestamp("ns", "UTC"), pa.timestamp("us", "Europe/Berlin"), pa.duration("us"),
        pa.list_(pa.int64()), pa.struct([("x", pa.int64())]), pa.map_(pa.string(), pa.int64()),
        pa.dictionary(pa.int32(), pa.string()), pa.uuid(), pa.month_day_nano_interval(), pa.binary(3),
    ]  # fmt: skip
    for kind in kinds:
        schema = pa.schema([pa.field("c", kind, nullable=False)])
        scans = {"scan_1": scan_of(schema, "tms", "t")}
        spec = InstanceSpec(str(kind), (), ("CREATE VIEW t AS SELECT * FROM temp.main.scan_1",), scans)
        assert rehearsals.rehearse(plan("SELECT c FROM t", spec)) == (Asked("scan_1", Narrowing(("c",))),), kind


def test_what_is_wanted() -> None:
    """Columns that only the filter reads are fetched too; all of them where it cannot be told which."""
    schema = pa.schema([("a", pa.int64()), ("b", pa.int64()), ("s", pa.struct([("x", pa.int64())]))])
    assert wanted(schema, ["b"], None) == ("b",)
    assert wanted(schema, ["b"], pc.field("a") == 1) == ("b", "a")
    assert wanted(schema, ["b"], pc.field("b") == 1) == ("b",)
    assert wanted(schema, ["b"], pc.field(("s", "x")) == 1) == ("a", "b", "s")

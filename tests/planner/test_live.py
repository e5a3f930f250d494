"""The private half of a Surface: live models answer through it, and nobody gets at it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from flightmesh.catalog.snapshot import LiveModel, LivePart, LiveRelation
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.planner.live import INLINED_CHARACTERS_MAX, inlined, remote_path
from tests.planner.live_product import KEPT, RAW, TMS, mesh, write_product

BOTH = [{"id": 1, "site": "north"}, {"id": 2, "site": "south"}]
READ = "SELECT id, site FROM lab.samples.samples ORDER BY id"


@pytest.mark.parametrize(
    "model",
    [
        "SELECT * FROM tms.legs",
        "SELECT tms.legs.id, legs.site FROM tms.legs",
        "SELECT ID, L.Site FROM TMS.LEGS AS l WHERE l.Id > 0",
        'SELECT * FROM tms."Odd Na.me"',
        "WITH legs AS (SELECT id, site FROM tms.legs) SELECT legs.* FROM legs",
        "SELECT id, site FROM tms.legs l WHERE EXISTS (SELECT 1 FROM tms.legs m WHERE m.id = l.id)",
        "SELECT a.id, b.site FROM raw a JOIN tms.legs b USING (id)",
        "SELECT r.id, r.site FROM raw r JOIN kept k USING (id) WHERE v >= 10",
        "SELECT id, site FROM middle",
    ],
)
def test_live_models_answer(tmp_path: Path, model: str) -> None:
    """However a model names its tables - by path, in any case, under CTEs, mixed with kept rows - it answers when read.

    A model that builds and then cannot be read would take every port of its reader down.
    """
    models = {"middle": "{sql: 'SELECT * FROM tms.legs'}", "samples": f"{{sql: {_yaml(model)}}}"}
    ports = {"samples": {"id": "BIGINT", "site": "VARCHAR"}}
    folder = write_product(tmp_path / "p", [RAW, KEPT, TMS], models, ports=ports)
    with mesh(folder, tmp_path / "state") as found:
        assert found.rows(found.surface(), READ) == BOTH


def _yaml(sql: str) -> str:
    return "'" + sql.replace("'", "''") + "'"


def test_rows_are_those_of_now(tmp_path: Path) -> None:
    """A row that is written after the product was loaded is in the next answer: that is what live means."""
    folder = write_product(tmp_path / "p", [RAW], {"samples": "{from: raw}"})
    with mesh(folder, tmp_path / "state") as found:
        shown = found.surface()
        assert found.rows(shown, READ) == BOTH
        with (folder / "data" / "raw.csv").open("a") as stream:
            stream.write("3,west\n")
        assert found.rows(shown, READ)[2:] == [{"id": 3, "site": "west"}]


def test_everybody_of_a_role_can_read(tmp_path: Path) -> None:
    """Two users who see the same share an engine instance: the second one's statements must find the scans in it."""
    folder = write_product(tmp_path / "p", [RAW, KEPT], {"samples": "{from: raw}"})
    with mesh(folder, tmp_path / "state") as found:
        alice, bob = found.surface("alice"), found.surface("bob")
        assert alice.id == bob.id
        assert found.rows(alice, READ) == BOTH
        assert found.rows(bob, READ + " DESC") == BOTH[::-1]


def test_nobody_reaches_behind_the_public_names(tmp_path: Path) -> None:
    """A user who knew the private names would read past the policy: the gate knows public names alone."""
    folder = write_product(
        tmp_path / "p",
        [RAW],
        {"samples": "{from: raw}"},
        policies=(
            "{grant: read, port: samples, to: 'role:lab'}",
            "{rows: \"site = 'north'\", of: samples, for: 'role:lab'}",
        ),
    )
    with mesh(folder, tmp_path / "state") as found:
        shown = found.surface("alice", "lab")
        assert found.rows(shown, READ) == BOTH[:1]
        (scan,) = shown.instance.scans
        (alias,) = {text.split('"')[1] for text in shown.instance.ddl if text.startswith("ATTACH") and "live_" in text}
        for hidden in (
            f"temp.main.{scan}", f"temp.{scan}", scan, f'"{scan}"', f"{alias}.main.samples", f"{alias}.main.raw",
            f"{alias}.raw", "raw", "main.raw", "temp.main.raw", "lab.samples.raw",
        ):  # fmt: skip
            with pytest.raises(FlightmeshError) as raised:
                found.plan(shown, f"SELECT * FROM {hidden}")
            assert raised.value.code in (ErrorCode.NOT_FOUND, ErrorCode.INVALID, ErrorCode.UNSUPPORTED), hidden
            assert "live_" not in str(raised.value.hint)


def test_names_cannot_be_guessed(tmp_path: Path) -> None:
    """Names hang on the server's key, on what is seen and on the product; they are long enough not to be tried out."""
    folder = write_product(
        tmp_path / "p",
        [RAW],
        {"samples": "{from: raw}"},
        policies=(
            "{grant: read, port: samples, to: ['role:head', 'role:site']}",
            "{rows: 'site = :user.site', of: samples, for: 'role:site'}",
        ),
    )
    with mesh(folder, tmp_path / "state") as found:
        one, other = found.surface("a", "head"), found.surface("b", "site", site="south")
        assert one.id != other.id
        assert set(one.instance.scans).isdisjoint(other.instance.scans)
        assert all(len(name) == len("scan_") + 32 for name in one.instance.scans)


def test_a_port_may_only_need_some_scans(tmp_path: Path) -> None:
    """A statement over one port is not refused, nor slowed down, because another port's source is down."""
    models = {"samples": "{from: raw}", "legs": "{from: tms.legs}", "old": "{from: kept}"}
    columns = {"id": "BIGINT", "site": "VARCHAR"}
    folder = write_product(
        tmp_path / "p",
        [RAW, TMS, KEPT],
        models,
        ports={"samples": columns, "legs": columns, "old": {"id": "BIGINT", "v": "BIGINT"}},
    )
    with mesh(folder, tmp_path / "state") as found:
        shown = found.surface()
        scans = {
            port: found.plan(shown, f"SELECT * FROM lab.samples.{port}").scans for port in ("samples", "legs", "old")
        }
        assert [len(scans[port]) for port in ("samples", "legs", "old")] == [1, 1, 0]
        assert scans["samples"] != scans["legs"]
        (folder / "data" / "raw.csv").unlink()
        assert found.rows(shown, "SELECT count(*) AS c FROM lab.samples.legs") == [{"c": 2}]
        assert found.rows(shown, "SELECT sum(v) AS s FROM lab.samples.old") == [{"s": 30}]


def test_names_are_found_in_any_case(tmp_path: Path) -> None:
    """SQL folds names: a live port is read by LAB.Samples.SAMPLES too, as a kept one is."""
    folder = write_product(tmp_path / "p", [RAW], {"samples": "{from: raw}"})
    with mesh(folder, tmp_path / "state") as found:
        assert found.rows(found.surface(), "SELECT count(*) AS c FROM LAB.Samples.SAMPLES") == [{"c": 2}]


SCHEMA = LiveRelation(pa.schema([]))


def _part(*models: LiveModel, kept: tuple[str, ...] = ()) -> LivePart:
    tables = {("tms", "legs"): SCHEMA, ("tms", "Odd", "Na.me"): SCHEMA}
    return LivePart(Path(), tables, models, {(name,): name for name in kept}, None)


def test_inlining_stacks_models_in_one_select() -> None:
    """A model over models is one statement over the source's tables; names of tables are told apart by their path."""
    part = _part(
        LiveModel("inner", "SELECT id FROM tms.legs WHERE id > 1", (("tms", "legs"),)),
        LiveModel("Outer", 'SELECT count(*) AS c FROM "INNER" AS i', (("inner",),)),
    )
    text = inlined(part, "outer")
    assert "live.tms.legs" in text.replace('"', "")
    assert "id > 1" in text
    assert remote_path(("tms", "Odd", "Na.me")) == ("live", "tms", "Odd.Na.me")


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (_part(LiveModel("m", "SELECT * FROM kept", (("kept",),)), kept=("kept",)), "more than tables of live"),
        (
            _part(
                LiveModel("p", None, (("tms", "legs"),), "models/p.py:build", SCHEMA.schema),
                LiveModel("m", "SELECT * FROM p", (("p",),)),
            ),
            "more than tables of live",
        ),
        (
            _part(LiveModel("m", f"SELECT '{'x' * INLINED_CHARACTERS_MAX}' AS v FROM tms.legs", (("tms", "legs"),))),
            "too long",
        ),
    ],
)
def test_what_cannot_be_inlined_says_why(part: LivePart, reason: str) -> None:
    """``explain`` tells the reason in words; a statement over kept rows cannot be its source's."""
    with pytest.raises(FlightmeshError, match=reason) as raised:
        inlined(part, "m")
    assert raised.value.code is ErrorCode.UNSUPPORTED

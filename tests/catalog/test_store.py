"""The store serves whole generations, keeps what somebody may still read, and deletes the rest."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flightmesh.catalog.store import LEASE_SLACK_S, Store
from flightmesh.errors import ErrorCode, FlightmeshError

from .conftest import MakeProductSnapshot, generation


def ids(state: Path, part: str) -> list[str]:
    return sorted(path.name.removesuffix(".json") for path in (state / part).iterdir())


def test_what_was_published_is_current_also_after_a_restart(make_snapshot: MakeProductSnapshot, state: Path) -> None:
    """A restart would serve nothing until everything is loaded, or an older generation."""
    old, new = generation("g1", make_snapshot("s1")), generation("g2", make_snapshot("s2"))
    with Store(state) as store:
        assert store.current() is None
        store.publish(old)
        store.publish(new)
        assert store.current() is new
    with Store(state) as store:
        assert store.current() == new
        assert store.load("g1") == old


def test_one_server_owns_a_state_directory(state: Path) -> None:
    """Two servers would delete each other's files."""
    with Store(state):
        with pytest.raises(FlightmeshError, match="Another server") as caught:
            Store(state)
        assert caught.value.code is ErrorCode.UNAVAILABLE
        script = f"from pathlib import Path; from flightmesh.catalog.store import Store; Store(Path({str(state)!r}))"
        other = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
        assert b"Another server" in other.stderr
    Store(state).close()


def test_a_state_directory_that_cannot_be_made_is_an_expected_failure(tmp_path: Path) -> None:
    """A mistyped --state would end in a traceback with paths."""
    (tmp_path / "file").write_text("")
    with pytest.raises(FlightmeshError, match="cannot be written"):
        Store(tmp_path / "file" / "state")


def test_an_unknown_generation_is_not_found(state: Path) -> None:
    """A forged or old ticket would read files outside of the store, or end in a traceback."""
    with Store(state) as store:
        for name in ("g9", "../CURRENT", ""):
            with pytest.raises(FlightmeshError) as caught:
                store.load(name)
            assert caught.value.code is ErrorCode.NOT_FOUND


def test_only_what_somebody_may_still_read_stays(make_snapshot: MakeProductSnapshot, state: Path) -> None:
    """Files would go while a ticket or a stream needs them, or stay for ever."""
    shared = make_snapshot("s0", bundle_id="b0", name="c.d")
    with Store(state) as store:
        for number in (1, 2, 3, 4):
            product = make_snapshot(f"s{number}", bundle_id=f"b{number}")
            store.publish(generation(f"g{number}", product, shared))
        store.lease("g1", 1_000.0)
        store.hold("g2")
        assert store.collect(999.0) == ("g3",)
        assert ids(state, "products/a.b") == ["s1", "s2", "s4"]
        assert ids(state, "bundles") == ["b0", "b1", "b2", "b4"]
        assert store.collect(1_000.0) == ("g1",)
        store.release("g2")
        assert store.collect(1_000.0) == ("g2",)
        assert (ids(state, "generations"), ids(state, "products/a.b"), ids(state, "products/c.d")) == (
            ["g4"], ["s4"], ["s0"]
        )  # fmt: skip
        assert ids(state, "staging") == []


def test_leases_outlive_the_server(make_snapshot: MakeProductSnapshot, state: Path) -> None:
    """After a restart unexpired tickets would be refused."""
    with Store(state) as store:
        store.publish(generation("g1", make_snapshot("s1")))
        store.lease("g1", 1_000.0)
        store.publish(generation("g2", make_snapshot("s2")))
    with Store(state) as store:
        assert store.collect(999.0) == ()
        assert store.collect(1_000.0 + LEASE_SLACK_S) == ("g1",)


def test_many_leases_are_few_writes(state: Path) -> None:
    """Every ticket would wait for the disk."""
    with Store(state) as store:
        store.lease("g1", 1_000.0)
        written = (state / "leases.json").stat()
        for second in range(50):
            store.lease("g1", 1_000.0 + second)
        store.lease("g1", 5.0)
        assert (state / "leases.json").stat().st_ino == written.st_ino
        store.lease("g1", 1_000.0 + LEASE_SLACK_S + 1)
        assert (state / "leases.json").stat().st_ino != written.st_ino


def test_nothing_is_collected_while_a_catalogue_is_loaded(make_snapshot: MakeProductSnapshot, state: Path) -> None:
    """A snapshot just built is in no generation yet, and would be deleted before it is published."""
    with Store(state) as store:
        store.publish(generation("g1", make_snapshot("s1")))
        with store.building():
            new = make_snapshot("s2")
            assert store.collect(0.0) == ()
            store.publish(generation("g2", new))
        assert store.collect(0.0) == ("g1",)
        assert store.current() == generation("g2", new)


def test_nothing_is_collected_when_the_current_generation_is_damaged(
    make_snapshot: MakeProductSnapshot, state: Path
) -> None:
    """One damaged file would be taken for permission to delete all others."""
    with Store(state) as store:
        store.publish(generation("g1", make_snapshot("s1")))
    (state / "generations" / "g1.json").write_text("{")
    with Store(state) as store:
        assert store.current() is None
        assert store.collect(time.time()) == ()
    assert ids(state, "products/a.b") == ["s1"]


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"g1": "x"}', b"\xff"])
def test_damaged_leases_do_not_stop_the_start(state: Path, content: bytes) -> None:
    """A start would need a hand on the file."""
    (state / "leases.json").write_bytes(content)
    Store(state).close()


def test_leftovers_of_killed_builds_go_at_the_start(state: Path) -> None:
    """Each kill would cost the size of a product."""
    (state / "staging" / "dead").mkdir(parents=True)
    Store(state).close()
    assert os.listdir(state / "staging") == []

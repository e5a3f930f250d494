"""A catalogue of several products: what loads is served, what fails says why, and a kill leaves a whole generation."""

from __future__ import annotations

import logging
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from flightmesh.build.catalog import find_products, load_catalog
from flightmesh.catalog.snapshot import Snapshot
from flightmesh.catalog.store import Store
from flightmesh.errors import FlightmeshError
from flightmesh.names import ProductName

from .conftest import BY_CARRIER, MakeProduct

MINI, OTHER = ProductName("air", "mini"), ProductName("air", "other")
PRODUCTS = Path(__file__).parents[2] / "products"
ROUNDS_SEED = 20_130_101


def load(state: Path, *folders: Path, previous: Snapshot | None = None) -> Snapshot:
    with Store(state) as store, store.building():
        snapshot = load_catalog(folders, store, lambda name, step: None, previous=previous)
        store.publish(snapshot)
    return snapshot


def test_products_are_found_where_people_put_them(make_product: MakeProduct, tmp_path: Path) -> None:
    """``--products`` would need the exact folder."""
    one, two = make_product("one"), make_product("two")
    (tmp_path / "products" / "notes").mkdir()
    assert find_products([tmp_path / "products"]) == find_products([one, two, one]) == [one, two]
    for path in (tmp_path / "products" / "notes", tmp_path / "nowhere"):
        with pytest.raises(FlightmeshError):
            find_products([path])


def test_a_failing_product_does_not_take_the_others_down(make_product: MakeProduct, state: Path) -> None:
    """One author's typo would stop everybody's data."""
    good = make_product("good", lean=True)
    bad = make_product("bad", lean=True, edit={"air.mini": "air.other", "avg(delay)": "avg(dely)"})
    snapshot = load(state, good, bad)
    assert set(snapshot.products) == {MINI}
    failed = snapshot.unavailable[OTHER]
    assert failed.reason == 'Model by_carrier: Referenced column "dely" not found in FROM clause (line 1, column 42).'
    assert failed.product is not None
    assert failed.product.policies


def test_it_recovers_by_a_reload(make_product: MakeProduct, state: Path) -> None:
    """The server would have to be restarted."""
    first = load(state, make_product(lean=True, edit={"avg(delay)": "avg(dely)"}))
    second = load(state, make_product(lean=True), previous=first)
    assert (set(first.products), set(second.products), second.unavailable) == (set(), {MINI}, {})
    assert first.generation != second.generation


@pytest.mark.parametrize(
    "text", ["product: air.mini\nports: [", "product: air.mini\n\t", "product: air.mini\nmodels: 3\n"]
)
def test_a_broken_manifest_keeps_its_name_and_who_may_know_of_it(
    make_product: MakeProduct, state: Path, text: str
) -> None:
    """The product would vanish without a word, or show itself to those it was hidden from."""
    folder = make_product(lean=True)
    first = load(state, folder)
    (folder / "product.yaml").write_text(text)
    second = load(state, folder, previous=first)
    assert second.unavailable[MINI].product == first.products[MINI].product
    third = load(state, folder, previous=second)
    assert third == second


def test_reasons_hold_no_path_and_no_data(make_product: MakeProduct, state: Path, tmp_path: Path) -> None:
    """Clients would read both."""
    folder = make_product(lean=True, edit={"on: carrier,": "on: {origin: carrier},"})
    (reason,) = [failure.reason for failure in load(state, folder).unavailable.values()]
    assert "EWR" not in reason
    (folder / "data" / "reference.sqlite").write_bytes(b"no")
    (reason,) = [failure.reason for failure in load(state, folder).unavailable.values()]
    assert reason == "Source reference: data/reference.sqlite does not read as a SQLite database."


def test_two_folders_of_one_name_are_both_refused(make_product: MakeProduct, state: Path) -> None:
    """Which of them is served would depend on their folders' names."""
    snapshot = load(state, make_product("one", lean=True), make_product("two", lean=True))
    assert snapshot.products == {}
    assert snapshot.unavailable[MINI].reason == "Several folders define this product."


def test_every_problem_is_logged_once(make_product: MakeProduct, state: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With --json there is no progress to read: the log alone tells the operator what is wrong, a line for each."""
    broken = make_product("broken", lean=True, edit={"on: carrier,": "on: carier,", "avg(delay)": "avg(dely)"})
    (broken / "product.yaml").write_text("product: air.mini\nmodels: 3\nnonsense: 1\n")
    load(state, broken)
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(lines) > 1
    assert len(set(lines)) == len(lines)
    assert all(line.startswith("air.mini is unavailable: product.yaml:") and "\n" not in line for line in lines)


@pytest.mark.parametrize("text", ["title: Nameless\n", "product: No.Name\n"])
def test_a_folder_without_a_name_is_left_out_aloud(
    make_product: MakeProduct, state: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    """A typo in one line would make a product disappear, and nothing would say so."""
    folder, left_out = make_product("nameless", lean=True), dict[str, str]()
    (folder / "product.yaml").write_text(text)
    with Store(state) as store, store.building():
        snapshot = load_catalog([folder], store, lambda name, step: None, leave_out=left_out.__setitem__)
    assert (snapshot.products, snapshot.unavailable) == ({}, {})
    assert list(left_out) == ["nameless"]
    assert "First: product.yaml:" in left_out["nameless"]
    assert f"{folder} is left out: product.yaml:" in caplog.text


def test_equal_content_is_an_equal_generation(make_product: MakeProduct, state: Path) -> None:
    """A reload without a change would open new engine instances and drop every plan."""
    folder = make_product(lean=True)
    assert load(state, folder) == load(state, folder)


def test_old_snapshots_go_when_nothing_names_them(make_product: MakeProduct, state: Path) -> None:
    """Every reload of changed data would cost its size for good."""
    first = load(state, make_product(lean=True))
    second = load(state, make_product(lean=True, edit={"avg(delay)": "avg(delay) + 1"}))
    with Store(state) as store:
        assert store.collect(time.time()) == (first.generation,)
    assert [path.name for path in (state / "products" / "air.mini").iterdir()] == [second.products[MINI].snapshot_id]


def test_the_bundled_products_load(state: Path) -> None:
    """Whoever clones the repository and starts the server would see errors instead of data."""
    snapshot = load(state, *find_products([PRODUCTS]))
    assert snapshot.unavailable == {}
    ports = {
        f"{name}.{port.name}": port.rows
        for name, product in snapshot.products.items()
        for port in product.ports.values()
    }
    assert (ports["aviation.flights.flights"], ports["clinical.trials.patients"]) == (336_776, 2_139)
    flights = pq.read_table(snapshot.products[ProductName("aviation", "flights")].ports["flights"].parquet)
    assert flights["arr_delay"].null_count == 9_430
    assert pc.mean(flights["arr_delay"]).as_py() == pytest.approx(6.895376757, abs=1e-9)
    assert flights["dep_time"].null_count == 8_255


def assert_whole(snapshot: Snapshot) -> None:
    """Every file of the snapshot opens and holds what it says."""
    for product in snapshot.products.values():
        for port in product.ports.values():
            assert pq.read_table(port.parquet).num_rows == port.rows
            connection = duckdb.connect(str(port.database), read_only=True)
            assert connection.execute(f'SELECT count(*) FROM "{port.table}"').fetchall() == [(port.rows,)]
            connection.close()


def kill_while_loading(folder: Path, state: Path, *, rounds: int) -> None:
    """Change the data and load, killing the loader at a random point; after each kill a whole generation must be
    there.
    """
    chance, known = random.Random(ROUNDS_SEED), {load(state, folder).generation}
    script = f"""
import sys
from pathlib import Path
from flightmesh.build.catalog import load_catalog
from flightmesh.catalog.store import Store
with Store(Path({str(state)!r})) as store, store.building():
    print("loading", flush=True)
    store.publish(load_catalog([Path({str(folder)!r})], store, lambda name, step: None))
    store.collect(0.0)
    print("done", flush=True)
"""
    weather, took = folder / "data" / "weather.csv", 3.0
    for number in range(rounds):
        weather.write_text(weather.read_text() + f"LGA,1970-01-01 {number:02}:00:00+00,{number}\n")
        loader = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        assert loader.stdout is not None
        assert loader.stdout.readline() == b"loading\n"
        began = time.monotonic()
        time.sleep(chance.random() * took)
        loader.send_signal(signal.SIGKILL)
        finished = b"done" in loader.stdout.read()
        loader.stdout.close()
        loader.wait()
        took = max(0.2, min(took, time.monotonic() - began) if finished else took)
        with Store(state) as store:
            current = store.current()
            assert current is not None
            assert_whole(current)
            assert list((state / "staging").iterdir()) == []
        new = load(state, folder)
        assert current.generation in known | {new.generation}
        assert_whole(new)
        known = {new.generation}
        rows = pq.read_table(new.products[MINI].ports["by_carrier"].parquet).to_pylist()
        assert rows == BY_CARRIER


def test_a_kill_at_any_point_leaves_a_whole_generation(make_product: MakeProduct, state: Path) -> None:
    """A power cut would leave a server that does not start, or serves half a product."""
    kill_while_loading(make_product(lean=True), state, rounds=3)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twenty_kills_leave_whole_generations(make_product: MakeProduct, state: Path) -> None:
    """As above, at more points."""
    kill_while_loading(make_product(), state, rounds=20)


def test_a_state_directory_can_be_thrown_away(make_product: MakeProduct, state: Path) -> None:
    """Operators could not recover from a lost disk."""
    folder = make_product(lean=True)
    first = load(state, folder)
    shutil.rmtree(state)
    assert load(state, folder) == first

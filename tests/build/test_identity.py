"""Ids follow content: what changes data moves the snapshot id, what changes words moves the bundle id alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from flightmesh.build.identity import bundle_id, code_files, generation_id
from flightmesh.build.pipeline import BuildBounds, take_inputs
from flightmesh.product.manifest import load_bundle

from .conftest import CODE, MakeProduct


def ids(folder: Path) -> tuple[str, str]:
    bundle = load_bundle(folder)
    return take_inputs(bundle, BuildBounds()).snapshot_id, bundle_id(bundle)


@pytest.mark.parametrize(
    ("edit", "moves_data"),
    [
        ({"title: A small product": "title: Another"}, False),
        ({"version: 1.0.0": "version: 1.0.1"}, False),
        ({'to: ["*", anonymous]': 'to: "role:x"'}, False),
        ({"    from: departures\n": "    from: departures\n    description: words\n"}, False),
        ({"    from: departures\n": "    from: departures\n    filter: delay > 0\n"}, True),
        ({"take: [temp]": "take: {t: temp}"}, True),
        ({"path: data/weather.csv": "path: data/weather.csv, types: {temp: string}"}, True),
        ({"avg(delay)": "max(delay)"}, True),
    ],
)
def test_the_manifest_moves_what_it_changes(make_product: MakeProduct, edit: dict[str, str], moves_data: bool) -> None:
    """A new title would rebuild terabytes, or a new filter serve the old rows."""
    snapshot, bundle = ids(make_product())
    changed_snapshot, changed_bundle = ids(make_product(edit=edit))
    assert (changed_snapshot != snapshot, changed_bundle != bundle) == (moves_data, True)


def test_data_move_the_snapshot_and_code_moves_both(make_product: MakeProduct) -> None:
    """New data under an old id would never be served."""
    folder = make_product()
    snapshot, bundle = ids(folder)
    weather = folder / "data" / "weather.csv"
    weather.write_text(weather.read_text().replace("39.02", "39.03"))
    assert ids(folder)[0] != snapshot
    assert ids(folder)[1] == bundle
    folder = make_product(code=CODE.replace("origin", "carrier", 1))
    assert ids(folder)[0] != snapshot
    assert ids(folder)[1] != bundle


def test_the_order_of_columns_is_content(make_product: MakeProduct) -> None:
    """A mapping in another order makes columns in another order."""
    one = ids(make_product(edit={"take: [temp]": "take: {t: temp, u: temp}"}))[0]
    assert ids(make_product(edit={"take: [temp]": "take: {u: temp, t: temp}"}))[0] != one


def test_code_is_every_python_file_that_is_not_hidden(make_product: MakeProduct) -> None:
    """A neighbour that a model imports could change without anybody noticing."""
    folder = make_product()
    for name in ("models/shared.py", "data/not.py", ".git/not.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("")
    assert code_files(load_bundle(folder)) == {"models/by_origin.py", "models/shared.py"}


@pytest.mark.parametrize("file", ["data/model.py", ".hidden/model.py"])
def test_a_models_own_file_is_code_wherever_it_lies(make_product: MakeProduct, file: str) -> None:
    """An edited model would be served with the rows of the old one."""
    folder = make_product(edit={"models/by_origin.py": file})
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(CODE)
    snapshot, bundle = ids(folder)
    (folder / file).write_text(CODE.replace("origin", "carrier", 1))
    assert ids(folder)[0] != snapshot
    assert ids(folder)[1] != bundle


def test_a_generation_is_its_content() -> None:
    """A reload without a change would invalidate every plan; one with a change would not."""
    one = generation_id({"a.b": ("1", "2"), "c.d": ("3", "4")}, {})
    assert generation_id({"c.d": ("3", "4"), "a.b": ("1", "2")}, {}) == one
    assert len({one, generation_id({"a.b": ("1", "9")}, {}), generation_id({"a.b": ("1", "9")}, {"c.d": "gone"})}) == 3

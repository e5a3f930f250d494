"""``check`` on good and broken product folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Done

PRODUCTS = Path(__file__).parents[2] / "products"
TRIALS = PRODUCTS / "clinical_trials"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A product whose manifest has a wrong key."""
    folder = tmp_path / "trials"
    shutil.copytree(TRIALS, folder)
    manifest = folder / "product.yaml"
    manifest.write_text(manifest.read_text() + "polices: []\n")
    return folder


def test_a_good_product_is_ok(flightmesh: Callable[..., Done]) -> None:
    """0 is what lets a pipeline go on."""
    done = flightmesh("check", TRIALS)
    assert (done.code, done.err) == (0, "")
    assert "clinical.trials: ok (patients, arms)" in done.out


def test_problems_name_a_place_that_an_editor_can_open(broken: Path, flightmesh: Callable[..., Done]) -> None:
    """The path must lead there from where the command was run."""
    done = flightmesh("check", broken, TRIALS)
    assert done.code == 1
    line = len((broken / "product.yaml").read_text().splitlines())
    assert done.out.startswith(f"{broken}/product.yaml:{line}:1: ")
    assert "2 products, 1 problem." in done.out


def test_json_is_one_document(broken: Path, flightmesh: Callable[..., Done]) -> None:
    """Tools show problems beside the code."""
    done = flightmesh("check", "--json", broken)
    assert done.code == 1
    document = json.loads(done.out)
    assert document["problems"] == 1
    (product,) = document["products"]
    assert product["folder"] == str(broken)
    assert product["problems"][0].startswith("product.yaml:")
    assert flightmesh("check", "--json", TRIALS).code == 0


def test_the_sql_of_low_code_models_is_shown(flightmesh: Callable[..., Done]) -> None:
    """Whoever reviews a model wants to read what it becomes."""
    done = flightmesh("check", TRIALS, "--show-sql")
    assert done.code == 0
    verdict, patients, arms = done.out.split("\n\n")
    assert "clinical.trials: ok" in verdict
    assert patients.startswith("-- clinical.trials, model patients\nSELECT\n  *,\n")
    assert arms.startswith('-- clinical.trials, model arms\nSELECT\n  _rows."arms",\n')
    assert done.out.endswith("\n")


def test_the_sql_of_one_model(flightmesh: Callable[..., Done]) -> None:
    """A product may have a hundred models."""
    done = flightmesh("check", TRIALS, "--show-sql", "--model", "arms")
    assert "model arms" in done.out
    assert "model patients" not in done.out
    document = json.loads(flightmesh("check", TRIALS, "--json", "--show-sql", "--model", "arms").out)
    assert list(document["products"][0]["sql"]) == ["arms"]
    assert document["products"][0]["sql"]["arms"].startswith("SELECT")
    assert json.loads(flightmesh("check", TRIALS, "--json").out)["products"][0]["sql"] == {}


def test_a_model_that_is_not_there(flightmesh: Callable[..., Done]) -> None:
    """Silence would look like a model without SQL."""
    done = flightmesh("check", TRIALS, "--show-sql", "--model", "arm")
    assert done.code != 0
    assert "hint: Did you mean arms?" in done.err


def test_the_default_folder_is_products(
    broken: Path, flightmesh: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``flightmesh check`` alone must say what it looked for."""
    monkeypatch.chdir(broken.parent)
    done = flightmesh("check")
    assert done.code == 1
    assert done.err.startswith("error: invalid: products is not a folder.")


def test_places_are_told_from_the_working_folder(
    broken: Path, flightmesh: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An author's own path would come back longer, and with folders that nobody asked about."""
    monkeypatch.chdir(broken.parent)
    done = flightmesh("check", "trials")
    assert done.out.startswith("trials/product.yaml:")

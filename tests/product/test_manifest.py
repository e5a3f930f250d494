"""``flightmesh.product.manifest``: every mistake an author can make is told at its line, all of them at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from flightmesh.errors import ErrorCode
from flightmesh.product.manifest import examine, load_bundle
from flightmesh.product.problems import ProductProblems

HERE = Path(__file__).parent
GOLDEN = sorted((HERE / "golden").glob("*.txt"))
Make = Callable[[Mapping[str, str]], Path]


def _sections(path: Path) -> dict[str, str]:
    _, *parts = re.split(r"^=== (.+)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_mistake_is_told_at_its_place(path: Path, make_product: Make) -> None:
    """An author would search for the mistake, or meet the second only after mending the first."""
    files = _sections(path)
    expected = files.pop("problems").splitlines()
    with pytest.raises(ProductProblems) as caught:
        load_bundle(make_product(files))
    assert str(caught.value).splitlines() == expected
    assert caught.value.code is ErrorCode.INVALID


def test_the_golden_mistakes_are_many() -> None:
    """A renamed folder would make the test above pass over nothing."""
    assert len(GOLDEN) >= 30


def test_a_valid_product_loads(make_product: Make) -> None:
    """The server would refuse a product that is right."""
    bundle = load_bundle(make_product({}))
    assert bundle.product.product == "lab.samples"
    assert bundle.product.models["samples"].lookup[0].take == ("city",)
    assert bundle.contracts["samples"].primary_key == ("id",)
    assert bundle.notices == ()


def test_the_bundle_knows_where_its_values_stand(make_product: Make) -> None:
    """The build could not say which line of the manifest holds the SQL that fails."""
    bundle = load_bundle(make_product({}))
    assert bundle.document is not None
    assert str(bundle.document.problem(["models", "clean", "from"], "No.")) == "product.yaml:11:11: No."


def test_the_worked_example_of_the_format_is_understood() -> None:
    """The format's own example would not be a manifest; it asks for nothing but sources of later versions."""
    found = examine(HERE / "worked_example")
    assert found.product is not None
    assert found.product.policies[2].model_dump(by_alias=True)["mask"]["with"] == "hmac"
    assert [str(problem) for problem in found.problems] == [
        "product.yaml:13:18: sources.stock.type: flightmesh is not active yet. Active now: parquet, csv, json, arrow, "
        "sqlite, postgres, flightsql, adbc, delta or iceberg.",
    ]
    assert found.contracts["excursions"].columns[3].tags == frozenset({"pii"})
    assert {notice.message.split(" is not")[0] for notice in found.notices} >= {"quality", "algorithms", "apps"}


def test_a_folder_without_a_manifest(tmp_path: Path) -> None:
    """`serve` on the wrong folder would end in a traceback."""
    with pytest.raises(ProductProblems, match=r"product\.yaml:1:1: The file is missing\."):
        load_bundle(tmp_path)


def test_a_contract_with_a_mistake_does_not_hide_those_of_the_manifest(make_product: Make, product_yaml: str) -> None:
    """Two rounds of mending for one reading."""
    broken = {"product.yaml": product_yaml.replace("title:", "titel:"), "contracts/samples.odcs.yaml": "kind: x\n"}
    found = examine(make_product(broken))
    assert {problem.file for problem in found.problems} == {"product.yaml", "contracts/samples.odcs.yaml"}
    assert found.product is None

"""Row filters are checked when a product is built: one that fails at the first statement would fail for every port."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flightmesh.build.check import check_product

from .conftest import MakeProduct

CLINICAL = Path(__file__).parents[2] / "products" / "clinical_trials"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the clinical product, for changing its row filter."""
    return Path(shutil.copytree(CLINICAL, tmp_path / "clinical"))


def problems_with(folder: Path, predicate: str) -> list[str]:
    """What check says when the row filter of `patients` is this predicate."""
    manifest = folder / "product.yaml"
    text = manifest.read_text()
    assert "{rows: symptom = 1," in text
    manifest.write_text(text.replace("{rows: symptom = 1,", f"{{rows: '{predicate.replace(chr(39), chr(39) * 2)}',"))
    return [str(problem) for problem in check_product(folder).problems]


@pytest.mark.parametrize(
    "predicate",
    [
        "symptom = 1",
        "symptom IN (:user.sites)",
        "arm_name = ':user.x' OR symptom = :user.site",
        "age > 20 AND symptom = 1",
    ],
)
def test_a_predicate_over_the_ports_columns_is_fine(folder: Path, predicate: str) -> None:
    """A false alarm would keep a sound product from being published."""
    assert problems_with(folder, predicate) == []


@pytest.mark.parametrize(
    ("predicate", "said"),
    [
        ("symptm = 1", 'Referenced column "symptm" not found'),
        ("symptom = 1 AND", "does not parse"),
        ("symptom IN (SELECT symptom FROM arms)", "only the columns of its port"),
        ("true) OR (symptom = 1", "does not parse"),
        ("getvariable('x') = 1", "getvariable is not allowed"),
        ("symptom = ?", "only the columns of its port"),
        ("arm_name = 1 + 'a'", "best candidate function"),
        ("arm_name", "must be a condition"),
        ("symptom + 1", "must be a condition"),
        (":user.site", "must be a condition"),
    ],
)
def test_a_predicate_that_would_fail_later_fails_now(folder: Path, predicate: str, said: str) -> None:
    """The problem stands at the predicate's place in product.yaml, and says what is wrong."""
    (problem,) = problems_with(folder, predicate)
    assert problem.startswith("product.yaml:")
    assert said in problem


@pytest.mark.parametrize(
    ("column", "constant", "said"),
    [
        ("delay", "30000", None),
        ("delay", "70000", "The constant 70000 is no SMALLINT, the type of delay."),
        ("hour", "2013-01-01", None),
        ("hour", "soon", "The constant 'soon' is no TIMESTAMP WITH TIME ZONE, the type of hour."),
    ],
)
def test_a_constant_is_a_value_of_its_column(
    make_product: MakeProduct, column: str, constant: str, said: str | None
) -> None:
    """A mask whose value cannot be cast would fail at each reader's first statement."""
    mask = f"  - {{mask: {{column: {column}, with: {{constant: {constant}}}}}}}\n"
    folder = make_product(lean=True, edit={"policies:\n": f"policies:\n{mask}"})
    problems = check_product(folder).problems
    assert [problem.message for problem in problems] == ([] if said is None else [said])
    assert all(mask[problem.column - 1 :].startswith("{constant") for problem in problems)

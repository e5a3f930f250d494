"""``flightmesh.product.checks``: files stay in the folder. The other mistakes are in ``golden/``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from flightmesh.product.manifest import examine
from flightmesh.product.paths import outside

Make = Callable[[Mapping[str, str]], Path]


def test_a_link_that_leads_out_is_refused(make_product: Make) -> None:
    """A product could serve the server's own files."""
    folder = make_product({})
    (folder.parent / "secret.csv").write_text("id\n", encoding="utf-8")
    (folder / "data/raw.csv").unlink()
    (folder / "data/raw.csv").symlink_to(folder.parent / "secret.csv")
    assert [problem.message for problem in examine(folder).problems] == [
        "sources.raw.path: 'data/raw.csv' leads out of the product's folder through a link."
    ]


def test_a_link_within_the_folder_is_fine(make_product: Make) -> None:
    """Data kept in one place of the product could not be used twice."""
    folder = make_product({})
    (folder / "data/raw.csv").rename(folder / "data/real.csv")
    (folder / "data/raw.csv").symlink_to("real.csv")
    assert examine(folder).problems == ()


def test_a_contract_behind_a_link_is_not_read(make_product: Make) -> None:
    """Problems would quote a file from elsewhere."""
    folder = make_product({})
    (folder / "contracts").rename(folder.parent / "contracts")
    (folder / "contracts").symlink_to(folder.parent / "contracts")
    found = examine(folder)
    assert found.contracts == {}
    assert [problem.message.partition(": ")[2] for problem in found.problems] == [
        "'contracts/samples.odcs.yaml' leads out of the product's folder through a link."
    ]


@pytest.mark.parametrize("file", ["", "/x", "~/x", "a/../../x", "C:/x", "a\\b", "s3://x/y", "a\0b", "a\nb"])
def test_what_is_no_path_in_the_folder(file: str, tmp_path: Path) -> None:
    """A manifest could name any file of the machine."""
    assert outside(tmp_path, file) is not None


def test_a_circle_of_links_is_refused(tmp_path: Path) -> None:
    """The loader would end in an OSError."""
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert outside(tmp_path, "a/x") is None or "followed" in str(outside(tmp_path, "a/x"))
    assert outside(tmp_path, "data/raw.csv") is None

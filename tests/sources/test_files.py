"""From a path in the manifest to files of the product."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.model import Source
from flightmesh.sources.files import File, find_file, fingerprint, stamp


def spec(path: str | None) -> Source:
    return Source(type="csv", path=path)


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def test_a_file_with_brackets_in_its_name_is_meant_as_it_stands(tmp_path: Path) -> None:
    """``sales[2024].csv`` would be read as a pattern and not be found."""
    write(tmp_path, "sales[2024].csv")
    assert find_file(tmp_path, "s", spec("sales[2024].csv")).name == "sales[2024].csv"


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret.csv", "data/../../secret.csv", ""])
def test_paths_out_of_the_folder_are_refused(tmp_path: Path, path: str) -> None:
    """A product could publish files of the machine that serves it."""
    with pytest.raises(FlightmeshError) as caught:
        find_file(tmp_path, "s", spec(path))
    assert caught.value.code is ErrorCode.INVALID


@pytest.mark.parametrize(
    ("path", "code"), [("none.csv", ErrorCode.UNAVAILABLE), ("*.csv", ErrorCode.UNAVAILABLE), (None, ErrorCode.INVALID)]
)
def test_a_missing_file_is_named_as_the_author_wrote_it(tmp_path: Path, path: str | None, code: ErrorCode) -> None:
    """An error would show where the product lies on the machine."""
    with pytest.raises(FlightmeshError) as caught:
        find_file(tmp_path, "s", spec(path))
    assert caught.value.code is code
    assert str(tmp_path) not in str(caught.value)


def test_the_fingerprint_follows_content_and_nothing_else(tmp_path: Path) -> None:
    """A touched file would be loaded anew; a changed one of equal size and old date would not."""
    write(tmp_path, "a.csv")
    file = find_file(tmp_path, "s", spec("a.csv"))
    before = fingerprint("s", (file,))
    os.utime(file.path, ns=(1, 1))
    assert fingerprint("s", (file,)) == before
    file.path.write_text("A.csv")
    assert fingerprint("s", (file,)) != before


def test_the_fingerprint_of_several_files_depends_on_their_order(tmp_path: Path) -> None:
    """Rows that changed places between files would pass for the same data."""
    write(tmp_path, "a.csv", "b.csv")
    a, b = [find_file(tmp_path, "s", spec(name)) for name in ("a.csv", "b.csv")]
    assert fingerprint("s", (a, b)) != fingerprint("s", (b, a))


def test_a_file_that_vanished_is_unavailable(tmp_path: Path) -> None:
    """A file removed while a product loads would end in a traceback."""
    with pytest.raises(FlightmeshError) as caught:
        stamp("s", File(tmp_path / "gone.csv", "gone.csv"))
    assert caught.value.code is ErrorCode.UNAVAILABLE

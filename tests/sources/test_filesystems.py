"""From the path of a source to the files that it means, in the product's folder and in an object store."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.model import Source
from flightmesh.sources.filesystems import Part, Place, Store, open_place, patience_s
from flightmesh.sources.secrets import Secrets
from tests.sources.conftest import SECRET_KEY, ObjectStore


def place(folder: Path, path: str | None, secrets: Secrets | None = None, **keys: Any) -> Place:
    return open_place(folder, "s", Source(type="csv", path=path, **keys), secrets or Secrets(), (".csv", ".csv.gz"))


def names(folder: Path, path: str, **keys: Any) -> list[str]:
    return [part.name for part in place(folder, path, **keys).parts()]


def write(folder: Path, *files: str) -> None:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


TREE = ("b.csv", "a.csv", "note.md", "x/c.csv.gz", "x/y/d.csv", "x/_old/e.csv", "x/.f.csv", "x/_g.csv")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.csv", ["a.csv"]),
        ("./x/../a.csv", None),
        ("*.csv", ["a.csv", "b.csv"]),
        ("[!a].csv", ["b.csv"]),
        ("[a-b].csv", ["a.csv", "b.csv"]),
        ("?.md", None),
        ("**/*.csv", ["a.csv", "b.csv", "x/y/d.csv"]),
        ("x/**/*.csv*", ["x/c.csv.gz", "x/y/d.csv"]),
        ("x/*/d.csv", ["x/y/d.csv"]),
        ("x/_old/*.csv", ["x/_old/e.csv"]),
        ("x", ["x/c.csv.gz", "x/y/d.csv"]),
        ("x/", ["x/c.csv.gz", "x/y/d.csv"]),
        (".", ["a.csv", "b.csv", "x/c.csv.gz", "x/y/d.csv"]),
    ],
)
def test_a_path_means_the_same_files_in_a_folder_and_in_a_store(
    tmp_path: Path, objects: ObjectStore, path: str, expected: list[str] | None
) -> None:
    """A product that is moved to an object store would read other files than before, or in another order."""
    write(tmp_path, *TREE)
    for name in TREE:
        objects.put(name, b"")
    if expected is None:
        with pytest.raises(FlightmeshError):
            names(tmp_path, path)
    else:
        assert names(tmp_path, path) == expected
        assert names(tmp_path, f"s3://lake/{'' if path == '.' else path}", options=objects.options) == expected


def test_a_file_with_brackets_in_its_name_is_meant_as_it_stands(tmp_path: Path) -> None:
    """``sales[2024].csv`` would be read as a pattern and not be found."""
    write(tmp_path, "sales[2024].csv")
    assert names(tmp_path, "sales[2024].csv") == ["sales[2024].csv"]


@pytest.mark.parametrize("path", ["/etc/passwd", "../x.csv", "a/../../x.csv", "", "file:///etc/passwd", "../**/*.csv"])
def test_paths_out_of_the_folder_are_refused(tmp_path: Path, path: str) -> None:
    """A product could publish files of the machine that serves it."""
    with pytest.raises(FlightmeshError, match="leaves the product's folder") as caught:
        place(tmp_path, path)
    assert caught.value.code is ErrorCode.INVALID


def test_a_file_uri_into_the_folder_is_the_file(tmp_path: Path) -> None:
    """Who copies an address from a browser would be refused."""
    write(tmp_path, "a b.csv")
    assert names(tmp_path, f"file://{tmp_path}/a%20b.csv") == ["a b.csv"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none.csv", "the file none.csv is missing."),
        ("data/*.csv", "no file matches data/*.csv."),
        ("empty", "the folder empty has no file that ends in .csv or .csv.gz."),
    ],
)
def test_what_is_not_there_is_named_as_the_author_wrote_it(tmp_path: Path, path: str, message: str) -> None:
    """An error would show where the product lies on the machine."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(FlightmeshError) as caught:
        place(tmp_path, path).parts()
    assert (caught.value.code, caught.value.message) == (ErrorCode.UNAVAILABLE, f"Source s: {message}")


def test_folders_linked_in_a_circle_end(tmp_path: Path) -> None:
    """A link to a parent folder would keep the listing going until names are too long."""
    write(tmp_path, "x/a.csv")
    os.symlink(tmp_path / "x", tmp_path / "x" / "again")
    assert names(tmp_path, "**/*.csv") == ["x/a.csv"]


def test_partitions_are_the_folders_with_values() -> None:
    """Values with spaces are escaped on disk, and NULL has a word of its own."""
    name = "data/year=2024/city=S%C3%A3o%20Paulo/none=__HIVE_DEFAULT_PARTITION__/x=1.csv"
    part = Part(name, Store("", None), name, 0, 0)
    assert part.partitions == {"year": "2024", "city": "São Paulo", "none": None}


def test_secrets_are_filled_in_and_nowhere_to_be_seen(tmp_path: Path, objects: ObjectStore) -> None:
    """The key of a store would stand in the catalog, a log or an error."""
    objects.put("a.csv", b"a\n1\n")
    secrets = Secrets(environment={"FLIGHTMESH_SECRET_KEY": SECRET_KEY})
    found = place(tmp_path, "s3://lake/*.csv", secrets, options={**objects.options, "secret_key": "${secret:KEY}"})
    assert [part.name for part in found.parts()] == ["a.csv"]
    assert SECRET_KEY not in repr(found) + repr(found.parts())


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("s3://lake/a.csv", {"acess_key": "x"}, "no option acess_key. Did you mean access_key?"),
        ("s3://lake/a.csv", {"access_key": "canary"}, "do not go together"),
        ("s3://lake/a.csv", {"secret_key": "${secret:NONE}"}, "the secret NONE is not there"),
        ("s3://user:canary@lake/a.csv", {}, "is not s3://bucket/key"),
        ("ftp://lake/a.csv", {}, "cannot be read from ftp://"),
        ("a.csv", {"region": "x"}, "options are for object stores"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_read(
    tmp_path: Path, path: str, options: dict[str, Any], message: str
) -> None:
    """A mistyped option would be ignored, or surface as a library's error that quotes its value."""
    with pytest.raises(FlightmeshError) as caught:
        place(tmp_path, path, options=options)
    assert message in str(caught.value)
    assert caught.value.code is ErrorCode.INVALID
    assert "canary" not in str(caught.value)


def test_stores_of_google_are_read_in_the_same_words(tmp_path: Path, objects: ObjectStore) -> None:
    """Options would have to be learned anew, and a public bucket would need an account there."""
    objects.put("a.csv", b"a\n1\n")
    assert names(tmp_path, "gs://lake/*.csv", options=objects.options) == ["a.csv"]
    assert place(tmp_path, "gs://lake/*.csv").store.filesystem.region == "auto"


@pytest.mark.parametrize("kind", ["silent", "nobody"])
def test_a_store_that_is_down_or_silent_is_named_in_time(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    """A query would wait for minutes, and other reads behind it."""
    store: ObjectStore = request.getfixturevalue(kind)
    started = time.monotonic()
    with pytest.raises(FlightmeshError) as caught:
        place(tmp_path, "s3://lake/x/*.csv", options=store.options).parts()
    assert time.monotonic() - started < 5
    assert caught.value.code is ErrorCode.UNAVAILABLE
    assert caught.value.message == "Source s: x/*.csv cannot be read from the object store."
    assert caught.value.hint == "The store's word is NETWORK_CONNECTION."


def test_a_bucket_that_is_not_there_is_unavailable(tmp_path: Path, objects: ObjectStore) -> None:
    """A mistyped bucket would be an empty product."""
    with pytest.raises(FlightmeshError) as caught:
        place(tmp_path, "s3://other/x/*.csv", options=objects.options).parts()
    assert caught.value.code is ErrorCode.UNAVAILABLE


def test_the_fingerprint_of_a_store_follows_its_listing(tmp_path: Path, objects: ObjectStore) -> None:
    """Each check for news would read the whole bucket."""
    objects.put("a.csv", b"a\n1\n")
    found = place(tmp_path, "s3://lake/*.csv", options=objects.options)
    before = found.fingerprint(found.parts())
    assert found.fingerprint(found.parts()) == before
    objects.put("a.csv", b"a\n10\n")
    assert found.fingerprint(found.parts()) != before


def test_the_fingerprint_of_a_folder_follows_content_and_partitions(tmp_path: Path) -> None:
    """Rows would stay in the year that their folder was named after before."""
    write(tmp_path, "d/year=1/a.csv")
    found = place(tmp_path, "d")
    before = found.fingerprint(found.parts())
    os.utime(tmp_path / "d/year=1/a.csv", ns=(1, 1))
    assert found.fingerprint(found.parts()) == before
    (tmp_path / "d/year=1").rename(tmp_path / "d/year=2")
    assert found.fingerprint(found.parts()) != before


def test_the_bounds_of_requests_fit_into_the_timeout() -> None:
    """Retries would add up to more than the author allowed."""
    assert [patience_s(4, 2), patience_s(4, 1), patience_s(30, 2), patience_s(0.5, 6)] == [1, 3, 14, 1]


@pytest.mark.parametrize("path", ["data/link.csv", "data/*.csv", "data", "out/*.csv", "out/x.csv", "file://"])
def test_links_out_of_the_folder_are_refused(tmp_path: Path, path: str) -> None:
    """A product would show any file that the server may read."""
    folder, other = tmp_path / "product", tmp_path / "other"
    (folder / "data").mkdir(parents=True)
    other.mkdir()
    (other / "x.csv").write_text("a\nhidden\n")
    (folder / "data" / "link.csv").symlink_to(other / "x.csv")
    (folder / "out").symlink_to(other)
    path = f"file://{folder}/data/link.csv" if path == "file://" else path
    with pytest.raises(FlightmeshError, match="leaves the product's folder through a link") as caught:
        open_place(folder, "s", Source(type="csv", path=path), Secrets({}), (".csv",)).parts()
    assert caught.value.code is ErrorCode.INVALID


def test_links_within_the_folder_are_followed(tmp_path: Path) -> None:
    """A folder that is itself reached by a link, or files linked to each other, could not be served."""
    folder = tmp_path / "product"
    folder.mkdir()
    (folder / "x.csv").write_text("a\n1\n")
    (folder / "y.csv").symlink_to("x.csv")
    (tmp_path / "alias").symlink_to(folder)
    place = open_place(tmp_path / "alias", "s", Source(type="csv", path="*.csv"), Secrets({}), (".csv",))
    assert [part.name for part in place.parts()] == ["x.csv", "y.csv"]


def test_a_link_anywhere_below_is_found(tmp_path: Path) -> None:
    """A library that follows links would read what a folder within links to."""
    folder = tmp_path / "product"
    (folder / "table" / "_log").mkdir(parents=True)
    (folder / "more").mkdir()
    (folder / "table" / "inner").symlink_to(folder / "more")
    (folder / "more" / "circle").symlink_to(folder / "table")
    place = open_place(folder, "s", Source(type="delta", path="table"), Secrets({}))
    place.confine_all()
    (folder / "more" / "deep").symlink_to(tmp_path)
    with pytest.raises(FlightmeshError, match="deep leaves the product's folder through a link"):
        place.confine_all()


def test_a_file_swapped_for_a_link_is_refused(tmp_path: Path) -> None:
    """What was checked at the start would be another file later."""
    folder = tmp_path / "product"
    folder.mkdir()
    (folder / "x.csv").write_text("a\n1\n")
    (tmp_path / "hidden.csv").write_text("a\n2\n")
    place = open_place(folder, "s", Source(type="csv", path="x.csv"), Secrets({}), (".csv",))
    assert len(place.parts()) == 1
    (folder / "x.csv").unlink()
    (folder / "x.csv").symlink_to(tmp_path / "hidden.csv")
    with pytest.raises(FlightmeshError, match="leaves the product's folder through a link"):
        place.parts()

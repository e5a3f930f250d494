"""The author's code inside a worker, seen from there: what goes wrong gets a place, what comes out plain types."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from flightmesh.engine.polars_code import Fault, arrow_rows, author_function, authors_code, called, plain


@pytest.fixture
def job(tmp_path: Path) -> Iterator[dict[str, str]]:
    path = list(sys.path)
    yield {"folder": str(tmp_path), "file": "m.py", "function": "build"}
    sys.path[:] = path
    sys.modules.pop("flightmesh_product_model", None)


def test_the_authors_function_is_called_with_the_frames(job: dict[str, str], tmp_path: Path) -> None:
    """Both workers, at build and at query time, would run something else."""
    (tmp_path / "m.py").write_text("def build(a, b): return a.join(b, on='n').collect()\n")
    frames = [pl.LazyFrame({"n": [1, 2]}), pl.LazyFrame({"n": [2, 3]})]
    assert called(job, author_function(job), frames).collect()["n"].to_list() == [2]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def build(:\n", "SyntaxError at m.py:1."),
        ("x = 1\nimport missing_of_nobody\n", "ModuleNotFoundError at m.py:2."),
        ("other = 1\n", "m.py has no function build."),
        ("raise SystemExit\n", "SystemExit at m.py:1."),
    ],
)
def test_code_that_does_not_load_is_named_with_its_line(
    job: dict[str, str], tmp_path: Path, code: str, message: str
) -> None:
    """The author would look for the line, or the worker would end without a word."""
    (tmp_path / "m.py").write_text(code)
    with pytest.raises(Fault) as caught:
        author_function(job)
    assert caught.value.answer["message"] == message


def test_texts_are_cut_to_a_line(job: dict[str, str]) -> None:
    """Polars prints plans of hundreds of lines."""
    with pytest.raises(Fault) as caught, authors_code(job):
        raise ValueError("first\nsecond")
    assert caught.value.answer["hint"] == "first"


def test_rows_have_plain_types() -> None:
    """Views, large offsets and dictionaries would be types that no contract names."""
    frame = pl.DataFrame({"c": pl.Series(["a"], dtype=pl.Categorical), "w": pl.Series([1], dtype=pl.UInt128), "t": "x"})
    assert arrow_rows(frame).read_all().to_pydict() == {"c": ["a"], "w": [1], "t": ["x"]}
    assert [str(kind) for kind in arrow_rows(frame).schema.types] == ["string", "decimal128(38, 0)", "string"]
    assert plain(pa.large_list(pa.struct([("b", pa.large_binary())]))) == pa.list_(pa.struct([("b", pa.binary())]))

"""A product's own Python function inside a worker: load it, call it, its author's mistakes in words, its frames in
plain types.

Both workers of Polars models do this (``polars``, when a product is built, and ``polars_worker``, when it is read);
the server never does. It imports little: a worker has to start soon.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    import polars as pl

BATCH_ROWS = 65_536


class Fault(Exception):  # noqa: N818 - carries the worker's answer out of the steps below
    """The author's mistake, in words."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.answer = {"ok": False, "message": message, "hint": hint}


def end_with_server() -> None:
    """The pipe closes when the server ends, however it ends."""
    # Not sys.stdin: its lock, held by this thread when the worker ends, would abort the interpreter.
    os.read(0, 1)
    os._exit(1)


def called(job: dict[str, Any], function: Callable[..., Any], frames: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    """What the author's function makes of the frames."""
    import polars as pl

    with authors_code(job):
        result = function(*frames)
    if not isinstance(result, pl.LazyFrame | pl.DataFrame):
        kind = type(result).__name__
        raise Fault(f"{job['function']} returned {kind}.", "Return a LazyFrame or a DataFrame.")
    return result.lazy()


def author_function(job: dict[str, Any]) -> Callable[..., Any]:  # Any: whatever the author wrote
    """The author's function, its file loaded."""
    path = Path(job["folder"], job["file"])
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location("flightmesh_product_model", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with authors_code(job):
        spec.loader.exec_module(module)
    function = getattr(module, job["function"], None)
    if not callable(function):
        raise Fault(f"{job['file']} has no function {job['function']}.")
    found: Callable[..., Any] = function
    return found


@contextmanager
def authors_code(job: dict[str, Any]) -> Iterator[None]:
    """Whatever the author's code raises becomes the answer: its type, and the author's file and line."""
    try:
        yield
    except BaseException as error:  # SystemExit, and the panics of Polars, which are no Exception
        where = _place(error, Path(job["folder"]), job["file"])
        # Polars goes on about plans and files after its first line.
        text = str(error).partition("\n")[0][:300]
        raise Fault(f"{type(error).__name__} at {where}.", text or None) from error


def _place(error: BaseException, folder: Path, file: str) -> str:
    """``file:line`` of the innermost frame inside the product's folder; the file alone when there is none."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_relative_to(folder):
        return f"{Path(error.filename).relative_to(folder)}:{error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).is_relative_to(folder):
            return f"{Path(frame.filename).relative_to(folder)}:{frame.lineno}"
    return file


def arrow_rows(frame: pl.DataFrame) -> pa.RecordBatchReader:
    """The frame in plain types: no views, no large offsets, no dictionaries."""
    import polars as pl

    wide = [name for name, kind in frame.schema.items() if kind in (pl.Int128, pl.UInt128)]
    table = frame.with_columns(pl.col(wide).cast(pl.Decimal(38, 0))).to_arrow(compat_level=pl.CompatLevel.oldest())
    schema = pa.schema([pa.field(field.name, plain(field.type)) for field in table.schema])
    batches = (batch.cast(schema) for batch in table.to_batches(max_chunksize=BATCH_ROWS))
    return pa.RecordBatchReader.from_batches(schema, batches)


def plain(kind: pa.DataType) -> pa.DataType:
    """The type as DuckDB would have it."""
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_dictionary(kind):
        return plain(kind.value_type)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(plain(kind.value_type), kind.list_size)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(plain(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(kind.field(i).name, plain(kind.field(i).type)) for i in range(kind.num_fields)])
    return kind

"""``check``: what is wrong with the folders of products, at which line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flightmesh.cli import exits
from flightmesh.cli.terminal import printable

if TYPE_CHECKING:
    from flightmesh.app import CheckResult

CHECK_EXAMPLES = """\b
Examples:
  flightmesh check
  flightmesh check products/aviation_flights
  flightmesh check --json my-product | jq '.problems'
"""


def check(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="DIR", help="Folders that are or hold products. [default: products]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Report every mistake in product folders, with file, line and column.

    Manifests, contracts and models are read and compared; data are not. Ends with 1 when there is a problem; notices
    tell what is accepted but not active yet.
    """
    from flightmesh.app import check as check_folders

    results = check_folders(folders or [Path("products")])
    count = sum(len(result.problems) for result in results)
    if as_json:
        print(json.dumps({"problems": count, "products": list(map(_as_json, results))}, ensure_ascii=False))
    else:
        _print(results, count)
    if count:
        raise typer.Exit(exits.FAILED)


def _as_json(result: CheckResult) -> dict[str, object]:
    return {
        "folder": str(result.folder),
        "product": result.product,
        "ports": list(result.ports),
        "problems": list(result.problems),
        "notices": list(result.notices),
    }


def _print(results: Iterable[CheckResult], count: int) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    folders = 0
    for result in results:
        folders += 1
        for problem in result.problems:
            console.print(Text(_placed(result.folder, problem)))
        for notice in result.notices:
            console.print(Text(_placed(result.folder, notice), "dim"))
        name = result.product or str(result.folder)
        verdict = Text(_counted(len(result.problems), "problem"), "red") if result.problems else Text("ok", "green")
        console.print(Text.assemble(f"{name}: ", verdict, f" ({', '.join(result.ports)})" if result.ports else ""))
    if folders > 1:
        console.print(f"{_counted(folders, 'product')}, {_counted(count, 'problem')}.")


def _placed(folder: Path, problem: str) -> str:
    # Problems begin with a file relative to the product's folder; from here an editor can open it.
    return printable(os.path.join(folder, problem))


def _counted(n: int, what: str) -> str:
    return f"{n or 'no'} {what}{'' if n == 1 else 's'}"

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
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import did_you_mean

if TYPE_CHECKING:
    from flightmesh.app import CheckResult

CHECK_EXAMPLES = """\b
Examples:
  flightmesh check
  flightmesh check products/aviation_flights
  flightmesh check --json my-product | jq '.problems'
  flightmesh check my-product --show-sql --model orders
"""


def check(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="DIR", help="Folders that are or hold products. [default: products]"),
    ] = None,
    show_sql: Annotated[
        bool, typer.Option("--show-sql", help="Print the SQL that low-code models become, too.")
    ] = False,
    models: Annotated[
        list[str] | None, typer.Option("--model", metavar="NAME", help="With --show-sql: of this model alone.")
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
    sql = [_chosen(result, models) if show_sql or models else {} for result in results]
    for name in models or ():
        _must_be_there(name, results)
    if as_json:
        found = [_as_json(result, texts) for result, texts in zip(results, sql, strict=True)]
        print(json.dumps({"problems": count, "products": found}, ensure_ascii=False))
    else:
        _print(results, count)
        for result, texts in zip(results, sql, strict=True):
            _print_sql(result, texts)
    if count:
        raise typer.Exit(exits.FAILED)


def _chosen(result: CheckResult, models: list[str] | None) -> dict[str, str]:
    return {name: text for name, text in result.sql.items() if not models or name in models}


def _must_be_there(name: str, results: Iterable[CheckResult]) -> None:
    """NOT_FOUND unless one of the products has a low-code model of this name that can be made."""
    known = sorted({model for result in results for model in result.sql})
    if name not in known:
        message = f"No product here has a low-code model {name} that can be made."
        raise FlightmeshError(ErrorCode.NOT_FOUND, message, hint=did_you_mean(name, known))


def _print_sql(result: CheckResult, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        print(f"\n-- {result.product}, model {name}")
        # Tabs are the author's; other control characters could redraw a terminal.
        print("\n".join("\t".join(map(printable, line.split("\t"))) for line in text.rstrip("\n").split("\n")))


def _as_json(result: CheckResult, sql: dict[str, str]) -> dict[str, object]:
    return {
        "folder": str(result.folder),
        "product": result.product,
        "ports": list(result.ports),
        "problems": list(result.problems),
        "notices": list(result.notices),
        "sql": sql,
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
        name = result.product or str(_near(result.folder))
        verdict = Text(_counted(len(result.problems), "problem"), "red") if result.problems else Text("ok", "green")
        console.print(Text.assemble(f"{name}: ", verdict, f" ({', '.join(result.ports)})" if result.ports else ""))
    if folders > 1:
        console.print(f"{_counted(folders, 'product')}, {_counted(count, 'problem')}.")


def _placed(folder: Path, problem: str) -> str:
    # Problems begin with a file relative to the product's folder; from here an editor can open it.
    return printable(os.path.join(_near(folder), problem))


def _near(folder: Path) -> Path:
    """The folder as seen from the working folder where it lies below that."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def _counted(n: int, what: str) -> str:
    return f"{n or 'no'} {what}{'' if n == 1 else 's'}"

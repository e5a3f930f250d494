"""``init``: a product drawn up from files, a database or a contract."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flightmesh.cli.terminal import printable, progress

if TYPE_CHECKING:
    from flightmesh.app import InitReport, PersonalReport

INIT_EXAMPLES = """\b
Examples:
  flightmesh init shop --from sales.csv --from customers.parquet --name retail.shop
  flightmesh init shop --from exports/ --from 'archive/2025-*.parquet' --name retail.shop
  flightmesh init erp --from postgresql://reader:secret@db.example.org/erp --name finance.erp
  flightmesh init orders --from orders.odcs.yaml --from orders.csv --name sales.orders
"""

_PERSONAL_SHOWN_MAX = 12


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The product's folder: new, or empty.")],
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="A file, a folder or pattern of files, an ODCS contract, postgresql://... or grpc://host:port; "
            "repeatable.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="DOMAIN.PRODUCT", help="The product's name.", show_default=False)
    ] = None,
    title: Annotated[
        str | None, typer.Option("--title", metavar="TEXT", help="One line for people.", show_default=False)
    ] = None,
    team: Annotated[
        str | None, typer.Option("--team", metavar="TEAM", help="Who answers for it.", show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing, also on a terminal.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document, and ask nothing.")] = False,
) -> None:
    """Draw up a product from what you have: it passes check and can be served as it is.

    Files are copied into DIR; databases are read where they are, when somebody asks. Types, keys, links, units and
    probable personal data are inferred and written down as proposals: nothing is masked unless you say so. Questions
    are asked on a terminal only. What fails leaves nothing behind.
    """
    from flightmesh.app import About, init_product

    if not sources:
        raise typer.BadParameter(
            "there is nothing to start from; name a file, a folder or a database.", param_hint="--from"
        )
    is_asking = not (yes or as_json) and sys.stdin.isatty() and sys.stderr.isatty()
    if name is None and is_asking:
        name = typer.prompt("Name of the product (domain.product)", err=True)
    if name is None:
        raise typer.BadParameter("the product has no name; write DOMAIN.PRODUCT.", param_hint="--name")
    if is_asking:
        title = title or typer.prompt("Title, one line", default="", show_default=False, err=True) or None
        team = team or typer.prompt("Team that owns it", default="", show_default=False, err=True) or None
    accepts: Callable[[Sequence[PersonalReport]], bool] = _confirmed if is_asking else lambda _found: False
    with progress(shown=not as_json and not is_asking) as tell:
        report = init_product(
            folder, sources, name, progress=tell, about=About(title=title, team=team), accepts=accepts
        )
    print(_as_json(report) if as_json else "\n".join(_told(report)))


def _confirmed(found: Sequence[PersonalReport]) -> bool:
    """Shows the columns that look personal, and asks whether to mask them."""
    for line in _personal(found):
        print(line, file=sys.stderr)
    return typer.confirm("Tag these columns as personal and mask them for all but stewards?", err=True)


def _as_json(report: InitReport) -> str:
    return json.dumps(asdict(report) | {"folder": str(report.folder)}, ensure_ascii=False)


def _told(report: InitReport) -> Iterator[str]:
    """The report for people, ending with the commands that come next."""
    yield f"{report.product} in {printable(str(report.folder))}"
    yield ""
    width = max(len(port.name) for port in report.ports)
    for port in report.ports:
        key = f"key {', '.join(map(printable, port.key))}" if port.key else "no key"
        rows = f"{'' if port.is_whole else 'at least '}{port.rows:,}"
        yield f"  {port.name:<{width}}  {rows} rows, {port.columns} columns, {key}"
    if report.personal:
        yield ""
        state = "Masked" if report.masked else "Not masked, proposed in the contracts"
        yield f"Probably personal data. {state}:"
        yield from _personal(report.personal)
    if report.notes:
        yield ""
        yield from (f"Note: {printable(note)}" for note in report.notes)
    yield ""
    yield "Next:"
    folder = shlex.quote(str(report.folder))
    yield from (f"  export {variable}=...   # the address of the database" for variable in report.variables)
    yield f"  flightmesh check {folder}"
    yield f"  flightmesh serve --products {folder}"


def _personal(found: Sequence[PersonalReport]) -> Iterator[str]:
    for each in found[:_PERSONAL_SHOWN_MAX]:
        yield printable(f"  {each.port}.{each.column}: {each.kind}, {each.reason}")
    if len(found) > _PERSONAL_SHOWN_MAX:
        yield f"  and {len(found) - _PERSONAL_SHOWN_MAX} more, listed in README.md"

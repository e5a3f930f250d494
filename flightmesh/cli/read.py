"""``query`` and ``catalog``: reading from a server that runs somewhere."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from flightmesh.cli.connection import DEFAULT_URI, Timeout, TlsRoots, Token, Uri, User, open_client
from flightmesh.cli.formats import TABLE_ROWS_MAX, WRITERS, Format, print_table
from flightmesh.cli.terminal import printable
from flightmesh.errors import ErrorCode, FlightmeshError

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console

    from flightmesh.client import Product

QUERY_EXAMPLES = """\b
Examples:
  flightmesh query 'SELECT count(*) FROM aviation.flights.flights'
  flightmesh query 'FROM clinical.trials.arms' --format csv > arms.csv
  flightmesh query 'FROM aviation.flights.daily_delays' -o delays.parquet
  flightmesh query - --format json < report.sql
  FLIGHTMESH_TOKEN=$(cat token) flightmesh query 'FROM clinical.trials.patients'
"""

CATALOG_EXAMPLES = """\b
Examples:
  flightmesh catalog
  flightmesh catalog --uri grpc+tls://data.example.org:8815 --token "$TOKEN"
  flightmesh catalog --json
"""


def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="A SELECT; - reads it from standard input.")],
    uri: Uri = DEFAULT_URI,
    token: Token = None,
    user: User = None,
    tls_roots: TlsRoots = None,
    written: Annotated[
        Format | None,
        typer.Option("--format", help="How to write the result. [default: by the ending of -o, else table]"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to this file, whole or not at all.")
    ] = None,
    timeout: Timeout = None,
) -> None:
    """Run one SELECT on a server and print its result.

    The table is for people: it ends after 1000 rows, and on a terminal shows the columns that fit. The other formats
    give everything: csv, json (one array), arrow (an IPC stream) and parquet.
    """
    chosen = written or _by_ending(output)
    if chosen.is_binary and output is None and sys.stdout.isatty():
        raise typer.BadParameter(f"{chosen.value} is not for terminals: name a file with -o, or use a pipe.")
    if sql == "-" and user is not None:
        raise typer.BadParameter("standard input cannot hold both the SQL and the password.")
    text = sys.stdin.read() if sql == "-" else sql
    with open_client(uri, token, user=user, tls_roots=tls_roots, timeout_s=timeout) as client:
        reader = client.sql(text).reader()
        if chosen is Format.TABLE:
            _write_table(reader, output)
        else:
            _write(reader, chosen, output)


def catalog(
    uri: Uri = DEFAULT_URI,
    token: Token = None,
    user: User = None,
    tls_roots: TlsRoots = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document, columns included.")] = False,
    timeout: Timeout = None,
) -> None:
    """List the products and tables that the caller may read on a server."""
    with open_client(uri, token, user=user, tls_roots=tls_roots, timeout_s=timeout) as client:
        products = client.products()
    if as_json:
        print(json.dumps({"products": [asdict(product) for product in products]}, ensure_ascii=False))
        return
    from rich.console import Console

    _print_products(products, Console(soft_wrap=True, highlight=False))


def _by_ending(output: Path | None) -> Format:
    endings = {f".{kind.value}": kind for kind in Format}
    return Format.TABLE if output is None else endings.get(output.suffix.lower(), Format.TABLE)


def _write_table(reader: pa.RecordBatchReader, output: Path | None) -> None:
    from rich.console import Console

    if output is None:
        is_whole = print_table(reader, Console(highlight=False))
    else:
        with _replaced(output) as sink:
            text = open(sink.fileno(), "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - closed with the sink
            is_whole = print_table(reader, Console(file=text, highlight=False))
            text.flush()
    if not is_whole:
        print(f"Only the first {TABLE_ROWS_MAX} rows are shown; the other formats give all.", file=sys.stderr)


def _write(reader: pa.RecordBatchReader, chosen: Format, output: Path | None) -> None:
    try:
        if output is None:
            WRITERS[chosen](reader, sys.stdout.buffer)
        else:
            with _replaced(output) as sink:
                WRITERS[chosen](reader, sink)
    except NotImplementedError as error:
        raise FlightmeshError(
            ErrorCode.UNSUPPORTED, f"{chosen.value} cannot hold a column of this result.", hint="Cast it, or use arrow."
        ) from error


@contextmanager
def _replaced(output: Path) -> Iterator[IO[bytes]]:
    """A file that takes the name when it is complete. Errors: INVALID when it cannot be written."""
    # A pipe or a device cannot be replaced.
    is_plain = output.is_file() or not output.exists()
    target = output.resolve()
    written = target.with_name(f".{target.name}.{secrets.token_hex(4)}") if is_plain else target
    try:
        with written.open("wb") as sink:
            yield sink
        if is_plain:
            os.replace(written, target)
    except OSError as error:
        raise FlightmeshError(ErrorCode.INVALID, f"{output} cannot be written: {error.strerror}.") from error
    finally:
        if is_plain:
            written.unlink(missing_ok=True)


def _print_products(products: list[Product], console: Console) -> None:
    from rich.text import Text

    if not products:
        console.print("There is no product that this caller may read.")
    for product in products:
        console.print(Text.assemble((product.name, "bold"), f" {product.version}  {printable(product.title)}"))
        if product.unavailable is not None:
            console.print(Text.assemble(("  unavailable: ", "red"), printable(product.unavailable)))
        width = max((len(port.name) for port in product.ports), default=0)
        for port in product.ports:
            age = "live" if port.is_live else f"stale, of {port.read_at}" if port.stale is not None else ""
            said = printable(": ".join(filter(None, (age, port.description))))
            console.print(Text(f"  {port.name:<{width}}  {len(port.columns):>3} columns  {said}".rstrip()))

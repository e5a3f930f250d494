"""The command line: parses, calls ``app`` or ``client``, prints. It decides nothing and knows no SQL.

Everything heavy is imported inside the command that needs it: ``--help`` and ``--version`` answer at once.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from flightmesh.cli import accounts, check, exits, explain, new, queries, read, serve
from flightmesh.cli.terminal import print_error
from flightmesh.errors import FlightmeshError

__all__ = ["main", "run"]

_EXAMPLES = """\b
Examples:
  flightmesh serve
  flightmesh query 'SELECT count(*) FROM aviation.flights.flights'
  flightmesh check my-product
  flightmesh init my-product --from sales.csv --name retail.sales
"""
_EXIT_CODES = "\b\nExit codes:\n" + "".join(f"  {code:<4} {text}\n" for code, text in exits.MEANINGS.items())


class _Door(TyperGroup):
    """The one place where errors leave a command."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:  # Any: typer hides the type of its context
        with _errors_end_here():
            # Prints --help and --version, too.
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:  # Any: as above
        with _errors_end_here():
            return super().invoke(ctx)


@contextlib.contextmanager
def _errors_end_here() -> Iterator[None]:
    try:
        yield
        sys.stdout.flush()
    except FlightmeshError as error:
        print_error(error)
        raise typer.Exit(exits.exit_code(error.code)) from error
    except BrokenPipeError as error:
        _forget_output()
        raise typer.Exit(exits.BROKEN_PIPE) from error


application = typer.Typer(
    name="flightmesh",
    cls=_Door,
    epilog=f"{_EXAMPLES}\n\n{_EXIT_CODES}",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
application.command("serve", short_help="Serve product folders.", epilog=serve.SERVE_EXAMPLES)(serve.serve)
application.command("check", short_help="Report every mistake in product folders.", epilog=check.CHECK_EXAMPLES)(
    check.check
)
application.command("init", short_help="Draw up a product from what you have.", epilog=new.INIT_EXAMPLES)(new.init)
application.command("query", short_help="Run one SELECT on a server.", epilog=read.QUERY_EXAMPLES)(read.query)
application.command("explain", short_help="Say how a server would answer a SELECT.", epilog=explain.EXAMPLES)(
    explain.explain
)
application.command("catalog", short_help="List what a server offers.", epilog=read.CATALOG_EXAMPLES)(read.catalog)
application.command("queries", short_help="List what a server runs, or stop it.", epilog=queries.EXAMPLES)(
    queries.queries
)
application.command("reload", short_help="Make a server read its products again.", epilog=serve.RELOAD_EXAMPLES)(
    serve.reload
)
application.add_typer(accounts.users, name="user", help="Add and remove users.", epilog=accounts.USER_EXAMPLES)
application.add_typer(accounts.tokens, name="token", help="Create and revoke tokens.", epilog=accounts.TOKEN_EXAMPLES)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"flightmesh {version('flightmesh')}")
        raise typer.Exit


@application.callback()
def flightmesh(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Serve folders as governed data products over Arrow Flight SQL, and read them."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The entry point: runs the command line and ends the process."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """The exit code of the command line; None: that of this process."""
    try:
        application(None if arguments is None else list(arguments), prog_name="flightmesh")
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else exits.OK if done.code is None else exits.FAILED
    except KeyboardInterrupt:
        code = exits.INTERRUPTED
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_output()
        code = exits.BROKEN_PIPE
    return code


def _forget_output() -> None:
    """Keeps the interpreter from complaining, at its end, about output that nobody reads any more."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

"""``user`` and ``token``: who may call, in the config file. A running server follows within seconds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from flightmesh.cli.connection import read_password
from flightmesh.cli.terminal import printable

USER_EXAMPLES = """\b
Examples:
  flightmesh user add ada --role analyst --role steward --config users.toml
  printf %s "$PASSWORD" | flightmesh user add ada --role analyst --config users.toml
  flightmesh user add ada --role steward --replace --config users.toml
  flightmesh user remove ada --config users.toml
"""

TOKEN_EXAMPLES = """\b
Examples:
  flightmesh token create ada --config users.toml > token
  flightmesh token create ada --expires 30d --config users.toml
  flightmesh token revoke 0f3a9c21b7de --config users.toml
"""

ConfigFile = Annotated[
    Path,
    typer.Option(
        "--config", metavar="FILE", envvar="FLIGHTMESH_CONFIG", help="The file that holds users and tokens (TOML)."
    ),
]

users = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
tokens = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@users.command("add", epilog=USER_EXAMPLES)
def add_user(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")],
    config: ConfigFile,
    role: Annotated[list[str], typer.Option("--role", metavar="ROLE", help="A role of the user; repeatable.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Give an existing user this password and these roles.")
    ] = False,
) -> None:
    """Add a user. The password is read from standard input, on a terminal twice and unseen."""
    password = read_password(twice=True)
    from flightmesh.app import add_user as add

    add(config, name, role, password, replace=replace)
    _note(f"{name} is a user with {'the role' if len(role) == 1 else 'the roles'} {', '.join(role)}.")


@users.command("remove", epilog=USER_EXAMPLES)
def remove_user(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")], config: ConfigFile
) -> None:
    """Remove a user and all tokens of the user. Sessions of the user end with the next call."""
    from flightmesh.app import remove_user as remove

    remove(config, name)
    _note(f"{name} is no user any more.")


@tokens.command("create", epilog=TOKEN_EXAMPLES)
def create_token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The user whom the token stands for.")],
    config: ConfigFile,
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="TIME", help="30d, 12h, 15m, or never. [default: never]"),
    ] = None,
) -> None:
    """Create an API token and print it, alone, on standard output. It is shown this once."""
    from flightmesh.app import create_token as create

    print(create(config, name, expires))


@tokens.command("revoke", epilog=TOKEN_EXAMPLES)
def revoke_token(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="The token's id, or its whole text.")],
    config: ConfigFile,
) -> None:
    """Revoke an API token."""
    from flightmesh.app import revoke_token as revoke

    _note(f"The token {revoke(config, token)} is revoked.")


def _note(text: str) -> None:
    # Standard output is for what was asked for.
    print(printable(text), file=sys.stderr)

"""The reference of the command line, made from the commands themselves: ``python -m flightmesh.cli.reference``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from flightmesh.cli import application, exits

_HEAD = """# Command line

Generated from the commands by `python -m flightmesh.cli.reference`; do not edit.

## Exit codes

| code | meaning |
|---|---|
"""


def reference() -> str:
    """The page in Markdown: the exit codes, then the help of every command."""
    codes = "".join(f"| {code} | {text} |\n" for code, text in exits.MEANINGS.items())
    sections = "".join(
        f"\n## {path}\n\n```text\n{text}\n```\n" for path, text in _helps(typer.main.get_command(application))
    )
    return f"{_HEAD}{codes}{sections}"


def _helps(command: Any, parent: Any = None) -> Iterator[tuple[str, str]]:  # Any: typer hides the types of its commands
    name = "flightmesh" if parent is None else command.name
    context = command.make_context(name, [], parent=parent, resilient_parsing=True, max_content_width=100)
    context.terminal_width = 100
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    yield context.command_path, text
    for child in getattr(command, "commands", {}).values():
        yield from _helps(child, context)


if __name__ == "__main__":
    print(reference(), end="")

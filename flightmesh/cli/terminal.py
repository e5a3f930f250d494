"""What people see: errors and progress on standard error, coloured on terminals only (and never with NO_COLOR).

Text from servers and files is made harmless before it reaches a terminal: control characters could redraw it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flightmesh.errors import FlightmeshError


def printable(text: str) -> str:
    """The text on one line, with control characters written as escapes."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def print_error(error: FlightmeshError) -> None:
    """``error: code: fact`` and ``hint: ...`` on standard error; a list of problems keeps its lines."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    fact = "\n".join(printable(line) for line in error.message.splitlines())
    console.print(Text.assemble(("error: ", "bold red"), f"{error.code.value}: {fact}"))
    if error.hint:
        console.print(Text.assemble(("hint: ", "bold"), printable(error.hint)))


@contextmanager
def progress(*, shown: bool) -> Iterator[Callable[[str], None]]:
    """A function that shows what is being done: one moving line on a terminal, plain lines elsewhere, or nothing."""
    if not shown:
        yield lambda _text: None
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda text: print(printable(text), file=sys.stderr, flush=True)
        return
    stderr = sys.stderr
    logs = [h for h in logging.getLogger().handlers if isinstance(h, logging.StreamHandler) and h.stream is stderr]
    with console.status("starting") as status:
        try:
            for log in logs:
                log.setStream(sys.stderr)  # The console's now: what is logged is printed above the moving line.
            yield lambda text: status.update(Text(printable(text)))
        finally:
            for log in logs:
                log.setStream(stderr)

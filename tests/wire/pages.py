"""The programs on pages of docs/clients that are not Python: run as their page has them, a page cannot lie.

Each is compiled and run as its users would, against the server of the tests; only the address and TOKEN are put in.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.test_docs import ADDRESS, BLOCK_S_MAX, DOCS, Block, blocks
from tests.wire import go_client, java_client, r_arrow_client, r_client

FOLDER = DOCS / "clients"
_HOST, _PORT = ADDRESS.split(":")
# A host and a port as two arguments, in whatever way the language separates them.
_APART = re.compile(rf'"{re.escape(_HOST)}", {_PORT}\b')


def programs(page: str, language: str) -> list[Block]:
    """The blocks of one language on a page of docs/clients."""
    return [block for block in blocks(FOLDER / page) if block.language == language]


def addressed(code: str, uri: str, token: str) -> str:
    """The code with the server's address for the page's, and a token, quoted, for TOKEN."""
    address = uri.partition("://")[2]
    host, port = address.split(":")
    code = _APART.sub(f'"{host}", {port}', code.replace(ADDRESS, address))
    return re.sub(r"\bTOKEN\b", f'"{token}"', code)


def java(code: str, folder: Path, *, with_driver_alone: bool) -> str:
    """What a class with a ``main`` prints: with the JDBC driver's jar and nothing else, or with Flight SQL's."""
    jars, _ = java_client.install()
    libraries = [jar for jar in sorted(jars.glob("*.jar")) if ("jdbc" in jar.name) == with_driver_alone]
    name = re.findall(r"\bclass (\w+)", code)[0]
    (folder / f"{name}.java").write_text(code)
    path = os.pathsep.join(map(str, libraries))
    # The page's own command: Java compiles a single file by itself.
    command = ["java", "-cp", path, *java_client.OPTIONS, f"{name}.java"]
    return _printed(command, folder)


def go(code: str, folder: Path) -> str:
    """What a program prints."""
    (folder / "main.go").write_text(code)
    go_client.build(folder, folder)
    return _printed([folder / "program"], folder)


def r(code: str, folder: Path, *, with_arrow: bool) -> str:
    """What a script prints, in Debian's R or in the one with its arrow package."""
    script = folder / "page.R"
    script.write_text(code)
    command: list[str | Path] = [*r_client.COMMAND, script]
    if with_arrow:
        command = [*r_arrow_client.COMMAND, "-f", script]
    return _printed(command, folder, r_client.ENVIRONMENT)


def _printed(command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=BLOCK_S_MAX,
        check=False,
    )
    assert done.returncode == 0, f"{command[0]} ends with {done.returncode}:\n{done.stdout}\n{done.stderr[-4000:]}"
    return done.stdout

"""The snippets of a client's page, run by the interpreter that has what they need: a page cannot lie."""

from __future__ import annotations

import subprocess

from tests.test_docs import ADDRESS, BLOCK_S_MAX, DOCS, Block, blocks
from tests.wire.dialects.bridge import surroundings
from tests.wire.dialects.environments import python_of


def snippets(page: str) -> list[Block]:
    """The blocks on a page of docs/clients that are marked ``py``: Python that our own environment could not run."""
    return [block for block in blocks(DOCS / "clients" / page) if block.language == "py"]


def printed(block: Block, environment: str, uri: str, token: str) -> str:
    """What the snippet prints; its address is the server's, its TOKEN the given one. AssertionError when it fails."""
    code = block.code.replace(ADDRESS, uri.removeprefix("grpc://"))
    host, port = uri.removeprefix("grpc://").split(":")
    code = code.replace('host="127.0.0.1", port=8815', f'host="{host}", port={port}').replace("TOKEN", repr(token))
    done = subprocess.run(
        [str(python_of(environment)), "-c", code],
        env=surroundings(),
        capture_output=True,
        text=True,
        timeout=BLOCK_S_MAX,
        check=False,
    )
    assert done.returncode == 0, f"line {block.line} ends with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout

"""The pages of docs/clients in languages that are not Python, and that every page of it has a snippet that ran."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pyarrow.flight as fl
import pytest

from flightmesh.flightsql import messages as m
from flightmesh.flightsql.codec import pack
from tests.test_docs import RUN_PAGES, Block, blocks
from tests.wire import go_client, java_client, pages, r_arrow_client, r_client
from tests.wire.clients import left_out

if TYPE_CHECKING:
    from tests.conftest import ServedBy

# The first test of a fresh checkout waits for Maven or for Go's modules.
CLIENTS = [pytest.mark.clients, pytest.mark.timeout(600)]
MESSAGE_BYTES_MAX = 4 * 2**20
# What runs the snippets of a page, and in which language they are.
RUN_BY: Mapping[str, tuple[str, str]] = {
    "adbc": ("python", "tests.test_docs.test_the_commands_of_a_page_do_what_it_says"),
    "bi-tools": ("url", "tests.wire.test_pages.test_a_tool_connects_by_the_url_of_its_page"),
    "duckdb": ("python", "tests.test_docs.test_the_commands_of_a_page_do_what_it_says"),
    "go": ("go", "tests.wire.test_pages.test_the_go_of_a_page_prints_what_it_says"),
    "ibis": ("py", "tests.wire.test_ibis.test_the_page_prints_what_it_says"),
    "java": ("java", "tests.wire.test_pages.test_the_java_of_a_page_prints_what_it_says"),
    "jdbc": ("java", "tests.wire.test_pages.test_the_java_of_a_page_prints_what_it_says"),
    "pandas": ("python", "tests.test_docs.test_the_commands_of_a_page_do_what_it_says"),
    "polars": ("python", "tests.test_docs.test_the_commands_of_a_page_do_what_it_says"),
    "python-flight": ("python", "tests.test_docs.test_the_commands_of_a_page_do_what_it_says"),
    "r": ("r", "tests.wire.test_pages.test_the_r_of_a_page_prints_what_it_says"),
    "sqlalchemy": ("py", "tests.wire.test_sqlalchemy.test_the_page_prints_what_it_says"),
    # Its snippet is a configuration: the application of all tests of that file has it.
    "superset": ("py", "tests.wire.test_superset.test_a_chart_by_month"),
}


def _need(module: ModuleType) -> None:
    if (reason := module.missing()) is not None:
        pytest.skip(reason)


def test_every_page_has_a_snippet_that_a_test_runs() -> None:
    """A page whose snippet nobody runs is wrong sooner or later, and its reader is the first to know."""
    found = {page.stem for page in pages.FOLDER.glob("*.md")} - {"index"}
    assert found == RUN_BY.keys()
    for page, (language, test) in RUN_BY.items():
        assert pages.programs(f"{page}.md", language), f"{page}.md has no block of {language}"
        module, _, name = test.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name)), test
        if language == "python":
            assert pages.FOLDER / f"{page}.md" in RUN_PAGES, page


def test_every_program_says_what_it_prints() -> None:
    """A program without its output proves only that it ends."""
    silent = [
        f"{page}.md:{block.line}"
        for page in RUN_BY
        for block in blocks(pages.FOLDER / f"{page}.md")
        if block.language in ("java", "go", "r") and not block.printed
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("page", "block"),
    [
        pytest.param(page, block, id=f"{page}-line {block.line}", marks=CLIENTS)
        for page in ("jdbc.md", "java.md")
        for block in pages.programs(page, "java")
    ],
)
def test_the_java_of_a_page_prints_what_it_says(page: str, block: Block, server: ServedBy, tmp_path: Path) -> None:
    """Whoever copies the class gets what the page promises, with the libraries that it names."""
    _need(java_client)
    code = pages.addressed(block.code, server.uri, server.tokens["steward"])
    assert pages.java(code, tmp_path, with_driver_alone=page == "jdbc.md") == block.printed


@pytest.mark.parametrize(
    "block",
    [pytest.param(block, id=f"line {block.line}", marks=CLIENTS) for block in pages.programs("go.md", "go")],
)
def test_the_go_of_a_page_prints_what_it_says(block: Block, server: ServedBy, tmp_path: Path) -> None:
    """Whoever copies the program gets what the page promises."""
    _need(go_client)
    code = pages.addressed(block.code, server.uri, server.tokens["steward"])
    assert pages.go(code, tmp_path) == block.printed


@pytest.mark.parametrize(
    ("block", "module"),
    [
        pytest.param(block, r_arrow_client if by_arrow else r_client, id=f"line {block.line}", marks=CLIENTS)
        for block in pages.programs("r.md", "r")
        if not ((by_arrow := "library(arrow)" in block.code) and "r-arrow" in left_out())
    ],
)
def test_the_r_of_a_page_prints_what_it_says(
    block: Block, module: ModuleType, server: ServedBy, tmp_path: Path
) -> None:
    """Whoever copies the script gets what the page promises, by reticulate alone or with R's own arrow."""
    _need(module)
    code = pages.addressed(block.code, server.uri, server.tokens["steward"])
    printed = pages.r(code, tmp_path, with_arrow=module is r_arrow_client)
    assert [line.rstrip() for line in printed.splitlines()] == (block.printed or "").splitlines()


@pytest.mark.clients
@pytest.mark.timeout(600)
def test_a_tool_connects_by_the_url_of_its_page(server: ServedBy) -> None:
    """DBeaver, Tableau and their kin are given such a URL, and user and password or a token as properties."""
    _need(java_client)
    (block,) = pages.programs("bi-tools.md", "url")
    urls = pages.addressed(block.code, server.uri, "").splitlines()
    bridge = java_client.jdbc_bridge()
    token = server.tokens["steward"]
    for who in ({}, {"token": token}, {"user": "token", "password": token}):
        for url, table in zip(urls, ("aviation.flights.flights", "flights"), strict=True):
            connection = bridge.ask("open", url=url, properties=who)
            told = bridge.ask("metadata", connection=connection, method="getCatalogs", arguments=[])
            assert told["rows"] == [["aviation"], ["clinical"]]
            answer = bridge.ask("query", connection=connection, sql=f"SELECT count(*) AS n FROM {table}")
            assert answer["rows"] == [[336_776]]
            bridge.ask("close", connection=connection)


@pytest.mark.parametrize(
    "sql", ["select 1", "SELECT repeat('x', 1000000) AS v FROM range(20)", "SELECT * FROM range(300000)"]
)
def test_what_grafana_reads_is_one_endpoint_of_small_messages(server: ServedBy, sql: str) -> None:
    """Its plugin takes the first endpoint for all there is, and fails at a message above 4 MiB."""
    options = [("grpc.max_receive_message_length", MESSAGE_BYTES_MAX)]
    with fl.FlightClient(server.uri, generic_options=options) as client:
        info = client.get_flight_info(fl.FlightDescriptor.for_command(pack(m.CommandStatementQuery(sql))))
        (endpoint,) = info.endpoints
        assert client.do_get(endpoint.ticket).read_all().num_rows in (1, 20, 300_000)

"""The documents are true: generated pages are fresh, commands print what their page says, links lead somewhere.

Blocks marked ``sh`` and ``python`` are run in the order of their page, in a folder of their own with the bundled
products beside it; a ``text`` block right after one is what it prints. A block that begins with ``flightmesh serve``
starts the server that the blocks after it speak to. Blocks in other languages are only read.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from adbc_driver_flightsql import dbapi
from pyarrow.csv import ConvertOptions, read_csv
from ruamel.yaml import YAML

import flightmesh
from flightmesh import app
from flightmesh.build.lowcode import STEPS, lowcode_sql
from flightmesh.config import SETTINGS, Limits
from flightmesh.engine.workshop import Bounds, Workshop
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flight.actions import ACTIONS
from flightmesh.flight.status import guarded
from flightmesh.planner.pipeline import plan_model
from flightmesh.product.model import Model
from flightmesh.product.schema import read_part
from flightmesh.service import accounts

if TYPE_CHECKING:
    from tests.conftest import ServedBy

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
ADDRESS = "127.0.0.1:8815"
BLOCK_S_MAX = 120
READY_S_MAX = 60

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CAPTION = re.compile(r"^`([\w./]+)`:\n\n\Z", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_INSTALL = re.compile(r"python3 -m venv ")
# American spellings that come up in this subject. Names of standards and programs keep theirs, between backquotes.
_AMERICAN = re.compile(
    r"\b(?:behaviors?|colors?|favorites?|honors?|(?:un)?authoriz\w+|normaliz\w+|optimiz\w+|organiz\w+|recogniz\w+|"
    r"serializ\w+|summariz\w+|anonymiz\w+|materializ\w+|initializ\w+|analyz\w+|catalogs|centers?|modeling|labeled|"
    r"cancel(?:ed|ing)|gray)\b",
    re.IGNORECASE,
)


def pages() -> list[Path]:
    """Every page of the documents, README first."""
    return [README, *sorted(DOCS.rglob("*.md"))]


def name_of(page: Path) -> str:
    """The page's path as it is called in the repository."""
    return page.relative_to(ROOT).as_posix()


# ------------------------------------------------------------------------------------------------- generated pages


@cache
def generator() -> ModuleType:
    """``docs/generate.py`` as a module; it lies in no package."""
    spec = importlib.util.spec_from_file_location("flightmesh_docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def reference(page: str) -> str:
    """The text of a page of the reference."""
    return (DOCS / "reference" / page).read_text(encoding="utf-8")


def test_generated_pages_are_fresh() -> None:
    """A reference that describes last week's options sends its reader into errors."""
    assert generator().stale() == [], f"run `{generator().COMMAND}`"


def test_every_setting_and_limit_is_documented() -> None:
    """An operator cannot set what no page tells of."""
    page = reference("configuration.md")
    assert [
        key for key, setting in SETTINGS.items() if f"\n| `{setting.name}` | `{setting.variable}` |" not in page
    ] == []
    assert [field.name for field in fields(Limits) if f"\n| `{field.name}` |" not in page] == []


def test_every_error_code_is_documented() -> None:
    """Whoever meets a code wants to know what it means and what to do."""
    assert [code for code in ErrorCode if f"\n| `{code.value}` |" not in reference("errors.md")] == []


def test_every_action_is_documented() -> None:
    """An action that no page names is one that nobody calls."""
    assert [name for name in ACTIONS if f"\n| `{name}` |" not in reference("actions.md")] == []


def options() -> Iterator[tuple[str, str]]:
    """Every command with each of its options, as the command line itself tells them."""
    import typer

    from flightmesh.cli import application

    waiting: list[tuple[str, Any]] = [("flightmesh", typer.main.get_command(application))]  # Any: typer hides its types
    while waiting:
        path, command = waiting.pop()
        for parameter in command.params:
            names = [name for name in parameter.opts if name.startswith("--")]
            yield from ((path, name) for name in names if not getattr(parameter, "hidden", False))
        waiting += [(f"{path} {name}", child) for name, child in getattr(command, "commands", {}).items()]


def test_every_option_of_the_command_line_is_documented() -> None:
    """An option that no page names can only be found in the code."""
    sections = dict(
        re.findall(r"^## (flightmesh[\w ]*)\n(.*?)(?=^## |\Z)", reference("cli.md"), re.MULTILINE | re.DOTALL)
    )
    found = list(options())
    assert len(found) > 30
    assert [(path, name) for path, name in found if name not in sections.get(path, "")] == []


def test_statuses_are_what_stock_clients_see() -> None:
    """A page that promised another status would send the author of a client after the wrong exception."""
    raised: list[ErrorCode] = []

    class OneError(fl.FlightServerBase):  # type: ignore[misc]  # pyarrow has no types
        @guarded
        def get_flight_info(self, context: fl.ServerCallContext, descriptor: fl.FlightDescriptor) -> fl.FlightInfo:
            raise FlightmeshError(raised[-1], "Fact.", hint="Help.")

    with OneError("grpc://127.0.0.1:0") as server:
        seen = {}
        for code in ErrorCode:
            raised.append(code)
            with (
                dbapi.connect(f"grpc://127.0.0.1:{server.port}", autocommit=True) as connection,
                connection.cursor() as cursor,
                pytest.raises(dbapi.Error) as caught,
            ):
                cursor.execute("SELECT 1")
            seen[code] = str(caught.value).partition(":")[0]
    assert seen == {code: adbc for code, (_, adbc) in generator().STATUS.items()}


# ---------------------------------------------------------------------------------------------------------- blocks


@dataclass(frozen=True)
class Block:
    """One fenced block of a page. ``printed`` is the text block right after it; ``caption`` names it as a file."""

    line: int
    language: str
    code: str
    printed: str | None
    caption: str | None


def blocks(page: Path) -> list[Block]:
    """The blocks of the page in order."""
    text = page.read_text(encoding="utf-8")
    found = list(_BLOCK.finditer(text))
    result = []
    followers: list[re.Match[str] | None] = [*found[1:], None]
    for here, after in zip(found, followers, strict=False):
        follows = after is not None and after[1] == "text" and not text[here.end() : after.start()].strip()
        printed = after[2] if after is not None and follows else None
        caption = _CAPTION.search(text, 0, here.start())
        line = text.count("\n", 0, here.start()) + 1
        result.append(Block(line, here[1], here[2], printed, caption[1] if caption else None))
    return result


class Reader:
    """Somebody who follows a page: a folder, a shell, and the server started last.

    ``built`` is a state directory whose snapshots are taken over, so that they are not built for every page.
    """

    def __init__(self, folder: Path, built: Path | None = None) -> None:
        self.folder = folder
        self.uri = f"grpc://{ADDRESS}"
        self._server: subprocess.Popen[str] | None = None
        commands = folder / "bin"
        commands.mkdir(parents=True)
        (commands / "flightmesh").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m flightmesh "$@"\n')
        (commands / "flightmesh").chmod(0o755)
        (folder / "products").symlink_to(ROOT / "products")
        if built is not None:
            for state in (".flightmesh", "state"):
                # Snapshots never change, so a link is as good as a copy.
                shutil.copytree(built / "products", folder / state / "products", copy_function=os.link)
        self._env = os.environ | {
            "PATH": os.pathsep.join([str(commands), str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            "PYTHONPATH": str(ROOT),
            "FLIGHTMESH_PORT": "0",
        }

    def does(self, block: Block) -> str:
        """What the block prints, paths of the folder shortened; AssertionError when it fails."""
        if block.code.startswith("flightmesh serve"):
            self.serves(block.code)
            return ""
        code = block.code.replace(ADDRESS, self.uri.removeprefix("grpc://"))
        command = ["bash", "-euo", "pipefail", "-c", code] if block.language == "sh" else [sys.executable, "-c", code]
        env = self._env | {"FLIGHTMESH_URI": self.uri}
        # -W error is for the tests' own process: what a page imports may warn.
        done = subprocess.run(
            command, cwd=self.folder, env=env, capture_output=True, text=True, timeout=BLOCK_S_MAX, check=False
        )
        assert done.returncode == 0, f"line {block.line} ends with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout.replace(f"{self.folder}/", "")

    def serves(self, command: str) -> None:
        """Starts the server, in place of the one before; it answers when this returns."""
        self.stops()
        with (self.folder / "server.log").open("a") as log:
            self._server = subprocess.Popen(
                ["bash", "-c", f"exec {command.strip()} --json"],
                cwd=self.folder,
                env=self._env,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._server.stdout is not None
        too_late = threading.Timer(READY_S_MAX, self._server.kill)
        too_late.start()
        line = self._server.stdout.readline()
        too_late.cancel()
        assert line, f"{command} did not start:\n{(self.folder / 'server.log').read_text()[-2000:]}"
        self.uri = json.loads(line)["flight"]

    def stops(self) -> None:
        """Stops the server, if one runs."""
        server, self._server = self._server, None
        if server is not None:
            server.terminate()
            server.wait(40)
            assert server.stdout is not None
            server.stdout.close()


@contextmanager
def reading(folder: Path, built: Path | None = None) -> Iterator[Reader]:
    """A reader whose server is stopped at the end."""
    reader = Reader(folder, built)
    try:
        yield reader
    finally:
        reader.stops()


RUN_PAGES = [page for page in pages() if any(block.language in ("sh", "python") for block in blocks(page))]


@pytest.mark.timeout(300)  # A page starts several servers and dozens of commands, on a machine that may be busy.
@pytest.mark.parametrize("page", RUN_PAGES, ids=name_of)
def test_the_commands_of_a_page_do_what_it_says(page: Path, tmp_path: Path, server: ServedBy) -> None:
    """Whoever pastes a command from the page gets what the page promises."""
    with reading(tmp_path / "reader", server.state) as reader:
        for block in blocks(page):
            if block.language not in ("sh", "python"):
                continue
            if _INSTALL.match(block.code):
                # Installs: README's run in .ci/run and below. What follows speaks to the server that they start.
                if block.code.rstrip().endswith("flightmesh serve"):
                    reader.serves("flightmesh serve")
                continue
            printed = reader.does(block)
            if block.printed is not None:
                assert printed.strip() == block.printed.strip(), f"{name_of(page)}:{block.line}"


@pytest.mark.slow
@pytest.mark.timeout(900)  # Installs the package and all it stands on from the package index.
def test_the_first_command_of_the_readme_serves(tmp_path: Path) -> None:
    """A stranger's first command, in a fresh copy of the repository, ends in a server that answers."""
    command = next(block.code.strip() for block in blocks(README) if block.code.rstrip().endswith("flightmesh serve"))
    clone = tmp_path / "clone"
    for name in tracked():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, clone / name)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("FLIGHTMESH_", "PYTHONPATH"))}
    env |= {"FLIGHTMESH_PORT": "0", "PYTHONUNBUFFERED": "1"}
    command = command.replace("&& .venv/bin/flightmesh", "&& exec .venv/bin/flightmesh")
    with subprocess.Popen(["bash", "-c", command], cwd=clone, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            banner = process.stdout.readline()
            found = re.search(r"grpc://[\d.]+:\d+", banner)
            assert found is not None, banner
            with dbapi.connect(found[0], autocommit=True) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM aviation.flights.flights")
                assert cursor.fetchone() == (336_776,)
        finally:
            process.terminate()
    assert process.returncode == 0


def tracked() -> list[str]:
    """Every file that is tracked or about to be."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return [name for name in names if name and (ROOT / name).is_file()]


# -------------------------------------------------------------------------------------------------------- products.md


def test_the_snippets_on_products_make_a_product(tmp_path: Path) -> None:
    """An author who copies a snippet must not be told by `check` that it is wrong."""
    folder = tmp_path / "coffee"
    manifest: dict[str, Any] = {}
    for block in blocks(DOCS / "products.md"):
        # A file is named by a comment in its first line, or by the line above where the format has no comments.
        target = block.caption or block.code.partition("\n")[0].removeprefix("# ")
        if block.language == "text" or not target.startswith("coffee/"):
            continue
        path = tmp_path / target
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.name == "product.yaml":
            merge(manifest, YAML(typ="safe").load(block.code))
        else:
            path.write_text(block.code, encoding="utf-8")
    # JSON is YAML 1.2.
    (folder / "product.yaml").write_text(json.dumps(manifest, default=str), encoding="utf-8")
    (report,) = app.check([folder])
    assert report.problems == ()
    assert report.product == "coffee.sales"
    config = tmp_path / "users.toml"
    accounts.add_user(config, "owner", ["owner"], "a long password")
    token = accounts.create_token(config, "owner", None)
    with reading(tmp_path / "reader") as reader:
        reader.serves(f"flightmesh serve --products {folder} --config {config}")
        with flightmesh.connect(reader.uri, token) as client:
            assert {port: client.table(f"coffee.sales.{port}").count() for port in report.ports} == {
                "sales": 4,
                "by_drink": 2,
                "daily": 3,
                "loyalty": 2,
            }


def merge(whole: dict[str, Any], part: dict[str, Any]) -> None:
    """Adds a part of a manifest: mappings and lists grow, everything else is set."""
    for key, value in part.items():
        if isinstance(value, dict):
            merge(whole.setdefault(key, {}), value)
        elif isinstance(value, list) and key == "policies":
            whole[key] = [*whole.get(key, []), *value]
        else:
            whole[key] = value


# -------------------------------------------------------------------------------------------------------- low-code.md


def _csv(text: str) -> pa.Table:
    return read_csv(io.BytesIO(text.encode()), convert_options=ConvertOptions(strings_can_be_null=True))


def low_code_results(page: Path) -> Iterator[tuple[Block, str]]:
    """Each example of the page with the rows of its last model as CSV; a model may read those of earlier examples."""
    with Workshop(Bounds()) as shop:
        known: dict[tuple[str, ...], list[str]] = {}
        for block in blocks(page):
            if block.language == "csv":
                assert block.caption is not None
                name, table = block.caption.removesuffix(".csv"), _csv(block.code)
                shop.load((name,), table.to_reader())
                known[(name,)] = table.column_names
            elif block.language == "yaml":
                for name, value in YAML(typ="safe").load(block.code).items():
                    made = lowcode_sql(name, read_part(Model, value), known, limits=Limits())
                    for check in made.lookups:
                        assert (
                            shop.run(plan_model(check.sql, relations=known, limits=Limits())).read_all().num_rows == 0
                        )
                    shop.view(name, plan_model(made.sql, relations=known, limits=Limits()))
                    known[(name,)] = list(made.columns)
                rows = shop.read((name,)).read_all()
                lines = [rows.column_names, *zip(*(column.to_pylist() for column in rows.columns), strict=True)]
                yield block, "\n".join(",".join("" if v is None else str(v) for v in line) for line in lines)


def test_the_examples_of_low_code_give_what_the_page_says() -> None:
    """Authors choose a step by its example."""
    page = DOCS / "low-code.md"
    shown = list(low_code_results(page))
    assert [(block.line, block.printed) for block, _ in shown] == [(block.line, f"{text}\n") for block, text in shown]
    used = {key for block, _ in shown for model in YAML(typ="safe").load(block.code).values() for key in model}
    assert used == {"from", "union", *STEPS}
    text = page.read_text(encoding="utf-8")
    assert " · ".join(f"`{step}`" for step in ("from", "union", *STEPS)) in text.replace("\n", " ")


# -------------------------------------------------------------------------------------------------------- security.md


def policy_table() -> list[tuple[list[str], list[str]]]:
    """The worked table of several roles: the roles, and the other cells."""
    text = (DOCS / "security.md").read_text(encoding="utf-8")
    lines = text.split("| caller's roles |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [([role.strip() for role in row[0].split(",")], row[1:]) for row in rows]


def seen_by(uri: str, token: str) -> list[str]:
    """The cells of the table as a reader with this token finds them."""
    client = fl.connect(uri)
    call = fl.FlightCallOptions(headers=[(b"authorization", b"Bearer " + token.encode())])
    descriptor = fl.FlightDescriptor.for_path("clinical", "trials", "patients")
    try:
        info = client.get_flight_info(descriptor, call)
    except KeyError:
        return ["not found", "", "", ""]
    rows = client.do_get(info.endpoints[0].ticket, call).read_all().to_pylist()
    return [str(len(rows)), str(len(info.schema)), _ages(rows), _numbers(rows)]


def _ages(rows: list[dict[str, Any]]) -> str:
    plain = [row for row in rows if row["age"] % 5]
    if not plain:
        return "band of 5"
    if any(not row["symptom"] for row in plain):
        return "exact"
    if all(row["symptom"] for row in rows):
        return "exact"
    return f"exact in the {sum(row['symptom'] for row in rows)} symptomatic rows, band of 5 in the others"


def _numbers(rows: list[dict[str, Any]]) -> str:
    if "pidnum" not in rows[0]:
        return "absent"
    shown = [row for row in rows if row["pidnum"] is not None]
    if len(shown) == len(rows):
        return "shown"
    assert all(row["symptom"] for row in shown)
    return f"shown in the {len(shown)}, NULL in the others"


def test_the_table_of_roles_is_what_the_server_shows(tmp_path: Path, server: ServedBy) -> None:
    """A steward of data decides on roles by this table."""
    config = tmp_path / "users.toml"
    table = [(roles, cells) for roles, cells in policy_table() if roles != ["anonymous"]]
    expected, tokens = {}, {}
    for number, (roles, cells) in enumerate(table):
        name = f"user{number}"
        accounts.add_user(config, name, ["visitor"] if roles[0].startswith("any other") else roles, "a long password")
        tokens[name], expected[name] = accounts.create_token(config, name, None), cells
    assert len(expected) == 6
    with reading(tmp_path / "reader", server.state) as reader:
        reader.serves(f"flightmesh serve --config {config}")
        assert {name: seen_by(reader.uri, token) for name, token in tokens.items()} == expected
        with pytest.raises(KeyError, match="not_found"):
            fl.connect(reader.uri).get_flight_info(fl.FlightDescriptor.for_path("clinical", "trials", "patients"))


# ------------------------------------------------------------------------------------------------------------ prose


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """A link into the void costs the reader the way back."""
    broken = []
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z][a-z+.-]*:", target):
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        if not other.exists() or (anchor and anchor not in headings(other)):
            broken.append(target)
    assert broken == []


def test_every_page_is_reached_from_the_index() -> None:
    """A page that nothing links to is not read."""
    reached: set[Path] = set()
    waiting = {DOCS / "index.md"}
    while waiting:
        page = waiting.pop()
        reached.add(page)
        targets = {
            (page.parent / link.partition("#")[0]).resolve()
            for link in _LINK.findall(page.read_text(encoding="utf-8"))
            if ":" not in link
        }
        waiting |= {target for target in targets if target.suffix == ".md" and target.is_file()} - reached
    assert [name_of(page) for page in sorted(DOCS.rglob("*.md")) if page not in reached] == []


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_spelling_is_british(page: Path) -> None:
    """Two spellings of one word make a page harder to search."""
    prose = re.sub(r"^```.*?^```$|`[^`\n]*`|\]\([^)]*\)", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    assert _AMERICAN.findall(prose) == []

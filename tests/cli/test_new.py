"""``init`` on the command line."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flightmesh.product.manifest import load_bundle

if TYPE_CHECKING:
    from tests.cli.conftest import Done

ROOT = Path(__file__).parents[2]
Flightmesh = Callable[..., "Done"]


@pytest.fixture
def customers(tmp_path: Path) -> Path:
    """A file with personal data."""
    path = tmp_path / "customers.csv"
    path.write_text("id,email\n" + "".join(f"{n},p{n}@example.org\n" for n in range(1, 9)))
    return path


def test_a_product_is_drawn_up_and_the_next_commands_are_told(
    flightmesh: Flightmesh, customers: Path, tmp_path: Path
) -> None:
    """The commands that are printed must work as they stand."""
    folder = tmp_path / "my product"
    done = flightmesh("init", folder, "--from", customers, "--name", "retail.shop")
    assert done.code == 0, done.err
    assert "  customers  8 rows, 2 columns, key id\n" in done.out
    assert "  customers.email: e-mail addresses" in done.out
    assert f"  flightmesh check '{folder}'\n  flightmesh serve --products '{folder}'\n" in done.out
    assert "reading customers.csv" in done.err
    assert flightmesh("check", folder).code == 0
    assert len(load_bundle(folder).product.policies) == 1


def test_the_report_as_json(flightmesh: Flightmesh, customers: Path, tmp_path: Path) -> None:
    """Scripts read one document, and nothing beside it."""
    arguments = ["--from", customers, "--name", "retail.shop", "--title", "Shop", "--team", "sales", "--json"]
    done = flightmesh("init", tmp_path / "shop", *arguments)
    assert (done.code, done.err) == (0, "")
    report = json.loads(done.out)
    assert report["product"] == "retail.shop"
    assert report["folder"] == str(tmp_path / "shop")
    assert report["ports"] == [
        {"name": "customers", "rows": 8, "is_whole": True, "columns": 2, "key": ["id"], "source": "customers_file"}
    ]
    assert [(each["port"], each["column"]) for each in report["personal"]] == [("customers", "email")]
    assert not report["masked"]
    product = load_bundle(tmp_path / "shop").product
    assert (product.title, product.owner.team) == ("Shop", "sales")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", "retail.shop"], "nothing to start from"),
        (["--from", "missing.csv", "--name", "retail.shop"], "There is no file missing.csv"),
        (["--from", "missing.csv", "--name", "shop"], "does not name a product"),
        (["--from", "missing.csv"], "has no name"),
    ],
)
def test_what_is_missing_is_said(flightmesh: Flightmesh, tmp_path: Path, arguments: list[str], message: str) -> None:
    """Off a terminal nothing is asked: a script must not hang."""
    done = flightmesh("init", tmp_path / "shop", *arguments)
    assert done.code != 0
    assert message in done.err
    assert not (tmp_path / "shop").exists()


def test_a_terminal_is_asked(customers: Path, tmp_path: Path) -> None:
    """Name, title and team are asked for, and masks are set where the author says yes."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "flightmesh", "init", str(tmp_path / "shop"), "--from", str(customers)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, env=env, text=True) as process:
        os.close(theirs)
        os.write(ours, b"retail.shop\nThe shop\n\ny\n")
        out, _ = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == 0
    assert "Probably personal data. Masked:" in out
    bundle = load_bundle(tmp_path / "shop")
    assert (bundle.product.title, len(bundle.product.policies)) == ("The shop", 2)
    assert bundle.product.owner.team.startswith("Fill in:")


def test_help_shows_examples(flightmesh: Flightmesh) -> None:
    """Most people copy an example and change it."""
    done = flightmesh("init", "--help")
    assert done.code == 0
    assert "flightmesh init shop --from sales.csv --from customers.parquet --name retail.shop" in done.out


@pytest.mark.parametrize("arguments", [["--name", "retail.shop"], ["--from", "missing.csv"]])
def test_an_option_left_out_is_wrong_usage(flightmesh: Flightmesh, tmp_path: Path, arguments: list[str]) -> None:
    """A script could not tell its own mistake from a product that cannot be drawn up."""
    assert flightmesh("init", tmp_path / "shop", *arguments).code == 2

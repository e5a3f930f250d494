"""Carries out the Dockerfile's own steps outside Docker, in an empty folder, so that the recipe cannot rot unseen.

The folder stands for the image's root: absolute paths of the recipe are moved below it, the base image's Python is a
fresh virtual environment, and the port is a free one. USER and EXPOSE need a container and are only read.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
KNOWN = {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "CMD"}
# How this machine reaches its package index: pip needs it here as it does in `docker build`.
PASSED_ON = ("PIP_", "SSL_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE")
OPERATOR = {"FLIGHTMESH_ALLOW_PLAINTEXT": "true", "FLIGHTMESH_ANONYMOUS": "true"}


def steps() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile in order, with their arguments on one line."""
    lines = [line for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def only(instruction: str) -> str:
    """The arguments of an instruction that stands in the recipe once."""
    (found,) = [rest for name, rest in steps() if name == instruction]
    return found


def bundled_products() -> list[Path]:
    """The product folders of the repository, smallest first."""
    folders = [manifest.parent for manifest in (ROOT / "products").rglob("product.yaml")]
    return sorted(folders, key=lambda folder: sum(file.stat().st_size for file in folder.rglob("*")))


@dataclass(slots=True)
class Image:
    """What the build steps leave behind: a root folder, an environment and a working directory."""

    root: Path
    workdir: Path
    env: dict[str, str] = field(default_factory=dict)

    def moved(self, text: str) -> str:
        """The text with the recipe's absolute paths moved below the root folder."""
        return re.sub(r"(?<![\w.}/])/(?=(?:app|products|state)\b)", f"{self.root}/", text)

    def carry_out(self, name: str, rest: str) -> None:
        """Does what the instruction does to an image, as far as it can be done without one."""
        if name == "ENV":
            self.env |= dict(assignment.split("=", 1) for assignment in shlex.split(self.moved(rest)))
        elif name == "WORKDIR":
            self.workdir = Path(self.moved(rest))
            self.workdir.mkdir(parents=True, exist_ok=True)
        elif name == "COPY":
            *sources, target = rest.split()
            for source in sources:
                self.copy(ROOT / source, self.workdir / self.moved(target))
        elif name == "RUN":
            subprocess.run(["sh", "-ec", self.moved(rest)], cwd=self.workdir, env=self.env, check=True)

    @staticmethod
    def copy(source: Path, target: Path) -> None:
        """Copies as COPY does: a file into a folder, a folder's content into the folder named."""
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            shutil.copy(source, target)

    def command(self, arguments: str) -> list[str]:
        """The arguments of an exec-form instruction, its program looked up in the image."""
        program, *rest = json.loads(self.moved(arguments))
        found = shutil.which(program, path=self.env["PATH"])
        assert found is not None, f"The recipe runs {program}, which it did not install."
        return [found, *rest]


def build(root: Path) -> Image:
    """The image of the recipe, built in the empty folder."""
    venv.create(root / "python", with_pip=True)
    image = Image(root, root)
    image.env = {name: value for name, value in os.environ.items() if name.upper().startswith(PASSED_ON)}
    image.env["PATH"] = os.pathsep.join([str(root / "python" / "bin"), "/usr/bin", "/bin"])
    for name, rest in steps():
        image.carry_out(name, rest)
    return image


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def health(image: Image, env: dict[str, str]) -> int:
    """The exit code of the recipe's health check."""
    _, _, arguments = only("HEALTHCHECK").partition("CMD ")
    return subprocess.run(image.command(arguments), cwd=image.workdir, env=env, timeout=30, check=False).returncode


@contextmanager
def running(image: Image, env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The recipe's CMD as a process, killed at the end if it still runs."""
    command = image.command(only("CMD"))
    with subprocess.Popen(command, cwd=image.workdir, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_every_instruction_is_carried_out_or_known() -> None:
    """An instruction this file does not know would be one that no test has ever run."""
    assert {name for name, _ in steps()} <= KNOWN


def test_the_recipe_runs_as_an_ordinary_user() -> None:
    """A process that breaks out of the server must not be root in the container."""
    user, _, group = only("USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0


def test_the_recipe_takes_no_decision_of_the_operator() -> None:
    """An image that allowed plaintext or nameless callers by itself would do so on somebody's open network."""
    settings = " ".join(rest for name, rest in steps() if name == "ENV")
    assert [name for name in OPERATOR if name in settings] == []


def test_the_recipe_names_no_product() -> None:
    """One recipe serves every product folder."""
    names = {word for folder in bundled_products() for word in re.split(r"[^a-z]+", folder.name)} - {""}
    recipe = " ".join(rest for _, rest in steps())
    assert names != set()
    assert [name for name in sorted(names) if re.search(rf"\b{name}\b", recipe)] == []


@pytest.mark.slow
@pytest.mark.timeout(900)  # Installs the package and all it stands on from the package index.
def test_the_recipe_installs_serves_and_reports_its_health(tmp_path: Path) -> None:
    """Whoever builds the image gets a server that starts, answers its health check and stops when told."""
    image = build(tmp_path)
    shutil.copytree(bundled_products()[0], tmp_path / "products", dirs_exist_ok=True)
    port = free_port()
    env = image.env | OPERATOR | {"FLIGHTMESH_PORT": str(port)}
    with running(image, env) as server:
        assert server.stdout is not None
        ready = json.loads(server.stdout.readline())
        assert ready["event"] == "ready"
        assert ready["flight"].endswith(f":{port}")
        assert len(ready["products"]) == 1
        assert health(image, env) == 0
        server.terminate()
        assert server.wait(timeout=30) == 0
    assert health(image, env) != 0
    refused = subprocess.run(image.command(only("CMD")), cwd=image.workdir, env=image.env, timeout=60, check=False)
    assert refused.returncode != 0

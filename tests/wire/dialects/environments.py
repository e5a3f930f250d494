"""Virtual environments of the dialects, which pin other versions than ours. Made once, from the lock file of the same
name, where ``tests.wire.bridge`` keeps what other clients need.
"""

from __future__ import annotations

import functools
import re
import sys
import venv
from pathlib import Path

from tests.wire import bridge

_HERE = Path(__file__).parent
ROOT = _HERE.parents[2]


@functools.cache
def missing(name: str) -> str | None:
    """Why the environment cannot be had here; None when it can, and then it is made."""
    try:
        python_of(name)
    except (OSError, AssertionError) as error:
        return f"needs the packages of {_lock(name).name}, which could not be installed: {error}"
    return None


@functools.cache
def python_of(name: str) -> Path:
    """The environment's interpreter. Errors: OSError and AssertionError where it cannot be made."""
    made_of = f"{bridge.digest([_lock(name)])}-{sys.version_info[0]}.{sys.version_info[1]}"
    with bridge.cache(f"dialect-{name}") as folder:
        return bridge.make(folder / made_of, functools.partial(_fill, lock=_lock(name))) / "bin" / "python"


def version_of(name: str, package: str) -> str:
    """The version of a package that the lock file pins."""
    found = re.search(rf"^{re.escape(package)}==(\S+)", _lock(name).read_text(), re.MULTILINE)
    assert found is not None, f"{package} is not locked in {_lock(name).name}"
    return found[1]


def _lock(name: str) -> Path:
    return _HERE / f"{name}.lock.txt"


def _fill(folder: Path, lock: Path) -> None:
    """Makes the environment; it is only ever used as ``python -m``, so that it may be moved afterwards."""
    venv.create(folder, with_pip=True)
    # The lock is the whole of it, so nothing is resolved, and nothing can come in another version.
    install = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--disable-pip-version-check")
    bridge.run(folder / "bin" / "python", *install, "--requirement", lock, folder=folder)
